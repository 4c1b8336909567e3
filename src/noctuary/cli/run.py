"""`noctuary run`: research cycles, now, with a live display."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import json_option, lab_option, print_json
from noctuary.errors import UsageError

if TYPE_CHECKING:
    from noctuary.lab import Lab
    from noctuary.night import NightRequest

DEFAULT_BUDGET = "10m"


@click.command("run")
@click.option("--cycles", type=click.IntRange(min=1), help="End after so many cycles.")
@click.option("--budget", metavar="TIME", help=f"End after this time (default {DEFAULT_BUDGET}).")
@click.option("--trials", type=click.IntRange(min=1), help="End after so many trials.")
@click.option(
    "--proposer", type=click.Choice(["grammar"]), default="grammar", help="What invents designs."
)
@click.option("--offline", is_flag=True, help="Ask no network for papers.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@lab_option
@json_option
def command(lab_path: Path | None, as_json: bool, **asked: Any) -> None:
    """Run research cycles until the budget is spent.

    Killed, the same command goes on where it was: finished stages and trials are not run again.
    A file named `stop` in the lab ends the night at the next safe point.
    """
    from noctuary.cli.display import say_end
    from noctuary.cli.watch import watched
    from noctuary.lab import Lab
    from noctuary.plan import suite_of
    from noctuary.policy import load_policy

    lab = Lab.create_or_open(lab_path)
    lab.require_space()
    request = build_request(lab, **asked)
    limits = (request.budget_seconds, load_policy(lab.policy_path).budget.time)
    budget = min((limit for limit in limits if limit is not None), default=None)
    summary, address = watched("night", request, lab, budget=budget, quiet=as_json)
    if as_json:
        print_json(summary)
    else:
        suite = suite_of(request.settings.training).version
        say_end(lab, suite, summary, address)


def build_request(
    lab: "Lab",
    *,
    cycles: int | None,
    budget: str | None,
    trials: int | None,
    proposer: Any,
    offline: bool,
    seed: int,
) -> "NightRequest":
    """Return the request of the options and the lab's settings.

    Raises:
        UsageError: a budget that is no duration, or settings that are wrong.
    """
    from noctuary.config import load_settings, parse_duration
    from noctuary.night import NightRequest
    from noctuary.plan import suite_of, with_text

    if budget is None and cycles is None and trials is None:
        budget = DEFAULT_BUDGET
    try:
        seconds = None if budget is None else parse_duration(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}") from error
    settings = with_text(load_settings(lab.settings_path), lab, offline=offline)
    suite_of(settings.training)
    return NightRequest(
        lab=str(lab.root),
        settings=settings,
        seed=seed,
        cycles=cycles,
        budget_seconds=seconds,
        trials=trials,
        offline=offline,
        proposer=proposer,
    )

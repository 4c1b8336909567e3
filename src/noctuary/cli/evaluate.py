"""`noctuary evaluate`: one mixer file, trained by the protocol beside the human baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import (
    console,
    interval,
    json_option,
    lab_option,
    number,
    print_json,
    table,
)
from noctuary.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from noctuary.campaigns import Verdict
    from noctuary.evaluation import Evaluated


@click.command("evaluate")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--class", "class_name", default="Mixer", metavar="NAME", help="The mixer's class in FILE."
)
@click.option("--rung", type=click.IntRange(min=0), help="Training budget (default: the last).")
@click.option("--seeds", type=click.IntRange(1, 100), help="Seeds (default: those of the lab).")
@lab_option
@json_option
def command(
    file: Path,
    class_name: str,
    rung: int | None,
    seeds: int | None,
    lab_path: Path | None,
    as_json: bool,
) -> None:
    """Train and score the mixer in FILE on the suite, beside the human baselines.

    FILE defines `class Mixer`, or with --class another one that `noctuary audit` accepts. It and
    the baselines get the same parameters, tokens, order of the data and learning rates to choose
    from. What was trained before is not trained again. A difference can be called from eight
    seeds on.
    """
    from noctuary.archive import Archive
    from noctuary.attesting import flush
    from noctuary.candidates import file_candidate, human_candidates
    from noctuary.config import load_settings
    from noctuary.evaluation import compare, evaluate
    from noctuary.journal import Journal
    from noctuary.lab import Lab
    from noctuary.plan import suite_of, with_text
    from noctuary.policy import load_policy
    from noctuary.provenance import circumstances
    from noctuary.sandbox.launcher import Launcher, default_slots
    from noctuary.trials import Workshop

    lab = Lab.create_or_open(lab_path)
    lab.require_space()
    settings = with_text(load_settings(lab.settings_path), lab)
    training, suite = settings.training, suite_of(settings.training)
    chosen = suite.top if rung is None else rung
    if chosen > suite.top:
        raise UsageError(f"--rung {chosen}: {suite.name} has the rungs 0 to {suite.top}")
    slots = training.workers or default_slots(training.device)
    policy = load_policy(lab.policy_path)
    archive = Archive(lab.archive_path, settings.archive.patience)
    with lab.lock(), Launcher(slots, lab.logs / "launcher.log") as own:
        flush(lab, archive, settings.ledger)  # what a kill kept the ledger from
        mixer = file_candidate(lab, file, class_name)
        humans = [one for one in human_candidates(lab) if one.candidate_id != mixer.candidate_id]
        facts = {"mixer": mixer.candidate_id, "rung": chosen, **circumstances(settings, policy)}
        everyone = evaluate(
            Workshop(lab, training, own, Journal(lab.journal_path), policy),
            [mixer, *humans],
            suite.tasks,
            rung=chosen,
            seeds=_seeds(chosen, training.seeds if seeds is None else seeds),
            told=lambda line: click.echo(line, err=True),
        )
        with archive.attested("evaluation", facts) as write:
            write.record_candidates([mixer, *humans])
            for one in (mixer, *humans):
                write.attest_file(lab.root, f"candidates/{one.candidate_id}.py")
            write.record_trials(lab.trials, [i for one in everyone for i in one.trial_ids])
        flush(lab, archive, settings.ledger)
    tasks = [task.name for task in suite.tasks]
    verdicts = compare(everyone[0], everyone[1:], tasks)
    if as_json:
        print_json(_as_json(everyone, verdicts, suite.version, chosen))
    else:
        _print(everyone, verdicts, tasks, f"{suite.version}, rung {chosen}")
    if everyone[0].failed:
        raise CheckFailed(f"{file}: {everyone[0].failed}")


def _seeds(rung: int, count: int) -> tuple[int, ...]:
    """Return the seeds of a rung, on the first one without that which chose the rates."""
    from noctuary.bench.rungs import search_seeds

    return search_seeds(rung, count + 1)[1:] if rung == 0 else search_seeds(rung, count)


def _as_json(
    everyone: Sequence["Evaluated"], verdicts: Mapping[str, "Verdict"], suite: str, rung: int
) -> dict[str, Any]:
    import dataclasses

    return {
        "suite": suite,
        "rung": rung,
        "mixers": [one.model_dump(mode="json") for one in everyone],
        "against": [dataclasses.asdict(verdict) for verdict in verdicts.values()],
    }


def _print(
    everyone: Sequence["Evaluated"],
    verdicts: Mapping[str, "Verdict"],
    tasks: Sequence[str],
    title: str,
) -> None:
    from noctuary.report.panel import costs, task_scores

    out = console()
    scores = table(
        f"{title}: score, mean over seeds",
        [("mixer", False), ("all", True), *((task, True) for task in tasks), ("seeds", True)],
    )
    for one in everyone:
        found = task_scores(one)
        seeds = [sum(t.spec.task == task for t in one.trials) for task in tasks]
        scores.add_row(
            one.candidate.name,
            "-" if one.failed else number(sum(found.values()) / len(tasks)),
            *(number(found.get(task)) for task in tasks),
            str(min(seeds)),
        )
    out.print(scores)
    for one in everyone:
        if one.failed:
            out.print(f"{one.candidate.name} has no score over all tasks: {one.failed}")
    cost = table("what it costs", [("mixer", False), *((head, True) for head in costs(None))])
    for one in everyone:
        cost.add_row(one.candidate.name, *costs(one).values())
    out.print(cost)
    if not verdicts:
        return
    against = table(
        f"{everyone[0].candidate.name} against the baselines, mean over the tasks, paired by seed",
        [
            ("baseline", False),
            ("difference", True),
            ("95 % interval", True),
            ("p", True),
            ("verdict", False),
            ("seeds that would tell", True),
        ],
    )
    for name, verdict in verdicts.items():
        against.add_row(
            name,
            number(verdict.effect, 4, sign=True),
            interval(verdict.low, verdict.high),
            number(verdict.adjusted_p),
            _words(verdict, len(verdicts)),
            "-" if verdict.seeds_needed is None else str(verdict.seeds_needed),
        )
    out.print(against)
    out.print("Intervals and p-values (sign flips) are corrected for the number of baselines.")


def _words(verdict: "Verdict", count: int) -> str:
    from noctuary.campaigns import fewest_seeds

    if verdict.low is None:
        return f"too few seeds to tell, {fewest_seeds(count)} at least"
    if not verdict.different:
        return "not distinguishable"
    return "better" if verdict.effect > 0 else "worse"

"""`noctuary rerun`: what failed in a cycle once more, and only that."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import json_option, lab_option, open_lab, print_json
from noctuary.errors import NotFound

if TYPE_CHECKING:
    from noctuary.lab import Lab
    from noctuary.night import CycleRun

SHOWN = 10
"""Cycles that an error lists."""


@click.command("rerun")
@click.argument("run", metavar="RUN")
@lab_option
@json_option
def command(run: str, lab_path: Path | None, as_json: bool) -> None:
    """Rerun the stages of a cycle that failed or never ran, and only those.

    RUN is a cycle's id or the beginning of one, its number, or the id of its run in Prefect.
    """
    lab, archive = open_lab(lab_path)
    cycle = find_cycle(archive.cycles() if archive.exists() else [], run, lab)
    if cycle["status"] == "done":
        _tell(as_json, {**_nothing(cycle), "summary": None}, f"{cycle['summary']}")
        return
    from noctuary.cli.watch import watched
    from noctuary.journal import Journal

    journal = Journal(lab.journal_path)
    position = journal.end()
    summary, address = watched("cycle", parameters_of(lab, cycle), lab, quiet=as_json)
    events = [event for _, event in journal.read(position)]
    _tell(
        as_json,
        {**account(cycle["cycle_id"], events), "summary": summary},
        f"{summary['statement']}\nthe run in the Prefect UI: {address}",
    )


def find_cycle(cycles: Sequence[dict[str, Any]], text: str, lab: "Lab") -> dict[str, Any]:
    """Return the one cycle that is meant.

    Raises:
        NotFound: none is, or several are; names those there are.
    """
    exact = [c for c in cycles if text in (c["cycle_id"], str(c["number"]), c["flow_run_id"])]
    hits = exact or [c for c in cycles if text and c["cycle_id"].startswith(text)]
    if len(hits) == 1:
        return hits[0]
    known = hits or cycles
    shown = ", ".join(f"{c['cycle_id']} ({c['status']})" for c in known[-SHOWN:])
    if hits:
        raise NotFound(f"{text!r} could be {shown}; type one of these ids")
    raise NotFound(
        f"{text!r} is no cycle of {lab.root}; expected a cycle's id, its number, or its run in "
        + (f"Prefect: there are {shown}" if known else "Prefect, but no cycle ever ran here")
    )


def parameters_of(lab: "Lab", cycle: dict[str, Any]) -> "CycleRun":
    """Return what a cycle was run with; of the rules, what a cycle keeps of those of then.

    Raises:
        NotFound: the lab has no record of it, or none that this noctuary can read.
        UsageError: the policy is broken.
    """
    from noctuary.night import CycleRun
    from noctuary.policy import load_policy

    path = lab.cycles / f"{cycle['cycle_id']}.json"
    try:
        run = CycleRun.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotFound(
            f"{path} does not hold the settings of the cycle ({type(error).__name__}); expected "
            "the file written at its start: run it again with the command that ran it first"
        ) from error
    policy = load_policy(lab.policy_path).for_cycle_begun_under(run.policy)
    return run.model_copy(update={"lab": str(lab.root), "policy": policy})  # it may have moved


def account(cycle_id: str, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a rerun executed and what it found finished, from its journal."""
    from noctuary.cli.progress import STAGES

    ran = Counter(
        event["stage"]
        for event in events
        if event["event"] == "stage finished" and event["cycle"] == cycle_id
    )
    return {
        "cycle": cycle_id,
        "executed": {stage: ran[stage] for stage in STAGES if ran[stage]},
        "found": [stage for stage in STAGES if not ran[stage]],
        "trials": sum(event["event"] == "trial finished" for event in events),
    }


def _nothing(cycle: dict[str, Any]) -> dict[str, Any]:
    return account(cycle["cycle_id"], [])


def _tell(as_json: bool, found: dict[str, Any], last: str) -> None:
    if as_json:
        print_json(found)
        return
    executed = ", ".join(f"{stage} ({count})" for stage, count in found["executed"].items())
    if executed:
        click.echo(f"cycle {found['cycle']}: executed {executed}; {found['trials']} trials run")
        click.echo(f"found finished: {', '.join(found['found']) or 'nothing'}")
    else:
        click.echo(f"cycle {found['cycle']} is done: there is nothing to rerun")
    click.echo(last)

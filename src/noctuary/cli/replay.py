"""`noctuary replay`: a recorded trial, trained again and held against its record."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noctuary.cli.common import (
    console,
    find_record,
    json_option,
    lab_option,
    open_lab,
    print_json,
    table,
)
from noctuary.errors import CheckFailed, NotFound

if TYPE_CHECKING:
    from noctuary.archive import Archive
    from noctuary.lab import Lab
    from noctuary.replay import Record, Replay


@click.command("replay")
@click.argument("trial", metavar="TRIAL")
@lab_option
@json_option
def command(trial: str, lab_path: Path | None, as_json: bool) -> None:
    """Train a recorded trial again, and compare losses and weights with the record.

    TRIAL is the id of a trial that is ok, or the beginning of one. On the same kind of processor
    with the same versions, every bit must be the same. Elsewhere the distance is told, and held
    against a tolerance. Nothing in the lab is changed.
    """
    from noctuary.config import load_settings
    from noctuary.jobs import JobRunner
    from noctuary.lab import Lab
    from noctuary.plan import with_text
    from noctuary.policy import load_policy
    from noctuary.replay import read_record, replay
    from noctuary.sandbox.launcher import Launcher

    lab, archive = open_lab(lab_path)
    settings = with_text(load_settings(lab.settings_path), lab).training
    demanded = load_policy(lab.policy_path).sandbox.demanded
    record = read_record(lab, find_trial(lab, archive, trial), settings)
    with tempfile.TemporaryDirectory(prefix="noctuary-replay-") as folder:
        scratch = Lab.create_or_open(Path(folder))
        scratch.require_space()
        log = scratch.logs / "launcher.log"
        with Launcher(1, log, arithmetic=record.arithmetic) as own:
            runner = JobRunner(scratch, own, demanded)
            with runner.work_folder(record.trial.spec.trial_id) as work:
                found = replay(record, runner, settings, work)
    if as_json:
        print_json({"holds": found.holds, **found.model_dump()})
    else:
        _print(record, found)
    if not found.holds:
        raise CheckFailed(_difference(found))


def find_trial(lab: "Lab", archive: "Archive", text: str) -> str:
    """Return the id of the trial that is meant: one that is finished, or that is recorded.

    Raises:
        NotFound: none is, several are, or something else is.
    """
    if text.isalnum() and (lab.trials / text / "result.json").exists():
        return text
    kind, identity = find_record(archive, text)
    if kind != "trial":
        raise NotFound(
            f"{text!r} is the {kind} {identity}; expected a trial: `noctuary show {identity}` "
            "tells which there are"
        )
    return identity


def _print(record: "Record", found: "Replay") -> None:
    from noctuary.distance import EARLY, LATE

    spec, out = record.trial.spec, console()
    losses, weights = record.training
    out.print(
        f"trial {spec.trial_id}: {spec.candidate_id} on {spec.task} of {spec.suite}, rung "
        f"{spec.rung}, seed {spec.seed}, {record.arithmetic} arithmetic"
    )
    if found.changed:
        changed = table(
            "what computes is not what it was", [("", False), ("then", False), ("now", False)]
        )
        for name, sides in found.changed.items():
            changed.add_row(name, *sides)
        out.print(changed)
    apart = found.distance
    if apart.is_zero:
        out.print(f"equal in every bit: {len(losses)} losses and {len(weights)} tensors")
        return
    shown = table("distance", [("", False), ("different", True), ("most", True), ("may be", True)])
    may = found.tolerance.model_dump() if found.tolerance is not None else {}
    some = f"{apart.steps} of {len(losses)}"
    most_in = f", most in {apart.tensor}" if apart.tensor else ""
    for what, different, name in (
        ("loss of the first step", "", "first_loss"),
        (f"losses of the first {EARLY} steps", "", "early_loss"),
        ("losses of all steps", some, "loss"),
        (f"mean loss of the last {LATE:.0%} of them", "", "final_loss"),
        (f"weights{most_in}", f"{apart.tensors} of {len(weights)}", "weight"),
    ):
        limit = "0" if found.tolerance is None else f"{may[name]:g}" if name in may else "-"
        shown.add_row(what, different, f"{getattr(apart, name):.3g}", limit)
    out.print(shown)


def _difference(found: "Replay") -> str:
    apart, parts = found.distance, []
    if apart.steps:
        parts.append(
            f"{apart.steps} losses from step {apart.first_step} on, by up to {apart.loss:.3g}"
        )
    if apart.tensors:
        parts.append(f"{apart.tensors} tensors, most {apart.tensor}, by up to {apart.weight:.3g}")
    expected = (
        "every bit to be the same on the same kind of processor, with the same versions"
        if found.tolerance is None
        else "no more than is tolerated where something else computes"
    )
    return (
        f"the replay of {found.trial_id} differs from its record in {' and '.join(parts)}; "
        f"expected {expected}: `noctuary ledger verify` says whether the record is as it was signed"
    )

"""`noctuary show`: one record of the archive, with what belongs to it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import (
    console,
    find_record,
    json_option,
    lab_option,
    number,
    open_lab,
    print_json,
    table,
)
from noctuary.errors import NotFound

if TYPE_CHECKING:
    from rich.console import Console

    from noctuary.archive import Archive
    from noctuary.lab import Lab

_TABLES = {
    "candidate": ("candidates", "candidate_id"),
    "trial": ("trials", "trial_id"),
    "gap": ("gaps", "gap_id"),
    "finding": ("findings", "finding_id"),
    "insight": ("insights", "insight_id"),
    "cycle": ("cycles", "cycle_id"),
    "paper": ("papers", "paper_id"),
    "claim": ("claims", "claim_id"),
}


@click.command("show")
@click.argument("record", metavar="ID")
@lab_option
@json_option
def command(record: str, lab_path: Path | None, as_json: bool) -> None:
    """Show a candidate, trial, gap, finding, insight, cycle, paper or claim.

    ID is an id, the beginning of one, or a candidate's name. Says as well which entry of the
    ledger attests the record.
    """
    lab, archive = open_lab(lab_path)
    kind, identity = find_record(archive, record)
    found = describe(lab, archive, kind, identity)
    if as_json:
        print_json(found)
    elif kind == "claim":
        _print_claim(found)
    else:
        _print(found)


def describe(lab: "Lab", archive: "Archive", kind: str, identity: str) -> dict[str, Any]:
    """Return the record and what belongs to it, ready for JSON."""
    from noctuary.consent import answers_of

    name, key = _TABLES[kind]
    found: dict[str, Any] = {"record": kind, **archive.records(name, **{key: identity})[0]}
    found["attested_by"] = _attested_by(lab, archive, name, identity)
    if kind == "candidate":
        found["path"] = str(source_path(lab, identity, found["path"]))
        designs = archive.records("designs", design_id=identity)
        found["design"] = designs[0] if designs else None
        found["audits"] = archive.records("audits", candidate_id=identity)
        found["trials"] = [_brief(row) for row in archive.records("trials", candidate_id=identity)]
        found["standings"] = archive.leaderboard(candidate=identity)
    elif kind == "trial":
        found["folder"] = str(lab.trials / identity)
        curve = archive.records("curves", trial_id=identity)
        found["curve"] = [{"step": row["step"], "loss": row["loss"]} for row in curve]
    elif kind == "gap":
        outcomes = archive.records("gap_outcomes", gap_id=identity)
        found["outcome"] = outcomes[0]["statement"] if outcomes else None
    elif kind == "cycle":
        found["designs"] = [
            {"design_id": row["design_id"], "name": row["name"]}
            for row in archive.records("designs", cycle=found["number"])
        ]
        found["findings"] = archive.records("findings", cycle=found["number"])
        found["consents"] = [
            {"before": said.question.before, "approved": said.approved, "note": said.note}
            for said in answers_of(lab, identity)
        ]
    return found


def _attested_by(lab: "Lab", archive: "Archive", name: str, identity: str) -> str:
    """Return, in words, where the ledger says what the record is."""
    from noctuary.ledger.log import Ledger

    said = archive.query("attested", table=name, key=identity)
    if not said:
        return "nothing: it was recorded without a statement"
    entry = None
    with contextlib.suppress(NotFound), Ledger.read(lab.ledger) as ledger:  # there may be none yet
        entry = ledger.find(said[0]["sha256"])
    if entry is None:
        return f"statement {said[0]['statement']}, which waits for the ledger"
    return f"entry {entry} of the ledger"


def source_path(lab: "Lab", candidate_id: str, recorded: str) -> Path:
    """Return where the candidate's source lies: the lab's copy, else where it was recorded."""
    copy = lab.candidates / f"{candidate_id}.py"
    return copy if copy.exists() else lab.root / recorded


def _brief(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("trial_id", "suite", "task", "rung", "seed", "learning_rate", "status", "reason")
    return {name: row[name] for name in (*names, "score")}


def _print(found: Mapping[str, Any]) -> None:
    out = console()
    nested = {
        *("design", "audits", "trials", "standings", "curve"),
        *("designs", "findings", "consents"),
    }
    for name, value in found.items():
        if name not in nested or (name == "findings" and found["record"] == "gap"):
            _print_field(out, name, value)
    design = found.get("design")
    if design:
        for name in ("motivation", "operator", "parents", "gap_id", "findings", "cycle"):
            _print_field(out, name, design[name])
    for audit in found.get("audits", ()):
        verdict = "accepted" if audit["accepted"] else f"rejected: {audit['reason']}"
        _print_field(out, "audit", f"{audit['suite']}: {verdict}")
        for check in audit["checks"]:
            mark = "ok" if check["passed"] else "FAILED"
            out.print(f"    {check['name']}: {mark} {check['detail']}".rstrip())
    for row in found.get("standings", ()):
        rank = "no rank" if row["rank"] is None else f"rank {row['rank']}"
        _print_field(
            out,
            "standing",
            f"{row['suite']}, rung {row['rung']}: {rank}, score {number(row['score'])}, difference "
            f"{number(row['difference'], sign=True)} to {row['baseline'] or 'no baseline'}",
        )
    if found.get("trials"):
        _print_trials(out, found["trials"])
    if found.get("curve"):
        first, last = found["curve"][0], found["curve"][-1]
        _print_field(
            out,
            "curve",
            f"{len(found['curve'])} points, loss {number(first['loss'])} at step "
            f"{first['step']} to {number(last['loss'])} at step {last['step']}",
        )
    if found["record"] == "cycle":
        _print_cycle(out, found)


def _print_claim(found: Mapping[str, Any]) -> None:
    from noctuary.archive.rows import claim_from
    from noctuary.cli.claim import plan_lines
    from noctuary.report.claims import comparison_rows, rule

    claim, out = claim_from(dict(found)), console()
    _print_field(out, "claim", f"{claim.claim_id}, number {claim.plan.number}: {claim.status}")
    for line in (*plan_lines(claim.plan), rule(claim.plan)):
        out.print(line, soft_wrap=True)
    if claim.draw is not None:
        _print_field(out, "registered", f"entry {claim.draw.entry} of the ledger")
        _print_field(out, "drawn seeds", list(claim.draw.seeds))
    if claim.verdict is not None:
        _print_field(out, "verdict", claim.verdict.reason)
        compared = comparison_rows(claim.plan, claim.verdict)
        shown = table("comparisons", [(head, False) for head in (compared[0] if compared else ())])
        for row in compared:
            shown.add_row(*row.values())
        out.print(shown)
    _print_field(out, "attested_by", found["attested_by"])


def _print_cycle(out: "Console", found: Mapping[str, Any]) -> None:
    for row in found["designs"]:
        _print_field(out, "design", f"{row['design_id']} {row['name']}")
    for row in found["findings"]:
        _print_field(out, "finding", f"{row['finding_id']} {row['statement']}")
    for row in found["consents"]:
        said = "approved" if row["approved"] else "refused"
        _print_field(out, "consent", f"{row['before']} {said}: {row['note'] or 'without a note'}")


def _print_field(out: "Console", name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}={item}" for key, item in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value)) or "-"
    out.print(f"{name}: {'-' if value is None or value == '' else value}", soft_wrap=True)


def _print_trials(out: "Console", trials: list[dict[str, Any]]) -> None:
    shown = table(
        "trials",
        [
            ("rung", True),
            ("task", False),
            ("seed", True),
            ("rate", True),
            ("score", True),
            ("status", False),
            ("id", False),
        ],
    )
    order = ("suite", "rung", "task", "seed", "learning_rate")
    for row in sorted(trials, key=lambda row: tuple(row[name] for name in order)):
        shown.add_row(
            str(row["rung"]),
            row["task"],
            str(row["seed"]),
            f"{row['learning_rate']:g}",
            number(row["score"]),
            f"{row['status']}: {row['reason']}" if row["reason"] else row["status"],
            row["trial_id"],
        )
    out.print(shown)

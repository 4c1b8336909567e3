"""Whoever changes the archive or a file of a lab is found, and what was changed is named.

The ledger itself is untouched here: it is what says how archive and files have to be.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from claimed_lab import DESIGN

from noctuary.archive import Archive
from noctuary.errors import LedgerBroken
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.verifying import verify_lab


@pytest.fixture
def lab(original: Lab, tmp_path: Path) -> Lab:
    shutil.copytree(original.root, tmp_path / "lab")
    return Lab.open(tmp_path / "lab")


def changed(lab: Lab, *statements: str) -> None:
    with closing(duckdb.connect(lab.archive_path)) as connection:
        for statement in statements:
            connection.execute(statement)


def problems(lab: Lab) -> str:
    """Return what is wrong, a line each."""
    found = verify_lab(lab, (lab.ledger / "key.pub").read_text())
    assert found.ok == (not found.problems)
    return "".join(f"{problem}\n" for problem in found.problems)


EDITED = {
    "papers": "UPDATE papers SET account = 'It does not.'",
    "insights": "UPDATE insights SET strength = 0.1",
    "gaps": "UPDATE gaps SET expected_effect = 0.5",
    "gap_outcomes": "UPDATE gap_outcomes SET verdict = 'supported'",
    "candidates": "UPDATE candidates SET kind = 'design' WHERE name = 'rival'",
    "designs": "UPDATE designs SET motivation = 'to win'",
    "audits": "UPDATE audits SET accepted = false",
    "trials": "UPDATE trials SET score = 0.9 WHERE rung = 0 AND candidate_id LIKE 'd%'",
    "curves": "UPDATE curves SET loss = 0.1 WHERE step = 2",
    "findings": "UPDATE findings SET effect = 0.3",
    "claims": "UPDATE claims SET status = 'verified' WHERE number = 2",
    "cycles": "UPDATE cycles SET summary = 'it was a triumph'",
}
"""table -> what an attacker changes in it."""

INSERTED = {
    "papers": "paper_id = 'arxiv:1'",
    "insights": "insight_id = 'forged'",
    "gaps": "gap_id = 'forged'",
    "gap_outcomes": "gap_id = 'forged'",
    "candidates": "candidate_id = 'forged', name = 'forged'",
    "designs": "design_id = 'forged'",
    "audits": "suite = 'forged'",
    "trials": "trial_id = 'forged'",
    "curves": "trial_id = 'forged'",
    "findings": "finding_id = 'forged'",
    "claims": "claim_id = 'forged', number = 9",
    "cycles": "cycle_id = 'forged'",
}
"""table -> what differs in the row that an attacker adds."""


def test_a_row_that_was_edited_is_named_whatever_its_table(lab: Lab) -> None:
    changed(lab, *EDITED.values())
    said = problems(lab)
    for table in EDITED:
        assert f"{table}/" in said, table
    assert "entry 7: findings/" in said


def test_a_row_that_was_removed_is_named_whatever_its_table(lab: Lab) -> None:
    changed(lab, *(f'DELETE FROM "{table}"' for table in EDITED))
    said = problems(lab)
    for table in EDITED:
        assert f"{table}/" in said, table
    assert "missing" in said


def test_a_row_that_was_added_is_named_whatever_its_table(lab: Lab) -> None:
    changed(
        lab,
        *(
            statement
            for table, differs in INSERTED.items()
            for statement in (
                f'CREATE TEMP TABLE one AS SELECT * FROM "{table}" LIMIT 1',
                f"UPDATE one SET {differs}",
                f'INSERT INTO "{table}" SELECT * FROM one',
                "DROP TABLE one",
            )
        ),
    )
    said = problems(lab)
    for table, differs in INSERTED.items():
        key = differs.split("'")[1]
        assert any(f"{table}/" in line and key in line for line in said.splitlines()), table


ON_THE_ARCHIVE: dict[str, tuple[str, str]] = {
    "the plan of a claim": (
        "UPDATE claims SET plan = json_merge_patch(plan, '{\"smallest_effect\": 0.001}') "
        "WHERE number = 1",
        "the plan of claim",
    ),
    "the seeds of a claim": (
        "UPDATE claims SET draw = json_merge_patch(draw, '{\"seeds\": [1, 2]}') WHERE number = 1",
        "the draw of claim",
    ),
    "the verdict on a claim": (
        'UPDATE claims SET verdict = json_merge_patch(verdict, \'{"status": "verified"}\') '
        "WHERE number = 2",
        "the verdict of claim",
    ),
    "a statement": (
        "UPDATE statements SET payload = replace(payload, 'audit', 'aduit') WHERE number = 5",
        "statement 5",
    ),
    "a statement and its hash": (
        "UPDATE statements SET payload = replace(payload, 'audit', 'aduit'), "
        "sha256 = sha256(replace(payload, 'audit', 'aduit')) WHERE number = 5",
        "statement 5",
    ),
    "a statement that is gone": ("DELETE FROM statements WHERE number = 5", "statement"),
    "what attests a row": (
        "UPDATE attested SET statement = 1 WHERE \"table\" = 'findings'",
        "findings/",
    ),
    "the ledger that is known": ("UPDATE ledger_head SET root = repeat('0', 64)", "ledger"),
}


@pytest.mark.parametrize("name", ON_THE_ARCHIVE)
def test_what_the_archive_says_of_the_ledger_is_held_against_it(lab: Lab, name: str) -> None:
    statement, named = ON_THE_ARCHIVE[name]
    changed(lab, statement)
    assert named in problems(lab)


def test_a_file_that_was_edited_is_named(lab: Lab) -> None:
    """A result, weights, losses, a curve, a specification, a candidate: one byte of each."""
    weights = next(lab.trials.glob("*/weights.safetensors"))
    edited = [
        *(weights.with_name(name) for name in ("spec.json", "curve.csv", "losses.bin")),
        weights,
        next(path for path in lab.trials.glob("*/result.json") if path.parent != weights.parent),
        lab.candidates / f"{DESIGN}.py",
    ]
    for path in edited:
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
    said = problems(lab)
    for path in edited:
        name = str(path.relative_to(lab.root))
        assert any(name in line and line.startswith("entry ") for line in said.splitlines()), name


def test_a_file_that_was_removed_is_named(lab: Lab) -> None:
    folder = next(lab.trials.glob("*/weights.safetensors")).parent
    (lab.candidates / f"{DESIGN}.py").unlink()
    shutil.rmtree(folder)
    said = problems(lab)
    assert f"candidates/{DESIGN}.py is missing" in said
    assert f"trials/{folder.name}/weights.safetensors is missing" in said


def test_a_result_that_was_improved_is_named_also_by_its_verdict(lab: Lab) -> None:
    [claim, *_] = Archive(lab.archive_path).claims()
    assert claim.verdict is not None
    trial = sorted(claim.verdict.trials)[0]
    path = lab.trials / trial / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "score": result["score"] + 0.1}, indent=1))
    said = problems(lab)
    assert f"trials/{trial}/result.json in the lab" in said
    assert f"verdict of claim {claim.claim_id}: the result of trial {trial}" in said


def another(lab: Lab) -> None:
    shutil.rmtree(lab.ledger)
    with Ledger.open(lab.ledger):
        pass


def older(lab: Lab) -> None:
    """Put a copy in place from before the last entry."""
    with Ledger.read(lab.ledger) as ledger:
        size = ledger.size - 1
    import sqlite3

    with closing(sqlite3.connect(lab.ledger / "ledger.sqlite")) as rows, rows:
        rows.execute("DELETE FROM entries WHERE idx >= ?", (size,))
        rows.execute("DELETE FROM heads WHERE size > ?", (size,))
        rows.execute("DELETE FROM nodes WHERE (idx + 1) << level > ?", (size,))


REPLACED: Sequence[Callable[[Lab], None]] = (another, older)


@pytest.mark.parametrize("replace", REPLACED, ids=lambda one: one.__name__)
def test_a_ledger_that_was_replaced_is_named_by_the_archive(
    lab: Lab, replace: Callable[[Lab], None]
) -> None:
    replace(lab)
    assert "does not extend" in problems(lab)


def test_a_ledger_that_was_removed_is_named_by_the_archive(lab: Lab) -> None:
    shutil.rmtree(lab.ledger)
    with pytest.raises(LedgerBroken, match="holds no ledger"):
        verify_lab(lab, None)

"""Archive, files and ledger held against each other: what is edited, removed or put in is named.

Ways to tamper with the ledger itself, and with claims, are in `integration/test_tampering`.
"""

import shutil
from pathlib import Path

import pytest
from attested_lab import (
    SETTINGS,
    compared,
    make_plan,
    problems,
    registered,
    sql,
    statements,
    subjects,
    trained,
)
from builders import make_finding, make_insight, make_outcome, make_paper, whole_lab

from noctuary.archive import Archive
from noctuary.archive.digests import KEYS
from noctuary.attesting import flush
from noctuary.errors import LedgerBroken
from noctuary.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


@pytest.fixture
def archive(lab: Lab) -> Archive:
    return Archive(lab.archive_path, patience=5.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """A lab in which there is a row of each kind, and all is attested; and one of its trials."""
    lab = Lab.create_or_open(tmp_path_factory.mktemp("whole") / "lab")
    archive = Archive(lab.archive_path, patience=5.0)
    ids = whole_lab(archive)
    with archive.attested("stage", {"stage": "all"}) as write:
        write.record_trials(lab.trials, [path.name for path in lab.trials.iterdir()])
        write.record_gap_outcome(make_outcome(ids["gap"]))
    registered(lab, archive, make_plan())
    assert {table for table in KEYS if not archive.records(table)} == set()
    assert problems(lab, archive) == []
    return lab, ids["trial"]


@pytest.fixture
def attested(whole: tuple[Lab, str], lab: Lab) -> str:
    """The trial; the lab of the test is a copy."""
    original, trial_id = whole
    shutil.copytree(original.root, lab.root, dirs_exist_ok=True)
    return trial_id


EDITS = {
    "papers": "UPDATE papers SET title = 'another'",
    "insights": "UPDATE insights SET direction = -direction",
    "gaps": "UPDATE gaps SET expected_effect = -expected_effect",
    "gap_outcomes": "UPDATE gap_outcomes SET n = n + 1",
    "candidates": "UPDATE candidates SET kind = 'x'",
    "designs": "UPDATE designs SET motivation = 'another'",
    "audits": "UPDATE audits SET accepted = NOT accepted",
    "trials": "UPDATE trials SET score = score + 1e-12",
    "curves": "UPDATE curves SET loss = loss + 1e-12 WHERE step = 3",
    "findings": "UPDATE findings SET low = coalesce(low, 0) - 1e-12",
    "claims": "UPDATE claims SET status = 'verified'",
    "cycles": "UPDATE cycles SET finished = finished - INTERVAL 1 HOUR",
}


def test_each_row_that_is_edited_removed_or_put_in_is_named(
    lab: Lab, archive: Archive, attested: str
) -> None:
    assert set(EDITS) == set(KEYS)
    first = {table: sql(archive, f"SELECT min({KEYS[table]}) FROM {table}")[0][0] for table in KEYS}
    for table, edit in EDITS.items():
        narrowed = "AND" if "WHERE" in edit else "WHERE"
        sql(archive, f"{edit} {narrowed} {KEYS[table]} = ?", first[table])
    found = problems(lab, archive)
    for table, key in first.items():
        [_] = [one for one in found if f"{table}/{key} in the archive is not what it att" in one]
    assert len(found) == len(KEYS)

    sql(archive, "CREATE TABLE kept AS FROM papers")
    for table, key in first.items():
        sql(archive, f"DELETE FROM {table} WHERE {KEYS[table]} = ?", key)
    sql(archive, "INSERT INTO papers SELECT * REPLACE ('forged' AS paper_id) FROM kept")
    found = problems(lab, archive)
    for table, key in first.items():
        assert any(f"{table}/{key} is missing in the archive" in one for one in found), table
    assert "no statement attests papers/forged in the archive" in found


@pytest.mark.parametrize("name", ["result.json", "curve.csv"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_file_of_a_trial_that_is_edited_or_removed_is_named(
    lab: Lab, archive: Archive, attested: str, name: str, gone: bool
) -> None:
    path = lab.trials / attested / name
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    state = "is missing in the lab" if gone else "in the lab is not what it attests"
    [problem] = problems(lab, archive)
    assert problem.startswith("entry ")
    assert f"trials/{attested}/{name} {state}" in problem


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ("UPDATE statements SET payload = replace(payload, 'all', 'any') WHERE {last}", "edited"),
        ("DELETE FROM statements WHERE number = 1", "stands where 1 is expected"),
        (
            "UPDATE attested SET sha256 = repeat('0', 64) WHERE \"table\" = 'gaps'",
            "notes to be attested of gaps",
        ),
        ("UPDATE ledger_head SET root = repeat('0', 64)", "does not extend"),
    ],
)
def test_an_edited_record_of_what_was_said_is_named(
    lab: Lab, archive: Archive, attested: str, edit: str, named: str
) -> None:
    sql(archive, edit.format(last="number = (SELECT max(number) FROM statements)"))
    assert named in " ".join(problems(lab, archive))


def test_nothing_is_recorded_over_a_row_that_was_edited(
    lab: Lab, archive: Archive, attested: str
) -> None:
    sql(archive, "UPDATE papers SET title = 'another'")
    named = r"papers/arxiv:2406\.06484 in the archive was changed"
    with (
        pytest.raises(LedgerBroken, match=named),
        archive.attested("stage", {"stage": "fetch"}) as write,
    ):
        write.record_papers([make_paper()])
        write.record_insights([make_insight(statement="new")])
    assert "new" not in {insight.statement for insight in archive.insights()}
    assert len(problems(lab, archive)) == 1


def test_a_trial_that_says_something_else_later_stays_a_problem(lab: Lab, archive: Archive) -> None:
    trial_id = trained(lab, archive, cycle=1)
    trained(lab, archive, cycle=2)  # its folder was lost: the same result, at another time
    flush(lab, archive, SETTINGS)
    assert problems(lab, archive) == []
    (lab.trials / trial_id / "weights.safetensors").write_bytes(b"others")
    with archive.attested("stage", {"stage": "train", "cycle": 3}) as write:
        write.record_trials(lab.trials, [trial_id])
    trained(lab, archive, 0.9, cycle=4)
    flush(lab, archive, SETTINGS)
    told = " ".join(problems(lab, archive))
    assert f"entry 3: file:trials/{trial_id}/weights.safetensors is another" in told
    assert f"entry 4: trials/{trial_id} is another than an earlier entry attests" in told


def test_what_was_recorded_before_the_ledger_is_adopted_and_named_as_such(
    lab: Lab, archive: Archive
) -> None:
    whole_lab(archive)
    with archive.attested("stage", {"stage": "fetch"}) as write:
        write.record_papers([make_paper(paper_id="arxiv:2601.00001")])
    [adopted, _] = statements(archive)
    assert adopted["predicate"]["adopted"] == "recorded before the ledger"
    flush(lab, archive, SETTINGS)
    found = compared(lab, archive)
    assert found.ok
    count = len(subjects(adopted))
    assert found.remarks == (f"{count} rows were there before the ledger, as they were then",)
    archive.record_findings([make_finding(statement="without a word")])
    assert len(problems(lab, archive)) == 1


def test_a_claim_whose_plan_is_another_than_was_registered_is_named(
    lab: Lab, archive: Archive
) -> None:
    plan = make_plan()
    archive.migrate()
    registered(lab, archive, plan)
    assert problems(lab, archive) == []
    sql(archive, "UPDATE claims SET plan = replace(plan, '0.02', '0.01')")
    told = problems(lab, archive)
    assert told == [
        f"entry 1: claims/{plan.claim_id} in the archive is not what it attests; it was edited",
        f"the plan of claim {plan.claim_id} in the archive is another one",
    ]

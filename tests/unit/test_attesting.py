"""Rows and what is said of them: one transaction, one statement, which the ledger gets once.

That a writer which is killed leaves both in agreement is in `integration/test_ledger_kill`; what
verification finds where they do not agree is in `test_agreement`.
"""

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from attested_lab import SETTINGS, compared, make_plan, sql, statements, subjects, trained
from builders import (
    STARTED,
    make_audit,
    make_finding,
    make_human,
    make_insight,
    make_paper,
    make_trial,
    write_trials,
)
from disks import SmallDisk

from noctuary.archive import Archive
from noctuary.attesting import Agreement, flush
from noctuary.domain import Claim, Draw
from noctuary.errors import ArchiveBusy, LedgerBroken, NoSpace, NotFound
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


@pytest.fixture
def archive(lab: Lab) -> Archive:
    return Archive(lab.archive_path, patience=5.0)


# Statements


def test_a_block_is_one_statement_about_all_that_it_changed(lab: Lab, archive: Archive) -> None:
    human = make_human("retnet")
    source = lab.candidates / f"{human.candidate_id}.py"
    source.write_text("class Mixer: ...\n")
    (trial_id,) = write_trials(lab.trials, [make_trial("d1", "mqar", 0, 0.5)])
    with archive.attested("stage", {"stage": "train"}, {"result": "ab" * 32}) as write:
        write.record_candidates([human])
        write.record_audits([make_audit("d1")], 1)
        write.attest_file(lab.root, f"candidates/{source.name}")
        write.record_trials(lab.trials, [trial_id])
        write.facts["inputs"] = {"seed": "18446744073709551615"}
    [statement] = statements(archive)
    assert statement["predicateType"] == "urn:noctuary:stage:1"
    assert {"stage", "inputs", "time"} == set(statement["predicate"])
    assert subjects(statement) == {
        "result",
        f"candidates/{human.candidate_id}",
        f"file:candidates/{source.name}",
        f"audits/d1/{make_audit('d1').suite}",
        f"trials/{trial_id}",
        f"curves/{trial_id}",
        f"file:trials/{trial_id}/result.json",
        f"file:trials/{trial_id}/curve.csv",
    }


def test_only_what_changed_is_said_again_and_what_repeats_is_not_said(archive: Archive) -> None:
    def record(*findings: str, cycle: int = 1) -> None:
        with archive.attested("stage", {"stage": "analyse", "cycle": {"number": cycle}}) as write:
            write.record_papers([make_paper()])
            write.record_findings([make_finding(statement=words) for words in findings])

    record("a")
    record("a")
    assert len(statements(archive)) == 1
    record("a", "b")
    [_, second] = statements(archive)
    assert len(subjects(second)) == 1
    record("a", "b", cycle=2)  # another cycle did the same: that is said
    assert [len(subjects(one)) for one in statements(archive)] == [2, 1, 0]


def test_a_block_that_fails_records_nothing(archive: Archive) -> None:
    archive.migrate()
    with pytest.raises(ZeroDivisionError), archive.attested("stage", {}) as write:
        write.record_papers([make_paper()])
        raise ZeroDivisionError
    with pytest.raises(NotFound), archive.attested("stage", {}) as write:
        write.record_papers([make_paper()])
        write.close_cycle("c0001-00000000", "done")
    assert archive.papers() == ()
    assert statements(archive) == []


def test_the_archive_is_free_while_a_block_computes(archive: Archive) -> None:
    archive.migrate()
    with archive.attested("stage", {"stage": "fetch"}) as write:
        write.record_papers([make_paper()])
        assert archive.papers() == ()
    assert len(archive.papers()) == 1


def test_a_clock_that_jumps_back_is_told_and_time_does_not_follow_it(
    lab: Lab, archive: Archive
) -> None:
    later = Archive(archive.path, now=lambda: STARTED)
    earlier = Archive(archive.path, now=lambda: STARTED - datetime.timedelta(hours=2))
    for number, each in enumerate((later, earlier, later)):
        with each.attested("stage", {"number": number}):
            pass
        flush(lab, archive, SETTINGS)
    times = [one["predicate"]["time"] for one in statements(archive)]
    assert times == [times[0]] * 3
    behind = [one["predicate"].get("clock_behind_seconds") for one in statements(archive)]
    assert behind == [None, "7200.0", None]
    assert verify_ledger(lab.ledger, None).ok


# From the archive to the ledger


def test_the_ledger_gets_each_statement_once_in_order(lab: Lab, archive: Archive) -> None:
    flush(lab, archive, SETTINGS)
    assert not lab.ledger.exists()
    for number in range(5):
        with archive.attested("stage", {"number": number}):
            pass
        if number % 2:
            flush(lab, archive, SETTINGS)
            flush(lab, archive, SETTINGS)
    assert compared(lab, archive).remarks == (
        "1 statements wait for the ledger; the next night gives it them",
    )
    flush(lab, archive, SETTINGS)
    with Ledger.read(lab.ledger) as ledger:
        assert ledger.size == 6
        said = [ledger.statement(index)["predicate"].get("number") for index in range(6)]
    assert said == [None, 0, 1, 2, 3, 4]
    assert compared(lab, archive) == Agreement((), ())


def test_another_key_is_no_stranger(lab: Lab, archive: Archive) -> None:
    trained(lab, archive)
    flush(lab, archive, SETTINGS)
    with Ledger.open(lab.ledger) as ledger:
        ledger.rotate()
    with archive.attested("stage", {"stage": "after"}):
        pass
    flush(lab, archive, SETTINGS)
    assert compared(lab, archive) == Agreement((), ())


def deleted(lab: Lab, _archive: Archive, _kept: Path) -> None:
    shutil.rmtree(lab.ledger)


def rolled_back(lab: Lab, _archive: Archive, kept: Path) -> None:
    shutil.rmtree(lab.ledger)
    shutil.copytree(kept / "ledger", lab.ledger)


def begun_anew(lab: Lab, archive: Archive, kept: Path) -> None:
    """Let the same archive fill another ledger, which is as long."""
    shutil.rmtree(lab.ledger)
    sql(archive, "CREATE TABLE kept AS FROM ledger_head")
    sql(archive, "DELETE FROM ledger_head")
    flush(lab, archive, SETTINGS)
    sql(archive, "DELETE FROM ledger_head")
    sql(archive, "INSERT INTO ledger_head FROM kept")


def archive_from_a_backup(_lab: Lab, archive: Archive, kept: Path) -> None:
    shutil.copy(kept / archive.path.name, archive.path)


def waiting_statement_edited(lab: Lab, archive: Archive, _kept: Path) -> None:
    trained(lab, Archive(archive.path), stage="later", score=0.4)
    sql(archive, "UPDATE statements SET payload = replace(payload, 'later', 'never')")


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (deleted, "holds no ledger; expected the one of 3 entries"),
        (rolled_back, "has 2 entries, and is an older copy"),
        (begun_anew, "is not the ledger of 3 entries"),
        (archive_from_a_backup, "entry 2 of .* is no statement of"),
        (waiting_statement_edited, "statement 3 .* was edited"),
    ],
)
def test_a_ledger_of_something_else_gets_nothing(
    lab: Lab,
    archive: Archive,
    tmp_path: Path,
    how: Callable[[Lab, Archive, Path], None],
    named: str,
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    trained(lab, archive)
    flush(lab, archive, SETTINGS)
    shutil.copytree(lab.ledger, kept / "ledger")
    shutil.copy(archive.path, kept)
    with archive.attested("stage", {"stage": "promote"}):
        pass
    flush(lab, archive, SETTINGS)
    flush(lab, archive, SETTINGS)

    how(lab, archive, kept)
    before = sql(archive, "SELECT count(*) FROM statements")
    with pytest.raises(LedgerBroken, match=named) as raised:
        flush(lab, archive, SETTINGS)
    assert "\n" not in str(raised.value)
    assert sql(archive, "SELECT count(*) FROM statements") == before


# Claims


def test_a_claim_is_recorded_as_far_as_it_has_come(archive: Archive) -> None:
    plan, second = make_plan(), make_plan(number=2, alpha=0.05 / 6)
    with archive.attested("registration", {"claim": plan.claim_id}) as write:
        write.record_claim(Claim(plan=second))
        write.record_claim(Claim(plan=plan))
    draw = Draw(claim_id=plan.claim_id, entry=1, head="a head\n\nsigned\n", seeds=(2**31 - 1, 5))
    with archive.attested("draw", {"claim": plan.claim_id}) as write:
        write.record_claim(Claim(plan=plan, draw=draw))
    first, other = archive.claims()
    assert first == Claim(plan=plan, draw=draw)
    assert other == Claim(plan=second)
    assert (first.status, other.status) == ("drawn", "registered")
    assert {row["status"] for row in archive.records("claims")} == {"drawn", "registered"}
    assert subjects(statements(archive)[-1]) == {f"claims/{plan.claim_id}"}


# Disks and others


def test_on_a_full_disk_nothing_is_half_done(small_disk: SmallDisk) -> None:
    lab = Lab.create_or_open(small_disk.root / "lab")
    archive = Archive(lab.archive_path, patience=5.0)
    trained(lab, archive)
    flush(lab, archive, SETTINGS)
    large = [make_insight(statement=f"{i} " + "word " * 200) for i in range(2000)]
    small_disk.fill()
    with pytest.raises(NoSpace), archive.attested("stage", {"stage": "fetch"}) as write:
        write.record_insights(large)
    small_disk.empty()
    assert archive.insights() == ()
    assert compared(lab, archive) == Agreement((), ())

    with archive.attested("stage", {"stage": "fetch"}) as write:
        write.record_insights(large)
    small_disk.fill()
    with pytest.raises(NoSpace):
        flush(lab, archive, SETTINGS)
    small_disk.empty()
    assert compared(lab, archive).ok
    flush(lab, archive, SETTINGS)
    assert compared(lab, archive) == Agreement((), ())


def test_where_the_archive_stays_busy_nothing_is_recorded_nor_given(
    lab: Lab, archive: Archive
) -> None:
    trained(lab, archive)
    hurried = Archive(archive.path, patience=0.05)
    with duckdb.connect(str(archive.path)):
        with pytest.raises(ArchiveBusy), hurried.attested("stage", {}) as write:
            write.record_papers([make_paper()])
        with pytest.raises(ArchiveBusy):
            flush(lab, hurried, SETTINGS)
    assert archive.papers() == ()
    assert not lab.ledger.exists()
    flush(lab, archive, SETTINGS)
    assert compared(lab, archive) == Agreement((), ())

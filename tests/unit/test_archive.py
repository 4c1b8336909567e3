"""The archive: what is recorded comes back, once; others may hold the file; the disk may fail.

The numbers that its SQL computes are in `test_archive_queries`.
"""

import json
from pathlib import Path

import duckdb
import pytest
from builders import (
    STARTED,
    SUITE,
    make_audit,
    make_axes,
    make_design,
    make_finding,
    make_gap,
    make_human,
    make_insight,
    make_paper,
    make_trial,
    record_scores,
    whole_lab,
    write_trials,
)

from noctuary.archive import VOLATILE_COLUMNS, Archive, migrations
from noctuary.domain import Cycle, Finding
from noctuary.errors import (
    CheckFailed,
    LabTooNew,
    NotFound,
    UsageError,
)

CONTRACT = {
    "papers",
    "insights",
    "gaps",
    "designs",
    "audits",
    "trials",
    "curves",
    "findings",
    "cycles",
}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb", patience=5.0)


def finding(**changes: object) -> Finding:
    content: dict[str, object] = {
        "kind": "comparison",
        "subject": "d1",
        "baseline": "human_retnet",
        "task": "all",
        "rung": 1,
        "low": None,
        "high": None,
        "n": 1,
    }
    return make_finding(**{**content, **changes})


def record_everything(archive: Archive) -> None:
    """Record the same things at every call, but for clocks."""
    whole_lab(archive)
    archive.record_findings([finding()])


# Values


def test_values_come_back_as_they_went_in(archive: Archive) -> None:
    paper, insight, gap = make_paper(), make_insight(cycle=2), make_gap()
    human, design = make_human("retnet"), make_design("d1", make_axes(decay="fixed"))
    audit = make_audit("d1", passed=False)
    archive.record_papers([paper])
    archive.record_insights([insight])
    archive.record_gap(gap)
    archive.record_candidates([human])
    archive.record_designs([design])
    archive.record_audits([audit], 1)
    archive.record_findings([finding()])
    trial = make_trial("d1", "mqar", 2**63, 0.1 + 0.2, rung=1, learning_rate=0.1 + 0.2)
    folder = archive.path.parent / "trials"
    archive.record_trials(folder, write_trials(folder, [trial]))

    assert archive.papers() == (paper,)
    assert archive.insights() == (insight,)
    assert archive.insights(max_cycle=1) == ()
    assert archive.gaps() == (gap,)
    assert archive.designs() == (design,)
    assert archive.designs(max_cycle=0) == ()
    assert archive.audits(SUITE) == (audit,)
    assert archive.findings() == (finding(),)
    assert archive.trials(candidate_id="d1") == (trial,)
    assert human in archive.candidates()
    assert archive.axes() == {"d1": design.axes}
    assert len(archive.records("curves", trial_id=trial.spec.trial_id)) == 6


def test_recording_nothing_is_allowed(archive: Archive) -> None:
    archive.record_papers([])
    archive.record_candidates([])
    archive.record_audits([], 1)
    archive.record_trials(archive.path.parent, [])
    assert archive.leaderboard() == []


def test_numbers_that_json_cannot_say_become_null(archive: Archive) -> None:
    trial = make_trial("d1", "mqar", 0, None, "diverged")
    trial = trial.model_copy(update={"metrics": {"loss": float("nan")}})
    folder = archive.path.parent / "trials"
    archive.record_trials(folder, write_trials(folder, [trial]))
    assert archive.records("trials")[0]["metrics"] == {"loss": None}


def test_a_shipped_account_survives_a_fetched_paper(archive: Archive) -> None:
    shipped = make_paper()
    fetched = make_paper(source="semantic_scholar", account="", mechanisms=(), axes=None)
    archive.record_papers([fetched])
    assert archive.papers() == (fetched,)
    archive.record_papers([shipped])
    archive.record_papers([fetched])
    assert archive.papers() == (shipped,)


def test_a_human_candidate_stays_human_when_a_design_equals_it(archive: Archive) -> None:
    human = make_human("retnet", make_axes(decay="fixed"))
    archive.record_candidates([human])
    archive.record_designs([make_design(human.candidate_id, make_axes(decay="fixed"))])
    assert archive.candidates() == (human,)


def test_a_design_belongs_to_the_first_cycle_that_proposed_it(archive: Archive) -> None:
    archive.record_designs([make_design("d1", make_axes(), cycle=1)])
    archive.record_designs([make_design("d1", make_axes(), cycle=2)])
    assert [design.cycle for design in archive.designs()] == [1]


def test_an_audit_keeps_its_first_cycle_and_takes_the_new_verdict(archive: Archive) -> None:
    archive.record_audits([make_audit("d1", passed=False)], 2)
    archive.record_audits([make_audit("d1", passed=True)], 3)
    (row,) = archive.records("audits")
    assert (row["cycle"], row["accepted"], row["reason"]) == (2, True, "")


# Cycles


def test_a_cycle_runs_again_and_keeps_its_start(archive: Archive) -> None:
    cycle = Cycle(number=1, seed=7, settings="s")
    archive.open_cycle(cycle, STARTED, "first")
    archive.close_cycle(cycle.cycle_id, "failed", None, "no disk", STARTED)
    archive.open_cycle(cycle, STARTED.replace(hour=9), "second")
    (row,) = archive.cycles()
    assert (row["status"], row["flow_run_id"], row["started"].hour) == ("running", "second", 1)
    assert row["finished"] is None
    archive.close_cycle(cycle.cycle_id, "done", "gap", "fine")
    (row,) = archive.cycles()
    assert (row["status"], row["gap_id"], row["summary"]) == ("done", "gap", "fine")


def test_closing_a_cycle_that_was_never_opened_is_refused(archive: Archive) -> None:
    with pytest.raises(NotFound, match="c0001-x"):
        archive.close_cycle("c0001-x", "done")


# Trials on disk


def test_an_unfinished_trial_is_not_recorded(archive: Archive) -> None:
    with pytest.raises(NotFound, match="not finished"):
        archive.record_trials(archive.path.parent, ["0123456789abcdef"])
    assert not archive.exists()


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"status": "ok"})])
def test_a_damaged_result_is_named(archive: Archive, content: str) -> None:
    folder = archive.path.parent / "trials"
    (trial_id,) = write_trials(folder, [make_trial("d1", "mqar", 0, 0.5)])
    (folder / trial_id / "result.json").write_text(content)
    with pytest.raises(CheckFailed, match="no result of a trial"):
        archive.record_trials(folder, [trial_id])


def test_a_result_in_the_wrong_folder_is_refused(archive: Archive) -> None:
    folder = archive.path.parent / "trials"
    (trial_id,) = write_trials(folder, [make_trial("d1", "mqar", 0, 0.5)])
    (folder / trial_id).rename(folder / "ffffffffffffffff")
    with pytest.raises(CheckFailed, match="expected ffffffffffffffff"):
        archive.record_trials(folder, ["ffffffffffffffff"])


def test_a_torn_or_missing_curve_is_no_obstacle(archive: Archive) -> None:
    folder = archive.path.parent / "trials"
    torn, bare = write_trials(
        folder, [make_trial("d1", "mqar", seed, None, "timeout") for seed in (0, 1)]
    )
    (folder / torn / "curve.csv").write_text("step,loss,seconds\n1,2.5,0.1\n2,nan,0.2\n3,1.")
    (folder / bare / "curve.csv").unlink()
    archive.record_trials(folder, [torn, bare])
    assert [row["step"] for row in archive.records("curves")] == [1, 2]


# The same thing twice


def test_recording_everything_again_leaves_the_archive_equal(archive: Archive) -> None:
    record_everything(archive)
    before = archive.fingerprint()
    record_everything(archive)
    assert archive.fingerprint() == before
    assert set(before) >= CONTRACT


def test_two_labs_with_the_same_work_are_equal_in_any_order(tmp_path: Path) -> None:
    prints = []
    for name, order in (("a", 1), ("b", -1)):
        (tmp_path / name).mkdir()
        archive = Archive(tmp_path / name / "noctuary.duckdb")
        scores = {(f"d{i}", "mqar", seed): i / 7 for i in range(5) for seed in range(3)}
        record_scores(archive, dict(list(scores.items())[::order]))
        archive.record_candidates([make_human(n) for n in ("retnet", "gla")[::order]])
        prints.append(archive.fingerprint())
    assert prints[0] == prints[1]


@pytest.mark.parametrize("table", ["trials", "curves", "findings", "candidates"])
def test_a_change_of_content_changes_the_fingerprint(archive: Archive, table: str) -> None:
    record_everything(archive)
    before = archive.fingerprint()
    change = {
        "trials": "UPDATE trials SET score = score + 1e-16 WHERE trial_id = "
        "(SELECT max(trial_id) FROM trials WHERE score < 0.5)",
        "curves": "UPDATE curves SET loss = loss + 1e-12 WHERE step = 3",
        "findings": "DELETE FROM findings WHERE kind = 'mechanism'",
        "candidates": "UPDATE candidates SET name = 'other' WHERE name = 'deltanet'",
    }[table]
    with duckdb.connect(str(archive.path)) as connection:
        connection.execute(change)
    after = archive.fingerprint()
    assert {name for name in before if before[name] != after[name]} == {table}


def test_volatile_columns_exist_and_are_left_out(archive: Archive) -> None:
    record_everything(archive)
    before = archive.fingerprint()
    with duckdb.connect(str(archive.path)) as connection:
        for table, columns in VOLATILE_COLUMNS.items():
            for column in columns:
                connection.execute(
                    f"UPDATE {table} SET {column} = (SELECT max({column}) FROM {table})"
                )
    assert archive.fingerprint() == before


def test_a_new_score_of_the_same_trial_replaces_the_old_one(archive: Archive) -> None:
    record_scores(archive, {("d1", "mqar", 0): None})
    record_scores(archive, {("d1", "mqar", 0): 0.5})
    (row,) = archive.records("trials")
    assert (row["status"], row["score"]) == ("ok", 0.5)
    assert len(archive.records("curves")) == 6


# Shape


def test_the_contract_tables_and_the_view_are_readable_by_a_plain_client(archive: Archive) -> None:
    record_everything(archive)
    with duckdb.connect(str(archive.path), read_only=True) as connection:
        for table in CONTRACT:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        rows = connection.execute("SELECT rank, name FROM leaderboard").fetchall()
    assert [rank for rank, _ in rows] == [1, 2, 3, 4]


def test_numbers_of_migrations_rise_by_one() -> None:
    numbers = [migration.number for migration in migrations.MIGRATIONS]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("applied", range(len(migrations.MIGRATIONS) + 1))
def test_an_older_archive_is_brought_up_to_date(tmp_path: Path, applied: int) -> None:
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as connection:
        if applied:
            migrations.migrate(connection, path, migrations.MIGRATIONS[:applied])
        if applied >= 1:
            connection.execute(
                "INSERT INTO candidates VALUES ('x', 'kept', 'human', false, NULL, 'x.py')"
            )
    archive = Archive(path)
    assert archive.leaderboard() == []  # a read brings it up to date too
    assert [c.name for c in archive.candidates()] == (["kept"] if applied else [])
    fresh = Archive(tmp_path / "fresh.duckdb")
    fresh.migrate()
    fresh.record_candidates(archive.candidates())
    assert fresh.fingerprint() == archive.fingerprint()
    archive.migrate()
    assert len(archive.records("migrations")) == len(migrations.MIGRATIONS)


OLD_TRIAL = {
    "suite": "tiny-1-0",
    "task": "mqar",
    "rung": 0,
    "seed": 3,
    "trainer": "lightning-1",
    "reason": "",
    "metrics": '{"loss": 1.5}',
    "parameters": 100,
    "steps": 6,
    "tokens": 768,
    "environment": "{}",
    "seconds": "{}",
    "peak_memory_mb": 10.0,
    "recorded_at": "2025-01-01",
    "digest": "of its files",
}
"""What a trial had before it had a learning rate."""


def test_an_archive_from_before_the_rungs_opens_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as connection:
        migrations.migrate(connection, path, migrations.MIGRATIONS[:3])
        for candidate, score, status in (("d1", 0.5, "ok"), ("d2", None, "diverged")):
            row = {**OLD_TRIAL, "candidate_id": candidate, "score": score, "status": status}
            row["trial_id"] = f"t-{candidate}"
            connection.execute(
                f"INSERT INTO trials ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                list(row.values()),
            )
        connection.execute("INSERT INTO curves VALUES ('t-d1', 1, 2.5, 0.1)")
        connection.execute(
            "INSERT INTO findings VALUES ('f1', 1, 'comparison', 'd1', 'human_retnet', 'all', "
            "0.1, NULL, NULL, 1, 'd1 scores above')"
        )
        before = connection.execute("SELECT * FROM leaderboard").fetchall()
    archive = Archive(path)
    rows = archive.leaderboard("tiny-1-0")
    assert [tuple(row[name] for name in ("candidate_id", "rank", "score")) for row in rows] == [
        ("d1", 1, 0.5),
        ("d2", None, None),
    ]
    assert len(before) == len(rows)
    good, diverged = archive.trials()
    assert (good.spec.task, good.spec.seed, good.score) == ("mqar", 3, 0.5)
    assert good.metrics == {"loss": 1.5}
    assert (good.spec.learning_rate, diverged.status) == (5e-3, "diverged")  # all had this rate
    (kept,) = archive.findings()
    assert (kept.rung, kept.statement) == (0, "d1 scores above")
    assert len(archive.records("curves")) == 1
    record_scores(archive, {("d1", "mqar", 0): 0.25})
    assert archive.leaderboard()[0]["suite"] == SUITE
    assert len(archive.trials()) == 3


def test_an_archive_of_a_newer_version_is_left_alone(archive: Archive) -> None:
    archive.migrate()
    with duckdb.connect(str(archive.path)) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'later', '2030-01-01')")
    for operation in (archive.migrate, archive.leaderboard, archive.fingerprint):
        with pytest.raises(LabTooNew, match="999"):
            operation()


def test_reading_before_there_is_an_archive_says_what_to_do(archive: Archive) -> None:
    with pytest.raises(NotFound, match="noctuary run"):
        archive.leaderboard()
    assert not archive.exists()


def test_an_unknown_query_or_parameter_is_refused(archive: Archive) -> None:
    archive.migrate()
    with pytest.raises(UsageError, match="nonsense"):
        archive.query("nonsense")
    with pytest.raises(UsageError, match="siute"):
        archive.query("leaderboard", siute="x")


def test_making_an_archive_leaves_no_other_file(archive: Archive) -> None:
    archive.migrate()
    assert [path.name for path in archive.path.parent.iterdir()] == [archive.path.name]

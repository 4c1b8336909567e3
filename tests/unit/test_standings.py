"""The kept standings against their naive twin: the views that counted all trials at every look."""

import os
import random
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pytest
from builders import (
    SUITE,
    TASKS,
    TRAINER,
    make_axes,
    make_design,
    make_human,
    make_trial,
    record_scores,
    record_trials,
    small_study,
    tuned_study,
    write_trials,
)

from noctuary.archive import Archive, migrations
from noctuary.bench.rungs import FIRST_HELD_OUT_SEED
from noctuary.domain import Trial
from noctuary.errors import NotFound

KILLED = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from builders import TASKS, record_scores
from noctuary.archive import Archive

archive = Archive(Path({archive!r}))
for number in range(10_000):
    name = f"d{{number % 5}}"
    record_scores(archive, {{(name, task, 100 + number): 0.1 * (number % 7) for task in TASKS}})
    print(number, flush=True)
"""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb")


def naive(archive: Archive, view: str) -> list[dict[str, Any]]:
    """Return what the released views of migration 4, which keep nothing, say of these trials."""
    text = resources.files("noctuary.archive") / "schema" / "0004_rungs.sql"
    views = text.read_text(encoding="utf-8").split("CREATE OR REPLACE VIEW ")[1:]
    with duckdb.connect(str(archive.path), read_only=True) as connection:
        for body in views:
            said = body.rpartition(";")[0].replace("FROM tuned", "FROM naive_tuned")
            connection.execute(f"CREATE TEMP VIEW naive_{said}")
        result = connection.execute(f"SELECT * FROM naive_{view}")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def check(archive: Archive) -> None:
    """Hold what is kept against its twins, to the last bit and in the same order."""
    kept, counted = archive.leaderboard(), naive(archive, "leaderboard")
    assert [list(row) for row in kept] == [list(row) for row in counted]
    for mine, twin in zip(kept, counted, strict=True):
        bounds = {name: mine.pop(name) for name in ("low", "high")}
        assert bounds == {name: pytest.approx(twin.pop(name)) for name in ("low", "high")}
        assert mine == twin

    def attempt(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[n] for n in ("rung", "candidate_id", "task", "seed"))

    assert sorted(archive.records("tuned"), key=attempt) == sorted(
        naive(archive, "tuned"), key=attempt
    )


def test_studies_stand_as_their_twins_say(archive: Archive) -> None:
    small_study(archive, holes=0.04)
    check(archive)
    tuned_study(archive)  # other candidates on the same boards, and fewer tasks
    check(archive)


def random_trial(rng: random.Random, names: list[str], tasks: tuple[str, ...]) -> Trial:
    fate = rng.random()
    status = "ok" if fate < 0.9 else "diverged" if fate < 0.97 else "oom"
    return make_trial(
        rng.choice(names),
        rng.choice(tasks),
        rng.randrange(3),
        rng.choice((0.25, 0.5, rng.random())) if status == "ok" else None,
        status,
        rung=rng.randrange(2),
        learning_rate=rng.choice((5e-3, 2e-3)),
    )


@pytest.mark.parametrize("seed", range(2))
def test_after_every_step_of_a_random_history(archive: Archive, seed: int) -> None:
    rng = random.Random(seed)
    humans = [make_human(f"human{number}") for number in range(3)]
    designs = [make_design(f"d{number}", make_axes()) for number in range(4)]
    names = [h.candidate_id for h in humans] + [d.design_id for d in designs] + ["stranger"]
    archive.migrate()
    for step in range(8):
        # a second trial of one spec is another result of it: the first is replaced
        tasks = TASKS[: 1 + step // 3]  # the tasks of a board grow
        trials = [random_trial(rng, names, tasks) for _ in range(rng.randrange(1, 9))]
        record_trials(archive, {trial.spec.trial_id: trial for trial in trials}.values())
        if step == 2:
            archive.record_candidates(humans)  # trained before anybody said what they are
        if step == 4:
            archive.record_designs(designs)
        if step == 6:  # a design turns out to be a published mixer, and the bar to beat
            archive.record_candidates([make_human("d0").model_copy(update={"candidate_id": "d0"})])
        check(archive)


def test_a_new_best_human_moves_everybodys_difference(archive: Archive) -> None:
    archive.record_candidates([make_human("low"), make_human("high")])
    record_scores(archive, {(c, "mqar", s): 0.5 for c in ("human_low", "d") for s in (0, 1)})
    assert [r["difference"] for r in archive.leaderboard(candidate="d")] == [0.0]
    record_scores(archive, {("human_high", "mqar", s): 0.75 for s in (0, 1)})
    assert [r["difference"] for r in archive.leaderboard(candidate="d")] == [-0.25]
    check(archive)


def test_recording_the_same_again_changes_nothing(archive: Archive) -> None:
    scores = small_study(archive)
    before = archive.fingerprint()
    record_scores(archive, scores)
    small_study(archive)
    assert archive.fingerprint() == before


def test_what_cannot_be_recorded_leaves_trials_and_standings_as_they_were(
    archive: Archive,
) -> None:
    small_study(archive)
    before = archive.fingerprint()
    folder = archive.path.parent / "trials"
    good = write_trials(folder, [make_trial("d0", "mqar", 50, 0.9)])
    with pytest.raises(NotFound):
        archive.record_trials(folder, [*good, "missing"])
    assert archive.fingerprint() == before


def test_a_process_killed_while_it_records_leaves_them_in_step(archive: Archive) -> None:
    small_study(archive)
    script = KILLED.format(tests=str(Path(__file__).parent), archive=str(archive.path))
    for pause in (0.03, 0.1):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        process.stdout.readline()  # the first is recorded; the kill hits any moment of a later one
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert max(row["n_seeds"] for row in archive.leaderboard(candidate="d0")) > 3
        check(archive)


def test_an_archive_from_before_is_counted_when_it_is_opened(archive: Archive) -> None:
    small_study(archive, holes=0.1)
    trials = archive.records("trials")
    candidates = archive.records("candidates")
    board = archive.leaderboard()
    old = Archive(archive.path.with_name("old.duckdb"))
    with duckdb.connect(str(old.path)) as connection:
        migrations.migrate(connection, old.path, migrations.MIGRATIONS[:8])
        connection.execute(f"ATTACH '{archive.path}' AS new (READ_ONLY)")
        for table in ("trials", "candidates"):
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new.{table}")
    assert old.leaderboard(SUITE) == board
    assert (old.records("trials"), old.records("candidates")) == (trials, candidates)
    check(old)


def test_the_best_of_each_board_and_one_candidate(archive: Archive) -> None:
    small_study(archive)
    record_scores(archive, {("d0", task, 0): 0.5 for task in TASKS}, rung=1)
    everybody = archive.leaderboard()
    assert archive.leaderboard(top=2) == [r for r in everybody if r["rank"] and r["rank"] <= 2]
    assert archive.leaderboard(candidate="d0") == [
        row for row in everybody if row["candidate_id"] == "d0"
    ]


def test_trials_that_decide_a_claim_stand_on_no_board(archive: Archive) -> None:
    small_study(archive)
    before = archive.leaderboard()
    seen = {task: list(found.seen.scores) for task, found in archive.observations(SUITE, 0).items()}
    names = [row["candidate_id"] for row in before[:2]]
    fresh = {(name, task, FIRST_HELD_OUT_SEED + 5): 1.0 for name in names for task in TASKS}
    for trainer in (TRAINER, f"{TRAINER}-portable"):
        record_scores(archive, fresh, trainer=trainer)
    record_scores(archive, fresh, suite=f"{SUITE}-wide")
    assert len(archive.records("trials", seed=FIRST_HELD_OUT_SEED + 5)) == 3 * len(fresh)
    assert archive.leaderboard() == before
    now = {task: list(found.seen.scores) for task, found in archive.observations(SUITE, 0).items()}
    assert now == seen

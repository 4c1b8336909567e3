"""The archive's SQL against its naive twins, on random studies with holes and failures."""

import math
from collections.abc import Collection
from pathlib import Path

import pytest
from builders import (
    DELTA,
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
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import Attempt, Scores, mechanism, paired, same, task_means, total_scores, tuned

from noctuary.archive import Archive
from noctuary.archive.rows import Row
from noctuary.domain import Status

STUDIES = [(seed, holes) for seed in range(4) for holes in (0.0, 0.04, 0.25)]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb")


def ran_tasks(scores: Scores) -> set[str]:
    return {task for _, task, _ in scores}


@pytest.mark.parametrize(("seed", "holes"), STUDIES)
def test_leaderboard_equals_its_twin(archive: Archive, seed: int, holes: float) -> None:
    scores = small_study(archive, seed, holes)
    check_leaderboard(archive.leaderboard(SUITE), scores)


def check_leaderboard(
    rows: list[Row], scores: Scores, broken: Collection[Attempt] = frozenset()
) -> None:
    """Hold a board of candidates called `human_*` and designs against its twin.

    Args:
        broken: what has failed although it may have a score.
    """
    failures = {attempt for attempt, score in scores.items() if score is None} | {*broken}
    losers = {candidate for candidate, _, _ in failures}
    totals = total_scores(scores, ran_tasks(scores))
    totals = {candidate: total for candidate, total in totals.items() if candidate not in losers}
    means = task_means(scores)
    assert {row["candidate_id"] for row in rows} == {candidate for candidate, _, _ in scores}

    ranked = [row for row in rows if row["rank"] is not None]
    assert [row["rank"] for row in rows[: len(ranked)]] == list(range(1, len(ranked) + 1))
    assert [row["candidate_id"] for row in ranked] == sorted(totals, key=lambda c: -totals[c])
    humans = [c for c in totals if c.startswith("human_") and "softmax" not in c]
    best = max(humans, key=lambda c: totals[c], default=None)
    for row in rows:
        candidate = row["candidate_id"]
        if candidate in totals:
            assert math.isclose(row["score"], totals[candidate])
        else:
            assert row["score"] is None
        assert (row["tasks"] or {}) == pytest.approx(means.get(candidate, {}))
        assert row["failed"] == sum(failed == candidate for failed, _, _ in failures)
        assert row["baseline"] == (best and best.removeprefix("human_"))
        twin = None
        if best is not None and candidate != best:
            twin = paired(scores, candidate, best, "all", ran_tasks(scores))
        if twin is None:
            assert (row["difference"], row["low"], row["n_pairs"]) == (None, None, 0)
        else:
            assert row["n_pairs"] == twin.n
            assert same({**row, "effect": row["difference"]}, twin, 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_of_several_learning_rates_the_best_counts(archive: Archive, seed: int) -> None:
    trials = tuned_study(archive, seed)
    best, broken = tuned(trials)
    rows = archive.records("tuned", suite=SUITE)
    seen = {(row["candidate_id"], row["task"], row["seed"]): row for row in rows}
    assert len(seen) == len(rows)
    assert {attempt: row["score"] for attempt, row in seen.items()} == best
    assert {attempt for attempt, row in seen.items() if row["broken"]} == broken
    for attempt, row in seen.items():
        tried = [
            trial
            for trial in trials
            if (trial.spec.candidate_id, trial.spec.task, trial.spec.seed) == attempt
        ]
        rates = {
            trial.spec.learning_rate: trial.score for trial in tried if trial.score is not None
        }
        assert row["n_trials"] == len(tried)
        if row["score"] is None:
            assert row["learning_rate"] is None
        else:
            assert rates[row["learning_rate"]] == row["score"] == max(rates.values())
    check_leaderboard(archive.leaderboard(SUITE), best, broken)


@pytest.mark.parametrize("seed", range(3))
def test_what_broke_at_one_rate_neither_parents_nor_findings_are_made_of(
    archive: Archive, seed: int
) -> None:
    best, broken = tuned(tuned_study(archive, seed))
    sound = {a: score for a, score in best.items() if score is not None and a not in broken}
    board = {"suite": SUITE, "rung": 0}
    means = task_means(sound)
    rows = archive.query("scores", **board)
    found = {
        row["candidate_id"]: dict(zip(row["tasks"], row["scores"], strict=True)) for row in rows
    }
    assert found == {candidate: pytest.approx(tasks) for candidate, tasks in means.items()}
    tasks = ran_tasks(sound)
    for row in archive.query("paired_differences", **board):
        twin = paired(sound, row["candidate_id"], row["baseline_id"], row["task"], tasks)
        assert twin is not None and same(row, twin, 1e-9)


@pytest.mark.parametrize("status", ["diverged", "crashed", "timeout", "oom"])
def test_divergence_at_one_rate_is_harmless_and_anything_worse_is_not(
    archive: Archive, status: Status
) -> None:
    record_trials(
        archive,
        [
            make_trial("whole", "mqar", 0, 0.1, learning_rate=5e-3),
            make_trial("whole", "mqar", 0, 0.2, learning_rate=2e-3),
            make_trial("odd", "mqar", 0, 0.9, learning_rate=5e-3),
            make_trial("odd", "mqar", 0, None, status, learning_rate=2e-3),
        ],
    )
    board = {row["candidate_id"]: row for row in archive.leaderboard()}
    assert (board["whole"]["score"], board["whole"]["failed"]) == (0.2, 0)
    harmless = status == "diverged"
    assert (board["odd"]["score"], board["odd"]["failed"]) == ((0.9, 0) if harmless else (None, 1))
    assert board["odd"]["rank"] == (1 if harmless else None)


def test_a_pair_is_compared_at_the_best_rate_of_each(archive: Archive) -> None:
    archive.record_candidates([make_human("retnet", make_axes(decay="fixed"))])
    archive.record_designs([make_design("d", make_axes())])
    rates = {("d", 5e-3): 0.4, ("d", 2e-3): 0.7, ("human_retnet", 5e-3): 0.6}
    trials = [make_trial(c, "mqar", 0, s, learning_rate=r) for (c, r), s in rates.items()]
    trials.append(make_trial("human_retnet", "mqar", 0, None, "diverged", learning_rate=2e-3))
    record_trials(archive, trials)
    board = {"suite": SUITE, "rung": 0}
    differences = archive.query("paired_differences", **board)
    assert {row["task"]: row["effect"] for row in differences} == {
        "mqar": pytest.approx(0.1),
        "all": pytest.approx(0.1),
    }
    scores = {row["candidate_id"]: row["score"] for row in archive.query("scores", **board)}
    assert scores == {"d": 0.7, "human_retnet": 0.6}
    effects = archive.query("mechanism_effects", **board)
    assert {(row["value"], row["task"]): row["effect"] for row in effects} == {
        (value, task): pytest.approx(effect)
        for value, effect in (("none", 0.1), ("fixed", -0.1))
        for task in ("mqar", "all")
    }


def test_the_suite_worked_on_last_comes_first_and_its_last_rung_before_the_others(
    archive: Archive,
) -> None:
    def boards() -> list[tuple[str, int]]:
        return list(dict.fromkeys((row["suite"], row["rung"]) for row in archive.leaderboard()))

    record_scores(archive, {("a", "mqar", 2000): 0.1}, rung=2)
    record_scores(archive, {("a", "mqar", 0): 0.9, ("b", "mqar", 0): 0.8})
    record_scores(archive, {("a", "mqar", 1000): 0.5}, rung=1)
    assert boards() == [(SUITE, 2), (SUITE, 1), (SUITE, 0)]
    record_scores(archive, {("a", "mqar", 0): 0.3}, "other")
    assert boards() == [("other", 0), (SUITE, 2), (SUITE, 1), (SUITE, 0)]
    record_scores(archive, {("c", "mqar", 0): 0.3})
    assert boards() == [(SUITE, 2), (SUITE, 1), (SUITE, 0), ("other", 0)]
    assert {row["rank"] for row in archive.leaderboard() if row["rung"] == 2} == {1}


@pytest.mark.parametrize(("seed", "holes"), STUDIES)
def test_paired_differences_equal_their_twin(archive: Archive, seed: int, holes: float) -> None:
    scores = small_study(archive, seed, holes)
    tasks = {task for (_, task, _), score in scores.items() if score is not None}
    rows = archive.query("paired_differences", suite=SUITE, rung=0, trainer=TRAINER)
    seen = {(row["candidate_id"], row["baseline_id"], row["task"]): row for row in rows}
    assert len(seen) == len(rows)
    candidates = {candidate for candidate, _, _ in scores}
    for design in candidates:
        for baseline in candidates:
            for task in (*TASKS, "all"):
                twin = None
                if not design.startswith("human") and baseline.startswith("human"):
                    twin = paired(scores, design, baseline, task, tasks)
                row = seen.get((design, baseline, task))
                assert (row is None) == (twin is None)
                if row is not None and twin is not None:
                    assert row["n"] == twin.n
                    assert same(row, twin, 1e-9)


@pytest.mark.parametrize(("seed", "holes"), STUDIES)
def test_mechanism_effects_equal_their_twin(archive: Archive, seed: int, holes: float) -> None:
    scores = small_study(archive, seed, holes)
    tasks = {task for (_, task, _), score in scores.items() if score is not None}
    axes = archive.axes()
    rows = archive.query("mechanism_effects", suite=SUITE, rung=0)
    seen = {(row["axis"], row["value"], row["task"]): row for row in rows}
    assert len(seen) == len(rows)
    expected = 0
    for axis in make_axes():
        for value in {point[axis] for point in axes.values()}:
            for task in (*TASKS, "all"):
                twin = mechanism(scores, axes, (axis, value), task, tasks)
                if twin is None:
                    assert (axis, value, task) not in seen
                    continue
                expected += 1
                row = seen[axis, value, task]
                assert row["n_with"] + row["n_without"] == twin.n
                assert same(row, twin, 1e-5)  # the quantile is interpolated
    assert expected == len(rows)


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=7),
    st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=7),
)
def test_intervals_hold_for_any_scores(
    tmp_path_factory: pytest.TempPathFactory, mine: list[float], theirs: list[float]
) -> None:
    archive = Archive(tmp_path_factory.mktemp("lab") / "noctuary.duckdb")
    archive.record_candidates([make_human("retnet", make_axes(decay="fixed"))])
    archive.record_designs([make_design("d", make_axes())])
    scores: dict[tuple[str, str, int], float | None] = {}
    scores |= {("d", "mqar", seed): score for seed, score in enumerate(mine)}
    scores |= {("human_retnet", "mqar", seed): score for seed, score in enumerate(theirs)}
    record_scores(archive, scores)
    for row in archive.query("paired_differences", suite=SUITE, rung=0):
        twin = paired(scores, "d", "human_retnet", row["task"], ["mqar"])
        assert twin is not None
        assert same(row, twin, 1e-7)


def test_groups_without_spread_have_an_interval_of_no_width(archive: Archive) -> None:
    archive.record_designs([make_design(f"d{i}", make_axes()) for i in range(2)])
    archive.record_designs([make_design(f"e{i}", make_axes(decay="fixed")) for i in range(2)])
    record_scores(archive, {(f"d{i}", "mqar", 0): 0.5 for i in range(2)})
    record_scores(archive, {(f"e{i}", "mqar", 0): 0.75 for i in range(2)})
    rows = archive.query("mechanism_effects", suite=SUITE, rung=0)
    assert {(r["value"], r["effect"], r["low"], r["high"]) for r in rows} == {
        ("fixed", 0.25, 0.25, 0.25),
        ("none", -0.25, -0.25, -0.25),
    }


def test_one_seed_gives_a_difference_without_an_interval(archive: Archive) -> None:
    archive.record_candidates([make_human("retnet")])
    record_scores(archive, {("human_retnet", "mqar", 0): 0.5, ("d", "mqar", 0): 0.75})
    first, second = archive.leaderboard()
    assert (first["difference"], first["low"], first["high"], first["n_pairs"]) == (
        0.25,
        None,
        None,
        1,
    )
    assert (second["name"], second["difference"]) == ("retnet", None)


def test_the_reference_is_shown_and_is_not_the_best_human_baseline(archive: Archive) -> None:
    archive.record_candidates([make_human("softmax_attention"), make_human("retnet")])
    record_scores(
        archive,
        {("human_softmax_attention", "mqar", 0): 0.9, ("human_retnet", "mqar", 0): 0.5},
    )
    rows = archive.leaderboard()
    assert [(row["name"], row["reference"], row["baseline"]) for row in rows] == [
        ("softmax_attention", True, "retnet"),
        ("retnet", False, "retnet"),
    ]


def test_a_candidate_that_lacks_a_task_comes_last_without_rank(archive: Archive) -> None:
    scores = {("a", task, 0): 0.1 for task in TASKS} | {
        ("b", "mqar", 0): 0.9,
        ("b", "text", 0): None,
    }
    record_scores(archive, scores)
    rows = archive.leaderboard()
    assert [(row["candidate_id"], row["rank"], row["failed"]) for row in rows] == [
        ("a", 1, 0),
        ("b", None, 1),
    ]
    assert rows[1]["kind"] == "unknown"


def test_boards_of_other_suites_rungs_and_trainers_stay_apart(archive: Archive) -> None:
    trials = [
        make_trial("a", "mqar", 0, 0.1),
        make_trial("a", "mqar", 0, 0.2, suite="other"),
        make_trial("a", "mqar", 0, 0.3, rung=1),
        make_trial("a", "mqar", 0, 0.4, trainer="other"),
    ]
    archive.record_candidates([make_human("a").model_copy(update={"candidate_id": "a"})])
    record_trials(archive, trials)
    assert sorted(row["score"] for row in archive.leaderboard()) == [0.1, 0.2, 0.3, 0.4]
    assert [row["score"] for row in archive.leaderboard("other")] == [0.2]
    (row,) = archive.query("scores", suite=SUITE, rung=0, trainer=TRAINER)
    assert row["score"] == 0.1


def test_later_cycles_do_not_change_what_an_earlier_one_sees(archive: Archive) -> None:
    human = make_human("retnet", make_axes(decay="fixed"))
    archive.record_candidates([human])
    archive.record_designs([make_design("d1", make_axes(**DELTA), cycle=1)])
    scores = {(c, t, s): 0.1 * s for c in ("human_retnet", "d1") for t in TASKS for s in range(3)}
    record_scores(archive, scores)

    def seen() -> list[object]:
        board = {"suite": SUITE, "rung": 0, "max_cycle": 1}
        names = ("paired_differences", "mechanism_effects", "scores")
        return [archive.query(name, **board) for name in names]

    before = seen()
    archive.record_designs([make_design("d2", make_axes(decay="vector"), cycle=2)])
    record_scores(archive, {("d2", t, s): 0.9 for t in (*TASKS, "parity") for s in range(3)})
    assert seen() == before
    assert len(archive.query("scores", suite=SUITE, rung=0)) == 3


def test_more_seeds_do_not_change_an_analysis_that_names_its_seeds(archive: Archive) -> None:
    scores = small_study(archive)
    board = {"suite": SUITE, "rung": 0, "seeds": [0, 1, 2]}
    before = archive.query("paired_differences", **board)
    record_scores(archive, {(c, t, 9): 0.5 for c, t, _ in scores})
    assert archive.query("paired_differences", **board) == before
    assert {row["n"] for row in before} == {3}

"""The archive's SQL against its naive twins, on random studies with holes and failures."""

import math
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
    small_study,
    write_trials,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import mechanism, paired, same, task_means, total_scores

from noctuary.archive import Archive

STUDIES = [(seed, holes) for seed in range(4) for holes in (0.0, 0.04, 0.25)]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb")


def ran_tasks(scores: dict[tuple[str, str, int], float | None]) -> set[str]:
    return {task for _, task, _ in scores}


@pytest.mark.parametrize(("seed", "holes"), STUDIES)
def test_leaderboard_equals_its_twin(archive: Archive, seed: int, holes: float) -> None:
    scores = small_study(archive, seed, holes)
    broken = {candidate for (candidate, _, _), score in scores.items() if score is None}
    totals = total_scores(scores, ran_tasks(scores))
    totals = {candidate: total for candidate, total in totals.items() if candidate not in broken}
    means = task_means(scores)
    rows = archive.leaderboard(SUITE)
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
        failed = [s for (c, _, _), s in scores.items() if c == candidate and s is None]
        assert row["failed"] == len(failed)
        assert row["baseline"] == (best and best.removeprefix("human_"))
        twin = None
        if best is not None and candidate != best:
            twin = paired(scores, candidate, best, "all", ran_tasks(scores))
        if twin is None:
            assert (row["difference"], row["low"], row["n_pairs"]) == (None, None, 0)
        else:
            assert row["n_pairs"] == twin.n
            assert same({**row, "effect": row["difference"]}, twin, 1e-9)


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
        make_trial("a", "mqar", 0, 0.4, trainer="lightning-2"),
    ]
    archive.record_candidates([make_human("a").model_copy(update={"candidate_id": "a"})])
    folder = archive.path.parent / "trials"
    archive.record_trials(folder, write_trials(folder, trials))
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

"""Who climbs: the seeds of the rungs, the promotion, and which designs a cycle sees beside it."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from builders import make_axes, make_design, make_human, record_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.archive import Archive
from noctuary.bench.rungs import (
    FIRST_HELD_OUT_SEED,
    SEEDS_A_RUNG,
    promoted,
    search_seeds,
)
from noctuary.config import TrainingSettings
from noctuary.domain import Cycle
from noctuary.knowledge import Knowledge
from noctuary.plan import TRAINER_VERSION, rung_seeds, suite_of

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

TRAINING = TrainingSettings(suite="tiny-2", seeds=2)
SUITE = suite_of(TRAINING)
KEEP = 0.5
TASKS = [task.name for task in SUITE.tasks]

ids = st.text("abcdef", min_size=1, max_size=2)
tied_scores = st.dictionaries(ids, st.sampled_from((-0.5, 0.0, 0.25, 0.5)), max_size=12)
shares = st.integers(1, 8).map(lambda eighths: eighths / 8)


# Seeds


@given(st.lists(st.integers(0, 20), min_size=2, max_size=2, unique=True), st.data())
def test_no_two_rungs_share_a_seed_and_none_has_one_for_verification(
    rungs: list[int], data: st.DataObject
) -> None:
    first, second = (
        set(search_seeds(rung, data.draw(st.integers(1, SEEDS_A_RUNG)))) for rung in rungs
    )
    assert not first & second
    assert max(first | second) < FIRST_HELD_OUT_SEED


@given(st.integers(0, 20), st.integers(1, SEEDS_A_RUNG - 1))
def test_more_seeds_are_the_same_ones_and_one_more(rung: int, count: int) -> None:
    more = search_seeds(rung, count + 1)
    assert more[:count] == search_seeds(rung, count)
    assert len(set(more)) == count + 1


@pytest.mark.parametrize("count", [-1, 0, SEEDS_A_RUNG + 1])
def test_a_rung_has_no_more_seeds_than_its_own(count: int) -> None:
    with pytest.raises(ValueError, match="seeds on a rung"):
        search_seeds(0, count)


# Promotion


def naive_promoted(scores: Mapping[str, float], keep: float, contenders: Iterable[str]) -> set[str]:
    """Return the contenders that fewer than the kept number of candidates stand before."""
    going = set()
    for one in contenders:
        if one in scores:
            before = [
                other
                for other, score in scores.items()
                if score > scores[one] or (score == scores[one] and other < one)
            ]
            if len(before) < keep * len(scores):
                going.add(one)
    return going


@given(tied_scores, shares, st.sets(ids, max_size=12))
def test_the_promotion_equals_its_twin(
    scores: dict[str, float], keep: float, contenders: set[str]
) -> None:
    going = promoted(scores, keep, contenders)
    assert set(going) == naive_promoted(scores, keep, contenders)
    assert len(set(going)) == len(going)
    assert list(going) == sorted(going, key=lambda one: (-scores[one], one))


@given(tied_scores, shares)
def test_of_all_together_the_share_goes_on_rounded_up(
    scores: dict[str, float], keep: float
) -> None:
    assert len(promoted(scores, keep, scores)) == math.ceil(keep * len(scores))


@given(tied_scores.filter(bool), shares, st.data())
def test_who_goes_on_would_go_on_with_a_better_score_too(
    scores: dict[str, float], keep: float, data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(sorted(scores)))
    better = {**scores, one: scores[one] + 0.25}
    assert set(promoted(scores, keep, {one})) <= set(promoted(better, keep, {one}))


def test_promotion_by_hand() -> None:
    old = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}
    assert promoted({**old, "new": 0.85}, 0.5, {"new"}) == ("new",)
    assert promoted({**old, "new": 0.65}, 0.5, {"new"}) == ()  # the best of a bad lot
    assert promoted({**old, "new": 0.7}, 0.5, {"new"}) == ()  # a tie: c comes first
    assert promoted(old, 0.5, {"crashed"}) == ()  # it has no score
    assert promoted({"alone": 0.1}, 0.25, {"alone"}) == ("alone",)
    assert promoted({}, 0.5, {"crashed"}) == ()


# What a cycle sees


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb")


def record(archive: Archive, cycle: int, scores: Mapping[str, float], rung: int = 0) -> None:
    """Record designs of a cycle that have the same score on every task and seed of a rung."""
    archive.record_designs([make_design(one, make_axes(), cycle=cycle) for one in scores])
    record_rung(archive, scores, rung)


def record_rung(
    archive: Archive,
    scores: Mapping[str, float | None],
    rung: int,
    tasks: Iterable[str] = TASKS,
) -> None:
    record_scores(
        archive,
        {
            (one, task, seed): score
            for one, score in scores.items()
            for task in tasks
            for seed in rung_seeds(SUITE, rung, TRAINING.seeds)
        },
        SUITE.version,
        rung=rung,
        trainer=TRAINER_VERSION,
    )


def knowledge(archive: Archive, cycle: int) -> Knowledge:
    return Knowledge(archive, Cycle(number=cycle, seed=7, settings="s"), TRAINING)


def test_the_first_cycle_promotes_among_its_own(archive: Archive) -> None:
    record(archive, 1, {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1})
    assert knowledge(archive, 1).promoted({"a", "b", "c", "d"}, 0, KEEP) == ("a", "b")


def test_designs_stand_beside_those_of_earlier_cycles(archive: Archive) -> None:
    first, second = {"a": 0.4, "b": 0.3, "c": 0.2}, {"d": 0.35, "e": 0.25, "f": 0.15}
    record(archive, 1, first)
    record(archive, 2, second)
    expected = naive_promoted({**first, **second}, KEEP, second)
    assert set(knowledge(archive, 2).promoted(set(second), 0, KEEP)) == expected == {"d"}


def test_a_rerun_of_a_cycle_promotes_the_same_whatever_came_later(archive: Archive) -> None:
    record(archive, 1, {"a": 0.4, "b": 0.3})
    own = {"c": 0.35, "d": 0.25}
    record(archive, 2, own)
    before = knowledge(archive, 2).promoted(set(own), 0, KEEP)
    assert before == ("c",)
    record(archive, 3, {f"later{number}": 0.9 for number in range(9)})
    assert knowledge(archive, 2).promoted(set(own), 0, KEEP) == before
    assert knowledge(archive, 3).promoted({"later0"}, 0, KEEP) == ("later0",)


def test_another_cycle_of_the_same_number_does_not_count(archive: Archive) -> None:
    """As one leaves that failed in a night of another seed, and is taken up again later."""
    record(archive, 1, {"a": 0.4, "b": 0.3})
    own = {"c": 0.35, "d": 0.25}
    record(archive, 2, own)
    before = knowledge(archive, 2).promoted(set(own), 0, KEEP)
    record(archive, 2, {f"other{number}": 0.9 for number in range(9)})
    assert knowledge(archive, 2).promoted(set(own), 0, KEEP) == before == ("c",)


def test_baselines_take_no_place_and_are_not_promoted(archive: Archive) -> None:
    humans = [make_human(f"h{number}", make_axes()) for number in range(4)]
    archive.record_candidates(humans)
    record_rung(archive, {human.candidate_id: 0.9 for human in humans}, 0)
    record(archive, 1, {"a": 0.4, "b": 0.3})
    contenders = {"a", "b", *(human.candidate_id for human in humans)}
    assert knowledge(archive, 1).promoted(contenders, 0, KEEP) == ("a",)


def test_a_design_that_lacks_a_task_takes_no_place(archive: Archive) -> None:
    record(archive, 1, {"a": 0.4, "b": 0.3})
    archive.record_designs([make_design("partial", make_axes())])
    record_rung(archive, {"partial": 0.9}, 0, TASKS[:1])
    record_rung(archive, {"partial": None}, 0, TASKS[1:])
    assert knowledge(archive, 1).promoted({"a", "b", "partial"}, 0, KEEP) == ("a",)


def test_each_rung_is_judged_by_its_own_scores(archive: Archive) -> None:
    record(archive, 1, {"a": 0.4, "b": 0.3})
    record(archive, 1, {"a": 0.1, "b": 0.2}, rung=SUITE.top)
    assert knowledge(archive, 1).promoted({"a", "b"}, 0, KEEP) == ("a",)
    assert knowledge(archive, 1).promoted({"a", "b"}, SUITE.top, KEEP) == ("b",)


def test_finalists_are_known_by_both_scores_and_only_to_later_cycles(archive: Archive) -> None:
    record(archive, 1, {"a": 0.4, "b": 0.3})
    record(archive, 1, {"a": 0.7}, rung=SUITE.top)
    assert knowledge(archive, 1).history().attempts == ()
    first, second = knowledge(archive, 2).history().attempts
    assert (first.candidate_id, second.candidate_id) == ("a", "b")
    assert first.score == pytest.approx(0.4)
    assert first.final == pytest.approx(0.7)
    assert second.score == pytest.approx(0.3)
    assert second.final is None

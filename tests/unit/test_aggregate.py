"""The aggregate over tasks, and how its ranking moves under other choices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from noctuary.aggregate import aggregate, ranking, sensitivity

SCORES = {
    "steady": {"a": 0.6, "b": 0.6, "c": 0.6},
    "peaked": {"a": 1.0, "b": 1.0, "c": 0.1},
    "weak": {"a": 0.1, "b": 0.2, "c": 0.2},
}


def test_the_aggregate_is_the_mean_over_the_tasks() -> None:
    assert aggregate({"a": 0.2, "b": 0.6}) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="no task"):
        aggregate({})


def test_an_aggregate_that_would_have_crowned_another_says_so() -> None:
    assert ranking({name: aggregate(found) for name, found in SCORES.items()})[0] == "peaked"
    found = {one.name: one for one in sensitivity(SCORES, best=1)}
    assert found["worst task"].best == ("steady",)
    assert found["worst task"].lost == ("peaked",)
    assert found["without a"].best == ("steady",)
    assert found["without c"].best == ("peaked",)
    assert found["without c"].lost == ()
    assert found["median over the tasks"].agreement == 1


def test_each_part_of_the_score_is_tried_alone() -> None:
    turned = {name: {t: -s for t, s in tasks.items()} for name, tasks in SCORES.items()}
    found = {one.name: one for one in sensitivity(SCORES, {"speed": turned}, best=1)}
    assert found["speed alone"].agreement == -1
    assert found["speed alone"].best == ("weak",)


def test_mixers_with_different_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="same tasks"):
        sensitivity({"one": {"a": 1.0}, "two": {"b": 1.0}})
    with pytest.raises(ValueError, match="two mixers"):
        sensitivity({"one": {"a": 1.0}})


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=6))
def test_mean_ranks_are_those_of_scipy(table: list[list[int]]) -> None:
    scores = {
        f"m{n}": dict(zip("abc", map(float, row), strict=True)) for n, row in enumerate(table)
    }
    wanted = -sum(rankdata([-row[column] for row in table]) for column in range(3)) / 3
    order = ranking({f"m{n}": float(value) for n, value in enumerate(wanted)})
    found = {one.name: one for one in sensitivity(scores, best=len(table))}
    assert found["mean rank"].best == order

"""The exact one-sided sign-flip test, held against all flips counted one by one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.claims.sign_flips import fewest_pairs, lower_bound, positive_p, steps_of
from noctuary.stats import sign_flip_interval

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

STEPS = st.lists(st.integers(-40, 60), min_size=1, max_size=9)
FEWER_STEPS = st.lists(st.integers(-8, 12), min_size=1, max_size=7)


def counted_p(steps: list[int]) -> float:
    """Return the share of all 2^n flips whose sum is as large as that seen."""
    sums = [
        sum(sign * step for sign, step in zip(signs, steps, strict=True))
        for signs in itertools.product((1, -1), repeat=len(steps))
    ]
    return sum(each >= sum(steps) for each in sums) / len(sums)


@given(STEPS)
def test_the_counting_is_that_of_all_flips(steps: list[int]) -> None:
    assert positive_p(np.array(steps)) == counted_p(steps)


@settings(max_examples=50)
@given(FEWER_STEPS, st.sampled_from([0.5, 0.2, 0.05, 0.025]))
def test_the_bound_is_the_smallest_mean_that_is_not_rejected(
    steps: list[int], level: float
) -> None:
    bound = lower_bound(np.array(steps), level)
    kept = [m for m in range(-10, 14) if counted_p([one - m for one in steps]) > level]
    if 2.0 ** -len(steps) > level:
        assert bound is None
    else:
        assert bound == min(kept)


@given(STEPS, st.sampled_from([0.2, 0.025]))
def test_zero_lies_below_the_bound_exactly_where_the_test_calls(
    steps: list[int], level: float
) -> None:
    bound = lower_bound(np.array(steps), level)
    assert (bound is not None and bound > 0) == (positive_p(np.array(steps)) <= level)


@given(st.lists(st.floats(-0.4, 0.4), min_size=6, max_size=12))
def test_the_bound_is_that_of_the_two_sided_interval_but_for_the_rounding(
    differences: list[float],
) -> None:
    found = lower_bound(steps_of(differences), 0.025)
    interval = sign_flip_interval(differences, 0.95)
    assert found is not None
    assert interval.low is not None
    assert found / 100_000 == pytest.approx(interval.low, abs=2.1e-5)


def test_many_pairs_are_counted_and_not_sampled() -> None:
    rng = np.random.default_rng(0)
    steps = steps_of(rng.normal(0.01, 0.05, 100).tolist())
    share = steps.mean() / math.sqrt((steps.astype(float) ** 2).sum()) * 100
    normal = 0.5 * math.erfc(share / math.sqrt(2))
    assert positive_p(steps) == pytest.approx(normal, rel=0.1)
    assert positive_p(np.full(100, 7)) == 2.0**-100


@pytest.mark.parametrize("n", [1, 5, 30])
def test_equal_scores_show_nothing(n: int) -> None:
    assert positive_p(np.zeros(n, dtype=np.int64)) == 1.0


def test_rounding_leaves_symmetric_what_is_symmetric() -> None:
    values = [0.000005, 0.000015, 0.1234549999, 0.2]
    assert (steps_of(values) == -steps_of([-value for value in values])).all()


@pytest.mark.parametrize(("level", "pairs"), [(0.5, 1), (0.25, 2), (0.025, 6), (0.025 / 6, 8)])
def test_fewer_pairs_than_the_fewest_call_nothing(level: float, pairs: int) -> None:
    assert fewest_pairs(level) == pairs
    assert positive_p(np.ones(pairs, dtype=np.int64)) <= level
    assert positive_p(np.ones(pairs - 1, dtype=np.int64)) > level


@pytest.mark.parametrize(
    ("differences", "said"),
    [([], "no difference"), ([math.nan], "finite"), ([0.5, -1.5], "between 0 and 1")],
)
def test_what_no_two_scores_can_differ_by_is_refused(differences: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        steps_of(differences)

"""Intervals and effect sizes against scipy's own, and where they must be silent."""

import math

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.stats import Interval, hedges_g_paired, paired_interval, welch_interval

# Thousandths: scipy's own variance vanishes for numbers like 1e-107.
values = st.lists(st.integers(-10_000, 10_000).map(lambda n: n / 1000), min_size=2, max_size=30)


@settings(deadline=None)
@given(values)
def test_paired_interval_is_students(differences: list[float]) -> None:
    found = paired_interval(differences)
    n = len(differences)
    error = scipy.stats.sem(differences)
    assert found.n == n
    assert found.effect == pytest.approx(sum(differences) / n, abs=1e-9)
    half = scipy.stats.t.ppf(0.975, n - 1) * error
    assert found.low == pytest.approx(found.effect - half, abs=1e-7)
    assert found.high == pytest.approx(found.effect + half, abs=1e-7)


@pytest.mark.filterwarnings("ignore:Precision loss")
@settings(deadline=None)
@given(values, values)
def test_welch_interval_is_scipys(first: list[float], second: list[float]) -> None:
    found = welch_interval(first, second)
    theirs = scipy.stats.ttest_ind(first, second, equal_var=False)
    if len(set(first)) == len(set(second)) == 1:
        return  # no spread: scipy has no degrees of freedom
    low, high = theirs.confidence_interval(0.95)
    assert found.low == pytest.approx(low, rel=1e-6, abs=1e-6)
    assert found.high == pytest.approx(high, rel=1e-6, abs=1e-6)
    assert found.degrees == pytest.approx(theirs.df, rel=1e-6)


def test_one_observation_has_no_interval() -> None:
    assert paired_interval([0.5]) == Interval(0.5, None, None, 1)
    assert welch_interval([0.5], [0.25, 0.25]) == Interval(0.25, None, None, 3)
    assert not paired_interval([0.5]).distinguishable


def test_no_observation_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        paired_interval([])
    with pytest.raises(ValueError, match="groups of 0 and 1"):
        welch_interval([], [1.0])


def test_no_spread_is_an_interval_of_no_width() -> None:
    assert welch_interval([0.5, 0.5], [0.25, 0.25]) == Interval(0.25, 0.25, 0.25, 4, 2.0)
    assert paired_interval([0.0, 0.0]).distinguishable is False
    assert paired_interval([0.5, 0.5]).distinguishable is True


def test_a_tiny_spread_is_still_a_spread() -> None:
    assert welch_interval([0.0, 0.0], [0.0, 2e-125]).degrees == 1.0


def test_a_wider_confidence_is_a_wider_interval() -> None:
    narrow = paired_interval([0.1, 0.2, 0.3], confidence=0.9)
    wide = paired_interval([0.1, 0.2, 0.3], confidence=0.99)
    assert narrow.low is not None and wide.low is not None and wide.low < narrow.low


def test_hedges_g_of_a_worked_example() -> None:
    # mean 2, standard deviation 1, four degrees of freedom: J(4) = sqrt(2/pi)
    differences = [2 + d for d in (-math.sqrt(2), 0, 0, 0, math.sqrt(2))]
    expected = 2 * math.sqrt(2 / math.pi)
    assert hedges_g_paired(differences) == pytest.approx(expected)


def test_hedges_g_is_silent_where_it_is_undefined() -> None:
    assert hedges_g_paired([0.1, 0.2]) is None
    assert hedges_g_paired([0.1, 0.1, 0.1]) is None


@given(values, st.floats(0.1, 10))
def test_hedges_g_does_not_depend_on_the_unit(differences: list[float], unit: float) -> None:
    found = hedges_g_paired(differences)
    if found is not None and abs(found) < 1e3:
        scaled = hedges_g_paired([unit * d for d in differences])
        assert scaled == pytest.approx(found, rel=1e-6, abs=1e-9)

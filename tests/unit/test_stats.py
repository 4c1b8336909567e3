"""Intervals, effect sizes and tests against scipy's own, and where they must be silent."""

import itertools
import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from noctuary.stats import (
    EXACT_PAIRS,
    Interval,
    benjamini_hochberg,
    bootstrap_interval,
    hedges_g_average,
    hedges_g_paired,
    holm,
    paired_interval,
    paired_t_p,
    sign_flip_interval,
    sign_flip_p,
    welch_interval,
)

# Thousandths: scipy's own variance vanishes for numbers like 1e-107.
values = st.lists(st.integers(-10_000, 10_000).map(lambda n: n / 1000), min_size=2, max_size=30)
# Few pairs of eighths: sums are exact, and ties are frequent.
few = st.lists(st.integers(-24, 24).map(lambda n: n / 8), min_size=1, max_size=8)
p_values = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=1, max_size=12)


def naive_sign_flip_p(differences: Sequence[float]) -> float:
    """Return the share of all sign flips whose sum is as far from zero as the observed one."""
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in flips]
    return fmean(abs(one) >= abs(sum(differences)) for one in sums)


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


@settings(deadline=None)
@given(few)
def test_sign_flip_p_looks_at_all_flips(differences: list[float]) -> None:
    assert sign_flip_p(differences) == naive_sign_flip_p(differences)


@settings(deadline=None, max_examples=20)
@given(few.filter(lambda differences: len(differences) > 1))
def test_sign_flip_p_is_scipys(differences: list[float]) -> None:
    theirs = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sign_flip_p_by_hand() -> None:
    assert sign_flip_p([1.0, 2.0, 3.0]) == 2 / 8  # +++ and ---
    assert sign_flip_p([1.0, 2.0, -0.5]) == 4 / 8  # the small one may go either way
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0  # a sum of zero, but for rounding
    assert sign_flip_p([0.5]) == 1.0
    assert sign_flip_p([0.0] * 8) == 1.0
    assert sign_flip_p([0.5] * 8) == 2 / 2**8


@given(few, st.sampled_from([-4.0, -1.0, 0.25]))
def test_sign_flip_p_knows_neither_unit_nor_order(differences: list[float], unit: float) -> None:
    other = [unit * d for d in reversed(differences)]
    assert sign_flip_p(other) == sign_flip_p(differences)


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.7])
def test_a_sample_of_flips_is_nearly_all_of_them(shift: float) -> None:
    n = EXACT_PAIRS + 1
    differences = np.random.default_rng(0).normal(shift, 1.0, n)
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)  # (2^n, n)
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    error = math.sqrt(2 * exact / 2**EXACT_PAIRS)
    assert sign_flip_p(differences.tolist()) == pytest.approx(exact, abs=4 * error)


def test_a_sample_of_flips_never_gives_zero() -> None:
    assert 0 < sign_flip_p([1.0] * 40) < 1e-4


def test_sign_flip_interval_by_hand() -> None:
    # means of the subsets: 1, 1.5, 2, 7/3, 2.5, 3, 4; each gap holds the centre with 1/8
    assert sign_flip_interval([4.0, 1.0, 2.0], 0.5) == Interval(7 / 3, 1.5, 3.0, 3)
    assert sign_flip_interval([4.0, 1.0, 2.0], 0.75) == Interval(7 / 3, 1.0, 4.0, 3)
    assert sign_flip_interval([4.0, 1.0, 2.0], 0.95) == Interval(7 / 3, None, None, 3)


@given(few, st.integers(-24, 24), st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]))
def test_sign_flip_interval_holds_what_the_test_does_not_refuse(
    differences: list[float], eighths: int, confidence: float
) -> None:
    centre = eighths / 8
    found = sign_flip_interval(differences, confidence)
    refused = naive_sign_flip_p([d - centre for d in differences]) <= 1 - confidence + 1e-9
    outside = found.low is not None and found.high is not None
    assert refused == (outside and not found.low <= centre <= found.high)


def two_modes(rng: np.random.Generator) -> list[float]:
    return (rng.choice([-1.0, 0.0, 1.0], 8, p=[0.25, 0.5, 0.25]) + rng.normal(0, 0.01, 8)).tolist()


def normal(rng: np.random.Generator) -> list[float]:
    return rng.normal(0, 1, 8).tolist()


@pytest.mark.parametrize("draw", [normal, two_modes])
def test_sign_flip_interval_covers_as_often_as_it_says(
    draw: Callable[[np.random.Generator], list[float]],
) -> None:
    rng, repeats = np.random.default_rng(1), 2000
    missed = sum(sign_flip_interval(draw(rng), 0.95).distinguishable for _ in range(repeats))
    # of 256 flips, 6 at either end: the most that 5 % allows
    low, high = scipy.stats.binom.interval(0.999, repeats, 12 / 256)
    assert low <= missed <= high


def test_paired_interval_covers_normal_differences_as_often_as_it_says() -> None:
    rng, repeats = np.random.default_rng(2), 2000
    missed = sum(paired_interval(normal(rng)).distinguishable for _ in range(repeats))
    low, high = scipy.stats.binom.interval(0.999, repeats, 0.05)
    assert low <= missed <= high


@settings(deadline=None)
@given(values.filter(lambda differences: len(set(differences)) > 1))
def test_paired_t_p_is_scipys(differences: list[float]) -> None:
    theirs = scipy.stats.ttest_1samp(differences, 0.0).pvalue
    assert paired_t_p(differences) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("differences", [[0.3, 0.2, 0.5, -0.1], [0.3, 0.2, 0.5, 0.1]])
def test_paired_t_p_and_its_interval_agree(differences: list[float]) -> None:
    p = paired_t_p(differences)
    assert paired_interval(differences, 1 - 1.01 * p).distinguishable
    assert not paired_interval(differences, 1 - 0.99 * p).distinguishable


def test_paired_t_p_without_spread_is_as_sure_as_its_interval() -> None:
    assert paired_t_p([0.1, 0.1, 0.1]) == 0.0
    assert paired_t_p([0.0, 0.0]) == 1.0
    with pytest.raises(ValueError, match="at least two"):
        paired_t_p([0.1])


def test_bootstrap_interval_is_scipys_and_repeats() -> None:
    differences = [0.1, 0.4, -0.2, 0.3, 0.9, 0.2]
    theirs = scipy.stats.bootstrap(
        (differences,), np.mean, method="BCa", random_state=np.random.default_rng(3)
    ).confidence_interval
    found = bootstrap_interval(differences, seed=3)
    assert (found.low, found.high) == (theirs.low, theirs.high)
    assert bootstrap_interval(differences, seed=3) == found
    assert bootstrap_interval(differences, seed=4) != found


def test_bootstrap_interval_where_bca_is_undefined() -> None:
    assert bootstrap_interval([0.25] * 4) == Interval(0.25, 0.25, 0.25, 4)
    assert bootstrap_interval([0.25]) == Interval(0.25, None, None, 1)


@settings(deadline=None, max_examples=8)  # statsmodels collects garbage at each call
@given(p_values)
def test_corrections_are_statsmodels(raw: list[float]) -> None:
    assert holm(raw) == pytest.approx(multipletests(raw, method="holm")[1])
    assert benjamini_hochberg(raw) == pytest.approx(multipletests(raw, method="fdr_bh")[1])


def test_corrections_by_hand() -> None:
    raw = [0.04, 0.01, 0.03]
    assert holm(raw) == pytest.approx([0.06, 0.03, 0.06])
    assert benjamini_hochberg(raw) == pytest.approx([0.04, 0.03, 0.04])


@given(p_values, st.data())
def test_corrections_keep_order_and_know_no_position(raw: list[float], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(raw))))
    for correction in (holm, benjamini_hochberg):
        adjusted = correction(raw)
        assert all(a >= p - 1e-12 for a, p in zip(adjusted, raw, strict=True))
        for i, j in itertools.combinations(range(len(raw)), 2):
            assert raw[i] != raw[j] or adjusted[i] == pytest.approx(adjusted[j])
            assert (raw[i] < raw[j]) <= (adjusted[i] <= adjusted[j] + 1e-12)
        shuffled = correction([raw[i] for i in order])
        assert shuffled == pytest.approx([adjusted[i] for i in order])
    for strict, lenient in zip(holm(raw), benjamini_hochberg(raw), strict=True):
        assert lenient <= strict + 1e-12


def test_hedges_g_average_by_hand() -> None:
    first, second = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 0.0, 2.0, 4.0]
    # both variances 2.5, correlation 0.5: 8 / 1.25 degrees of freedom
    degrees = 8 / (1 + 0.5**2)
    j = math.gamma(degrees / 2) / math.gamma((degrees - 1) / 2) / math.sqrt(degrees / 2)
    assert hedges_g_average(first, second) == pytest.approx(j * 1.0 / math.sqrt(2.5))
    assert hedges_g_average(second, first) == pytest.approx(-j * 1.0 / math.sqrt(2.5))


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_hedges_g_average_is_hardly_biased(correlation: float) -> None:
    rng = np.random.default_rng(5)
    cov = [[1.0, correlation], [correlation, 1.0]]
    found = []
    for _ in range(3000):
        first, second = rng.multivariate_normal([1.0, 0.0], cov, 5).T
        found.append(hedges_g_average(first.tolist(), second.tolist()) or math.nan)
    assert fmean(found) == pytest.approx(1.0, abs=0.05)  # without J 1.1 and more


def test_hedges_g_average_is_silent_or_refuses() -> None:
    assert hedges_g_average([0.1, 0.2], [0.1, 0.3]) is None
    assert hedges_g_average([0.5] * 3, [0.25] * 3) is None
    assert hedges_g_average([0.1, 0.2, 0.4], [0.25] * 3) is not None
    with pytest.raises(ValueError, match="3 and 2 scores"):
        hedges_g_average([0.1, 0.2, 0.3], [0.1, 0.2])


@pytest.mark.parametrize(
    "function",
    [sign_flip_p, sign_flip_interval, bootstrap_interval, paired_t_p, holm, benjamini_hochberg],
)
def test_nothing_and_what_is_no_number_are_refused(
    function: Callable[[Sequence[float]], object],
) -> None:
    with pytest.raises(ValueError, match=r"^no .*; expected at least one$"):
        function([])
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"is {bad}; expected finite numbers$"):
            function([0.5, bad, 0.25])


@pytest.mark.parametrize("correction", [holm, benjamini_hochberg])
def test_p_values_beyond_one_are_refused(
    correction: Callable[[Sequence[float]], object],
) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        correction([0.5, 1.5])

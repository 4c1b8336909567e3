"""Intervals, effect sizes, p-values and corrections for scores.

Covers, for paired differences, Student's, the sign-flip and the bootstrap interval, the p-values
of the first two, and Hedges' g in two units; Welch's interval for two groups, and contrasts of
several; and the corrections of p-values for many comparisons. Pure functions on plain numbers.
The archive computes the t intervals in SQL as well, and the tests hold the two against each other.
Does not decide anything: `campaigns.py` does.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, stdtr, stdtrit

Floats = npt.NDArray[np.float64]

EXACT_PAIRS = 16
"""Up to so many pairs all sign flips are looked at (65,536 of them), beyond it a sample."""

ROUNDING = 1e-12
"""What is smaller than this share of the values at hand is zero but for rounding."""


@dataclass(frozen=True)
class Interval:
    """An effect with its two-sided confidence interval.

    Attributes:
        effect: the difference of means.
        low, high: None where there are too few observations for an interval.
        n: independent observations.
        degrees: degrees of freedom of the t quantile; None without one.
    """

    effect: float
    low: float | None
    high: float | None
    n: int
    degrees: float | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether there is an interval and zero lies outside it."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def paired_interval(differences: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean of paired differences with Student's t interval.

    Raises:
        ValueError: there is no difference at all.
    """
    n = len(differences)
    if n == 0:
        raise ValueError("no differences; expected at least one pair")
    mean = math.fsum(differences) / n
    if n < 2:
        return Interval(mean, None, None, n)
    half = _quantile(n - 1, confidence) * math.sqrt(_variance(differences) / n)
    return Interval(mean, mean - half, mean + half, n, float(n - 1))


def sign_flip_interval(differences: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean of paired differences with the interval that inverts the sign-flip test.

    Hartigan (1969): where the differences are symmetric about a centre, the means of all their
    non-empty subsets cut the line into 2^n stretches, each as likely to hold it. So the bounds
    are two of these means, and zero lies outside exactly where `sign_flip_p` is at most
    1 - confidence. Too few pairs for the confidence have no interval.

    Raises:
        ValueError: there is no difference at all, or one that is not finite.
    """
    check_finite(differences, "difference")
    means = np.sort(_subset_means(differences))  # (2^n - 1,)
    effect, n = math.fsum(differences) / len(differences), len(differences)
    cut = math.floor((1 - confidence) * (len(means) + 1) / 2 + 1e-9)  # 1 - 0.95 is not 0.05
    if cut == 0:
        return Interval(effect, None, None, n)
    return Interval(effect, float(means[cut - 1]), float(means[-cut]), n)


def bootstrap_interval(
    differences: Sequence[float],
    confidence: float = 0.95,
    *,
    seed: int = 0,
    resamples: int = 9999,
) -> Interval:
    """Return the mean of paired differences with Efron's BCa bootstrap interval.

    Percentiles take over where BCa is undefined. With few pairs it is too narrow (see
    `bench/campaigns.py`): it describes, and decides nothing.

    Raises:
        ValueError: there is no difference at all, or one that is not finite.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    check_finite(differences, "difference")
    n, effect = len(differences), math.fsum(differences) / len(differences)
    if n < 2:
        return Interval(effect, None, None, n)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore", DegenerateDataWarning)
            low, high = bootstrap(
                (np.asarray(differences, dtype=float),),
                np.mean,
                confidence_level=confidence,
                n_resamples=resamples,
                method=method,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(effect, float(low), float(high), n)


def welch_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> Interval:
    """Return mean(first) - mean(second) with Welch's interval for unequal variances.

    Degrees of freedom by Welch (1947) and Satterthwaite (1946). Two groups without any spread
    have an interval of width zero.

    Raises:
        ValueError: a group is empty.
    """
    if not first or not second:
        raise ValueError(f"groups of {len(first)} and {len(second)}; expected at least one each")
    effect = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    n = len(first) + len(second)
    if len(first) < 2 or len(second) < 2:
        return Interval(effect, None, None, n)
    a, b = _variance(first) / len(first), _variance(second) / len(second)
    if a + b == 0:
        return Interval(effect, effect, effect, n, float(n - 2))
    share = a / (a + b)  # the usual formula, divided through so that tiny variances do not vanish
    degrees = 1 / (share**2 / (len(first) - 1) + (1 - share) ** 2 / (len(second) - 1))
    half = _quantile(degrees, confidence) * math.sqrt(a + b)
    return Interval(effect, effect - half, effect + half, n, degrees)


class Moments(NamedTuple):
    """A group of independent values: how many, their mean, and their sample variance."""

    n: int
    mean: float
    variance: float


class Contrast(NamedTuple):
    """A weighted sum of the means of independent groups, with its interval and p-value."""

    effect: float
    low: float
    high: float
    p: float


def contrast(
    groups: Sequence[Moments], weights: Sequence[float], confidence: float = 0.95
) -> Contrast:
    """Return the weighted sum of the groups' means, of unequal variances.

    With weights 1, -1, -1, 1 it is a difference of differences; with 1, -1 it is Welch's. Degrees
    of freedom by Satterthwaite (1946). Groups without any spread have an interval of no width.

    Raises:
        ValueError: a group of fewer than two values.
    """
    smallest = min(group.n for group in groups)
    if smallest < 2:
        raise ValueError(f"a group of {smallest}; expected at least two values in each")
    effect = math.fsum(w * g.mean for g, w in zip(groups, weights, strict=True))
    parts = [w**2 * g.variance / g.n for g, w in zip(groups, weights, strict=True)]
    error = math.sqrt(math.fsum(parts))
    if error <= ROUNDING * max(abs(g.mean) for g in groups):
        return Contrast(effect, effect, effect, 1.0 if effect == 0 else 0.0)
    shares = [part / math.fsum(parts) for part in parts]
    degrees = 1 / math.fsum(s**2 / (g.n - 1) for g, s in zip(groups, shares, strict=True))
    half = _quantile(degrees, confidence) * error
    p = float(2 * stdtr(degrees, -abs(effect) / error))
    return Contrast(effect, effect - half, effect + half, p)


def paired_t_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's paired test.

    Differences without spread have 0, or 1 where they are all zero, as their interval of no
    width says.

    Raises:
        ValueError: fewer than two differences, or one that is not finite.
    """
    check_finite(differences, "difference")
    n = len(differences)
    if n < 2:
        raise ValueError("1 difference; the t test needs at least two")
    mean, spread = math.fsum(differences) / n, math.sqrt(_variance(differences))
    if spread <= ROUNDING * abs(mean):
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / spread * math.sqrt(n)))


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the paired sign-flip test of the mean (Fisher 1935, 21).

    Exact where the differences are symmetric about zero, whatever else their distribution: those
    of two samples of one distribution always are. Never below 2^(1 - n). Beyond `EXACT_PAIRS`
    the flips are a fixed sample, with the observed signs counted among them.

    Raises:
        ValueError: there is no difference at all, or one that is not finite.
    """
    check_finite(differences, "difference")
    # To flip a subset gains on the observed sum exactly where the subset's own sum is negative.
    means = _subset_means(differences)
    slack = ROUNDING * max(abs(value) for value in differences)
    rarer = min(np.count_nonzero(means <= slack), np.count_nonzero(means >= -slack))
    return min(1.0, 2 * (1 + float(rarer)) / (len(means) + 1))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted by Holm (1979), in the order given.

    To call different what is at most alpha keeps the chance of any false call at alpha, however
    the comparisons hang together.

    Raises:
        ValueError: no p-value, or one outside 0 to 1.
    """
    _check_p_values(p_values)
    ranked = np.argsort(p_values)
    steps = np.asarray(p_values, dtype=float)[ranked] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[ranked] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(adjusted.tolist())


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted by Benjamini and Hochberg (1995), in the order given.

    To call different what is at most alpha keeps the expected share of false ones among the calls
    at alpha, where the comparisons are independent or depend positively on each other.

    Raises:
        ValueError: no p-value, or one outside 0 to 1.
    """
    from scipy.stats import false_discovery_control

    _check_p_values(p_values)
    return tuple(false_discovery_control(np.asarray(p_values, dtype=float)).tolist())


def hedges_g_paired(differences: Sequence[float]) -> float | None:
    """Return the mean difference in units of the differences' spread, corrected for few pairs.

    This is g_z: Cohen's d_z times the exact factor J of Hedges (1981, equation 6e). None for fewer
    than three pairs, where J is zero or undefined, and where the differences have no spread.
    """
    n = len(differences)
    if n < 3:
        return None
    mean, spread = math.fsum(differences) / n, math.sqrt(_variance(differences))
    if spread <= ROUNDING * abs(mean):  # equal but for rounding
        return None
    return _few(n - 1) * mean / spread


def hedges_g_average(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return mean(first - second) in units of the scores' spread, corrected for few pairs.

    This is g_av: the unit is the root of the mean of both variances, so that it does not grow with
    the correlation within pairs, as g_z does. J is taken at 2 (n - 1) / (1 + r^2) degrees of
    freedom, those of the mean of two variances whose samples correlate with r (Satterthwaite
    1946). None as for `hedges_g_paired`.

    Raises:
        ValueError: the groups are not of one length, or a score is not finite.
    """
    n = len(first)
    if n != len(second):
        raise ValueError(f"{n} and {len(second)} scores; expected pairs")
    if n < 3:
        return None
    check_finite(first, "score")
    check_finite(second, "score")
    one, two, mean = (
        _variance(first),
        _variance(second),
        math.fsum(first) / n - math.fsum(second) / n,
    )
    spread = math.sqrt((one + two) / 2)
    if spread <= ROUNDING * abs(mean):
        return None
    return _few(2 * (n - 1) / (1 + _squared_correlation(first, second))) * mean / spread


def _variance(values: Sequence[float]) -> float:
    """Return the unbiased sample variance."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _quantile(degrees: float, confidence: float) -> float:
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def _squared_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return r^2; zero where a side has no spread."""
    if min(_variance(first), _variance(second)) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1] ** 2)


def _few(degrees: float) -> float:
    """Return the factor J that takes the bias of few degrees of freedom off an effect size."""
    half = degrees / 2
    return math.exp(gammaln(half) - gammaln(half - 0.5)) / math.sqrt(half)


def _subset_means(differences: Sequence[float]) -> Floats:
    """Return the means of the non-empty subsets: all 2^n - 1, or a sample, (S,)."""
    subsets = _subsets(len(differences))
    means: Floats = subsets @ np.asarray(differences, dtype=float) / subsets.sum(axis=1)
    return means


@lru_cache(maxsize=4)
def _subsets(n: int) -> Floats:
    """Return the non-empty subsets of n, or a sample of them, as rows of zeros and ones, (S, n)."""
    if n <= EXACT_PAIRS:
        bits = np.arange(1, 2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, size=(2**EXACT_PAIRS - 1, n))
        bits = bits[bits.any(axis=1)]
    subsets = bits.astype(float)
    subsets.flags.writeable = False  # the cache's own
    return subsets


def _check_p_values(p_values: Sequence[float]) -> None:
    check_finite(p_values, "p-value")
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values from {min(p_values)} to {max(p_values)}; expected 0 to 1")


def check_finite(values: Sequence[float], what: str) -> None:
    """Raise a ValueError where there is no value, or one that is not finite."""
    if len(values) == 0:
        raise ValueError(f"no {what}; expected at least one")
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"a {what} is {value}; expected finite numbers")

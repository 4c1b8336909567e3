"""Intervals and effect sizes for scores.

Covers Student's interval for paired differences, Welch's for two groups, and Hedges' g for
pairs. Pure functions on plain numbers. The archive computes the same intervals in SQL, and the
tests hold the two against each other. Does not correct for looking at many differences at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import gammaln, stdtrit


@dataclass(frozen=True)
class Interval:
    """An effect with its two-sided confidence interval.

    Attributes:
        effect: the difference of means.
        low, high: None where there are too few observations for an interval.
        n: independent observations.
        degrees: degrees of freedom of the t quantile; None without an interval.
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


def hedges_g_paired(differences: Sequence[float]) -> float | None:
    """Return the mean difference in units of the differences' spread, corrected for few pairs.

    Cohen's d_z times the exact factor J of Hedges (1981, equation 6e). None for fewer than three
    pairs, where J is zero or undefined, and where the differences have no spread.
    """
    n = len(differences)
    if n < 3:
        return None
    mean, spread = math.fsum(differences) / n, math.sqrt(_variance(differences))
    if spread <= 1e-12 * abs(mean):  # equal but for rounding
        return None
    half = (n - 1) / 2
    correction = math.exp(gammaln(half) - gammaln(half - 0.5)) / math.sqrt(half)
    return correction * mean / spread


def _variance(values: Sequence[float]) -> float:
    """Return the unbiased sample variance."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _quantile(degrees: float, confidence: float) -> float:
    return float(stdtrit(degrees, 0.5 + confidence / 2))

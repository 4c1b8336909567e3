"""The one-sided sign-flip test of a mean, exact for any number of pairs, and its bounds.

Differences are rounded to whole steps of a hundred-thousandth first. Rounding leaves what
is symmetric symmetric, so the test keeps its level, and all 2^n flips can be counted instead of
sampled: anybody, in any language, gets the same p-value. Fisher (1935, section 21) has the test,
Pagano and Tritchler (1983) the counting. Covers one comparison; `decision` has the rule.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from noctuary.stats import check_finite

STEPS_A_POINT = 100_000
"""Steps in a difference of 1 in score; far below what any difference means."""

Steps = npt.NDArray[np.int64]


def steps_of(differences: Sequence[float]) -> Steps:
    """Return the differences in whole steps, halves to the even one, (n,).

    Raises:
        ValueError: there is no difference, or one that no two scores can have.
    """
    check_finite(differences, "difference")
    largest = max(differences, key=abs)
    if abs(largest) > 1:
        raise ValueError(f"a difference of {largest}; scores lie between 0 and 1")
    steps: Steps = np.rint(np.asarray(differences) * STEPS_A_POINT).astype(np.int64)
    return steps


def positive_p(steps: Steps) -> float:
    """Return the chance of a mean as large as this one, were each sign a fair coin's.

    To flip the signs of a subset leaves the sum as large exactly where the subset's own sum is not
    positive. With x_i = |steps_i|, that is as likely as that a random subset of all x_i sums to at
    most the sum of those that were negative, which is counted here one x_i after the other.
    """
    most = int(-steps[steps < 0].sum())
    chances = np.zeros(most + 1)  # of each sum, so far
    chances[0] = 1.0
    reached = 0
    for step in np.sort(np.abs(steps)).tolist():
        chances[: reached + 1] *= 0.5
        reached = min(most, reached + step)
        if step <= most:
            chances[step : reached + 1] += chances[: reached + 1 - step].copy()
    return min(1.0, float(chances.sum()))


def lower_bound(steps: Steps, level: float) -> int | None:
    """Return the smallest mean, in steps, that the test does not reject at the level.

    All below it are rejected (Hartigan 1969 inverts the test so), and zero is exactly where
    `positive_p` is at most the level. None with too few pairs for the level.
    """
    if 2.0 ** -len(steps) > level:
        return None
    low, high = int(steps.min()) - 1, int(steps.max())  # rejected, not rejected
    while high - low > 1:
        middle = (low + high) // 2
        if positive_p(steps - middle) <= level:
            low = middle
        else:
            high = middle
    return high


def fewest_pairs(level: float) -> int:
    """Return the pairs below which the test rejects nothing at the level: 2^-n must reach it."""
    return math.ceil(-math.log2(level) - 1e-9)

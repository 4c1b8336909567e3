"""How many seeds a claim takes, from what the search's own trials say of the spread.

All comparisons of a claim have to hold, so each needs more power than the claim: with k of them,
1 - (1 - power) / k, which is enough however they hang together. The spread of a difference on the
held-out tasks, where nobody has trained yet, is taken to be that of a mean of so many tasks like
those of the search, the same at every scale. Few trials tell it badly, and held-out tasks can be
noisier than what the search saw: hence `CAUTION` and `LEAST_SPREAD`. `bench/claims.py` shows what
the plain estimate would cost. Does not read the archive: `registration` does.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, variance
from typing import NamedTuple

from noctuary.campaigns import seeds_needed, smallest_difference
from noctuary.claims.sign_flips import fewest_pairs
from noctuary.errors import UsageError

MOST_SEEDS = 100
"""More are not drawn unasked: on two cores, a claim of the standard suite takes days with them."""

CAUTION = 0.6
"""Confidence of the upper bound on the spread that is taken instead of the estimate."""

LEAST_SPREAD = 0.1
"""Of a difference in score on one held-out task. Pairs of the ten best human baselines have 0.08,
and up to 0.13, where the search's tasks show as little as 0.03 for some of them (five seeds each,
those of `docs/baselines.md`)."""


class Differences(NamedTuple):
    """What is known of one pair of mixers before the claim.

    Attributes:
        tasks: for each task, the differences in score on the seeds that both have.
    """

    pair: str
    tasks: Sequence[Sequence[float]]

    @property
    def told(self) -> bool:
        """Whether they say anything: two seeds in common, at least, on each task."""
        return bool(self.tasks) and min(map(len, self.tasks)) > 1


class Spread(NamedTuple):
    """Standard deviation of a difference in mean score, and where it is from, in words."""

    value: float
    source: str


def expected_spread(
    known: Iterable[Differences], tasks: int, rung: int, least: float = LEAST_SPREAD
) -> Spread:
    """Return the spread to expect of a difference in the mean over so many held-out tasks.

    The largest of the pairs' own. Scores on different tasks are taken to be independent, given the
    mixers: over the seeds, those of the human baselines correlate with 0.05.

    Args:
        known: pairs that tell nothing are left out.
        rung: where the differences are from, for the words.
        least: of one task, whatever the pairs say.
    """
    found = [(_of_one_task(each), each) for each in known if each.told]
    largest, pair = max(found, key=lambda one: one[0], default=(0.0, None))
    if pair is None or largest < least:
        source = f"at least {least:g} a task, as among the human baselines that ship"
        return Spread(least / math.sqrt(tasks), source)
    seeds = min(map(len, pair.tasks))
    source = f"{pair.pair} on rung {rung} of the search, {seeds} seeds, {len(pair.tasks)} tasks"
    return Spread(largest / math.sqrt(tasks), source)


def _of_one_task(differences: Differences) -> float:
    """Return the upper bound on the standard deviation on one task, pooled over the tasks."""
    from scipy.stats import chi2

    degrees = sum(len(each) - 1 for each in differences.tasks)
    pooled = fmean(variance(each) for each in differences.tasks)
    return math.sqrt(pooled * degrees / float(chi2.ppf(1 - CAUTION, degrees)))


def seeds_for(
    effect: float,
    spread: float,
    *,
    alpha: float,
    power: float,
    comparisons: int,
    asked: int | None = None,
) -> int:
    """Return the seeds of a claim: the fewest with the wanted power, or the more that are asked.

    By Student's one-sided test for each comparison, and never fewer than the sign flips need to
    call anything, a refutation included.

    Raises:
        UsageError: fewer are asked for, or none and it takes more than `MOST_SEEDS`.
    """
    each = 1 - (1 - power) / comparisons
    fewest = max(2, fewest_pairs(alpha / comparisons))
    try:
        needed = max(fewest, seeds_needed(effect, spread, alpha=2 * alpha, wanted=each))
    except ValueError as error:
        raise UsageError(f"{error}: claim a larger one, with --smallest-effect") from error
    if asked is not None and asked < needed:
        raise UsageError(
            f"--seeds {asked}: an effect of {effect:g} beside a spread of {spread:.3f} takes "
            f"{needed}; expected as many or more"
        )
    if asked is None and needed > MOST_SEEDS:
        shown = smallest_difference(MOST_SEEDS, spread, alpha=2 * alpha, wanted=each)
        shown = math.ceil(shown * 1000) / 1000
        raise UsageError(
            f"an effect of {effect:g} beside a spread of {spread:.3f} takes {needed} seeds, and "
            f"{MOST_SEEDS} are the most that are drawn unasked: claim {shown:g}, which they show, "
            f"with --smallest-effect {shown:g}, or ask for --seeds {needed}"
        )
    return asked or needed

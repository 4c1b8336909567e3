"""Which of many ideas are worth the trials of a cycle: a batch that is good and diverse.

Each place goes to the idea with the highest expected improvement (Jones et al. 1998) over the
best design. Before the next place is given, the surrogate takes the idea's expected score for
measured (the kriging believer of Ginsbourger et al. 2010), so that it is no longer curious about
what is like it; and no two designs of a batch are near-equal as long as there are others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from noctuary.search.surrogate import Array

APART = 2
"""Axes on which two designs of a batch differ at least, as long as there are such."""

Mask = NDArray[np.bool_]


def expected_improvement(mean: Array, sd: Array, best: float) -> Array:
    """Return by how much a score from these normal distributions exceeds `best` on average."""
    above = mean - best
    z = above / np.maximum(sd, 1e-12)
    gain: Array = np.maximum(above * ndtr(z) + sd * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), 0.0)
    return gain


def chosen(
    mean: Array,
    covariance: Array,
    best: float,
    noise: float,
    apart: Array,
    places: Sequence[Mask],
) -> list[int]:
    """Return the index of an idea for each place, as far as there are enough.

    Args:
        mean, covariance: of the ideas' scores, (ideas,) and (ideas, ideas).
        best: the score to improve on.
        noise: standard deviation of a score between seeds.
        apart: (ideas, ideas) axes on which they differ.
        places: for each place, which ideas may have it, (ideas,).
    """
    taken: list[int] = []
    left = covariance
    for allowed in places:
        able = _able(allowed, taken, apart)
        if not able.any():
            continue
        gain = expected_improvement(mean, np.sqrt(np.maximum(np.diag(left), 0.0)), best)
        # where nothing is expected to improve, the highest mean
        order = np.lexsort((mean, np.where(able, gain, -1.0)))
        taken.append(int(order[-1]))
        with_it = left[:, taken[-1]]
        left = left - np.outer(with_it, with_it) / (with_it[taken[-1]] + noise**2)
    return taken


def first(apart: Array, places: Sequence[Mask]) -> list[int]:
    """Return the first idea that may have each place: a batch that nobody has judged."""
    taken: list[int] = []
    for allowed in places:
        able = _able(allowed, taken, apart)
        if able.any():
            taken.append(int(able.argmax()))
    return taken


def _able(allowed: Mask, taken: list[int], apart: Array) -> Mask:
    """Return which ideas may have a place, beside those that are taken."""
    free = allowed.copy()
    free[taken] = False
    if not taken:
        return free
    far: Mask = free & (apart[taken].min(axis=0) >= APART)
    return far if far.any() else free

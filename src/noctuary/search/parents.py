"""Parents: which candidates the next designs are made from, by six policies.

Every policy is a function of the history and a generator. None keeps a count of its own: UCB1
counts its visits in the history, as the children that a parent has. Does not make designs.
"""

from collections import Counter
from math import log, sqrt
from random import Random
from typing import Protocol

import numpy as np

from noctuary.search.history import Attempt, History, Parent, as_parent
from noctuary.space.features import encoded
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES

WINDOW = 100
"""Attempts that aging evolution keeps alive, the youngest; the population of arXiv 1802.01548."""

TOURNAMENT = 25
"""Attempts of the window that meet in a tournament (arXiv 1802.01548)."""

CURIOSITY = 0.7
"""Weight of the bound in UCB1 beside a score that is scaled to 0 to 1; half of Auer's sqrt(2)."""


class ParentPolicy(Protocol):
    """A way to choose up to `count` different parents. Unscored ones serve where no other is."""

    def __call__(self, history: History, count: int, rng: Random) -> tuple[Parent, ...]: ...


def ranked(history: History, count: int, rng: Random) -> tuple[Parent, ...]:
    """Return the best candidate, then others by rank, with diversity.

    Each further one is drawn with a weight that falls with its rank (1, 1/2, 1/3, ...) and grows
    with its distance to the parents drawn already. Ranks rather than scores, so that one outlier
    does not take every draw.
    """
    candidates = history.ranked(rng)
    if not candidates or count < 1:
        return ()
    points = encoded([parent.genome for parent in candidates])
    weights = 1 / np.arange(1, len(candidates) + 1)
    chosen = [0]
    while len(chosen) < min(count, len(candidates)):
        apart = len(AXES) - (points @ points[chosen].T).max(axis=1)  # 0 for those chosen already
        chosen += rng.choices(range(len(candidates)), weights=weights * apart)
    return tuple(candidates[place] for place in sorted(chosen))


def greedy(history: History, count: int, rng: Random) -> tuple[Parent, ...]:
    """Return the best candidates."""
    return tuple(history.ranked(rng)[:count])


def random(history: History, count: int, rng: Random) -> tuple[Parent, ...]:
    """Return any candidates, all alike likely."""
    candidates = history.ranked(rng)
    return tuple(rng.sample(candidates, min(count, len(candidates))))


def ucb1(history: History, count: int, rng: Random) -> tuple[Parent, ...]:
    """Return the candidates with the highest upper confidence bound (UCB1; Auer et al. 2002).

    A candidate is visited when it is scored and once more with each child. Choosing a parent
    counts as a visit at once, so that the visits of a batch are spread as those of a sequence.
    """
    able = _able(history, rng)
    if not able:
        return greedy(history, count, rng)
    scores = [attempt.score or 0.0 for attempt, _ in able]
    low, high = min(scores), max(scores)
    children = Counter(parent for attempt in history.attempts for parent in attempt.parents)
    visits = {attempt.candidate_id: 1 + children[attempt.candidate_id] for attempt, _ in able}
    total = sum(visits.values())

    def bound(attempt: Attempt, made: int) -> float:
        value = ((attempt.score or 0.0) - low) / (high - low) if high > low else 0.5
        return value + CURIOSITY * sqrt(log(total + made) / visits[attempt.candidate_id])

    chosen: dict[str, Parent] = {}
    for made in range(count):
        left = [one for one in able if one[0].candidate_id not in chosen]
        if not left:
            break
        attempt, genome = max(left, key=lambda one: bound(one[0], made))
        chosen[attempt.candidate_id] = as_parent(attempt, genome)
    return tuple(chosen.values())


def aging(history: History, count: int, rng: Random) -> tuple[Parent, ...]:
    """Return the winners of tournaments among the youngest (regularised evolution, 1802.01548)."""
    window = list(history.scored[-WINDOW:])
    if not window:
        return greedy(history, count, rng)
    chosen: dict[str, Parent] = {}
    for _ in range(count):
        tournament = rng.sample(window, min(TOURNAMENT, len(window)))
        best = max(tournament, key=lambda attempt: attempt.score or 0.0)
        if best.genome is not None:
            chosen.setdefault(best.candidate_id, as_parent(best, best.genome))
    return tuple(chosen.values())


def map_elites(history: History, count: int, rng: Random) -> tuple[Parent, ...]:
    """Return the best of random cells of behaviour (MAP-Elites, arXiv 1504.04909).

    A cell is what a candidate is good at and how it is made: the task in which it stands out
    most from the mean of all, and its kinds of update and decay.
    """
    able = _able(history, rng)
    if not able:
        return greedy(history, count, rng)
    seen: dict[str, list[float]] = {}
    for attempt, _ in able:
        for task, score in attempt.tasks.items():
            seen.setdefault(task, []).append(score)
    means = {task: sum(scores) / len(scores) for task, scores in seen.items()}

    def cell(attempt: Attempt, genome: Genome) -> tuple[str, str, str]:
        strength = max(
            sorted(attempt.tasks), key=lambda task: attempt.tasks[task] - means[task], default=""
        )
        return strength, genome.update, genome.decay

    elites: dict[tuple[str, str, str], Parent] = {}
    for attempt, genome in sorted(able, key=lambda one: -(one[0].score or 0.0)):
        elites.setdefault(cell(attempt, genome), as_parent(attempt, genome))
    return tuple(rng.sample(list(elites.values()), min(count, len(elites))))


POLICIES: dict[str, ParentPolicy] = {
    "ranked": ranked,
    "greedy": greedy,
    "random": random,
    "ucb1": ucb1,
    "aging": aging,
    "map_elites": map_elites,
}
"""name, as in the settings -> policy."""


def _able(history: History, rng: Random) -> list[tuple[Attempt, Genome]]:
    """Return the scored attempts of the design space in random order, each genome once."""
    attempts = list(history.scored)
    rng.shuffle(attempts)
    found: dict[Genome, Attempt] = {}
    for attempt in attempts:
        if attempt.genome is not None:
            found.setdefault(attempt.genome, attempt)
    return [(attempt, genome) for genome, attempt in found.items()]

"""One number from many tasks, and how much hangs on the choice of that number.

The aggregate of a mixer is the plain mean over the tasks of its mean score over the seeds.
Covers that mean, the other aggregates that somebody could have chosen, and how far their
rankings agree with it. Pure functions on plain numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from scipy.stats import kendalltau

TaskScores = Mapping[str, float]
"""task -> mean score over the seeds."""


@dataclass(frozen=True)
class Sensitivity:
    """What another aggregate would have said.

    Attributes:
        name: of the aggregate, in words.
        agreement: Kendall's tau between its ranking and that of the mean, -1 to 1.
        best: the mixers that it ranks first, best first.
        lost: of the mean's best, those that it does not rank among as many.
    """

    name: str
    agreement: float
    best: tuple[str, ...]
    lost: tuple[str, ...]


def aggregate(scores: TaskScores) -> float:
    """Return the mean over the tasks.

    Raises:
        ValueError: there is no task.
    """
    if not scores:
        raise ValueError("no task has a score; expected at least one")
    return fmean(scores.values())


def sensitivity(
    scores: Mapping[str, TaskScores],
    parts: Mapping[str, Mapping[str, TaskScores]] | None = None,
    *,
    best: int = 3,
) -> tuple[Sensitivity, ...]:
    """Return what the ranking would be under other aggregates.

    They are the median over the tasks, the worst task, the mean rank, the mean without each
    task in turn, and the mean of each part of the score alone.

    Args:
        scores: mixer -> its scores; all mixers have the same tasks.
        parts: part -> mixer -> task -> that part alone.
        best: how many of the best are named.

    Raises:
        ValueError: fewer than two mixers, or mixers with different tasks.
    """
    tasks = sorted({task for found in scores.values() for task in found})
    if len(scores) < 2 or any(set(found) != set(tasks) for found in scores.values()):
        raise ValueError("expected two mixers or more, all with the same tasks")
    others: dict[str, Mapping[str, float]] = {
        "median over the tasks": _each(scores, lambda found: median(found.values())),
        "worst task": _each(scores, lambda found: min(found.values())),
        "mean rank": _mean_ranks(scores, tasks),
    }
    for task in tasks if len(tasks) > 1 else ():
        others[f"without {task}"] = {m: _mean_without(task, f) for m, f in scores.items()}
    for name, part in (parts or {}).items():
        others[f"{name} alone"] = _each(part, aggregate)
    reference = _each(scores, aggregate)
    top = ranking(reference)[:best]
    made = []
    for name, values in others.items():
        first = ranking(values)[:best]
        tau = float(kendalltau([reference[m] for m in scores], [values[m] for m in scores])[0])
        made.append(Sensitivity(name, tau, first, tuple(m for m in top if m not in first)))
    return tuple(made)


def ranking(values: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names, largest value first; of equals, the first in the alphabet."""
    return tuple(sorted(values, key=lambda name: (-values[name], name)))


def _each(
    scores: Mapping[str, TaskScores], summary: Callable[[TaskScores], float]
) -> dict[str, float]:
    return {mixer: summary(found) for mixer, found in scores.items()}


def _mean_without(task: str, found: TaskScores) -> float:
    return fmean(score for name, score in found.items() if name != task)


def _mean_ranks(scores: Mapping[str, TaskScores], tasks: Sequence[str]) -> dict[str, float]:
    """Return mixer -> minus its mean rank over the tasks; equal scores share their mean rank."""
    ranks: dict[str, list[float]] = {mixer: [] for mixer in scores}
    for task in tasks:
        for mixer, found in scores.items():
            above = sum(other[task] > found[task] for other in scores.values())
            equal = sum(other[task] == found[task] for other in scores.values())
            ranks[mixer].append(above + (equal + 1) / 2)
    return {mixer: -fmean(found) for mixer, found in ranks.items()}

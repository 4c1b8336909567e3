"""The archive's SQL once more, slowly, in plain Python: what the tests hold it against."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from statistics import fmean

from noctuary.domain import Axes, Trial
from noctuary.stats import Interval, paired_interval, welch_interval

Scores = Mapping[tuple[str, str, int], float | None]


Attempt = tuple[str, str, int]
"""Candidate id, task and seed: what is tried with several learning rates."""


def tuned(trials: Iterable[Trial]) -> tuple[dict[Attempt, float | None], set[Attempt]]:
    """Return the best score of each attempt, None where no rate gave one, and those that broke."""
    best: dict[Attempt, float | None] = {}
    broken: set[Attempt] = set()
    for trial in trials:
        attempt = (trial.spec.candidate_id, trial.spec.task, trial.spec.seed)
        best.setdefault(attempt, None)
        if trial.status == "ok" and trial.score is not None:
            so_far = best[attempt]
            best[attempt] = trial.score if so_far is None else max(so_far, trial.score)
        elif trial.status != "diverged":
            broken.add(attempt)
    return best, broken


def ok(scores: Scores) -> dict[tuple[str, str, int], float]:
    return {key: score for key, score in scores.items() if score is not None}


def task_means(scores: Scores) -> dict[str, dict[str, float]]:
    """Return candidate -> task -> mean over seeds."""
    listed: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (candidate, task, _), score in ok(scores).items():
        listed[candidate][task].append(score)
    return {c: {t: fmean(s) for t, s in tasks.items()} for c, tasks in listed.items()}


def total_scores(scores: Scores, tasks: Collection[str]) -> dict[str, float]:
    """Return candidate -> mean over tasks, for those that have them all."""
    means = task_means(scores)
    return {c: fmean(found.values()) for c, found in means.items() if set(found) == set(tasks)}


def paired(
    scores: Scores, candidate: str, baseline: str, task: str, tasks: Collection[str]
) -> Interval | None:
    """Return the difference on a task, or on `all`; None where nothing pairs."""
    found = ok(scores)
    seeds = sorted({seed for _, _, seed in found})
    wanted = list(tasks) if task == "all" else [task]
    differences = []
    for seed in seeds:
        keys = [((candidate, t, seed), (baseline, t, seed)) for t in wanted]
        if all(mine in found and theirs in found for mine, theirs in keys):
            differences.append(fmean(found[mine] - found[theirs] for mine, theirs in keys))
    return paired_interval(differences) if differences else None


def mechanism(
    scores: Scores, axes: Mapping[str, Axes], choice: tuple[str, str], task: str, tasks: set[str]
) -> Interval | None:
    """Return the effect of an axis' value against its others; None without a contrast."""
    axis, value = choice
    if task == "all":
        level = total_scores(scores, tasks)
    else:
        level = {c: m[task] for c, m in task_means(scores).items() if task in m}
    having = [s for c, s in sorted(level.items()) if c in axes and axes[c][axis] == value]
    lacking = [s for c, s in sorted(level.items()) if c in axes and axes[c][axis] != value]
    return welch_interval(having, lacking) if having and lacking else None


def same(row: Mapping[str, float | None], interval: Interval, tolerance: float) -> bool:
    """Whether a row's effect, low and high are the interval's, but for a share of its width."""
    width = (interval.high or 0.0) - (interval.low or 0.0)
    pairs = [
        (row["effect"], interval.effect),
        (row["low"], interval.low),
        (row["high"], interval.high),
    ]
    return all(
        (seen is None) == (wanted is None)
        and (seen is None or wanted is None or abs(seen - wanted) <= tolerance * width + 1e-9)
        for seen, wanted in pairs
    )

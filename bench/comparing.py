"""How searches compare: trials until the top of the space, the best so far, and pairs of searches.

Covers numbers, tables and the figure. What is compared are arrays of the scores without noise of
each trial, (repetitions, trials), with repetition n of one search paired with that of any other.
"""

from pathlib import Path
from typing import Any

import measuring
import numpy as np
from numpy.typing import NDArray
from searchers import DEFAULT, REFERENCE, RIVALS
from table import Floats

RESAMPLES = 2000
SHOWN = (20, 40, 80, 160)
"""Trials at which the best score so far is told."""

Comparison = dict[str, Any]
"""What `compared` returns, as JSON can hold it."""


def hits(values: Floats, target: float) -> Floats:
    """Return the trial, from 1, that is the first to reach the target; infinite where none is."""
    reached = values >= target
    return np.where(reached.any(1), reached.argmax(1) + 1.0, np.inf)


def compared(values: dict[str, Floats], targets: dict[str, float]) -> Comparison:
    """Return how fast each search reached each target, and how good its best was on the way.

    Each number comes with its 95 % bootstrap interval over the repetitions; where two searches
    are compared, their repetitions are resampled in pairs. A repetition that never reached a
    target counts as one that did at the last trial.

    Args:
        targets: name, such as `1 %` -> score.
    """
    count, trials = values[REFERENCE].shape
    rows = _resamples(count)
    best = {name: np.maximum.accumulate(of, axis=1) for name, of in values.items()}
    found: Comparison = {"trials": trials, "targets": targets, "searches": {}}
    for name, of in values.items():
        one: dict[str, Any] = {"top": {}, "curve": best[name].mean(0).tolist()}
        for top, target in targets.items():
            when, reference, default = (
                hits(its, target) for its in (of, values[REFERENCE], values.get(DEFAULT, of))
            )
            mean, of_reference, of_default = (
                np.minimum(these, trials) for these in (when, reference, default)
            )
            one["top"][top] = {
                "hits": [None if np.isinf(trial) else int(trial) for trial in when],
                "reached": float(np.isfinite(when).mean()),
                "median": [float(np.median(when)), *_interval(np.median(when[rows], axis=1))],
                "mean": [float(mean.mean()), *_interval(mean[rows].mean(1))],
                "of_random": [
                    float(mean.mean() / of_reference.mean()),
                    *_interval(mean[rows].mean(1) / of_reference[rows].mean(1)),
                ],
                "later": _difference(mean - of_default, rows),
            }
        shown = [n for n in SHOWN if n <= trials]
        one["best"] = {n: float(best[name][:, n - 1].mean()) for n in shown}
        one["better"] = {
            n: _difference((best[name] - best.get(DEFAULT, best[name]))[:, n - 1], rows)
            for n in shown
        }
        found["searches"][name] = one
    return found


def tables(found: Comparison) -> str:
    """Return the comparison as two tables: all searches, and what the default has over each."""
    trials, targets = found["trials"], found["targets"]
    header = ["search"]
    for top in targets:
        header += [f"trials until the top {top}: median", "mean", "of random's", f"in {trials}"]
    searches = [
        [
            name,
            *(
                cell
                for one in of["top"].values()
                for cell in (
                    _with_interval(one["median"], ".0f", trials),
                    _with_interval(one["mean"], ".1f"),
                    _with_interval(one["of_random"], ".2f"),
                    f"{one['reached']:.0%}",
                )
            ),
        ]
        for name, of in found["searches"].items()
    ]
    shown = list(next(iter(found["searches"].values()))["better"])
    differences = [
        [
            name,
            *(_with_interval(one["later"], "+.1f") for one in of["top"].values()),
            f"{of['best'][shown[-1]]:.3f}",
            *(_with_interval(of["better"][n], "+.3f") for n in shown),
        ]
        for name, of in found["searches"].items()
    ]
    begins = ", ".join(f"the top {top} begins at {score:.3f}" for top, score in targets.items())
    return "\n\n".join(
        [
            f"{begins}.",
            measuring.markdown(header, searches),
            f"Differences to {DEFAULT}, in pairs: trials later at the top, and the best score so "
            "far:",
            measuring.markdown(
                [
                    "search",
                    *(f"top {top}, trials later" for top in targets),
                    f"best of {shown[-1]}",
                    *(f"best of {n}, higher by" for n in shown),
                ],
                differences,
            ),
        ]
    )


def draw_figure(found: Comparison, path: Path) -> None:
    """Draw the best score so far, and the share of the repetitions that reached the top 1 %."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (scores, shares) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    trials = np.arange(1, found["trials"] + 1)
    top, target = next(iter(found["targets"].items()))
    for name in (DEFAULT, *RIVALS):
        one = found["searches"][name]
        when = np.array([np.inf if hit is None else hit for hit in one["top"][top]["hits"]])
        style = {"label": name, "linewidth": 2.4 if name == DEFAULT else 1.2}
        scores.plot(trials, one["curve"], **style)
        shares.plot(trials, (when[:, None] <= trials).mean(0), **style)
    scores.axhline(target, color="black", linewidth=0.8, linestyle=":")
    scores.annotate(f"top {top} of the space", (0, target), va="bottom")
    scores.set(xlabel="trials", ylabel="best score so far, mean of the repetitions")
    shares.set(xlabel="trials", ylabel=f"share that reached the top {top}", ylim=(0, 1))
    scores.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _resamples(count: int) -> NDArray[np.int64]:
    """Return rows of repetitions drawn with replacement, the same for all searches."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def _interval(resampled: Floats) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile; of an infinite one no mean is taken."""
    low, high = np.quantile(resampled, (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)


def _difference(pairs: Floats, rows: NDArray[np.int64]) -> list[float]:
    return [float(pairs.mean()), *_interval(pairs[rows].mean(1))]


def _with_interval(numbers: list[float], form: str, most: float = np.inf) -> str:
    value, low, high = (f"over {most}" if n > most else f"{n:{form}}" for n in numbers)
    return f"{value} ({low} to {high})"

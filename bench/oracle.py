"""A stand-in for training: what a design of the space would score, learnt from the measured table.

    python bench/oracle.py        # how well it predicts designs that it has not seen

The table of `space_table.py` holds some 400 designs of a space of 10^9. The oracle is a forest of
trees for each task, over the mechanisms of a genome: a model of another kind than those
with which a search thinks ahead, so that no search is held against its own beliefs. What a search
observes is the oracle's score and the noise of a seed, drawn from the differences between the
seeds of the designs that have several. `Measured` is the other landscape, without a model: only
the designs of the table exist, and a search that wants another one gets the nearest.

Covers the landscapes and how good they are. The searches themselves: `search.py`.
"""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import measuring
import numpy as np
from scipy.stats import kendalltau, spearmanr
from sklearn.base import RegressorMixin, clone
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from table import DATA, Floats, Table, read_table

from noctuary.space.features import encoded
from noctuary.space.genome import Genome

TOPS = {"1 %": 0.01, "0.1 %": 0.001}

FOLDS, REPEATS = 10, 3
RESAMPLES = 2000
TREES = 100
"""Of the oracle, for each task; more change nothing in the second digit."""


class Landscape(Protocol):
    """What a search may ask of, and what it is judged by.

    Attributes:
        targets: share of the designs, in words -> mean over the tasks at which that top begins.
    """

    tasks: tuple[str, ...]
    targets: dict[str, float]

    def settle(self, wanted: Sequence[Genome], seen: Collection[Genome]) -> list[Genome]:
        """Return the designs that are tried where these are wanted, none of them seen before."""
        ...

    def scores(self, genomes: Sequence[Genome]) -> Floats:
        """Return the scores without noise, (n, tasks)."""
        ...

    def noise(self, count: int, rng: np.random.Generator) -> Floats:
        """Return what the seeds of so many trials add, (count, tasks)."""
        ...


class Oracle:
    """Every design of the space, at the score that a forest of trees predicts for it."""

    def __init__(self, table: Table, draws: Sequence[Genome]) -> None:
        self.tasks = table.tasks
        self._noise = table.noise
        self._forest = forest().fit(encoded(table.genomes), table.scores)
        self.drawn = self.scores(draws).mean(1)  # (draws,)
        self.targets = {top: float(np.quantile(self.drawn, 1 - of)) for top, of in TOPS.items()}

    def settle(self, wanted: Sequence[Genome], seen: Collection[Genome]) -> list[Genome]:
        return list(wanted)

    def scores(self, genomes: Sequence[Genome]) -> Floats:
        found: Floats = self._forest.predict(encoded(genomes))
        return found

    def noise(self, count: int, rng: np.random.Generator) -> Floats:
        return self._noise[rng.integers(len(self._noise), size=count)]


class Measured:
    """The designs of the table and no others, at the scores that were measured, noise included."""

    def __init__(self, table: Table) -> None:
        self.tasks = table.tasks
        self._genomes = table.genomes
        self._points = encoded(table.genomes)
        self._scores = dict(zip(table.genomes, table.scores, strict=True))
        best = np.sort(table.scores.mean(1))[::-1]
        self.targets = {
            top: float(best[max(round(of * len(best)), 1) - 1]) for top, of in TOPS.items()
        }

    def settle(self, wanted: Sequence[Genome], seen: Collection[Genome]) -> list[Genome]:
        """Return for each the design of the table that differs on the fewest axes."""
        left = np.array([genome not in seen for genome in self._genomes])
        found = []
        for point in encoded(wanted):
            shared = np.where(left, self._points @ point, -1.0)  # axes on which they agree
            nearest = int(shared.argmax())
            left[nearest] = False
            found.append(self._genomes[nearest])
        return found

    def scores(self, genomes: Sequence[Genome]) -> Floats:
        return np.array([self._scores[genome] for genome in genomes])

    def noise(self, count: int, rng: np.random.Generator) -> Floats:
        return np.zeros((count, len(self.tasks)))


def forest(seed: int = 0) -> RegressorMixin:
    """Return the oracle's model, not fitted: from (n, mechanisms) to (n, tasks)."""
    trees = ExtraTreesRegressor(TREES, max_features=0.5, random_state=seed)
    return MultiOutputRegressor(trees)


def models() -> dict[str, RegressorMixin]:
    """Return the oracle's model and others that it is held against, not fitted."""
    return {
        "extra trees (the oracle)": forest(),
        "random forest": MultiOutputRegressor(RandomForestRegressor(TREES, max_features=0.5)),
        "linear, ridge": RidgeCV(alphas=np.logspace(-1, 3, 9)),
    }


def agreement(true: Floats, predicted: Floats) -> dict[str, float]:
    """Return how well predictions (n,) of designs that were not seen meet the measured ones."""
    return {
        "r2": float(r2_score(true, predicted)),
        "spearman": float(spearmanr(true, predicted)[0]),
        "kendall": float(kendalltau(true, predicted)[0]),
    }


def cross_validated(table: Table) -> dict[str, dict[str, dict[str, float]]]:
    """Return model -> task, or `mean` of all -> agreement, mean over repeated cross-validation."""
    points = encoded(table.genomes)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, model in models().items():
        runs = []
        for repeat in range(REPEATS):
            folds = KFold(FOLDS, shuffle=True, random_state=repeat)
            predicted = cross_val_predict(clone(model), points, table.scores, cv=folds)
            each = dict(
                zip(table.tasks, zip(table.scores.T, predicted.T, strict=True), strict=True)
            )
            runs.append(
                {
                    task: agreement(*pair)
                    for task, pair in {
                        **each,
                        "mean": (table.scores.mean(1), predicted.mean(1)),
                    }.items()
                }
            )
        found[name] = {
            task: {key: fmean(run[task][key] for run in runs) for key in runs[0][task]}
            for task in runs[0]
        }
    return found


def quality(table: Table) -> dict[str, Any]:
    """Return how good the oracle is, and what no model could do better."""
    mean = table.scores.mean(1)
    noise = {task: float(sd) for task, sd in zip(table.tasks, table.noise.std(0), strict=True)}
    noise["mean"] = float(table.noise.mean(1).std())
    return {
        "designs": len(table.genomes),
        "failed": table.failed,
        "scores": {"mean": float(mean.mean()), "sd": float(mean.std()), "best": float(mean.max())},
        "noise_sd": noise,
        "attainable_r2": 1 - noise["mean"] ** 2 / float(mean.var()),
        "cross_validated": cross_validated(table),
        "repeats": len(table.noise),
        "second_rung": second_rung(table.later) if len(table.later) > 1 else None,
    }


def second_rung(later: Floats) -> dict[str, Any]:
    """Return how well the first rung orders those of the second, with 95 % bootstrap intervals.

    Args:
        later: (designs, 2) as `Table.later`.
    """
    rows = np.random.default_rng(0).integers(len(later), size=(RESAMPLES, len(later)))
    resampled = [agreement(*later[row].T[::-1]) for row in rows]
    held = agreement(*later.T[::-1])
    return {
        "designs": len(later),
        **{
            key: [held[key], *np.nanquantile([one[key] for one in resampled], (0.025, 0.975))]
            for key in ("spearman", "kendall")
        },
        "best": int((later[:, 0] >= later[later[:, 1].argmax(), 0]).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", type=Path, default=DATA, help="folder of the table")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    about = measuring.facts()
    found = quality(read_table(asked.table))
    noise, scores = found["noise_sd"], found["scores"]
    rows = [
        [f"{name}, {task}", *(f"{of_task[key]:.2f}" for key in of_task), f"{noise[task]:.3f}"]
        for name, tasks in found["cross_validated"].items()
        for task, of_task in tasks.items()
        if task == "mean" or "oracle" in name
    ]
    table = measuring.markdown(
        ["model, task", "R2", "Spearman", "Kendall", "sd of a seed"],
        rows,
    )
    later = found["second_rung"]
    held = "No design of the table has been to the second rung."
    if later:
        spearman, kendall = (
            "{:.2f} ({:.2f} to {:.2f})".format(*later[key]) for key in ("spearman", "kendall")
        )
        held = (
            f"The order of the {later['designs']} designs that went on to the second rung, on the "
            f"first against the second: Spearman {spearman}, Kendall {kendall}; the best of the "
            f"second was number {later['best']} on the first."
        )
    measuring.report(
        f"The oracle of the space, {found['designs']} designs, {REPEATS} times {FOLDS}-fold "
        "cross-validation",
        {"facts": about, **found},
        f"{table}\n\nScores: mean {scores['mean']:.3f}, sd {scores['sd']:.3f}, best "
        f"{scores['best']:.3f}; {found['failed']} designs without one. The noise is of "
        f"{found['repeats']} trials; with it no model could have an R2 above "
        f"{found['attainable_r2']:.2f}. {held}",
        as_json=asked.json,
        record=asked.record,
    )


if __name__ == "__main__":
    main()

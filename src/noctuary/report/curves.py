"""The learning curves of a cycle as one picture: a panel a task, a line a candidate."""

import csv
import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from noctuary.domain import Candidate, Trial
from noctuary.plan import at_best_rate

Curve = tuple[list[int], list[float]]

COLOURS = tuple(f"C{number}" for number in range(10) if number != 7)
"""Of the designs: matplotlib's own, without its grey."""

LETTER = 0.076
"""Inches that a letter of the legend takes, at most."""

DASHES = ((0, (6, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1.5)))
"""Of the human baselines, in turn; with their greys they tell a dozen lines apart."""


def curves_png(candidates: Sequence[Candidate], trials: Sequence[Trial], folder: Path) -> bytes:
    """Return a PNG of training loss over steps, averaged over seeds, at the best learning rate.

    A column a task; a row for the first rung, where everybody is, and one for the last. Human
    baselines are grey and dashed, designs are coloured. The first tenth may begin above the
    panel.

    Args:
        folder: the lab's `trials`, with a `curve.csv` in each trial's folder.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = sorted({trial.spec.task for trial in trials})
    rungs = sorted({trial.spec.rung for trial in trials})
    rows = rungs[:1] + rungs[1:][-1:]
    # no wider than a page of the Prefect UI, which would shrink it until nobody can read it
    width = 3.2 * max(1, len(tasks))
    lines = -(-len(candidates) // _columns([one.name for one in candidates], width))
    size = (width, 0.3 + 0.2 * lines + 3.1 * max(1, len(rows)))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    looks = _looks(candidates)
    handles = {}
    for number, (rung, task) in enumerate(product(rows, tasks), start=1):
        axes = figure.add_subplot(len(rows), len(tasks), number)
        begin = []
        for candidate in sorted(candidates, key=lambda one: one.kind != "human"):
            curve = _mean_curve(candidate, task, rung, trials, folder)
            if curve is None:
                continue
            [handles[candidate.name]] = axes.plot(*curve, **looks[candidate.candidate_id])
            begin.append(curve[1][len(curve[1]) // 10])
        if begin:  # the fall of the first steps would take all the height from what follows
            axes.set_ylim(top=1.05 * max(begin))
        axes.set_title(f"{task}, rung {rung}")
        axes.set_xlabel("step")
        if task == tasks[0]:
            axes.set_ylabel("training loss (nats)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=_columns(list(handles), size[0]),
        frameon=False,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def _columns(names: Sequence[str], width: float) -> int:
    """Return how many columns of a legend fit into so many inches, one to three."""
    longest = max(map(len, names), default=0)
    return max(1, min(3, int(width / (0.7 + LETTER * longest))))


def _looks(candidates: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """Return how the line of each candidate is drawn, the same in every panel."""
    humans = [c.candidate_id for c in candidates if c.kind == "human"]
    designs = [c.candidate_id for c in candidates if c.kind != "human"]
    greys = np.linspace(0.15, 0.6, num=len(humans))
    return {
        **{
            one: {"color": str(grey), "linestyle": DASHES[n % len(DASHES)], "linewidth": 1.3}
            for n, (one, grey) in enumerate(zip(humans, greys, strict=True))
        },
        **{
            one: {"color": COLOURS[n % len(COLOURS)], "linewidth": 1.8}
            for n, one in enumerate(designs)
        },
    }


def _mean_curve(
    candidate: Candidate, task: str, rung: int, trials: Sequence[Trial], folder: Path
) -> Curve | None:
    own = [
        trial
        for trial in trials
        if (trial.spec.candidate_id, trial.spec.task, trial.spec.rung)
        == (candidate.candidate_id, task, rung)
    ]
    curves = [
        read_curve(folder / trial.spec.trial_id / "curve.csv")
        for trial in at_best_rate(own).values()
    ]
    if not curves:
        return None
    length = min(len(steps) for steps, _ in curves)
    return curves[0][0][:length], list(np.mean([loss[:length] for _, loss in curves], axis=0))


def read_curve(path: Path) -> Curve:
    """Return steps and losses of a `curve.csv`."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]

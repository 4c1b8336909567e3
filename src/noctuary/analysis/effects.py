"""Rows of the archive's effect queries as findings: designs, mechanisms, and parts of designs.

Covers one function a kind. Interactions, which need a choice and a correction, are in
`interactions`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from noctuary.analysis.wording import (
    beside,
    interval_words,
    mechanism_words,
    on_task,
    rounded,
    verdict,
)
from noctuary.domain import Axes, Finding
from noctuary.space.mechanisms import AXES, mechanism
from noctuary.words import counted


def comparison(row: Mapping[str, Any], cycle: int, rung: int) -> Finding:
    effect, low, high = rounded(row["effect"], row["low"], row["high"])
    return Finding(
        cycle=cycle,
        kind="comparison",
        subject=row["candidate_id"],
        baseline=row["baseline_id"],
        task=row["task"],
        rung=rung,
        effect=effect,
        low=low,
        high=high,
        n=row["n"],
        statement=(
            f"`{row['candidate']}` scores {beside(effect)} {row['baseline']} "
            f"{on_task(row['task'])} ({interval_words(low, high)}, {counted(row['n'], 'seed')}): "
            f"{verdict(low, high)}"
        ),
    )


def mechanism_effect(row: Mapping[str, Any], cycle: int, rung: int) -> Finding:
    effect, low, high = rounded(row["effect"], row["low"], row["high"])
    name = mechanism(row["axis"], row["value"])
    return Finding(
        cycle=cycle,
        kind="mechanism",
        subject=name,
        baseline=f"{row['axis']}!={row['value']}",
        task=row["task"],
        rung=rung,
        effect=effect,
        low=low,
        high=high,
        n=row["n_with"] + row["n_without"],
        statement=(
            f"candidates with {mechanism_words(name)} score {beside(effect)} those without "
            f"{on_task(row['task'])} ({interval_words(low, high)}, {row['n_with']} with, "
            f"{row['n_without']} without): {verdict(low, high)}"
        ),
    )


def ablation(row: Mapping[str, Any], cycle: int, rung: int) -> Finding:
    """Return what a part contributes: the design with it against the one made without it."""
    effect, low, high = rounded(row["effect"], row["low"], row["high"])
    parts = differing(row["parent_axes"] or {}, row["design_axes"] or {})
    return Finding(
        cycle=cycle,
        kind="ablation",
        subject=row["parent_id"],
        baseline=row["design_id"],
        task=row["task"],
        rung=rung,
        effect=effect,
        low=low,
        high=high,
        n=row["n"],
        statement=(
            f"`{row['parent']}` scores {beside(effect)} `{row['design']}`, which does without "
            f"{' and '.join(map(mechanism_words, parts))}, {on_task(row['task'])} "
            f"({interval_words(low, high)}, {counted(row['n'], 'seed')}): "
            f"{_contribution(low, high)}"
        ),
    )


def without_mirrors(effects: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the plain one of two values: its effect is the other's with the sign turned."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for row in effects:
        seen[row["axis"]].add(row["value"])
    dropped = {
        (axis, next((value for value in AXES.get(axis, {}) if value in values), min(values)))
        for axis, values in seen.items()
        if len(values) == 2
    }
    return [row for row in effects if (row["axis"], row["value"]) not in dropped]


def differing(axes: Axes, others: Axes) -> tuple[str, ...]:
    """Return the mechanisms of a design on the axes where another one has a different value."""
    return tuple(
        mechanism(axis, axes[axis])
        for axis in AXES
        if axis in axes and axes[axis] != others.get(axis)
    )


def _contribution(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "too few to tell"
    if low <= 0 <= high:
        return "no clear contribution"
    return "it contributes" if low > 0 else "better without"

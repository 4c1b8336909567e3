"""What the trials of a cycle say: findings in numbers and words, and insights from them.

Covers the comparison of a cycle's designs with the human baselines, the effect of each
mechanism over all candidates known by the cycle, and their translation into insights. The
numbers come from `archive/queries`. Nothing here corrects for the number of comparisons: with
a hundred intervals of 95 %, some five exclude zero by chance, so a finding steers the search
and proves nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from noctuary.archive import Archive
from noctuary.domain import Axes, Capability, Cycle, Finding, Insight
from noctuary.space.mechanisms import AXES, phrase
from noctuary.words import counted

ALL_TASKS = "all"

LARGE_EFFECT = 0.1
"""A difference in score that nobody would call noise or a detail: it has full strength."""

_DECIMALS = 6
"""Findings are rounded, so that their ids do not hang on the last bits of a sum."""


class Board(NamedTuple):
    """The trials that are compared with each other.

    Attributes:
        suite: the suite as in `TrialSpec.suite`.
        trainer: the trainer version as in `TrialSpec.trainer`; None for any.
        seeds: only these; None for all. Name them where more may be run later.
    """

    suite: str
    rung: int
    trainer: str | None = None
    seeds: Sequence[int] | None = None


def analyse(
    archive: Archive, cycle: Cycle, design_ids: Sequence[str], *, screening: Board, results: Board
) -> tuple[Finding, ...]:
    """Return the findings of a cycle, sorted; the same whenever it is asked again.

    Designs of later cycles do not count.

    Args:
        design_ids: the cycle's own designs; those without an `ok` trial have no finding.
        screening: the first rung. Every design was there, so the mechanisms are compared on it.
        results: the last rung, where designs are compared with the baselines.
    """
    wanted = sorted(set(design_ids))
    differences = archive.query("paired_differences", candidates=wanted, **_asked(results, cycle))
    effects = archive.query("mechanism_effects", **_asked(screening, cycle))
    findings = [_comparison(row, cycle.number, results.rung) for row in differences]
    findings += [_mechanism(row, cycle.number, screening.rung) for row in _without_mirrors(effects)]
    return tuple(sorted(findings, key=lambda f: (f.kind, f.subject, f.task, f.baseline)))


def _asked(board: Board, cycle: Cycle) -> dict[str, Any]:
    seeds = None if board.seeds is None else sorted(board.seeds)
    return {**board._asdict(), "seeds": seeds, "max_cycle": cycle.number}


def insights_from(
    findings: Iterable[Finding],
    axes: Mapping[str, Axes] | None = None,
    *,
    capabilities: Mapping[str, Capability],
    ignoring: Collection[str] = (),
) -> tuple[Insight, ...]:
    """Return what the findings teach about mechanisms, sorted.

    A mechanism's effect on a task becomes an insight about the capability that the task
    measures. Of a design's comparisons on a task only the one with the strongest baseline does:
    to beat a weak one teaches little. No interval, no insight; nor for the mean of the tasks.

    Args:
        axes: candidate id -> its axes; designs that are not in it give no insights.
        capabilities: task -> the capability it measures; other tasks give no insights.
        ignoring: baselines that are not asked to be beaten (quadratic references).
    """
    toughest: dict[tuple[str, str], Finding] = {}
    chosen: list[tuple[Finding, tuple[str, ...]]] = []
    for finding in findings:
        if finding.kind == "mechanism":
            chosen.append((finding, (finding.subject,)))
        elif finding.baseline not in ignoring:
            key = (finding.subject, finding.task)
            rival = toughest.get(key)
            if rival is None or (finding.effect, finding.baseline) < (rival.effect, rival.baseline):
                toughest[key] = finding
    for finding in toughest.values():
        mechanisms = notable_mechanisms((axes or {}).get(finding.subject, {}))
        if mechanisms:
            chosen.append((finding, mechanisms))
    insights = [
        _insight(finding, mechanisms, capabilities[finding.task])
        for finding, mechanisms in chosen
        if finding.task in capabilities and finding.low is not None
    ]
    return tuple(sorted(insights, key=lambda i: (i.capability, i.mechanisms, i.evidence)))


def notable_mechanisms(axes: Axes) -> tuple[str, ...]:
    """Return the choices of a design that are not the plainest of their axis."""
    return tuple(
        f"{axis}={axes[axis]}"
        for axis, values in AXES.items()
        if axis in axes and axes[axis] != next(iter(values))
    )


def strength(effect: float, low: float, high: float) -> tuple[Literal[-1, 0, 1], float]:
    """Return direction and strength of the evidence in an interval.

    Outside zero: from 0.5 for an interval that touches zero to 1 for one that lies beyond
    `LARGE_EFFECT`. Around zero: up to 0.5, the surer the interval rules out a large effect.
    """
    if low <= 0 <= high:
        widest = max(-low, high)
        return 0, round(0.5 * max(0.0, 1.0 - widest / LARGE_EFFECT), _DECIMALS)
    nearest = min(abs(low), abs(high))
    sure = round(0.5 + 0.5 * min(1.0, nearest / LARGE_EFFECT), _DECIMALS)
    return (1 if effect > 0 else -1), sure


def _insight(finding: Finding, mechanisms: tuple[str, ...], capability: Capability) -> Insight:
    assert finding.low is not None and finding.high is not None
    direction, sure = strength(finding.effect, finding.low, finding.high)
    return Insight(
        statement=finding.statement,
        mechanisms=mechanisms,
        capability=capability,
        direction=direction,
        strength=sure,
        evidence=f"finding:{finding.finding_id}",
        cycle=finding.cycle,
    )


def _comparison(row: Mapping[str, Any], cycle: int, rung: int) -> Finding:
    effect, low, high = _rounded(row["effect"], row["low"], row["high"])
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
            f"`{row['candidate']}` scores {_beside(effect)} {row['baseline']} "
            f"{_on(row['task'])} ({_interval(low, high)}, {counted(row['n'], 'seed')}): "
            f"{_verdict(low, high)}"
        ),
    )


def _mechanism(row: Mapping[str, Any], cycle: int, rung: int) -> Finding:
    effect, low, high = _rounded(row["effect"], row["low"], row["high"])
    mechanism = f"{row['axis']}={row['value']}"
    return Finding(
        cycle=cycle,
        kind="mechanism",
        subject=mechanism,
        baseline=f"{row['axis']}!={row['value']}",
        task=row["task"],
        rung=rung,
        effect=effect,
        low=low,
        high=high,
        n=row["n_with"] + row["n_without"],
        statement=(
            f"candidates with {_words(row['axis'], row['value'])} score {_beside(effect)} those "
            f"without {_on(row['task'])} ({_interval(low, high)}, {row['n_with']} with, "
            f"{row['n_without']} without): {_verdict(low, high)}"
        ),
    )


def _without_mirrors(effects: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
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


def _rounded(
    effect: float, low: float | None, high: float | None
) -> tuple[float, float | None, float | None]:
    def shortened(value: float) -> float:
        return round(value, _DECIMALS) + 0.0  # no negative zero

    if low is None or high is None:
        return shortened(effect), None, None
    return shortened(effect), shortened(low), shortened(high)


def _words(axis: str, value: str) -> str:
    known = value in AXES.get(axis, {})
    mechanism = f"{axis}={value}"
    return f"{phrase(mechanism)} ({mechanism})" if known else mechanism


def _beside(effect: float) -> str:
    return f"{abs(effect):.3f} {'below' if effect < 0 else 'above'}"


def _on(task: str) -> str:
    return "on the mean of all tasks" if task == ALL_TASKS else f"on {task}"


def _interval(low: float | None, high: float | None) -> str:
    return "no interval" if low is None else f"95 % interval {low:.3f} to {high:.3f}"


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "too few to tell"
    if low <= 0 <= high:
        return "not distinguishable"
    return "looks better" if low > 0 else "looks worse"

"""From findings to insights: what a cycle's numbers teach about mechanisms and capabilities.

Covers the choice of findings that teach something, direction and strength. What has no clear
effect, or does harm, teaches as well, and is an insight with direction 0 or -1.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from noctuary.analysis.effects import differing
from noctuary.analysis.wording import DECIMALS
from noctuary.domain import Axes, Capability, Finding, Insight
from noctuary.space.mechanisms import AXES, mechanism
from noctuary.words import counted

LARGE_EFFECT = 0.1
"""A difference in score that nobody would call noise or a detail: it has full strength."""


def insights_from(
    findings: Iterable[Finding],
    axes: Mapping[str, Axes],
    *,
    suite: str,
    capabilities: Mapping[str, Capability],
    ignoring: Collection[str] = (),
) -> tuple[Insight, ...]:
    """Return what the findings teach about mechanisms, sorted.

    An effect on a task becomes an insight about the capability that the task measures. It is
    about the mechanisms compared: one, two that interact, the part that a design lost, or what a
    design has and the baseline has not. Of a design's comparisons on a task only the one with the
    strongest baseline counts: to beat a weak one teaches little. No interval, no insight; nor
    for the mean of the tasks.

    Args:
        axes: candidate id -> its axes; designs that are not in it give no insights.
        suite: where the findings hold.
        capabilities: task -> the capability it measures; other tasks give no insights.
        ignoring: baselines that are not asked to be beaten (quadratic references).
    """
    listed = list(findings)
    comparisons = [f for f in listed if f.kind == "comparison" and f.baseline not in ignoring]
    chosen = [f for f in listed if f.kind != "comparison"] + _toughest(comparisons)
    insights = [
        _insight(finding, mechanisms, suite, capabilities[finding.task])
        for finding in chosen
        if finding.task in capabilities and finding.low is not None
        if (mechanisms := _about(finding, axes))
    ]
    return tuple(sorted(insights, key=lambda i: (i.capability, i.mechanisms, i.evidence)))


def notable_mechanisms(axes: Axes) -> tuple[str, ...]:
    """Return the choices of a design that are not the plainest of their axis."""
    return tuple(
        mechanism(axis, axes[axis])
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
        return 0, round(0.5 * max(0.0, 1.0 - widest / LARGE_EFFECT), DECIMALS)
    nearest = min(abs(low), abs(high))
    sure = round(0.5 + 0.5 * min(1.0, nearest / LARGE_EFFECT), DECIMALS)
    return (1 if effect > 0 else -1), sure


def _toughest(comparisons: Iterable[Finding]) -> list[Finding]:
    """Return of each design and task the comparison with the strongest baseline."""
    toughest: dict[tuple[str, str], Finding] = {}
    for finding in comparisons:
        key = (finding.subject, finding.task)
        rival = toughest.get(key)
        if rival is None or (finding.effect, finding.baseline) < (rival.effect, rival.baseline):
            toughest[key] = finding
    return list(toughest.values())


def _about(finding: Finding, axes: Mapping[str, Axes]) -> tuple[str, ...]:
    """Return the mechanisms that made the difference; none where that is not known."""
    if finding.kind in ("mechanism", "interaction"):
        return tuple(finding.subject.split("+"))
    own, others = axes.get(finding.subject), axes.get(finding.baseline)
    if own is None:
        return ()
    return notable_mechanisms(own) if others is None else differing(own, others)


def _insight(
    finding: Finding, mechanisms: tuple[str, ...], suite: str, capability: Capability
) -> Insight:
    assert finding.low is not None and finding.high is not None
    direction, sure = strength(finding.effect, finding.low, finding.high)
    unit = "candidate" if finding.kind in ("mechanism", "interaction") else "seed"
    return Insight(
        statement=finding.statement,
        mechanisms=mechanisms,
        capability=capability,
        direction=direction,
        strength=sure,
        conditions=f"suite {suite}, rung {finding.rung}, {counted(finding.n, unit)}",
        evidence=f"finding:{finding.finding_id}",
        cycle=finding.cycle,
    )

"""What became of a gap: its designs against the best human baseline, by the gap's own falsifier.

Covers one cycle's findings. `supported` and `refuted` answer a question for good; what is `open`
can be asked again once there is new evidence (`gap.questions`).
"""

from collections.abc import Collection, Iterable, Mapping
from statistics import mean
from typing import NamedTuple

from noctuary.domain import Axes, Capability, Finding, Gap, GapOutcome, Verdict
from noctuary.gap.account import in_words, plain
from noctuary.space.mechanisms import MARK
from noctuary.words import counted

LEAST_EFFECT, WORTH_HAVING = 0.005, 0.02
"""No difference below the first counts as help, whatever was expected, and none above the second
is too little."""

MISTAKEN = 0.05
"""Chance to call a question supported where none of its designs is better than the baseline."""


class _Difference(NamedTuple):
    """A design beside the best human baseline, over the tasks of the capability."""

    design: str
    effect: float
    low: float
    high: float
    n: int

    @property
    def sure(self) -> tuple[float, str]:
        return self.low, self.design


def enough(expected_effect: float) -> float:
    """Return the difference that a gap's designs must not fall short of: half the expected one."""
    return min(max(expected_effect / 2, LEAST_EFFECT), WORTH_HAVING)


def gap_outcome(
    gap: Gap,
    findings: Iterable[Finding],
    axes: Mapping[str, Axes],
    *,
    capabilities: Mapping[str, Capability],
    ignoring: Collection[str] = (),
) -> GapOutcome:
    """Return what the findings of the gap's cycle say about it.

    Refuted: for every design with the mechanisms that has an interval, it ends below `enough` of
    what was expected. Supported: for some design it lies above 0, after a correction for the
    number of designs (Bonferroni), as the best of many is better by chance. Open: neither.

    Args:
        findings: of the cycle; only comparisons with human baselines on the last rung count.
        axes: candidate id -> its axes; designs that are not in it do not count.
        capabilities: task -> the capability it measures.
        ignoring: baselines that are not asked to be beaten (quadratic references).
    """
    wanted = {tuple(mechanism.split(MARK)) for mechanism in gap.mechanisms}
    having = sorted(name for name, its_axes in axes.items() if wanted <= set(its_axes.items()))
    tasks = sorted(task for task, measures in capabilities.items() if measures == gap.capability)
    compared = [
        finding
        for finding in findings
        if finding.kind == "comparison"
        and finding.subject in having
        and finding.task in tasks
        and finding.baseline not in ignoring
    ]
    found = [d for name in having if (d := _difference(name, compared, tasks)) is not None]
    subject = f"{in_words(gap.mechanisms)} for {plain(gap.capability)}"
    if not found:
        made = f"{counted(len(having), 'design')} of the cycle had the mechanisms"
        return _outcome(gap, "open", None, f"{subject}: open; {made}, none with an interval.")
    best = max(found, key=lambda d: d.sure)
    said = (
        f"the best of {counted(len(found), 'design')} differs by {best.effect:+.3f} from the best "
        f"human baseline (95 % interval {best.low:+.3f} to {best.high:+.3f}, "
        f"{counted(best.n, 'seed')})"
    )
    surest = max(found, key=lambda d: _corrected_low(d, len(found)))
    if _corrected_low(surest, len(found)) > 0:
        corrected = "" if len(found) == 1 else ", also corrected for the number of designs"
        return _outcome(gap, "supported", surest, f"{subject}: supported; {said}{corrected}.")
    bar = enough(gap.expected_effect)
    if all(one.high < bar for one in found):
        return _outcome(gap, "refuted", best, f"{subject}: refuted; {said}, below {bar:+.3f}.")
    return _outcome(gap, "open", best, f"{subject}: open; {said}.")


def _difference(
    design: str, compared: Collection[Finding], tasks: Collection[str]
) -> _Difference | None:
    """Return the difference of a design to the baseline that is best on the capability.

    Over several tasks effects and bounds are averaged, which makes the interval no narrower than
    it should be. None where a task has no interval.
    """
    baselines: dict[str, list[Finding]] = {}
    for finding in compared:
        if finding.subject == design and finding.low is not None and finding.high is not None:
            baselines.setdefault(finding.baseline, []).append(finding)
    complete = [its for its in baselines.values() if len(its) == len(tasks)]
    if not complete:
        return None
    toughest = min(complete, key=lambda its: (mean(f.effect for f in its), its[0].baseline))
    return _Difference(
        design,
        mean(f.effect for f in toughest),
        mean(f.low for f in toughest if f.low is not None),
        mean(f.high for f in toughest if f.high is not None),
        min(f.n for f in toughest),
    )


def _corrected_low(found: _Difference, designs: int) -> float:
    """Return the lower bound of the interval that is wider for each design that was tried."""
    from scipy.special import stdtrit

    degrees = max(1, found.n - 1)
    wider = stdtrit(degrees, 1 - MISTAKEN / 2 / designs) / stdtrit(degrees, 1 - MISTAKEN / 2)
    return found.effect - (found.effect - found.low) * float(wider)


def _outcome(gap: Gap, verdict: Verdict, found: _Difference | None, statement: str) -> GapOutcome:
    return GapOutcome(
        gap_id=gap.gap_id,
        cycle=gap.cycle,
        verdict=verdict,
        effect=found.effect if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        n=found.n if found else 0,
        statement=statement[0].upper() + statement[1:],
    )

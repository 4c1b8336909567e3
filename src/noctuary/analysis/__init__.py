"""What the trials of a cycle say: findings in numbers and words, and insights from them.

    trials -> `analyse` -> findings -> `insights_from` -> insights, read by the next cycle

Covers the comparison of a cycle's designs with the human baselines, the effect of each mechanism
and of pairs of them over all candidates known by the cycle, what the parts of a design contribute
(ablations), and what failed and why. The numbers come from `archive/queries` and `stats`. Only
interactions are corrected for the number looked at: with a hundred of the other intervals of
95 %, some five exclude zero by chance, so a finding steers the search and proves nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from noctuary.analysis.effects import ablation, comparison, mechanism_effect, without_mirrors
from noctuary.analysis.interactions import interactions
from noctuary.archive import Archive
from noctuary.domain import Cycle, Finding


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
    archive: Archive,
    cycle: Cycle,
    design_ids: Sequence[str],
    *,
    boards: Sequence[Board],
    question: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Return the findings of a cycle, sorted; the same whenever it is asked again.

    Designs of later cycles do not count.

    Args:
        design_ids: the cycle's own designs; those without an `ok` trial have no finding.
        boards: of each rung, in their order. On the first one every design was, so mechanisms
            are compared there; on the last one, designs with the baselines. A design that lost a
            part is compared with its parent on the last rung that both got to.
        question: mechanisms that the cycle asked about before it had seen any of its trials.
    """
    wanted = sorted(set(design_ids))
    screening, results = _asked(boards[0], cycle), _asked(boards[-1], cycle)
    differences = archive.query("paired_differences", candidates=wanted, **results)
    effects = archive.query("mechanism_effects", **screening)
    findings = [comparison(row, cycle.number, boards[-1].rung) for row in differences]
    findings += [
        mechanism_effect(row, cycle.number, boards[0].rung) for row in without_mirrors(effects)
    ]
    findings += interactions(archive, screening, cycle.number, question)
    findings += _ablations(archive, cycle.number, wanted, boards)
    return tuple(sorted(findings, key=lambda f: (f.kind, f.subject, f.task, f.baseline)))


def _ablations(
    archive: Archive, cycle: int, design_ids: list[str], boards: Sequence[Board]
) -> list[Finding]:
    """Return what the parts contribute that designs of the cycle were made to do without."""
    decided: dict[tuple[str, str], int] = {}
    findings = []
    for board in reversed(boards):
        asked = {**board._asdict(), "seeds": _seeds(board), "candidates": design_ids}
        for row in archive.query("ablations", **asked):
            if decided.setdefault((row["parent_id"], row["design_id"]), board.rung) == board.rung:
                findings.append(ablation(row, cycle, board.rung))
    return findings


def _asked(board: Board, cycle: Cycle) -> dict[str, Any]:
    return {**board._asdict(), "seeds": _seeds(board), "max_cycle": cycle.number}


def _seeds(board: Board) -> list[int] | None:
    return None if board.seeds is None else sorted(board.seeds)

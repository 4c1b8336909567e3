"""Gaps: what is known of mechanisms and capabilities, the question of a cycle, and its answer.

`evidence` joins papers and our own trials, `questions` chooses what is worth an experiment,
`outcome` says what became of it, and `account` writes it down for people.
"""

from noctuary.gap.account import gap_markdown, gap_title
from noctuary.gap.evidence import Evidence, Known, evidence_table, finding_of
from noctuary.gap.outcome import gap_outcome
from noctuary.gap.questions import RankedGap, ranked_gaps, synthesise_gap

__all__ = [
    "Evidence",
    "Known",
    "RankedGap",
    "evidence_table",
    "finding_of",
    "gap_markdown",
    "gap_outcome",
    "gap_title",
    "ranked_gaps",
    "synthesise_gap",
]

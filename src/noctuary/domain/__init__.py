"""The values that flow through a research cycle, all frozen.

    Paper -> Insight -> Gap -> Design -> Audit -> Trial -> Finding -> (Insight, next cycle)
                                                         \\-> Claim -> verified | refuted

Covers shapes and ids. Does not cover where values are kept (`archive`) or who makes them.
Every id is the hash of content, so the same thing found twice has the same id.
"""

from noctuary.domain.claims import (
    Beacon,
    Claim,
    ClaimStatus,
    ClaimVerdict,
    Comparison,
    Draw,
    Entrant,
    Plan,
    Scale,
)
from noctuary.domain.research import (
    Audit,
    Axes,
    Candidate,
    Capability,
    Check,
    Cycle,
    Design,
    Finding,
    Gap,
    GapOutcome,
    Insight,
    Mechanism,
    Move,
    Paper,
    Status,
    Trial,
    TrialSpec,
    Value,
    Verdict,
)

__all__ = [
    "Audit",
    "Axes",
    "Beacon",
    "Candidate",
    "Capability",
    "Check",
    "Claim",
    "ClaimStatus",
    "ClaimVerdict",
    "Comparison",
    "Cycle",
    "Design",
    "Draw",
    "Entrant",
    "Finding",
    "Gap",
    "GapOutcome",
    "Insight",
    "Mechanism",
    "Move",
    "Paper",
    "Plan",
    "Scale",
    "Status",
    "Trial",
    "TrialSpec",
    "Value",
    "Verdict",
]

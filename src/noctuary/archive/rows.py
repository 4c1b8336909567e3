"""Domain values as rows of the archive, and back.

Covers one function a kind and direction. Does not open anything. Dictionaries become canonical
JSON; numbers in them that JSON cannot say (NaN, infinities) become null.
"""

import math
from typing import Any

from noctuary.canonical import canonical_json
from noctuary.domain import (
    Audit,
    Candidate,
    Claim,
    Design,
    Finding,
    Gap,
    Insight,
    Paper,
    Trial,
    TrialSpec,
)

Row = dict[str, Any]

REFERENCES = frozenset({"softmax_attention"})
"""Human candidates of quadratic cost: shown for comparison, never the baseline to beat."""


def as_json(value: Any) -> str | None:
    """Return canonical JSON, or None for None."""
    return None if value is None else canonical_json(finite(value)).decode("utf-8")


def finite(value: Any) -> Any:
    """Return the value with null for each number that JSON cannot say."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def paper_row(paper: Paper) -> Row:
    return {
        **paper.model_dump(exclude={"axes"}),
        "authors": list(paper.authors),
        "mechanisms": list(paper.mechanisms),
        "axes": as_json(paper.axes),
        "identifiers": list(paper.identifiers),
    }


def insight_row(insight: Insight) -> Row:
    return {
        "insight_id": insight.insight_id,
        **insight.model_dump(),
        "mechanisms": list(insight.mechanisms),
    }


def gap_row(gap: Gap) -> Row:
    row = {"gap_id": gap.gap_id, **gap.model_dump()}
    for name in ("mechanisms", "evidence_for", "evidence_against", "findings"):
        row[name] = list(row[name])
    return row


def candidate_row(candidate: Candidate) -> Row:
    return {
        **candidate.model_dump(exclude={"axes"}),
        "axes": as_json(candidate.axes),
        "reference": candidate.kind == "human" and candidate.name in REFERENCES,
    }


def design_row(design: Design) -> Row:
    return {
        **design.model_dump(exclude={"axes"}),
        "axes": as_json(design.axes),
        "parents": list(design.parents),
        "findings": list(design.findings),
    }


def candidate_of(design: Design) -> Candidate:
    """Return the candidate that a design is; its file lies in the lab, under its id."""
    return Candidate(
        candidate_id=design.design_id,
        name=design.name,
        kind="design",
        axes=design.axes,
        path=f"candidates/{design.design_id}.py",
    )


def audit_row(audit: Audit, cycle: int) -> Row:
    return {
        "candidate_id": audit.candidate_id,
        "suite": audit.suite,
        "accepted": audit.accepted,
        "reason": audit.reason,
        "ffn_width": audit.ffn_width,
        "parameters": audit.parameters,
        "checks": as_json([check.model_dump() for check in audit.checks]),
        "cycle": cycle,
    }


def trial_row(trial: Trial) -> Row:
    spec = trial.spec
    return {
        "trial_id": spec.trial_id,
        **spec.model_dump(),
        **trial.model_dump(exclude={"spec", "metrics", "environment", "seconds"}),
        "metrics": as_json(trial.metrics),
        "environment": as_json(trial.environment),
        "seconds": as_json(trial.seconds),
    }


def finding_row(finding: Finding) -> Row:
    return {"finding_id": finding.finding_id, **finding.model_dump()}


def claim_row(claim: Claim) -> Row:
    plan, draw, verdict = (
        as_json(None if part is None else part.model_dump(mode="json"))
        for part in (claim.plan, claim.draw, claim.verdict)
    )
    return {
        "claim_id": claim.claim_id,
        "number": claim.plan.number,
        "candidate_id": claim.plan.candidate.candidate_id,
        "name": claim.plan.candidate.name,
        "status": claim.status,
        "plan": plan,
        "draw": draw,
        "verdict": verdict,
    }


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def paper_from(row: Row) -> Paper:
    return Paper.model_validate(row)


def insight_from(row: Row) -> Insight:
    return Insight.model_validate(_without(row, "insight_id"))


def gap_from(row: Row) -> Gap:
    return Gap.model_validate(_without(row, "gap_id"))


def candidate_from(row: Row) -> Candidate:
    return Candidate.model_validate(_without(row, "reference"))


def design_from(row: Row) -> Design:
    return Design.model_validate(row)


def audit_from(row: Row) -> Audit:
    return Audit.model_validate(_without(row, "accepted", "reason", "cycle"))


def trial_from(row: Row) -> Trial:
    fields = {*Trial.model_fields} - {"spec"}
    return Trial.model_validate(
        {
            "spec": {name: row[name] for name in TrialSpec.model_fields},
            **{name: row[name] for name in fields},
        }
    )


def finding_from(row: Row) -> Finding:
    return Finding.model_validate(_without(row, "finding_id"))


def claim_from(row: Row) -> Claim:
    return Claim.model_validate({name: row[name] for name in Claim.model_fields})

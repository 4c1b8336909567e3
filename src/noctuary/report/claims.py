"""Claims for people: what was claimed, how it was decided, and on what evidence.

Covers the account of a cycle, which lists every claim whichever way it went, the artifacts in the
Prefect UI, and the rows that `noctuary verify` prints. Does not decide (`claims.decision`).
"""

from collections.abc import Sequence
from typing import Any

from noctuary.domain import Claim, ClaimVerdict, Comparison, Plan
from noctuary.words import counted


def claims_section(claims: Sequence[Claim]) -> list[str]:
    """Return all claims of a lab, as lines of its account: those that failed as well."""
    lines = ["## Claims", ""]
    lines += [f"- {claim_line(claim)}" for claim in claims] or ["- None was registered."]
    return lines


def claim_line(claim: Claim) -> str:
    """Return in one sentence what a claim says and what became of it."""
    plan = claim.plan
    what = f"Claim {plan.number} (`{claim.claim_id}`), {_says(plan)}"
    if claim.verdict is not None:
        return f"{what}: **{claim.status}**; {claim.verdict.reason}."
    if claim.draw is None:
        return f"{what}: registered, its seeds are not drawn yet."
    return f"{what}: its {counted(plan.seeds, 'seed')} are drawn, it is not decided yet."


def comparison_rows(plan: Plan, verdict: ClaimVerdict) -> list[dict[str, Any]]:
    """Return the comparisons of a verdict as rows of plain values."""
    names = {one.candidate_id: one.name for one in plan.baselines}
    return [
        {
            "scale": each.scale,
            "baseline": names.get(each.baseline, each.baseline),
            "tasks": "held out" if each.decisive else "seen",
            "decides": "yes" if each.decisive else "no",
            "seeds": str(each.n),
            "difference": f"{each.effect:+.4f}",
            "interval": _bounds(each),
            "p": f"{each.p:.2g}",
        }
        for each in verdict.comparisons
    ]


def verdict_markdown(claim: Claim, verdict: ClaimVerdict) -> str:
    """Return a decided claim as a page: the verdict, every comparison, and how it was decided."""
    plan = claim.plan
    rows = comparison_rows(plan, verdict)
    lines = [f"# Claim {plan.number}: {verdict.status}", "", f"**{verdict.reason}**", ""]
    lines += [f"Claimed: {_says(plan)}.", ""]
    if rows:
        lines += ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(row.values()) + " |" for row in rows]
    else:
        lines.append("No seed has a score of both sides on all tasks.")
    return "\n".join([*lines, "", rule(plan)])


def rule(plan: Plan) -> str:
    """Return how a claim is decided, in words."""
    return (
        f"Differences are means over the tasks, paired by {counted(plan.seeds, 'seed')} that were "
        "drawn after the registration; p is one-sided, by sign flips, and so are both ends of an "
        f"interval. Verified where every deciding comparison has p up to {plan.alpha:.2g}; refuted "
        f"where one excludes an effect of {plan.smallest_effect:g}; inconclusive else. It is claim "
        f"{plan.number} of its lab: {plan.campaign_alpha:g} is the chance of a false discovery "
        "over all of them."
    )


def _bounds(each: Comparison) -> str:
    """Return the interval; a side that so few seeds do not bound is open."""
    low = "-inf" if each.low is None else f"{each.low:+.4f}"
    high = "inf" if each.high is None else f"{each.high:+.4f}"
    return f"{low} to {high}"


def _says(plan: Plan) -> str:
    rivals = ", ".join(one.name for one in plan.baselines)
    return f"{plan.candidate.name} above {rivals} on {', '.join(plan.held_out)}"

"""A gap and its evidence as text for people. What it says was decided elsewhere."""

import re
from collections.abc import Mapping, Sequence

from noctuary.domain import Gap, GapOutcome, Insight, Paper
from noctuary.gap.evidence import finding_of
from noctuary.space.mechanisms import phrase
from noctuary.words import counted


def gap_markdown(
    gap: Gap,
    insights_by_id: Mapping[str, Insight],
    papers_by_id: Mapping[str, Paper],
    outcome: GapOutcome | None = None,
) -> str:
    """Return the gap, its evidence and its outcome, where there is one, as markdown."""
    lines = [
        f"# Gap of cycle {gap.cycle}: {gap_title(gap)}",
        "",
        gap.question,
        "",
        f"- **Capability**: {plain(gap.capability)}",
        f"- **Expected effect**: {gap.expected_effect:+.3f} in score "
        "(0 is chance, 1 is perfect) against the best human baseline",
        f"- **Refuted if** {gap.refuted_if}.",
        f"- **Coverage so far**: {counted(gap.papers_covering, 'paper')} and "
        f"{counted(gap.trials_covering, 'finished trial')} {combine(gap.mechanisms)}",
        f"- **Own findings that led here**: {', '.join(gap.findings) or 'none yet'}",
    ]
    if outcome is not None:
        lines.append(f"- **What became of it**: {outcome.statement}")
    for title, ids in (("for", gap.evidence_for), ("against", gap.evidence_against)):
        lines += ["", f"## Evidence {title}", ""]
        if not ids:
            lines.append("None.")
            continue
        # a list and no table: the Prefect UI wraps the one and cuts the other off
        lines += [_item(i, insights_by_id.get(i), papers_by_id) for i in ids]
    return "\n".join(lines) + "\n"


def gap_title(gap: Gap) -> str:
    """Return mechanisms and capability of a gap, as markdown."""
    return f"{' with '.join(f'`{m}`' for m in gap.mechanisms)} for {plain(gap.capability)}"


def in_words(mechanisms: Sequence[str]) -> str:
    """Return the mechanisms as a noun, each with its name."""
    return " and ".join(f"{phrase(m)} ({m})" for m in mechanisms)


def combine(mechanisms: Sequence[str]) -> str:
    """Return what is said of designs that have all of the mechanisms."""
    return "have the mechanism" if len(mechanisms) == 1 else "combine the mechanisms"


def plain(capability: str) -> str:
    return capability.replace("_", " ")


def _item(insight_id: str, insight: Insight | None, papers: Mapping[str, Paper]) -> str:
    if insight is None:
        return f"- insight {insight_id} is not at hand"
    finding, paper = finding_of(insight), papers.get(insight.evidence)
    if finding is not None:
        source = f"our finding {finding}, cycle {insight.cycle}"
    elif paper is None:
        source = _text(insight.evidence)
    else:
        source = f"{_text(paper.title)}, {paper.year}"
        if paper.arxiv_id:
            source += f" (arXiv [{paper.arxiv_id}](https://arxiv.org/abs/{paper.arxiv_id}))"
    sign = {1: "helps", 0: "no clear effect", -1: "hurts"}[insight.direction]
    names = ", ".join(f"`{m}`" for m in insight.mechanisms)
    statement = _text(insight.statement).rstrip(".")
    return f"- {names}: {statement}. **{sign}, {insight.strength:.2f}** ({source})"


def _text(words: str) -> str:
    """Return words of others on one line and as plain text: no link, picture or HTML in them."""
    return re.sub(r"([\\*\[\]<|])", r"\\\1", " ".join(words.split()))

"""What a cycle asks the services: what the settings say, and what the lab itself works on.

Covers which questions, and that they are few. Does not cover asking them.
"""

import re
from collections.abc import Iterable, Sequence

from noctuary.config import LiteratureSettings
from noctuary.domain import Design, Gap, Insight, Value
from noctuary.literature.cache import Question
from noctuary.literature.identity import Found, names_of
from noctuary.space.mechanisms import phrase

PAPERS = 2
"""Papers behind the best designs whose likes are asked for."""

LONGEST_BATCH = 100
_EMPTY_WORD = re.compile(
    r"an|the|and|or|of|on|in|to|at|as|is|are|that|there|where|what|its|own|one|two|three|per|with"
    r"|no|not|all|over|than|before|after|learned|start|starts|from|for|which"
)
_SERVICE_NAMES = ("arxiv:", "doi:", "s2:", "corpus:")


class Interest(Value):
    """What a lab would like to read about.

    Attributes:
        words: of its last gap; empty before the first.
        papers: names of those that its best designs go back to, at most PAPERS.
    """

    words: str = ""
    papers: tuple[str, ...] = ()


def interest_of(
    gaps: Sequence[Gap], best: Iterable[Design], insights: Iterable[Insight]
) -> Interest:
    """Return what earlier cycles leave to read about.

    Args:
        gaps: in the order in which they were posed.
        best: designs, best first.
    """
    evidence = {insight.insight_id: insight.evidence for insight in insights}
    posed = {gap.gap_id: gap for gap in gaps}
    papers = [
        evidence[one]
        for design in best
        if design.gap_id in posed
        for one in posed[design.gap_id].evidence_for
        if one in evidence and evidence[one].startswith(_SERVICE_NAMES)
    ]
    return Interest(
        words=gap_words(gaps[-1]) if gaps else "", papers=tuple(dict.fromkeys(papers))[:PAPERS]
    )


def gap_words(gap: Gap) -> str:
    """Return the words of a gap for a search engine: few, since every paper must hold them all."""
    words = [word for name in gap.mechanisms[:2] for word in _telling(phrase(name))[:2]]
    return " ".join(dict.fromkeys([*words, gap.capability.split("_")[0]]))


def _telling(text: str) -> list[str]:
    words = re.findall(r"[a-z][a-z0-9-]+", text.casefold())
    return [word for word in words if not _EMPTY_WORD.fullmatch(word)]


def questions_of(
    settings: LiteratureSettings, interest: Interest, imported: Iterable[Found]
) -> tuple[Question, ...]:
    """Return the questions of one cycle, the more general ones first; at most four a service.

    Args:
        imported: papers of which somebody gave no abstract; Semantic Scholar may know it.
    """
    limit = settings.limit
    searches = [words for words in (settings.query, interest.words) if words.strip()]
    asked = [
        Question(source="semantic_scholar", kind="search", words=words, limit=limit)
        for words in searches
    ]
    asked += [
        Question(source="semantic_scholar", kind="recommendations", papers=(name,), limit=limit)
        for name in interest.papers
    ]
    bare = [name for found in imported if not found.abstract if (name := service_name(found))]
    if bare:
        names = tuple(sorted(bare)[:LONGEST_BATCH])
        asked.append(
            Question(source="semantic_scholar", kind="batch", papers=names, limit=LONGEST_BATCH)
        )
    if settings.arxiv_endpoint.strip():
        asked += [
            Question(source="arxiv", kind="search", words=words, limit=limit) for words in searches
        ]
    return tuple(asked)


def questions_around(name: str, settings: LiteratureSettings) -> tuple[Question, ...]:
    """Return what to ask about one paper: itself, who cites it, whom it cites, and its likes."""
    kinds = ("batch", "citations", "references", "recommendations")
    return tuple(
        Question(source="semantic_scholar", kind=kind, papers=(name,), limit=settings.limit)
        for kind in kinds
    )


def service_name(found: Found) -> str | None:
    """Return a name of a paper that Semantic Scholar knows; None where it has a title alone."""
    names = [name for name in names_of(found.paper) if name.startswith(_SERVICE_NAMES)]
    return min(names, default=None)

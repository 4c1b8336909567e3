"""Which papers at hand hold some words: plain and exact, for people who look one up.

Covers whole words and their beginnings, in any case and without accents. Does not rank insights:
that is what retrieval does.
"""

import re
import unicodedata
from collections.abc import Iterable

from noctuary.literature.identity import Found

TITLE_WEIGHT = 3
"""A word in the title says as much as so many in the text."""


def best_matches(records: Iterable[Found], words: str) -> list[Found]:
    """Return the papers in which each word begins some word, those with the most hits first."""
    wanted = set(_words(words))
    ranked = []
    for found in records:
        paper = found.paper
        title = _words(paper.title)
        text = _words(
            " ".join((*paper.authors, paper.account, paper.venue, found.abstract, paper.paper_id))
        )
        hits = [TITLE_WEIGHT * _count(word, title) + _count(word, text) for word in sorted(wanted)]
        if wanted and all(hits):
            ranked.append((-sum(hits), -paper.year, paper.paper_id, found))
    return [found for *_, found in sorted(ranked, key=lambda row: row[:3])]


def _count(beginning: str, words: list[str]) -> int:
    return sum(word.startswith(beginning) for word in words)


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text)
    bare = "".join(mark for mark in plain if not unicodedata.combining(mark))
    return re.findall(r"[\w.]*\w", bare.casefold())

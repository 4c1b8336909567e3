"""One identity a paper, whoever tells of it: names in one spelling, and the merging of records.

Covers arXiv ids with and without version, DOIs (those of arXiv among them), the ids of Semantic
Scholar, and titles. Two records are of one paper where they share a name; failing that, where
title and year agree (a preprint may appear a year before it is published), unless their arXiv ids
differ. Does not cover papers that change their title and share no name.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from noctuary.canonical import content_id
from noctuary.domain import Paper, Value

_ARXIV_ID = re.compile(r"(\d{4}\.\d{4,5}|[a-z][a-z.-]*/\d{7})(v\d+)?", re.IGNORECASE)
_ARXIV_BEFORE = re.compile(
    r"(https?://)?((www\.|export\.)?arxiv\.org/(abs|pdf|html)/|(dx\.)?doi\.org/)?"
    r"(doi:)?(10\.48550/)?(arxiv[.:])?\s*",
    re.IGNORECASE,
)
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?\s*(10\.\d{4,9}/\S+)", re.IGNORECASE)
_S2_ID = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_KINDS = ("arxiv", "doi", "s2", "corpus", "title")
"""Kinds of names; the first that a paper has becomes its id."""


class Found(Value):
    """A record of a paper as one source tells it.

    Attributes:
        paper: its mechanisms are not known yet, unless it comes from the snapshot.
        abstract: the authors' words. They stay in the lab and are never shipped.
    """

    paper: Paper
    abstract: str = ""


def one_line(value: Any) -> str:
    """Return text on one line that every encoder accepts (no lone surrogates, no NUL)."""
    if not isinstance(value, str):
        return ""
    return " ".join(value.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").split())


def arxiv_id(text: str) -> str | None:
    """Return the id without version in an id, an address or a DOI of arXiv."""
    bare = _ARXIV_BEFORE.sub("", text.strip(), count=1).removesuffix(".pdf")
    match = _ARXIV_ID.fullmatch(bare)
    return match[1].lower() if match else None


def doi(text: str) -> str | None:
    """Return a DOI in lower case, without the address of a resolver."""
    match = _DOI.fullmatch(text.strip())
    return match[1].lower() if match else None


def name_of(text: str) -> str | None:
    """Return the one spelling of a name that a person may write; None where it is none.

    It is `arxiv:…`, `doi:…`, `s2:…` or `corpus:…`; a DOI of arXiv is its arXiv id.
    """
    found = text.strip()
    kind, _, rest = found.partition(":")
    if kind.casefold() in ("corpus", "corpusid") and rest.strip().isdecimal():
        return f"corpus:{int(rest)}"
    if known := arxiv_id(found):
        return f"arxiv:{known}"
    if known := doi(found):
        return f"doi:{known}"
    bare = found.removeprefix("s2:")
    return f"s2:{bare.lower()}" if _S2_ID.fullmatch(bare) else None


def named(names: Iterable[str], title: str, year: int) -> dict[str, Any]:
    """Return the fields of `Paper` that hold its names.

    Args:
        names: in the one spelling.
        title, year: make a name where there is no other.
    """
    known = sorted(set(names), key=_rank) or [f"title:{content_id([_letters(title), year])}"]
    first = known[0]
    return {
        "paper_id": first,
        "arxiv_id": first.removeprefix("arxiv:") if first.startswith("arxiv:") else None,
        "identifiers": tuple(known),
    }


def merged(records: Sequence[Found]) -> tuple[Found, ...]:
    """Return one record a paper; the first one of a paper gives its text, the others add to it.

    They add their names, and what it lacks: venue, authors and abstract. What comes from the
    snapshot keeps its id.
    """
    groups: list[list[Found]] = []
    place: dict[str, int] = {}  # a name, or a title with a year -> the group it is known in
    for record in records:
        ids = names_of(record.paper)
        hits = {place[key] for key in ids if key in place}
        if not hits:
            hits = {
                place[key]
                for key in _titles(record.paper)
                if key in place and not _differ(groups[place[key]], record.paper)
            }
        home, *others = sorted(hits) or [len(groups)]
        if home == len(groups):
            groups.append([])
        groups[home].append(record)
        for other in others:  # it shows that what looked like two papers is one
            groups[home] += groups[other]
            groups[other] = []
        for member in groups[home] if others else [record]:
            place.update(dict.fromkeys((*names_of(member.paper), *_titles(member.paper)), home))
    return tuple(_joined(group) for group in groups if group)


def _joined(group: Sequence[Found]) -> Found:
    first = group[0]
    if len(group) == 1:
        return first
    paper = first.paper
    known = {name for record in group for name in names_of(record.paper)}
    fields = named(known, paper.title, paper.year)
    if paper.source == "snapshot":
        fields = {"identifiers": fields["identifiers"]}
    for name in ("venue", "authors"):
        fields[name] = next(
            (value for record in group if (value := getattr(record.paper, name))),
            getattr(paper, name),
        )
    return Found(
        paper=paper.model_copy(update=fields),
        abstract=next((record.abstract for record in group if record.abstract), ""),
    )


def names_of(paper: Paper) -> set[str]:
    """Return all names under which a paper is known."""
    return {paper.paper_id, *paper.identifiers}


def _titles(paper: Paper) -> tuple[str, ...]:
    """Return keys that two papers share where their titles agree, and their years to within one."""
    letters = _letters(paper.title)
    if not letters:
        return ()
    return (f"{letters}:{paper.year}", f"{letters}:{paper.year + 1}")


def _letters(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title)
    return re.sub(r"[\W_]+", "", plain).casefold()


def _differ(group: Sequence[Found], paper: Paper) -> bool:
    return paper.arxiv_id is not None and any(
        record.paper.arxiv_id not in (None, paper.arxiv_id) for record in group
    )


def _rank(name: str) -> tuple[int, str]:
    kind = name.partition(":")[0]
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS), name

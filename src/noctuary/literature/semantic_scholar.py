"""A client of Semantic Scholar that takes what is usable from any answer, within a budget.

Covers search, batch, citations, references and recommendations, page by page, with and without a
key, and answers with missing, wrong or odd fields. Does not cover caching, nor the waiting, which
is the transport's: the package gives the addresses and the paging, and asks through us. Its own
requests would be repeated for minutes, log the key, and not tell what Retry-After said.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from noctuary.domain import Paper
from noctuary.literature.cache import Question
from noctuary.literature.identity import Found, arxiv_id, name_of, named, one_line
from noctuary.literature.transport import Transport, Unanswered

if TYPE_CHECKING:
    from semanticscholar import AsyncSemanticScholar
    from semanticscholar.PaginatedResults import PaginatedResults

SERVICE = "Semantic Scholar"
FIELDS = ["title", "authors", "year", "venue", "externalIds", "abstract"]
PAUSE = 1.0
"""Seconds between requests: what a key allows. Without one, all share a pool that may refuse."""

LONGEST_PAGE = 100
"""Papers on a page of a search; Semantic Scholar refuses more."""

_GRAPH = "/graph/v1"
_YEARS = range(1900, 2101)
_LISTS = ("data", "recommendedPapers")
_WRAPPERS = ("citingPaper", "citedPaper")


class _Page(NamedTuple):
    """One answer.

    Attributes:
        next: where the next page begins; None on the last one.
    """

    entries: list[Any]
    offset: int
    next: int | None


class SemanticScholar:
    """Answers questions through the service behind an endpoint.

    Args:
        endpoint: base address of the graph API, such as
            `https://api.semanticscholar.org/graph/v1`; recommendations are beside it.
        patience: seconds for all questions together, from now on.
        key: sent as `x-api-key`; it never appears in a problem.
    """

    def __init__(
        self,
        endpoint: str,
        patience: float,
        *,
        key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root = endpoint.strip().rstrip("/")
        self._key = key
        headers = {"x-api-key": key} if key else {}
        self._transport = Transport(
            SERVICE, patience, PAUSE, headers=headers, clock=clock, sleep=sleep
        )

    def answer(self, question: Question) -> tuple[Found, ...]:
        """Return what is found, in the order of the service.

        Raises:
            Unanswered: there is no answer, or the package does not take the question.
        """
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise Unanswered(f"no papers from {SERVICE} (the API key is not plain ASCII)")
        pages = _Pages(self._transport, a_list=question.kind == "batch")
        asyncio.run(_ask(self._client(pages), pages, question))
        return found_in(pages.entries[: question.limit])

    def _client(self, pages: "_Pages") -> "AsyncSemanticScholar":
        from semanticscholar import AsyncSemanticScholar

        class Client(AsyncSemanticScholar):  # type: ignore[misc]
            BASE_PATH_GRAPH = _GRAPH if self._root.endswith(_GRAPH) else ""
            debug = False  # the package's setter would configure the root logger

            def _get_not_found_ids(self, *_: Any) -> list[str]:
                return []  # it would look into what we keep to ourselves, and log a warning

        client = Client(api_url=self._root.removesuffix(_GRAPH))
        client._requester = pages
        return client


class _Pages:
    """What the package asks through: it collects the entries as they came.

    The package's own parser, which fails on one entry of a wrong type, sees empty pages.

    Args:
        a_list: the answer is a bare list, not an object that holds one.
    """

    def __init__(self, transport: Transport, a_list: bool) -> None:
        self.entries: list[Any] = []
        self._transport = transport
        self._read = _read_list if a_list else _read_page

    async def get_data_async(
        self, url: str, parameters: str, _headers: Any, payload: Any = None
    ) -> Any:
        page = self._transport.ask(f"{url}?{parameters.lstrip('&')}", self._read, payload)
        self.entries += page.entries
        if self._read is _read_list:
            return []
        following = {} if page.next is None else {"next": page.next}
        return {"data": [], "recommendedPapers": [], "offset": page.offset, **following}


async def _ask(client: "AsyncSemanticScholar", pages: _Pages, question: Question) -> None:
    from semanticscholar.SemanticScholarException import NoMorePagesException

    names = [_their_name(name) for name in question.papers]
    size = min(question.limit, LONGEST_PAGE)
    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        # the package pastes words into the address as they are
        "search": lambda: client.search_paper(
            quote(question.words, safe="", errors="replace"), fields=FIELDS, limit=size
        ),
        "batch": lambda: client.get_papers(names, fields=FIELDS),
        "citations": lambda: client.get_paper_citations(names[0], fields=FIELDS, limit=size),
        "references": lambda: client.get_paper_references(names[0], fields=FIELDS, limit=size),
        "recommendations": lambda: client.get_recommended_papers(
            names[0], fields=FIELDS, limit=size
        ),
    }
    results: PaginatedResults | list[Any] = await calls[question.kind]()
    seen = 0
    try:
        while not isinstance(results, list) and seen < len(pages.entries) < question.limit:
            seen = len(pages.entries)
            await results.async_next_page()
    except NoMorePagesException:
        pass  # fewer papers than we would take


def _their_name(name: str) -> str:
    """Return the name of a paper as Semantic Scholar spells it, for an address."""
    kind, _, rest = name.partition(":")
    prefix = {"arxiv": "ARXIV:", "doi": "DOI:", "corpus": "CorpusId:"}.get(kind, "")
    return prefix + quote(rest, safe="/:")


def _read_page(body: bytes) -> _Page:
    content = _json(body)
    if not isinstance(content, dict):
        raise ValueError("an answer that is no object")
    entries = next((content[name] for name in _LISTS if name in content), None)
    if entries is None and ("total" in content or "offset" in content):
        entries = []  # no hits, or references that a publisher holds back
    if not isinstance(entries, list):
        raise ValueError("an answer without results")
    offset, following = content.get("offset"), content.get("next")
    return _Page(
        [_unwrapped(entry) for entry in entries],
        offset if type(offset) is int else 0,
        following if type(following) is int else None,
    )


def _read_list(body: bytes) -> _Page:
    content = _json(body)
    if not isinstance(content, list):
        raise ValueError("an answer that is no list")
    return _Page(content, 0, None)


def _json(body: bytes) -> Any:
    return json.loads(body.decode("utf-8"))


def _unwrapped(entry: Any) -> Any:
    """Return the paper within an entry of citations or references."""
    if isinstance(entry, dict):
        return next((entry[name] for name in _WRAPPERS if name in entry), entry)
    return entry


def found_in(entries: list[Any]) -> tuple[Found, ...]:
    """Return the papers among raw entries.

    An entry without a title or a plausible year is dropped; all else may be missing or odd.
    """
    return tuple(found for entry in entries if (found := _found(entry)))


def _found(entry: Any) -> Found | None:
    if not isinstance(entry, dict):
        return None
    title, year = one_line(entry.get("title")), entry.get("year")
    if not title or type(year) is not int or year not in _YEARS:
        return None
    authors = entry.get("authors")
    writers = [
        one_line(author.get("name"))
        for author in (authors if isinstance(authors, list) else [])
        if isinstance(author, dict)
    ]
    paper = Paper(
        **named(_names(entry), title, year),
        title=title,
        authors=tuple(name for name in writers if name),
        year=year,
        venue=one_line(entry.get("venue")),
        account="",
        source="semantic_scholar",
    )
    return Found(paper=paper, abstract=one_line(entry.get("abstract")))


def _names(entry: dict[str, Any]) -> list[str]:
    others = entry.get("externalIds")
    ids = others if isinstance(others, dict) else {}
    own, corpus = one_line(entry.get("paperId")), ids.get("CorpusId")
    names = [f"s2:{own}"] if own else []
    if known := arxiv_id(one_line(ids.get("ArXiv"))):
        names.append(f"arxiv:{known}")
    if name := name_of(one_line(ids.get("DOI"))):
        names.append(name)
    if type(corpus) is int:
        names.append(f"corpus:{corpus}")
    return names

"""A client for the search of Semantic Scholar that always comes back within its patience.

Covers one page of results, retries with growing waits after 429, 5xx and broken answers, and
answers with missing, wrong or odd fields. Does not cover caching, further pages, or the abstract:
it is read for mechanisms and then dropped. The waits do not follow a Retry-After header, which the
package does not hand on.

The package's own retries (ten, up to a minute apart) are off, and its timeout is not trusted: it
starts anew with every byte. The request runs in a thread of its own, so that neither a server
that drips nor a name lookup that hangs can hold a cycle for longer than agreed.
"""

import asyncio
import logging
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from noctuary.canonical import content_id
from noctuary.domain import Paper
from noctuary.literature.keywords import mechanisms_in

FIELDS = ["title", "authors", "year", "venue", "externalIds", "abstract"]
FIRST_WAIT = 1.0
"""Seconds before the first retry; each further wait is twice as long."""

_ARXIV_ID = re.compile(r"(\d{4}\.\d{4,5}|[a-z][a-z.-]*/\d{7})(v\d+)?", re.IGNORECASE)
_YEARS = range(1900, 2101)
_PROBLEMS = {
    "RetryError": ("HTTP 429, too many requests", False),
    "BadQueryParametersException": ("HTTP 400, bad query", True),
    "PermissionError": ("HTTP 403, forbidden", True),
    "ObjectNotFoundException": ("HTTP 404, nothing at this endpoint", True),
    "InternalServerErrorException": ("HTTP 500, server error", False),
    "GatewayTimeoutException": ("HTTP 504, gateway timeout", False),
    "TimeoutError": ("no answer in time", False),
    "TimeoutException": ("no answer in time", False),
    # a machine without a network; waiting would take seconds of every cycle, and the next one asks
    "ConnectError": ("no connection", True),
    "InvalidURL": ("the endpoint is not an http address", True),
    "UnsupportedProtocol": ("the endpoint is not an http address", True),
    "UnicodeEncodeError": ("the API key is not plain ASCII", True),
    "LocalProtocolError": ("the API key is not plain ASCII", True),
}
"""Name of an exception of the package or below -> what it says, and whether it is final."""


class Answer(NamedTuple):
    """What came of a search.

    Attributes:
        papers: ordered by id; empty where there is a problem.
        problem: why there is no answer, in words for a note; empty where there is one.
    """

    papers: tuple[Paper, ...]
    problem: str = ""


class _Outcome(NamedTuple):
    """What one request gave: entries, or a problem and whether asking again could help."""

    entries: list[Any]
    problem: str = ""
    final: bool = False


def search(
    endpoint: str,
    query: str,
    limit: int,
    patience: float,
    *,
    api_key: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Return up to `limit` papers for a query; never raises because of the network.

    Args:
        endpoint: base address of the graph API, such as
            `https://api.semanticscholar.org/graph/v1`; nothing connects where it is empty.
        limit: 1 to 100.
        patience: seconds until this returns at the latest, requests and waits together.
        api_key: sent as `x-api-key`; it never appears in a problem.
    """
    if not endpoint.strip():
        return Answer((), "no endpoint is set")
    deadline = clock() + patience
    wait = FIRST_WAIT
    while True:
        outcome = _ask(endpoint.strip(), query, limit, deadline - clock(), api_key)
        if not outcome.problem:
            return Answer(papers_from(outcome.entries[:limit]))
        if outcome.final:
            return Answer((), f"no papers from Semantic Scholar ({outcome.problem})")
        if clock() + wait >= deadline:
            return Answer(
                (), f"Semantic Scholar did not answer within {patience:g} s ({outcome.problem})"
            )
        sleep(wait)
        wait *= 2


def papers_from(entries: list[Any]) -> tuple[Paper, ...]:
    """Return the papers among raw entries, ordered by id; of two with one id the first.

    An entry without a title or a plausible year is dropped; all else may be missing or odd.
    """
    papers = [paper for entry in entries if (paper := _paper(entry))]
    return tuple(
        sorted({paper.paper_id: paper for paper in reversed(papers)}.values(), key=_paper_id)
    )


def _paper_id(paper: Paper) -> str:
    return paper.paper_id


def _paper(entry: Any) -> Paper | None:
    if not isinstance(entry, dict):
        return None
    title, year = _text(entry.get("title")), entry.get("year")
    if not title or type(year) is not int or year not in _YEARS:
        return None
    arxiv_id = _arxiv_id(entry.get("externalIds"))
    own_id = _text(entry.get("paperId")) or content_id([title, year])
    authors = entry.get("authors")
    names = [
        _text(author.get("name"))
        for author in (authors if isinstance(authors, list) else [])
        if isinstance(author, dict)
    ]
    return Paper(
        paper_id=f"arxiv:{arxiv_id}" if arxiv_id else f"s2:{own_id}",
        title=title,
        authors=tuple(name for name in names if name),
        year=year,
        venue=_text(entry.get("venue")),
        arxiv_id=arxiv_id,
        account="",
        mechanisms=mechanisms_in(f"{title}\n{_text(entry.get('abstract'))}"),
        source="semantic_scholar",
    )


def _text(value: Any) -> str:
    """Return text on one line that every encoder accepts (no lone surrogates, no NUL)."""
    if not isinstance(value, str):
        return ""
    return " ".join(value.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").split())


def _arxiv_id(external_ids: Any) -> str | None:
    if not isinstance(external_ids, dict):
        return None
    match = _ARXIV_ID.fullmatch(_text(external_ids.get("ArXiv")))
    return match[1].lower() if match else None


def _ask(endpoint: str, query: str, limit: int, seconds: float, api_key: str | None) -> _Outcome:
    """Return the outcome of one request, after `seconds` at the latest."""
    answers: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def work() -> None:
        answers.put(_request(endpoint, query, limit, seconds, api_key))

    if seconds > 0:
        threading.Thread(target=work, name="semantic-scholar", daemon=True).start()
    try:
        return answers.get(timeout=max(seconds, 0.0))
    except queue.Empty:
        return _Outcome([], "no answer in time")


def _request(
    endpoint: str, query: str, limit: int, seconds: float, api_key: str | None
) -> _Outcome:
    try:
        answer = asyncio.run(_fetch(endpoint, query, limit, seconds, api_key))
    except Exception as error:  # whatever a broken answer makes the package raise
        return _explained(error)
    # The package turns statuses that it does not know into `{}`; a search without hits has a total.
    if isinstance(answer, dict):
        entries = answer.get("data", [] if "total" in answer else None)
        if isinstance(entries, list):
            return _Outcome(entries)
    return _Outcome([], "an answer without results")


def _explained(error: Exception) -> _Outcome:
    for kind in type(error).__mro__:
        if kind.__name__ in _PROBLEMS:
            problem, final = _PROBLEMS[kind.__name__]
            return _Outcome([], problem, final)
    return _Outcome([], f"an answer that could not be read: {type(error).__name__}")


async def _fetch(endpoint: str, query: str, limit: int, seconds: float, api_key: str | None) -> Any:
    """Return the JSON of one answer as it came, through the package's client."""
    from semanticscholar import AsyncSemanticScholar
    from semanticscholar.ApiRequester import ApiRequester

    # At DEBUG the package logs its headers, the key among them.
    logging.getLogger("semanticscholar").setLevel(logging.INFO)
    received: list[Any] = []

    class Requester(ApiRequester):  # type: ignore[misc]
        """Keeps the raw answer: the package's own parser fails on one entry of a wrong type."""

        async def get_data_async(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            received.append(await super().get_data_async(*args, **kwargs))
            return {}

    class Client(AsyncSemanticScholar):  # type: ignore[misc]
        BASE_PATH_GRAPH = ""  # our endpoint has the path in it
        debug = False  # the package's setter would configure the root logger

        def __init__(self) -> None:
            super().__init__(api_url=endpoint.rstrip("/"), api_key=api_key, retry=False)
            self._requester = Requester(timeout=seconds, retry=False)

    # The package pastes the query into the address as it is.
    words = quote(query, safe="", errors="replace")
    await asyncio.wait_for(
        Client().search_paper(words, fields=FIELDS, limit=limit), timeout=seconds
    )
    return received[0]

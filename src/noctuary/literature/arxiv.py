"""A client of arXiv's API, the second source, within a budget.

Covers searches for words, page by page, through the `arxiv` package. Does not cover caching, nor
the waiting, which is the transport's: the package would wait for a silent server for ever, and
takes half a feed for a whole one.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from noctuary.domain import Paper
from noctuary.literature.cache import Question
from noctuary.literature.identity import Found, arxiv_id, name_of, named, one_line
from noctuary.literature.transport import Transport, Unanswered

SERVICE = "arXiv"
PAUSE = 3.0
"""Seconds between requests, as arXiv's terms of use ask."""

LONGEST_PAGE = 100


class Arxiv:
    """Answers searches through the API at an address.

    Args:
        endpoint: address of the query, such as `https://export.arxiv.org/api/query`.
        patience: seconds for all questions together, from now on.
    """

    def __init__(
        self,
        endpoint: str,
        patience: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint = endpoint.strip()
        self._transport = Transport(SERVICE, patience, PAUSE, headers={}, clock=clock, sleep=sleep)

    def answer(self, question: Question) -> tuple[Found, ...]:
        """Return the papers that hold all words, the most relevant first.

        Raises:
            Unanswered: there is no answer.
        """
        import arxiv

        logging.getLogger("arxiv").setLevel(logging.ERROR)  # it warns of each odd entry
        client = arxiv.Client(
            page_size=min(question.limit, LONGEST_PAGE), delay_seconds=0.0, num_retries=0
        )
        client.query_url_format = self._endpoint + "?{}"
        client._session = _Session(self._transport)
        search = arxiv.Search(query=_query(question.words), max_results=question.limit)
        try:
            results = list(client.results(search))
        except (ValueError, arxiv.ArxivError) as error:  # an odd date, an empty second page
            problem = f"an answer that could not be read: {type(error).__name__}"
            raise Unanswered(f"no papers from {SERVICE} ({problem})") from error
        return tuple(found for result in results if (found := _found(result)))


class _Response(NamedTuple):
    """What the package reads of a response."""

    content: bytes
    status_code: int = 200


class _Session:
    """What the package asks through."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, url: str, headers: Any = None) -> _Response:
        return self._transport.ask(url, _feed)


def _feed(body: bytes) -> _Response:
    if b"<feed" not in body or not body.rstrip().endswith(b"</feed>"):
        raise ValueError("no feed, or half of one")
    return _Response(body)


def _query(words: str) -> str:
    """Return a query for papers with all words; marks would be operators."""
    return " AND ".join(f"all:{word}" for word in re.findall(r"\w+", words))


def _found(result: Any) -> Found | None:
    title, known = one_line(result.title), arxiv_id(result.entry_id)
    if not title or known is None:
        return None
    other = name_of(one_line(result.doi))
    names = [f"arxiv:{known}", *([other] if other else [])]
    writers = (one_line(author.name) for author in result.authors)
    paper = Paper(
        **named(names, title, result.published.year),
        title=title,
        authors=tuple(name for name in writers if name),
        year=result.published.year,
        venue=one_line(result.journal_ref) or "arXiv",
        account="",
        source="arxiv",
    )
    return Found(paper=paper, abstract=one_line(result.summary))

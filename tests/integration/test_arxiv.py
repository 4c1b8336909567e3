"""The client of arXiv against a real HTTP server on loopback that answers with Atom feeds."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from literature_server import (
    TOO_MANY,
    Clock,
    Reply,
    Service,
    atom_entry,
    drips,
    feed,
    hangs,
    hangs_up,
    sends,
    serving,
)

from noctuary.literature.arxiv import Arxiv
from noctuary.literature.cache import Question
from noctuary.literature.identity import Found
from noctuary.literature.transport import Unanswered

ENTRY = atom_entry("2406.06484v6", "Parallelizing the\n  Delta Rule & more — 线性")


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as server:
        yield server


def ask(
    service: Service, *replies: Reply, limit: int = 20, words: str = "delta rule"
) -> tuple[Found, ...]:
    service.replies = list(replies)
    clock = Clock()
    client = Arxiv(service.arxiv_endpoint, 30.0, clock=clock, sleep=clock.sleep)
    try:
        return client.answer(Question(source="arxiv", kind="search", words=words, limit=limit))
    finally:
        assert clock.now <= 30.0


def test_reads_what_arxiv_sends(service: Service) -> None:
    entry = atom_entry(
        "2406.06484v6", "Parallelizing the\n  Delta Rule & more — 线性", doi="10.1000/ABC"
    )
    (found,) = ask(service, feed(entry))
    paper = found.paper
    assert (paper.paper_id, paper.arxiv_id) == ("arxiv:2406.06484", "2406.06484")
    assert paper.identifiers == ("arxiv:2406.06484", "doi:10.1000/abc")
    assert paper.title == "Parallelizing the Delta Rule & more — 线性"
    assert paper.authors == ("Jörg Müller",)
    assert (paper.year, paper.venue, paper.source) == (2024, "arXiv", "arxiv")
    assert found.abstract == "It trains the delta rule."


def test_asks_for_all_words(service: Service) -> None:
    ask(service, feed(), limit=7, words='"delta rule" OR (q&k): ü')
    asked = parse_qs(urlsplit(service.seen[0].path).query)
    assert urlsplit(service.seen[0].path).path == "/api/query"
    words = ("delta", "rule", "OR", "q", "k", "ü")
    assert asked["search_query"] == [" AND ".join(f"all:{word}" for word in words)]
    assert asked["max_results"] == ["7"]


def test_turns_the_pages(service: Service) -> None:
    entries = [atom_entry(f"2406.{n:05d}v1", f"Paper {n}") for n in range(250)]
    pages = [feed(*entries[at : at + 100], total=250) for at in (0, 100, 200)]
    found = ask(service, pages[0], TOO_MANY, pages[1], pages[2], limit=210)
    assert [one.paper.title for one in found] == [f"Paper {n}" for n in range(210)]
    starts = [parse_qs(urlsplit(seen.path).query)["start"] for seen in service.seen]
    assert starts == [["0"], ["100"], ["100"], ["200"]]


def test_takes_what_is_usable_among_odd_entries(service: Service) -> None:
    odd = [
        "<entry/>",
        "<entry><id>http://arxiv.org/api/errors#incorrect</id><title>Error</title></entry>",
        atom_entry("not-an-id", "No id"),
        atom_entry("2406.00001v1", ""),
        atom_entry("hep-th/9901001v3", "Old id", 1999),
        "<entry><id>http://arxiv.org/abs/2406.00002</id><title>No dates</title></entry>",
    ]
    found = ask(service, feed(*odd, ENTRY, total=1))
    assert [one.paper.paper_id for one in found] == ["arxiv:hep-th/9901001", "arxiv:2406.06484"]


@pytest.mark.parametrize(
    "bad",
    [
        TOO_MANY,
        sends(500, b"<html>"),
        sends(503, b"", {"Retry-After": "2"}),
        sends(200, b""),
        sends(200, b"<html><body>Rate exceeded.</body></html>"),
        sends(200, b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>Half'),
        sends(200, b"<feed></feed>", {"Content-Length": "4000"}),
        hangs_up,
    ],
)
def test_tries_again_after_a_bad_answer(service: Service, bad: Reply) -> None:
    assert len(ask(service, bad, bad, feed(ENTRY))) == 1
    assert len(service.seen) == 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (TOO_MANY, "arXiv did not answer within 30 s (HTTP 429, too many requests)"),
        (sends(400, b"no"), "no papers from arXiv (HTTP 400, bad query)"),
        (feed(ENTRY.replace("<published>2024", "<published>once")), "could not be read"),
    ],
)
def test_says_why_there_is_no_answer(service: Service, bad: Reply, reason: str) -> None:
    with pytest.raises(Unanswered) as caught:
        ask(service, bad)
    assert reason in str(caught.value)


@pytest.mark.parametrize("silence", [hangs, drips])
def test_comes_back_from_a_server_that_never_finishes(service: Service, silence: Any) -> None:
    service.replies = [silence]
    with pytest.raises(Unanswered, match="no answer in time"):
        Arxiv(service.arxiv_endpoint, 0.5).answer(
            Question(source="arxiv", kind="search", words="x", limit=1)
        )

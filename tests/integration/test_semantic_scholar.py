"""The client of Semantic Scholar against a real HTTP server on loopback that misbehaves.

Covers what the service does on its bad days. Nothing here measures time: a server that never
answers would hang the test instead.
"""

import datetime
import socket
from collections.abc import Iterator
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from literature_server import (
    FOUND,
    TOO_MANY,
    Clock,
    Reply,
    Service,
    drips,
    finds,
    floods,
    hangs,
    hangs_up,
    sends,
    sends_json,
    serving,
)

from noctuary.domain import Paper
from noctuary.literature.cache import Question
from noctuary.literature.semantic_scholar import SemanticScholar
from noctuary.literature.transport import Unanswered


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as server:
        yield server


def question(**changes: Any) -> Question:
    content = {"source": "semantic_scholar", "kind": "search", "words": "delta rule", "limit": 20}
    return Question.model_validate({**content, **changes})


def ask(
    service: Service,
    *replies: Reply,
    patience: float = 15.0,
    key: str | None = None,
    asked: Question | None = None,
) -> tuple[Paper, ...]:
    """Return the papers of an answer, for which nobody waits in earnest."""
    service.replies = list(replies)
    clock = Clock()
    client = SemanticScholar(service.endpoint, patience, key=key, clock=clock, sleep=clock.sleep)
    try:
        return tuple(found.paper for found in client.answer(asked or question()))
    finally:
        assert clock.now <= patience


def problem(service: Service, *replies: Reply, **more: Any) -> str:
    with pytest.raises(Unanswered) as caught:
        ask(service, *replies, **more)
    return str(caught.value)


def test_reads_what_semantic_scholar_sends(service: Service) -> None:
    (paper,) = ask(service, finds(FOUND))
    assert paper.paper_id == "arxiv:2605.22791"
    assert paper.identifiers == ("arxiv:2605.22791", f"s2:{FOUND['paperId']}", "corpus:1")
    assert paper.title == "Gated DeltaNet-2"
    assert paper.authors == ("Ali Hatamizadeh", "Y Choi")
    assert (paper.year, paper.venue, paper.account) == (2026, "arXiv.org", "")
    assert paper.source == "semantic_scholar"


def test_asks_as_documented(service: Service) -> None:
    words = "q&k norm #1 = ü"
    assert ask(service, finds(), key="secret", asked=question(words=words, limit=7)) == ()
    ((path, headers, _),) = service.seen
    asked = parse_qs(urlsplit(path).query)
    assert urlsplit(path).path == "/graph/v1/paper/search"
    assert asked["query"] == [words]
    assert asked["limit"] == ["7"]
    assert {"title", "authors", "year", "abstract"} <= set(asked["fields"][0].split(","))
    assert headers["x-api-key"] == "secret"


def test_asks_without_key_where_there_is_none(service: Service) -> None:
    ask(service, finds(FOUND))
    assert "x-api-key" not in service.seen[0].headers


@pytest.mark.parametrize(
    ("kind", "path", "reply"),
    [
        ("batch", "/graph/v1/paper/batch", sends_json([FOUND, None])),
        (
            "citations",
            "/graph/v1/paper/ARXIV:2406.06484/citations",
            finds({"citingPaper": FOUND, "isInfluential": True}),
        ),
        (
            "references",
            "/graph/v1/paper/ARXIV:2406.06484/references",
            finds({"citedPaper": FOUND}, {"citedPaper": {"paperId": None, "title": None}}),
        ),
        (
            "recommendations",
            "/recommendations/v1/papers/forpaper/ARXIV:2406.06484",
            sends_json({"recommendedPapers": [FOUND]}),
        ),
    ],
)
def test_asks_about_papers(service: Service, kind: str, path: str, reply: Reply) -> None:
    asked = question(kind=kind, words="", papers=("arxiv:2406.06484",))
    (paper,) = ask(service, TOO_MANY, reply, key="secret", asked=asked)
    assert paper.title == "Gated DeltaNet-2"
    for seen in service.seen:
        assert urlsplit(seen.path).path == path
        assert seen.headers["x-api-key"] == "secret"
        assert seen.body == ({"ids": ["ARXIV:2406.06484"]} if kind == "batch" else None)


def test_references_that_a_publisher_holds_back_are_none(service: Service) -> None:
    asked = question(kind="references", papers=("doi:10.1145/1.2",))
    assert ask(service, sends_json({"offset": 0, "data": None}), asked=asked) == ()
    assert urlsplit(service.seen[0].path).path == "/graph/v1/paper/DOI:10.1145/1.2/references"


def test_turns_the_pages(service: Service) -> None:
    def page(first: int, **more: Any) -> Reply:
        entries = [{"title": f"Paper {n}", "year": 2024} for n in range(first, first + 100)]
        return finds(*entries, total=5000, offset=first, **more)

    papers = ask(
        service,
        page(0, next=100),
        sends(502, b""),
        page(100, next=200),
        page(200, next=300),
        asked=question(limit=250),
    )
    assert [paper.title for paper in papers] == [f"Paper {n}" for n in range(250)]
    offsets = [parse_qs(urlsplit(seen.path).query)["offset"] for seen in service.seen]
    assert offsets == [["0"], ["100"], ["100"], ["200"]], "a page that failed is asked for again"


@pytest.mark.parametrize("following", ["soon", None, -1, 10**30])
def test_a_next_page_that_is_none(service: Service, following: Any) -> None:
    papers = ask(service, finds(FOUND, next=following), asked=question(limit=250))
    assert len(papers) == 1
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    "bad",
    [
        TOO_MANY,
        sends_json({"message": "Internal Server Error"}, 500),
        sends(500, b"<html>"),
        sends_json({}, 500),
        sends(502, b"bad gateway"),
        sends(503, b""),
        sends_json({"message": "timeout"}, 504),
        sends(200, b'{"total": 3, "data": [{"title": "Gat'),
        sends(200, b'{"total": 3, "da', {"Content-Length": "4000"}),
        sends(200, b""),
        sends(200, b"\xff\xfe\x00"),
        sends_json(None),
        sends_json(7),
        sends_json([FOUND]),
        sends_json("data"),
        sends_json({"error": "no"}),
        sends_json({"total": 1, "data": {"0": FOUND}}),
        hangs_up,
    ],
)
def test_tries_again_after_a_bad_answer(service: Service, bad: Reply) -> None:
    assert len(ask(service, bad, bad, finds(FOUND))) == 1
    assert len(service.seen) == 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (TOO_MANY, "429"),
        (sends_json({"message": "down"}, 500), "500"),
        (sends(503, b""), "503"),
        (sends(200, b'{"data": [{"ti'), "could not be read"),
    ],
)
def test_gives_up_when_patience_is_spent(service: Service, bad: Reply, reason: str) -> None:
    said = problem(service, bad)
    assert said.startswith("Semantic Scholar did not answer within 15 s (")
    assert reason in said
    assert len(service.seen) == 4  # at 0, 1, 3 and 7 s; the next would be at 15 s


def waits(service: Service, *replies: Reply, patience: float = 60.0) -> list[float]:
    service.replies = list(replies)
    clock = Clock()
    client = SemanticScholar(service.endpoint, patience, clock=clock, sleep=clock.sleep)
    try:
        client.answer(question())
    except Unanswered as error:
        assert "429" in str(error)
    return clock.waits


def test_waits_longer_each_time(service: Service) -> None:
    assert waits(service, TOO_MANY, patience=15.0) == [1.0, 2.0, 4.0]


def refuses(retry_after: str) -> Reply:
    return sends_json({"message": "Too Many Requests"}, 429, Retry_After=retry_after)


def test_waits_as_long_as_it_is_told(service: Service) -> None:
    assert waits(service, refuses("20"), refuses("0"), refuses("soon"), finds()) == [20.0, 2.0, 4.0]
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3600)
    service.seen.clear()
    assert waits(service, refuses(format_datetime(moment)), finds(), patience=7200.0)[0] > 3000


def test_does_not_wait_for_what_comes_too_late(service: Service) -> None:
    assert waits(service, refuses("600"), patience=15.0) == []
    assert len(service.seen) == 1


def test_asks_no_more_once_its_patience_is_spent(service: Service) -> None:
    service.replies = [TOO_MANY]
    clock = Clock()
    client = SemanticScholar(service.endpoint, 10.0, clock=clock, sleep=clock.sleep)
    for words in ("one", "two", "three"):
        with pytest.raises(Unanswered, match="did not answer within 10 s"):
            client.answer(question(words=words))
    assert {parse_qs(urlsplit(seen.path).query)["query"][0] for seen in service.seen} == {"one"}


def test_leaves_a_pause_between_questions(service: Service) -> None:
    service.replies = [finds()]
    clock = Clock()
    client = SemanticScholar(service.endpoint, 10.0, clock=clock, sleep=clock.sleep)
    for words in ("one", "two", "three"):
        client.answer(question(words=words))
    assert clock.waits == [1.0, 1.0]


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "bad query"), (403, "forbidden"), (404, "nothing")]
)
def test_does_not_insist_when_refused(service: Service, status: int, reason: str) -> None:
    said = problem(service, sends_json({"error": "no", "message": "no"}, status))
    assert said.startswith("no papers from Semantic Scholar")
    assert reason in said
    assert len(service.seen) == 1


def test_no_hits_are_an_answer(service: Service) -> None:
    assert ask(service, sends_json({"total": 0, "offset": 0})) == ()


def test_takes_what_is_usable_among_odd_entries(service: Service) -> None:
    odd: list[Any] = [
        None,
        "paper",
        [],
        {},
        {"title": "No year"},
        {"year": 2024},
        {"title": "", "year": 2024},
        {"title": 5, "year": 2024},
        {"title": "Year as text", "year": "2024"},
        {"title": "Year as truth", "year": True},
        {"title": "Year of nonsense", "year": 10**12},
        {"title": "Bare", "year": 2024},
        {"paperId": "w", "title": "Wrong", "year": 2024, "authors": 3, "venue": [], "abstract": {}},
        {"paperId": "x", "title": "Ids", "year": 2024, "externalIds": "ArXiv"},
        {"paperId": "y", "title": "Id", "year": 2024, "externalIds": {"ArXiv": "../etc"}},
        {"paperId": "z", "title": "V", "year": 2024, "externalIds": {"ArXiv": "2401.00001v3"}},
        {"paperId": "v", "title": "Names", "year": 2024, "authors": [None, {}, {"name": "A B"}, 1]},
        {"paperId": "v", "title": "Names", "year": 2024},
    ]
    papers = ask(service, finds(*odd, FOUND))
    titles = [paper.title for paper in papers]
    names = ["Names", "Names", "Gated DeltaNet-2"]
    assert titles == ["Bare", "Wrong", "Ids", "Id", "V", *names]
    assert "arxiv:2401.00001" in {paper.paper_id for paper in papers}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("线性注意力 — ÉLU ✨", "线性注意力 — ÉLU ✨"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("two\nlines\tand \0 nothing", "two lines and nothing"),
    ],
)
def test_titles_in_any_script(service: Service, sent: str, kept: str) -> None:
    (paper,) = ask(service, finds({**FOUND, "title": sent}))
    assert paper.title == kept
    assert paper.model_dump_json().encode("utf-8")


@pytest.mark.parametrize("silence", [hangs, drips])
def test_comes_back_from_a_server_that_never_finishes(service: Service, silence: Reply) -> None:
    service.replies = [silence]
    with pytest.raises(Unanswered, match=r"did not answer within 0\.5 s \(no answer in time\)"):
        SemanticScholar(service.endpoint, 0.5).answer(question())


def test_reads_no_more_than_a_sane_answer_can_hold(service: Service) -> None:
    assert problem(service, floods) == (
        "no papers from Semantic Scholar (an answer of more than 16 MB)"
    )


def test_nested_answers_without_end(service: Service) -> None:
    assert "could not be read" in problem(service, sends(200, b"[" * 10**6))


def test_connection_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        clock = Clock()
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}/graph/v1"
        client = SemanticScholar(endpoint, 5.0, clock=clock, sleep=clock.sleep)
        with pytest.raises(Unanswered) as caught:
            client.answer(question())
    assert str(caught.value) == "no papers from Semantic Scholar (no connection)"
    assert clock.now == 0, "a machine without a network waits for one"


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1/x", "graph/v1", "http://[::1", "http://"])
def test_endpoint_that_is_no_address(endpoint: str) -> None:
    clock = Clock()
    client = SemanticScholar(endpoint, 2.0, clock=clock, sleep=clock.sleep)
    with pytest.raises(Unanswered, match="endpoint is not an http address"):
        client.answer(question())


@pytest.mark.parametrize("key", ["sécret-key", "secret\nkey"])
def test_key_never_shows(service: Service, key: str) -> None:
    said = problem(service, finds(FOUND), key=key)
    assert "API key" in said
    assert "key" not in said.replace("API key", "")


def test_key_is_not_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        ask(service, finds(FOUND), key="very-secret")
    assert caplog.records
    assert "very-secret" not in caplog.text

"""The client of Semantic Scholar against a real HTTP server on loopback that misbehaves.

Covers what the service does on its bad days. Nothing here measures time: a server that never
answers would hang the test instead.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from noctuary.config import LiteratureSettings
from noctuary.literature.fetch import Literature, read_literature
from noctuary.literature.semantic_scholar import Answer, search

SNAPSHOT = Path(__file__).parents[2] / "data" / "snapshot" / "papers.json"
FOUND = {
    "paperId": "649def34f8be52c8b66281af98ae884c09aef38b",
    "externalIds": {"ArXiv": "2605.22791", "CorpusId": 1},
    "title": "Gated DeltaNet-2",
    "abstract": "We decouple erase and write in the delta rule.",
    "venue": "arXiv.org",
    "year": 2026,
    "authors": [{"authorId": "1", "name": "Ali Hatamizadeh"}, {"authorId": "2", "name": "Y Choi"}],
}
Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Gives the server's replies in turn, the last one again and again."""

    server: "Service"

    def do_GET(self) -> None:
        replies = self.server.replies
        number = min(len(self.server.seen), len(replies) - 1)
        self.server.seen.append((self.path, dict(self.headers.items())))
        replies[number](self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/graph/v1"


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def sends(status: int, body: bytes, headers: dict[str, str] | None = None) -> Reply:
    def reply(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def sends_json(content: Any, status: int = 200) -> Reply:
    return sends(status, json.dumps(content).encode())


def finds(*entries: Any) -> Reply:
    return sends_json({"total": len(entries), "offset": 0, "data": list(entries)})


def hangs(handler: Handler) -> None:
    handler.server.closing.wait(30)


def drips(handler: Handler) -> None:
    """Send a byte now and then, so that no single read ever times out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.closing.wait(0.02):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


def hangs_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


TOO_MANY = sends_json({"message": "Too Many Requests", "code": "429"}, 429)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


def ask(service: Service, *replies: Reply, patience: float = 15.0, **more: Any) -> Answer:
    service.replies = list(replies)
    clock = Clock()
    answer = search(
        service.endpoint, "delta rule", 20, patience, clock=clock, sleep=clock.sleep, **more
    )
    assert clock.now <= patience
    return answer


def test_reads_what_semantic_scholar_sends(service: Service) -> None:
    answer = ask(service, finds(FOUND))
    assert answer.problem == ""
    (paper,) = answer.papers
    assert paper.paper_id == "arxiv:2605.22791"
    assert paper.title == "Gated DeltaNet-2"
    assert paper.authors == ("Ali Hatamizadeh", "Y Choi")
    assert (paper.year, paper.venue, paper.account) == (2026, "arXiv.org", "")
    assert "update=delta" in paper.mechanisms
    assert paper.source == "semantic_scholar"


def test_asks_as_documented(service: Service) -> None:
    service.replies = [finds()]
    answer = search(service.endpoint + "/", "q&k norm #1 = ü", 7, 15.0, api_key="secret")
    assert answer == Answer(())
    ((path, headers),) = service.seen
    asked = parse_qs(urlsplit(path).query)
    assert urlsplit(path).path == "/graph/v1/paper/search"
    assert asked["query"] == ["q&k norm #1 = ü"]
    assert asked["limit"] == ["7"]
    assert {"title", "authors", "year", "abstract"} <= set(asked["fields"][0].split(","))
    assert headers["x-api-key"] == "secret"


def test_asks_without_key_where_there_is_none(service: Service) -> None:
    ask(service, finds(FOUND))
    assert "x-api-key" not in service.seen[0][1]


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
    answer = ask(service, bad, bad, finds(FOUND))
    assert answer.problem == ""
    assert len(answer.papers) == 1
    assert len(service.seen) == 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (TOO_MANY, "429"),
        (sends_json({"message": "down"}, 500), "500"),
        (sends(503, b""), "without results"),
        (sends(200, b'{"data": [{"ti'), "could not be read"),
    ],
)
def test_gives_up_when_patience_is_spent(service: Service, bad: Reply, reason: str) -> None:
    answer = ask(service, bad)
    assert answer.papers == ()
    assert answer.problem.startswith("Semantic Scholar did not answer within 15 s (")
    assert reason in answer.problem
    assert len(service.seen) == 4  # at 0, 1, 3 and 7 s; the next would be at 15 s


def test_waits_longer_each_time(service: Service) -> None:
    service.replies = [TOO_MANY]
    clock = Clock()
    search(service.endpoint, "x", 1, 15.0, clock=clock, sleep=clock.sleep)
    assert clock.waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "bad query"), (403, "forbidden"), (404, "nothing")]
)
def test_does_not_insist_when_refused(service: Service, status: int, reason: str) -> None:
    answer = ask(service, sends_json({"error": "no", "message": "no"}, status))
    assert answer.papers == ()
    assert answer.problem.startswith("no papers from Semantic Scholar")
    assert reason in answer.problem
    assert len(service.seen) == 1


def test_no_hits_are_an_answer(service: Service) -> None:
    assert ask(service, sends_json({"total": 0, "offset": 0})) == Answer(())


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
    answer = ask(service, finds(*odd, FOUND))
    assert answer.problem == ""
    titles = [paper.title for paper in answer.papers]
    assert sorted(titles) == ["Bare", "Gated DeltaNet-2", "Id", "Ids", "Names", "V", "Wrong"]
    ids = [paper.paper_id for paper in answer.papers]
    assert ids == sorted(set(ids))
    assert "arxiv:2401.00001" in ids
    assert answer == ask(service, finds(*reversed(odd[:-1]), FOUND))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("线性注意力 — ÉLU ✨", "线性注意力 — ÉLU ✨"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("two\nlines\tand \0 nothing", "two lines and nothing"),
    ],
)
def test_titles_in_any_script(service: Service, sent: str, kept: str) -> None:
    (paper,) = ask(service, finds({**FOUND, "title": sent})).papers
    assert paper.title == kept
    assert paper.model_dump_json().encode("utf-8")


@pytest.mark.parametrize("silence", [hangs, drips])
def test_comes_back_from_a_server_that_never_finishes(service: Service, silence: Reply) -> None:
    service.replies = [silence]
    answer = search(service.endpoint, "x", 1, 0.5)
    assert answer.papers == ()
    assert answer.problem == ("Semantic Scholar did not answer within 0.5 s (no answer in time)")


def test_connection_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        clock = Clock()
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}/graph/v1"
        answer = search(endpoint, "x", 1, 5.0, clock=clock, sleep=clock.sleep)
    assert answer.problem == "no papers from Semantic Scholar (no connection)"
    assert clock.now == 0, "a machine without a network waits for one"


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1/x", "graph/v1", "http://[::1", "http://"])
def test_endpoint_that_is_no_address(endpoint: str) -> None:
    clock = Clock()
    answer = search(endpoint, "x", 1, 2.0, clock=clock, sleep=clock.sleep)
    assert answer.papers == ()
    assert answer.problem


@pytest.mark.parametrize("key", ["sécret-key", "secret\nkey"])
def test_key_never_shows(service: Service, key: str) -> None:
    answer = ask(service, finds(FOUND), api_key=key)
    assert answer.papers == ()
    assert "API key" in answer.problem
    assert "key" not in answer.problem.replace("API key", "")


def read(service: Service, *replies: Reply, **environ: str) -> Literature:
    service.replies = list(replies)
    settings = LiteratureSettings(endpoint=service.endpoint, patience=2.0)
    clock = Clock()
    return read_literature(
        SNAPSHOT, settings, False, environ=environ, clock=clock, sleep=clock.sleep
    )


def test_fetched_papers_come_after_the_snapshot(service: Service) -> None:
    known = {**FOUND, "externalIds": {"ArXiv": "2406.06484v2"}, "title": "Known by its id"}
    literature = read(service, finds(FOUND, known), S2_API_KEY=" secret ")
    assert [paper.paper_id for paper in literature.papers[-1:]] == ["arxiv:2605.22791"]
    assert {paper.source for paper in literature.papers[:-1]} == {"snapshot"}
    assert literature.note == (
        "Semantic Scholar: 2 papers, 1 of them new, beside the shipped snapshot of "
        f"{len(literature.papers) - 1} papers"
    )
    assert service.seen[0][1]["x-api-key"] == "secret"


def test_snapshot_stands_in_for_a_silent_service(service: Service) -> None:
    literature = read(service, TOO_MANY)
    assert {paper.source for paper in literature.papers} == {"snapshot"}
    assert literature.insights
    assert literature.note == (
        "Semantic Scholar did not answer within 2 s (HTTP 429, too many requests): "
        f"shipped snapshot of {len(literature.papers)} papers"
    )


def test_offline_connects_to_nobody(service: Service) -> None:
    service.replies = [finds(FOUND)]
    settings = LiteratureSettings(endpoint=service.endpoint)
    assert read_literature(SNAPSHOT, settings, True).note.startswith("offline")
    assert service.seen == []


def test_client_is_imported_only_when_used() -> None:
    code = (
        "import sys, noctuary.literature.fetch;"
        "print([m for m in ('semanticscholar', 'httpx', 'tenacity', 'torch') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"

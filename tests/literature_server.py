"""A real HTTP server on loopback that answers as Semantic Scholar or arXiv does, on bad days."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

FOUND: dict[str, Any] = {
    "paperId": "649def34f8be52c8b66281af98ae884c09aef38b",
    "externalIds": {"ArXiv": "2605.22791", "CorpusId": 1},
    "title": "Gated DeltaNet-2",
    "abstract": "We decouple erase and write in the delta rule.",
    "venue": "arXiv.org",
    "year": 2026,
    "authors": [{"authorId": "1", "name": "Ali Hatamizadeh"}, {"authorId": "2", "name": "Y Choi"}],
}
Reply = Callable[["Handler"], None]


class Seen(NamedTuple):
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: Any


class Handler(BaseHTTPRequestHandler):
    """Gives the server's replies in turn, the last one again and again."""

    server: "Service"

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _reply(self, body: Any) -> None:
        replies = self.server.replies
        number = min(len(self.server.seen), len(replies) - 1)
        self.server.seen.append(Seen(self.path, dict(self.headers.items()), body))
        replies[number](self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Service(ThreadingHTTPServer):
    """Attributes: `replies` to give, requests `seen`, and `closing`, which ends what hangs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = [TOO_MANY]
        self.seen: list[Seen] = []
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def endpoint(self) -> str:
        return f"{self.address}/graph/v1"

    @property
    def arxiv_endpoint(self) -> str:
        return f"{self.address}/api/query"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hung up in time


@contextmanager
def serving() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


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


def sends(status: int, body: bytes, headers: dict[str, str] | None = None) -> Reply:
    def reply(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def sends_json(content: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return sends(status, json.dumps(content).encode(), named)


def finds(*entries: Any, **more: Any) -> Reply:
    return sends_json({"total": len(entries), "offset": 0, "data": list(entries), **more})


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


def floods(handler: Handler) -> None:
    """Send far more than anybody asked for."""
    handler.send_response(200)
    handler.end_headers()
    block = b" " * 2**20
    for _ in range(64):
        try:
            handler.wfile.write(block)
        except OSError:
            return


def hangs_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


TOO_MANY = sends_json({"message": "Too Many Requests", "code": "429"}, 429)
NOT_TONIGHT = sends_json({"message": "Too Many Requests"}, 429, Retry_After="600")


def atom_entry(known: str, title: str, year: int = 2024, **more: str) -> str:
    """Return an entry as arXiv writes it; `more` holds elements of its own namespace."""
    extra = "".join(f"<arxiv:{name}>{escape(text)}</arxiv:{name}>" for name, text in more.items())
    return (
        f"<entry><id>http://arxiv.org/abs/{known}</id><title>{escape(title)}</title>"
        f"<updated>{year}-06-11T17:00:00Z</updated><published>{year}-06-10T17:00:00Z</published>"
        "<summary>It trains the delta\n rule.</summary>"
        f"<author><name>Jörg Müller</name></author>{extra}</entry>"
    )


def feed(*entries: str, total: int | None = None) -> Reply:
    """Send an Atom feed with entries."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom" '
        'xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" '
        'xmlns:arxiv="http://arxiv.org/schemas/atom"><opensearch:totalResults>'
        f"{len(entries) if total is None else total}</opensearch:totalResults>"
        f"{''.join(entries)}</feed>\n"
    )
    return sends(200, text.encode())

"""The literature of a cycle, with both services on loopback: good nights, and bad ones."""

import datetime
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from literature_server import (
    FOUND,
    TOO_MANY,
    Clock,
    Reply,
    Service,
    atom_entry,
    feed,
    finds,
    hangs,
    hangs_up,
    sends,
    sends_json,
    serving,
)

from noctuary.config import LiteratureSettings
from noctuary.literature.cache import Cache
from noctuary.literature.fetch import API_KEY, Literature, at_hand, read_literature
from noctuary.literature.importing import read_file
from noctuary.literature.questions import Interest
from noctuary.sandbox.layers import allowed_environment

SHIPPED = {
    "paper_id": "arxiv:2406.06484",
    "title": "Its title in the snapshot",
    "authors": ["A. Author"],
    "year": 2024,
    "venue": "NeurIPS 2024",
    "arxiv_id": "2406.06484",
    "account": "It does. It finds.",
    "mechanisms": ["update=delta"],
    "source": "snapshot",
}
KNOWN = {
    **FOUND,
    "paperId": "f" * 40,
    "externalIds": {"ArXiv": "2406.06484v2"},
    "title": "Known by its id",
}
ENTRY = atom_entry("2605.22791v3", "Gated DeltaNet-2", 2026, doi="10.1000/x")
OTHER = atom_entry("2601.00001v1", "A delta rule of our own", 2026)


@pytest.fixture
def scholar() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.fixture
def archive() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "literature"


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of one paper."""
    path = tmp_path / "papers.json"
    path.write_text(json.dumps({"papers": [SHIPPED]}), encoding="utf-8")
    return path


class Night:
    """Reads the literature of one cycle after another, in a lab, from two services."""

    def __init__(self, scholar: Service, archive: Service, folder: Path, snapshot: Path) -> None:
        self.scholar = scholar
        self.archive = archive
        self.folder = folder
        self.snapshot = snapshot

    def reads(
        self, *replies: Reply, arxiv: tuple[Reply, ...] = (feed(),), **given: Any
    ) -> Literature:
        self.scholar.replies, self.archive.replies = list(replies), list(arxiv)
        self.scholar.seen.clear()
        self.archive.seen.clear()
        options = {"environ": {}, "interest": Interest(), "fresh": 1e-6, "patience": 4.0, **given}
        settings = LiteratureSettings(
            endpoint=self.scholar.endpoint,
            arxiv_endpoint=self.archive.arxiv_endpoint,
            patience=options["patience"],
            fresh=options["fresh"],
        )
        clock = Clock()
        return read_literature(
            self.snapshot,
            self.folder,
            settings,
            False,
            options["interest"],
            environ=options["environ"],
            clock=clock,
            sleep=clock.sleep,
        )


@pytest.fixture
def night(scholar: Service, archive: Service, folder: Path, snapshot: Path) -> Night:
    return Night(scholar, archive, folder, snapshot)


def fetched(literature: Literature) -> list[str]:
    return [paper.paper_id for paper in literature.papers if paper.source != "snapshot"]


def test_both_services_tell_of_each_paper_once(night: Night) -> None:
    literature = night.reads(
        finds(FOUND, KNOWN), arxiv=(feed(ENTRY, OTHER),), environ={"S2_API_KEY": " secret "}
    )
    assert fetched(literature) == ["arxiv:2601.00001", "arxiv:2605.22791"]
    assert literature.papers[-1].identifiers == (
        "arxiv:2605.22791",
        "doi:10.1000/x",
        f"s2:{FOUND['paperId']}",
        "corpus:1",
    )
    assert "update=delta" in literature.papers[-1].mechanisms
    assert literature.note == (
        "Semantic Scholar: 2 papers, 1 of them new; arXiv: 2 papers, 2 of them new; "
        "at hand: shipped snapshot of 1 paper, 2 fetched"
    )
    assert night.scholar.seen[0].headers["x-api-key"] == "secret"
    assert "x-api-key" not in night.archive.seen[0].headers
    shipped = next(paper for paper in literature.papers if paper.arxiv_id == "2406.06484")
    assert (shipped.source, shipped.title) == ("snapshot", "Its title in the snapshot")


def test_the_key_is_not_written_down(night: Night) -> None:
    night.reads(finds(FOUND), environ={"S2_API_KEY": "very-secret"})
    night.reads(TOO_MANY, environ={"S2_API_KEY": "very-secret"})
    kept = [path for path in night.folder.rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert not any(b"very-secret" in path.read_bytes() for path in kept)


def test_the_key_is_kept_from_jobs() -> None:
    assert allowed_environment({API_KEY: "very-secret", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (TOO_MANY, "Semantic Scholar did not answer within 4 s (HTTP 429, too many requests)"),
        (
            sends_json({}, 429, Retry_After="600"),
            "(HTTP 429, too many requests, to be asked again after 600 s)",
        ),
        (sends(503, b""), "(HTTP 503, out of service)"),
        (sends(200, b'{"data": [{"ti'), "could not be read"),
        (finds(), "Semantic Scholar finds nothing where it found papers before"),
        (hangs_up, "(a broken connection: RemoteProtocolError)"),
        (sends_json({"error": "no"}, 403), "(HTTP 403, forbidden)"),
    ],
)
def test_last_answers_stand_in(night: Night, bad: Reply, reason: str) -> None:
    before = night.reads(finds(FOUND))
    literature = night.reads(bad, arxiv=(feed(OTHER),))
    assert fetched(literature) == ["arxiv:2601.00001", "arxiv:2605.22791"]
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    assert reason in literature.note
    assert f"; its last answers, since {today}, stand in with 1 paper; arXiv: 1" in literature.note
    assert set(before.insights) <= set(literature.insights)


def test_a_service_that_never_answered_leaves_the_snapshot(night: Night) -> None:
    literature = night.reads(TOO_MANY, arxiv=(TOO_MANY,))
    assert fetched(literature) == []
    assert len(literature.papers) == 1
    assert literature.note == (
        "Semantic Scholar did not answer within 4 s (HTTP 429, too many requests); arXiv did not "
        "answer within 4 s (HTTP 429, too many requests); at hand: shipped snapshot of 1 paper"
    )


def test_a_network_lost_half_way_keeps_what_came_before(night: Night) -> None:
    interest = Interest(words="delta rule and short convolution recall", papers=("arxiv:1.2",))
    literature = night.reads(
        finds(FOUND), hangs_up, arxiv=(feed(OTHER), hangs_up), interest=interest, patience=20.0
    )
    assert fetched(literature) == ["arxiv:2601.00001", "arxiv:2605.22791"]
    assert "Semantic Scholar did not answer within 20 s (a broken connection" in literature.note
    assert "arXiv did not answer within 20 s (a broken connection" in literature.note


def test_a_server_that_hangs_costs_no_more_than_the_patience(night: Night, folder: Path) -> None:
    night.scholar.replies = night.archive.replies = [hangs]
    settings = LiteratureSettings(
        endpoint=night.scholar.endpoint,
        arxiv_endpoint=night.archive.arxiv_endpoint,
        patience=0.5,
    )
    note = read_literature(night.snapshot, folder, settings, False, environ={}).note
    assert note.count("did not answer within 0.5 s (no answer in time)") == 2


def test_no_network_at_all(night: Night) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        settings = LiteratureSettings(endpoint=address, arxiv_endpoint=address)
        night.reads(finds(FOUND))
        literature = read_literature(night.snapshot, night.folder, settings, False, environ={})
    assert fetched(literature) == ["arxiv:2605.22791"], "the same question has an answer"
    again = night.reads(finds(), fresh=3600.0)
    assert night.scholar.seen == []
    assert "Semantic Scholar: 1 paper, fetched since" in again.note


def test_a_fresh_answer_is_not_asked_for_again(night: Night) -> None:
    night.reads(finds(FOUND), arxiv=(feed(OTHER),))
    literature = night.reads(TOO_MANY, arxiv=(TOO_MANY,), fresh=3600.0)
    assert night.scholar.seen == night.archive.seen == []
    assert fetched(literature) == ["arxiv:2601.00001", "arxiv:2605.22791"]
    assert "Semantic Scholar: 1 paper, fetched since" in literature.note
    assert "did not answer" not in literature.note


def test_a_damaged_answer_is_fetched_again(night: Night) -> None:
    night.reads(finds(FOUND))
    (path,) = (night.folder / "answers").glob("semantic_scholar-*.json")
    path.write_text("{", encoding="utf-8")
    lost = night.reads(TOO_MANY, fresh=3600.0)
    assert fetched(lost) == []
    assert lost.note.endswith(f"damaged and passed over: {path.name}")
    mended = night.reads(finds(FOUND), fresh=3600.0)
    assert fetched(mended) == ["arxiv:2605.22791"]
    assert fetched(night.reads(TOO_MANY, fresh=3600.0)) == ["arxiv:2605.22791"]


def test_offline_asks_nobody_and_takes_what_is_at_hand(night: Night) -> None:
    night.reads(finds(FOUND))
    night.scholar.seen.clear()
    night.archive.seen.clear()
    settings = LiteratureSettings(
        endpoint=night.scholar.endpoint, arxiv_endpoint=night.archive.arxiv_endpoint
    )
    literature = read_literature(night.snapshot, night.folder, settings, True)
    assert night.scholar.seen == night.archive.seen == []
    assert literature.note == "offline: shipped snapshot of 1 paper, 1 fetched"


def test_asks_what_the_lab_works_on(night: Night) -> None:
    papers = ("arxiv:2406.06484", "arxiv:2312.06635")
    night.reads(finds(), interest=Interest(words="delta rule recall", papers=papers), patience=60.0)
    asked = [
        (urlsplit(seen.path).path, parse_qs(urlsplit(seen.path).query).get("query"))
        for seen in night.scholar.seen
    ]
    search = "/graph/v1/paper/search"
    likes = "/recommendations/v1/papers/forpaper/ARXIV:"
    assert asked == [
        (search, ["linear attention recurrent sequence model"]),
        (search, ["delta rule recall"]),
        (f"{likes}2406.06484", None),
        (f"{likes}2312.06635", None),
    ]
    assert len(night.archive.seen) == 2


def test_imported_papers_take_part(night: Night, tmp_path: Path) -> None:
    path = tmp_path / "mine.bib"
    path.write_text(
        "@misc{a, title={My delta rule}, year={2026}, eprint={2601.00001}}\n"
        "@misc{b, title={Written by hand}, year={2026}, author={A. Author}}\n",
        encoding="utf-8",
    )
    read = read_file(path)
    now = datetime.datetime.now(datetime.UTC)
    found = [one.found for one in read]
    Cache(night.folder).keep_import("mine.bib", found, [one.fields for one in read], now)
    entry = {**FOUND, "externalIds": {"ArXiv": "2601.00001"}, "title": "Its other title"}
    literature = night.reads(finds(), sends_json([entry]))
    assert night.scholar.seen[1].body == {"ids": ["ARXIV:2601.00001"]}
    mine = {paper.title: paper for paper in literature.papers if paper.source == "import"}
    assert set(mine) == {"My delta rule", "Written by hand"}
    assert "update=delta" in mine["My delta rule"].mechanisms
    assert mine["My delta rule"].venue == "arXiv.org", "what the file lacks, the service adds"
    assert "shipped snapshot of 1 paper, 2 imported" in literature.note


def test_the_shelf_holds_the_newest(night: Night) -> None:
    night.reads(finds(FOUND))
    night.reads(finds(), arxiv=(feed(OTHER),))
    cache = Cache(night.folder)
    kept = [paper.paper_id for paper in at_hand(night.snapshot, cache, 1).literature("").papers]
    assert kept == ["arxiv:2406.06484", "arxiv:2601.00001"]


def test_clients_are_imported_only_when_used() -> None:
    code = (
        "import sys, noctuary.literature.fetch, noctuary.literature.importing;"
        "heavy = ('semanticscholar', 'arxiv', 'bibtexparser', 'httpx', 'lxml', 'torch');"
        "print([m for m in heavy if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"

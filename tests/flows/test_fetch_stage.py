"""The first stage of a cycle, without its flow: what a lost network leaves in the lab's account."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from literature_server import FOUND, NOT_TONIGHT, Reply, Service, atom_entry, feed, finds, serving

from noctuary.archive import Archive
from noctuary.archive.migrations import utc_now
from noctuary.config import load_settings
from noctuary.domain import Cycle
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.night import CycleRun
from tasks.fetch import fetch_literature


@pytest.fixture
def scholar() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.fixture
def arxiv() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.fixture
def own_lab(tmp_path: Path, scholar: Service, arxiv: Service) -> Lab:
    lab = Lab.create_or_open(tmp_path / "lab")
    lab.settings_path.write_text(
        f'[literature]\nendpoint = "{scholar.endpoint}"\n'
        f'arxiv_endpoint = "{arxiv.arxiv_endpoint}"\npatience = "1m"\nfresh = "0.001s"\n',
        encoding="utf-8",
    )
    return lab


def reads(lab: Lab, number: int, offline: bool = False) -> str:
    """Run the stage of a cycle; return what its account says."""
    cycle = Cycle(number=number, seed=0, settings="x")
    archive = Archive(lab.archive_path)
    archive.open_cycle(cycle, utc_now())
    run = CycleRun(
        lab=str(lab.root), cycle=cycle, settings=load_settings(lab.settings_path), offline=offline
    )
    literature = fetch_literature.fn(run)
    [record] = archive.records("cycles", cycle_id=cycle.cycle_id)
    told = [e["note"] for _, e in Journal(lab.journal_path).read() if e["event"].startswith("lit")]
    assert literature.note == record["literature"] == told[-1]
    assert {paper.paper_id for paper in literature.papers} == {
        paper.paper_id for paper in archive.papers()
    }
    return literature.note


def gives(service: Service, *replies: Reply) -> None:
    service.seen.clear()
    service.replies = list(replies)


def test_a_night_that_loses_its_network_goes_on_and_says_so(
    own_lab: Lab, scholar: Service, arxiv: Service
) -> None:
    gives(scholar, finds(FOUND))
    gives(arxiv, feed(atom_entry("2601.00001v1", "A delta rule at night", 2026)))
    assert reads(own_lab, 1).startswith("Semantic Scholar: 1 paper, 1 of them new; arXiv: 1 paper")
    gives(scholar, NOT_TONIGHT)
    gives(arxiv, NOT_TONIGHT)
    note = reads(own_lab, 2)
    assert "Semantic Scholar did not answer within 60 s (HTTP 429, too many requests, to be" in note
    assert "arXiv did not answer within 60 s (HTTP 429, too many requests, to be" in note
    assert note.count("its last answers, since") == 2
    assert note.endswith(", 2 fetched")
    kept = {paper.paper_id: paper for paper in Archive(own_lab.archive_path).papers()}
    assert kept["arxiv:2605.22791"].identifiers[1:] == (f"s2:{FOUND['paperId']}", "corpus:1")
    assert kept["arxiv:2601.00001"].source == "arxiv"


def test_an_offline_cycle_asks_nobody(own_lab: Lab, scholar: Service, arxiv: Service) -> None:
    assert reads(own_lab, 1, offline=True).startswith("offline: shipped snapshot of")
    assert scholar.seen == arxiv.seen == []

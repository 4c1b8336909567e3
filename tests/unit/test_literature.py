"""Offline stays offline: the literature is then the shipped snapshot, and nothing else happens."""

from pathlib import Path

import pytest

from noctuary.config import LiteratureSettings
from noctuary.literature.fetch import read_literature
from noctuary.literature.snapshot import read_snapshot

SNAPSHOT = Path(__file__).parents[2] / "data" / "snapshot" / "papers.json"


def never(*_: object) -> float:
    raise AssertionError("offline must not even look at the clock")


@pytest.mark.parametrize(
    ("endpoint", "offline"), [("http://192.0.2.1/graph/v1", True), ("", False), ("  ", False)]
)
def test_offline_does_not_touch_the_network(endpoint: str, offline: bool, tmp_path: Path) -> None:
    papers, insights = read_snapshot(SNAPSHOT)
    settings = LiteratureSettings(endpoint=endpoint)
    folder = tmp_path / "literature"
    literature = read_literature(SNAPSHOT, folder, settings, offline, clock=never, sleep=never)
    assert (literature.papers, literature.insights) == (papers, insights)
    assert literature.note.startswith("offline")
    assert literature.note.endswith(f"shipped snapshot of {len(papers)} papers")
    assert not folder.exists(), "reading leaves nothing behind"

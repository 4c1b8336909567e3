"""A real night whose literature goes away: the service refuses everything, then nobody is there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from literature_server import (
    FOUND,
    TOO_MANY,
    Handler,
    Service,
    atom_entry,
    feed,
    finds,
    hangs_up,
    serving,
)
from night_process import TINY, make_lab

from noctuary.archive import Archive


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.mark.slow
def test_a_night_without_its_literature_ends_well_and_says_so(
    service: Service, tmp_path: Path, prefect_environment: dict[str, str]
) -> None:
    arxiv = feed(atom_entry("2601.00001v1", "A delta rule at night", 2026))

    def first_cycle_only(handler: Handler) -> None:
        """Answer the questions of one cycle; refuse two requests, then hang up for ever."""
        number = len(service.seen)
        if number <= 2:
            (arxiv if "/api/query" in handler.path else finds(FOUND))(handler)
        else:
            (TOO_MANY if number <= 4 else hangs_up)(handler)

    service.replies = [first_cycle_only]
    lab = make_lab(
        tmp_path / "lab",
        f'{TINY}\n[literature]\nendpoint = "{service.endpoint}"\n'
        f'arxiv_endpoint = "{service.arxiv_endpoint}"\npatience = "20s"\nfresh = "0.001s"\n',
    )
    command = [sys.executable, "-c", "from noctuary.cli import main; main()", "run", "--json"]
    done = subprocess.run(
        [*command, "--cycles", "2", "--lab", str(lab.root)],
        check=False,
        capture_output=True,
        text=True,
        timeout=1500,
        env=prefect_environment,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["cycles"]) == 2
    first, second = (cycle["literature"] for cycle in Archive(lab.archive_path).cycles())
    assert "did not answer" not in first
    for name in ("Semantic Scholar", "arXiv"):
        assert f"{name} did not answer within 20 s (" in second
    assert second.count("its last answers, since") == 2
    accounts = [path.read_text(encoding="utf-8") for path in sorted(lab.reports.glob("*.md"))]
    assert [note in text for note, text in zip((first, second), accounts, strict=True)] == [
        True,
        True,
    ]

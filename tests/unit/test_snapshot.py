"""The shipped snapshot is valid and wide enough, and a broken one is refused in words."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from noctuary.domain import Capability, Insight, Paper
from noctuary.errors import UsageError
from noctuary.literature.snapshot import read_snapshot
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES

ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "data" / "snapshot" / "papers.json"
QUESTIONS = ROOT / "bench" / "questions.json"
MECHANISMS = {f"{axis}={value}" for axis, values in AXES.items() for value in values}
OTHERS = "and others"


@pytest.fixture(scope="module")
def papers() -> tuple[Paper, ...]:
    return read_snapshot(SNAPSHOT)[0]


@pytest.fixture(scope="module")
def insights() -> tuple[Insight, ...]:
    return read_snapshot(SNAPSHOT)[1]


@pytest.fixture(scope="module")
def questions() -> list[dict[str, Any]]:
    return list(json.loads(QUESTIONS.read_text(encoding="utf-8"))["questions"])


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)


def test_snapshot_is_large_enough(papers: tuple[Paper, ...], insights: tuple[Insight, ...]) -> None:
    assert sum(2020 <= paper.year <= 2026 for paper in papers) >= 125
    assert len(insights) >= 260
    assert sum(insight.direction < 1 for insight in insights) >= 60


def test_every_paper_is_there_once(papers: tuple[Paper, ...]) -> None:
    assert max(Counter(paper.paper_id for paper in papers).values()) == 1
    letters = [re.sub(r"\W+", "", paper.title).casefold() for paper in papers]
    assert max(Counter(letters).values()) == 1
    assert [paper.paper_id for paper in papers] == sorted(paper.paper_id for paper in papers)


def test_every_paper_has_its_facts(papers: tuple[Paper, ...]) -> None:
    for paper in papers:
        assert paper.arxiv_id and re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv_id), paper
        # numbers have five digits since 2015, and a month is a month
        assert len(paper.arxiv_id) == (10 if paper.arxiv_id >= "1501" else 9), paper
        assert 1 <= int(paper.arxiv_id[2:4]) <= 12, paper
        assert paper.paper_id == f"arxiv:{paper.arxiv_id}"
        assert paper.source == "snapshot"
        assert paper.title and paper.venue and paper.title == paper.title.strip()
        # First versions can precede the month of the id by a day, hence by a year in January.
        assert 0 <= 2000 + int(paper.arxiv_id[:2]) - paper.year <= 1, paper.paper_id
        published = re.search(r"\d{4}$", paper.venue)
        assert published is None or int(published[0]) >= paper.year, paper.paper_id


def test_authors_are_named_in_full_up_to_twenty(papers: tuple[Paper, ...]) -> None:
    for paper in papers:
        names = paper.authors[:-1] if paper.authors[-1] == OTHERS else paper.authors
        assert 1 <= len(names) <= 20 and OTHERS not in names, paper.paper_id
        assert len(names) == 10 or names == paper.authors, paper.paper_id
        assert len(set(names)) == len(names), paper.paper_id
        for name in names:
            assert name == name.strip() and "," not in name, (paper.paper_id, name)
            assert " " in name or name == "MiniMax", (paper.paper_id, name)


def test_every_account_is_two_or_three_sentences_of_its_own(papers: tuple[Paper, ...]) -> None:
    said: Counter[str] = Counter()
    for paper in papers:
        own = sentences(paper.account)
        assert 2 <= len(own) <= 3 and paper.account.endswith("."), paper.paper_id
        said.update(sentence.casefold() for sentence in own)
    assert max(said.values()) == 1


def test_every_design_is_a_point_of_the_space_with_all_its_axes(papers: tuple[Paper, ...]) -> None:
    designs = [paper.axes for paper in papers if paper.axes is not None]
    assert len(designs) >= 15
    for axes in designs:
        assert Genome.model_validate(axes).axes == axes


def test_every_human_baseline_has_the_paper_that_proposed_it(papers: tuple[Paper, ...]) -> None:
    designs = [Genome.model_validate(paper.axes) for paper in papers if paper.axes is not None]
    # nobody proposed this one: the paper on negative eigenvalues has them without a gate;
    # and the first linear attention divides by its sum, where the baseline has a norm
    missing = {name for name, genome in HUMAN.items() if genome not in designs}
    assert missing <= {"gated_delta_net_neg", "linear_attention"}


def test_mechanisms_exist(papers: tuple[Paper, ...], insights: tuple[Insight, ...]) -> None:
    for value in (*papers, *insights):
        assert set(value.mechanisms) <= MECHANISMS
        assert len(set(value.mechanisms)) == len(value.mechanisms)


def test_insights_are_backed_and_differ(
    papers: tuple[Paper, ...], insights: tuple[Insight, ...]
) -> None:
    assert {insight.evidence for insight in insights} <= {paper.paper_id for paper in papers}
    assert max(Counter(insight.statement.casefold() for insight in insights).values()) == 1
    assert max(Counter(insight.insight_id for insight in insights).values()) == 1
    for insight in insights:
        assert insight.mechanisms and insight.cycle is None
        assert 0 < insight.strength < 1
        assert insight.statement.endswith(".") and len(sentences(insight.statement)) == 1
        assert insight.conditions and not insight.conditions.endswith("."), insight.statement


def test_insights_cover_the_axes_and_the_capabilities(insights: tuple[Insight, ...]) -> None:
    per_axis = Counter(axis for i in insights for axis in {m.split("=")[0] for m in i.mechanisms})
    assert min(per_axis[axis] for axis in AXES) >= 3, per_axis
    assert {insight.capability for insight in insights} == set(get_args(Capability))
    for capability in get_args(Capability):
        assert {1, 0, -1} & {i.direction for i in insights if i.capability == capability} >= {1, -1}


def test_no_statement_repeats_an_account(
    papers: tuple[Paper, ...], insights: tuple[Insight, ...]
) -> None:
    told = {sentence.casefold() for paper in papers for sentence in sentences(paper.account)}
    assert not [i.statement for i in insights if i.statement.casefold() in told]


def test_questions_have_answers_that_ship(
    questions: list[dict[str, Any]], insights: tuple[Insight, ...]
) -> None:
    shipped = {insight.statement: insight for insight in insights}
    assert len(questions) >= 66
    assert max(Counter(one["question"] for one in questions).values()) == 1
    for one in questions:
        assert 1 <= len(one["answers"]) <= 6 and one["question"].endswith("?")
        for answer in one["answers"]:
            assert set(one.get("mechanisms", ())) <= set(shipped[answer].mechanisms)


def test_half_of_the_questions_are_held_out(questions: list[dict[str, Any]]) -> None:
    splits = Counter(one["split"] for one in questions)
    assert set(splits) == {"dev", "test"}
    assert abs(splits["dev"] - splits["test"]) <= 1


def test_questions_are_not_copied_from_their_answers(questions: list[dict[str, Any]]) -> None:
    for one in questions:
        asked = set(runs_of_four(one["question"]))
        for answer in one["answers"]:
            assert not asked & set(runs_of_four(answer)), (one["question"], answer)


def runs_of_four(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return zip(words, words[1:], words[2:], words[3:], strict=False)


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
    "conditions": "somewhere",
}


def written(folder: Path, entries: list[Any]) -> Path:
    path = folder / "papers.json"
    path.write_text(json.dumps({"papers": entries}), encoding="utf-8")
    return path


def test_a_design_is_completed_with_the_plainest_choices(tmp_path: Path) -> None:
    telling = {"feature_map": "elu", "output_norm": "sum"}
    (paper,), (insight,) = read_snapshot(
        written(tmp_path, [{**ENTRY, "axes": telling, "insights": [NOTE]}])
    )
    assert paper.axes == Genome(feature_map="elu", output_norm="sum").axes
    assert (insight.evidence, insight.conditions) == (paper.paper_id, "somewhere")


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([ENTRY, ENTRY], "arxiv:2006.16236 is there 2 times"),
        ([{**ENTRY, "year": "soon"}], "year"),
        ([{**ENTRY, "colour": "red"}], "colour"),
        ([{**ENTRY, "mechanisms": ["decay=square"]}], "unknown mechanism 'decay=square'"),
        ([{**ENTRY, "axes": {"update": "delta", "qk_norm": "l2"}}], "needs beta_range"),
        ([{**ENTRY, "axes": {"colour": "red"}}], "colour"),
        ([{**ENTRY, "insights": [{**NOTE, "strength": 2}]}], "strength"),
        ([{**ENTRY, "insights": [{**NOTE, "conditions": None}]}], "conditions"),
        ([{**ENTRY, "insights": [NOTE, NOTE]}], "is there 2 times"),
        ([{**ENTRY, "insights": [{**NOTE, "mechanisms": ["a=b"]}]}], "unknown mechanism 'a=b'"),
        ([{**ENTRY, "insights": "none"}], "not a list of objects"),
        (["a paper"], "is a str"),
        ([{**ENTRY, "year": None}, {**ENTRY, "title": 7}], "title"),
        ([], 'no list "papers"'),
    ],
)
def test_broken_snapshot_is_refused(tmp_path: Path, entries: list[Any], complaint: str) -> None:
    path = written(tmp_path, entries)
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

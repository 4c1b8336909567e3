"""What a cycle asks the services: few questions, about what the lab works on."""

from itertools import pairwise
from typing import get_args

from builders import make_design, make_gap, make_insight

from noctuary.config import LiteratureSettings
from noctuary.domain import Capability
from noctuary.literature.cache import Question
from noctuary.literature.questions import (
    Interest,
    gap_words,
    interest_of,
    questions_around,
    questions_of,
)
from noctuary.space.features import MECHANISMS

INSIGHTS = [
    make_insight(statement=f"it helps {number}", evidence=evidence)
    for number, evidence in enumerate(("arxiv:1", "finding:f", "arxiv:2", "title:3", "arxiv:4"))
]
IDS = [insight.insight_id for insight in INSIGHTS]
OLD = make_gap(1, evidence_for=(IDS[0], IDS[1], "unknown"))
NEW = make_gap(2, evidence_for=(IDS[3], IDS[2], IDS[4]), mechanisms=("update=delta",))


def test_a_lab_without_cycles_has_no_interest_yet() -> None:
    assert interest_of([], [], INSIGHTS) == Interest()


def test_words_are_those_of_the_last_gap() -> None:
    for capability in get_args(Capability):
        gap = make_gap(3, mechanisms=("update=delta",), capability=capability)
        words = interest_of([OLD, gap], [], INSIGHTS).words
        assert words == f"delta rule {capability.split('_')[0]}"


def test_words_are_few_and_telling_for_every_pair_of_mechanisms() -> None:
    for first, second in pairwise(MECHANISMS):
        words = gap_words(make_gap(mechanisms=(first, second))).split()
        assert 3 <= len(words) <= 5, words
        assert not {"the", "that", "per", "learned"} & set(words)


def test_papers_are_those_that_the_best_designs_go_back_to() -> None:
    worse = make_design("one", {}, gap_id=OLD.gap_id)
    better = make_design("two", {}, gap_id=NEW.gap_id)
    lost = make_design("three", {}, gap_id="of another lab")
    assert interest_of([OLD, NEW], [better, worse], INSIGHTS).papers == ("arxiv:2", "arxiv:4")
    assert interest_of([OLD, NEW], [lost, worse, better], INSIGHTS).papers == ("arxiv:1", "arxiv:2")


def kinds(questions: tuple[Question, ...]) -> list[tuple[str, str]]:
    return [(question.source, question.kind) for question in questions]


def test_questions_are_few() -> None:
    settings = LiteratureSettings()
    full = questions_of(settings, Interest(words="x", papers=("arxiv:1", "arxiv:2")), [])
    assert len(full) == len(set(full)) == 6
    assert all(question.limit == settings.limit for question in full)


def test_a_source_without_address_is_not_asked() -> None:
    settings = LiteratureSettings(arxiv_endpoint=" ", query="")
    assert questions_of(settings, Interest(), []) == ()
    assert kinds(questions_of(settings, Interest(words="x"), [])) == [
        ("semantic_scholar", "search")
    ]


def test_around_a_paper_all_four_directions_are_asked() -> None:
    asked = questions_around("arxiv:1", LiteratureSettings(limit=7))
    assert [question.kind for question in asked] == [
        "batch",
        "citations",
        "references",
        "recommendations",
    ]
    assert {(question.papers, question.limit) for question in asked} == {(("arxiv:1",), 7)}

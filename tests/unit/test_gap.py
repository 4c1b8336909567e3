"""Gaps: what the papers and our own trials say decides what is asked next.

Covers the evidence table, the choice and its account. The papers here are small fakes: titles
and ids are invented, so that a test says in its own lines what is known.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.domain import Gap, Insight, Paper
from noctuary.errors import CheckFailed
from noctuary.gap import (
    EFFECT_SCALE,
    FEW_PAPERS,
    FEW_TRIALS,
    Tried,
    combinable_pairs,
    evidence_table,
    gap_markdown,
    synthesise_gap,
)
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import every_genome, insert

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

MECHANISMS = [f"{axis}={value}" for axis, values in AXES.items() for value in values]


def paper(number: int, axes: dict[str, str] | None = None, *mechanisms: str) -> Paper:
    return Paper(
        paper_id=f"arxiv:2601.{number:05d}",
        title=f"Paper | {number}",
        authors=("A. Author",),
        year=2026,
        venue="Journal",
        arxiv_id=f"2601.{number:05d}",
        account="",
        mechanisms=mechanisms,
        axes=axes,
        source="snapshot",
    )


def claim(mechanism: str, direction: int, strength: float, number: int = 1, **more: Any) -> Insight:
    values = {
        "statement": f"{mechanism} matters, says {number}",
        "mechanisms": (mechanism,),
        "capability": "recall",
        "direction": direction,
        "strength": strength,
        "evidence": f"arxiv:2601.{number:05d}",
    }
    return Insight(**{**values, **more})  # type: ignore[arg-type]


def found(mechanism: str, direction: int, strength: float, cycle: int = 1, **more: Any) -> Insight:
    evidence = f"finding:f{cycle}-{mechanism}-{direction}"
    return claim(mechanism, direction, strength, evidence=evidence, cycle=cycle, **more)


def pose(**inputs: Any) -> Gap:
    values = {
        "papers": (),
        "insights": (),
        "tried": (),
        "earlier": (),
        "cycle": 2,
        "rng": Random(0),
        "capabilities": ("recall",),
    }
    return synthesise_gap(**{**values, **inputs})


def with_both(*mechanisms: str) -> Genome:
    return insert(every_genome()[0], *mechanisms)[0]


LITERATURE = (
    claim("decay=vector", 1, 0.9, 1),
    claim("decay=vector", 1, 0.8, 2),
    claim("short_conv=conv4", 1, 0.9, 3),
    claim("short_conv=conv4", 1, 0.9, 4),
    claim("feature_map=relu", 1, 0.6, 5),
    claim("output_gate=silu", -1, 0.7, 6),
)


def test_the_gap_is_the_pair_that_the_literature_expects_most_of() -> None:
    gap = pose(insights=LITERATURE)
    assert set(gap.mechanisms) == {"decay=vector", "short_conv=conv4"}
    assert gap.capability == "recall"
    assert gap.expected_effect > 0
    assert set(gap.evidence_for) == {i.insight_id for i in LITERATURE[:4]}
    assert gap.evidence_against == gap.findings == ()


def test_own_findings_change_the_gap() -> None:
    before = pose(insights=LITERATURE)
    ours = (found("decay=vector", -1, 0.7), found("update=delta", 1, 0.9))
    after = pose(insights=(*LITERATURE, *ours))
    assert set(before.mechanisms) == {"decay=vector", "short_conv=conv4"}
    assert set(after.mechanisms) == {"update=delta", "short_conv=conv4"}
    assert set(after.findings) == {"f1-decay=vector--1", "f1-update=delta-1"}
    assert ours[1].insight_id in after.evidence_for
    assert "our own findings moved the question" in after.question
    assert "moved the question" not in before.question


def test_a_finding_that_moves_nothing_claims_nothing() -> None:
    gap = pose(insights=(*LITERATURE, found("feature_map=softmax", -1, 0.6)))
    assert gap.findings == ()
    assert "moved the question" not in gap.question


@given(st.sampled_from(MECHANISMS), st.floats(0.1, 1), st.integers(0, 30), st.integers(0, 99))
def test_what_was_found_harmful_is_not_posed_as_helpful(
    mechanism: str, strength: float, praise: int, seed: int
) -> None:
    papers = tuple(claim(mechanism, 1, 1.0, n) for n in range(1, praise + 1))
    gap = pose(insights=(*papers, found(mechanism, -1, strength)), rng=Random(seed))
    assert mechanism not in gap.mechanisms


def test_a_pair_that_was_found_harmful_leaves_its_mechanisms_to_others() -> None:
    pair = ("decay=vector", "short_conv=conv4")
    ours = found("decay=vector", -1, 0.6, mechanisms=pair)
    gap = pose(insights=(*LITERATURE, ours))
    assert set(gap.mechanisms) != set(pair)
    assert set(gap.mechanisms) & set(pair)


def test_a_later_measurement_replaces_an_earlier_one() -> None:
    harmful, helpful = found("decay=vector", -1, 0.9, 1), found("decay=vector", 1, 0.9, 2)
    gap = pose(insights=(*LITERATURE, harmful, helpful), cycle=3)
    assert "decay=vector" in gap.mechanisms
    assert harmful.insight_id not in gap.evidence_against
    assert gap.findings == ("f2-decay=vector-1",)


def test_when_everything_was_found_harmful_there_is_no_gap() -> None:
    with pytest.raises(CheckFailed, match="no gap is left"):
        pose(insights=[found(mechanism, -1, 0.8) for mechanism in MECHANISMS])


def test_a_resumed_cycle_does_not_hear_itself() -> None:
    own = found("decay=vector", -1, 1.0, cycle=2)
    tried = Tried(name="d", kind="design", axes=with_both("decay=vector").axes, cycle=2, trials=99)
    first = pose(insights=LITERATURE)
    again = pose(insights=(*LITERATURE, own), tried=[tried], earlier=[first])
    assert again == first


def test_what_papers_or_trials_cover_well_is_no_gap() -> None:
    axes = with_both("decay=vector", "short_conv=conv4").axes
    papers = [paper(n, axes) for n in range(FEW_PAPERS + 1)]
    tried = Tried(name="d", kind="design", axes=axes, cycle=1, trials=FEW_TRIALS + 1)
    pair = {"decay=vector", "short_conv=conv4"}
    assert set(pose(insights=LITERATURE).mechanisms) == pair
    assert set(pose(insights=LITERATURE, papers=papers).mechanisms) != pair
    assert set(pose(insights=LITERATURE, tried=[tried]).mechanisms) != pair


def test_a_little_coverage_is_counted_and_lowers_the_bonus() -> None:
    axes = with_both("decay=vector", "short_conv=conv4").axes
    tried = Tried(name="d", kind="design", axes=axes, cycle=1, trials=4)
    outside = Tried(name="softmax", kind="human", axes=None, cycle=1, trials=9)
    listed = paper(2, None, "decay=vector", "short_conv=conv4")
    gap = pose(insights=LITERATURE, papers=[paper(1, axes), listed], tried=[tried, outside])
    assert set(gap.mechanisms) == {"decay=vector", "short_conv=conv4"}
    assert (gap.papers_covering, gap.trials_covering) == (2, 4)
    # of two pairs that nothing is known about, the one less covered is asked
    space = [paper(n, g.axes) for n, g in enumerate(every_genome()) if g.decay != "vector"]
    assert "decay=vector" in pose(papers=space).mechanisms


def test_no_question_is_posed_twice_while_there_are_others() -> None:
    asked: list[Gap] = []
    total = len(combinable_pairs())
    for cycle in range(1, total + 1):
        asked.append(pose(insights=LITERATURE, earlier=asked, cycle=cycle, rng=Random(cycle)))
    assert len({g.mechanisms for g in asked}) == total
    again = pose(insights=LITERATURE, earlier=asked, cycle=total + 1)
    assert again.mechanisms == asked[0].mechanisms


def test_pairs_can_be_combined_and_neither_entails_the_other() -> None:
    pairs = set(combinable_pairs())
    for a, b in pairs:
        assert a.split("=")[0] != b.split("=")[0]
        having = [(a in g.mechanisms, b in g.mechanisms) for g in every_genome()]
        assert {(True, True), (True, False), (False, True)} <= set(having)
    assert ("update=delta", "qk_norm=l2") not in pairs
    assert ("update=additive", "beta_range=double") not in pairs
    assert ("decay=vector", "update=delta") in pairs


def test_the_table_is_a_signed_strength_weighted_mean_shrunk_by_the_count() -> None:
    insights = (*LITERATURE, found("decay=vector", -1, 0.5))
    table = evidence_table(
        [paper(1, with_both("decay=vector").axes)], insights, [], ("recall", "language_modelling")
    )
    cell = table["decay=vector", "recall"]
    assert cell.literature == pytest.approx(1.7 / (1.7 + 2))
    assert cell.own == pytest.approx(-2.0 / (2.0 + 2))
    assert cell.expected == pytest.approx((1.7 - 2.0) / (1.7 + 2.0 + 2))
    assert cell.harmful
    assert (cell.papers, cell.trials) == (1, 0)
    assert table["decay=vector", "language_modelling"].expected == 0
    assert table["output_gate=silu", "recall"].literature == pytest.approx(-0.7 / 2.7)


def test_more_papers_that_agree_say_more_and_one_without_effect_says_less() -> None:
    def expected(*insights: Insight) -> float:
        table = evidence_table([], insights, [], ("recall",))
        return table["decay=vector", "recall"].expected

    one, two = claim("decay=vector", 1, 0.8, 1), claim("decay=vector", 1, 0.8, 2)
    none = claim("decay=vector", 0, 0.8, 3)
    assert 0 < expected(one) < expected(one, two) < 1
    assert 0 < expected(one, none) < expected(one)


def test_an_insight_about_many_mechanisms_says_little_about_each() -> None:
    many = claim("decay=vector", 1, 0.8, mechanisms=("decay=vector", "short_conv=conv4"))
    table = evidence_table([], [many], [], ("recall",))
    assert table["decay=vector", "recall"].expected == pytest.approx(0.4 / 2.4)


def test_the_numbers_are_in_the_words() -> None:
    gap = pose(insights=LITERATURE)
    expected = EFFECT_SCALE * (1.7 / 3.7 + 1.8 / 3.8)
    assert gap.expected_effect == round(expected, 4)
    assert f"{expected:+.3f}" in gap.question
    assert f"{expected / 2:+.3f}" in gap.refuted_if
    assert "95 % interval" in gap.refuted_if


insights_of_all_kinds = st.lists(
    st.builds(
        claim,
        st.sampled_from(MECHANISMS),
        st.sampled_from((-1, 0, 1)),
        st.sampled_from((0.0, 0.1, 0.5, 1.0)),
        st.integers(1, 9),
        capability=st.sampled_from(("recall", "language_modelling", "speed")),
    ),
    max_size=12,
)


@given(insights_of_all_kinds, st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_the_order_of_the_inputs_does_not_matter(
    insights: list[Insight], shuffler: Any, seed: int
) -> None:
    papers = [paper(n, g.axes) for n, g in enumerate(every_genome()[::100])]
    first = pose(insights=insights, papers=papers, rng=Random(seed))
    shuffler.shuffle(insights)
    papers.reverse()
    assert pose(insights=insights, papers=papers, rng=Random(seed)) == first


@given(insights_of_all_kinds, st.integers(0, 2**32))
def test_every_gap_can_be_built_and_measured(insights: list[Insight], seed: int) -> None:
    gap = pose(insights=insights, rng=Random(seed), capabilities=("recall", "language_modelling"))
    assert gap.mechanisms in combinable_pairs()
    assert gap.capability in ("recall", "language_modelling")
    ids = {i.insight_id for i in insights if i.capability == gap.capability}
    assert {*gap.evidence_for, *gap.evidence_against} <= ids


def test_the_seed_decides_between_equals() -> None:
    asked = {pose(rng=Random(seed)).mechanisms for seed in range(20)}
    assert len(asked) > 10


def test_the_markdown_shows_the_evidence_and_its_sources() -> None:
    ours = found("short_conv=conv4", 0, 0.4)
    insights = (*LITERATURE, ours, claim("decay=vector", -1, 0.2, 7))
    gap = pose(insights=insights)
    by_id = {i.insight_id: i for i in insights}
    text = gap_markdown(gap, by_id, {f"arxiv:2601.{n:05d}": paper(n) for n in (1, 2, 3, 7)})
    assert gap.question in text
    assert gap.refuted_if in text
    assert "## Evidence for" in text
    assert r"Paper \| 1, 2026 (arXiv [2601.00001](https://arxiv.org/abs/2601.00001))" in text
    assert "(arxiv:2601.00004)" in text  # a paper that is not at hand goes by its id
    assert "our finding f1-short_conv=conv4-0, cycle 1" in text
    assert "no clear effect, 0.40" in text
    assert "hurts, 0.20" in text
    assert "no papers and no finished trials combine the mechanisms" in text
    named = (*gap.evidence_for, *gap.evidence_against)
    assert sum(line.startswith("- `") for line in text.splitlines()) == len(named)


def test_words_of_others_make_no_link_and_no_picture() -> None:
    gap = pose(insights=LITERATURE)
    hostile = paper(1).model_copy(update={"title": "Fine\n# ![x](http://a.example) <img src=b>"})
    text = gap_markdown(gap, {i.insight_id: i for i in LITERATURE}, {hostile.paper_id: hostile})
    assert r"Fine # !\[x\](http://a.example) \<img src=b>, 2026" in text


def test_the_markdown_of_a_gap_without_evidence() -> None:
    text = gap_markdown(pose(), {}, {})
    assert text.count("None.") == 2
    assert "none yet" in text


def test_insights_that_are_not_at_hand_are_named() -> None:
    gap = pose(insights=LITERATURE)
    assert f"insight {gap.evidence_for[0]} is not at hand" in gap_markdown(gap, {}, {})

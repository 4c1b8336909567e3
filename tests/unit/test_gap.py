"""Gaps: what the papers and our own trials say decides what is asked next, and what was answered.

Covers the evidence table, the ranking and its account, and outcomes. The papers here are small
fakes: titles and ids are invented, so that a test says in its own lines what is known.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from builders import (
    SUITE,
    TASKS,
    make_axes,
    make_design,
    record_scores,
    small_study,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.archive import Archive
from noctuary.archive.observations import Measured
from noctuary.domain import Axes, Capability, Gap, GapOutcome, Insight, Paper, Verdict
from noctuary.effects import EFFECT_SCALE, Observations
from noctuary.errors import CheckFailed
from noctuary.gap import (
    Known,
    RankedGap,
    evidence_table,
    gap_markdown,
    ranked_gaps,
    synthesise_gap,
)
from noctuary.gap.outcome import enough
from noctuary.gap.questions import FEW_PAPERS, NEW_DESIGNS
from noctuary.space.features import COLUMN, MECHANISMS, encoded
from noctuary.space.genome import Genome, plainest
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import contains, draw, insert

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("steady")

CAPABILITIES: dict[str, Capability] = {"mqar": "recall"}


def paper(number: int, axes: Axes | None = None, *mechanisms: str) -> Paper:
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


def known(
    insights: Sequence[Insight] = (),
    papers: Sequence[Paper] = (),
    measured: Measured | None = None,
    capabilities: dict[str, Capability] = CAPABILITIES,
) -> Known:
    return Known(papers, insights, {"mqar": measured} if measured else {}, capabilities)


def pose(of: Known, cycle: int = 2, seed: int = 0, **more: Any) -> Gap:
    return synthesise_gap(of, cycle=cycle, rng=Random(seed), **more)


@cache
def drawn(n: int) -> tuple[Genome, ...]:
    return tuple(draw(Random(number))[0] for number in range(n))


def trained(
    effects: dict[str, float], genomes: Sequence[Genome] | None = None, cycle: int = 1
) -> Measured:
    """Return the scores of designs and human mixers to which each mechanism adds its effect."""
    points = encoded([*HUMAN.values(), *(drawn(150) if genomes is None else genomes)])
    added = np.array([effects.get(mechanism, 0.0) for mechanism in MECHANISMS])
    scores = 0.4 + points @ added + np.random.default_rng(0).normal(0, 0.01, len(points))
    ids = np.array([f"c{number:05d}" for number in range(len(points))], dtype=object)
    cycles = np.where(np.arange(len(points)) < len(HUMAN), 0, cycle)
    return Measured(ids, cycles, Observations(points, scores, np.ones(len(points))))


LITERATURE = (
    claim("layer_pattern=alternate", 1, 0.9, 1),
    claim("layer_pattern=alternate", 1, 0.8, 2),
    claim("position=rotary", 1, 0.9, 3),
    claim("position=rotary", 1, 0.9, 4),
    claim("heads=half", 1, 0.6, 5),
    claim("output_gate=silu", -1, 0.7, 6),
)
PAIR = {"layer_pattern=alternate", "position=rotary"}


# what is asked


def test_the_gap_is_the_pair_that_the_literature_expects_most_of() -> None:
    gap = pose(known(LITERATURE))
    assert set(gap.mechanisms) == PAIR
    assert gap.capability == "recall"
    assert gap.expected_effect > 0
    assert set(gap.evidence_for) == {i.insight_id for i in LITERATURE[:4]}
    assert gap.evidence_against == gap.findings == ()


def test_own_trials_change_the_gap_and_it_says_so() -> None:
    of = known(LITERATURE, measured=trained({"position=rotary": -0.1, "heads=twice": 0.1}))
    gap = pose(of)
    assert "position=rotary" not in gap.mechanisms
    assert "our own trials moved the question" in gap.question
    assert "moved the question" not in pose(known(LITERATURE)).question


def test_what_our_trials_settle_is_not_worth_another_experiment() -> None:
    settled = trained({"beta_init=high": -0.2, "feature_map=relu": -0.2})
    listed = ranked_gaps(known(measured=settled), cycle=2, rng=Random(0), count=40)
    asked = {mechanism for one in listed for mechanism in one.gap.mechanisms}
    assert asked.isdisjoint({"beta_init=high", "feature_map=relu"})


def test_what_nobody_has_tried_is_worth_more_than_what_was_tried_and_is_no_better() -> None:
    effects = dict(zip(MECHANISMS, np.random.default_rng(0).normal(0, 0.03, 76), strict=True))
    effects |= {"position=none": 0.0, "position=rotary": 0.0}
    untried = [genome for genome in drawn(300) if genome.position == "none"]

    def rotary(genomes: Sequence[Genome]) -> RankedGap:
        of = known(measured=trained(effects, genomes))
        listed = ranked_gaps(of, cycle=2, rng=Random(0), count=3000)
        [its] = [one for one in listed if one.gap.mechanisms == ("position=rotary",)]
        return its

    assert rotary(untried).gain_sd > 2 * rotary(drawn(300)).gain_sd
    assert rotary(untried).value > 2 * rotary(drawn(300)).value


def test_the_best_design_known_already_is_no_question() -> None:
    best = insert(HUMAN["gated_delta_net"], "heads=half", "position=rotary")[0]
    of = known(measured=trained({"heads=half": 0.3, "position=rotary": 0.3}, [best] * 9))
    listed = ranked_gaps(of, cycle=2, rng=Random(0), count=20)
    assert all(not contains(best, one.gap.mechanisms) for one in listed)


def test_values_fall_and_the_first_is_the_gap() -> None:
    of = known(LITERATURE, measured=trained({"gate_rank=low": 0.05}))
    listed = ranked_gaps(of, cycle=2, rng=Random(0), count=30)
    values = [one.value for one in listed]
    assert len(listed) == 30
    assert values == sorted(values, reverse=True)
    assert min(values) > 0
    assert listed[0].gap.mechanisms == pose(of).mechanisms
    assert len({(one.gap.mechanisms, one.gap.capability) for one in listed}) == 30


def test_a_question_is_about_what_the_suite_measures() -> None:
    recall = claim("heads=half", 1, 1.0)
    speed = claim("heads=twice", 1, 1.0, capability="speed")
    of = known((recall, speed), capabilities={"text": "language_modelling", "mqar": "recall"})
    assert {one.gap.capability for one in ranked_gaps(of, cycle=1, rng=Random(0), count=50)} <= {
        "language_modelling",
        "recall",
    }
    assert pose(of).capability == "recall"


def test_what_papers_cover_well_is_no_gap_while_there_are_others() -> None:
    few = [paper(n, None, *PAIR) for n in range(FEW_PAPERS)]
    gap = pose(known(LITERATURE, few))
    assert set(gap.mechanisms) == PAIR
    assert gap.papers_covering == FEW_PAPERS
    assert set(pose(known(LITERATURE, [*few, paper(9, None, *PAIR)])).mechanisms) != PAIR
    everything = [paper(n, None, *MECHANISMS) for n in range(FEW_PAPERS + 1)]
    assert set(pose(known(LITERATURE, everything)).mechanisms) == PAIR


def test_trials_are_counted() -> None:
    having = insert(HUMAN["retnet"], *PAIR)[0]
    measured = trained({}, [having] * 3)
    of = known(LITERATURE, measured=measured)
    listed = ranked_gaps(of, cycle=2, rng=Random(0), count=2000)
    [gap] = [one.gap for one in listed if set(one.gap.mechanisms) == PAIR]
    assert gap.trials_covering == 3
    assert "3 trials of ours combine the mechanisms" in gap.question


def test_forbidden_mechanisms_are_never_asked_about() -> None:
    forbidden = ("position=rotary", "update=delta", "update=general_delta", "qk_norm=l2")
    for one in ranked_gaps(
        known(LITERATURE), cycle=1, rng=Random(0), forbidden=forbidden, count=3000
    ):
        assert set(one.gap.mechanisms).isdisjoint(forbidden)
        assert "beta_range=unit" not in one.gap.mechanisms  # it needs one of them


def test_where_everything_is_forbidden_there_is_no_gap() -> None:
    plain = {f"{axis}={plainest(axis)}" for axis in AXES} | {"output_norm=rms"}
    with pytest.raises(CheckFailed, match="no gap is left"):
        pose(known(LITERATURE), forbidden=[m for m in MECHANISMS if m not in plain])


def test_pairs_can_be_combined_and_neither_brings_the_other() -> None:
    listed = ranked_gaps(known(), cycle=1, rng=Random(0), count=3000)
    asked = {frozenset(one.gap.mechanisms) for one in listed}
    assert len(asked) > 1000
    for mechanisms in asked:
        child = insert(Genome(output_norm="rms"), *mechanisms)[0]
        assert contains(child, mechanisms)
        assert len({m.split("=")[0] for m in mechanisms}) == len(mechanisms)
    assert frozenset({"decay=none", "decay_init=fast"}) not in asked
    assert frozenset({"update=additive", "delta_steps=two"}) not in asked
    assert any(len(mechanisms) == 1 for mechanisms in asked)


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
    papers = [paper(n, genome.axes) for n, genome in enumerate(drawn(12))]
    first = pose(known(insights, papers), seed=seed)
    shuffler.shuffle(insights)
    papers.reverse()
    assert pose(known(insights, papers), seed=seed) == first
    ids = {i.insight_id for i in insights if i.capability == first.capability}
    assert {*first.evidence_for, *first.evidence_against} <= ids


def test_the_seed_decides_between_equals() -> None:
    assert len({pose(known(), seed=seed).mechanisms for seed in range(12)}) > 6


def test_the_last_digits_of_the_scores_decide_nothing() -> None:
    rng = np.random.default_rng(0)
    measured = trained({"beta_range=double": 0.2, "update=delta": 0.1}, drawn(5)[1:])

    def nudged() -> Measured:
        scores = measured.seen.scores * (1 + rng.normal(0, 1e-14, len(measured.seen.scores)))
        return measured._replace(seen=measured.seen._replace(scores=scores))

    asked = [pose(known(measured=nudged()), seed=1).mechanisms for _ in range(9)]
    assert len(set(asked)) == 1


# what is not asked again


def answered(gap: Gap, verdict: Verdict) -> GapOutcome:
    return GapOutcome(
        gap_id=gap.gap_id,
        cycle=gap.cycle,
        verdict=verdict,
        effect=0.1,
        low=0.0,
        high=0.2,
        n=3,
        statement="so it was",
    )


def test_no_question_is_posed_twice() -> None:
    asked: list[Gap] = []
    for cycle in range(1, 9):
        asked.append(pose(known(LITERATURE), cycle=cycle, earlier=asked))
    assert len({frozenset(g.mechanisms) for g in asked}) == 8


@pytest.mark.parametrize("verdict", ["supported", "refuted", "open", None])
def test_only_an_open_question_comes_back_and_only_with_new_designs(
    verdict: Verdict | None,
) -> None:
    first = pose(known(LITERATURE), cycle=1)
    outcomes = [answered(first, verdict)] if verdict else []
    having = insert(HUMAN["retnet"], *first.mechanisms)[0]

    def asked_again(cycle: int, designs: int) -> bool:
        measured = trained({}, [having] * designs, cycle=cycle)
        listed = ranked_gaps(
            known(LITERATURE, measured=measured),
            earlier=[first],
            outcomes=outcomes,
            cycle=4,
            rng=Random(0),
            count=3000,
        )
        return any(set(one.gap.mechanisms) == set(first.mechanisms) for one in listed)

    assert not asked_again(cycle=1, designs=9)  # its own cycle's designs are no news
    assert not asked_again(cycle=2, designs=NEW_DESIGNS - 1)
    assert asked_again(cycle=2, designs=NEW_DESIGNS) == (verdict in ("open", None))


def test_an_answer_holds_whoever_asked_afterwards() -> None:
    first = pose(known(LITERATURE), cycle=1)
    again = first.model_copy(update={"cycle": 3})
    having = insert(HUMAN["retnet"], *first.mechanisms)[0]
    of = known(LITERATURE, measured=trained({}, [having] * 5, cycle=5))
    gap = pose(of, cycle=9, earlier=[first, again], outcomes=[answered(first, "refuted")])
    assert set(gap.mechanisms) != set(first.mechanisms)


def test_a_resumed_cycle_does_not_hear_itself() -> None:
    own = found("position=rotary", -1, 1.0, cycle=2)
    first = pose(known(LITERATURE))
    again = pose(known((*LITERATURE, own)), earlier=[first], outcomes=[answered(first, "refuted")])
    assert again == first


# the evidence table


def test_the_table_joins_what_papers_expect_and_what_was_measured() -> None:
    measured = trained({"position=rotary": 0.2})
    of = known(LITERATURE, [paper(1, None, "position=rotary")], measured)
    table = {cell.mechanisms: cell for cell in evidence_table(of, [tuple(sorted(PAIR))])}
    assert len(table) == len(MECHANISMS) + 1
    cell = table[("position=rotary",)]
    # an effect is relative to the mean of its axis: of two values, half the difference
    assert cell.literature == pytest.approx(EFFECT_SCALE * 1.8 / 3.8 / 2)
    assert cell.measured == pytest.approx(0.1, abs=0.02)
    assert cell.expected == pytest.approx(0.1, abs=0.02)
    assert (cell.insights, cell.papers) == (2, 1)
    assert cell.designs == measured.seen.points[:, COLUMN["position=rotary"]].sum()
    pair = table[tuple(sorted(PAIR))]
    alone = table[("layer_pattern=alternate",)]
    assert pair.literature == pytest.approx(cell.literature + alone.literature)
    assert pair.expected == pytest.approx(cell.expected + alone.expected, abs=0.03)
    assert pair.sd > cell.sd
    assert pair.insights == 4


def test_a_table_without_trials_is_the_papers_alone() -> None:
    cells = evidence_table(known(LITERATURE))
    assert all(cell.measured is None and cell.designs == 0 for cell in cells)
    assert all(cell.expected == pytest.approx(cell.literature) for cell in cells)
    best = max(cells, key=lambda cell: cell.expected)
    assert best.mechanisms in (("position=rotary",), ("layer_pattern=alternate",))


def test_a_capability_of_two_tasks_counts_designs_that_have_both() -> None:
    one = trained({})
    rows = np.arange(0, len(one.cycles), 2)
    other = Measured(
        one.candidate_ids[rows],
        one.cycles[rows],
        Observations(one.seen.points[rows], one.seen.scores[rows] + 0.2, np.ones(len(rows))),
    )
    of = Known((), (), {"mqar": one, "recall": other}, {"mqar": "recall", "recall": "recall"})
    scored = of.scored("recall")
    assert list(scored.candidate_ids) == list(one.candidate_ids[rows])
    assert scored.seen.scores == pytest.approx(one.seen.scores[rows] + 0.1)


def test_of_our_own_insights_about_the_same_only_the_latest_counts() -> None:
    older, newer = found("decay=vector", -1, 0.9, 1), found("decay=vector", 1, 0.9, 2)
    other = found("decay=vector", 1, 0.9, 1, mechanisms=("decay=vector", "qk_norm=l2"))
    future = found("decay=vector", 1, 0.9, 3)
    heard = known((*LITERATURE, older, newer, other, future)).before(3).insights
    assert {i.insight_id for i in heard} == {i.insight_id for i in (*LITERATURE, newer, other)}


# observations


def test_observations_are_the_means_over_seeds_of_what_each_candidate_scored(
    tmp_path: Path,
) -> None:
    archive = Archive(tmp_path / "a.duckdb")
    scores = small_study(archive, holes=0.1)
    axes = archive.axes()
    cycles = {design.design_id: design.cycle for design in archive.designs()}
    observed = archive.observations(SUITE, 0, max_cycle=2)
    assert set(observed) == set(TASKS)
    for task, measured in observed.items():
        expected: dict[str, list[float]] = {}
        for (candidate, its_task, _), score in scores.items():
            known_by_then = candidate in axes and cycles.get(candidate, 0) <= 2
            if its_task == task and score is not None and known_by_then:
                expected.setdefault(candidate, []).append(score)
        assert list(measured.candidate_ids) == sorted(expected)
        for row, candidate in enumerate(measured.candidate_ids):
            plain = {axis: plainest(axis) for axis in AXES}
            has = {f"{axis}={value}" for axis, value in {**plain, **axes[candidate]}.items()}
            point = measured.seen.points[row]
            assert {m for m, one in zip(MECHANISMS, point, strict=True) if one} == has
            assert measured.seen.scores[row] == pytest.approx(np.mean(expected[candidate]))
            assert measured.seen.weights[row] == len(expected[candidate])
            assert measured.cycles[row] == cycles.get(candidate, 0)


def test_what_is_no_point_of_the_space_is_no_observation(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.duckdb")
    archive.record_designs(
        [
            make_design("strange", make_axes(decay="unheard_of")),
            make_design("stranger", make_axes(unheard_of="axis")),
            make_design("plain", make_axes()),
        ]
    )
    record_scores(archive, {(name, "mqar", 0): 0.5 for name in ("strange", "stranger", "plain")})
    assert list(archive.observations(SUITE, 0)["mqar"].candidate_ids) == ["plain"]
    assert archive.observations(SUITE, 1) == {}


# the account


def test_the_numbers_are_in_the_words() -> None:
    [first] = ranked_gaps(known(LITERATURE), cycle=2, rng=Random(0), count=1)
    gap = first.gap
    assert f"by {gap.expected_effect:+.3f} in score" in gap.question
    assert f"{first.gain:+.3f}, give or take {first.gain_sd:.3f}" in gap.question
    assert f"ends below {enough(gap.expected_effect):+.3f}" in gap.refuted_if
    assert "95 % interval" in gap.refuted_if


def test_the_markdown_shows_the_evidence_its_sources_and_the_outcome() -> None:
    ours = found("position=rotary", 0, 0.4)
    insights = (*LITERATURE, ours, claim("layer_pattern=alternate", -1, 0.2, 7))
    gap = pose(known(insights))
    assert gap.findings == ("f1-position=rotary-0",)
    by_id = {i.insight_id: i for i in insights}
    papers = {f"arxiv:2601.{n:05d}": paper(n) for n in (1, 2, 3, 7)}
    text = gap_markdown(gap, by_id, papers)
    assert gap.question in text
    assert gap.refuted_if in text
    assert "## Evidence for" in text
    assert r"Paper \| 1, 2026 (arXiv [2601.00001](https://arxiv.org/abs/2601.00001))" in text
    assert "(arxiv:2601.00004)" in text  # a paper that is not at hand goes by its id
    assert "our finding f1-position=rotary-0, cycle 1" in text
    assert "no clear effect, 0.40" in text
    assert "hurts, 0.20" in text
    assert "no papers and no finished trials combine the mechanisms" in text
    named = (*gap.evidence_for, *gap.evidence_against)
    assert sum(line.startswith("- `") for line in text.splitlines()) == len(named)
    assert "What became of it" not in text
    assert "so it was" in gap_markdown(gap, by_id, papers, answered(gap, "open"))


def test_words_of_others_make_no_link_and_no_picture() -> None:
    gap = pose(known(LITERATURE))
    hostile = paper(1).model_copy(update={"title": "Fine\n# ![x](http://a.example) <img src=b>"})
    text = gap_markdown(gap, {i.insight_id: i for i in LITERATURE}, {hostile.paper_id: hostile})
    assert r"Fine # !\[x\](http://a.example) \<img src=b>, 2026" in text


def test_the_markdown_of_a_gap_without_evidence() -> None:
    text = gap_markdown(pose(known()), {}, {})
    assert text.count("None.") == 2
    assert "none yet" in text


def test_insights_that_are_not_at_hand_are_named() -> None:
    gap = pose(known(LITERATURE))
    assert f"insight {gap.evidence_for[0]} is not at hand" in gap_markdown(gap, {}, {})

"""Findings in numbers and words, and the insights that the next cycle reads."""

import random
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, variance

import pytest
from builders import (
    CAPABILITIES,
    DELTA,
    SUITE,
    TASKS,
    TRAINER,
    make_audit,
    make_axes,
    make_design,
    make_finding,
    make_human,
    make_trial,
    record_scores,
    record_trials,
    small_study,
)
from naive import paired

from noctuary.analysis import Board, analyse
from noctuary.analysis.failures import failures, prone_to_fail
from noctuary.analysis.insights import insights_from, strength
from noctuary.archive import Archive
from noctuary.domain import Axes, Cycle, Finding, Insight

FIRST = Cycle(number=1, seed=7, settings="s")
SECOND = Cycle(number=2, seed=7, settings="s")
SCREENING = Board(SUITE, 0, TRAINER)
"""Where `record_scores` puts its trials, unless it is told otherwise."""


def analysed(archive: Archive, cycle: Cycle, design_ids: Sequence[str]) -> tuple[Finding, ...]:
    """Return the findings of a suite with one rung, which screens and gives the results."""
    return analyse(archive, cycle, design_ids, boards=[SCREENING])


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "noctuary.duckdb")


def finding(effect: float, low: float | None, high: float | None, **changes: object) -> Finding:
    return make_finding(effect=effect, low=low, high=high, **changes)


def taught_by(
    findings: Sequence[Finding],
    axes: Mapping[str, Axes] | None = None,
    *,
    ignoring: Sequence[str] | set[str] = (),
) -> tuple[Insight, ...]:
    return insights_from(
        findings, axes or {}, suite=SUITE, capabilities=CAPABILITIES, ignoring=ignoring
    )


def test_each_design_meets_each_human_on_each_task(archive: Archive) -> None:
    scores = small_study(archive)
    findings = analysed(archive, FIRST, ["d0", "d1"])
    compared = [f for f in findings if f.kind == "comparison"]
    assert len(compared) == 2 * 5 * (len(TASKS) + 1)
    for item in compared:
        twin = paired(scores, item.subject, item.baseline, item.task, TASKS)
        assert twin is not None
        assert (item.effect, item.low, item.high, item.n) == (
            pytest.approx(twin.effect, abs=1e-6),
            pytest.approx(twin.low, abs=1e-6),
            pytest.approx(twin.high, abs=1e-6),
            3,
        )


def test_the_same_analysis_gives_the_same_findings_also_later(archive: Archive) -> None:
    small_study(archive)
    first = analysed(archive, SECOND, ["d2", "d3"])
    assert analysed(archive, SECOND, ["d3", "d2", "d2"]) == first
    archive.record_findings(first)
    archive.record_designs([make_design("d9", make_axes(decay="vector"), cycle=3)])
    record_scores(archive, {("d9", t, s): 0.99 for t in TASKS for s in range(3)})
    assert analysed(archive, SECOND, ["d2", "d3"]) == first
    assert archive.findings() == tuple(
        sorted(first, key=lambda f: (f.kind, f.subject, f.baseline, f.task))
    )
    assert analysed(archive, Cycle(number=3, seed=7, settings="s"), ["d9"]) != first


def test_findings_read_as_sentences(archive: Archive) -> None:
    archive.record_candidates([make_human("retnet", make_axes(decay="fixed"))])
    archive.record_designs([make_design("d1", make_axes(**DELTA))])
    mine, theirs = (0.5, 0.6, 0.7), (0.4, 0.6, 0.3)
    scores = {("d1", "mqar", seed): score for seed, score in enumerate(mine)}
    scores |= {("human_retnet", "mqar", seed): score for seed, score in enumerate(theirs)}
    record_scores(archive, scores)
    findings = analysed(archive, FIRST, ["d1"])
    words = {(f.subject, f.task): f.statement for f in findings}
    assert words["d1", "mqar"] == (
        "`design-d1` scores 0.167 above retnet on mqar (95 % interval -0.350 to 0.684, 3 seeds): "
        "not distinguishable"
    )
    assert words["d1", "all"].startswith(
        "`design-d1` scores 0.167 above retnet on the mean of all tasks"
    )
    assert words["update=delta", "mqar"] == (
        "candidates with the delta rule (update=delta) score 0.167 above those without on mqar "
        "(no interval, 1 with, 1 without): too few to tell"
    )


def test_mechanisms_are_judged_on_the_first_rung_and_designs_on_the_last(archive: Archive) -> None:
    scores = small_study(archive)
    humans = {candidate for candidate, _, _ in scores if candidate.startswith("human_")}
    final = {
        (candidate, task, 1000 + seed): score if score is None else 0.5 + score / 2
        for (candidate, task, seed), score in scores.items()
        if candidate in humans or candidate == "d0"  # d1 was not promoted
    }
    record_scores(archive, final, rung=1)
    found = analyse(
        archive,
        FIRST,
        ["d0", "d1"],
        boards=[SCREENING, Board(SUITE, 1, TRAINER, (1000, 1001))],
    )
    compared = [f for f in found if f.kind == "comparison"]
    assert {(f.subject, f.rung, f.n) for f in compared} == {("d0", 1, 2)}
    for item in compared:
        two_seeds = {key: score for key, score in final.items() if key[2] < 1002}
        twin = paired(two_seeds, item.subject, item.baseline, item.task, TASKS)
        assert twin is not None
        assert item.effect == pytest.approx(twin.effect, abs=1e-6)
    mechanisms = [f for f in found if f.kind == "mechanism"]
    assert {f.rung for f in mechanisms} == {0}
    assert mechanisms == [
        f for f in analysed(archive, FIRST, ["d0", "d1"]) if f.kind == "mechanism"
    ]


def test_a_finding_of_another_rung_is_another_finding() -> None:
    assert finding(0.1, 0.0, 0.2).finding_id != finding(0.1, 0.0, 0.2, rung=1).finding_id


def test_of_two_values_on_an_axis_only_one_is_reported(archive: Archive) -> None:
    archive.record_designs(
        [
            make_design("a", make_axes()),
            make_design("b", make_axes(**DELTA)),
            make_design("c", make_axes(decay="fixed")),
            make_design("d", make_axes(decay="vector")),
        ]
    )
    record_scores(archive, {(c, "mqar", 0): 0.1 for c in "abcd"})
    subjects = {f.subject for f in analysed(archive, FIRST, [])}
    assert {s for s in subjects if s.startswith("update=")} == {"update=delta"}
    assert {s for s in subjects if s.startswith("decay=")} == {
        "decay=none",
        "decay=fixed",
        "decay=vector",
    }
    assert not {s for s in subjects if s.startswith("short_conv=")}


def test_a_design_without_a_good_trial_has_no_finding(archive: Archive) -> None:
    archive.record_candidates([make_human("retnet", make_axes())])
    archive.record_designs([make_design("d1", make_axes(decay="fixed"))])
    record_scores(archive, {("d1", "mqar", 0): None, ("human_retnet", "mqar", 0): 0.5})
    assert analysed(archive, FIRST, ["d1", "never-run"]) == ()


def test_an_empty_archive_has_no_findings(archive: Archive) -> None:
    archive.migrate()
    assert analysed(archive, FIRST, []) == ()
    assert taught_by(()) == ()


@pytest.mark.parametrize(
    ("effect", "low", "high", "direction", "sure"),
    [
        (0.05, 0.0, 0.1, 0, 0.0),
        (0.0, 0.0, 0.0, 0, 0.5),
        (0.01, -0.03, 0.05, 0, 0.25),
        (0.0, -0.4, 0.4, 0, 0.0),
        (0.1, 0.05, 0.15, 1, 0.75),
        (0.5, 0.2, 0.8, 1, 1.0),
        (-0.1, -0.15, -0.05, -1, 0.75),
    ],
)
def test_strength_follows_the_interval(
    effect: float, low: float, high: float, direction: int, sure: float
) -> None:
    assert strength(effect, low, high) == (direction, pytest.approx(sure))


def test_a_mechanism_finding_becomes_an_insight() -> None:
    source = finding(0.1, 0.05, 0.15)
    (insight,) = taught_by([source])
    assert insight.mechanisms == ("decay=vector",)
    assert (insight.capability, insight.direction, insight.cycle) == ("recall", 1, 1)
    assert insight.evidence == f"finding:{source.finding_id}"
    assert insight.statement == "in words"
    assert insight.conditions == f"suite {SUITE}, rung 0, 4 candidates"


@pytest.mark.parametrize(
    ("task", "capability"),
    [("mqar", "recall"), ("recall", "recall"), ("text", "language_modelling")],
)
def test_tasks_stand_for_capabilities(task: str, capability: str) -> None:
    (insight,) = taught_by([finding(0.1, -0.05, 0.15, task=task)])
    assert (insight.capability, insight.direction) == (capability, 0)


def test_no_interval_or_no_capability_is_no_insight() -> None:
    assert taught_by([finding(0.1, None, None)]) == ()
    assert taught_by([finding(0.1, 0.05, 0.15, task="all")]) == ()
    assert taught_by([finding(0.1, 0.05, 0.15, task="unheard-of")]) == ()


def test_a_design_teaches_by_its_toughest_baseline() -> None:
    weak = finding(0.3, 0.2, 0.4, kind="comparison", subject="d1", baseline="linear")
    tough = finding(-0.2, -0.3, -0.1, kind="comparison", subject="d1", baseline="gated")
    reference = finding(-0.5, -0.6, -0.4, kind="comparison", subject="d1", baseline="softmax")
    findings = [weak, tough, reference]
    axes = {"d1": make_axes(**DELTA, decay="vector"), "gated": make_axes(**DELTA, decay="scalar")}
    (insight,) = taught_by(findings, axes, ignoring={"softmax"})
    assert insight.direction == -1
    assert insight.evidence == f"finding:{tough.finding_id}"
    assert insight.mechanisms == ("decay=vector",), "only what differs"
    assert taught_by(findings) == ()


def test_beside_a_baseline_outside_the_space_all_that_is_not_plain_differs() -> None:
    source = finding(-0.2, -0.3, -0.1, kind="comparison", subject="d1", baseline="softmax")
    (insight,) = taught_by([source], {"d1": make_axes(decay="vector")})
    assert set(insight.mechanisms) == {"feature_map=elu", "decay=vector", "output_norm=rms"}


def test_insights_are_sorted_and_all_different(archive: Archive) -> None:
    small_study(archive)
    findings = analysed(archive, SECOND, ["d2", "d3"])
    insights = taught_by(findings, archive.axes(), ignoring={"human_softmax_attention"})
    assert insights == taught_by(
        findings[::-1], archive.axes(), ignoring={"human_softmax_attention"}
    )
    assert len({insight.insight_id for insight in insights}) == len(insights)
    archive.record_insights(insights)
    assert len(archive.insights(max_cycle=2)) == len(insights)
    assert archive.insights(max_cycle=1) == ()


# interactions


def crossed(archive: Archive, per_cell: int, bonus: float, noise: float = 0.02) -> dict[str, float]:
    """Record designs with and without a vector decay and a SiLU gate; return their scores.

    Args:
        bonus: what both together score beyond the sum of their effects, 0.1 and 0.05.
    """
    rng = random.Random(5)
    designs, level = [], {}
    for number in range(4 * per_cell):
        decay, gate = number % 2, number // 2 % 2
        axes = make_axes(decay=("none", "vector")[decay], output_gate=("none", "silu")[gate])
        designs.append(make_design(f"x{number:02}", axes))
        level[designs[-1].design_id] = (
            0.3 + 0.1 * decay + 0.05 * gate + bonus * decay * gate + rng.gauss(0, noise)
        )
    archive.record_designs(designs)
    record_scores(archive, {(name, "mqar", 0): score for name, score in level.items()})
    return level


PAIR = ("decay=vector", "output_gate=silu")


def interaction_findings(archive: Archive, question: Sequence[str] = ()) -> dict[str, Finding]:
    found = analyse(archive, FIRST, [], boards=[SCREENING], question=question)
    return {f.task: f for f in found if f.kind == "interaction"}


def test_a_planted_interaction_is_found_and_equals_its_twin(archive: Archive) -> None:
    level = crossed(archive, per_cell=5, bonus=0.2)
    found = interaction_findings(archive)["mqar"]
    cells = [[s for i, s in enumerate(level.values()) if i % 4 == cell] for cell in range(4)]
    effect = fmean(cells[3]) - fmean(cells[1]) - fmean(cells[2]) + fmean(cells[0])
    error = sqrt(sum(variance(cell) / 5 for cell in cells))
    assert found.subject == "+".join(PAIR)
    assert (found.effect, found.n) == (pytest.approx(effect, abs=1e-6), 20)
    assert found.low is not None and found.high is not None
    assert 2 * error < (found.high - found.low) / 2 < 2.4 * error, "Student t, 12 to 16 degrees"
    assert "they help each other" in found.statement
    assert "among 2 pairs and tasks looked at" in found.statement
    insights = taught_by([found])
    assert [(i.mechanisms, i.direction) for i in insights] == [(PAIR, 1)]


def test_what_adds_up_is_reported_only_where_the_cycle_asked_for_it(archive: Archive) -> None:
    crossed(archive, per_cell=5, bonus=0.0)
    assert interaction_findings(archive) == {}
    asked = interaction_findings(archive, question=PAIR)["mqar"]
    assert "asked about beforehand" in asked.statement
    assert "no clear interaction" in asked.statement
    assert [i.direction for i in taught_by([asked])] == [0], "a negative result teaches as well"


def test_four_groups_of_three_or_nothing_is_said(archive: Archive) -> None:
    crossed(archive, per_cell=2, bonus=0.5)
    assert interaction_findings(archive, question=PAIR) == {}


# ablations


def test_a_part_is_judged_on_the_last_rung_that_both_got_to(archive: Archive) -> None:
    whole, without = make_axes(decay="vector", output_gate="silu"), make_axes(decay="vector")
    archive.record_designs([make_design("whole", whole)])
    archive.record_designs([make_design("less", without, 2, parents=("whole",), move="ablate")])
    low = {"whole": 0.5, "less": 0.1}
    for rung, seeds in ((0, (0,)), (1, (1000, 1001, 1002))):
        record_scores(
            archive,
            {
                (name, task, seed): score + 0.2 * rung + 0.01 * seed % 0.03 * (name == "less")
                for name, score in low.items()
                for task in TASKS
                for seed in seeds
            },
            rung=rung,
        )
    boards = [SCREENING, Board(SUITE, 1, TRAINER), Board(SUITE, 2, TRAINER)]
    found = analyse(archive, SECOND, ["less"], boards=boards)
    by_task = {f.task: f for f in found if f.kind == "ablation"}
    assert set(by_task) == {*TASKS, "all"}
    one = by_task["mqar"]
    assert (one.subject, one.baseline, one.rung, one.n) == ("whole", "less", 1, 3)
    assert one.effect == pytest.approx(0.39, abs=0.02)
    assert "which does without" in one.statement and "it contributes" in one.statement
    assert "output_gate=silu" in one.statement and "decay=vector" not in one.statement
    insights = taught_by(list(by_task.values()), {"whole": whole, "less": without})
    assert {i.mechanisms for i in insights} == {("output_gate=silu",)}
    assert {i.direction for i in insights} == {1}
    assert not [f for f in analyse(archive, SECOND, [], boards=boards) if f.kind == "ablation"]


def test_what_is_no_ablation_is_not_compared_with_its_parent(archive: Archive) -> None:
    archive.record_designs(
        [make_design("a", make_axes()), make_design("b", make_axes(), parents=("a",))]
    )
    record_scores(archive, {(name, task, 0): 0.5 for name in "ab" for task in TASKS})
    assert not [f for f in analysed(archive, FIRST, ["a", "b"]) if f.kind == "ablation"]


# failures


def test_failures_are_told_by_cause(archive: Archive) -> None:
    archive.record_designs([make_design(name, make_axes()) for name in "abcd"])
    archive.record_audits([make_audit("a", passed=False), *map(make_audit, "bcd")], 1)
    record_trials(
        archive,
        [
            make_trial("b", "mqar", 0, None, "oom"),
            make_trial("b", "text", 0, None, "oom"),
            make_trial("c", "mqar", 0, None, "diverged"),
            make_trial("d", "mqar", 0, None, "diverged", learning_rate=5e-3),
            make_trial("d", "mqar", 0, 0.4, learning_rate=2e-3),
        ],
    )
    found = failures(archive, 1, SUITE, TRAINER)
    assert [(f.stage, f.cause, f.designs) for f in found] == [
        ("refused", "causal", ("design-a",)),
        ("trained", "diverged", ("design-c",)),
        ("trained", "oom", ("design-b",)),
    ]
    assert failures(archive, 2, SUITE, TRAINER) == ()


def test_a_mechanism_whose_designs_fail_stands_out(archive: Archive) -> None:
    archive.record_designs(
        [make_design(f"d{n:02}", make_axes(decay=("none", "vector")[n % 2])) for n in range(24)]
    )
    record_scores(archive, {(f"d{n:02}", "mqar", 0): None if n % 2 else 0.5 for n in range(24)})
    prone = prone_to_fail(archive, 1, SUITE, TRAINER)
    assert [(p.mechanism, p.failed_with, p.n_with, p.failed_without) for p in prone] == [
        ("decay=vector", 12, 12, 0)
    ]
    assert prone[0].p < 1e-4
    archive.record_designs([make_design("untried", make_axes(decay="vector"))])
    assert prone_to_fail(archive, 1, SUITE, TRAINER) == prone
    assert prone_to_fail(archive, 0, SUITE, TRAINER) == ()

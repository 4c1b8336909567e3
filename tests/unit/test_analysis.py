"""Findings in numbers and words, and the insights that the next cycle reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from builders import (
    CAPABILITIES,
    DELTA,
    SUITE,
    TASKS,
    TRAINER,
    make_axes,
    make_design,
    make_finding,
    make_human,
    record_scores,
    small_study,
)
from naive import paired

from noctuary.analysis import Board, analyse, insights_from, notable_mechanisms, strength
from noctuary.archive import Archive
from noctuary.domain import Axes, Cycle, Finding, Insight

FIRST = Cycle(number=1, seed=7, settings="s")
SECOND = Cycle(number=2, seed=7, settings="s")
SCREENING = Board(SUITE, 0, TRAINER)
"""Where `record_scores` puts its trials, unless it is told otherwise."""


def analysed(archive: Archive, cycle: Cycle, design_ids: Sequence[str]) -> tuple[Finding, ...]:
    """Return the findings of a suite with one rung, which screens and gives the results."""
    return analyse(archive, cycle, design_ids, screening=SCREENING, results=SCREENING)


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
    return insights_from(findings, axes, capabilities=CAPABILITIES, ignoring=ignoring)


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
        screening=SCREENING,
        results=Board(SUITE, 1, TRAINER, (1000, 1001)),
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
    axes = {"d1": make_axes(**DELTA)}
    (insight,) = taught_by(findings, axes, ignoring={"softmax"})
    assert insight.direction == -1
    assert insight.evidence == f"finding:{tough.finding_id}"
    assert set(insight.mechanisms) == set(notable_mechanisms(axes["d1"]))
    assert "update=delta" in insight.mechanisms
    assert taught_by(findings) == ()


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

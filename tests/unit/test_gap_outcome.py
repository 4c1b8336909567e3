"""What becomes of a gap: when findings support or refute it, and when it stays open."""

from pathlib import Path
from typing import Any

import pytest
from builders import make_finding, make_gap

from noctuary.archive import Archive
from noctuary.domain import Capability, Finding, GapOutcome
from noctuary.gap import gap_outcome
from noctuary.gap.outcome import LEAST_EFFECT, WORTH_HAVING, enough

CAPABILITIES: dict[str, Capability] = {"mqar": "recall"}

VECTOR = make_gap(cycle=3, expected_effect=0.04)
MADE = {name: {"decay": "vector"} for name in ("one", "two", "three")} | {
    "other": {"decay": "fixed"}
}


def compared(design: str, effect: float, half: float, **more: Any) -> Finding:
    values = {
        "kind": "comparison",
        "subject": design,
        "baseline": "human_gla",
        "effect": effect,
        "low": effect - half,
        "high": effect + half,
        "n": 4,
        "rung": 2,
    }
    return make_finding(**{**values, **more})


def outcome(*findings: Finding) -> GapOutcome:
    return gap_outcome(
        VECTOR, findings, MADE, capabilities=CAPABILITIES, ignoring=("human_softmax",)
    )


def test_a_gap_is_refuted_when_every_design_falls_short_of_half_the_expected_effect() -> None:
    verdict = outcome(compared("one", 0.0, 0.015), compared("two", -0.1, 0.05))
    assert verdict.verdict == "refuted"
    assert (verdict.gap_id, verdict.cycle) == (VECTOR.gap_id, 3)
    assert (verdict.effect, verdict.n) == (0.0, 4)
    assert "refuted" in verdict.statement
    assert "below +0.020" in verdict.statement
    # one that may still reach it leaves the question open
    assert outcome(compared("one", 0.0, 0.015), compared("two", 0.0, 0.03)).verdict == "open"


def test_a_gap_is_supported_when_a_design_beats_the_baseline_beyond_chance() -> None:
    verdict = outcome(compared("one", 0.1, 0.05), compared("two", -0.2, 0.01))
    assert verdict.verdict == "supported"
    assert verdict.effect == pytest.approx(0.1)
    assert verdict.low == pytest.approx(0.05)


def test_the_best_of_several_designs_has_to_be_better_than_one_alone() -> None:
    barely = compared("one", 0.1, 0.09)
    assert outcome(barely).verdict == "supported"
    assert outcome(barely, compared("two", 0, 0.1), compared("three", 0, 0.1)).verdict == "open"


def test_the_best_human_baseline_is_the_one_to_beat() -> None:
    weak = compared("one", 0.5, 0.1, baseline="human_retnet")
    reference = compared("one", -0.9, 0.1, baseline="human_softmax")
    verdict = outcome(weak, reference, compared("one", 0.0, 0.01))
    assert verdict.verdict == "refuted"
    assert verdict.effect == 0


def test_a_design_that_is_better_by_what_is_worth_having_refutes_nothing() -> None:
    expectations = (-0.2, 0.0, 0.02, 0.03, 0.5)
    assert [enough(e) for e in expectations] == [LEAST_EFFECT] * 2 + [0.01, 0.015, WORTH_HAVING]
    great = VECTOR.model_copy(update={"expected_effect": 0.5})
    good = compared("one", 0.1, 0.12)
    assert gap_outcome(great, [good], MADE, capabilities=CAPABILITIES).verdict == "open"


def test_other_designs_tasks_and_kinds_of_findings_do_not_count() -> None:
    verdict = outcome(
        compared("other", 0.5, 0.1),
        compared("one", 0.5, 0.1, task="text"),
        compared("one", 0.5, 0.1, kind="ablation"),
        compared("one", 0.5, 0.1, low=None, high=None),
    )
    assert verdict.verdict == "open"
    assert (verdict.effect, verdict.low, verdict.high, verdict.n) == (None, None, None, 0)
    assert "3 designs of the cycle had the mechanisms" in verdict.statement


def test_over_several_tasks_the_differences_are_averaged() -> None:
    verdict = gap_outcome(
        VECTOR,
        [compared("one", 0.2, 0.1), compared("one", 0.4, 0.1, task="copy")],
        MADE,
        capabilities={"mqar": "recall", "copy": "recall", "text": "language_modelling"},
    )
    assert verdict.verdict == "supported"
    assert (verdict.effect, verdict.low) == (pytest.approx(0.3), pytest.approx(0.2))


def test_an_outcome_is_recorded_and_decided_anew_by_a_rerun(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.duckdb")
    archive.record_gap(VECTOR)
    assert archive.query("gaps")[0]["verdict"] is None
    archive.record_gap_outcome(outcome())
    final = outcome(compared("one", 0.1, 0.05))
    archive.record_gap_outcome(final)
    assert archive.gap_outcomes() == (final,)
    [row] = archive.query("gaps")
    assert (row["verdict"], row["outcome"]) == ("supported", final.statement)

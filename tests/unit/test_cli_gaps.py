"""`noctuary gaps`: what was asked and answered, what would be asked next, and the evidence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import STARTED, make_gap, make_human, make_trial, record_trials
from click.testing import CliRunner, Result

from noctuary.archive import Archive
from noctuary.bench.suite import STANDARD
from noctuary.cli.gaps import command
from noctuary.config import TrainingSettings
from noctuary.domain import Cycle, GapOutcome
from noctuary.errors import UsageError
from noctuary.lab import Lab
from noctuary.plan import trainer_of
from noctuary.space.human import HUMAN


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


@pytest.fixture
def gaps(lab: Lab) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(command, [*arguments, "--lab", str(lab.root)])


def text(result: Result) -> str:
    assert result.exception is None, result.exception
    return result.stdout


def data(result: Result) -> Any:
    return json.loads(text(result))


def train_the_humans(lab: Lab, best: str) -> None:
    """Record a first cycle in which the mixers with a short convolution recall best."""
    archive = Archive(lab.archive_path)
    humans = [make_human(name, genome.axes) for name, genome in HUMAN.items()]
    archive.record_candidates(humans)
    record_trials(
        archive,
        [
            make_trial(
                human.candidate_id,
                task.name,
                0,
                0.8 if best in HUMAN[human.name].mechanisms else 0.3,
                suite=STANDARD.version,
                trainer=trainer_of(TrainingSettings()),
            )
            for human in humans
            for task in STANDARD.tasks
        ],
    )
    cycle = Cycle(number=1, seed=3, settings="s")
    archive.open_cycle(cycle, STARTED)
    archive.close_cycle(cycle.cycle_id, "done")


def test_what_became_of_each_gap_stands_with_it(lab: Lab, gaps: Callable[..., Result]) -> None:
    archive = Archive(lab.archive_path)
    first, second = make_gap(1), make_gap(2, question="and now?")
    for gap in (first, second):
        archive.record_gap(gap)
    archive.record_gap_outcome(
        GapOutcome(
            gap_id=first.gap_id,
            cycle=1,
            verdict="refuted",
            effect=-0.1,
            low=-0.2,
            high=0.0,
            n=3,
            statement="A vector decay for recall: refuted; it was worse.",
        )
    )
    rows = {row["gap_id"]: row for row in data(gaps("--json"))}
    assert (rows[first.gap_id]["verdict"], rows[first.gap_id]["effect"]) == ("refuted", -0.1)
    assert rows[second.gap_id]["verdict"] is None
    shown = text(gaps())
    assert "refuted; it was worse." in shown
    assert "no answer yet" in shown


def test_an_empty_lab_has_open_questions_from_the_papers(gaps: Callable[..., Result]) -> None:
    rows = data(gaps("--open", "3", "--json"))
    assert len(rows) == 3
    assert [row["value"] for row in rows] == sorted((r["value"] for r in rows), reverse=True)
    assert all(row["gap"]["cycle"] == 1 and row["gap"]["trials_covering"] == 0 for row in rows)
    shown = text(gaps("--open", "3"))
    assert " with ".join(rows[0]["gap"]["mechanisms"]) in shown
    assert "no trials of ours" in shown
    assert f"for: {len(rows[0]['gap']['evidence_for'])} insights, first " in shown
    assert "(arxiv:" in shown


def test_what_was_trained_changes_the_open_questions_and_the_evidence(
    lab: Lab, gaps: Callable[..., Result]
) -> None:
    before = data(gaps("--open", "5", "--json"))
    [cell] = [c for c in evidence(gaps) if c["mechanisms"] == ["short_conv=conv4"]]
    assert (cell["measured"], cell["designs"]) == (None, 0)
    train_the_humans(lab, best="short_conv=conv4")
    after = data(gaps("--open", "5", "--json"))
    assert [row["gap"]["mechanisms"] for row in after] != [r["gap"]["mechanisms"] for r in before]
    assert {row["gap"]["cycle"] for row in after} == {2}
    [cell] = [c for c in evidence(gaps) if c["mechanisms"] == ["short_conv=conv4"]]
    having = [name for name, genome in HUMAN.items() if genome.short_conv == "conv4"]
    assert cell["designs"] == len(having)
    assert cell["measured"] > 0.02
    assert cell["expected"] > cell["literature"]
    shown = text(gaps("--evidence", "recall"))
    assert "short_conv=conv4" in shown
    assert "±" in shown


def evidence(gaps: Callable[..., Result]) -> Any:
    return data(gaps("--evidence", "recall", "--json"))


def test_evidence_for_what_the_suite_does_not_measure_is_refused(
    gaps: Callable[..., Result],
) -> None:
    error = gaps("--evidence", "speed").exception
    assert isinstance(error, UsageError)
    assert "recall" in str(error)

"""What a person sees of a night: the board of its suite, and what needs mending."""

import time
from pathlib import Path

import pytest
from builders import SUITE, make_axes, make_design, make_human, record_scores
from rich.console import Console

from noctuary.archive import Archive
from noctuary.cli.display import Display, say_end
from noctuary.journal import Journal
from noctuary.lab import Lab

SUMMARY = {"cycles": [], "ended_because": "2 of 2 cycles are done"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Two suites were worked on in this lab, each by a mixer of its own; the later is `other`."""
    made = Lab.create_or_open(tmp_path / "lab")
    archive = Archive(made.archive_path)
    archive.record_candidates([make_human("retnet"), make_human("gla")])
    record_scores(archive, {("human_retnet", "mqar", 0): 0.5})
    record_scores(archive, {("human_gla", "mqar", 0): 0.6}, suite="other-2-00000000")
    return made


def drawn(display: Display) -> str:
    display.progress.follow()
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(display.picture())
    return capture.get()


def test_the_end_shows_the_board_of_the_nights_suite_alone(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    say_end(lab, SUITE, SUMMARY, "http://ui/run")
    said = capsys.readouterr().out
    assert "retnet" in said
    assert "gla" not in said
    assert "2 of 2 cycles are done" in said


def test_after_many_nights_the_end_shows_the_best_and_the_humans(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    designs = [make_design(f"design{n:02d}", make_axes(), cycle=1) for n in range(30)]
    archive = Archive(lab.archive_path)
    archive.record_designs(designs)
    record_scores(
        archive,
        {(design.design_id, "mqar", 0): 0.9 - 0.01 * n for n, design in enumerate(designs)},
    )
    best, worst = designs[0].name, designs[-1].name
    assert best != worst
    say_end(lab, SUITE, SUMMARY, "http://ui/run")
    said = capsys.readouterr().out
    assert best in said
    assert worst not in said
    assert "retnet" in said  # below them all, at 0.5
    assert "10 designs more" in said
    assert "no interval is corrected for 30 designs" in said


def test_the_end_shows_the_last_rung_alone_and_counts_all_that_were_tried(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Archive(lab.archive_path)
    archive.record_designs([make_design(name, make_axes()) for name in ("climber", "screened")])
    record_scores(archive, {("climber", "mqar", 0): 0.91, ("screened", "mqar", 0): 0.92})
    record_scores(
        archive, {("climber", "mqar", 1000): 0.7, ("human_retnet", "mqar", 1000): 0.6}, rung=1
    )
    say_end(lab, SUITE, SUMMARY, "http://ui/run")
    said = capsys.readouterr().out
    assert "0.7000" in said
    assert "0.6000" in said
    assert "screened" not in said
    assert "0.9100" not in said
    assert "no interval is corrected for 2 designs" in said


def test_who_goes_on_and_how_the_best_stand_on_the_last_rung_are_said(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Archive(lab.archive_path)
    archive.record_designs([make_design("climber", make_axes())])
    record_scores(archive, {("climber", "mqar", 0): 0.9})
    record_scores(archive, {("climber", "mqar", 1000): 0.8}, rung=1)
    display = Display(lab, "http://ui/api", SUITE, 2)
    journal = Journal(lab.journal_path)
    trained = {"candidate": "climber", "kind": "design", "reason": ""}
    journal.write("candidate trained", rung=0, score=0.9, **trained)
    journal.write("promoted", rung=1, designs=["climber"], planned=4)
    journal.write("promoted", rung=2, designs=[], planned=0)
    display.progress.follow()
    said = capsys.readouterr().out
    # no human was on rung 1 so far, and the two are compared where both were
    assert "score 0.9000 on rung 0  (rung 0: best design 0.9000, best human 0.5000 retnet)" in said
    assert "rung 1: climber" in said
    assert "rung 2: no design" in said
    record_scores(archive, {("human_retnet", "mqar", 1000): 0.7}, rung=1)
    journal.write("candidate trained", rung=1, score=0.8, **trained)
    display.progress.follow()
    said = capsys.readouterr().out
    assert "(rung 1: best design 0.8000, best human 0.7000 retnet)" in said


def test_the_trials_of_a_later_rung_are_planned_when_it_is_known_who_gets_there(lab: Lab) -> None:
    display = Display(lab, "http://ui/api", SUITE, 2, quiet=True)
    journal = Journal(lab.journal_path)
    journal.write("night started", flow_run="x", first=1)
    journal.write("designs made", designs=["a", "b"], planned=12)
    assert "trial 0 of 12" in drawn(display)
    journal.write("promoted", rung=1, designs=["a"], planned=6)
    assert "trial 0 of 18" in drawn(display)


def test_the_live_board_is_that_of_the_nights_suite_too(lab: Lab) -> None:
    display = Display(lab, "http://ui/api", SUITE, 2, quiet=True)
    Journal(lab.journal_path).write("night started", flow_run="x", first=1)
    shown = drawn(display)
    assert "retnet" in shown
    assert "gla" not in shown


def test_who_holds_the_archive_is_shown_until_it_is_free(lab: Lab) -> None:
    display = Display(lab, "http://ui/api", SUITE, 2, quiet=True)
    journal = Journal(lab.journal_path)
    journal.write("archive held", by="another process: duckdb (PID 42)")
    assert "held by another process: duckdb (PID 42): close it" in drawn(display)
    journal.write("archive free", by="")
    assert "PID 42" not in drawn(display)


def test_a_failed_stage_is_shown_with_its_reason_until_its_retry_is_fine(lab: Lab) -> None:
    display = Display(lab, "http://ui/api", SUITE, 2, quiet=True)
    journal = Journal(lab.journal_path)
    stage = {"stage": "publish", "cycle": "c0001-00000000"}
    journal.write("stage started", **stage)
    journal.write("stage failed", reason="NoSpace: no space left", **stage)
    assert "publish failed: NoSpace: no space left" in drawn(display)
    journal.write("stage started", **stage)
    journal.write("stage finished", seconds=1.0, **stage)
    shown = drawn(display)
    assert "NoSpace" not in shown
    assert "+ publish" in shown


def test_a_night_that_waits_for_consent_says_so_and_where(lab: Lab) -> None:
    display = Display(lab, "http://127.0.0.1:4200/api", SUITE, slots=1)
    display.console = Console(width=200)
    journal = Journal(lab.journal_path)
    journal.write(
        "consent asked",
        before="cycle",
        cycle="c1",
        question="Run cycle 1?",
        flow_run="the-run",
        until=time.time() + 60,
    )
    said = drawn(display)
    assert "waits for consent until" in said
    assert "Run cycle 1?" in said
    assert "http://127.0.0.1:4200/runs/flow-run/the-run" in said
    journal.write("consent answered", before="cycle", cycle="c1", approved=True, note="ann")
    assert "Run cycle 1?" not in drawn(display)


def test_a_night_that_is_stopped_says_so_while_its_last_trials_run(lab: Lab) -> None:
    display = Display(lab, "http://127.0.0.1:4200/api", SUITE, slots=1)
    display.console = Console(width=200)
    journal = Journal(lab.journal_path)
    journal.write("stage started", stage="train", cycle="c1")
    journal.write("stage stopped", stage="train", cycle="c1", reason="it was stopped by /lab/stop")
    said = drawn(display)
    assert "ending: it was stopped by /lab/stop" in said
    assert "> train" not in said

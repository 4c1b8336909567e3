"""The Retry button of the Prefect UI runs what failed again, and nothing else."""

from collections.abc import Callable

from prefect_api import Api, events, executed, trials_that_ran, wait_for_event
from worker_process import Worker

from noctuary.archive import Archive
from noctuary.journal import Journal
from noctuary.lab import Lab


def test_a_retry_executes_only_the_stage_that_failed(
    lab: Lab, server: Api, serve: Callable[[Lab], Worker]
) -> None:
    """A night of two cycles, the first of which is fine; the second cannot publish."""
    serve(lab)
    journal = Journal(lab.journal_path)
    since = journal.end()
    night = server.start_night(cycles=2, seed=11, offline=True)
    first = wait_for_event(lab, since, "cycle finished")["cycle"]
    aside = lab.root / "reports-aside"
    lab.reports.rename(aside)
    lab.reports.write_text("in the way", encoding="utf-8")
    try:
        failed = server.wait_for_end(night)
    finally:
        lab.reports.unlink()
        aside.rename(lab.reports)
    assert failed["state_type"] == "FAILED"
    second = wait_for_event(lab, since, "stage failed", stage="publish")["cycle"]
    assert second != first
    status = {row["cycle_id"]: row["status"] for row in Archive(lab.archive_path).cycles()}
    assert (status[first], status[second]) == ("done", "failed")

    before = journal.end()
    server.retry(night)
    wait_for_event(lab, before, "night started")
    again = server.wait_for_end(night)

    assert again["state_type"] == "COMPLETED", again["state"]["message"]
    assert executed(lab, before) == [(second, "publish")]
    assert trials_that_ran(lab, before) == []
    trials = trials_that_ran(lab)
    assert len(trials) == len(set(trials))
    assert [e["cycle"] for e in events(lab, before) if e["event"] == "cycle finished"] == [second]
    assert {row["status"] for row in Archive(lab.archive_path).cycles()} == {"done"}
    assert (lab.reports / f"{second}.md").exists()

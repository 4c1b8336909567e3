"""What dies without a word is marked as crashed, gives its places back, and leaves nothing."""

import time
from collections.abc import Callable

import pytest
from night_process import kill_tree, run_to_the_end, start_night
from prefect.client.orchestration import SyncPrefectClient
from prefect_api import PATIENCE, Api, events, trials_that_ran, wait_for_event
from worker_process import Worker, wait_until_gone

from noctuary.archive import Archive
from noctuary.journal import Journal
from noctuary.lab import Lab


def slots_taken(server: Api) -> int:
    return len(server.get("concurrency_limits/tag/accelerator")["active_slots"])


def test_the_next_start_marks_the_runs_of_a_power_cut(
    lab: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    since = Journal(lab.journal_path).end()
    process = start_night(lab, 1, prefect_environment, seed=31)
    try:
        wait_for_event(lab, since, "stage started", stage="train")
    finally:
        kill_tree(process)
    night = wait_for_event(lab, since, "night started")["flow_run"]
    cycle = wait_for_event(lab, since, "cycle started")["flow_run"]
    assert server.run(night)["state_type"] == "RUNNING"
    assert slots_taken(server) > 0

    before = Journal(lab.journal_path).end()
    run_to_the_end(lab, 1, prefect_environment, seed=31)
    assert server.run(night)["state_type"] == "CRASHED"
    assert server.run(cycle)["state_type"] == "CRASHED"
    assert slots_taken(server) == 0
    assert {row["status"] for row in Archive(lab.archive_path).cycles()} == {"done"}
    stages = {e["stage"] for e in events(lab, before) if e["event"] == "stage started"}
    assert "design candidates" not in stages
    trials = trials_that_ran(lab)
    assert len(trials) == len(set(trials))


def test_nothing_outlives_a_killed_serve_and_its_run_is_marked_and_can_be_retried(
    lab: Lab, server: Api, serve: Callable[[Lab], Worker]
) -> None:
    worker = serve(lab)
    since = Journal(lab.journal_path).end()
    night = server.start_night(cycles=1, seed=41, offline=True)
    wait_for_event(lab, since, "stage finished", stage="synthesise gaps")
    tree = worker.tree()
    worker.process.kill()
    wait_until_gone(tree)
    assert server.run(night)["state_type"] == "RUNNING"

    again = serve(lab)
    assert server.run(night)["state_type"] == "CRASHED"
    before = Journal(lab.journal_path).end()
    server.retry(night)
    assert server.wait_for_end(night)["state_type"] == "COMPLETED"
    stages = {e["stage"] for e in events(lab, before) if e["event"] == "stage started"}
    assert "synthesise gaps" not in stages
    assert again.terminate() == 0
    assert "Traceback" not in again.output


@pytest.mark.slow
def test_the_server_marks_a_run_whose_heartbeat_stopped(
    fresh_lab: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    """As where the machine that works is another one than that of the server."""
    import datetime

    from flows.server import watch_heartbeats

    since = Journal(fresh_lab.journal_path).end()
    beating = {**prefect_environment, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    process = start_night(fresh_lab, 30, beating, seed=51)
    try:
        night = wait_for_event(fresh_lab, since, "night started")["flow_run"]
        with SyncPrefectClient(server.address) as client:
            watch_heartbeats(client, silence=datetime.timedelta(seconds=60))
        time.sleep(100)
        assert server.run(night)["state_type"] == "RUNNING"
    finally:
        kill_tree(process)
    deadline = time.monotonic() + PATIENCE
    while server.run(night)["state_type"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(1)
    assert server.run(night)["state_type"] == "CRASHED"

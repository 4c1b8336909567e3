"""What dies without a word is marked as crashed, gives its places back, and leaves nothing."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from night_process import kill_tree, run_to_the_end, start_night
from prefect.client.orchestration import SyncPrefectClient
from prefect_api import PATIENCE, Api, events, trials_that_ran, wait_for_event
from worker_process import Worker, wait_until_gone

from noctuary.archive import Archive
from noctuary.cli.processes import prefect_server, running_server, wait_for_server
from noctuary.journal import Journal
from noctuary.lab import Lab
from tasks.train import CANDIDATES_AT_ONCE

API_URL = "PREFECT_API_URL"


def slots_taken(server: Api) -> int:
    """Return the count by which the server admits, not that of the leases it remembers."""
    return int(server.get("v2/concurrency_limits/tag:accelerator")["active_slots"])


@contextlib.contextmanager
def training_held_up(lab: Lab) -> Iterator[None]:
    """Keep the archive to ourselves: what trains by now cannot end, and holds its places."""
    wait_for_event(lab, 0, "stage started", stage="train")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = duckdb.connect(str(lab.archive_path))
            break
        except duckdb.IOException:  # the night writes at this moment
            assert time.monotonic() < deadline
    try:
        yield
    finally:
        connection.close()


def wait_until_all_slots_are_taken(server: Api) -> None:
    deadline = time.monotonic() + PATIENCE
    while slots_taken(server) < CANDIDATES_AT_ONCE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_they_train(server: Api, cycle: str) -> list[str]:
    """Return the task runs that hold the places at the accelerator, once the server knows them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        training = [
            run["id"]
            for run in server.task_runs(cycle)
            if run["state_type"] == "RUNNING" and "accelerator" in run["tags"]
        ]
        if len(training) == CANDIDATES_AT_ONCE:
            return training
        assert time.monotonic() < deadline, training
        time.sleep(0.05)


def test_the_next_start_marks_the_runs_of_a_power_cut(
    fresh_lab: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    lab = fresh_lab
    process = start_night(lab, 1, prefect_environment)
    try:
        with training_held_up(lab):
            wait_until_all_slots_are_taken(server)
            kill_tree(process)
    finally:
        kill_tree(process)
    night = wait_for_event(lab, 0, "night started")["flow_run"]
    cycle = wait_for_event(lab, 0, "cycle started")["flow_run"]
    assert server.run(night)["state_type"] == "RUNNING"
    assert slots_taken(server) == CANDIDATES_AT_ONCE

    before = Journal(lab.journal_path).end()
    run_to_the_end(lab, 1, prefect_environment)
    assert server.run(night)["state_type"] == "CRASHED"
    assert server.run(cycle)["state_type"] == "CRASHED"
    assert slots_taken(server) == 0
    assert {row["status"] for row in Archive(lab.archive_path).cycles()} == {"done"}
    stages = {e["stage"] for e in events(lab, before) if e["event"] == "stage started"}
    assert "design candidates" not in stages
    trials = trials_that_ran(lab)
    assert len(trials) == len(set(trials))


def test_the_places_of_the_dead_come_free_while_others_work_on_the_server(
    fresh_lab: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    with server.somebody_elses_run():
        process = start_night(fresh_lab, 1, prefect_environment)
        try:
            with training_held_up(fresh_lab):
                cycle = wait_for_event(fresh_lab, 0, "cycle started")["flow_run"]
                training = wait_until_they_train(server, cycle)
                kill_tree(process)
        finally:
            kill_tree(process)
        run_to_the_end(fresh_lab, 1, prefect_environment)
        assert slots_taken(server) == 0
    assert {run["state_type"] for run in server.task_runs(cycle) if run["id"] in training} == {
        "CRASHED"
    }


def test_a_power_cut_that_takes_the_server_too_blocks_no_later_night(
    fresh_lab: Lab, prefect_environment: dict[str, str]
) -> None:
    """A server that starts again remembers that places are taken, but no more by whom."""
    own_server = {key: prefect_environment[key] for key in {*prefect_environment} - {API_URL}}
    process = start_night(fresh_lab, 1, own_server)
    try:
        with training_held_up(fresh_lab):
            address = running_server(fresh_lab)
            assert address is not None
            with Api(address) as server:
                wait_until_all_slots_are_taken(server)
            kill_tree(process)
    finally:
        kill_tree(process)
    run_to_the_end(fresh_lab, 1, own_server)
    assert {row["status"] for row in Archive(fresh_lab.archive_path).cycles()} == {"done"}


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
    fresh_lab: Lab, tmp_path: Path, prefect_environment: dict[str, str]
) -> None:
    """As where the machine that works is another one than that of the server."""
    host = Lab.create_or_open(tmp_path / "host")
    with prefect_server(host, 0) as address:
        wait_for_server(address, host)
        with Api(address) as server:
            watch_a_night_die(fresh_lab, server, prefect_environment)


def watch_a_night_die(lab: Lab, server: Api, environment: dict[str, str]) -> None:
    """Start a night on this server, and kill it; return when it is marked as crashed."""
    import datetime

    from flows.server import watch_heartbeats

    frequent = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    beating = {**environment, API_URL: server.address, **frequent}
    process = start_night(lab, 30, beating, seed=51)
    try:
        night = wait_for_event(lab, 0, "night started")["flow_run"]
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

"""The next night is scheduled; those that were missed are skipped, but not their retries."""

import datetime
import time
from collections.abc import Callable
from typing import Any

from prefect_api import PATIENCE, Api, events
from worker_process import Worker

from noctuary.config import Settings
from noctuary.lab import Lab


def test_a_missed_night_is_skipped_but_its_retry_is_not(
    fresh_lab: Lab, server: Api, serve: Callable[[Lab], Worker]
) -> None:
    """Two nights were missed; one of them died before it ran, and a person retries it."""
    serve(fresh_lab)
    wait_for_the_next_night(server)
    server.pause_pool(True)
    missed = schedule_in_the_past(server, nights=2)
    server.set_state(missed[0], {"type": "CRASHED"}, force=True)
    server.retry(missed[0])
    # the lab is busy, so whatever does not skip fails at once instead of working for hours
    with fresh_lab.lock():
        server.pause_pool(False)
        ends = [server.wait_for_end(run) for run in missed]
        states = [end["state"] for end in ends]
        assert [state["type"] for state in states] == ["FAILED", "CANCELLED"], states
        assert all(end["auto_scheduled"] for end in ends)
        assert "missed nights are not made up for" in states[1]["message"]
        assert "works in" in states[0]["message"]

        server.retry(missed[1])
        assert server.wait_for_end(missed[1])["state_type"] == "FAILED"
    told = [event["event"] for event in events(fresh_lab)]
    assert told == ["night skipped"]


def wait_for_the_next_night(server: Api) -> None:
    """Return when the server has put the coming night on its schedule, and no hundred more."""
    deadline = time.monotonic() + PATIENCE
    while not (coming := runs_of_deployment(server)):
        assert time.monotonic() < deadline, "the server schedules nothing"
        time.sleep(0.5)
    assert len(coming) <= 2
    assert all(run["auto_scheduled"] for run in coming)


def schedule_in_the_past(server: Api, nights: int) -> list[str]:
    """Let the server schedule nights that were due longer ago than the grace; return their runs."""
    deployment = server.deployment()["id"]
    now = datetime.datetime.now(datetime.UTC)
    end = now - datetime.timedelta(seconds=2 * Settings().serve.grace)
    start = end - datetime.timedelta(days=nights)
    span = {"start_time": start.isoformat(), "end_time": end.isoformat()}
    server.post(
        f"deployments/{deployment}/schedule", {**span, "min_runs": nights, "max_runs": nights}
    )
    past = [
        run
        for run in runs_of_deployment(server)
        if datetime.datetime.fromisoformat(run["expected_start_time"]) < now
    ]
    assert len(past) == nights
    return [run["id"] for run in past]


def runs_of_deployment(server: Api) -> list[dict[str, Any]]:
    """Return the runs of the deployment, those that are due first first."""
    deployment = server.deployment()["id"]
    found: list[dict[str, Any]] = server.post(
        "flow_runs/filter",
        {
            "flow_runs": {"deployment_id": {"any_": [deployment]}},
            "sort": "EXPECTED_START_TIME_ASC",
        },
    )
    return found

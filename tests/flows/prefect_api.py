"""What the tests ask of the Prefect API, spoken as the UI speaks it."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from noctuary.journal import Journal
from noctuary.lab import Lab

PATIENCE = 240.0
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Api:
    """A Prefect server's API.

    Attributes:
        address: ends in `/api`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(base_url=f"{address}/", timeout=30)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        return self._ask("GET", path).json()

    def post(self, path: str, content: Any) -> Any:
        answer = self._ask("POST", path, content)
        return answer.json() if answer.content else None

    def patch(self, path: str, content: Any) -> None:
        self._ask("PATCH", path, content)

    def _ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """Return the answer; wait, as Prefect's own clients do, while the database is locked.

        A question that changes nothing is asked again where the server was too busy to answer.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._client.request(method, path, json=content)
            except httpx.ReadTimeout:
                if method != "GET" or time.monotonic() > deadline:
                    raise
                continue
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer.raise_for_status()
            time.sleep(0.2)

    def deployment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("deployments/name/night/nightly")
        return found

    def delete_deployments(self) -> None:
        for deployment in self.post("deployments/filter", {}):
            self._ask("DELETE", f"deployments/{deployment['id']}")

    def pause_pool(self, pause: bool) -> None:
        pool = self.deployment()["work_pool_name"]
        self.patch(f"work_pools/{pool}", {"is_paused": pause})

    def ensure_pool(self, name: str) -> None:
        """Make a work pool of type `process`, if there is none of that name."""
        if name not in [pool["name"] for pool in self.post("work_pools/filter", {})]:
            self.post("work_pools/", {"name": name, "type": "process"})

    def start_night(self, **changes: Any) -> str:
        """Start a run of the deployment, as Quick run does; return its id."""
        deployment = self.deployment()
        request = {**deployment["parameters"]["request"], **changes}
        run = self.post(
            f"deployments/{deployment['id']}/create_flow_run",
            {"parameters": {"request": request}, "state": {"type": "SCHEDULED"}},
        )
        return str(run["id"])

    def set_state(self, run: str, state: Mapping[str, Any], force: bool = False) -> None:
        answer = self.post(f"flow_runs/{run}/set_state", {"state": dict(state), "force": force})
        assert answer["status"] == "ACCEPT", answer

    def retry(self, run: str) -> None:
        """Do what the Retry button of the UI does, to the letter."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        self.set_state(run, state)

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"flow_runs/{run}")
        return found

    def wait_for_end(self, run: str) -> dict[str, Any]:
        """Return the run when its state is final."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.run(run))["state_type"] not in FINAL:
            assert time.monotonic() < deadline, found["state"]
            time.sleep(0.5)
        return found

    @contextlib.contextmanager
    def somebody_elses_run(self) -> Iterator[str]:
        """Let a flow run that is not ours be alive meanwhile."""
        flow = self.post("flows/", {"name": "not-ours"})
        run = str(self.post("flow_runs/", {"flow_id": flow["id"]})["id"])
        self.set_state(run, {"type": "RUNNING"}, force=True)
        try:
            yield run
        finally:
            self.set_state(run, {"type": "COMPLETED"}, force=True)

    def task_runs(self, run: str) -> list[dict[str, Any]]:
        """Return the task runs of a flow run."""
        found: list[dict[str, Any]] = self.post(
            "task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}}
        )
        return found

    def children(self, run: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.post(
            "flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        )
        return found


def events(lab: Lab, since: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the events of a lab's journal."""
    for _, event in Journal(lab.journal_path).read(since):
        yield event


def wait_for_event(lab: Lab, since: int, name: str, **facts: Any) -> dict[str, Any]:
    """Return the first event of that name and with these facts, when it is there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        for event in events(lab, since):
            if event["event"] == name and facts.items() <= event.items():
                return event
        seen = [event["event"] for event in events(lab, since)]
        assert time.monotonic() < deadline, f"no event {name!r} {facts}; there were {seen}"
        time.sleep(0.05)


def executed(lab: Lab, since: int) -> list[tuple[str, str]]:
    """Return cycle and stage of every stage that was executed."""
    return [
        (event["cycle"], event["stage"])
        for event in events(lab, since)
        if event["event"] == "stage started"
    ]


def trials_that_ran(lab: Lab, since: int = 0) -> list[str]:
    return [event["trial"] for event in events(lab, since) if event["event"] == "trial finished"]

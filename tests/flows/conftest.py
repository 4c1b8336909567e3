"""One Prefect server for all flow tests, and labs and workers on it that end with their test."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from browser import Browser, BrowserMissing, browser
from filelock import FileLock
from night_process import TINY, make_lab, run_to_the_end, train_baselines
from prefect_api import Api
from worker_process import Worker

from noctuary.cli.processes import QUIET, prefect_server, wait_for_server
from noctuary.lab import Lab


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The Prefect server that `noctuary run` and `serve` start, ready; it lets nobody wait long."""
    lab = Lab.create_or_open(tmp_path_factory.mktemp("server") / "lab")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        # else a night that has to wait for another one looks again after half a minute
        patch.setenv("PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS", "2")
        # evaluating the watch over heartbeats writes to SQLite at every event, and with runs that
        # are killed and started all the time others find the database locked; it has its own test
        patch.setenv("PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED", "false")
        address = stack.enter_context(prefect_server(lab, 0))
        patch.undo()
        wait_for_server(address, lab)
        with Api(address) as api:
            yield api


@pytest.fixture(scope="session")
def prefect_environment(server: Api) -> dict[str, str]:
    """The environment of commands that use the server; their workers look for runs often."""
    return {
        **os.environ,
        **QUIET,
        "PREFECT_API_URL": server.address,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Trials of the human mixers, trained once for the workers of all tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "baselines"
    with FileLock(folder.with_suffix(".lock")):
        done = folder / "done"
        if not done.exists():
            train_baselines(folder / "lab").rename(done)
    return done


@pytest.fixture(scope="session")
def lab(
    tmp_path_factory: pytest.TempPathFactory, prefect_environment: dict[str, str], trained: Path
) -> Lab:
    """A lab in which one cycle is done. Tests add cycles."""
    lab = make_lab(
        tmp_path_factory.mktemp("flows") / "lab",
        TINY.replace("designs = 2", "designs = 1"),
        trained,
    )
    run_to_the_end(lab, 1, prefect_environment)
    return lab


@pytest.fixture
def serve(server: Api, prefect_environment: dict[str, str]) -> Iterator[Callable[[Lab], Worker]]:
    """Start `noctuary serve` in a lab, on the server; return when it says that it serves."""
    started: list[Worker] = []

    def start(lab: Lab) -> Worker:
        worker = Worker(lab, prefect_environment)
        started.append(worker)
        worker.wait_until_it_serves()
        return worker

    try:
        yield start
    finally:
        for worker in started:
            worker.kill()
        server.delete_deployments()


@pytest.fixture
def fresh_lab(tmp_path: Path, trained: Path) -> Lab:
    """A lab in which nothing was done yet, but that has trials of the human mixers."""
    return make_lab(tmp_path / "lab", trained=trained)


@pytest.fixture(scope="module")
def chromium(missing: Callable[[str], NoReturn]) -> Iterator[Browser]:
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(browser())
        except BrowserMissing as error:
            missing(str(error))
        yield started

"""Killing the machinery of trials, with SIGKILL: the server that forks them, and its owner.

Covers that nothing stays behind, that nothing half-finished counts, and that the work is taken
up again. Killing whole nights is in `tests/flows`.
"""

import contextlib
import functools
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trial_process import (
    FFN_WIDTH,
    Owner,
    are_gone,
    below,
    events,
    kill,
    make_candidate,
    make_spec,
    make_workshop,
    servers_of,
    wait_until,
)

from noctuary.domain import Trial
from noctuary.errors import WorkerLost
from noctuary.jobs import clear_work
from noctuary.lab import Lab, read_json
from noctuary.sandbox.launcher import Launcher

SLOW = "time.sleep(0.2)"
SEEDS = 40


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(2, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


@contextlib.contextmanager
def in_background(work: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Run in a thread until the block ends; yields the list of what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield raised
    thread.join(120)
    assert not thread.is_alive()


def server_at_work(owner: int) -> int:
    """Wait until a launcher of the owner has a server with a job, and return the server's id."""
    busy: list[int] = []

    def look() -> bool:
        busy[:] = [server for server in servers_of(owner) if below(server)]
        return bool(busy)

    wait_until(look)
    return busy[0]


def test_server_killed_once_runs_the_trial_again(launcher: Launcher, lab: Lab) -> None:
    workshop = make_workshop(lab, launcher)
    disturbed = make_candidate(lab, forward=SLOW)
    spec = make_spec(disturbed)
    with in_background(lambda: workshop.train(disturbed, FFN_WIDTH, [spec])) as raised:
        server = server_at_work(os.getpid())
        jobs = below(server)
        kill(server)
        wait_until(lambda: are_gone(jobs), seconds=10)
    assert raised == []
    assert workshop.read(spec).status == "ok"
    assert len(events(lab, "trial finished")) == 1
    assert servers_of(os.getpid()) != {server}


def test_server_killed_twice_is_an_error_and_no_result(launcher: Launcher, lab: Lab) -> None:
    workshop = make_workshop(lab, launcher)
    candidate = make_candidate(lab, forward=SLOW)
    with in_background(
        lambda: workshop.train(candidate, FFN_WIDTH, [make_spec(candidate)])
    ) as raised:
        for _ in range(2):
            server = {server_at_work(os.getpid())}
            kill(*server)
            wait_until(functools.partial(are_gone, server))  # else the dying one is found again
    assert [type(error) for error in raised] == [WorkerLost]
    assert list(lab.trials.iterdir()) == []
    assert list(lab.work.iterdir()) == []


def test_nothing_stays_when_the_owner_is_killed_during_warm_up(lab: Lab) -> None:
    owner = Owner(lab, make_candidate(lab), seeds=SEEDS)
    wait_until(lambda: bool(servers_of(owner.process.pid)))
    owner.kill_and_wait_for_all()
    assert list(lab.trials.iterdir()) == []


def test_owner_killed_at_random_moments(launcher: Launcher, lab: Lab) -> None:
    """No trial counts that is not complete, none runs twice, and the rest is run later."""
    rng = random.Random(7)
    candidate = make_candidate(lab, forward="time.sleep(0.002)")
    for _ in range(3):
        owner = Owner(lab, candidate, seeds=SEEDS)
        server_at_work(owner.process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            owner.process.wait(rng.uniform(0.0, 1.5))
        owner.kill_and_wait_for_all()
        for folder in lab.trials.iterdir():
            trial = Trial.model_validate(read_json(folder / "result.json"))
            assert trial.spec.trial_id == folder.name
            assert trial.status == "ok"
            assert (folder / "weights.safetensors").exists()

    clear_work(lab)
    finished = len(list(lab.trials.iterdir()))
    assert 0 < finished < SEEDS
    workshop = make_workshop(lab, launcher)
    specs = [make_spec(candidate, seed=seed) for seed in range(SEEDS)]
    rest = workshop.train(candidate, FFN_WIDTH, specs)
    assert rest.executed == SEEDS - finished
    assert rest.score is not None
    told = [event["trial"] for event in events(lab, "trial finished")]
    assert len(told) == len(set(told))

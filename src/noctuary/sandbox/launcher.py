"""Starts jobs in the warm server, from any thread, a bounded number at once.

The launcher imports no torch. Where the server dies, it is started again and the jobs that
were in flight are started again once; a second loss is an error of the environment.
"""

import contextlib
import heapq
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from noctuary.config import Arithmetic
from noctuary.errors import WorkerLost
from noctuary.sandbox.arithmetic import computing_variables, require_arithmetic, what_computes
from noctuary.sandbox.layers import allowed_environment
from noctuary.sandbox.limits import may_use_cuda
from noctuary.sandbox.protocol import Job, JobEnd

START_TIMEOUT = 180.0

SERVER = ("-m", "noctuary.sandbox.server")

GPU_SLOTS = 4
"""Trials at once on a GPU: a small one leaves it idle most of the time."""

Turn = tuple[float, ...]
"""Of jobs that wait for a slot, the one with the smallest turn gets it."""


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_slots(device: str) -> int:
    """Return how many trials to run at once: one a core, or some that share a GPU."""
    return GPU_SLOTS if may_use_cuda(device) else usable_cores()


class Launcher:
    """Runs jobs; `slots` of them at once. Close it, or leave the process: nothing stays behind.

    Attributes:
        computing: what decides the bits of what its jobs compute, by name.

    Args:
        slots: jobs at once; each has one thread.
        log: file for what the server itself prints.
        server: what Python is told to start the server.
        arithmetic: how all its jobs compute.

    Raises:
        EnvironmentRefused: this processor cannot compute so.
    """

    def __init__(
        self,
        slots: int,
        log: Path,
        server: Sequence[str] = SERVER,
        arithmetic: Arithmetic = "fast",
    ) -> None:
        require_arithmetic(arithmetic)
        self.slots = slots
        self.arithmetic = arithmetic
        self._variables = computing_variables(allowed_environment(os.environ), arithmetic)
        self.computing = what_computes(self._variables, arithmetic)
        self._program = [sys.executable, *server, arithmetic]
        self._free = _Slots(slots)
        self._log = log
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._cold: set[_Server] = set()
        self._closed = False

    def warm(self) -> None:
        """Start the server now, without waiting for it."""
        self._live_server()

    @contextlib.contextmanager
    def slot(self, turn: Turn = ()) -> Iterator[None]:
        """Hold one of the slots; of those that wait, the one with the smallest turn gets it."""
        with self._free.taken(turn):
            yield

    def run(self, job: Job, cold: bool = False) -> JobEnd:
        """Run a job now; return how its process ended. Hold a slot meanwhile.

        Args:
            cold: whether to run it in a server of its own, which has run nothing before and is
                ended after it.

        Raises:
            WorkerLost: the server died twice while the job ran, or the launcher was closed.
        """
        for _ in range(2):
            end = self._run_cold(job) if cold else self._live_server().run(job)
            if end is not None:
                return end
        raise WorkerLost(
            "the process that starts trials died twice under one job; expected it to outlive "
            f"them all: see {self._log}, and mind the memory of the machine"
        )

    def close(self) -> None:
        """End the server and all that runs, for good: who waits for a slot gets an error."""
        with self._lock:
            self._closed = True
            for server in (self._server, *self._cold):
                if server is not None:
                    server.stop()
            self._server = None

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _live_server(self) -> "_Server":
        with self._lock:
            self._require_open()
            if self._server is None or not self._server.alive:
                self._server = self._start()
            return self._server

    def _run_cold(self, job: Job) -> JobEnd | None:
        with self._lock:
            self._require_open()
            server = self._start()
            self._cold.add(server)
        try:
            return server.run(job)
        finally:
            server.stop()
            with self._lock:
                self._cold.discard(server)

    def _start(self) -> "_Server":
        return _Server(self._program, self._log, self._variables)

    def _require_open(self) -> None:
        if self._closed:
            raise WorkerLost("the process that starts trials was ended, and so are its trials")


class _Slots:
    """A bounded number of slots; who waits with the smallest turn comes first, then who came."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[Turn, int]] = []
        self._came = itertools.count()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, turn: Turn) -> Iterator[None]:
        place = (turn, next(self._came))
        with self._changed:
            heapq.heappush(self._waiting, place)
            self._changed.wait_for(lambda: self._free > 0 and self._waiting[0] == place)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


class _Server:
    """One server process and the jobs in flight in it."""

    def __init__(self, program: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
        environment = {
            **variables,
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # the working folder is no place to import from
        }
        self.alive = True
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._flying: dict[int, Future[JobEnd | None]] = {}
        self._count = 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment,
            )
        threading.Thread(target=self._listen, name="noctuary-launcher", daemon=True).start()

    def run(self, job: Job) -> JobEnd | None:
        """Return how the job ended, or None where the server was lost."""
        if not self._ready.wait(START_TIMEOUT) or not self.alive:
            self.stop()
            return None
        future: Future[JobEnd | None] = Future()
        with self._lock:
            self._count += 1
            number = self._count
            self._flying[number] = future
            line = json.dumps({"number": number, "job": job.model_dump(mode="json")})
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(line.encode("utf-8") + b"\n")
                self._process.stdin.flush()
            except OSError:
                self._flying.pop(number)
                return None
            if not self.alive:
                self._flying.pop(number, None)
                return None
        return future.result()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("ready"):
                self._ready.set()
                continue
            with self._lock:
                future = self._flying.pop(message["number"])
            future.set_result(JobEnd.model_validate(message["end"]))
        self._process.wait()
        with self._lock:
            self.alive = False
            lost, self._flying = self._flying, {}
        self._ready.set()
        for future in lost.values():
            future.set_result(None)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()

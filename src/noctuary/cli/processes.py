"""The processes that a command starts: its own Prefect server, and the one that runs flows.

Nothing of it outlives the command, however that ends: a flow process leaves when its standard
input ends, and on Linux the kernel ends the server with its parent. Does not import Prefect.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from noctuary.errors import (
    CheckFailed,
    LabInUse,
    NoctuaryError,
    ServerUnavailable,
    UsageError,
)
from noctuary.lab import Lab

START_SECONDS = 180.0
_PR_SET_PDEATHSIG = 1

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # the second-generation UI makes the browser contact an analytics host
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
"""Settings that keep Prefect from calling anybody."""


def configured_server(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the Prefect API that the user configured, or None."""
    if address := environ.get("PREFECT_API_URL"):
        return address
    home = Path(environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    path = Path(environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    if not path.exists():
        return None
    with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
        name = environ.get("PREFECT_PROFILE") or profiles.get("active")
        address = profiles.get("profiles", {}).get(name, {}).get("PREFECT_API_URL")
        return str(address) if address else None
    return None


def flow_environment(lab: Lab, api: str) -> dict[str, str]:
    """Return the environment of processes that run flows: results belong to the lab."""
    return {
        **os.environ,
        **QUIET,
        "PREFECT_API_URL": api,
        "PREFECT_LOCAL_STORAGE_PATH": str(lab.prefect / "results"),
        "PREFECT_LOGGING_LEVEL": os.environ.get("PREFECT_LOGGING_LEVEL", "INFO"),
        "OMP_NUM_THREADS": "1",
        "NOCTUARY_LAB": str(lab.root),
    }


@contextlib.contextmanager
def claimed_port(wanted: int) -> Iterator[tuple[int, int | None]]:
    """Yield the wanted port of the loopback interface, or any free one where it is taken.

    A server takes seconds until it binds its port. Meanwhile a lock in the folder for temporary
    files, whose descriptor comes with the port, keeps other noctuary commands from taking it.
    """
    path = Path(tempfile.gettempdir()) / f"noctuary-port-{wanted}.lock"
    claim: TextIO | None = None
    with contextlib.suppress(OSError):  # another user's file: not ours to claim
        claim = path.open("a", encoding="utf-8")
    try:
        if claim is not None and _is_locked(claim) and (port := _bindable(wanted)) is not None:
            yield port, claim.fileno()
            return
        port = _bindable(0)
        if port is None:
            raise ServerUnavailable("no free port on 127.0.0.1; end a program that holds some")
        yield port, None
    finally:
        if claim is not None:
            claim.close()


def _is_locked(claim: TextIO) -> bool:
    """Whether the lock could be taken."""
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _bindable(port: int) -> int | None:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
    return None


@contextlib.contextmanager
def prefect_server(lab: Lab, port: int) -> Iterator[str]:
    """Start a Prefect server for the lab; yield the address of its API, before it is ready.

    Its database is the lab's, so runs of earlier nights are in its UI too. It holds a lock for
    as long as it lives, by which `running_server` finds it.

    Raises:
        LabInUse: the lab has a server already.
    """
    lab.prefect.mkdir(exist_ok=True)
    with _server_mark(lab).open("a+", encoding="utf-8") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            mark.seek(0)
            raise LabInUse(
                f"{lab.root} has a Prefect server already, at {mark.read().strip()}: another "
                "noctuary command keeps it; wait until that ends"
            ) from error
        with claimed_port(port) as (own_port, claim):
            api = f"http://127.0.0.1:{own_port}/api"
            mark.truncate(0)
            mark.write(api)
            mark.flush()
            locks = [mark.fileno()] + ([] if claim is None else [claim])
            process = _start_server(lab, own_port, api, locks)
    try:
        yield api
    finally:
        end(process)


def running_server(lab: Lab) -> str | None:
    """Return the address of the API of the lab's own server, where one runs or starts."""
    with contextlib.suppress(FileNotFoundError), _server_mark(lab).open(encoding="utf-8") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return mark.read().strip() or None
    return None


def _server_mark(lab: Lab) -> Path:
    return lab.prefect / "server"


def _start_server(lab: Lab, port: int, api: str, locks: list[int]) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        **QUIET,
        "PREFECT_HOME": str(lab.prefect),
        "PREFECT_API_URL": api,
        "PREFECT_UI_API_URL": api,
        # a missed night is not made up for: one run is scheduled ahead, not a hundred
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "2",
        # SQLite refuses whoever read before another wrote, and the client then waits two seconds
        # before it asks again; so what task runs did is written once a second, not at once
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with (lab.logs / "server.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=lab.root,  # no prefect.toml of whatever folder we are in
            start_new_session=True,
            pass_fds=locks,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )


def is_healthy(api: str) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait_for_server(api: str, lab: Lab, seconds: float = START_SECONDS) -> None:
    """Return when the server is healthy.

    Raises:
        ServerUnavailable: it is not, within the time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_healthy(api):
            return
        time.sleep(0.25)
    raise ServerUnavailable(
        f"the Prefect server at {api} was not ready within {seconds:.0f} s; its log is "
        f"{lab.logs / 'server.log'}"
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class FlowProcess:
    """A process that works with Prefect: `python -m flows ACTION`, with the request on its stdin.

    It answers in lines of JSON, the last of which is the outcome.
    """

    def __init__(self, action: str, request: str, lab: Lab, api: str) -> None:
        self.log_path = lab.logs / f"{action}.log"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows", action],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=flow_environment(lab, api),
                cwd=lab.root,  # no prefect.toml of whatever folder we are in
                start_new_session=True,  # Ctrl-C is for us; we tell it
            )
        assert self._process.stdin is not None
        self._process.stdin.write(request.encode("utf-8") + b"\n")
        self._process.stdin.flush()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def hear(self) -> dict[str, Any]:
        """Wait for the next answer and return it.

        Raises:
            NoctuaryError: what ended the process, with its exit status.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
        else:
            status = self._process.wait()
            answer = {"error": f"the process that runs the flow ended with status {status}"}
        if "error" not in answer:
            return answer
        status = self._process.wait()
        log = "" if status == UsageError.exit_status else f" (log: {self.log_path})"
        error: NoctuaryError = CheckFailed(f"{answer['error']}{log}")
        error.exit_status = status if status in (1, 2, 3) else 1
        raise error

    def outcome(self) -> dict[str, Any]:
        """Wait for the end; return the flow's summary.

        Raises:
            NoctuaryError: what ended the flow, with its exit status.
        """
        while "summary" not in (answer := self.hear()):
            pass
        self._process.wait()
        summary: dict[str, Any] = answer["summary"]
        return summary

    def stop(self) -> None:
        end(self._process)


def end(process: "subprocess.Popen[bytes]", patience: float = 10.0) -> None:
    """End a process that we started: politely, and then not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

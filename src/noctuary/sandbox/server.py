"""The server process that stays warm and forks a child for each job.

Start as `python -m noctuary.sandbox.server fast`, or `portable`: it imports torch and Lightning,
trains a toy model once so that everything is loaded, says `ready`, and then obeys lines on its
standard input. A fork takes milliseconds where a fresh interpreter takes seconds. When its
standard input ends, its owner is gone: it kills what runs and leaves.

It runs one thread only (forking a process with threads can hang its children), never touches
CUDA itself, and never reads candidate code. What a job left running is found among its own
children, whatever group it fled to, and killed. Does not confine: that is the child's first work.
"""

import contextlib
import ctypes
import gc
import json
import os
import pwd
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from noctuary.config import Arithmetic
from noctuary.policy import Layer
from noctuary.sandbox.child import become_child
from noctuary.sandbox.layers import LAYERS, Apply, Scene, namespaces
from noctuary.sandbox.limits import address_space_binds, may_use_cuda, resident_bytes
from noctuary.sandbox.protocol import NO_SPACE_EXIT, Confinement, Job, JobEnd

GRACE_SECONDS = 0.2
"""How often the server looks for children that overran, or took too much memory."""

MAX_REPORT_BYTES = 2**15
"""What a child may say of its layers; less than a pipe holds."""

_PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Running:
    """A job in flight.

    Attributes:
        report: descriptor from which to read how it is confined.
        resident_limit: bytes at which it is killed; None where the kernel bounds it.
    """

    number: int
    started: float
    deadline: float
    report: int
    resident_limit: int | None
    timed_out: bool = False
    over_memory: bool = False


class Server:
    """Forks jobs as told and reports how each ended. Holds no state but the running jobs.

    Args:
        commands, reports: descriptors to read jobs from, and to say there how they ended.
        layers: how each layer is applied.
        finds_gpu: says whether a job for a device may find a GPU.
    """

    def __init__(
        self,
        commands: int,
        reports: int,
        layers: Mapping[Layer, Apply],
        finds_gpu: Callable[[str], bool],
    ) -> None:
        self.commands = commands
        self.reports = reports
        self.layers = layers
        self.finds_gpu = finds_gpu
        self.home = home_folder()
        self.secrets = files_outside(self.home)
        self.namespaces = namespaces()
        self.running: dict[int, Running] = {}  # by process id

    def serve(self) -> None:
        """Obey until the standard input ends; then kill what runs."""
        selector = selectors.DefaultSelector()
        selector.register(self.commands, selectors.EVENT_READ)
        wake_read, wake_write = _pipe()
        selector.register(wake_read, selectors.EVENT_READ)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        pending = b""
        while True:
            ready = {key.fd for key, _ in selector.select(timeout=self._patience())}
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            if self.commands in ready:
                data = os.read(self.commands, 65536)
                if not data:
                    break
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
            self._kill_overdue()
            self._reap()
            self._kill_escaped()
        for pid in self.running:
            _kill_group(pid)
        self.running.clear()
        while _children():  # who fled comes to us when its parent is gone
            self._kill_escaped(wait=True)

    def _patience(self) -> float | None:
        if not self.running:
            return None
        if any(job.resident_limit is not None for job in self.running.values()):
            return GRACE_SECONDS
        nearest = min(job.deadline for job in self.running.values())
        return max(0.0, min(nearest - time.monotonic(), 5.0)) + GRACE_SECONDS

    def _obey(self, command: dict[str, Any]) -> None:
        received = time.monotonic()
        job = Job.model_validate(command["job"])
        on_cuda = self.finds_gpu(job.request.get("device", "cpu"))
        server = os.getpid()
        read_end, write_end = _pipe()
        pid = os.fork()
        if pid == 0:
            for descriptor in (self.commands, self.reports, read_end):
                os.close(descriptor)
            scene = Scene(
                job=job,
                received=received,
                on_cuda=on_cuda,
                server=server,
                home=self.home,
                secrets=self.secrets,
                namespaces=self.namespaces,
                report=write_end,
            )
            become_child(scene, self.layers)
        os.close(write_end)
        watched = not address_space_binds(on_cuda)
        self.running[pid] = Running(
            number=command["number"],
            started=received,
            deadline=received + job.limits.wall_seconds,
            report=read_end,
            resident_limit=(
                resident_bytes(server) + job.limits.memory_mb * 2**20 if watched else None
            ),
        )

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, job in self.running.items():
            if now >= job.deadline and not job.timed_out:
                job.timed_out = True
                _kill_group(pid)
            limit = job.resident_limit
            if limit is not None and not job.over_memory and resident_bytes(pid) > limit:
                job.over_memory = True
                _kill_group(pid)

    def _reap(self) -> None:
        for pid in list(self.running):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended == 0:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what the job may have left behind
            job = self.running.pop(pid)
            exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
            killed = job.timed_out or job.over_memory or exit_code == NO_SPACE_EXIT
            confinement = _read_confinement(job.report, killed)
            end = JobEnd(
                **confinement.model_dump(),
                exit_code=exit_code,
                signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                timed_out=job.timed_out,
                over_memory=job.over_memory,
                wall_seconds=time.monotonic() - job.started,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                peak_memory_mb=usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024),
            )
            self._report({"number": job.number, "end": end.model_dump()})

    def _kill_escaped(self, wait: bool = False) -> None:
        """Kill children that are no jobs: orphans of jobs that had left their group."""
        for pid in _children():
            if pid not in self.running:
                _kill_group(pid)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0 if wait else os.WNOHANG)

    def _report(self, message: dict[str, Any]) -> None:
        os.write(self.reports, json.dumps(message).encode("utf-8") + b"\n")


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe that no program inherits and that nobody waits at."""
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):
        os.set_blocking(end, False)
    return read_end, write_end


def home_folder() -> Path | None:
    """Return the home folder of the user, or None where he has none of his own."""
    try:
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        return home if home.stat().st_uid == os.getuid() else None
    except (KeyError, OSError):  # a container's user without a name, or without a folder
        return None


def files_outside(home: Path | None) -> tuple[Path, ...]:
    """Return files that this process can read and no job may."""
    found = [Path("/etc/passwd")]
    if home is not None:
        found += [path for path in sorted(home.iterdir()) if path.is_file()][:1]
    return tuple(path for path in found if os.access(path, os.R_OK))


def _children() -> list[int]:
    """Return the children of this process; none where the system does not list them."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        return [int(pid) for pid in listing.read_text(encoding="ascii").split()]
    except OSError:
        return []


def _read_confinement(report: int, killed: bool) -> Confinement:
    """Return what a child said of its layers; one that said nothing was not confined.

    Args:
        killed: whether it was ended from outside, or found no room, and had no time to say it.
    """
    try:
        said = os.read(report, MAX_REPORT_BYTES)
        return Confinement.model_validate_json(said)
    except (BlockingIOError, ValidationError):
        silent = "" if killed else "the process ended before it said how it is confined"
        return Confinement(refused=silent)
    finally:
        os.close(report)


def warm_up(arithmetic: Arithmetic) -> None:
    """Load and run once everything that a job needs, so that forks find it in memory."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(arithmetic == "portable")
    from noctuary.audit.candidate import audit_mixer  # noqa: F401 - for the forks
    from noctuary.training.warmup import train_toy

    _look_up_mechanisms()
    with tempfile.TemporaryDirectory() as folder:
        train_toy(Path(folder))
    sys.dont_write_bytecode = True  # the forks cannot, and need not try
    gc.collect()
    gc.freeze()  # keep the collector from touching, and so copying, the shared pages


def _look_up_mechanisms() -> None:
    """Load what the layers use: once confined, a process finds no library any more."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError):  # the child says what is missing, and why
        import landlockpy
        import seccompy

        landlockpy.supported()
        seccompy.supported()


def main(
    layers: Mapping[Layer, Apply] = LAYERS, finds_gpu: Callable[[str], bool] = may_use_cuda
) -> None:
    arithmetic: Arithmetic = TypeAdapter(Arithmetic).validate_python(sys.argv[1])
    # the protocol gets descriptors of its own: prints of libraries must not reach it
    commands, reports = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who ends us
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = Server(commands, reports, layers, finds_gpu)
    warm_up(arithmetic)
    server._report({"ready": True})
    server.serve()


if __name__ == "__main__":
    main()

"""The server process that stays warm and forks a child for each job, and what the child does.

Start as `python -m noctuary.sandbox.child`: it imports torch and Lightning, trains a toy model
once so that everything is loaded, says `ready`, and then obeys lines on its standard input. A
fork takes milliseconds where a fresh interpreter takes seconds. When its standard input ends,
its owner is gone: it kills what runs and leaves.

It runs one thread only (forking a process with threads can hang its children) and never
touches CUDA itself.
"""

import contextlib
import errno
import gc
import json
import os
import selectors
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noctuary.sandbox.limits import apply, may_use_cuda
from noctuary.sandbox.protocol import NO_SPACE_EXIT, OUTCOME_FILE, OUTPUT_FILE, Job, JobEnd

GRACE_SECONDS = 0.2
"""How often the server looks for children that ended or overran."""


@dataclass
class Running:
    number: int
    started: float
    deadline: float
    timed_out: bool = False


class Server:
    """Forks jobs as told and reports how each ended. Holds no state but the running jobs."""

    def __init__(self, commands: int, reports: int) -> None:
        self.commands = commands
        self.reports = reports
        self.running: dict[int, Running] = {}  # by process id

    def serve(self) -> None:
        """Obey until the standard input ends; then kill what runs."""
        selector = selectors.DefaultSelector()
        selector.register(self.commands, selectors.EVENT_READ)
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
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
        for pid in self.running:
            _kill_group(pid)

    def _patience(self) -> float | None:
        if not self.running:
            return None
        nearest = min(job.deadline for job in self.running.values())
        return max(0.0, min(nearest - time.monotonic(), 5.0)) + GRACE_SECONDS

    def _obey(self, command: dict[str, Any]) -> None:
        job = Job.model_validate(command["job"])
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(job, server)
        now = time.monotonic()
        self.running[pid] = Running(command["number"], now, now + job.limits.wall_seconds)

    def _become_child(self, job: Job, server: int) -> None:
        """Run the job and end the process; never returns into the server's loop."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for kind in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
                signal.signal(kind, signal.SIG_DFL)
            os.close(self.commands)
            os.close(self.reports)
            status = run_job(job, server)
        except BaseException as error:
            if _is_no_space(error):
                status = NO_SPACE_EXIT
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for pid, job in self.running.items():
            if now >= job.deadline and not job.timed_out:
                job.timed_out = True
                _kill_group(pid)

    def _reap(self) -> None:
        for pid in list(self.running):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended == 0:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what the job may have left behind
            job = self.running.pop(pid)
            end = JobEnd(
                exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
                signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
                timed_out=job.timed_out,
                wall_seconds=time.monotonic() - job.started,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                peak_memory_mb=usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024),
            )
            self._report({"number": job.number, "end": end.model_dump()})

    def _report(self, message: dict[str, Any]) -> None:
        os.write(self.reports, json.dumps(message).encode("utf-8") + b"\n")


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def run_job(job: Job, server: int) -> int:
    """Run a job in this process, under its limits; return the exit status."""
    folder = Path(job.folder)
    (folder / OUTCOME_FILE).unlink(missing_ok=True)  # of the same job, before a server was lost
    output = os.open(folder / OUTPUT_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = str(folder)
    on_cuda = may_use_cuda(job.request.get("device", "cpu"))
    apply(job.limits, parent=server, address_space=not on_cuda)
    try:
        outcome = perform(job, folder)
    except BaseException as error:  # whatever a candidate raises is its outcome, never ours
        if _is_no_space(error):
            return NO_SPACE_EXIT
        with contextlib.suppress(OSError):  # a full disk takes no traceback
            traceback.print_exc()
        outcome = failure(error)
    try:
        (folder / OUTCOME_FILE).write_text(json.dumps(outcome), encoding="utf-8")
    except OSError as error:
        return NO_SPACE_EXIT if _is_no_space(error) else 74
    return 0


def _is_no_space(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def perform(job: Job, folder: Path) -> dict[str, Any]:
    """Do what the kind of the job says."""
    from noctuary.training.trial import TrialRequest, run_trial

    if job.kind == "trial":
        return run_trial(TrialRequest.model_validate(job.request), folder)
    if job.kind == "audit":
        from noctuary.audit.candidate import AuditRequest, audit_mixer

        return audit_mixer(AuditRequest.model_validate(job.request))
    from noctuary.training.probe import probe

    return probe()


def failure(error: BaseException) -> dict[str, Any]:
    """Return the outcome of a job that raised: a status and one line of reason."""
    from noctuary.training.watch import Diverged, TooSlow

    line = (str(error).strip().splitlines() or [""])[0][:300]
    reason = f"{type(error).__name__}: {line}"
    if isinstance(error, Diverged):
        return {"status": "diverged", "reason": line}
    if isinstance(error, TooSlow):
        return {"status": "timeout", "reason": line}
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return {"status": "oom", "reason": reason}
    return {"status": "crashed", "reason": reason}


def warm_up() -> None:
    """Load and run once everything that a trial needs, so that forks find it in memory."""
    import torch

    torch.set_num_threads(1)
    from noctuary.training.warmup import train_toy

    with tempfile.TemporaryDirectory() as folder:
        train_toy(Path(folder))
    gc.collect()
    gc.freeze()  # keep the collector from touching, and so copying, the shared pages


def main() -> None:
    # the protocol gets descriptors of its own: prints of libraries must not reach it
    commands, reports = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who ends us
    server = Server(commands, reports)
    warm_up()
    server._report({"ready": True})
    server.serve()


if __name__ == "__main__":
    main()

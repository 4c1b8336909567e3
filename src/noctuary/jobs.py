"""Running one job on candidate code: its folder, its end, and what can be believed of it.

What audits and trials have in common. Covers the work folder and its clearing, a full disk, and
the words for what stopped a job. Does not know what a job is for.
"""

import contextlib
import shutil
import signal
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noctuary.domain import Status
from noctuary.errors import SandboxRefused
from noctuary.lab import Lab, explaining_disk_errors, write_atomically
from noctuary.policy import Layer, SandboxPolicy
from noctuary.sandbox.launcher import Launcher
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.outcome import Outcome, OutcomeT, read_outcome
from noctuary.sandbox.protocol import CHECKPOINT_FILES, NO_SPACE_EXIT, Job, JobEnd, JobKind

LASTING = ".trial"
"""Suffix of the work folders that keep their name, so that a checkpoint in them is found."""


class JobRunner:
    """Runs jobs of a lab in its launcher's processes.

    Args:
        demanded: layers of the sandbox without which no candidate code is read.
    """

    def __init__(
        self,
        lab: Lab,
        launcher: Launcher,
        demanded: tuple[Layer, ...] = SandboxPolicy().demanded,
    ) -> None:
        self.lab = lab
        self.launcher = launcher
        self.demanded = demanded

    def run(
        self,
        kind: JobKind,
        request: dict[str, Any],
        folder: Path,
        limits: Limits,
        shape: type[OutcomeT],
        *,
        readable: Sequence[str | Path] = (),
        writable: Sequence[str] = (),
        cold: bool = False,
    ) -> tuple[JobEnd, OutcomeT | None]:
        """Run a job; return how it ended, and its outcome where one can be read.

        Hold a slot of the launcher meanwhile.

        Args:
            readable: files and folders, beside its own, that the job may read.
            writable: names of the files in its folder that it may write, beside its outcome.
            cold: whether in a server of its own.

        Raises:
            SandboxRefused: a demanded layer is missing, or one leaks; no candidate code was read.
            NoSpace: the disk is full.
            WorkerLost: the process that starts jobs cannot be kept alive.
        """
        job = Job(
            kind=kind,
            request=request,
            folder=str(folder.resolve()),
            limits=limits,
            readable=tuple(str(Path(path).resolve()) for path in readable),
            writable=tuple(writable),
            demanded=self.demanded,
        )
        for _ in range(2):
            end = self.launcher.run(job, cold)
            if end.refused:
                raise SandboxRefused(
                    f"the sandbox does not hold here: {end.refused}; expected every layer under "
                    "`sandbox.demanded` of policy.toml: see `noctuary doctor`"
                )
            if end.exit_code != NO_SPACE_EXIT:
                break
            # where there is space, another job took it for a moment, or the candidate lies
            self._require_space(folder)
        clean = end.exit_code == 0 and not end.signal
        return end, read_outcome(folder, shape) if clean else None

    @contextlib.contextmanager
    def work_folder(self, name: str, lasting: bool = False) -> Iterator[Path]:
        """Make a folder for a job; a lasting one is found again as long as it has a checkpoint."""
        suffix = LASTING if lasting else f".{uuid.uuid4().hex[:8]}"
        folder = self.lab.work / f"{name}{suffix}"
        with explaining_disk_errors(self.lab.root):
            clear_folder(folder)
            folder.mkdir(parents=True, exist_ok=lasting)
        try:
            yield folder
        finally:
            clear_folder(folder)

    def _require_space(self, folder: Path) -> None:
        """Raise NoSpace where the disk is full, or this user's share of it."""
        self.lab.require_space()
        with explaining_disk_errors(self.lab.root):
            write_atomically(folder / "probe", bytes(2**20))
            (folder / "probe").unlink()


def clear_work(lab: Lab) -> None:
    """Remove what killed processes left behind, checkpoints excepted.

    Only while holding the lab's lock.
    """
    for folder in lab.work.iterdir():
        clear_folder(folder)


def clear_folder(folder: Path) -> None:
    """Remove a work folder, or all but the checkpoints that its trial will go on from."""
    kept = {name for name in CHECKPOINT_FILES if _has_content(folder / name)}
    if folder.suffix != LASTING or not kept:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.name not in kept:
            discard(path)


def _has_content(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size > 0


def discard(path: Path) -> None:
    """Remove what a job left under a name, be it a file, a link, a folder or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def explain(end: JobEnd, outcome: Outcome | None, limits: Limits) -> tuple[Status, str]:
    """Return the status and one line of reason for a job that did not succeed."""
    if end.timed_out:
        return "timeout", f"ended after {end.wall_seconds:.0f} s (limit {limits.wall_seconds:g} s)"
    if outcome is not None:
        return outcome.status, outcome.reason
    if end.exit_code == NO_SPACE_EXIT:
        return "crashed", "found the disk full twice, which it is not"
    if end.over_memory:
        return "oom", f"ended at {end.peak_memory_mb:.0f} MB (limit {limits.memory_mb} MB more)"
    if end.signal == signal.SIGKILL and end.cpu_seconds > limits.wall_seconds:
        return "timeout", f"ended after {end.cpu_seconds:.0f} s of processor time"
    if end.signal == signal.SIGKILL:
        return "oom", f"killed by the system at {end.peak_memory_mb:.0f} MB"
    if end.signal:
        return "crashed", f"ended by signal {end.signal}"
    return "crashed", f"ended with status {end.exit_code} and no outcome that can be read"

"""The limits a job runs under, and the calls that apply them inside its process.

Covers what the kernel counts for a process: address space, processor time, sizes of files, open
files, processes. Wall time, and memory where address space cannot be bounded, are watched by the
server from outside.
"""

import contextlib
import math
import os
import resource
import signal
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

CPU_SECONDS_SPARE = 5
"""The processor time of a job ends so long after its wall time could have been used up."""


class Limits(BaseModel):
    """What a job may use.

    Attributes:
        wall_seconds: after this the whole process group is killed.
        memory_mb: memory beyond what the warm parent has: address space, or the resident set
            where the job may use CUDA, which reserves tens of gigabytes of address space.
        file_mb: size of each file that it writes.
        open_files: descriptors at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall_seconds: PositiveFloat
    memory_mb: PositiveInt
    file_mb: PositiveInt = 128
    open_files: PositiveInt = 256

    def resources(self, on_cuda: bool) -> dict[int, int]:
        """Return what the kernel is told: resource -> limit, the address space excepted."""
        threads = (os.cpu_count() or 1) if on_cuda else 1
        found = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: self.file_mb * 2**20,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_CPU: threads * math.ceil(self.wall_seconds) + CPU_SECONDS_SPARE,
        }
        if not on_cuda:
            # both bind an ordinary user alone; nobody's job needs a process, a thread or a lock
            found[resource.RLIMIT_NPROC] = 0
            found[resource.RLIMIT_MEMLOCK] = 0
        return found


def may_use_cuda(device: str) -> bool:
    """Say whether a job for this device may find a GPU, without asking CUDA."""
    return device != "cpu" and Path("/dev/nvidiactl").exists()


def address_space_binds(on_cuda: bool) -> bool:
    """Say whether memory is bounded by address space; else the server has to watch it."""
    return sys.platform == "linux" and not on_cuda


def apply_limits(limits: Limits, on_cuda: bool) -> None:
    """Bind this process. A file that grows too large is an error (EFBIG), not a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for kind, wanted in limits.resources(on_cuda).items():
        _lower(kind, wanted)
    with contextlib.suppress(OSError):  # where memory runs out, a job goes before its server
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    if address_space_binds(on_cuda):
        _lower(resource.RLIMIT_AS, _mapped_bytes() + limits.memory_mb * 2**20)


def _lower(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (bound, bound))


def _mapped_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def resident_bytes(pid: int) -> int:
    """Return the resident set of a process; 0 where it is gone, or cannot be looked up."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()

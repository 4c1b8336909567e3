"""The limits a job runs under, and the calls that apply them inside its process."""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

MAX_FILE_BYTES = 512 * 2**20
_PR_SET_PDEATHSIG = 1


class Limits(BaseModel):
    """What a job may use.

    Attributes:
        wall_seconds: after this the whole process group is killed.
        memory_mb: address space beyond what the warm parent has mapped; not applied where the
            job may use CUDA, which reserves tens of gigabytes of address space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall_seconds: float
    memory_mb: int


def may_use_cuda(device: str) -> bool:
    """Say whether a job for this device may find a GPU, without asking CUDA."""
    return device != "cpu" and Path("/dev/nvidiactl").exists()


def apply(limits: Limits, *, parent: int, address_space: bool) -> None:
    """Bind this process to the limits and to the life of its parent.

    Args:
        parent: its process id, from before the fork.
    """
    os.setsid()  # a group of its own, so that it is killed with all its children
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    if address_space:
        ceiling = _mapped_bytes() + limits.memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))


def _mapped_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():  # not Linux: a generous guess for an interpreter with torch loaded
        return 8 * 2**30
    return int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()

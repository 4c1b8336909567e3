"""What the launcher and its server process say to each other: one line of JSON a message."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from noctuary.policy import Layer
from noctuary.sandbox.limits import Limits

JobKind = Literal["train", "logits", "audit", "probe"]

NO_SPACE_EXIT = 28
"""Exit status of a job whose own files found no room: the disk is to blame, not the candidate."""

CHECKPOINT_FILES = ("checkpoint.0", "checkpoint.1")
"""Overwritten in turns."""

OUTCOME_FILE = "outcome.json"
OUTPUT_FILE = "output.log"


class Job(BaseModel):
    """One piece of candidate code to run.

    Attributes:
        request: the arguments of the job, as the function for its kind takes them.
        folder: belongs to this job alone; it may read all that is in it.
        readable: further files and folders that it may read.
        writable: names of the files in the folder that it may write, beside `OUTCOME_FILE`. They
            are made for it, empty, where they are missing; it can make or remove none itself.
        demanded: layers without which it ends before it reads candidate code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: JobKind
    request: dict[str, Any]
    folder: str
    limits: Limits
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    demanded: tuple[Layer, ...] = ()


class Confinement(BaseModel):
    """What a job's process found of its layers, before it read candidate code.

    Attributes:
        held: layers that were applied and let none of their canaries through.
        missing: layer -> why it does not hold.
        refused: why no candidate code was read; empty where it was.
        confined_after: seconds from the server's receipt until candidate code could be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    held: tuple[Layer, ...] = ()
    missing: dict[Layer, str] = {}
    refused: str = ""
    confined_after: float = 0.0


class JobEnd(Confinement):
    """How a job's process ended, as the server saw it; what it had reported before included.

    Attributes:
        signal: the signal that ended it, or 0.
        timed_out: it was killed because its wall time was over.
        over_memory: it was killed because it took more memory than it may.
        wall_seconds, cpu_seconds, peak_memory_mb: what it used.
    """

    exit_code: int
    signal: int
    timed_out: bool
    over_memory: bool = False
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float

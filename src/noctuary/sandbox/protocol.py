"""What the launcher and its server process say to each other: one line of JSON a message."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from noctuary.sandbox.limits import Limits

JobKind = Literal["trial", "audit", "probe"]

NO_SPACE_EXIT = 28
"""Exit status of a job whose own files found no room: the disk is to blame, not the candidate."""

CHECKPOINT_FILE = "checkpoint"
OUTCOME_FILE = "outcome.json"
OUTPUT_FILE = "output.log"


class Job(BaseModel):
    """One piece of candidate code to run.

    Attributes:
        request: the arguments of the job, as the function for its kind takes them.
        folder: where the job writes; it exists and belongs to this job alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: JobKind
    request: dict[str, Any]
    folder: str
    limits: Limits


class JobEnd(BaseModel):
    """How a job's process ended.

    Attributes:
        signal: the signal that ended it, or 0.
        timed_out: it was killed because its wall time was over.
        wall_seconds, cpu_seconds, peak_memory_mb: what it used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exit_code: int
    signal: int
    timed_out: bool
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float

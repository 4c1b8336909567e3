"""What a job's process says came of it, and the reading of it: believed only in these shapes."""

from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from noctuary.domain import Check, Status
from noctuary.sandbox.protocol import OUTCOME_FILE

MAX_OUTCOME_BYTES = 2**20

OutcomeT = TypeVar("OutcomeT", bound="Outcome")


class Outcome(BaseModel):
    """A status, and why it is not `ok`.

    Attributes:
        reason: one line; empty where all is well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    reason: str = ""


class TrialOutcome(Outcome):
    """The measurements of a trial, named as in `domain.Trial`."""

    score: FiniteFloat | None = None
    metrics: dict[str, FiniteFloat] = {}
    parameters: int | None = None
    steps: int = 0
    tokens: int = 0
    seconds: dict[str, FiniteFloat] = {}
    environment: dict[str, str | int] = {}

    @model_validator(mode="after")
    def _a_score_exists_only_where_all_is_well(self) -> Self:
        if (self.score is not None) != (self.status == "ok"):
            raise ValueError("a score goes with the status ok, and only with it")
        return self


class AuditOutcome(Outcome):
    """The dynamic checks of an audit, named as in `domain.Audit`."""

    checks: tuple[Check, ...] = ()
    ffn_width: int | None = None
    parameters: int | None = None


class ProbeOutcome(Outcome):
    """What a worker process finds, for `noctuary doctor`."""

    torch: str
    lightning: str
    cuda: bool
    device: str | None
    gpu_memory_mb: int | None
    instruction_set: str
    cores: int


def read_outcome(folder: Path, shape: type[OutcomeT]) -> OutcomeT | None:
    """Return what the worker wrote, or None where that is nothing, too large or out of shape."""
    path = folder / OUTCOME_FILE
    try:
        if path.is_symlink() or path.stat().st_size > MAX_OUTCOME_BYTES:
            return None
        return shape.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None

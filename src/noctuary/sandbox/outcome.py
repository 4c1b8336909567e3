"""What a job's process says came of it, and the reading of it: believed only in these shapes."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from noctuary.domain import Check, Status
from noctuary.sandbox.protocol import OUTCOME_FILE
from noctuary.sandbox.reading import read_bounded

MAX_OUTCOME_BYTES = 2**20

MAX_LINE = 300
MAX_CHECKS = 200

OutcomeT = TypeVar("OutcomeT", bound="Outcome")


def as_line(text: str) -> str:
    """Return text as a line that a terminal can show: short, and with nothing that steers it."""
    shown = text[: MAX_LINE + 1]
    line = "".join(letter if letter.isprintable() else " " for letter in shown)
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 3] + "..."


def _as_lines(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(
        check.model_copy(update={"name": as_line(check.name), "detail": as_line(check.detail)})
        for check in checks
    )


Line = Annotated[str, AfterValidator(as_line)]
Amount = Annotated[FiniteFloat, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Checks = Annotated[tuple[Check, ...], Field(max_length=MAX_CHECKS), AfterValidator(_as_lines)]


class Outcome(BaseModel):
    """A status, and why it is not `ok`.

    Attributes:
        reason: one line; empty where all is well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Status
    reason: Line = ""


class TrainOutcome(Outcome):
    """What a training says of itself; nothing that a score is made of.

    Attributes:
        seconds: wall seconds by part, named as in `domain.Trial`.
        environment: device, threads and versions.
    """

    gpu_memory_mb: Amount | None = None
    seconds: dict[Literal["setup", "train", "earlier"], Amount] = {}
    environment: Annotated[dict[Line, Line | Count], Field(max_length=20)] = {}


class LogitsOutcome(Outcome):
    """What a model costs, as counted in the process that has the candidate in it."""

    parameters: Count | None = None
    costs: dict[Literal["flops_per_token", "state_size"], Amount] = {}


class AuditOutcome(Outcome):
    """The dynamic checks of an audit, named as in `domain.Audit`."""

    checks: Checks = ()
    ffn_width: Count | None = None
    parameters: Count | None = None


class ProbeOutcome(Outcome):
    """What a worker process finds, for `noctuary doctor`."""

    torch: str
    lightning: str
    cuda: bool
    device: str | None
    gpu_memory_mb: int | None
    instruction_set: str


def read_outcome(folder: Path, shape: type[OutcomeT]) -> OutcomeT | None:
    """Return what the worker wrote, or None where that is nothing, too large or out of shape."""
    try:
        return shape.model_validate_json(read_bounded(folder / OUTCOME_FILE, MAX_OUTCOME_BYTES))
    except ValueError:  # not as agreed, in its bytes or its fields
        return None

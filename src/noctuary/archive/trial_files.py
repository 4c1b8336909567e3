"""Reading the folders of finished trials: `result.json` and `curve.csv`.

Covers reading and checking. Does not decide whether a trial counts; its status says that.
"""

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from noctuary.domain import Trial
from noctuary.errors import CheckFailed, NotFound

TRIAL_FILES = ("spec.json", "result.json", "curve.csv", "losses.bin", "weights.safetensors")
"""What a trial leaves that counts: the first two always, the others where it got so far."""


class CurvePoint(NamedTuple):
    """The mean training loss in nats up to a step, and the seconds since training began."""

    step: int
    loss: float
    seconds: float


class TrialFiles(NamedTuple):
    """What a trial's folder says; the digest changes when any byte of it does."""

    trial: Trial
    curve: tuple[CurvePoint, ...]
    digest: str


def read_trial(folder: Path, trial_id: str) -> TrialFiles:
    """Return the trial in `<folder>/<trial_id>`. A missing curve is an empty one.

    Raises:
        NotFound: there is no result, so the trial is not finished.
        CheckFailed: the result is damaged, or of another trial.
    """
    path = folder / trial_id / "result.json"
    try:
        result = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(
            f"{path} does not exist, so trial {trial_id} is not finished; only finished trials "
            "can be recorded: run it first"
        ) from error
    try:
        trial = Trial.model_validate_json(result)
    except ValidationError as error:
        raise CheckFailed(
            f"{path} is no result of a trial ({error.errors()[0]['msg']}); remove the folder "
            "and run the same command again"
        ) from error
    if trial.spec.trial_id != trial_id:
        raise CheckFailed(
            f"{path} is the result of trial {trial.spec.trial_id}, expected {trial_id}; remove "
            "the folder and run the same command again"
        )
    try:
        curve = (folder / trial_id / "curve.csv").read_bytes()
    except FileNotFoundError:
        curve = b""
    digest = hashlib.sha256(result + b"\0" + curve).hexdigest()
    return TrialFiles(trial, read_curve(curve), digest)


def read_curve(content: bytes) -> tuple[CurvePoint, ...]:
    """Return the points of a curve file; a line torn by a killed trial is left out."""
    points = []
    for row in csv.DictReader(content.decode("utf-8", errors="replace").splitlines()):
        try:
            points.append(CurvePoint(int(row["step"]), float(row["loss"]), float(row["seconds"])))
        except (KeyError, TypeError, ValueError):
            continue
    return tuple(points)

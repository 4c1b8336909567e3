"""Training a recorded trial again, and saying how far the result is from the record.

On the same kind of processor, with the same versions and settings, two trainings of one spec are
equal in every bit, so any difference means that the record is not of this training. Elsewhere
kernels round in other ways, and the distance is held against a tolerance. Covers training, its
losses and its weights; a replay starts afresh, in a folder of its own, and writes nothing into
the lab. Scores are not computed again: they follow from the weights. Whether the record is the
one that was signed is for `ledger verify`. Trials of a GPU are refused: nobody has measured how
far apart two trainings on one are.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from noctuary.archive.trial_files import read_trial
from noctuary.assignment import Assignment
from noctuary.bench.suite import Suite, suite_by_name
from noctuary.canonical import source_id
from noctuary.config import Arithmetic, TrainingSettings
from noctuary.distance import Distance, Tensor, distance, read_weights
from noctuary.domain import Candidate, Trial, TrialSpec, Value
from noctuary.errors import CheckFailed, UsageError
from noctuary.handover import read_floats
from noctuary.jobs import JobRunner
from noctuary.lab import Lab
from noctuary.plan import TRAINER_VERSION, arithmetic_of, text_of
from noctuary.sandbox.arithmetic import LIBRARIES
from noctuary.sandbox.reading import NotAsAgreed
from noctuary.scoring import Floats
from noctuary.training.requests import LOSSES_FILE, WEIGHTS_FILE
from noctuary.trial_jobs import Ended, Suspicious, TrialJobs

DECIDING = ("arithmetic", "processor", "instructions", "variables", *LIBRARIES)
"""Facts of a record: where all are the same now, so are all bits."""

RECORDED = (*DECIDING, "ffn_width", "source", "sequences")
"""Facts without which a trial cannot be trained again."""

SLOWER = 10
"""A replay may take so many times the processor seconds that the record says."""


class Tolerance(Value):
    """The distance from its record up to which a replay elsewhere holds; named as in `Distance`."""

    first_loss: float
    early_loss: float
    final_loss: float
    weight: float

    def covers(self, found: Distance) -> bool:
        return (
            found.first_loss <= self.first_loss
            and found.early_loss <= self.early_loss
            and found.final_loss <= self.final_loss
            and found.weight <= self.weight
        )


ELSEWHERE = Tolerance(first_loss=1e-5, early_loss=5e-3, final_loss=0.2, weight=2.0)
"""3 to 20 times what was measured between instruction sets of one processor: 5e-7, 2e-4, 0.04, 0.6
(`bench/arithmetic.py`: all human mixers for 100 steps; the most sensitive ones for 400). In the
first step rounding alone differs; some mixers amplify that a million times over a hundred steps. So
the beginning is held tightly, and the end only says that as much was learnt."""


class Training(NamedTuple):
    """What a training came to: its losses (steps,), and its weights by name."""

    losses: Floats
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Record:
    """A trial as it lies in the lab, found whole, with what is needed to train it again."""

    trial: Trial
    assignment: Assignment
    arithmetic: Arithmetic
    training: Training


class Replay(Value):
    """What a replay found.

    Attributes:
        changed: what decides the bits and is not as it was, as name -> (then, now).
        tolerance: None where the bits must be equal.
    """

    trial_id: str
    changed: dict[str, tuple[str, str]]
    distance: Distance
    tolerance: Tolerance | None

    @property
    def holds(self) -> bool:
        if self.tolerance is None:
            return self.distance.is_zero
        return self.tolerance.covers(self.distance)


def read_record(lab: Lab, trial_id: str, settings: TrainingSettings) -> Record:
    """Return a trial that can be replayed, with everything checked that needs no training.

    Raises:
        NotFound, UsageError: there is no such trial, or none that this noctuary can train again.
        CheckFailed: its files are missing, damaged, or not those that were recorded.
    """
    trial = read_trial(lab.trials, trial_id).trial
    spec = trial.spec
    _require_replayable(trial)
    suite = _suite(spec, settings)
    path = lab.candidates / f"{spec.candidate_id}.py"
    _require_source(path, trial)
    candidate = Candidate(
        candidate_id=spec.candidate_id,
        name=spec.candidate_id,
        kind="foreign",
        axes=None,
        path=str(path),
    )
    assignment = Assignment(
        candidate=candidate,
        ffn_width=trial.environment["ffn_width"],
        spec=spec,
        suite=suite,
        salt="",  # of the test, which is not made again
    )
    folder = lab.trials / trial_id
    try:
        losses = read_floats(folder / LOSSES_FILE, assignment.rung.steps)
        training = Training(losses, read_weights(folder / WEIGHTS_FILE))
    except NotAsAgreed as error:
        raise CheckFailed(
            f"{folder}: {error}; expected what the training left: restore it from a backup"
        ) from error
    return Record(trial, assignment, arithmetic_of(spec.trainer), training)


def replay(record: Record, jobs: JobRunner, settings: TrainingSettings, folder: Path) -> Replay:
    """Train again; return what came of it.

    Args:
        jobs: with a launcher of the record's arithmetic.
        folder: an empty one, for the training alone.

    Raises:
        CheckFailed: the training did not come to its end, or would be on other sequences.
        SandboxRefused, NoSpace, WorkerLost: no trial is to blame.
    """
    trial = record.trial
    seconds = SLOWER * trial.seconds.get("cpu", 0.0)
    patient = settings.model_copy(
        update={"device": "cpu", "trial_timeout": max(settings.trial_timeout, seconds)}
    )
    again = TrialJobs(jobs, patient, record.assignment, folder)
    then, now = trial.environment, again.computing()
    if then["sequences"] != now["sequences"]:
        raise CheckFailed(
            f"trial {trial.spec.trial_id} was trained on sequences of SHA-256 {then['sequences']}, "
            f"and those made of its spec have {now['sequences']}; expected the same: install "
            f"numpy {then['numpy']} (this is {now['numpy']})"
        )
    with jobs.launcher.slot():
        found = train(again)
    changed = {
        name: (str(then[name]), str(now[name])) for name in DECIDING if then[name] != now[name]
    }
    return Replay(
        trial_id=trial.spec.trial_id,
        changed=changed,
        distance=distance(*record.training, *found),
        tolerance=ELSEWHERE if changed else None,
    )


def train(jobs: TrialJobs) -> Training:
    """Train, and measure nothing.

    Raises:
        CheckFailed: the training did not come to its end.
    """
    try:
        jobs.train()
        losses = jobs.losses()
    except (Ended, Suspicious) as error:
        status = error.status if isinstance(error, Ended) else "suspicious"
        raise CheckFailed(
            f"the training of {jobs.assignment.spec.trial_id} ended as {status}: {error}; expected "
            "`ok`, as it is recorded"
        ) from error
    return Training(losses, read_weights(jobs.folder / WEIGHTS_FILE))


def _require_replayable(trial: Trial) -> None:
    spec, made = trial.spec, trial.environment
    if trial.status != "ok":
        raise UsageError(
            f"trial {spec.trial_id} is {trial.status} ({trial.reason}), so it has no weights; "
            f"expected one that is ok: `noctuary show {spec.candidate_id}` lists them"
        )
    if spec.trainer.split("-")[:2] != TRAINER_VERSION.split("-"):
        raise UsageError(
            f"trial {spec.trial_id} was trained by {spec.trainer}, and this noctuary trains by "
            f"{TRAINER_VERSION}; expected the same: replay it with the noctuary that trained it"
        )
    if not {*RECORDED} <= made.keys() or not isinstance(made["ffn_width"], int):
        raise UsageError(
            f"trial {spec.trial_id} was recorded by an older noctuary, which kept neither its "
            "losses nor what computed it; expected a trial of today's: train it in a new lab"
        )
    if made.get("accelerator") != "cpu":
        raise UsageError(
            f"trial {spec.trial_id} was trained on a GPU ({made.get('device')}), where sums come "
            "in any order; expected one that was trained on a CPU, as verifications are"
        )


def _suite(spec: TrialSpec, settings: TrainingSettings) -> Suite:
    try:
        suite = suite_by_name(spec.suite, text_of(settings))
        suite.task(spec.task)
    except UsageError as error:
        raise UsageError(
            f"trial {spec.trial_id} was trained on the suite {spec.suite}, which is not there as "
            "it was; expected the same version: use the noctuary, and the lab's `training.text`, "
            "that it was trained with"
        ) from error
    return suite


def _require_source(path: Path, trial: Trial) -> None:
    """Raise CheckFailed where a candidate's file is not the one that was trained."""
    expected = trial.environment["source"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckFailed(
            f"{path} cannot be read ({error.strerror}); expected the source that trial "
            f"{trial.spec.trial_id} was trained with: restore it from a backup"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    try:
        identity = source_id(content.decode("utf-8"))
    except (ValueError, SyntaxError):  # no Python any more
        identity = ""
    if found != expected or identity != trial.spec.candidate_id:
        raise CheckFailed(
            f"{path} has SHA-256 {found}, and trial {trial.spec.trial_id} was trained with "
            f"{expected}; expected the same file: restore it from a backup"
        )

"""The jobs of a trial, each in a process and a folder of its own, and what they may hand over.

Covers training, and mapping tokens to logits, with whatever keeps one from doing its part. Files
and numbers are looked at here and nowhere believed; what the logits are worth, and whether they
can be right, is the matter of `measuring`.
"""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from noctuary.assignment import SNAPSHOTS, Assignment
from noctuary.bench.tasks import Tokens
from noctuary.config import TrainingSettings
from noctuary.domain import Status, Trial
from noctuary.handover import read_floats, weights_bytes
from noctuary.jobs import JobRunner, explain
from noctuary.lab import explaining_disk_errors
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.outcome import LogitsOutcome, OutcomeT, TrainOutcome
from noctuary.sandbox.protocol import OUTPUT_FILE, JobEnd
from noctuary.sandbox.reading import NotAsAgreed
from noctuary.scoring import Floats
from noctuary.training.requests import (
    INFERENCE_WRITES,
    LOGITS_FILE,
    LOSSES_FILE,
    SNAPSHOTS_FILE,
    TOKEN_TYPE,
    TOKENS_FILE,
    TRAINING_WRITES,
    WEIGHTS_FILE,
    LogitsRequest,
    Part,
    TrainRequest,
)

TEST_BATCH = 4
"""Tokens of a test batch, in training batches: larger ones are cheaper, and keep no gradients."""

LEAST_FILE_MB = 128

WHILE_MEASURED = ", while it was measured"


class Suspicious(Exception):
    """A result that should not be possible; the message says in what way."""


class Ended(Exception):
    """The trial is over without a score."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


class Piece(NamedTuple):
    """Sequences, and the weights to map them with.

    Attributes:
        inputs: (N, T).
        step: of a snapshot, or 0 for the weights as initialised.
    """

    inputs: Tokens
    step: int | Literal["end"] = "end"


class TrialJobs:
    """Runs the jobs of one trial, once each. Hold a slot of the launcher meanwhile.

    Args:
        folder: of the training.
        cold: whether each job gets a server of its own.
    """

    def __init__(
        self,
        jobs: JobRunner,
        settings: TrainingSettings,
        assignment: Assignment,
        folder: Path,
        cold: bool = False,
    ) -> None:
        self.jobs = jobs
        self.settings = settings
        self.assignment = assignment
        self.folder = folder
        self.cold = cold
        self.begin = time.monotonic()
        self.ends: list[JobEnd] = []

    def train(self) -> TrainOutcome:
        """Train; weights, snapshots and losses are left in the trial's folder.

        Raises:
            Ended: the training did not come to its end.
            SandboxRefused, NoSpace, WorkerLost: no candidate is to blame.
        """
        one, settings = self.assignment, self.settings
        tokens = self.folder / TOKENS_FILE
        self._write(tokens, one.training)
        request = TrainRequest(
            **dict(one.model(settings.device)),
            trial_id=one.spec.trial_id,
            computing=self.jobs.launcher.computing,
            tokens=tokens,
            length=one.task.length,
            steps=one.rung.steps,
            batch_size=one.batch_size,
            weight_decay=one.rung.weight_decay,
            learning_rate=one.spec.learning_rate,
            snapshots=one.snapshots,
            knowing_nothing=max(one.task.chance_loss, math.log(one.task.vocab_size)),
            checkpoint_seconds=settings.checkpoint,
            deadline_seconds=settings.trial_timeout,
        )
        # a checkpoint has the weights, two moments of each, and the snapshots
        largest = (3 + SNAPSHOTS) * one.weights_limit
        limits = self._limits(2 * largest)
        end, outcome = self.jobs.run(
            "train",
            request.model_dump(mode="json"),
            self.folder,
            limits,
            TrainOutcome,
            readable=[one.candidate.path],
            writable=TRAINING_WRITES,
            cold=self.cold,
        )
        return self._require_ok(end, outcome, limits)

    def losses(self) -> Floats:
        """Look at what the training left; return the losses that it reported, (steps,).

        Raises:
            Ended: it left something else than it should.
            Suspicious: the weights are larger than a model within the budget has them.
        """
        one = self.assignment
        try:
            losses = read_floats(self.folder / LOSSES_FILE, one.rung.steps)
            weights = weights_bytes(self.folder / WEIGHTS_FILE)
            snapshots = weights_bytes(self.folder / SNAPSHOTS_FILE)
        except NotAsAgreed as error:
            raise Ended("crashed", str(error)) from error
        if not np.isfinite(losses).all():
            raise Ended("crashed", f"{LOSSES_FILE} has losses that are not finite")
        largest = max(weights, snapshots / max(1, len(one.snapshots)))
        if largest > one.weights_limit:
            raise Suspicious(
                f"the weights have {largest:.0f} bytes; expected at most the {one.weights_limit} "
                "of a model within the budget"
            )
        return losses

    def map(
        self, pieces: Sequence[Piece], costs_at: int | None = None
    ) -> tuple[list[Floats], LogitsOutcome]:
        """Map pieces to logits in a fresh process, whose folder holds nothing but the tokens.

        On the CPU, wherever the training was: a process takes two seconds to meet a GPU.

        Args:
            costs_at: length at which the model's costs are counted; None for not at all.

        Returns:
            The logits (N, T, V) of each piece, and the costs.

        Raises:
            Ended: there are not as many logits as there should be, or none.
            SandboxRefused, NoSpace, WorkerLost: no candidate is to blame.
        """
        one = self.assignment
        parts = tuple(self._part(piece) for piece in pieces)
        count = sum(part.tokens for part in parts) * one.task.vocab_size
        limits = self._limits(4 * count)
        weights = {part.weights for part in parts if part.weights is not None}
        with self.jobs.work_folder(f"logits-{one.spec.trial_id}") as folder:
            tokens = folder / TOKENS_FILE
            self._write(tokens, [piece.inputs for piece in pieces])
            request = LogitsRequest(
                **dict(one.model("cpu")),
                tokens=tokens,
                parts=parts,
                batch_tokens=TEST_BATCH * one.rung.tokens_per_step,
                costs_at=costs_at,
            )
            end, outcome = self.jobs.run(
                "logits",
                request.model_dump(mode="json"),
                folder,
                limits,
                LogitsOutcome,
                readable=[one.candidate.path, *sorted(weights)],
                writable=INFERENCE_WRITES,
                cold=self.cold,
            )
            if (folder / OUTPUT_FILE).exists():
                (folder / OUTPUT_FILE).replace(self.folder / OUTPUT_FILE)
            found = self._require_ok(end, outcome, limits, WHILE_MEASURED)
            try:
                logits = read_floats(folder / LOGITS_FILE, count)
            except NotAsAgreed as error:
                raise Ended("crashed", f"{error}{WHILE_MEASURED}") from error
        return list(_cut(logits, parts, one.task.vocab_size)), found

    def failed(self, status: Status, reason: str) -> Trial:
        """Return the record of a trial without a score."""
        return Trial(
            spec=self.assignment.spec,
            status=status,
            reason=reason,
            seconds=self.cost(),
            peak_memory_mb=self.peak(),
            environment={**self.computing(), **self.sandbox()},
        )

    def cost(self, trained: TrainOutcome | None = None) -> dict[str, float]:
        """Return the seconds of a record; those within the training are as it says."""
        stages = ("evaluate", "check")
        cost = {name: end.wall_seconds for name, end in zip(stages, self.ends[1:], strict=False)}
        cost["total"] = time.monotonic() - self.begin
        cost["cpu"] = sum(end.cpu_seconds for end in self.ends)
        if trained is not None:
            said = {str(name): value for name, value in trained.seconds.items()}
            cost["total"] += said.pop("earlier", 0.0)  # before it was killed
            cost = said | cost
        return cost

    def peak(self) -> float | None:
        """Return the memory of the largest job, in MB."""
        return max((end.peak_memory_mb for end in self.ends), default=None)

    def computing(self) -> dict[str, str | int]:
        """Return what decides the bits of the training, as the trusted side knows it."""
        one, sequences = self.assignment, hashlib.sha256()
        for array in one.training:
            sequences.update(array.astype(TOKEN_TYPE).tobytes())
        return {
            **self.jobs.launcher.computing,
            "ffn_width": one.ffn_width,
            "source": hashlib.sha256(Path(one.candidate.path).read_bytes()).hexdigest(),
            "sequences": sequences.hexdigest(),
        }

    def sandbox(self) -> dict[str, str]:
        """Return the layers that held in every job, and why the others did not."""
        missing = {name: why for end in self.ends for name, why in end.missing.items()}
        held = [name for name in self.ends[0].held if name not in missing]
        found = {"sandbox": ",".join(held)}
        if missing:
            found["sandbox_missing"] = "; ".join(f"{name}: {why}" for name, why in missing.items())
        return found

    def _part(self, piece: Piece) -> Part:
        sequences, length = piece.inputs.shape
        if piece.step == "end":
            return Part(weights=self.folder / WEIGHTS_FILE, sequences=sequences, length=length)
        if piece.step == 0:
            return Part(weights=None, sequences=sequences, length=length)
        return Part(
            weights=self.folder / SNAPSHOTS_FILE,
            begin=f"{piece.step}.",
            sequences=sequences,
            length=length,
        )

    def _require_ok(
        self, end: JobEnd, outcome: OutcomeT | None, limits: Limits, stage: str = ""
    ) -> OutcomeT:
        self.ends.append(end)
        if outcome is None or outcome.status != "ok" or end.timed_out:
            status, reason = explain(end, outcome, limits)
            raise Ended(status, f"{reason}{stage}")
        return outcome

    def _limits(self, file_bytes: int) -> Limits:
        """Return what a job may use: each has the whole wall time that a trial may take."""
        return Limits(
            wall_seconds=self.settings.trial_timeout,
            memory_mb=self.settings.memory_mb,
            file_mb=max(LEAST_FILE_MB, math.ceil(file_bytes / 2**20)),
        )

    def _write(self, path: Path, arrays: Sequence[Tokens]) -> None:
        with explaining_disk_errors(self.jobs.lab.root), path.open("wb") as handle:
            for array in arrays:
                handle.write(array.astype(TOKEN_TYPE).tobytes())


def _cut(logits: Floats, parts: Sequence[Part], vocab_size: int) -> Iterator[Floats]:
    """Yield the logits of each part, from all of them in a row."""
    start = 0
    for part in parts:
        end = start + part.tokens * vocab_size
        yield logits[start:end].reshape(part.sequences, part.length, vocab_size)
        start = end

"""A trial to be run: everything that its jobs need to know, from the spec and the suite.

Covers the numbers that follow from the spec, and the sequences to train and to test on. The
test's belong to the trusted processes alone: they are made of the salt, which no candidate knows.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from noctuary import scoring
from noctuary.bench.suite import Rung, Suite
from noctuary.bench.tasks import Task, Tokens
from noctuary.config import Device
from noctuary.domain import Candidate, TrialSpec
from noctuary.training.requests import ModelRequest

SNAPSHOTS = 10
"""Points of the training at which learning is measured; the last is the end."""

FEWEST_SEQUENCES = 4
"""A snapshot is measured on at least so many, and on a like share of as many as the test has."""

BUFFER_VECTORS = 16
"""Vectors of the model's width, a layer, that weights may hold beside what is trained."""


@dataclass(frozen=True)
class Assignment:
    """A trial to be run.

    Attributes:
        salt: what the test sequences are made of beside the seed; not for candidates.
    """

    candidate: Candidate
    ffn_width: int
    spec: TrialSpec
    suite: Suite
    salt: str

    @property
    def task(self) -> Task:
        return self.suite.task(self.spec.task)

    @property
    def rung(self) -> Rung:
        return self.suite.rungs[self.spec.rung]

    @property
    def batch_size(self) -> int:
        return max(1, self.rung.tokens_per_step // self.task.length)

    @property
    def snapshots(self) -> tuple[int, ...]:
        """The steps before the end after which the weights are kept."""
        return scoring.snapshot_steps(self.rung.steps, SNAPSHOTS)[:-1]

    @property
    def weights_limit(self) -> int:
        """Bytes that the model's weights may have."""
        shape = self.suite.shape
        backbone = shape.parameter_budget * (1 + shape.tolerance)
        ends = 2 * self.task.vocab_size * shape.d_model
        buffers = BUFFER_VECTORS * shape.n_layers * shape.d_model
        return math.ceil(4 * (backbone + ends + buffers))

    @cached_property
    def training(self) -> tuple[Tokens, Tokens]:
        """Inputs and targets, (steps * batch_size, T), in the order of the training."""
        count = self.rung.steps * self.batch_size
        return self.task.sequences(count, self.spec.seed, "train")

    @cached_property
    def test(self) -> tuple[Tokens, Tokens]:
        """Inputs and targets, (test_sequences, T)."""
        return self.task.sequences(self.rung.test_sequences, self.spec.seed, "test", self.salt)

    @cached_property
    def tests_on_the_way(self) -> tuple[Tokens, Tokens]:
        """Inputs and targets for the snapshots, (snapshots, N, T): each has sequences of its own.

        So their errors do not add up in the mean.
        """
        snapshots = len(self.snapshots)
        each = max(FEWEST_SEQUENCES, self.rung.test_sequences // (snapshots + 1))
        salt = f"{self.salt}/on the way"
        inputs, targets = self.task.sequences(snapshots * each, self.spec.seed, "test", salt)
        return (
            inputs.reshape(snapshots, each, self.task.test_length),
            targets.reshape(snapshots, each, self.task.test_length),
        )

    def batch(self, step: int) -> tuple[Tokens, Tokens]:
        """Return inputs and targets (batch_size, T) of the step after so many."""
        part = slice(step * self.batch_size, (step + 1) * self.batch_size)
        inputs, targets = self.training
        return inputs[part], targets[part]

    def rng(self, purpose: str) -> np.random.Generator:
        """Return a generator of this trial whose numbers no candidate can know."""
        words = scoring.words(self.salt, self.spec.trial_id, purpose)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))

    def model(self, device: Device) -> ModelRequest:
        """Return what all requests have in common."""
        return ModelRequest(
            mixer=Path(self.candidate.path),
            shape=self.suite.shape,
            vocab_size=self.task.vocab_size,
            ffn_width=self.ffn_width,
            seed=self.spec.seed,
            device=device,
        )

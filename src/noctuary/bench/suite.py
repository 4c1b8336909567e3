"""The suites: every number that fixes a trial, under one version.

A suite's version is its name and a hash over all its numbers and its corpora, so that a change
of suite is a change of version and trials of different suites are never mixed. Each is there at
three scales: as it is, for the search, and at twice the width and at twice the length, where
claims are tried as well. Importing this module does not import torch.
"""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from noctuary.bench.tasks import Task
from noctuary.bench.tasks.copying import Compression, SelectiveCopy
from noctuary.bench.tasks.extrapolation import LengthExtrapolation
from noctuary.bench.tasks.memorisation import Memorisation
from noctuary.bench.tasks.mqar import Mqar
from noctuary.bench.tasks.recall import FuzzyRecall, InContextRecall, NoisyRecall
from noctuary.bench.tasks.state_tracking import S3, S5, Parity
from noctuary.bench.tasks.text import ByteText
from noctuary.canonical import content_id
from noctuary.domain import Capability, Scale
from noctuary.errors import UsageError


@dataclass(frozen=True)
class ModelShape:
    """The model around a mixer, the same for all.

    Attributes:
        parameter_budget: parameters without embedding and head. The feed-forward width is
            solved for so that every mixer meets it within `tolerance`.
    """

    d_model: int
    n_heads: int
    n_layers: int
    parameter_budget: int
    tolerance: float = 0.02


@dataclass(frozen=True)
class Rung:
    """One training budget, the same for every mixer.

    Attributes:
        steps: optimiser steps.
        tokens_per_step: batch size times length, the same for every task.
        test_sequences: sequences of the final evaluation.
    """

    steps: int
    tokens_per_step: int
    weight_decay: float
    test_sequences: int


@dataclass(frozen=True)
class ScoreWeights:
    """What the score of a task is made of; each part is 0 at chance level and 1 at best.

    Attributes:
        loss: share of the chance-level loss that was removed, on the test sequences.
        accuracy: share of the way from chance accuracy to 1, on the test sequences.
        learning: the first part again, over the whole training: how fast it was learnt. It
            still tells mixers apart that solve a task.
    """

    loss: float = 1 / 3
    accuracy: float = 1 / 3
    learning: float = 1 / 3


@dataclass(frozen=True)
class Suite:
    """Tasks, the model's shape, the rungs, and what a score is.

    Attributes:
        tasks: what the search sees.
        held_out: tasks that no cycle trains on; for verification, and for the page of baselines.
        learning_rates: the peaks of AdamW that every mixer, human or machine, is tried with on
            the first rung; linear warm-up over the first tenth, then cosine to a tenth. The
            first is the one that is tried first.
        solved_share: a task counts as solved once the training loss is below this share of the
            chance-level loss.
    """

    name: str
    tasks: tuple[Task, ...]
    held_out: tuple[Task, ...]
    shape: ModelShape
    rungs: tuple[Rung, ...]
    learning_rates: tuple[float, ...]
    weights: ScoreWeights = ScoreWeights()
    solved_share: float = 0.1

    @cached_property
    def version(self) -> str:
        everything = [*self.tasks, *self.held_out]
        corpora = {t.name: getattr(t, "corpus_hash", None) for t in everything}
        numbers = asdict(self.with_text(None))  # where the text lies does not count
        return f"{self.name}-{content_id({'numbers': numbers, 'corpora': corpora})[:8]}"

    @property
    def top(self) -> int:
        """The last rung: the only one whose scores count as results."""
        return len(self.rungs) - 1

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What the search can measure, each once, in the order of the tasks."""
        return tuple(dict.fromkeys(task.capability for task in self.tasks))

    def task(self, name: str) -> Task:
        """Return a task of the search, or a held-out one."""
        known = {task.name: task for task in (*self.tasks, *self.held_out)}
        if name not in known:
            raise UsageError(
                f"{name!r} is no task of {self.name}; expected one of {', '.join(known)}"
            )
        return known[name]

    def with_text(self, path: Path | None) -> "Suite":
        """Return the suite with another corpus in its text task; None for the shipped one."""
        return replace(self, tasks=tuple(_with_text(task, path) for task in self.tasks))

    def scaled(self, scale: Scale) -> "Suite":
        """Return the suite at a scale of a claim; the rungs and the learning rates stay.

        `wide` has twice the width: twice the heads of the same width, and four times the
        parameters, since most of them are matrices. `long` has twice the length of every task and
        the same tokens a step; how much of it there is to remember stays.

        Raises:
            UsageError: it is scaled already.
        """
        if scale == "base":
            return self
        if self.name not in SUITES:
            raise UsageError(
                f"{self.name} has no scale {scale!r}; expected one of {', '.join(SUITES)}: name "
                "it as the lab's suite"
            )
        name = f"{self.name}-{scale}"
        if scale == "long":
            tasks, held_out = map(_longer, self.tasks), map(_longer, self.held_out)
            return replace(self, name=name, tasks=tuple(tasks), held_out=tuple(held_out))
        shape = replace(
            self.shape,
            d_model=2 * self.shape.d_model,
            n_heads=2 * self.shape.n_heads,
            parameter_budget=4 * self.shape.parameter_budget,
        )
        return replace(self, name=name, shape=shape)


def _with_text(task: Task, path: Path | None) -> Task:
    if not isinstance(task, ByteText):
        return task
    return replace(task, path="" if path is None else str(path))


def _longer(task: Task) -> Task:
    if isinstance(task, LengthExtrapolation):
        return replace(task, inner=_longer(task.inner))
    return cast(Task, replace(cast(Any, task), length=2 * task.length))


STANDARD = Suite(
    name="standard-2",
    tasks=(
        Mqar(length=64, pairs=12, keys=24, values=16),
        Compression(length=64, tokens=12),
        Parity(length=64),
        ByteText(length=128),
    ),
    held_out=(
        InContextRecall(length=64, keys=32, values=16),
        NoisyRecall(length=64, noise=0.4, keys=20),
        FuzzyRecall(length=64, motif=3, keys=8),
        SelectiveCopy(length=64, tokens=8),
        Memorisation(length=64, keys=1024),
        S3(length=32, generators=3),
        S5(length=32, generators=2),
        LengthExtrapolation(Parity(length=32), factor=4, name="long_parity"),
        ByteText(length=128, name="text_packages", part="packages"),
    ),
    shape=ModelShape(d_model=64, n_heads=2, n_layers=2, parameter_budget=96_000),
    rungs=(
        Rung(steps=100, tokens_per_step=512, weight_decay=0.01, test_sequences=128),
        Rung(steps=200, tokens_per_step=512, weight_decay=0.01, test_sequences=128),
        Rung(steps=400, tokens_per_step=512, weight_decay=0.01, test_sequences=128),
    ),
    learning_rates=(5e-3, 2e-3, 1.2e-2),
)
"""The default. No task of the search is at the floor or at the ceiling for the best human mixer:
`docs/baselines.md` has the numbers."""

TINY = Suite(
    name="tiny-2",
    tasks=(
        Mqar(length=16, pairs=2, keys=8, values=8),
        Parity(length=16),
        ByteText(length=32),
    ),
    held_out=(InContextRecall(length=16, keys=4, values=4),),
    shape=ModelShape(d_model=16, n_heads=2, n_layers=2, parameter_budget=9_000),
    rungs=(
        Rung(steps=4, tokens_per_step=128, weight_decay=0.01, test_sequences=16),
        Rung(steps=12, tokens_per_step=128, weight_decay=0.01, test_sequences=16),
    ),
    learning_rates=(5e-3, 1e-2),
)
"""For tests of the machinery: trials of a tenth of a second, whose scores mean nothing."""

SUITES = {suite.name: suite for suite in (STANDARD, TINY)}
"""The suites that a lab may name."""

_SCALES: tuple[Scale, ...] = ("base", "wide", "long")

_AT_SCALES = {
    scaled.name: scaled for suite in SUITES.values() for scaled in map(suite.scaled, _SCALES)
}


def suite_by_name(name: str, text: Path | None = None) -> Suite:
    """Return a suite, at any scale, by its name or by its full version.

    Args:
        text: a file of bytes for its text task, instead of the shipped corpus.

    Raises:
        UsageError: there is none, or this machine's version of it is another.
    """
    suite = _AT_SCALES.get(name) or _AT_SCALES.get(name.rpartition("-")[0])
    if suite is not None:
        found = suite if text is None else suite.with_text(text)
        if name in (suite.name, found.version):
            return found
    raise UsageError(f"{name!r} is no suite; expected one of {', '.join(SUITES)}")

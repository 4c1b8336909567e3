"""The suites: every number that fixes a trial, under one version.

A suite's version is its name and a hash over all its numbers and its corpus, so that a change
of suite is a change of version and trials of different suites are never mixed. Importing this
module does not import torch.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

from noctuary.bench.tasks import Task
from noctuary.bench.tasks.mqar import Mqar
from noctuary.bench.tasks.recall import InContextRecall
from noctuary.bench.tasks.text import ByteText
from noctuary.canonical import content_id
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
    """One training budget.

    Attributes:
        steps: optimiser steps.
        tokens_per_step: batch size times length, the same for every task.
        learning_rate: peak of AdamW; linear warm-up over the first tenth, then cosine to a tenth.
        test_sequences: sequences of the final evaluation.
    """

    steps: int
    tokens_per_step: int
    learning_rate: float
    weight_decay: float
    test_sequences: int


@dataclass(frozen=True)
class Suite:
    """Tasks, the model's shape, and the rungs."""

    name: str
    tasks: tuple[Task, ...]
    shape: ModelShape
    rungs: tuple[Rung, ...]

    @cached_property
    def version(self) -> str:
        corpora = {t.name: t.corpus_hash for t in self.tasks if isinstance(t, ByteText)}
        return f"{self.name}-{content_id({'numbers': asdict(self), 'corpora': corpora})[:8]}"

    def task(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        raise UsageError(
            f"{name!r} is no task of {self.name}; expected one of "
            f"{', '.join(task.name for task in self.tasks)}"
        )


STANDARD = Suite(
    name="standard-1",
    tasks=(
        Mqar(length=64, pairs=8, keys=16, values=16),
        InContextRecall(length=64, keys=16, values=16),
        ByteText(length=128),
    ),
    shape=ModelShape(d_model=64, n_heads=2, n_layers=2, parameter_budget=96_000),
    rungs=(
        Rung(
            steps=160,
            tokens_per_step=1024,
            learning_rate=5e-3,
            weight_decay=0.01,
            test_sequences=128,
        ),
    ),
)

TINY = Suite(
    name="tiny-1",
    tasks=(
        Mqar(length=16, pairs=2, keys=8, values=8),
        InContextRecall(length=16, keys=4, values=4),
        ByteText(length=32),
    ),
    shape=ModelShape(d_model=16, n_heads=2, n_layers=2, parameter_budget=9_000),
    rungs=(
        Rung(
            steps=6,
            tokens_per_step=128,
            learning_rate=5e-3,
            weight_decay=0.01,
            test_sequences=16,
        ),
    ),
)
"""For tests of the machinery: trials of a tenth of a second, whose scores mean nothing."""

SUITES = {suite.name: suite for suite in (STANDARD, TINY)}


def suite_by_name(name: str) -> Suite:
    """Return a suite, by its name or by its full version.

    Raises:
        UsageError: there is none, or this machine's version of it is another.
    """
    for suite in SUITES.values():
        if name in (suite.name, suite.version):
            return suite
    raise UsageError(f"{name!r} is no suite; expected one of {', '.join(SUITES)}")

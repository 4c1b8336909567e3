"""Mixers that look at their neighbours in a batch or at what they saw before, or leave things to
chance, or whose `step` does something else: each in its way.

Every one is an honest projection but for one thing, and says which check is to find it.
"""

import random
import time
from typing import Any

import torch
import torch.nn.functional as F
from leaks import Adds, Projection, caught_by, following
from torch import Tensor, nn

# Through the batch


@caught_by("batch")
class BatchStatistics(Projection):
    """Looks at other rows in training, and at its running statistics otherwise."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.norm = nn.BatchNorm1d(d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x).flatten(0, 1)).view_as(x)


@caught_by("batch")
class BatchMean(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return -x.mean(0, keepdim=True)


@caught_by("batch")
class BatchOrder(Adds):
    """Rows know which one they are."""

    def extra(self, x: Tensor) -> Tensor:
        return torch.arange(len(x))[:, None, None] / 10


@caught_by("batch")
class BatchSize(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return torch.full_like(x, 1 / len(x))


@caught_by("batch")
class TheRowBefore(Adds):
    """Wrong reshaping: a row starts from where the row before it ended."""

    def extra(self, x: Tensor) -> Tensor:
        return F.pad(x[:-1, -1:], (0, 0, 0, 0, 1, 0)).tanh().expand_as(x)


# Through what it saw before, and what is not its input


@caught_by("determinism")
class KeepsItsState(Adds):
    last: Tensor | float = 0.0

    def extra(self, x: Tensor) -> Tensor:
        last, self.last = self.last, x.detach().mean()
        return last + torch.zeros_like(x)


@caught_by("determinism")
class KnowsTheTensor(Projection):
    """Gives for a tensor what it gave for that tensor before, whatever is in it now."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.given: tuple[int, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.given is None or self.given[0] != id(x) or self.given[1].shape != x.shape:
            self.given = (id(x), self.linear(x))
        return self.given[1]


@caught_by("determinism")
class AlwaysDropsOut(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.linear(x), 0.1)


@caught_by("determinism")
class OwnChance(Adds):
    """Draws from Python's random numbers, in training only."""

    def extra(self, x: Tensor) -> Tensor:
        return torch.full_like(x, random.random() if self.training else 0.0)


@caught_by("determinism")
class TimeOfDay(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return torch.full_like(x, time.perf_counter() % 1)


@caught_by("determinism")
class DiffersWhenBuilt(Adds):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.shift = torch.tensor([random.random() for _ in range(d_model)])

    def extra(self, x: Tensor) -> Tensor:
        return self.shift.expand_as(x)


# Between `step` and `forward`


@caught_by("step")
class StateInTheModule(Projection):
    """Two sequences in turn share what `step` keeps."""

    kept: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).cumsum(1) / 10

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, int]:
        before = 0.0 if state is None else self.kept
        self.kept = before + self.linear(x_t).mean(0, keepdim=True).expand_as(x_t) / 10
        return self.kept, 1


@caught_by("step")
class StepForgets(Projection):
    """Agrees with `forward` for the first hundred tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).cumsum(1) / 10

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, int]]:
        total, seen = (torch.zeros_like(x_t), 0) if state is None else state
        total = total if seen % 100 else torch.zeros_like(x_t)
        total = total + self.linear(x_t) / 10
        return total, (total, seen + 1)


@caught_by("step")
class StepHasNothingToRead(Adds):
    """`forward` reads the next token, `step` cannot."""

    def extra(self, x: Tensor) -> Tensor:
        return following(x)

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, None]:
        return self.linear(x_t), None

"""Mixers that look like the bad ones and are not: none of them may be rejected."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from leaks import Projection
from torch import Tensor, nn


class PaddedFft(Projection):
    """A long convolution by FFT, with room for its end."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        taps = 0.9 ** torch.arange(T)
        spectrum = torch.fft.rfft(self.linear(x), n=2 * T, dim=1)
        spectrum = spectrum * torch.fft.rfft(taps, n=2 * T)[:, None]
        return torch.fft.irfft(spectrum, n=2 * T, dim=1)[:, :T]


class RunningMaximum(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) - x.cummax(1).values


class ChunkWithMask(Projection):
    """Attention within chunks of 32, and what a token saw in its own only."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        z = F.pad(self.linear(x), (0, 0, 0, -T % 32)).unflatten(1, (-1, 32))
        mask = torch.ones(32, 32, dtype=torch.bool).tril()
        scores = (z @ z.mT / math.sqrt(x.shape[-1])).masked_fill(~mask, -math.inf).softmax(-1)
        return (scores @ z).flatten(1, 2)[:, :T]


class ChunksOfARoot(Projection):
    """Attention within chunks of about the square root of the length: T to the power of 1.5."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        size = 64 if T > 10_000 else 2 ** max(0, round(math.log2(T) / 2))
        z = F.pad(self.linear(x), (0, 0, 0, -T % size)).unflatten(1, (-1, size))
        return self.linear(x) + 0 * ((z @ z.mT).tril() @ z).flatten(1, 2)[:, :T]


class TokenByToken(Projection):
    """A plain loop that indexes its input, with a state of one size."""

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            state = 0.9 * state + self.linear(x[:, t])
            outputs.append(state)
        return torch.stack(outputs, 1)

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        state = self.linear(x_t) + (0 if state is None else 0.9 * state)
        return state, state


class Gru(nn.Module):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.rnn = nn.GRU(d_model, d_model, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


class WithCachedAngles(Projection):
    """Rotary angles that are made once and kept, as far as they were needed."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.register_buffer("angles", torch.zeros(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.angles) < x.shape[1]:
            self.angles = torch.arange(x.shape[1]) / 100
        return self.linear(x) * self.angles[: x.shape[1], None].cos()


class DropsOutInTraining(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.linear(x), 0.1, self.training)


class TokenChoice(Projection):
    """Each token chooses its expert, and the load is balanced by an auxiliary loss."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.router = nn.Linear(d_model, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shares = self.router(x).softmax(-1)
        best, which = shares.max(-1, keepdim=True)
        return self.linear(x) * best * (1 - 2 * which), shares.mean((0, 1)).square().sum()


class FrozenFeatures(Projection):
    """Random features that are not trained, and say so."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.features = nn.Parameter(torch.randn(d_model, d_model) / 4, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x @ self.features)


class WindowedCache(Projection):
    """A `step` whose state grows until its window of 64 is full."""

    def forward(self, x: Tensor) -> Tensor:
        sums = F.pad(self.linear(x).cumsum(1), (0, 0, 64, 0))
        return (sums[:, 64:] - sums[:, : x.shape[1]]) / 10

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        new = self.linear(x_t)[:, None]
        state = new if state is None else torch.cat((state, new), 1)[:, -64:]
        return state.sum(1) / 10, state


class Foreign(nn.Module):
    """The layer interface of other libraries."""

    def __init__(self, mode: str = "chunk", hidden_size: int = 99, num_heads: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None, None]:
        return self.linear(hidden_states), None, None


HONEST = (
    Projection,
    PaddedFft,
    RunningMaximum,
    ChunkWithMask,
    ChunksOfARoot,
    TokenByToken,
    Gru,
    WithCachedAngles,
    DropsOutInTraining,
    TokenChoice,
    FrozenFeatures,
    WindowedCache,
    Foreign,
)

"""Mixers that look into the future, each in its way; `neighbours` has those that look elsewhere.

Every one is an honest projection but for one thing, and says which check is to find it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CAUGHT_BY: dict[type[nn.Module], str] = {}


def caught_by(check: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    def remember(mixer: type[nn.Module]) -> type[nn.Module]:
        CAUGHT_BY[mixer] = check
        return mixer

    return remember


class Projection(nn.Module):
    """A mixer that mixes nothing: the base of the bad ones."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Any:
        return self.linear(x)


class Adds(Projection):
    """Adds what `extra` takes from where it must not look."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.extra(x)

    def extra(self, x: Tensor) -> Tensor:
        raise NotImplementedError


def following(x: Tensor) -> Tensor:
    """Return the next token at each position: (B, T, D)."""
    return F.pad(x, (0, 0, 0, 1))[:, 1:]


# Opened by training only


@caught_by("causal_change")
class BehindAZero(Adds):
    """Behind a gate that is zero at the start and opens to one side only."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.door = nn.Parameter(torch.zeros(1))

    def extra(self, x: Tensor) -> Tensor:
        return self.door.relu() * following(x)


@caught_by("causal_change")
class BehindABias(Adds):
    """Behind a sigmoid that starts at 2e-9."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.bias = nn.Parameter(torch.full((d_model,), -20.0))

    def extra(self, x: Tensor) -> Tensor:
        return self.bias.sigmoid() * following(x)


# Somewhere only


@caught_by("causal_change")
class BeyondAChunk(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) * (torch.arange(x.shape[1]) > 64)[:, None]


@caught_by("causal_change")
class AtTheBorders(Adds):
    """The last token of each chunk of 24 sees the first of the next one."""

    def extra(self, x: Tensor) -> Tensor:
        return following(x) * (torch.arange(x.shape[1]) % 24 == 23)[:, None]


@caught_by("causal_change")
class AtOnePlace(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) * (torch.arange(x.shape[1]) == 41)[:, None]


@caught_by("causal_change")
class AboveALength(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) if x.shape[1] > 256 else torch.zeros_like(x)


@caught_by("causal_change")
class InLongSequencesAtTheEnd(Adds):
    """Above a length, and only what is far in sees one token more."""

    def extra(self, x: Tensor) -> Tensor:
        far = torch.arange(x.shape[1]) > 300
        return following(x.cumsum(1)) * far[:, None] if x.shape[1] > 300 else torch.zeros_like(x)


@caught_by("causal_change")
class TheLastTokenOnly(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return x[:, -1:].tanh()


# Sometimes only


@caught_by("causal_change")
class InTrainingOnly(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) if self.training else torch.zeros_like(x)


@caught_by("causal_change")
class InEvaluationOnly(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if self.training else following(x)


@caught_by("causal_change")
class WithGradientsOnly(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) if torch.is_grad_enabled() else torch.zeros_like(x)


@caught_by("causal_change")
class OneRowOnly(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) if len(x) == 1 else torch.zeros_like(x)


@caught_by("causal_change")
class OnLoudTokens(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) if x.abs().max() > 20 else torch.zeros_like(x)


@caught_by("causal_change")
class OnQuietTokens(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) if x.abs().max() < 0.5 else torch.zeros_like(x)


@caught_by("causal_change")
class OnBlankTokens(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return following(x) * (x == 0).all(-1, keepdim=True)


@caught_by("causal_change")
class OnRepeatedTokens(Adds):
    """A token is told what follows it the next time that it comes, within the next eight."""

    def extra(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for ahead in range(1, min(8, x.shape[1])):
            later = F.pad(x, (0, 0, 0, ahead))[:, ahead:]
            total = total + following(later) * (later == x).all(-1, keepdim=True)
        return total


@caught_by("determinism")
class AfterManyCalls(Adds):
    calls = 0

    def extra(self, x: Tensor) -> Tensor:
        self.calls += 1
        return following(x) if self.calls > 100 else torch.zeros_like(x)


# Through statistics and indices over time


@caught_by("causal_change")
class Scaled(Projection):
    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y / (y.std(1, keepdim=True, unbiased=False) + 1)


@caught_by("causal_change")
class LessTheLargest(Projection):
    """A softmax that is made stable with the maximum over all time."""

    def forward(self, x: Tensor) -> Tensor:
        k = self.linear(x)
        weights = (k - k.amax(1, keepdim=True)).exp()
        return (weights * x).cumsum(1) / (weights.cumsum(1) + 1e-3)


@caught_by("causal_change")
class KeysOverTime(Projection):
    """Keys that are normalised over the tokens instead of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x).softmax(1) * x).cumsum(1)


@caught_by("causal_change")
class Whitened(Projection):
    def forward(self, x: Tensor) -> Tensor:
        second = x.mT @ x / x.shape[1] + torch.eye(x.shape[-1])  # (B, D, D), over all tokens
        return torch.linalg.solve(second, self.linear(x).mT).mT


@caught_by("causal_change")
class DetachedArgmax(Adds):
    """Through an index, which no gradient sees."""

    def extra(self, x: Tensor) -> Tensor:
        return x.detach().sum(-1).argmax(1)[:, None, None] / 100


@caught_by("causal_change")
class ExpertChoice(Projection):
    """Experts take their best tokens out of the whole sequence."""

    def forward(self, x: Tensor) -> Tensor:
        scores = self.linear(x).mean(-1)  # (B, T)
        taken = torch.zeros_like(scores)
        taken.scatter_(1, scores.topk((x.shape[1] + 1) // 2, 1).indices, 1.0)
        return self.linear(x) * taken[..., None]


@caught_by("causal_change")
class Ranked(Adds):
    def extra(self, x: Tensor) -> Tensor:
        ranks = x[..., 0].detach().argsort(1).argsort(1)
        return (ranks / x.shape[1])[..., None]


@caught_by("causal_change")
class BelowTheMedian(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * (x > x.median(1, keepdim=True).values)


# Through mistakes that one makes


@caught_by("causal_change")
class CircularConvolution(Projection):
    """A long convolution by FFT without room for its end, which comes round to the beginning."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        taps = 0.9 ** torch.arange(T)
        spectrum = torch.fft.rfft(self.linear(x), dim=1) * torch.fft.rfft(taps)[:, None]
        return torch.fft.irfft(spectrum, n=T, dim=1)


@caught_by("causal_change")
class PaddedByOne(Projection):
    """A convolution of width 4 that is padded by 2 to the left and by 1 to the right."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(self.linear(x), (0, 0, 2, 1))
        return sum(x[:, i : x.shape[1] - 3 + i] for i in range(4)) / 4


@caught_by("causal_change")
class MaskOffByOne(Projection):
    """A mask that lets each token see one too many, in windows of 16."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        z = F.pad(self.linear(x), (0, 0, 0, -T % 16)).unflatten(1, (-1, 16))
        mask = torch.ones(16, 16, dtype=torch.bool).tril(1)
        scores = (z @ z.mT).masked_fill(~mask, -math.inf).softmax(-1)
        return (scores @ z).flatten(1, 2)[:, :T]


@caught_by("causal_change")
class ChunkWithoutMask(Projection):
    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        z = F.pad(self.linear(x), (0, 0, 0, -T % 32)).unflatten(1, (-1, 32))
        return ((z @ z.mT / 32) @ z).flatten(1, 2)[:, :T] / 32


@caught_by("causal_change")
class StateOfItsOwnChunk(Adds):
    """Each chunk starts from the state at its end instead of the one at its start."""

    def extra(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        chunks = F.pad(x, (0, 0, 0, -T % 64)).unflatten(1, (-1, 64)).sum(2).cumsum(1)
        return chunks.repeat_interleave(64, 1)[:, :T] / 64


@caught_by("causal_cut")
class CountsThePadding(Projection):
    """The mean over a chunk that is not full counts the padding as tokens."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        y = self.linear(x)
        full = torch.arange(T) < T // 32 * 32
        return torch.where(full[:, None], y, y * (T % 32) / 32)


@caught_by("causal_cut")
class RelativeTime(Adds):
    """A clock that runs from nought to one, however long the sequence is."""

    def extra(self, x: Tensor) -> Tensor:
        return torch.linspace(0, 1, x.shape[1])[:, None]


@caught_by("causal_change")
class TinyReversedSum(Adds):
    def extra(self, x: Tensor) -> Tensor:
        return 1e-3 * x.flip(1).cumsum(1).flip(1)


@caught_by("causal_change")
class Whisper(Adds):
    """One channel of the next token, a thousand times smaller."""

    def extra(self, x: Tensor) -> Tensor:
        return 1e-3 * following(x)[..., :1]


@caught_by("causal_change")
class BothWays(nn.Module):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.rnn = nn.GRU(d_model, d_model // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]

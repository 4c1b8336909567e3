"""Mixers that cost more than they say: quadratic, each in its way; and what may not be touched.

Every one is causal. `leaks` has those that are not.
"""

from typing import Any

import torch
import torch.nn.functional as F
from leaks import Projection, caught_by
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

# Work that grows


@caught_by("flops_growth")
class ByProducts(Projection):
    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return (z @ z.mT).tril() @ z / x.shape[1] ** 0


@caught_by("work_growth")
class ByBroadcasting(Projection):
    """All with all, one number each, and no product of matrices."""

    def forward(self, x: Tensor) -> Tensor:
        a = self.linear(x)[..., 0]
        near = (-(a[:, :, None] - a[:, None]).abs()).exp().tril()  # (B, T, T)
        return self.linear(x) * near.sum(-1, keepdim=True) / 10


@caught_by("memory_growth")
class ByBroadcastingChannels(Projection):
    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        mask = torch.ones(x.shape[1], x.shape[1]).tril()[..., None]
        return (torch.tanh(z[:, :, None] + z[:, None]) * mask).sum(2)  # (B, T, T, D)


@caught_by("work_growth")
class ByGrowingSlices(Projection):
    """Each token adds up all that came before it, anew."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return torch.stack([z[:, : t + 1].sum(1) for t in range(x.shape[1])], 1)


@caught_by("memory_growth")
class ByGrowingCopies(Projection):
    """A cache that is copied at each token, and kept for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        cache, outputs = x[:, :0], []
        for z_t in self.linear(x).unbind(1):
            cache = torch.cat((cache, z_t[:, None]), 1)
            outputs.append(cache.tanh().sum(1))
        return torch.stack(outputs, 1)


@caught_by("work_growth")
class ByDistances(Projection):
    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return z * torch.cdist(z, z).tril().sum(-1, keepdim=True).tanh()


@caught_by("flops_growth")
class ByLongConvolution(Projection):
    """A convolution as wide as the sequence is long."""

    def forward(self, x: Tensor) -> Tensor:
        T, D = x.shape[1:]
        taps = (0.9 ** torch.arange(T)).flip(0).expand(D, 1, T)
        return F.conv1d(F.pad(self.linear(x).mT, (T - 1, 0)), taps, groups=D).mT


@caught_by("work_growth")
class ByTheFusedKernel(Projection):
    """Chooses the kernel that makes no T x T tensor, against the one that is asked for."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)[:, None]
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(z, z, z, is_causal=True)[:, 0]


@caught_by("flops_growth")
class BeyondALength(Projection):
    """Chunks up to 128 tokens, and then one that takes all the rest."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        head, rest = z[:, :128], z[:, 128:]
        return torch.cat([(part @ part.mT).tril() @ part for part in (head, rest)], 1) / 8


@caught_by("work_growth")
class UnderALargeLinearPart(Projection):
    """A small part of the work, at the longest length that is tried."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        for _ in range(100):
            z = z.tanh()
        a = z[..., 0] > 0
        both = (a[:, :, None] & a[:, None]).tril()
        return z * both.any(-1, keepdim=True)


@caught_by("work_growth")
class InEvaluationOnly(Projection):
    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        if self.training:
            return z
        return z + 0 * torch.outer(z[0, :, 0], z[0, :, 0]).sum()


class Squares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        a = x[..., 0]
        return dx + 0 * (a[:, :, None] * a[:, None]).sum()


@caught_by("memory_growth")
class InTheBackwardPassOnly(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return Squares.apply(self.linear(x))


@caught_by("python_growth")
class InPlainPython(Projection):
    """Takes the numbers out of the tensors and compares them all."""

    def forward(self, x: Tensor) -> Tensor:
        a = x[0, :, 0].tolist()
        counts = []
        for t in range(len(a)):
            below = 0
            for s in range(t):
                below += a[s] < a[t]
            counts.append(below / (t + 1))
        return self.linear(x) + 0 * torch.tensor(counts)[:, None]


# `step` that grows


class Running(Projection):
    """The mean of what was, and a `step` with it in the proper way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).cumsum(1) / 10


@caught_by("step_growth")
class KeepsAllTokens(Running):
    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        new = x_t[:, None]
        state = new if state is None else torch.cat((state, new), 1)
        return self.linear(state).sum(1) / 10, state


@caught_by("step_growth")
class KeepsAllTokensAsBytes(Running):
    """What it keeps beside its sum are no floating-point numbers, in no tensor."""

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        total, seen = (0.0, b"") if state is None else state
        total = total + self.linear(x_t) / 10
        return total, (total, seen + bytes(x_t[0].clamp(0, 255).byte().tolist()))


@caught_by("step_growth")
class ReadsMoreEachStep(Running):
    """A state of one size, of which a step reads the more the later it is."""

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        total, seen, old = (0.0, 0, torch.zeros(1024)) if state is None else state
        total = total + self.linear(x_t) / 10 + 0 * old[:seen].sum()
        return total, (total, seen + 1, old)


# What breaks


@caught_by("finite")
class OverflowsOnLoudTokens(Projection):
    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return z.exp().cumsum(1).log()


@caught_by("gradients")
class NormWithoutEpsilon(Projection):
    """Fine, but for the gradient where a token is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * x.norm(dim=-1, keepdim=True).sqrt().clamp(min=1)


@caught_by("reached")
class SpareParameter(Projection):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.spare = nn.Parameter(torch.ones(3))


@caught_by("reached")
class DetachedParameter(Projection):
    """Used, but only through a decision."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.threshold = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * (x > self.threshold)


@caught_by("shapes")
class WholeChunksOnly(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, : x.shape[1] // 32 * 32]


# What is touched on the way


@caught_by("side_effects")
class ChangesItsInput(Projection):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.mul_(2)
        return self.linear(x / 2)


@caught_by("side_effects")
class DrawsInEvaluation(Projection):
    def forward(self, x: Tensor) -> Tensor:
        torch.rand(())
        return self.linear(x)


@caught_by("side_effects")
class LearnsInEvaluation(Projection):
    """Counts its calls in a buffer that is saved with the weights."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x)


@caught_by("side_effects")
class GrowsParameters(Projection):
    """Has more parameters in each call, which no budget has counted."""

    def forward(self, x: Tensor) -> Tensor:
        name = f"more_{len(list(self.parameters()))}"
        self.register_parameter(name, nn.Parameter(torch.zeros(8)))
        return self.linear(x)


@caught_by("side_effects")
class TurnsGradientsOff(Projection):
    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        torch.set_grad_enabled(False)
        return y


@caught_by("side_effects")
class AsksForThreads(Projection):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_num_threads(2)
        return self.linear(x)


@caught_by("side_effects")
class LowersThePrecision(Projection):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("medium")
        return self.linear(x)

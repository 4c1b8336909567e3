"""Based: a Taylor series of softmax attention over all tokens, the exact thing over the last few.

Arora et al., "Simple linear attention language models balance the recall-throughput tradeoff",
arXiv:2402.18668. exp(s) is replaced by 1 + s + s^2 / 2, which is an inner product of features of
q and k, so that all earlier tokens fit in one state; a sliding window of softmax attention, with
rotary positions (arXiv:2104.09864), keeps the precise local order that this loses.

Published as layers that alternate, beside layers of short convolutions. Here every mixer holds
both attentions, each with its own projections, and adds up what they read, because a model repeats
one mixer. The features come from 8 channels a head (16 in the paper, for wider models), so that
the state is about as large as those of the other mixers.

Cost: O(T) time and memory in chunks; `step` keeps a state and a window, O(1) a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "feature_map": "taylor",
    "output_norm": "sum",
    "local_window": "window32",
}
FEATURES = 8  # channels of the queries and keys of the Taylor series, per head
WINDOW = 32  # tokens that softmax attention sees, the present one among them; also the chunk


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, WINDOW)).movedim(3, 1).contiguous()


def out_of_chunks(x: Tensor, T: int) -> Tensor:
    """Put time back and cut what was padded: (B, H, N, C, K) -> (B, T, H, K)."""
    return x.movedim(1, 3).flatten(1, 2)[:, :T]


def taylor(s: Tensor) -> Tensor:
    """Return the second-order Taylor series of exp at 0, which is at least one half."""
    return 1 + s + s.square() / 2


def taylor_features(x: Tensor) -> Tensor:
    """Return phi with phi(q) . phi(k) = taylor(q . k): (..., F) -> (..., 1 + F + F (F + 1) / 2).

    A product of two different channels stands for both of its orders.
    """
    rows, cols = torch.triu_indices(x.shape[-1], x.shape[-1], device=x.device)
    weights = torch.where(rows == cols, 0.5, 1.0).to(x.dtype).sqrt()
    products = x.index_select(-1, rows) * x.index_select(-1, cols) * weights
    return torch.cat((torch.ones_like(x[..., :1]), x, products), -1)


class Window(nn.Module):
    """Softmax attention to the last tokens, K = D / H channels a head.

    o_t = sum_j softmax_j(q_t . k_j / sqrt(K)) v_j over the last 32 tokens
    q, k: a projection, turned by rotary positions
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        half = d_model // n_heads // 2
        frequencies = 10_000.0 ** (-torch.arange(half) / half)
        angles = torch.arange(2 * WINDOW)[:, None] * frequencies  # (2 C, K / 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, each (..., H, K)."""
        q, k, v = widened(self.qkv(x)).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        return q * q.shape[-1] ** -0.5, k, v

    def rotate(self, x: Tensor, start: int) -> Tensor:
        """Turn pairs of channels by angles that grow with the position, from start: (..., C, K)."""
        places = slice(start, start + x.shape[-2])
        cos, sin = self.cos[places], self.sin[places]
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the last tokens in chunks as long as the window: (B, T, D) -> (B, T, H, K)."""
        T = x.shape[1]
        heads = self.heads(F.pad(x, (0, 0, 0, -T % WINDOW)))
        with torch.autocast(x.device.type, enabled=False):
            q, k, v = (into_chunks(z) for z in heads)
            k, v = (torch.cat((F.pad(z[:, :, :-1], (0, 0, 0, 0, 1, 0)), z), -2) for z in (k, v))
            # positions count from the start of the chunk before: (B, H, N, C, 2 C)
            scores = self.rotate(q, WINDOW) @ self.rotate(k, 0).mT
            seen = torch.ones_like(scores[0, 0], dtype=torch.bool).tril(WINDOW).triu(1)
            seen[0, :, :WINDOW] = False  # there is nothing before the first chunk
            o = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v  # (B, H, N, C, K)
        return out_of_chunks(o, T)

    def step(
        self, x_t: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend from one token, (B, D) -> (B, H, K); the state is the last keys and values."""
        q, *recent = (z.unsqueeze(-2) for z in self.heads(x_t))  # (B, H, 1, K)
        if state is not None:
            pairs = zip(state, recent, strict=True)
            recent = [torch.cat(pair, -2)[..., -WINDOW:, :] for pair in pairs]
        k, v = recent  # (B, H, up to C, K)
        scores = self.rotate(q, k.shape[-2] - 1) @ self.rotate(k, 0).mT
        return (scores.softmax(-1) @ v).squeeze(-2), (k, v)


class Mixer(nn.Module):
    """Two causal attentions, K = D / H channels a head, whose reads are added.

    o_t = sum_(j <= t) taylor(q_t . k_j) v_j / sum_(j <= t) taylor(q_t . k_j)
    q, k: a projection to 8 channels a head, the scale 1 / sqrt(8) on q
    y_t = W_o (o_t + what the window reads)
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % (2 * n_heads):
            raise ValueError(f"d_model={d_model} is not an even multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 2 * n_heads * FEATURES + d_model, bias=False)
        self.window = Window(d_model, n_heads)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q and k, (..., H, F), and v with a one added to its channels, (..., H, K + 1).

        What is read of the ones is the sum of the weights.
        """
        width = self.n_heads * FEATURES
        q, k, v = widened(self.qkv(x)).split((width, width, x.shape[-1]), -1)
        q, k, v = (z.unflatten(-1, (self.n_heads, -1)) for z in (q, k, v))
        return q * FEATURES**-0.5, k, F.pad(v, (0, 1), value=1.0)

    def merge(self, summed: Tensor, local: Tensor) -> Tensor:
        """Join the reads, (..., H, K + 1) and (..., H, K), into the output (..., D)."""
        o = summed[..., :-1] / summed[..., -1:] + local
        return self.out(o.flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        heads = self.heads(F.pad(x, (0, 0, 0, -T % WINDOW)))
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            q, k, v = (into_chunks(z) for z in heads)  # (B, H, N, C, F), v (B, H, N, C, K + 1)
            within = taylor(q @ k.mT).tril()  # (B, H, N, C, C)
            write = taylor_features(k).mT @ v  # (B, H, N, features, K + 1)
            states = F.pad(write.cumsum(2)[:, :, :-1], (0, 0, 0, 0, 1, 0))  # of the chunks before
            summed = within @ v + taylor_features(q) @ states  # (B, H, N, C, K + 1)
        return self.merge(out_of_chunks(summed, T), self.window(x))

    def step(
        self, x_t: Tensor, state: tuple[Tensor, tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, tuple[Tensor, tuple[Tensor, Tensor]]]:
        """Mix one token, (B, D) -> (B, D); the state is S and what the window keeps."""
        q, k, v = self.heads(x_t)  # (B, H, F), (B, H, K + 1)
        S = taylor_features(k).unsqueeze(-1) * v.unsqueeze(-2)  # (B, H, features, K + 1)
        S = S if state is None else state[0] + S
        summed = (taylor_features(q).unsqueeze(-1) * S).sum(-2)  # (B, H, K + 1)
        local, last = self.window.step(x_t, None if state is None else state[1])
        return self.merge(summed, local), (S, last)

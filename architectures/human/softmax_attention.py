"""Softmax attention with rotary positions: the quadratic reference.

Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, with the rotary position embedding of
Su et al., "RoFormer", arXiv:2104.09864. Every token looks at every earlier one. It is here as an
upper reference, never as a rival of equal cost.

Cost: O(T^2) time; `step` keeps the keys and values of all tokens so far, O(T) a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = None


class Mixer(nn.Module):
    """Causal multi-head attention, K = D / H channels a head."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % (2 * n_heads):
            raise ValueError(f"d_model={d_model} is not an even multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        half = d_model // n_heads // 2
        frequencies = 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)  # (K / 2,)

    def rotate(self, qk: Tensor, start: int) -> Tensor:
        """Turn pairs of channels by angles that grow with the position: (..., T, K)."""
        positions = torch.arange(start, start + qk.shape[-2], device=qk.device)
        angles = positions[:, None] * self.frequencies  # (T, K / 2)
        cos, sin = angles.cos(), angles.sin()
        a, b = qk.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    def heads(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated q and k, and v, each (B, H, T, K), for x (B, T, D) at position start."""
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.rotate(qkv[:2], start)
        return q, k, qkv[2]

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens: (B, T, D) -> (B, T, D)."""
        q, k, v = self.heads(x, 0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, K)
        return self.out(y.transpose(1, 2).flatten(2))

    def step(
        self, x_t: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mix one token, (B, D) -> (B, D); the state is all keys and values so far."""
        start = 0 if state is None else state[0].shape[-2]
        q, k, v = self.heads(x_t.unsqueeze(1), start)
        if state is not None:
            k, v = torch.cat((state[0], k), -2), torch.cat((state[1], v), -2)
        y = F.scaled_dot_product_attention(q, k, v)  # (B, H, 1, K)
        return self.out(y.transpose(1, 2).flatten(1)), (k, v)

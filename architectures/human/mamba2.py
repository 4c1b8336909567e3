"""Mamba-2: a state space model with one forget rate per head, written as linear attention.

Dao and Gu, "Transformers are SSMs", arXiv:2405.21060. The step size dt decides how far a token
moves the state: it scales what is written, and exp(-dt rate) is what stays. Queries, keys and
values (C, B and x in the paper) pass a short convolution; a skip adds the token's own value, and
a SiLU gate comes before the norm.

As published, but with values as wide as the model (the paper doubles them), keys as wide as
values, and queries and keys of its own for each head, so the norm goes over a head (the paper's
n_groups = H).

Cost: O(T) time and memory in chunks; `step` keeps a state and three tokens, O(1) a token.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "input_gate": "step",
    "decay": "scalar",
    "decay_form": "softplus",
    "decay_init": "random",
    "feature_map": "silu",
    "short_conv": "conv4_bias",
    "value_skip": "skip",
    "output_norm": "rms",
    "output_gate": "silu",
    "gate_place": "before",
}
CHUNK = 32  # tokens that are worked on in parallel


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).contiguous()


def causal_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve each channel with its own four taps, the last one on the present: (B, T, D)."""
    x = F.pad(x, (0, 0, 3, 0)).mT.unsqueeze(2)  # (B, D, 1, T + 3), channels last in memory
    return F.conv2d(x, weight.T[:, None, None], groups=x.shape[1]).squeeze(2).mT


def sums_between(log_alpha: Tensor) -> Tensor:
    """Return the sum of log decays after j up to i, 0 where j >= i: (..., C, 1) -> (..., C, C).

    Each is a sum of its own: a difference of two running sums loses its digits once a gate closed.
    """
    C = log_alpha.shape[-2]
    return log_alpha.expand(*log_alpha.shape[:-1], C).tril(-1).cumsum(-2)


def chunk_states(keep: Tensor, write: Tensor) -> Tensor:
    """Return the state at the start of each chunk, S <- keep S + write: (B, H, N, K, K)."""
    keeps, writes = keep.unbind(2), write.unbind(2)  # N of (B, H, K, K), keep broadcasts
    states = [torch.zeros_like(writes[0])]
    for keep_n, write_n in zip(keeps[:-1], writes[:-1], strict=True):
        states.append(torch.addcmul(write_n, keep_n, states[-1]))
    return torch.stack(states, 2)


class Mixer(nn.Module):
    """A linear recurrent token mixer with one K x K state S per head, K = D / H.

    S_t = exp(-dt_t rate) S_(t-1) + dt_t k_t v_t^T
    o_t = S_t^T q_t + skip v_t
    q, k, v: a projection, then a causal convolution of width 4, then silu(.)
    dt_t = softplus(W_dt x_t + dt_bias), one per head
    rate = exp(log_rate) and skip: one learnt number per head
    y_t = W_o rms(o_t * silu(W_g x_t))
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.conv = nn.Parameter(torch.empty(4, 3 * d_model).uniform_(-0.5, 0.5))
        self.conv_bias = nn.Parameter(torch.zeros(3 * d_model))
        self.dt = nn.Linear(d_model, n_heads, bias=False)
        dt = torch.empty(n_heads).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        self.dt_bias = nn.Parameter(dt.expm1().log())  # softplus gives dt back
        self.log_rate = nn.Parameter(torch.empty(n_heads).uniform_(1, 16).log())
        self.skip = nn.Parameter(torch.ones(n_heads))
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-6)
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (..., 3 D) into q, k and v, each (..., H, K)."""
        qkv = F.silu(widened(qkv) + self.conv_bias).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = qkv.unbind(-3)
        return q, k, v

    def step_size(self, x: Tensor) -> Tensor:
        """Return dt of each head, above zero: (..., D) -> (..., H, 1)."""
        return F.softplus(widened(self.dt(x)) + self.dt_bias).unsqueeze(-1)

    def log_decay(self, dt: Tensor) -> Tensor:
        """Log of what is left of the state after a step of size dt: (..., H, 1)."""
        return -self.log_rate.exp().unsqueeze(-1) * dt

    def merge(self, o: Tensor, v: Tensor, x: Tensor) -> Tensor:
        """Join the heads' reads and values (..., H, K) into the output (..., D)."""
        y = o + self.skip.unsqueeze(-1) * v
        gate = F.silu(self.gate(x)).unflatten(-1, (self.n_heads, -1))
        return self.out(self.norm(y * gate).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        q, k, v = self.heads(causal_conv(self.qkv(padded), self.conv))  # (B, T, H, K)
        dt = self.step_size(padded)
        log_alpha = into_chunks(self.log_decay(dt))  # (B, H, N, C, 1)
        q, k, u = (into_chunks(z) for z in (q, k, dt * v))  # (B, H, N, C, K)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            between = sums_between(log_alpha).exp().tril()  # from j to i, (..., C, C)
            from_start, to_end = log_alpha.cumsum(-2).exp(), between[..., -1:, :].mT
            whole = from_start[..., -1:, :]  # decay over a chunk, (..., 1, 1)

            reads = q @ k.mT * between  # (B, H, N, C, C)
            states = chunk_states(whole, (k * to_end).mT @ u)  # (B, H, N, K, K)
            o = reads @ u + (q * from_start) @ states  # (B, H, N, C, K)
        o = o.movedim(1, 3).flatten(1, 2)  # (B, T, H, K)
        return self.merge(o[:, :T], v[:, :T], x)

    def step(
        self, x_t: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mix one token, (B, D) -> (B, D); the state is S and the last three qkv."""
        qkv = self.qkv(x_t)
        recent = qkv.new_zeros(len(qkv), 3, qkv.shape[-1]) if state is None else state[1]
        window = torch.cat((recent, qkv.unsqueeze(1)), 1)  # (B, 4, 3 D)
        q, k, v = self.heads((window * self.conv).sum(1))  # (B, H, K)
        dt = self.step_size(x_t)
        S = q.new_zeros(*q.shape, q.shape[-1]) if state is None else state[0]  # (B, H, K, K)
        S = self.log_decay(dt).exp().unsqueeze(-1) * S
        S = S + k.unsqueeze(-1) * (dt * v).unsqueeze(-2)
        o = (q.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o, v, x_t), (S, window[:, 1:])

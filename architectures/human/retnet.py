"""RetNet: linear attention that forgets at a fixed rate, each head at its own.

Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models",
arXiv:2307.08621. Head h decays its state by gamma_h = 1 - 2^(-5 - h) a token, reads through a norm
per head, and gates what it read by a SiLU of the input.

As published, without the rotation of queries and keys (xPos) and with values as wide as keys.

Cost: O(T) time and memory in chunks; `step` keeps one state, O(1) a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "decay": "fixed",
    "decay_init": "spread",
    "output_norm": "rms",
    "output_gate": "silu",
}
CHUNK = 32  # tokens that are worked on in parallel


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).contiguous()


def chunk_states(keep: Tensor, write: Tensor) -> Tensor:
    """Return the state at the start of each chunk, S <- keep S + write: (B, H, N, K, K)."""
    keeps, writes = keep.unbind(2), write.unbind(2)  # N of (B, H, K, K), keep broadcasts
    states = [torch.zeros_like(writes[0])]
    for keep_n, write_n in zip(keeps[:-1], writes[:-1], strict=True):
        states.append(torch.addcmul(write_n, keep_n, states[-1]))
    return torch.stack(states, 2)


class Mixer(nn.Module):
    """A linear recurrent token mixer with one K x K state S per head, K = D / H.

    S_t = gamma S_(t-1) + k_t v_t^T
    o_t = S_t^T q_t / sqrt(K)
    q, k: a projection
    gamma = 1 - 2^(-5 - h) for head h
    y_t = W_o (rms(o_t) * silu(W_g x_t))
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        log_gamma = torch.log1p(-(2.0 ** (-5.0 - torch.arange(n_heads))))
        g = log_gamma.view(-1, 1, 1, 1) * torch.arange(1, CHUNK + 1).view(-1, 1)
        self.register_buffer("g", g, persistent=False)  # (H, 1, C, 1)
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-6)
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (..., 3 D) into q, k and v, each (..., H, K)."""
        qkv = widened(qkv).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = qkv.unbind(-3)
        scale = q.shape[-1] ** -0.5
        return q * scale, k, v

    def merge(self, o: Tensor, x: Tensor) -> Tensor:
        """Join the heads' reads (..., H, K) into the output (..., D)."""
        y = self.norm(o).flatten(-2)
        return self.out(y * F.silu(self.gate(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        qkv = self.heads(self.qkv(padded))
        q, k, v = (into_chunks(z) for z in qkv)  # (B, H, N, C, K)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            g = self.g  # log decay since the chunk began, (H, 1, C, 1)
            from_start, to_end = g.exp(), (g[..., -1:, :] - g).exp()
            whole = from_start[..., -1:, :].mT  # decay over a chunk, (..., 1, 1)

            # from j to i, masked before exp so that nothing overflows: (..., C, C)
            between = (g - g.mT).tril().exp().tril()
            reads = q @ k.mT * between  # (B, H, N, C, C)
            write = (k * to_end).mT @ v  # (B, H, N, K, K)
            states = chunk_states(whole.expand_as(write), write)
            o = reads @ v + (q * from_start) @ states  # (B, H, N, C, K)
        o = o.movedim(1, 3).flatten(1, 2)[:, :T]  # (B, T, H, K)
        return self.merge(o, x)

    def step(self, x_t: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix one token, (B, D) -> (B, D); the state is S."""
        q, k, v = self.heads(self.qkv(x_t))  # (B, H, K)
        S = q.new_zeros(*q.shape, q.shape[-1]) if state is None else state  # (B, H, K, K)
        S = self.g[:, :, 0].exp() * S
        S = S + k.unsqueeze(-1) * v.unsqueeze(-2)
        o = (q.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o, x_t), S

"""HGRN2: what a channel forgets is what it writes.

Qin et al., "HGRN2: Gated Linear RNNs with State Expansion", arXiv:2404.07904. It is gated linear
attention (arXiv:2312.06635) with the keys tied to the forget gates, k = 1 - alpha, and a lower
bound under each gate; a SiLU of the queries stands for the output gate, and one RMS norm over all
heads comes before the output projection.

As published, with two changes. The published bounds grow from layer to layer by a running softmax;
a mixer does not know its layer, so here each channel learns its own, and the bounds of a head start
evenly spread in how fast they may forget. Keys are as wide as values.

Cost: O(T) time and memory in chunks; `step` keeps one state, O(1) a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "input_gate": "complement",
    "decay": "vector",
    "decay_form": "bounded",
    "decay_init": "spread",
    "feature_map": "silu",
    "output_norm": "rms_all",
}
CHUNK = 16  # tokens that are worked on in parallel


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).contiguous()


def decayed_products(rows: Tensor, cols: Tensor, g: Tensor) -> Tensor:
    """Return sum_k rows_ik cols_jk exp(g_ik - g_jk) for i >= j, and 0 elsewhere: (..., C, C).

    All arguments are (..., C, K); g is the running sum of log decays. Blocks of 1, 2, 4, ...
    tokens are joined in pairs, and each pair measures its decays from its own boundary: only
    decays that did happen are exponentiated, so nothing overflows however fast a gate forgets.
    """
    products = (rows * cols).sum(-1)[..., None, None]  # (..., C, 1, 1)
    size = 1
    while size < g.shape[-2]:
        pair = (-1, 2, size)
        early_g, late_g = g.unflatten(-2, pair).unbind(-3)  # (..., pairs, size, K)
        boundary = early_g[..., -1:, :]
        late_rows = rows.unflatten(-2, pair).select(-3, 1) * (late_g - boundary).exp()
        early_cols = cols.unflatten(-2, pair).select(-3, 0) * (boundary - early_g).exp()
        early, late = products.unflatten(-3, (-1, 2)).unbind(-3)  # (..., pairs, size, size)
        if size > 2:
            below = late_rows @ early_cols.mT
        else:  # so small, products are faster element by element
            below = (late_rows.unsqueeze(-2) * early_cols.unsqueeze(-3)).sum(-1)
        below = torch.cat((below, late), -1)
        products = torch.cat((F.pad(early, (0, size)), below), -2)
        size *= 2
    return products.squeeze(-3)


def chunk_states(keep: Tensor, write: Tensor) -> Tensor:
    """Return the state at the start of each chunk, S <- keep S + write: (B, H, N, K, K)."""
    keeps, writes = keep.unbind(2), write.unbind(2)  # N of (B, H, K, K), keep broadcasts
    states = [torch.zeros_like(writes[0])]
    for keep_n, write_n in zip(keeps[:-1], writes[:-1], strict=True):
        states.append(torch.addcmul(write_n, keep_n, states[-1]))
    return torch.stack(states, 2)


class Mixer(nn.Module):
    """A linear recurrent token mixer with one K x K state S per head, K = D / H.

    S_t = diag(alpha_t) S_(t-1) + (1 - alpha_t) v_t^T
    o_t = S_t^T q_t
    q: a projection, then silu(.)
    alpha_t = bound + (1 - bound) sigmoid(W_f x_t), one per channel
    bound = sigmoid(b), one learnt number per channel
    y_t = W_o rms(o_t), the norm over all heads
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        below = torch.logspace(0, -2, d_model // n_heads + 1)[1:]  # 1 - bound, at least 0.01
        self.bound = nn.Parameter(torch.logit(1 - below).repeat(n_heads))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Split (..., 3 D) into q, k, v and the log of the forget gate, each (..., H, K)."""
        q, f, v = widened(qkv).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        below = torch.sigmoid(-self.bound).view(self.n_heads, -1)  # 1 - bound
        k = below * torch.sigmoid(-f)  # 1 - alpha, as a product, in which small ones keep digits
        log_alpha = torch.log1p(-k.clamp(max=1 - 1e-7))  # finite where the gate is closed
        return F.silu(q), k, v, log_alpha

    def merge(self, o: Tensor) -> Tensor:
        """Join the heads' reads (..., H, K) into the output (..., D)."""
        return self.out(self.norm(o.flatten(-2)))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        heads = self.heads(self.qkv(padded))
        q, k, v, log_alpha = (into_chunks(z) for z in heads)  # (B, H, N, C, K)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            g = log_alpha.cumsum(-2)  # log decay since the chunk began
            from_start, to_end = g.exp(), (g[..., -1:, :] - g).exp()
            whole = from_start[..., -1:, :].mT  # decay over a chunk, (..., K, 1)

            reads = decayed_products(q, k, g)  # (B, H, N, C, C)
            states = chunk_states(whole, (k * to_end).mT @ v)  # (B, H, N, K, K)
            o = reads @ v + (q * from_start) @ states  # (B, H, N, C, K)
        return self.merge(o.movedim(1, 3).flatten(1, 2)[:, :T])

    def step(self, x_t: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix one token, (B, D) -> (B, D); the state is S."""
        q, k, v, log_alpha = self.heads(self.qkv(x_t))  # (B, H, K)
        S = q.new_zeros(*q.shape, q.shape[-1]) if state is None else state  # (B, H, K, K)
        S = log_alpha.exp().unsqueeze(-1) * S
        S = S + k.unsqueeze(-1) * v.unsqueeze(-2)
        o = (q.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o), S

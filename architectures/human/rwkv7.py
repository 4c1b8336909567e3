"""RWKV-7 time mixing: the delta rule with vectors for gates, and a key for removal of its own.

Peng et al., "RWKV-7 'Goose' with Expressive Dynamic State Evolution", arXiv:2503.14456. Each
channel has its own decay and its own in-context learning rate; what is removed is found with one
key, and what is written is stored under another. Inputs are blends with the token before; the
output passes a group norm, gets a bonus of the present token, and passes a gate.

Left out is the residual from the first layer's values, as a mixer sees one layer. The low-rank
maps have rank 16, and plain linear layers start as torch's do.

Cost: O(T) time and memory in chunks; `step` keeps a state and one token, O(1) a token.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "update": "general_delta",
    "beta_range": "unit",
    "decay": "vector",
    "decay_form": "exponential",
    "decay_init": "spread",
    "token_shift": "blend",
    "value_skip": "bonus",
    "output_norm": "group",
    "output_gate": "linear",
    "gate_rank": "low",
}
CHUNK = 16  # tokens that are worked on in parallel
FASTEST = math.e**-0.5  # the log decay of a token is above -FASTEST


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).contiguous()


class TriangularSolve(torch.autograd.Function):
    """The x of (I + A) x = b with A strictly lower triangular: (..., C, C), (..., C, M).

    The inverse is found once, by substitution, and serves the backward pass as well.
    """

    @staticmethod
    def forward(ctx, A: Tensor, b: Tensor) -> Tensor:
        eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand_as(A)
        inverse = torch.linalg.solve_triangular(A, eye, upper=False, left=False, unitriangular=True)
        x = inverse @ b
        ctx.save_for_backward(inverse, x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dx: Tensor) -> tuple[Tensor, Tensor]:
        inverse, x = ctx.saved_tensors
        db = inverse.mT @ dx
        return (db @ -x.mT).tril(-1), db


def chunk_states(keep: Tensor, write: Tensor) -> Tensor:
    """Return the state at the start of each chunk, S <- keep S + write: (B, H, N, K, K)."""
    keeps, writes = (z.flatten(0, 1).unbind(1) for z in (keep, write))  # N of (B H, K, K)
    states = [torch.zeros_like(writes[0])]
    for keep_n, write_n in zip(keeps[:-1], writes[:-1], strict=True):
        states.append(torch.baddbmm(write_n, keep_n, states[-1]))
    return torch.stack(states, 1).view_as(write)


class Mixer(nn.Module):
    """A linear recurrent token mixer with one K x K state S per head, K = D / H.

    S_t = (diag(w_t) - (a_t * kappa_t) kappa_t^T) S_(t-1) + k_t v_t^T
    o_t = S_t^T r_t
    x'_t = x_t + mu (x_(t-1) - x_t), with a mu for each of r, k, v, w, a and the gate
    r, p, v: a projection of x', by W_q, W_k and W_v
    kappa, k: an L2 norm of xi p, and p (1 + eta (a_t - 1))
    w_t = exp(-e^(-1/2) sigmoid(W_2 tanh(W_1 x'_t) + b)), one per channel of k
    a_t = sigmoid(W_4 W_3 x'_t + b), one per channel of k
    y_t = W_o ((groupnorm(o_t) + (r_t . rho k_t) v_t) * W_6 sigmoid(W_5 x'_t))
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        K = d_model // n_heads
        # From channels that see the present alone to channels that see the token before alone.
        self.mu = nn.Parameter(torch.linspace(0, 1, d_model).repeat(6, 1))
        self.q = nn.Linear(d_model, d_model, bias=False)
        self.k = nn.Linear(d_model, d_model, bias=False)
        self.v = nn.Linear(d_model, d_model, bias=False)
        self.decay = nn.Sequential(
            nn.Linear(d_model, 16, bias=False), nn.Tanh(), nn.Linear(16, d_model)
        )
        # In each head w starts between 0.998, for the first channel, and 0.85, for the last.
        self.decay[2].bias = nn.Parameter(torch.linspace(-6, -1, K).repeat(n_heads))
        self.rate = nn.Sequential(nn.Linear(d_model, 16, bias=False), nn.Linear(16, d_model))
        self.xi = nn.Parameter(torch.ones(n_heads, K))
        self.eta = nn.Parameter(torch.ones(n_heads, K))
        self.rho = nn.Parameter(torch.zeros(n_heads, K))
        self.norm = nn.GroupNorm(n_heads, d_model, eps=1e-5 * K)
        self.gate = nn.Sequential(
            nn.Linear(d_model, 16, bias=False), nn.Sigmoid(), nn.Linear(16, d_model, bias=False)
        )
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, x: Tensor, before: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return (r, k, v, kappa, a * kappa, log w), each (..., H, K), and the gate (..., D).

        x is (..., D); before is the same, one token earlier.
        """
        change = before - x
        for_r, for_k, for_v, for_w, for_a, for_gate = (x + mu * change for mu in self.mu)
        log_w = -FASTEST * widened(self.decay(for_w)).sigmoid()
        a = widened(self.rate(for_a)).sigmoid()
        r, p, v = widened(self.q(for_r)), widened(self.k(for_k)), widened(self.v(for_v))
        r, p, v, log_w, a = (z.unflatten(-1, (self.n_heads, -1)) for z in (r, p, v, log_w, a))
        kappa = self.xi * p
        kappa = kappa * torch.rsqrt(kappa.square().sum(-1, keepdim=True) + 1e-6)
        k = p * (1 + self.eta * (a - 1))
        return (r, k, v, kappa, a * kappa, log_w), self.gate(for_gate)

    def merge(self, o: Tensor, r: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        """Join the heads' reads and the present token's bonus (..., H, K) into (..., D)."""
        bonus = (r * self.rho * k).sum(-1, keepdim=True) * v
        o, bonus = (z.flatten(-2).to(self.norm.weight.dtype) for z in (o, bonus))
        normed = self.norm(o.flatten(0, -2)).view_as(o)
        return self.out((normed + bonus) * gate)

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 1, -T % CHUNK))
        inputs, gate = self.heads(padded[:, 1:], padded[:, :-1])
        r, k, v, kappa, rated, log_w = (into_chunks(z) for z in inputs)  # (B, H, N, C, K)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            g = log_w.cumsum(-2)  # log decay since the chunk began
            before = g - log_w  # the same, of the token before
            to_end = (g[..., -1:, :] - g).exp()
            # The decay between two tokens is a product of two factors, one for each side of the
            # middle of the chunk. As w is bounded below, none exceeds exp(FASTEST C / 2), so
            # nothing overflows and every product keeps its digits; a gate without a bound would
            # need another way.
            middle = g[..., CHUNK // 2 - 1 : CHUNK // 2, :]
            onwards = (middle - g).exp()
            rows = torch.cat((r * (g - middle).exp(), kappa * (before - middle).exp()), -2)
            cols = torch.cat((k * onwards, rated * onwards), -2)
            reads, removals = (rows @ cols.mT).chunk(2, -2)  # (B, H, N, C, 2 C)
            reads_k, reads_rated = (z.tril() for z in reads.chunk(2, -1))  # (B, H, N, C, C)
            recalls, overlaps = (z.tril(-1) for z in removals.chunk(2, -1))

            # What each token removes, what kappa recalls, depends on what the tokens before it
            # wrote and removed: a unit lower triangular system. Its solution is linear in the
            # chunk's starting state S, removed = values + keys S.
            right = torch.cat((recalls @ v, kappa * before.exp()), -1)
            solved = TriangularSolve.apply(overlaps, right)  # values, keys: (B, H, N, C, 2 K)
            unwrite, erase = ((rated * to_end).mT @ solved).chunk(2, -1)  # (B, H, N, K, K)
            write = (k * to_end).mT @ v - unwrite
            whole = g[..., -1, :].exp().diag_embed()  # decay over a chunk, (B, H, N, K, K)
            states = chunk_states(whole - erase, write)  # (B, H, N, K, K)
            of_values, of_keys = (reads_rated @ solved).chunk(2, -1)  # (B, H, N, C, K)
            o = reads_k @ v - of_values + (r * g.exp() - of_keys) @ states
        o = o.movedim(1, 3).flatten(1, 2)  # (B, N C, H, K)
        return self.merge(o, *inputs[:3], gate)[:, :T]

    def step(
        self, x_t: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mix one token, (B, D) -> (B, D); the state is S and the token."""
        before = torch.zeros_like(x_t) if state is None else state[1]
        (r, k, v, kappa, rated, log_w), gate = self.heads(x_t, before)  # (B, H, K)
        S = r.new_zeros(*r.shape, r.shape[-1]) if state is None else state[0]  # (B, H, K, K)
        recalled = (kappa.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        S = log_w.exp().unsqueeze(-1) * S - rated.unsqueeze(-1) * recalled.unsqueeze(-2)
        S = S + k.unsqueeze(-1) * v.unsqueeze(-2)
        o = (r.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o, r, k, v, gate), (S, x_t)

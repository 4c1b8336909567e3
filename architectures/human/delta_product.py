"""DeltaProduct: each token takes several steps of the delta rule, with a key and a value for each.

Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
arXiv:2502.10297. The transition of a token is a product of generalised Householder matrices
I - beta k k^T with beta in (0, 2) (arXiv:2411.12537). Two of them make a rotation, which swaps or
turns what is stored in one token; one, DeltaNet's, can only flip it.

Without the forget gate of the paper's gated variant, and with keys as wide as values.

Cost: O(T) time and memory in chunks, about n times DeltaNet's; `step` keeps a state and three
tokens, O(1) a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "update": "delta",
    "delta_steps": "two",
    "beta_range": "double",
    "feature_map": "silu",
    "qk_norm": "l2",
    "short_conv": "conv4",
    "output_norm": "rms",
}
CHUNK = 16  # tokens that are worked on in parallel


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first, split time, line up inner steps: (B, T, H, n, K) -> (B, H, N, C n, K)."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).flatten(3, 4).contiguous()


def causal_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve each channel with its own four taps, the last one on the present: (B, T, D)."""
    x = F.pad(x, (0, 0, 3, 0)).mT.unsqueeze(2)  # (B, D, 1, T + 3), channels last in memory
    return F.conv2d(x, weight.T[:, None, None], groups=x.shape[1]).squeeze(2).mT


def inverse_norm(x: Tensor) -> Tensor:
    """Return one over the L2 norm of the last axis: (..., K) -> (..., 1)."""
    return torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


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

    S <- (I - beta_tj k_tj k_tj^T) S + beta_tj k_tj v_tj^T for the n inner steps j of token t
    o_t = S^T q_t / sqrt(K), after the last of them
    q, k_j: a projection, then a causal convolution of width 4, then silu(.), then an L2 norm
    v_j:    a projection, then a causal convolution of width 4, then silu(.)
    beta_tj = 2 sigmoid(W_j x_t), one per head and inner step
    y_t = W_o rms(o_t)
    """

    def __init__(self, d_model: int, n_heads: int = 2, n_householder: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads, self.n_householder = n_heads, n_householder
        self.widths = (d_model, n_householder * d_model, n_householder * d_model)  # of q, k and v
        width = sum(self.widths)
        self.qkv = nn.Linear(d_model, width, bias=False)
        self.conv = nn.Parameter(torch.empty(4, width).uniform_(-0.5, 0.5))
        self.beta = nn.Linear(d_model, n_heads * n_householder, bias=False)
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (..., (1 + 2 n) D) into q (..., H, 1, K), and k and v, each (..., H, n, K)."""
        q, k, v = F.silu(widened(qkv)).split(self.widths, -1)
        q = q.unflatten(-1, (self.n_heads, 1, -1))
        k, v = (z.unflatten(-1, (self.n_heads, self.n_householder, -1)) for z in (k, v))
        scale = q.shape[-1] ** -0.5
        return q * (scale * inverse_norm(q)), k * inverse_norm(k), v

    def write_strength(self, x: Tensor) -> Tensor:
        """Return beta of each head and inner step, in (0, 2): (..., D) -> (..., H, n, 1)."""
        beta = 2 * widened(self.beta(x)).sigmoid()
        return beta.unflatten(-1, (self.n_heads, self.n_householder, 1))

    def merge(self, o: Tensor, x: Tensor) -> Tensor:
        """Join the heads' reads (..., H, K) into the output (..., D)."""
        return self.out(self.norm(o.to(x.dtype)).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        qkv = self.heads(causal_conv(self.qkv(padded), self.conv))
        q, k, v = (into_chunks(z) for z in qkv)  # (B, H, N, C, K), k and v (B, H, N, C n, K)
        beta = into_chunks(self.write_strength(padded))  # (B, H, N, C n, 1)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            # A token reads after all its inner steps: (C, C n).
            seen = torch.ones(CHUNK, CHUNK, dtype=q.dtype, device=q.device).tril()
            reads = q @ k.mT * seen.repeat_interleave(self.n_householder, -1)
            overlaps = k @ k.mT  # (B, H, N, C n, C n)
            # What each inner step really writes, v minus what its key recalls, depends on the
            # steps before it: a unit lower triangular system. Its solution is linear in the
            # chunk's starting state S, written = values - keys S.
            right = beta * torch.cat((v, k), -1)
            solved = TriangularSolve.apply(beta * overlaps, right)  # values, keys: (..., C n, 2 K)
            write, erase = (k.mT @ solved).chunk(2, -1)  # (B, H, N, K, K)
            eye = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
            states = chunk_states(eye - erase, write)  # (B, H, N, K, K)
            of_values, of_keys = (reads @ solved).chunk(2, -1)  # (B, H, N, C, K)
            o = of_values + (q - of_keys) @ states  # (B, H, N, C, K)
        o = o.movedim(1, 3).flatten(1, 2)[:, :T]  # (B, T, H, K)
        return self.merge(o, x)

    def step(
        self, x_t: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mix one token, (B, D) -> (B, D); the state is S and the last three qkv."""
        qkv = self.qkv(x_t)
        recent = qkv.new_zeros(len(qkv), 3, qkv.shape[-1]) if state is None else state[1]
        window = torch.cat((recent, qkv.unsqueeze(1)), 1)  # (B, 4, (1 + 2 n) D)
        q, k, v = self.heads((window * self.conv).sum(1))  # (B, H, 1 or n, K)
        S = k.new_zeros(*k.shape[:2], *q.shape[-1:] * 2) if state is None else state[0]
        inner = (z.split(1, -2) for z in (k, v, self.write_strength(x_t)))
        for k_j, v_j, beta_j in zip(*inner, strict=True):  # (B, H, 1, K)
            S = S + k_j.mT * (beta_j * (v_j - k_j @ S))  # (B, H, K, K)
        return self.merge((q @ S).squeeze(-2), x_t), (S, window[:, 1:])

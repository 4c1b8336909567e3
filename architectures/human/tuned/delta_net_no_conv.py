"""delta_net_no_conv: delta_net without its short convolution.

A human baseline in a form that suits small models and short training, so that a new design is
not held against a rival that was never tuned.

Sources: arXiv:2406.06484

Cost: O(T) time and memory. Tokens are worked on in parallel in chunks, which cost T * CHUNK * D;
only a state per head goes from chunk to chunk. `step` keeps the state, O(1) a token.
"""

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "update": "delta",
    "beta_range": "unit",
    "feature_map": "silu",
    "qk_norm": "l2",
    "output_norm": "rms",
}
CHUNK = 32  # tokens that are worked on in parallel


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).contiguous()


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

    S_t = (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T
    o_t = S_t^T q_t / sqrt(K)
    q, k: a projection, then silu(.), then an L2 norm
    v: a projection
    beta_t = sigmoid(W_b x_t), one per head
    y_t = W_o rms(o_t)
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.beta = nn.Linear(d_model, n_heads, bias=False)
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (..., 3 D) into q, k and v, each (..., H, K)."""
        q, k, v = widened(qkv).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        q, k = F.silu(q), F.silu(k)
        scale = q.shape[-1] ** -0.5
        return q * (scale * inverse_norm(q)), k * inverse_norm(k), v

    def write_strength(self, x: Tensor) -> Tensor:
        """Return beta of each head, in (0, 1): (..., D) -> (..., H, 1)."""
        return widened(self.beta(x)).sigmoid().unsqueeze(-1)

    def merge(self, o: Tensor) -> Tensor:
        """Join the heads' reads (..., H, K) into the output (..., D)."""
        return self.out(self.norm(o).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        heads = self.heads(self.qkv(padded))
        q, k, v = (into_chunks(z) for z in heads)  # (B, H, N, C, K)
        beta = into_chunks(self.write_strength(padded))  # (B, H, N, C, 1)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            reads = (q @ k.mT).tril()  # (B, H, N, C, C)
            overlaps = k @ k.mT
            # What each token really writes, v minus what its key recalls, depends on the tokens
            # before it: a unit lower triangular system. Its solution is linear in the chunk's
            # starting state S, written = values - keys S.
            right = beta * torch.cat((v, k), -1)
            solved = TriangularSolve.apply(beta * overlaps, right)  # (..., C, 2 K)
            write, erase = (k.mT @ solved).chunk(2, -1)  # (B, H, N, K, K)
            eye = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
            states = chunk_states(eye - erase, write)  # (B, H, N, K, K)
            of_values, of_keys = (reads @ solved).chunk(2, -1)  # (B, H, N, C, K)
            o = of_values + (q - of_keys) @ states  # (B, H, N, C, K)
        o = o.movedim(1, 3).flatten(1, 2)[:, :T]  # (B, T, H, K)
        return self.merge(o)

    def step(self, x_t: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix one token, (B, D) -> (B, D); the state is S."""
        q, k, v = self.heads(self.qkv(x_t))  # (B, H, K)
        S = k.new_zeros(*k.shape, v.shape[-1]) if state is None else state  # (B, H, K, K)
        recalled = (k.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        v = self.write_strength(x_t) * (v - recalled)
        S = S + k.unsqueeze(-1) * v.unsqueeze(-2)
        o = (q.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o), S


class Block(nn.Module):
    """A mixer and an MLP, each behind a norm and beside a skip connection."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(d_model)
        self.mixer = Mixer(d_model, n_heads)
        self.mlp_norm = nn.RMSNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.mixer_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Candidate(lightning.LightningModule):
    """A small language model around the mixer, for any Trainer.

    A batch is (tokens, targets), both (B, T) integers; targets of -100 do not count.
    """

    def __init__(
        self, vocab_size: int = 256, d_model: int = 64, n_heads: int = 2, lr: float = 3e-3
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.blocks = nn.Sequential(Block(d_model, n_heads), Block(d_model, n_heads))
        self.norm = nn.RMSNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next token: (B, T) -> (B, T, vocab_size)."""
        return self.head(self.norm(self.blocks(self.embedding(tokens))))

    def model_step(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
        tokens, targets = batch
        loss = F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())
        self.log(f"{stage}_loss", loss, prog_bar=True)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.model_step(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.model_step(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.model_step(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)

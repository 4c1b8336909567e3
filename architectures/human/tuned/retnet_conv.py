"""retnet_conv: retnet with a short convolution and without its output gate.

A human baseline in a form that suits small models and short training, so that a new design is
not held against a rival that was never tuned.

Sources: arXiv:2307.08621

Cost: O(T) time and memory. Tokens are worked on in parallel in chunks, which cost T * CHUNK * D;
only a state per head goes from chunk to chunk. `step` keeps the state and three tokens, O(1) a
token.
"""

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "decay": "fixed",
    "decay_init": "spread",
    "short_conv": "conv4",
    "output_norm": "rms",
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
    q, k: a projection, then a causal convolution of width 4
    v: a projection, then a causal convolution of width 4, then silu(.)
    gamma = 1 - 2^(-5 - h) for head h
    y_t = W_o rms(o_t)
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.conv = nn.Parameter(torch.empty(4, 3 * d_model).uniform_(-0.5, 0.5))
        log_gamma = torch.log1p(-(2.0 ** (-5.0 - torch.arange(n_heads))))
        g = log_gamma.view(-1, 1, 1, 1) * torch.arange(1, CHUNK + 1).view(-1, 1)
        self.register_buffer("g", g, persistent=False)  # (H, 1, C, 1)
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (..., 3 D) into q, k and v, each (..., H, K)."""
        q, k, v = widened(qkv).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        v = F.silu(v)
        return q * q.shape[-1] ** -0.5, k, v

    def merge(self, o: Tensor) -> Tensor:
        """Join the heads' reads (..., H, K) into the output (..., D)."""
        return self.out(self.norm(o).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        heads = self.heads(causal_conv(self.qkv(padded), self.conv))
        q, k, v = (into_chunks(z) for z in heads)  # (B, H, N, C, K)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            g = self.g  # log decay since the chunk began, (H, 1, C, 1)
            from_start, to_end = g.exp(), (g[..., -1:, :] - g).exp()
            whole = from_start[..., -1:, :]  # decay over a chunk, (..., 1, 1)
            between = (g - g.mT).tril().exp().tril()  # from j to i, (..., C, C)
            reads = q @ k.mT * between  # (B, H, N, C, C)
            write = (k * to_end).mT @ v  # (B, H, N, K, K)
            states = chunk_states(whole.expand_as(write), write)
            o = reads @ v + (q * from_start) @ states  # (B, H, N, C, K)
        o = o.movedim(1, 3).flatten(1, 2)[:, :T]  # (B, T, H, K)
        return self.merge(o)

    def step(self, x_t: Tensor, state: tuple | None = None) -> tuple[Tensor, tuple]:
        """Mix one token, (B, D) -> (B, D); the state is S and the last three qkv."""
        qkv = self.qkv(x_t)
        recent = qkv.new_zeros(len(qkv), 3, qkv.shape[-1]) if state is None else state[1]
        window = torch.cat((recent, qkv.unsqueeze(1)), 1)  # (B, 4, channels)
        q, k, v = self.heads((window * self.conv).sum(1))  # (B, H, K)
        S = k.new_zeros(*k.shape, v.shape[-1]) if state is None else state[0]  # (B, H, K, K)
        S = self.g[:, :, 0].exp() * S
        S = S + k.unsqueeze(-1) * v.unsqueeze(-2)
        o = (q.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o), (S, window[:, 1:])


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

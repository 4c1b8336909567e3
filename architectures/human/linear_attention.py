"""Linear attention: the softmax gives way to a feature map, and attention becomes a sum.

Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention", arXiv:2006.16236. With phi(x) = elu(x) + 1 on queries and keys, what a token reads is
linear in a state that adds up the key-value products of all tokens so far; nothing is forgotten.

As published, except that an RMS norm per head on the output (arXiv:1910.07467) stands in for the
division by the sum of the keys, as in later linear mixers.

Cost: O(T) time and memory in chunks; `step` keeps one state, O(1) a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GENOME = {
    "feature_map": "elu",
    "output_norm": "rms",
}
CHUNK = 32  # tokens that are worked on in parallel


def widened(x: Tensor) -> Tensor:
    """Return what autocast made bf16 or fp16 as fp32; wider numbers stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def into_chunks(x: Tensor) -> Tensor:
    """Put heads first and split time: (B, T, H, K) -> (B, H, N, C, K) with T = N C."""
    return x.unflatten(1, (-1, CHUNK)).movedim(3, 1).contiguous()


class Mixer(nn.Module):
    """A linear recurrent token mixer with one K x K state S per head, K = D / H.

    S_t = S_(t-1) + k_t v_t^T
    o_t = S_t^T q_t / sqrt(K)
    q, k: a projection, then elu(.) + 1
    y_t = W_o rms(o_t)
    """

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (..., 3 D) into q, k and v, each (..., H, K)."""
        qkv = widened(qkv).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = qkv.unbind(-3)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        scale = q.shape[-1] ** -0.5
        return q * scale, k, v

    def merge(self, o: Tensor) -> Tensor:
        """Join the heads' reads (..., H, K) into the output (..., D)."""
        return self.out(self.norm(o).flatten(-2))

    def forward(self, x: Tensor) -> Tensor:
        """Mix all tokens, (B, T, D) -> (B, T, D), chunk by chunk."""
        T = x.shape[1]
        padded = F.pad(x, (0, 0, 0, -T % CHUNK))
        qkv = self.heads(self.qkv(padded))
        q, k, v = (into_chunks(z) for z in qkv)  # (B, H, N, C, K)
        with torch.autocast(x.device.type, enabled=False):  # bf16 forgets what a state sums up
            reads = (q @ k.mT).tril()  # (B, H, N, C, C)
            # Each chunk starts from the sum of what the chunks before it wrote.
            sums = (k.mT @ v).cumsum(2)[:, :, :-1]
            states = F.pad(sums, (0, 0, 0, 0, 1, 0))  # (B, H, N, K, K)
            o = reads @ v + q @ states  # (B, H, N, C, K)
        o = o.movedim(1, 3).flatten(1, 2)[:, :T]  # (B, T, H, K)
        return self.merge(o)

    def step(self, x_t: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix one token, (B, D) -> (B, D); the state is S."""
        q, k, v = self.heads(self.qkv(x_t))  # (B, H, K)
        S = q.new_zeros(*q.shape, q.shape[-1]) if state is None else state  # (B, H, K, K)
        S = S + k.unsqueeze(-1) * v.unsqueeze(-2)
        o = (q.unsqueeze(-1) * S).sum(-2)  # (B, H, K)
        return self.merge(o), S

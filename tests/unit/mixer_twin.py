"""A slow, obviously right twin of every rendered mixer: one token at a time, as the papers have it.

Reads the parameters of a mixer and the choices of its genome, and shares no code with the
templates. Covers all axes. Does not cover chunks, states that are handed on, or numerics.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from noctuary.space.genome import Genome

STEPS = {"one": 1, "two": 2, "three": 3}
WINDOW = 32


class Heads(NamedTuple):
    """What the projections give: q (B, T, H, K); k and v with inner steps, (B, T, H, n, .)."""

    q: Tensor
    k: Tensor
    v: Tensor


def twin(mixer: Any, genome: Genome, x: Tensor) -> Tensor:
    """Return what a mixer of the genome makes of x: (B, T, D) -> (B, T, D)."""
    if genome.layer_pattern == "alternate":
        mixer = mixer.layer
        if type(mixer).__name__ == "Window":
            return mixer.out(window_reads(mixer, x).flatten(-2))
    inputs = streams(mixer, genome, x)
    h = heads(mixer, genome, inputs)
    alpha, strength, removal, k = gates(mixer, genome, inputs, h.k)
    h = h._replace(k=k)
    o = reads(h, alpha, strength, removal, genome.update)
    return output(mixer, genome, x, inputs, h, o)


def streams(mixer: Any, genome: Genome, x: Tensor) -> dict[str, Tensor]:
    """Return the input of each projection."""
    names = ["q", "k", "v"]
    if genome.decay in ("scalar", "vector") and genome.input_gate == "none":
        names.append("decay")
    names += {"delta": ["beta"], "general_delta": ["rate"], "additive": []}[genome.update]
    names += ["dt"] if genome.input_gate == "step" else []
    names += ["gate"] if genome.output_gate != "none" else []
    if genome.token_shift == "none":
        return dict.fromkeys(names, x)
    before = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), 1)
    assert len(mixer.mu) == len(names)
    return {name: mu * before + (1 - mu) * x for name, mu in zip(names, mixer.mu, strict=True)}


def heads(mixer: Any, genome: Genome, inputs: dict[str, Tensor]) -> Heads:
    B, T, D = inputs["q"].shape
    H, n = mixer.n_heads, STEPS[genome.delta_steps]
    V = D // H
    K = 8 if genome.feature_map == "taylor" else V // 2 if genome.state_size == "half" else V
    if genome.token_shift == "none":
        parts = list(mixer.qkv(inputs["q"]).split((H * K, n * H * K, n * H * V), -1))
    else:
        parts = [mixer.q(inputs["q"]), mixer.k(inputs["k"]), mixer.v(inputs["v"])]
    convolved = genome.short_conv != "none"
    if convolved:
        parts = convolutions(mixer, genome, parts)
    q = parts[0].reshape(B, T, H, K)
    k = parts[1].reshape(B, T, H, n, K)
    v = parts[2].reshape(B, T, H, n, V)
    v = F.silu(v) if convolved else v
    features = {
        "identity": lambda z: z,
        "taylor": lambda z: z,
        "elu": lambda z: F.elu(z) + 1,
        "relu": F.relu,
        "silu": lambda z: z * torch.sigmoid(z),
        "softmax": lambda z: F.softmax(z, -1),
    }[genome.feature_map]
    q = features(q)
    k = k if genome.input_gate == "complement" else features(k)
    if genome.qk_norm == "l2":
        q, k = unit(q), unit(k)
    if genome.position == "rotary":
        turns = unit_turns(T, K, q.dtype)
        q = turned(q, turns[:, None])
        k = turned(k, turns[:, None, None])
    if genome.update != "general_delta" and genome.input_gate == "none":
        q = q / K**0.5
    if genome.feature_map == "taylor":
        q, k = taylor(q), taylor(k)
    return Heads(q, k, v)


def convolutions(mixer: Any, genome: Genome, parts: list[Tensor]) -> list[Tensor]:
    x = torch.cat(parts, -1)
    T, width = x.shape[1:]
    bias = mixer.conv_bias if genome.short_conv == "conv4_bias" else None
    y = F.conv1d(x.mT, mixer.conv.T[:, None], bias, padding=3, groups=width)[..., :T]
    if genome.short_conv == "multi_scale":
        far = mixer.far_conv.T[:, None]
        y = y + F.conv1d(x.mT, far, padding=12, dilation=4, groups=width)[..., :T]
    return list(y.mT.split([part.shape[-1] for part in parts], -1))


def unit(z: Tensor) -> Tensor:
    return z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def unit_turns(T: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return the rotation of each pair of channels at each position, (T, width / 2), complex."""
    half = width // 2
    frequencies = 10_000.0 ** (-torch.arange(half).double() / half)
    angles = torch.arange(T).double()[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles).to(dtype.to_complex())


def turned(z: Tensor, turns: Tensor) -> Tensor:
    """Turn pairs of channels, half a head apart, as complex numbers."""
    half = z.shape[-1] // 2
    pairs = torch.complex(z[..., :half], z[..., half:]) * turns
    return torch.cat((pairs.real, pairs.imag), -1)


def taylor(z: Tensor) -> Tensor:
    """All orders of each product: (..., F) -> (..., 1 + F + F^2)."""
    products = (z[..., :, None] * z[..., None, :]).flatten(-2) / 2**0.5
    return torch.cat((torch.ones_like(z[..., :1]), z, products), -1)


def gates(
    mixer: Any, genome: Genome, inputs: dict[str, Tensor], k: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return alpha, the strength of writes, what is removed (its key, and a times it), and k.

    alpha broadcasts to (B, T, H, K), the strength to (B, T, H, n).
    """
    B, T, H, n, _ = k.shape
    alpha, strength = k.new_ones(B, T, H, 1), k.new_ones(B, T, H, n)
    if genome.input_gate == "complement":
        bound = torch.sigmoid(mixer.bound).reshape(H, -1)
        alpha = bound + (1 - bound) * torch.sigmoid(k[..., 0, :])
        return alpha, strength, None, (1 - alpha).unsqueeze(-2)
    if genome.input_gate == "step":
        bias = 0 if genome.decay_init == "plain" else mixer.dt_bias
        dt = F.softplus(mixer.dt(inputs["dt"]) + bias)
        return torch.exp(-dt * mixer.log_rate.exp())[..., None], dt[..., None], None, k
    if genome.decay == "fixed":
        lost = {"slow": 1e-3, "medium": 1e-2, "fast": 1e-1}.get(genome.decay_init)
        spread = 2.0 ** (-5 - torch.arange(H, dtype=torch.double))
        alpha = (1 - (spread if lost is None else torch.full((H,), lost))).to(k)[:, None]
        alpha = alpha.expand(B, T, H, 1)
    elif genome.decay != "none":
        logits = mixer.decay(inputs["decay"]).reshape(B, T, H, -1)
        if genome.decay == "scalar" and genome.decay_init != "plain":
            logits = logits + mixer.decay_bias[:, None]
        alpha = forget_gate(mixer, genome, logits)
    if genome.update == "delta":
        strength = torch.sigmoid(mixer.beta(inputs["beta"])).reshape(B, T, H, n)
        strength = 2 * strength if genome.beta_range == "double" else strength
    if genome.update == "general_delta":
        a = torch.sigmoid(mixer.rate(inputs["rate"])).reshape(B, T, H, -1)
        kappa = unit(mixer.xi * k[..., 0, :])
        k = k * (1 + mixer.eta * (a - 1)).unsqueeze(-2)
        return alpha, strength, torch.stack((kappa, a * kappa)), k
    return alpha, strength, None, k


def forget_gate(mixer: Any, genome: Genome, logits: Tensor) -> Tensor:
    H = mixer.n_heads
    if genome.decay_form == "softplus":
        return torch.exp(-mixer.log_rate.exp().reshape(H, 1) * F.softplus(logits))
    if genome.decay_form == "sigmoid16":
        return torch.sigmoid(logits) ** (1 / 16)
    if genome.decay_form == "exponential":
        return torch.exp(-(torch.e**-0.5) * torch.sigmoid(logits))
    bound = torch.sigmoid(mixer.bound).reshape(H, -1)
    return bound + (1 - bound) * torch.sigmoid(logits)


def reads(h: Heads, alpha: Tensor, strength: Tensor, removal: Tensor | None, update: str) -> Tensor:
    """Run the recurrence with a one added to the values: (B, T, H, V + 1).

    What is read of the ones is the sum of the weights, where writes are additive.
    """
    q, k, v = h
    B, T, H, n, K = k.shape
    v = torch.cat((v, torch.ones_like(v[..., :1])), -1)
    S, found = v.new_zeros(B, H, K, v.shape[-1]), []
    for t in range(T):
        if removal is None:
            S = alpha[:, t, :, :, None] * S
        else:
            kappa, rated = removal[:, :, t]
            turn = torch.diag_embed(alpha[:, t].expand(B, H, K))
            S = (turn - torch.einsum("bhi,bhj->bhij", rated, kappa)) @ S
        for j in range(n):
            written = v[:, t, :, j]
            if update == "delta":
                written = written - torch.einsum("bhkv,bhk->bhv", S, k[:, t, :, j])
            written = strength[:, t, :, j, None] * written
            S = S + torch.einsum("bhk,bhv->bhkv", k[:, t, :, j], written)
        found.append(torch.einsum("bhkv,bhk->bhv", S, q[:, t]))
    return torch.stack(found, 1)


def output(
    mixer: Any, genome: Genome, x: Tensor, inputs: dict[str, Tensor], h: Heads, o: Tensor
) -> Tensor:
    """Return the output (B, T, D) from what the heads read (B, T, H, V + 1)."""
    o, weights = o[..., :-1], o[..., -1:]
    if genome.output_norm == "sum":
        o = o / weights
    if genome.value_skip == "skip":
        o = o + mixer.skip[:, None] * h.v[..., 0, :]
    gate = torch.ones_like(o)
    if genome.output_gate != "none":
        logits = mixer.gate(inputs["gate"]).reshape(o.shape)
        sigmoid = torch.sigmoid(logits) * (2 if genome.gate_init == "open" else 1)
        gate = {"sigmoid": sigmoid, "silu": F.silu(logits), "linear": logits}[genome.output_gate]
    y = normed(mixer, genome, o * gate if genome.gate_place == "before" else o)
    if genome.value_skip == "bonus":
        y = y + (h.q * mixer.rho * h.k[..., 0, :]).sum(-1, keepdim=True) * h.v[..., 0, :]
    if genome.local_window != "none" and genome.layer_pattern == "same":
        local = window_reads(mixer.window, x)
        share = torch.sigmoid(mixer.share(x))[..., None] if genome.fusion == "gate" else None
        y = y + local if share is None else share * y + (1 - share) * local
    y = y * gate if genome.gate_place == "after" else y
    return F.linear(y.flatten(-2), mixer.out.weight)


def normed(mixer: Any, genome: Genome, o: Tensor) -> Tensor:
    if genome.output_norm == "rms":
        return o / (o.square().mean(-1, keepdim=True) + 1e-6).sqrt() * mixer.norm.weight
    if genome.output_norm == "rms_all":
        size = (o.square().mean((-2, -1), keepdim=True) + 1e-6).sqrt()
        return o / size * mixer.norm.weight.reshape(o.shape[-2:])
    if genome.output_norm == "group":
        weight, bias = (z.reshape(o.shape[-2:]) for z in (mixer.norm.weight, mixer.norm.bias))
        centred = o - o.mean(-1, keepdim=True)
        size = (centred.square().mean(-1, keepdim=True) + 1e-5 * o.shape[-1]).sqrt()
        return centred / size * weight + bias
    return o


def window_reads(window: Any, x: Tensor) -> Tensor:
    """Return what softmax attention reads of the last tokens: (B, T, H, V)."""
    B, T, D = x.shape
    H = window.n_heads
    q, k, v = (z.reshape(B, T, H, D // H) for z in window.qkv(x).chunk(3, -1))
    turns = unit_turns(T, D // H, x.dtype)[:, None]
    q, k = turned(q, turns), turned(k, turns)
    scores = torch.einsum("bihk,bjhk->bhij", q, k) / (D // H) ** 0.5
    age = torch.arange(T)[:, None] - torch.arange(T)
    scores = scores.masked_fill((age < 0) | (age >= WINDOW), -torch.inf)
    return torch.einsum("bhij,bjhv->bihv", scores.softmax(-1), v)

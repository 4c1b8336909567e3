"""The delta family among the human mixers, against naive twins of each paper's own.

A twin runs the paper's recurrence one token at a time, from the parameters of the mixer. Covers
Kimi delta attention, DeltaProduct, RWKV-7, and Gated DeltaNet with negative eigenvalues, which
shares their questions. That they are what their genomes render to is in `test_round_trip`.
"""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

HUMAN = Path(__file__).parents[2] / "architectures" / "human"
NAMES = ["delta_product", "gated_delta_net_neg", "kimi_delta", "rwkv7"]


def module_of(name: str) -> Any:
    module = types.ModuleType(name)
    source = (HUMAN / f"{name}.py").read_text(encoding="utf-8")
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


MODULES = {name: module_of(name) for name in NAMES}


# The parts that twins share: projections, and an RMS norm.


def convolved(mixer: Any, x: Tensor) -> Tensor:
    """Return silu of the causal convolution of the projections: (B, T, D) -> (B, T, width)."""
    projected = mixer.qkv(x)
    filters = mixer.conv.T.unsqueeze(1)  # (width, 1, 4)
    y = F.conv1d(projected.mT, filters, padding=3, groups=len(filters))
    return F.silu(y[..., : x.shape[1]].mT)


def normalised(z: Tensor) -> Tensor:
    return z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt()


def rms(mixer: Any, o: Tensor) -> Tensor:
    scale = (o.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return (o / scale * mixer.norm.weight).flatten(-2)


def gated_delta_reads(q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return the reads (B, T, H, K) of the gated delta rule; alpha and beta broadcast to k."""
    B, T, H, K = q.shape
    eye, S, reads = torch.eye(K, dtype=q.dtype), q.new_zeros(B, H, K, K), []
    for t in range(T):
        kk = torch.einsum("bhi,bhj->bhij", beta[:, t] * k[:, t], k[:, t])
        S = (eye - kk) @ (alpha[:, t].unsqueeze(-1) * S)
        S = S + torch.einsum("bhi,bhj->bhij", beta[:, t] * k[:, t], v[:, t])
        reads.append(torch.einsum("bhij,bhi->bhj", S, q[:, t]) / K**0.5)
    return torch.stack(reads, 1)


def gated_delta_net_neg(mixer: Any, x: Tensor) -> Tensor:
    q, k, v = (z.unflatten(-1, (mixer.n_heads, -1)) for z in convolved(mixer, x).chunk(3, -1))
    rate = mixer.log_rate.exp() * F.softplus(mixer.decay(x) + mixer.decay_bias)
    beta = 2 * torch.sigmoid(mixer.beta(x))
    scalars = torch.exp(-rate)[..., None], beta[..., None]
    o = gated_delta_reads(normalised(q), normalised(k), v, *scalars)
    return mixer.out(rms(mixer, o) * F.silu(mixer.gate(x)))


def kimi_delta(mixer: Any, x: Tensor) -> Tensor:
    q, k, v = (z.unflatten(-1, (mixer.n_heads, -1)) for z in convolved(mixer, x).chunk(3, -1))
    logits = mixer.decay(x).unflatten(-1, (mixer.n_heads, -1))
    alpha = torch.exp(-mixer.log_rate.exp() * F.softplus(logits))
    beta = torch.sigmoid(mixer.beta(x))[..., None]
    o = gated_delta_reads(normalised(q), normalised(k), v, alpha, beta)
    return mixer.out(rms(mixer, o) * torch.sigmoid(mixer.gate(x)))


def delta_product(mixer: Any, x: Tensor) -> Tensor:
    B, T, D = x.shape
    H, n = mixer.n_heads, mixer.n_householder
    K = D // H
    q, k, v = convolved(mixer, x).split((D, n * D, n * D), -1)
    q, k, v = q.view(B, T, H, 1, K), k.view(B, T, H, n, K), v.view(B, T, H, n, K)
    q, k = normalised(q), normalised(k)
    beta = 2 * torch.sigmoid(mixer.beta(x)).view(B, T, H, n)
    S, reads = x.new_zeros(B, H, K, K), []
    for t in range(T):
        for j in range(n):
            missing = v[:, t, :, j] - torch.einsum("bhij,bhi->bhj", S, k[:, t, :, j])
            S = S + torch.einsum("bh,bhi,bhj->bhij", beta[:, t, :, j], k[:, t, :, j], missing)
        reads.append(torch.einsum("bhij,bhi->bhj", S, q[:, t, :, 0]) / K**0.5)
    return mixer.out(rms(mixer, torch.stack(reads, 1)))


def rwkv7(mixer: Any, x: Tensor) -> Tensor:
    """In the paper's layout: the state is (values, keys), and row vectors are on the right."""
    B, T, D = x.shape
    H = mixer.n_heads
    K = D // H
    before = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), 1)
    x_r, x_k, x_v, x_w, x_a, x_g = (x + mu * (before - x) for mu in mixer.mu)
    r, p, v = (z.view(B, T, H, K) for z in (mixer.q(x_r), mixer.k(x_k), mixer.v(x_v)))
    w = torch.exp(-torch.exp(x.new_tensor(-0.5)) * torch.sigmoid(mixer.decay(x_w))).view(B, T, H, K)
    a = torch.sigmoid(mixer.rate(x_a)).view(B, T, H, K)
    kappa = normalised(p * mixer.xi)
    k = p * torch.lerp(torch.ones_like(a), a, mixer.eta.expand_as(a))
    S, reads = x.new_zeros(B, H, K, K), []
    for t in range(T):
        turn = torch.diag_embed(w[:, t]) - kappa[:, t, :, :, None] * (a * kappa)[:, t, :, None]
        S = S @ turn + v[:, t, :, :, None] * k[:, t, :, None]
        reads.append((S @ r[:, t, :, :, None]).squeeze(-1))
    o = torch.stack(reads, 1)
    centred = o - o.mean(-1, keepdim=True)
    o = centred / (centred.square().mean(-1, keepdim=True) + 1e-5 * K).sqrt()
    o = o.flatten(-2) * mixer.norm.weight + mixer.norm.bias
    bonus = (r * mixer.rho * k).sum(-1, keepdim=True) * v
    return mixer.out((o + bonus.flatten(-2)) * mixer.gate(x_g))


TWINS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "delta_product": delta_product,
    "gated_delta_net_neg": gated_delta_net_neg,
    "kimi_delta": kimi_delta,
    "rwkv7": rwkv7,
}


def randomised(name: str, H: int, K: int, **knobs: int) -> Any:
    """A mixer whose every parameter matters, also those that start at zero."""
    mixer = MODULES[name].Mixer(H * K, H, **knobs)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def gradients(y: Tensor, wanted: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(y.shape, generator=generator, dtype=torch.double).to(y.dtype)
    return torch.autograd.grad((y * weights).sum(), wanted)


def assert_equals_twin(
    name: str, *, B: int, T: int, H: int, K: int, seed: int, **knobs: int
) -> None:
    torch.manual_seed(seed)
    mixer = randomised(name, H, K, **knobs).double()
    x = torch.randn(B, T, H * K, dtype=torch.double, requires_grad=True)
    y, expected = mixer(x), TWINS[name](mixer, x)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-10)
    wanted = [x, *mixer.parameters()]
    for got, right in zip(
        gradients(y, wanted, seed), gradients(expected, wanted, seed), strict=True
    ):
        scale = right.abs().max().clamp(min=1)
        torch.testing.assert_close(got / scale, right / scale, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("T", [1, 16, 71])
@pytest.mark.parametrize("name", NAMES)
def test_chunked_forward_equals_the_naive_recurrence(name: str, T: int) -> None:
    assert_equals_twin(name, B=2, T=T, H=2, K=8, seed=1)


@settings(max_examples=16, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    B=st.integers(1, 3),
    T=st.integers(1, 70),
    H=st.integers(1, 3),
    K=st.sampled_from([2, 5, 8]),
    seed=st.integers(0, 9),
)
def test_any_shape_equals_its_twin(*, name: str, B: int, T: int, H: int, K: int, seed: int) -> None:
    assert_equals_twin(name, B=B, T=T, H=H, K=K, seed=seed)


@pytest.mark.parametrize("n_householder", [1, 3])
def test_delta_product_takes_any_number_of_inner_steps(n_householder: int) -> None:
    assert_equals_twin("delta_product", B=2, T=37, H=2, K=4, seed=0, n_householder=n_householder)


@pytest.mark.parametrize("name", NAMES)
def test_step_equals_forward(name: str) -> None:
    torch.manual_seed(0)
    mixer = randomised(name, 2, 8).double()
    x = torch.randn(2, 50, 16, dtype=torch.double)
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs, 1), mixer(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_the_past_is_read_and_the_future_is_not(name: str) -> None:
    torch.manual_seed(0)
    mixer = randomised(name, 2, 8).double()
    x = torch.randn(1, 60, 16, dtype=torch.double)
    changed = x.clone()
    changed[:, 37] += 1
    before, after = mixer(x), mixer(changed)
    torch.testing.assert_close(after[:, :37], before[:, :37], rtol=0, atol=1e-12)
    assert bool(((after - before)[:, 37:].abs().amax(-1) > 1e-6).all())


def force_gates(name: str, mixer: Any) -> None:
    """Spread the gates so wide that each is shut at some tokens and open at others."""
    with torch.no_grad():
        if name == "gated_delta_net_neg":
            mixer.decay.weight.mul_(40)
        elif name == "kimi_delta":
            mixer.decay[1].weight.mul_(400)
        elif name == "rwkv7":
            mixer.decay[2].weight.mul_(400)
            mixer.rate[1].weight.mul_(400)
        if name != "rwkv7":
            mixer.beta.weight.mul_(20)


def gates(name: str, mixer: Any, x: Tensor) -> Tensor:
    """Return the decays of all tokens, or DeltaProduct's write strengths halved."""
    if name == "delta_product":
        return mixer.write_strength(x) / 2
    if name == "rwkv7":
        before = F.pad(x, (0, 0, 1, -1))
        return mixer.heads(x, before)[0][-1].exp()
    return mixer.log_decay(x).exp()


LOWEST = {"rwkv7": 0.55}  # its decay is above exp(-exp(-1/2)) = 0.545


@pytest.mark.parametrize("name", NAMES)
def test_long_sequences_with_gates_at_both_ends_stay_right(name: str) -> None:
    """T = 4096 in float32, beside the recurrence in float64."""
    torch.manual_seed(0)
    mixer = MODULES[name].Mixer(16, 2)
    force_gates(name, mixer)
    x = torch.randn(1, 4096, 16, requires_grad=True)
    found = gates(name, mixer, x)
    assert found.min() < LOWEST.get(name, 1e-6)
    assert found.max() > 1 - 1e-6
    y = mixer(x)
    got = gradients(y, [x, *mixer.parameters()], 0)
    assert all(bool(g.isfinite().all()) for g in got)
    with torch.no_grad():
        expected = TWINS[name](mixer.double(), x.double()).float()
    torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3)
    again = mixer(exact := x.detach().double().requires_grad_())
    # After a gate of exp(-700) float32 sums of logs keep four digits of the decays that follow.
    for g, right in zip(got, gradients(again, [exact, *mixer.parameters()], 0), strict=True):
        assert (g - right).abs().max() <= 1e-2 * right.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_repeated_tokens_do_not_explode(name: str) -> None:
    """All keys alike: the hardest system to solve, as each token overwrites the one before."""
    torch.manual_seed(0)
    mixer = MODULES[name].Mixer(16, 2)
    force_gates(name, mixer)
    x = torch.randn(8, 1, 16).expand(8, 256, 16)
    expected = TWINS[name](mixer.double(), x.double()).float()
    torch.testing.assert_close(mixer.float()(x), expected, rtol=1e-3, atol=1e-3)


def assert_half_precision_is_near(name: str, device: str) -> None:
    """bfloat16 keeps 8 bits, so a rounding is 0.4 %, and a few of them add up."""
    torch.manual_seed(0)
    mixer = MODULES[name].Mixer(64, 2).to(device)
    x = torch.randn(2, 300, 64).to(device).requires_grad_()  # the same on each device
    exact = mixer(x)
    with torch.autocast(device, torch.bfloat16):
        y = mixer(x)
    assert y.dtype == torch.bfloat16
    wanted = [x, *mixer.parameters()]
    slopes = torch.autograd.grad(exact.square().sum(), wanted)
    rough = torch.autograd.grad(y.float().square().sum(), wanted)
    for got, right in zip((y.float(), *rough), (exact, *slopes), strict=True):
        assert bool(got.isfinite().all())
        assert (got - right).norm() <= 0.05 * right.norm()


class SeenTypes(TorchDispatchMode):
    """Keeps the types that the operators of the recurrence were run with."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.seen: set[tuple[str, torch.dtype]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        of_heads = name == "bmm" and args[0].shape[0] % self.batch == 0
        if of_heads or name in ("exp", "cumsum", "linalg_solve_triangular"):
            self.seen |= {(name, z.dtype) for z in args if isinstance(z, Tensor)}
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_the_recurrence_in_float32(name: str) -> None:
    """A test of nearness alone would pass with decays summed in eight bits."""
    mixer = MODULES[name].Mixer(16, 2)
    x = torch.randn(2, 50, 16)
    with torch.autocast("cpu", torch.bfloat16), SeenTypes(batch=2 * 2) as record:
        mixer(x)
    assert {dtype for _, dtype in record.seen} == {torch.float32}
    assert {"bmm", "linalg_solve_triangular"} <= {operator for operator, _ in record.seen}


@pytest.mark.parametrize("name", ["delta_product", "kimi_delta", "rwkv7"])
def test_a_mixer_of_bfloat16_parameters_is_near_float32(name: str) -> None:
    torch.manual_seed(0)
    mixer = MODULES[name].Mixer(64, 2)
    x = torch.randn(2, 300, 64)
    exact = mixer(x)
    y = mixer.bfloat16()(x.bfloat16())
    y_t, _ = mixer.step(x[:, 0].bfloat16())
    assert y.dtype == y_t.dtype == torch.bfloat16
    assert (y.float() - exact).norm() <= 0.05 * exact.norm()
    assert (y_t.float() - exact[:, 0]).norm() <= 0.05 * exact[:, 0].norm()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_is_near_float32(name: str) -> None:
    assert_half_precision_is_near(name, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_on_a_gpu_is_near_float32(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device, so bfloat16 on a GPU is NOT checked")
    assert_half_precision_is_near(name, "cuda")


@pytest.mark.parametrize("name", NAMES)
def test_there_is_room_for_the_rest_of_a_small_model(name: str) -> None:
    """Two layers of 35,000 leave 26,000 of a budget of 96,000 to embeddings and channel mixing."""
    assert sum(p.numel() for p in MODULES[name].Mixer(64).parameters()) <= 35_000


@pytest.mark.parametrize("name", NAMES)
def test_heads_divide_the_width(name: str) -> None:
    with pytest.raises(ValueError, match="d_model=10 is not a multiple of n_heads=3"):
        MODULES[name].Mixer(10, 3)

"""HGRN2, Mamba-2 and Based against slow twins that go from token to token.

Covers values and gradients, `step`, long sequences with gates at both ends, lower precision, and
size. That every human file is a mixer of its genome is in `test_round_trip`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from noctuary.audit.dynamic import dynamic_checks
from noctuary.bench.suite import ModelShape
from noctuary.training.model import count_parameters, load_mixer, solve_ffn_width

HUMAN = Path(__file__).parents[2] / "architectures" / "human"
NAMES = ("hgrn2", "mamba2", "based")
TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-10}
# the tables of rotary positions are made in float32
DOUBLE = {"hgrn2": TIGHT, "mamba2": TIGHT, "based": {"rtol": 1e-5, "atol": 1e-6}}


def mixer_class(name: str) -> Any:
    return load_mixer(HUMAN / f"{name}.py")


def hgrn2_twin(mixer: Any, x: Tensor) -> Tensor:
    B, T, D = x.shape
    H = mixer.n_heads
    K = D // H
    q, f, v = (z.reshape(B, T, H, K) for z in mixer.qkv(x).chunk(3, -1))
    bound = torch.sigmoid(mixer.bound).reshape(H, K)
    alpha = bound + (1 - bound) * torch.sigmoid(f)
    S = x.new_zeros(B, H, K, K)
    reads = []
    for t in range(T):
        S = alpha[:, t, :, :, None] * S
        S = S + torch.einsum("bhk,bhv->bhkv", 1 - alpha[:, t], v[:, t])
        reads.append(torch.einsum("bhkv,bhk->bhv", S, F.silu(q[:, t])))
    o = torch.stack(reads, 1).reshape(B, T, D)
    o = o / (o.square().mean(-1, keepdim=True) + 1e-6).sqrt() * mixer.norm.weight
    return F.linear(o, mixer.out.weight)


def mamba2_twin(mixer: Any, x: Tensor) -> Tensor:
    B, T, D = x.shape
    H = mixer.n_heads
    K = D // H
    taps = mixer.conv.T.unsqueeze(1)  # (3 D, 1, 4)
    qkv = F.conv1d(mixer.qkv(x).mT, taps, mixer.conv_bias, padding=3, groups=3 * D)[..., :T].mT
    q, k, v = (z.reshape(B, T, H, K) for z in F.silu(qkv).chunk(3, -1))
    dt = F.softplus(mixer.dt(x) + mixer.dt_bias)  # (B, T, H)
    alpha = torch.exp(-dt * mixer.log_rate.exp())
    S = x.new_zeros(B, H, K, K)
    reads = []
    for t in range(T):
        S = alpha[:, t, :, None, None] * S
        S = S + torch.einsum("bh,bhk,bhv->bhkv", dt[:, t], k[:, t], v[:, t])
        o = torch.einsum("bhkv,bhk->bhv", S, q[:, t])
        reads.append(o + mixer.skip[:, None] * v[:, t])
    y = torch.stack(reads, 1) * F.silu(mixer.gate(x)).reshape(B, T, H, K)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * mixer.norm.weight
    return F.linear(y.reshape(B, T, D), mixer.out.weight)


def all_features(x: Tensor) -> Tensor:
    """Both orders of each product, where the mixer has one: (..., F) -> (..., 1 + F + F^2)."""
    products = (x[..., :, None] * x[..., None, :]).flatten(-2) / 2**0.5
    return torch.cat((torch.ones_like(x[..., :1]), x, products), -1)


def turned(x: Tensor, mixer: Any) -> Tensor:
    """Turn (B, W, H, K), the positions of a window, as complex numbers: (B, W, H, K / 2)."""
    half = x.shape[-1] // 2
    turns = torch.complex(mixer.window.cos, mixer.window.sin)[: x.shape[1], None]
    return torch.complex(x[..., :half], x[..., half:]) * turns


def based_twin(mixer: Any, x: Tensor) -> Tensor:
    B, T, D = x.shape
    H = mixer.n_heads
    K = D // H
    q, k, v = mixer.qkv(x).split((8 * H, 8 * H, D), -1)
    q, k, v = (z.reshape(B, T, H, -1) for z in (q / 8**0.5, k, v))
    local_q, local_k, local_v = (z.reshape(B, T, H, K) for z in mixer.window.qkv(x).chunk(3, -1))
    sums, weights = x.new_zeros(B, H, 73, K), x.new_zeros(B, H, 73)
    reads = []
    for t in range(T):
        features = all_features(k[:, t])
        sums = sums + torch.einsum("bhf,bhv->bhfv", features, v[:, t])
        weights = weights + features
        features = all_features(q[:, t])
        far = torch.einsum("bhfv,bhf->bhv", sums, features)
        far = far / torch.einsum("bhf,bhf->bh", weights, features)[..., None]
        recent = slice(max(0, t - 31), t + 1)
        keys = turned(local_k[:, recent], mixer)
        query = turned(local_q[:, t : t + 1].expand(-1, keys.shape[1], -1, -1), mixer)[:, -1:]
        scores = (query * keys.conj()).real.sum(-1) / K**0.5  # (B, W, H)
        near = torch.einsum("bwh,bwhv->bhv", scores.softmax(1), local_v[:, recent])
        reads.append(far + near)
    return F.linear(torch.stack(reads, 1).reshape(B, T, D), mixer.out.weight)


TWINS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "hgrn2": hgrn2_twin,
    "mamba2": mamba2_twin,
    "based": based_twin,
}


def randomised(mixer: nn.Module) -> Any:
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def gradients(y: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad((y * weights.to(y)).sum(), wanted)


def assert_equals_twin(name: str, mixer: Any, x: Tensor, tolerance: dict[str, Any]) -> None:
    x.requires_grad_()
    y, expected = mixer(x), TWINS[name](mixer, x)
    torch.testing.assert_close(y, expected, **tolerance)
    wanted = [x, *mixer.parameters()]
    for got, right in zip(gradients(y, wanted), gradients(expected, wanted), strict=True):
        scale = right.abs().max().clamp(min=1)
        torch.testing.assert_close(got / scale, right / scale, **tolerance)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    B=st.integers(1, 3),
    T=st.integers(1, 70),
    H=st.integers(1, 3),
    K=st.sampled_from([2, 6, 8]),
    seed=st.integers(0, 9),
)
def test_any_shape_equals_the_twin(*, name: str, B: int, T: int, H: int, K: int, seed: int) -> None:
    torch.manual_seed(seed)
    mixer = randomised(mixer_class(name)(H * K, H)).double()
    assert_equals_twin(name, mixer, torch.randn(B, T, H * K).double(), DOUBLE[name])


@pytest.mark.parametrize("T", [1, 31, 32, 33, 101])
@pytest.mark.parametrize("name", NAMES)
def test_float32_equals_the_twin_as_far_as_it_can(name: str, T: int) -> None:
    torch.manual_seed(0)
    mixer = randomised(mixer_class(name)(16, 2))
    assert_equals_twin(name, mixer, torch.randn(2, T, 16), {"rtol": 1e-3, "atol": 1e-4})


@pytest.mark.parametrize("name", NAMES)
def test_step_equals_forward_beyond_the_window(name: str) -> None:
    torch.manual_seed(0)
    mixer = randomised(mixer_class(name)(16, 2)).double()
    x = torch.randn(2, 75, 16).double()
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs, 1), mixer(x), **DOUBLE[name])


@pytest.mark.parametrize("name", NAMES)
def test_audit_finds_nothing(name: str) -> None:
    checks = dynamic_checks(mixer_class(name), d_model=16, n_heads=2, seed=0)
    assert {"causal_change", "causal_cut", "step"} <= {check.name for check in checks}
    assert [check for check in checks if not check.passed or check.detail] == []


def with_extremes(name: str) -> Any:
    """Gates between closed and fully open; for Based, which has none, scores in the hundreds."""
    torch.manual_seed(0)
    mixer = mixer_class(name)(16, 2)
    with torch.no_grad():
        if name == "hgrn2":
            mixer.qkv.weight[16:32].mul_(100)
            mixer.bound[::2] = -40
        elif name == "mamba2":
            mixer.dt.weight.mul_(40)
        else:
            mixer.qkv.weight[:32].mul_(10)
            mixer.window.qkv.weight[:32].mul_(10)
    return mixer


def forget_gates(name: str, mixer: Any, x: Tensor) -> Tensor:
    if name == "hgrn2":
        return mixer.heads(mixer.qkv(x))[3].exp()
    return mixer.log_decay(mixer.step_size(x)).exp()


@pytest.mark.parametrize("name", NAMES)
def test_long_sequences_with_gates_at_both_ends_stay_right(name: str) -> None:
    mixer = with_extremes(name)
    x = torch.randn(1, 4096, 16, requires_grad=True)
    if name == "based":
        assert mixer.qkv(x)[..., :32].abs().max() > 10
    else:
        alpha = forget_gates(name, mixer, x)
        assert alpha.min() < 2e-7
        assert alpha.max() == 1
    y = mixer(x)
    wanted = [x, *mixer.parameters()]
    got = gradients(y, wanted)
    mixer.double()
    with torch.no_grad():
        expected = TWINS[name](mixer, x.double())
    torch.testing.assert_close(y, expected.float(), rtol=1e-3, atol=1e-3)
    x_double = x.detach().double().requires_grad_()
    right = gradients(mixer(x_double), [x_double, *mixer.parameters()])
    for ours, theirs in zip(got, right, strict=True):
        assert bool(ours.isfinite().all())
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()


def assert_bfloat16_is_near(name: str, device: str) -> None:
    torch.manual_seed(0)
    mixer = mixer_class(name)(32, 2).to(device)
    x = torch.randn(1, 2048, 32, device=device, requires_grad=True)
    wanted = [x, *mixer.parameters()]
    y = mixer(x)
    right = gradients(y, wanted)
    with torch.autocast(device, torch.bfloat16):
        rough = mixer(x)
        state, steps = None, []
        for x_t in x[:, :40].unbind(1):
            y_t, state = mixer.step(x_t, state)
            steps.append(y_t)
    got = gradients(rough.float(), wanted)
    near = [(rough, y), (torch.stack(steps, 1), y[:, :40]), *zip(got, right, strict=True)]
    for ours, theirs in near:
        assert bool(ours.isfinite().all())
        # sums over all tokens, such as the gradient of a head's one number, may cancel
        assert (ours - theirs).norm() < (0.02 if theirs.ndim > 1 else 0.1) * theirs.norm()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_on_the_cpu_is_near_float32(name: str) -> None:
    assert_bfloat16_is_near(name, "cpu")


@pytest.mark.parametrize("name", ["hgrn2", "mamba2"])
def test_forget_gates_stay_in_float32_under_autocast(name: str) -> None:
    mixer = with_extremes(name)
    x = torch.randn(10_000, 16)
    exact = forget_gates(name, mixer, x).log()
    with torch.autocast("cpu", torch.bfloat16):
        log_alpha = forget_gates(name, mixer, x).log()
    assert log_alpha.dtype == torch.float32
    between = (exact < -6) & (exact > -10)  # there a sigmoid in bfloat16 is a plain one
    assert between.sum() > 100
    assert (log_alpha / exact - 1)[between].abs().mean() < 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_on_cuda_is_near_float32(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device, so bfloat16 on one is NOT checked")
    assert_bfloat16_is_near(name, "cuda")


@pytest.mark.parametrize("name", NAMES)
def test_there_is_room_for_a_feed_forward_layer(name: str) -> None:
    shape = ModelShape(d_model=64, n_heads=2, n_layers=2, parameter_budget=96_000)
    width, _ = solve_ffn_width(mixer_class(name), shape)
    assert width >= 100
    assert count_parameters(mixer_class(name)(64)) < 35_000


def test_mamba2_starts_with_the_published_step_sizes_and_rates() -> None:
    torch.manual_seed(0)
    mixer = mixer_class("mamba2")(128, 64)
    dt = mixer.step_size(torch.zeros(128))
    assert 0.99e-3 < dt.min() < 2e-3
    assert 0.05 < dt.max() < 1.01e-1
    assert 0.007 < dt.median() < 0.015  # 0.01 is halfway on the scale of logarithms
    rate = mixer.log_rate.exp()
    assert 1 <= rate.min() < 2
    assert 15 < rate.max() <= 16


def test_hgrn2_forgets_no_faster_than_its_bounds() -> None:
    torch.manual_seed(0)
    mixer = mixer_class("hgrn2")(16, 2)
    alpha = forget_gates("hgrn2", mixer, 1000 * torch.randn(50, 16))  # (50, H, K)
    bounds = torch.sigmoid(mixer.bound).unflatten(0, (2, 8))
    torch.testing.assert_close(alpha.amin(0), bounds, rtol=1e-4, atol=0)
    assert bounds.max() < 0.991

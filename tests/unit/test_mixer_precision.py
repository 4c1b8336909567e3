"""Rendered mixers where numbers get tight: long sequences, gates at both ends, bf16, equal keys."""

from itertools import product
from typing import Any

import pytest
import torch
from mixer_twin import twin
from rendered_mixers import gradients, module_of, rendered
from torch import Tensor, nn

from noctuary.lab import shipped
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN

UPDATES: dict[str, dict[str, str]] = {
    "additive": {},
    "delta": {"update": "delta", "beta_range": "double"},
    "delta_product": {"update": "delta", "beta_range": "double", "delta_steps": "two"},
}
DECAYS: dict[str, dict[str, str]] = {
    "none": {},
    "fixed": {"decay": "fixed", "decay_init": "spread"},
    "scalar": {"decay": "scalar", "decay_form": "softplus", "decay_init": "spread"},
    "vector": {"decay": "vector", "decay_form": "sigmoid16", "decay_init": "plain"},
    "softplus": {"decay": "vector", "decay_form": "softplus", "decay_init": "spread"},
    "bounded": {"decay": "vector", "decay_form": "bounded", "decay_init": "spread"},
}


def plain(decay: str, update: str) -> Genome:
    """The genome of a decay and an update as their papers have them."""
    parts = {"feature_map": "silu", "qk_norm": "l2", "output_norm": "rms"}
    return Genome.model_validate({**parts, **DECAYS[decay], **UPDATES[update]})


def force_gates(mixer: Any, decay: str, gates: str) -> None:
    """Make the forget gates all but closed, all but open, or both at the input's choice."""
    sign = {"closed": -1, "open": 1, "both": 0}[gates]
    with torch.no_grad():
        if decay == "scalar":
            mixer.decay.weight.mul_(40)
            mixer.decay_bias.sub_(1000 * sign if sign > 0 else 500 * sign)
        elif decay == "vector":
            mixer.decay[1].weight.mul_(3000)
            mixer.decay[1].bias.add_(20_000 * sign)
        elif decay == "softplus":
            mixer.decay[1].weight.mul_(400)
        elif decay == "bounded":
            mixer.decay[1].weight.mul_(400)
            mixer.bound.fill_(-40)


GATED = ("scalar", "vector")


@pytest.mark.parametrize(
    ("decay", "gates", "update"),
    [
        *product(("none", "fixed"), ("-",), ("additive", "delta")),
        *product(GATED, ("closed", "open", "both"), ("additive", "delta")),
        *product(("softplus", "bounded"), ("both",), ("additive", "delta")),
        *product(("scalar", "softplus"), ("both",), ("delta_product",)),
    ],
)
def test_long_sequences_with_gates_at_both_ends_stay_right(
    decay: str, gates: str, update: str
) -> None:
    """T = 4096 in float32; gates between closed (below 1e-10, or 2e-7) and fully open."""
    torch.manual_seed(0)
    mixer: Any = module_of(rendered(plain(decay, update))).Mixer(16, 2)
    if gates != "-":
        force_gates(mixer, decay, gates)
    if update != "additive":
        with torch.no_grad():
            mixer.beta.weight.mul_(10)
    x = torch.randn(1, 4096, 16, requires_grad=True)
    if gates != "-":
        alpha = mixer.log_decay(x).exp()
        closed = 2e-7 if decay == "bounded" else 1e-10
        assert gates == "open" or alpha.min() < closed
        assert gates == "closed" or alpha.max() > 1 - 1e-6
        assert gates != "closed" or alpha.max() < closed
        assert gates != "open" or alpha.min() == 1
    y = mixer(x)
    got = torch.autograd.grad(y.sum(), [x, *mixer.parameters()], retain_graph=True)
    assert all(bool(g.isfinite().all()) for g in got)
    mixer.double()
    exact = x.detach().double().requires_grad_()
    expected = mixer(exact)
    torch.testing.assert_close(y.double(), expected, rtol=1e-3, atol=1e-3)
    error = relative_error(gradients(y.double(), [x], 0)[0], gradients(expected, [exact], 0)[0])
    assert error < 1e-3


def relative_error(got: Tensor, right: Tensor) -> float:
    got, right = got.detach().double(), right.detach().double()
    return float((got - right).norm() / right.norm())


def assert_near_in_bf16(mixer_class: type[nn.Module], device: str) -> None:
    """Under autocast outputs and gradients are near those in fp32, over long memories as well."""
    torch.manual_seed(1)  # with which no read is so near zero that the norm amplifies its error
    mixer: Any = mixer_class(16, 2).to(device)
    x = torch.randn(2, 300, 16).to(device).requires_grad_()
    wanted = [x, *mixer.parameters()]
    expected = mixer(x)
    expected_gradients = torch.autograd.grad(expected.square().sum(), wanted)
    with torch.autocast(device, torch.bfloat16):
        y = mixer(x)
        state, outputs = None, []
        for x_t in x.detach().unbind(1):
            y_t, state = mixer.step(x_t, state)
            outputs.append(y_t)
    assert y.dtype == torch.bfloat16
    assert relative_error(y, expected) < 0.015
    assert relative_error(torch.stack(outputs, 1), expected) < 0.015
    for got, right in zip(
        torch.autograd.grad(y.float().square().sum(), wanted), expected_gradients, strict=True
    ):
        assert relative_error(got, right) < 0.1


PLAIN_AND_SOFTMAX = [
    *product(("none", "fixed", "scalar", "vector"), ("additive", "delta")),
    ("softplus", "delta_product"),
    ("softmax", "attention"),
]


def mixer_of(decay: str, update: str) -> type[nn.Module]:
    if decay == "softmax":
        file = shipped("architectures") / "human" / "softmax_attention.py"
        source = file.read_text(encoding="utf-8")
    else:
        source = rendered(plain(decay, update))
    mixer: type[nn.Module] = module_of(source).Mixer
    return mixer


@pytest.mark.parametrize(("decay", "update"), PLAIN_AND_SOFTMAX)
def test_autocast_on_a_cpu_stays_near_fp32(decay: str, update: str) -> None:
    assert_near_in_bf16(mixer_of(decay, update), "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA: bf16 is NOT checked on a GPU")
@pytest.mark.parametrize(("decay", "update"), PLAIN_AND_SOFTMAX)
def test_autocast_on_a_gpu_stays_near_fp32(decay: str, update: str) -> None:
    assert_near_in_bf16(mixer_of(decay, update), "cuda")


def test_repeated_keys_do_not_explode() -> None:
    """The product form of the triangular inverse loses all digits here; substitution must not."""
    genome = HUMAN["delta_net_neg"]
    torch.manual_seed(0)
    mixer = module_of(rendered(genome)).Mixer(16, 2)
    x = torch.randn(1, 1, 16).expand(1, 256, 16).clone().requires_grad_()
    y, expected = mixer(x), twin(mixer, genome, x)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    wanted = [x, *mixer.parameters()]
    for got, right in zip(gradients(y, wanted, 0), gradients(expected, wanted, 0), strict=True):
        assert relative_error(got, right) < 1e-3

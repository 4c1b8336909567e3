"""Rendered mixers where numbers get tight: long sequences, gates at both ends, bf16, equal keys."""

import ast
from itertools import product
from typing import Any

import pytest
import torch
from test_mixers import EVERY_GENOME, ROOT, genome_text, gradients, module_of, rendered, twin
from torch import Tensor, nn

from noctuary.domain import Axes
from noctuary.space.mechanisms import AXES


def plain(decay: str, update: str) -> Axes:
    """The genome of a decay and an update as their papers have them."""
    return next(
        a
        for a in EVERY_GENOME
        if (a["decay"], a["update"], a["feature_map"]) == (decay, update, "silu")
        and (a["qk_norm"], a["output_norm"]) == ("l2", "rms")
        and a["beta_range"] in ("none", "double")
    )


def force_gates(mixer: Any, gates: str) -> None:
    """Make the forget gates all but closed, all but open, or both at the input's choice."""
    with torch.no_grad():
        if hasattr(mixer, "log_rate"):
            mixer.decay.weight.mul_(40)
            mixer.decay_bias.add_({"closed": 500, "open": -1000, "both": 0}[gates])
        elif hasattr(mixer, "decay"):
            mixer.decay[1].weight.mul_(3000)
            mixer.decay[1].bias.add_({"closed": -20_000, "open": 20_000, "both": 0}[gates])


@pytest.mark.parametrize("update", AXES["update"])
@pytest.mark.parametrize(
    ("decay", "gates"),
    [
        *(("none", "-"), ("fixed", "-")),
        *product(("scalar", "vector"), ("closed", "open", "both")),
    ],
)
def test_long_sequences_with_gates_at_both_ends_stay_right(
    decay: str, gates: str, update: str
) -> None:
    """T = 4096 in float32; gates between closed (below 1e-10) and fully open."""
    torch.manual_seed(0)
    mixer: Any = module_of(rendered(plain(decay, update))).Mixer(16, 2)
    force_gates(mixer, gates)
    if update == "delta":
        with torch.no_grad():
            mixer.beta.weight.mul_(10)
    x = torch.randn(1, 4096, 16, requires_grad=True)
    if decay in ("scalar", "vector"):
        alpha = mixer.log_decay(x).exp()
        assert gates == "open" or alpha.min() < 1e-10
        assert gates == "closed" or alpha.max() == 1
        assert gates != "closed" or alpha.max() < 1e-10
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
    x = torch.randn(2, 300, 16, device=device, requires_grad=True)
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


PLAIN_AND_SOFTMAX = [*product(AXES["decay"], AXES["update"]), ("softmax", "attention")]


def mixer_of(decay: str, update: str) -> type[nn.Module]:
    if decay == "softmax":
        source = (ROOT / "architectures/human/softmax_attention.py").read_text(encoding="utf-8")
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
    axes = ast.literal_eval(
        genome_text((ROOT / "architectures/human/delta_net_neg.py").read_text())
    )
    torch.manual_seed(0)
    mixer = module_of(rendered(axes)).Mixer(16, 2)
    x = torch.randn(1, 1, 16).expand(1, 256, 16).clone().requires_grad_()
    y, expected = mixer(x), twin(mixer, axes, x)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    wanted = [x, *mixer.parameters()]
    for got, right in zip(gradients(y, wanted, 0), gradients(expected, wanted, 0), strict=True):
        assert relative_error(got, right) < 1e-3

"""The dynamic audit: what its checks say, what they leave out, and what they leave behind.

One fault after the other, and false alarms, are in `tests/security/test_leaks.py`.
"""

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from noctuary.audit.candidate import AuditRequest, audit_mixer
from noctuary.audit.dynamic import dynamic_checks
from noctuary.audit.growth import exponent
from noctuary.audit.inputs import KINDS, Inputs
from noctuary.domain import Check
from noctuary.lab import shipped
from noctuary.sandbox.outcome import AuditOutcome

HUMAN = shipped("architectures") / "human"


class Projection(nn.Module):
    """A mixer that mixes nothing: the base of the bad ones."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Any:
        return self.linear(x)


def mixer_of(path: Path) -> type[nn.Module]:
    module = types.ModuleType(path.stem)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return module.Mixer


def audit(mixer_class: type[nn.Module], seed: int = 0) -> dict[str, Check]:
    checks = dynamic_checks(mixer_class, d_model=16, n_heads=2, seed=seed)
    return {check.name: check for check in checks}


def failed(mixer_class: type[nn.Module]) -> dict[str, str]:
    return {name: check.detail for name, check in audit(mixer_class).items() if not check.passed}


def test_each_check_of_a_good_mixer_has_a_number_a_limit_and_nothing_to_say() -> None:
    mixer = mixer_of(HUMAN / "gated_delta_net.py")
    checks = dynamic_checks(mixer, d_model=64, n_heads=2, seed=0)
    assert [check for check in checks if not check.passed or check.detail] == []
    assert all(check.measured is not None and check.limit is not None for check in checks)
    assert {"causal_change", "batch", "step_growth", "work_growth", "reached"} <= {
        check.name for check in checks
    }


def test_an_audit_is_repeatable_and_leaves_the_random_numbers_alone() -> None:
    mixer = mixer_of(HUMAN / "gated_delta_net.py")
    state = torch.get_rng_state()
    first = dynamic_checks(mixer, d_model=64, n_heads=2, seed=3)
    assert first == dynamic_checks(mixer, d_model=64, n_heads=2, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


# What is said


class Roll(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x.roll(-1, 1)


def test_a_leak_is_said_with_its_size_its_place_and_its_limit() -> None:
    check = audit(Roll)["causal_change"]
    assert check.measured is not None and check.limit is not None
    assert check.measured > check.limit
    assert "see" in check.detail and "limit 0.0001" in check.detail


class KnowsTheLength(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * x.shape[1]


def test_a_mixer_that_depends_on_the_length_is_rejected_for_that_alone() -> None:
    assert set(failed(KnowsTheLength)) == {"causal_cut"}


class Truncates(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, : x.shape[1] // 32 * 32]


class Halves(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).half()


class NoTensor(Projection):
    def forward(self, x: Tensor) -> None:
        return None


class Raises(Projection):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("two lines\nof trouble")


class Exits(Projection):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("mixer", "detail"),
    [
        (Truncates, "T=7 gives (3, 0, 16), expected (3, 7, 16)"),
        (Halves, "torch.float16, expected torch.float32"),
        (NoTensor, "TypeError: forward returned NoneType, expected a tensor"),
        (Raises, "RuntimeError: two lines of trouble"),
        (Exits, "SystemExit: 0"),
    ],
)
def test_a_wrong_output_is_rejected_in_words(mixer: type[nn.Module], detail: str) -> None:
    checks = audit(mixer)
    assert list(checks) == ["builds", "shapes"]
    assert detail in checks["shapes"].detail


class CannotBeBuilt(nn.Module):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        raise ValueError("no")


def test_of_a_mixer_that_cannot_be_built_nothing_else_is_said() -> None:
    checks = audit(CannotBeBuilt)
    assert list(checks) == ["builds"]
    assert "ValueError: no" in checks["builds"].detail


class FailsWhenLong(Projection):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 1100:
            raise MemoryError("too long")
        return self.linear(x)


def test_a_cost_that_cannot_be_counted_is_one_failure() -> None:
    assert failed(FailsWhenLong) == {"growth": "MemoryError: too long"}


class Spare(Projection):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.spare = nn.Parameter(torch.ones(3))


def test_a_parameter_that_no_gradient_reaches_is_named() -> None:
    assert failed(Spare) == {
        "reached": "no gradient reaches spare; use or remove them, or freeze them"
    }


class TurnsGradientsOff(Projection):
    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        torch.set_grad_enabled(False)
        return y


class WidensAll(Projection):
    def forward(self, x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return self.linear(x)


def test_switches_are_put_back() -> None:
    assert "gradients was True, is False" in failed(TurnsGradientsOff)["side_effects"]
    assert torch.is_grad_enabled()
    assert failed(WidensAll)
    assert torch.get_default_dtype() == torch.float32


# What it is measured with


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (lambda T: 7 * T + 300, 1.0),
        (lambda T: T * T, 2.0),
        (lambda T: T * T + 10_000 * T + 300, 2.0),
        (lambda T: T**3 + T * T, 3.0),
        (lambda T: T * int(T**0.5) + 500 * T, 1.5),
        (lambda T: T * T.bit_length() + 5 * T, 1.2),
        (lambda T: -(-T // 64) * 64, 1.0),
        (lambda T: -(-T // 512) * 512, 1.0),
        (lambda T: 3, 0.0),
    ],
)
def test_the_exponent_is_that_of_the_part_which_grows_fastest(count: Any, expected: float) -> None:
    assert exponent([count(T) for T in (8, 32, 128, 512, 2048)]) == pytest.approx(
        expected, abs=0.15
    )


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_depend_on_their_seed_and_not_on_the_draws_of_others(kind: str) -> None:
    first = Inputs(8, seed=1)(kind, 3, 50)
    torch.rand(5)
    assert torch.equal(Inputs(8, seed=1)(kind, 3, 50), first)
    assert not torch.equal(Inputs(8, seed=2)(kind, 3, 50), first)
    assert first.shape == (3, 50, 8)


def test_a_changed_future_leaves_the_past_alone() -> None:
    inputs = Inputs(8, seed=0)
    x, cuts = inputs("noise", 6, 40), inputs.cuts(6, 40)
    changed = inputs.changed(x, cuts)
    past = torch.arange(40) < cuts[:, None]
    assert torch.equal(changed[past], x[past])
    assert all(not torch.equal(a, b) for a, b in zip(changed, x, strict=True))


# The job


def request(**changed: Any) -> AuditRequest:
    fields = {"mixer": HUMAN / "retnet.py", "suite": "tiny-2", "seed": 0} | changed
    return AuditRequest.model_validate(fields)


def verdict(**changed: Any) -> tuple[AuditOutcome, dict[str, Check]]:
    outcome = AuditOutcome.model_validate(audit_mixer(request(**changed)))
    return outcome, {check.name: check for check in outcome.checks}


def test_the_job_gives_the_checks_and_the_size_of_the_model() -> None:
    outcome, checks = verdict()
    assert all(check.passed for check in outcome.checks)
    assert outcome.ffn_width is not None and outcome.parameters is not None
    assert "parameters_allowed" not in checks


def test_a_model_above_the_parameters_of_the_policy_is_rejected() -> None:
    outcome, checks = verdict(max_parameters=8_000)
    check = checks["parameters_allowed"]
    assert (check.passed, check.measured, check.limit) == (False, outcome.parameters, 8_000)
    assert "budget.parameters" in check.detail
    assert verdict(max_parameters=20_000)[1]["parameters_allowed"].passed


def test_another_width_than_the_suites_has_no_parameter_budget() -> None:
    outcome, checks = verdict(d_model=24, n_heads=3)
    assert all(check.passed for check in outcome.checks)
    assert "parameters" not in checks and outcome.ffn_width is None


def test_what_is_quadratic_passes_only_where_it_may_be() -> None:
    reference = HUMAN / "softmax_attention.py"
    _, checks = verdict(mixer=reference)
    assert {name for name, check in checks.items() if not check.passed} == {
        "step_growth",
        "flops_growth",
        "work_growth",
        "memory_growth",
    }
    allowed, _ = verdict(mixer=reference, quadratic=True)
    assert all(check.passed for check in allowed.checks)


def test_code_that_patches_torch_while_it_is_loaded_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "patches.py"
    file.write_text(
        (HUMAN / "retnet.py").read_text(encoding="utf-8")
        + "\nloss = F.cross_entropy\nF.cross_entropy = lambda *a, **k: 0 * loss(*a, **k)\n",
        encoding="utf-8",
    )
    original = torch.nn.functional.cross_entropy
    try:
        _, checks = verdict(mixer=file)
    finally:
        torch.nn.functional.cross_entropy = original
    assert "torch.nn.functional.cross_entropy is another function" in checks["side_effects"].detail

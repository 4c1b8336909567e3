"""The audit against mixers that leak, break or misbehave, one property a test; good ones pass."""

import types
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noctuary.audit.dynamic import dynamic_checks
from noctuary.audit.static import MAX_BYTES, static_checks
from noctuary.domain import Check

HUMAN = sorted((Path(__file__).parents[2] / "architectures" / "human").glob("*.py"))
GOOD = """
import torch

class Mixer(torch.nn.Module):
    def forward(self, x):
        return x
"""


def failed(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.passed}


def audit(mixer_class: type[nn.Module], seed: int = 0) -> dict[str, str]:
    return failed(dynamic_checks(mixer_class, d_model=16, n_heads=2, seed=seed))


class Projection(nn.Module):
    """A mixer that mixes nothing: the base of the bad ones."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Any:
        return self.linear(x)


# What reads the future


class Roll(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x.roll(-1, 1)


class MeanOverTime(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) - x.mean(1, keepdim=True)


class ReversedCumsum(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).flip(1).cumsum(1).flip(1)


class Uncausal(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, self.linear(x))


class DetachedArgmax(Projection):
    """Leaks through an index, which no gradient sees."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x.detach().sum(-1).argmax(1)[:, None, None] / 100


class WithinChunks(Projection):
    """Leaks within chunks of 32 only."""

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (0, 0, 0, -x.shape[1] % 32)).unflatten(1, (-1, 32))
        mean = padded.mean(2, keepdim=True).expand_as(padded)
        return self.linear(x) + mean.flatten(1, 2)[:, : x.shape[1]]


class BehindAZero(Projection):
    """Leaks through a parameter that is zero at the start, and learns to open."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.door = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.door * x.roll(-1, 1)


class InTrainingOnly(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + (x.roll(-1, 1) if self.training else 0)


LEAKS = [Roll, MeanOverTime, ReversedCumsum, Uncausal, DetachedArgmax, WithinChunks, BehindAZero]


@pytest.mark.parametrize("mixer", [*LEAKS, InTrainingOnly])
def test_a_mixer_that_reads_the_future_is_rejected(mixer: type[nn.Module]) -> None:
    problems = audit(mixer)
    assert "causal_change" in problems
    assert set(problems) <= {"causal_change", "causal_cut"}


class KnowsTheLength(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * x.shape[1]


def test_a_mixer_that_depends_on_the_length_is_rejected() -> None:
    problems = audit(KnowsTheLength)
    assert set(problems) == {"causal_cut"}
    assert "depend on the length" in problems["causal_cut"]


# What reads the other rows


class BatchMean(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) - x.mean(0, keepdim=True)


class BatchNorm(Projection):
    """Looks at other rows in training, and at its running statistics otherwise."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.norm = nn.BatchNorm1d(d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x).flatten(0, 1)).view_as(x)


@pytest.mark.parametrize("mixer", [BatchMean, BatchNorm])
def test_a_mixer_that_reads_other_rows_is_rejected(mixer: type[nn.Module]) -> None:
    assert "batch" in audit(mixer)


# What breaks


class NotANumber(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) - 10).sqrt()


def test_values_that_are_no_numbers_are_rejected() -> None:
    assert "NaN or infinite" in audit(NotANumber)["finite"]


class NaNInTheGradient(Projection):
    """Masked after the exponential: the output is fine, its gradient is infinity times zero."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return torch.where(z < 100, z, (1000 * z.abs()).exp())


def test_gradients_that_are_no_numbers_are_rejected() -> None:
    assert set(audit(NaNInTheGradient)) == {"gradients"}


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
    problems = audit(mixer)
    assert set(problems) == {"shapes"}
    assert detail in problems["shapes"]


class CannotBeBuilt(nn.Module):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        raise ValueError("no")


def test_a_mixer_that_cannot_be_built_is_rejected() -> None:
    assert audit(CannotBeBuilt) == {"builds": "ValueError: no"}


# What is not the same twice


class Remembers(Projection):
    """Keeps something of the last call."""

    last: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x) + self.last
        self.last = x.mean().detach()
        return y


class Noise(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + torch.randn(())


class InPlace(Projection):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.mul_(2)
        return self.linear(x)


@pytest.mark.parametrize(
    ("mixer", "detail"),
    [
        (Remembers, "a second call gives something else"),
        (Noise, "a second call gives something else"),
        (InPlace, "changes its input"),
    ],
)
def test_a_mixer_that_is_no_function_is_rejected(mixer: type[nn.Module], detail: str) -> None:
    assert detail in audit(mixer)["determinism"]


class WrongStep(Projection):
    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return 2 * self.linear(x_t), state


def test_a_step_that_differs_from_forward_is_rejected() -> None:
    assert set(audit(WrongStep)) == {"step"}


# What is as it should be


class WithAux(Projection):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x)
        return y, y.square().mean()


class Dropout(Projection):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.linear(x), 0.1, self.training)


class Foreign(nn.Module):
    """The layer interface of other libraries."""

    def __init__(self, mode: str = "chunk", hidden_size: int = 99, num_heads: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None, None]:
        return self.linear(hidden_states), None, None


@pytest.mark.parametrize("mixer", [Projection, WithAux, Dropout, Foreign])
def test_an_honest_mixer_passes(mixer: type[nn.Module]) -> None:
    assert audit(mixer) == {}


class Unused(Projection):
    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__(d_model)
        self.spare = nn.Parameter(torch.ones(3))


def test_parameters_without_a_gradient_are_named() -> None:
    checks = {c.name: c for c in dynamic_checks(Unused, d_model=16, n_heads=2, seed=0)}
    assert checks["gradients"].passed
    assert checks["gradients"].detail == "no gradient reaches spare"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_baselines_pass(path: Path, seed: int) -> None:
    source = path.read_text(encoding="utf-8")
    module = types.ModuleType(path.stem)
    exec(compile(source, str(path), "exec"), module.__dict__)
    checks = static_checks(source) + dynamic_checks(module.Mixer, d_model=64, n_heads=2, seed=seed)
    assert failed(checks) == {}
    assert all(check.measured is not None and check.limit is not None for check in checks)
    assert not any(check.detail for check in checks)


def test_an_audit_is_repeatable_and_leaves_the_random_numbers_alone() -> None:
    module = types.ModuleType("gated_delta_net")
    path = next(path for path in HUMAN if path.stem == "gated_delta_net")
    exec(path.read_text(encoding="utf-8"), module.__dict__)
    state = torch.get_rng_state()
    first = dynamic_checks(module.Mixer, d_model=64, n_heads=2, seed=3)
    assert first == dynamic_checks(module.Mixer, d_model=64, n_heads=2, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


# The text alone


def test_a_good_file_passes_with_numbers() -> None:
    checks = static_checks(GOOD)
    assert failed(checks) == {}
    assert [c.name for c in checks] == ["size", "syntax", "class", "imports", "import_time"]
    assert all(check.limit is not None and check.measured is not None for check in checks)


@pytest.mark.parametrize(
    ("source", "name", "detail"),
    [
        (GOOD + "import os\n", "imports", "line 7: os is imported"),
        (GOOD + "        import subprocess as s\n", "imports", "line 7: subprocess is imported"),
        (GOOD + "from . import secret\n", "imports", "line 7: . is imported"),
        (GOOD + "f = __import__\n", "imports", "line 7: __import__ is imported"),
        (GOOD + "torch.manual_seed(0)\n", "import_time", "line 7: expr statement runs at import"),
        (GOOD + "x = torch.ones(3)\n", "import_time", "line 7: a constant is computed by a call"),
        (GOOD + "for i in range(3): pass\n", "import_time", "line 7: for statement"),
        (GOOD + "    y = print()\n", "import_time", "line 7: a constant is computed by a call"),
        (GOOD + "def f(x=open('a')): pass\n", "import_time", "line 7: a default of f"),
        (GOOD + "def g(f): ...\n@g\ndef f(): ...\n", "import_time", "line 8: a decorator"),
        ("import torch\ndef f(:\n", "syntax", "line 2: invalid syntax"),
        ("x = 1\0", "syntax", "null bytes"),
        ("x = " + "-" * 90_000 + "1", "syntax", "line 1: "),
        ("class Other:\n    pass\n", "class", "no class Mixer at the top level (classes here: Oth"),
        ("class Mixer:\n    pass\n", "class", "line 1: class Mixer defines no forward"),
        ("#" * (MAX_BYTES + 1), "size", f"{MAX_BYTES + 1} bytes"),
    ],
)
def test_a_wrong_file_is_rejected_for_the_right_reason(source: str, name: str, detail: str) -> None:
    problems = failed(static_checks(source))
    assert set(problems) == {name}
    assert detail in problems[name]


def test_what_does_no_work_at_import_is_fine() -> None:
    source = '''"""A docstring."""
import math
SIZES: dict[str, int] = {"a": -1}
ACTIVATE = lambda x: x.relu()

class Base(torch.nn.Module):
    """A docstring."""
    scale: float = 2.0
    @torch.no_grad()
    def f(self): ...
    @property
    def g(self): ...
    def forward(self, x, eps=1e-6, *, other=None): ...

class Mixer(Base):
    pass

if __name__ == "__main__":
    print(Mixer(3))
'''
    assert failed(static_checks(source)) == {}


def test_the_policy_may_allow_more_and_the_class_may_have_another_name() -> None:
    source = GOOD.replace("Mixer", "Attention") + "import triton\n"
    more = frozenset({"torch", "triton"})
    assert failed(static_checks(source, more, class_name="Attention")) == {}

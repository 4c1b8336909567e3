"""What a model costs, against counting by hand; and how the trainer watches its steps.

The mixers around which models are built are small ones of their own, and the human ones.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from noctuary.bench.suite import ModelShape
from noctuary.lab import shipped
from noctuary.training import measures
from noctuary.training.devices import precision_of, solve_triangles_in_fp32
from noctuary.training.model import SequenceModel, WrongOutput, build_model, load_mixer
from noctuary.training.watch import PATIENCE, Pace, TooSlow

D, LAYERS, WIDTH, VOCABULARY, HEADS = 16, 2, 24, 11, 2
SHAPE = ModelShape(d_model=D, n_heads=HEADS, n_layers=LAYERS, parameter_budget=0)
HUMAN = sorted((shipped("architectures") / "human").glob("*.py"))


def model_of(mixer_class: type[nn.Module]) -> SequenceModel:
    return build_model(mixer_class, SHAPE, VOCABULARY, WIDTH, seed=0)


def human(name: str) -> SequenceModel:
    return model_of(load_mixer(shipped("architectures") / "human" / f"{name}.py"))


class Projection(nn.Module):
    """y = W x."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x)


class Solve(Projection):
    """y = A^-1 W x, with one fixed A for all time steps."""

    def forward(self, x: Tensor) -> Tensor:
        T = x.shape[1]
        A = torch.eye(T) + 0.1 * torch.ones(T, T).tril(-1)
        return torch.linalg.solve_triangular(A, self.project(x), upper=False)


class Cached(Projection):
    """Its `step` carries a sum and a growing cache, in a dictionary, and counts tokens."""

    def step(self, x_t: Tensor, state: dict[str, object] | None = None) -> tuple[Tensor, object]:
        if state is None:
            state = {"sum": x_t, "cache": [], "seen": torch.zeros(1, dtype=torch.int64)}
        cache = [*state["cache"], x_t[:, :3]]
        return x_t, {"sum": state["sum"] + x_t, "cache": cache, "seen": state["seen"] + 1}


def dense_flops(length: int) -> float:
    """6 a token for each weight of a matrix: 2 forward, 4 backward; `length` does not matter."""
    return 6.0 * (LAYERS * (D * D + 2 * D * WIDTH) + D * VOCABULARY)


@pytest.mark.parametrize("length", [5, 16])
def test_flops_of_projections(length: int) -> None:
    assert measures.flops_per_token(model_of(Projection), length) == dense_flops(length)


class Depthwise(nn.Module):
    """A causal convolution of four taps, each channel on its own."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_model, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.nn.functional.conv1d(x.mT, self.weight, padding=3, groups=x.shape[-1])
        return y[..., : x.shape[1]].mT


@pytest.mark.parametrize("length", [5, 16])
def test_flops_of_a_depthwise_convolution_are_not_those_of_a_dense_one(length: int) -> None:
    """2 for each of 4 taps and each output, once forward and twice backward."""
    mixing = LAYERS * 3 * 2 * 4 * D * (length + 3) / length
    rest = 6.0 * (LAYERS * 2 * D * WIDTH + D * VOCABULARY)
    assert measures.flops_per_token(model_of(Depthwise), length) == pytest.approx(mixing + rest)


@pytest.mark.parametrize("length", [5, 16])
def test_flops_of_a_triangular_solve(length: int) -> None:
    """T^2 D forward, and as much backward, since A takes no gradient."""
    solve = LAYERS * 2 * length * length * D / length
    found = measures.flops_per_token(model_of(Solve), length)
    assert found == dense_flops(length) + solve


def test_flops_of_attention_are_quadratic_although_its_kernel_is_fused() -> None:
    model = human("softmax_attention")
    short, long = (measures.flops_per_token(model, length) for length in (16, 48))
    assert long - short == LAYERS * 12 * D * (48 - 16)  # two products of T^2 D, thrice 2 each


def test_a_measured_model_keeps_its_weights() -> None:
    model = human("gated_delta_net")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measures.flops_per_token(model, 40)
    measures.state_size(model, 40)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_state_sizes() -> None:
    K = D // HEADS
    assert measures.state_size(model_of(Projection), 64) is None
    assert measures.state_size(model_of(Cached), 64) == LAYERS * (D + 3 * 64)
    assert measures.state_size(human("softmax_attention"), 64) == LAYERS * 2 * D * 64
    gated = LAYERS * (HEADS * K * K + 3 * 3 * D)  # the heads' S, and three tokens for the filter
    assert measures.state_size(human("gated_delta_net"), 64) == gated


@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_mixers_can_be_measured(path: Path) -> None:
    model = model_of(load_mixer(path))
    assert measures.flops_per_token(model, 40) > dense_flops(40)
    assert (measures.state_size(model, 40) or 0) > 0


@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_mixers_run_under_autocast(path: Path) -> None:
    """In bf16 as on a GPU: close to fp32, and with a gradient for all that has one in fp32."""
    solve_triangles_in_fp32()
    model = model_of(load_mixer(path))
    tokens = torch.randint(VOCABULARY, (3, 40), generator=torch.Generator().manual_seed(1))

    def run() -> tuple[Tensor, list[Tensor | None]]:
        model.zero_grad()
        logits, auxiliary = model(tokens)
        (logits.float().square().mean() + auxiliary).backward()
        return logits.detach().float(), [parameter.grad for parameter in model.parameters()]

    exact, exact_gradients = run()
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_gradients = run()
    assert not torch.equal(rough, exact)
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()
    for mine, other in zip(rough_gradients, exact_gradients, strict=True):
        assert (mine is None) == (other is None)
        assert mine is None or mine.isfinite().all()


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unitriangular", [False, True])
def test_triangular_solve_under_autocast(upper: bool, left: bool, unitriangular: bool) -> None:
    solve_triangles_in_fp32()
    generator = torch.Generator().manual_seed(0)
    A = 0.2 * torch.randn(2, 4, 4, generator=generator) + torch.eye(4)
    B = torch.randn(2, 4, 4, generator=generator)
    A, B = A.bfloat16(), B.bfloat16()

    def solve(A: Tensor, B: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(
            A, B, upper=upper, left=left, unitriangular=unitriangular
        )

    with torch.autocast("cpu", torch.bfloat16):
        found = solve(A, B)
    assert found.dtype == torch.float32
    assert torch.equal(found, solve(A.float(), B.float()))


class Returning(nn.Module):
    """Returns what it was told to, or its input in another type."""

    given: object = None

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> object:
        given = self.given
        return x.to(given) if isinstance(given, torch.dtype) else given


TOKENS = torch.zeros(2, 3, dtype=torch.int64)
WRONG = [None, (), 1.0, torch.zeros(2, 3), torch.zeros(1, 3, D), torch.zeros(2, 3, D).double()]


@pytest.mark.parametrize("wrong", [*WRONG, *[(thing, None) for thing in WRONG], torch.bfloat16])
def test_wrong_outputs_are_refused(wrong: object) -> None:
    model = model_of(type("Wrong", (Returning,), {"given": wrong}))
    with pytest.raises(WrongOutput, match=r"^the mixer returned .*; expected \(2, 3, 16\)"):
        model(TOKENS)


def test_autocast_allows_its_own_type_alone() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for allowed in (torch.bfloat16, torch.float32):
            model_of(type("Allowed", (Returning,), {"given": allowed}))(TOKENS)
        with pytest.raises(WrongOutput, match="float16"):
            model_of(type("Wrong", (Returning,), {"given": torch.float16}))(TOKENS)


@pytest.mark.parametrize(
    ("second", "auxiliary"),
    [(torch.tensor(0.5), 1.0), (torch.tensor([0.25]), 0.5), (None, 0.0), (torch.ones(3), 0.0)],
)
def test_auxiliary_losses_add_up_where_there_are_any(second: object, auxiliary: float) -> None:
    given = (torch.zeros(2, 3, D), second)
    _, found = model_of(type("Auxiliary", (Returning,), {"given": given}))(TOKENS)
    assert found.shape == ()
    assert float(found) == auxiliary


class Ticking:
    """A clock on which each step takes the next of these times."""

    def __init__(self, durations: Iterator[float]) -> None:
        self.now = 100.0
        self.durations = durations

    def __call__(self) -> float:
        self.now += next(self.durations)
        return self.now


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=20),
    st.integers(0, 100),
    st.floats(1, 1000),
    st.floats(0, 50),
)
def test_pace_projects_the_whole_trial(
    durations: list[float], left: int, limit: float, setup: float
) -> None:
    pace = Pace(len(durations) + left, limit, Ticking(iter([setup, *durations])), begin=100.0)
    pace.start()
    for _ in durations:
        pace.tick()
    middle = sorted(durations)[(len(durations) - 1) // 2 : len(durations) // 2 + 1]
    projected = setup + sum(durations) + left * sum(middle) / len(middle)
    if math.isclose(projected, PATIENCE * limit, rel_tol=1e-6):
        return
    if projected < PATIENCE * limit:
        pace.require(len(durations))
        return
    with pytest.raises(TooSlow, match=rf"limit {limit:g} s; stopped at step {len(durations)}$"):
        pace.require(len(durations))


def test_one_slow_step_stops_nothing() -> None:
    pace = Pace(1000, 120, Ticking(iter([0, 30.0, *[0.01] * 4])), begin=100.0)
    pace.start()
    for _ in range(5):
        pace.tick()
    pace.require(5)


def test_a_gpu_trains_in_bf16() -> None:
    assert (precision_of("cpu"), precision_of("cuda")) == ("32-true", "bf16-mixed")

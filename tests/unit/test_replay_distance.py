"""How far two trainings are apart: against torch, and where floats are no ordinary numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from noctuary.distance import Distance, Tensor, Weights, distance, read_weights
from noctuary.sandbox.reading import NotAsAgreed
from noctuary.scoring import Floats

TYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]
NONE: Weights = {}


def losses(*values: float) -> Floats:
    return np.array(values, dtype="<f4")


def floats(*values: float) -> Tensor:
    return Tensor("F32", (len(values),), losses(*values).tobytes())


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(TYPES), size=st.integers(0, 9))
def test_the_largest_difference_is_the_one_that_torch_finds(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: torch.dtype, size: int
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(seed)
    sides = [
        {name: (8 * torch.rand(size, 2)).to(kind) for name in ("first", "second")} for _ in "ab"
    ]
    for number, side in enumerate(sides):
        save_file(side, folder / str(number))
    found = distance(
        *(losses(1), read_weights(folder / "0")), *(losses(1), read_weights(folder / "1"))
    )
    gaps = {name: (sides[0][name].double() - sides[1][name].double()).abs() for name in sides[0]}
    most = {name: float(gap.max()) if size else 0.0 for name, gap in gaps.items()}
    assert found.weight == max(most.values())
    assert found.tensors == sum(gap > 0 for gap in most.values())
    if found.tensor is not None:
        assert most[found.tensor] == found.weight


def test_equal_is_zero_all_over() -> None:
    weights = {"a": floats(1.0, math.nan), "b": Tensor("BOOL", (1,), b"\1")}
    found = distance(losses(3, 2), weights, losses(3, 2), dict(weights))
    assert found.is_zero
    none = dict.fromkeys(("loss", "first_loss", "early_loss", "final_loss", "weight"), 0.0)
    assert found == Distance(steps=0, first_step=None, tensors=0, tensor=None, **none)


def test_the_first_loss_that_differs_is_named_and_the_largest_gap_told() -> None:
    found = distance(losses(3, 2, 1, 1), NONE, losses(3, 2.5, 1, 1.125), NONE)
    assert (found.steps, found.first_step) == (2, 2)
    assert (found.loss, found.first_loss, found.early_loss) == (0.5, 0, 0.5)
    assert found.final_loss == 0.125
    assert not found.is_zero


def test_the_beginning_and_the_end_of_a_training_are_told_apart() -> None:
    values = np.linspace(3, 1, 40, dtype="<f4")
    late = values.copy()
    late[10:] += 1  # the eleventh step is no early one
    late[-2:] -= 1  # of the last four
    found = distance(values, NONE, late, NONE)
    assert (found.first_step, found.first_loss, found.early_loss) == (11, 0, 0)
    assert found.loss == pytest.approx(1)
    assert found.final_loss == pytest.approx(0.5)


def test_one_bit_is_a_difference_where_the_number_is_the_same() -> None:
    zeros = distance(losses(0.0), {"a": floats(0.0)}, losses(-0.0), {"a": floats(-0.0)})
    assert not zeros.is_zero
    assert (zeros.steps, zeros.tensors, zeros.loss, zeros.weight) == (1, 1, 0, 0)


@pytest.mark.parametrize("other", [math.nan, math.inf])
def test_what_is_no_number_on_one_side_is_infinitely_far(other: float) -> None:
    found = distance(losses(1), {"a": floats(1, 1)}, losses(other), {"a": floats(1, other)})
    assert found.loss == found.final_loss == found.weight == math.inf


@pytest.mark.parametrize(
    "other", [{}, {"b": floats(1, 2)}, {"a": floats(1)}, {"a": Tensor("I32", (2,), bytes(8))}]
)
def test_a_tensor_that_is_missing_or_of_another_shape_or_type_is_infinitely_far(
    other: Weights,
) -> None:
    found = distance(losses(1), {"a": floats(1, 2)}, losses(1), other)
    assert (found.tensor, found.weight) == ("a", math.inf)
    assert not found.is_zero


@pytest.mark.parametrize("cut", [0, 7, 40, -1])
def test_a_torn_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(4)}, path)
    assert read_weights(path)["a"] == floats(1, 1, 1, 1)._replace(shape=(4,))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(NotAsAgreed):
        read_weights(path)

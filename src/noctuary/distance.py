"""How far two trainings of one spec are apart: in the losses of every step, and in the weights.

Equal means equal in every bit: two zeros of different sign differ, and so do two tensors of other
types. Covers numbers and the reading of weights as numbers; what distance is tolerable, and why
two trainings should be equal at all, is the matter of `replay`. Imports no torch.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
from numpy.typing import NDArray

from noctuary.domain import Value
from noctuary.handover import weights_bytes
from noctuary.sandbox.reading import read_bounded
from noctuary.scoring import Floats, Numbers

_NUMBERS = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "I8": "i1", "U8": "u1", "BOOL": "u1"},
}


class Tensor(NamedTuple):
    """A tensor as it lies in a file.

    Attributes:
        kind: its type, as safetensors calls it.
    """

    kind: str
    shape: tuple[int, ...]
    content: bytes

    def numbers(self) -> Numbers:
        """Return its elements in a row, as float64."""
        if self.kind == "BF16":  # the upper half of an fp32
            halves = np.frombuffer(self.content, dtype="<u2").astype("<u4") << 16
            return halves.view("<f4").astype(np.float64)
        return np.frombuffer(self.content, dtype=_NUMBERS[self.kind]).astype(np.float64)


Weights = Mapping[str, Tensor]


EARLY = 10
"""Steps at the beginning in which a difference has hardly grown."""

LATE = 0.1
"""Share of the steps, at the end, whose mean loss is the final one."""


class Distance(Value):
    """How far two trainings are apart; all zero where they are equal in every bit.

    Attributes:
        steps, tensors: how many have another loss, or other content.
        first_step: the first step whose loss is another, from 1; None where none is.
        loss: largest difference of the losses of a step, nats.
        first_loss, early_loss: that of the first step, and the largest of the first `EARLY`.
        final_loss: difference of the mean losses over the last `LATE` of the steps, nats.
        tensor: the tensor that differs most; None where none does.
        weight: largest difference of a weight; infinite where one side lacks the tensor, or has
            it in another shape or type.
    """

    steps: int
    first_step: int | None
    loss: float
    first_loss: float
    early_loss: float
    final_loss: float
    tensors: int
    tensor: str | None
    weight: float

    @property
    def is_zero(self) -> bool:
        return not self.steps and not self.tensors


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor of a safetensors file.

    Raises:
        NotAsAgreed: it is no such file.
    """
    weights_bytes(path)
    content = read_bounded(path, path.stat().st_size)
    return {
        name: Tensor(found["dtype"], tuple(found["shape"]), bytes(found["data"]))
        for name, found in safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    }


def distance(losses: Floats, weights: Weights, others: Floats, other_weights: Weights) -> Distance:
    """Return how far two trainings of as many steps are apart.

    Args:
        losses, others: of every step, (steps,), at least one.
    """
    steps = np.flatnonzero(losses.view("<u4") != others.view("<u4"))
    one, other = losses.astype(np.float64), others.astype(np.float64)
    gaps, late = _gaps(one, other), -math.ceil(LATE * len(one))
    different = {
        name: _apart(weights.get(name), other_weights.get(name))
        for name in sorted({**weights, **other_weights})
        if weights.get(name) != other_weights.get(name)
    }
    most = max(different, key=lambda name: different[name], default=None)
    return Distance(
        steps=len(steps),
        first_step=int(steps[0]) + 1 if len(steps) else None,
        loss=float(gaps.max()),
        first_loss=float(gaps[0]),
        early_loss=float(gaps[:EARLY].max()),
        final_loss=float(
            _gaps(one[late:].mean(keepdims=True), other[late:].mean(keepdims=True))[0]
        ),
        tensors=len(different),
        tensor=most,
        weight=0.0 if most is None else different[most],
    )


def _apart(one: Tensor | None, other: Tensor | None) -> float:
    if one is None or other is None or one[:2] != other[:2]:
        return math.inf
    return float(_gaps(one.numbers(), other.numbers()).max(initial=0.0))


def _gaps(one: Numbers, other: Numbers) -> NDArray[np.float64]:
    """Return the differences, element by element; infinite where one alone is no finite number."""
    with np.errstate(invalid="ignore"):
        gaps = np.abs(one - other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isnan(gaps), math.inf, gaps))

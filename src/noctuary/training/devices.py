"""What differs between a CPU and a GPU: precision, and an operator that knows no bf16.

A CPU trains in fp32: bf16 is slower there. A GPU trains in bf16 where autocast allows it; TF32
stays as torch has it. Touches CUDA only when asked for a device, so after a fork.
"""

from functools import cache
from typing import Literal

import torch
from torch import Tensor

Device = Literal["cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed"]


def resolve_device(device: str) -> Device:
    """Return `cuda` where it was asked for or is there, else `cpu`."""
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return "cuda"
    return "cpu"


def precision_of(device: Device) -> Precision:
    return "bf16-mixed" if device == "cuda" else "32-true"


@cache
def solve_triangles_in_fp32() -> None:
    """Under autocast, take the operands of `solve_triangular` as fp32: it knows no bf16.

    Autocast itself leaves the operator alone, and every delta rule needs it.
    """
    for key in ("AutocastCPU", "AutocastCUDA"):
        _overrides.impl("linalg_solve_triangular", _solve_in_fp32, key)  # type: ignore[no-untyped-call]


# its overrides last as long as it does
_overrides = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]


def _solve_in_fp32(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    with torch.autocast(A.device.type, enabled=False):
        solved: Tensor = torch.linalg.solve_triangular(
            A.float(), B.float(), upper=upper, left=left, unitriangular=unitriangular
        )
    return solved

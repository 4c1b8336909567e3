"""Counts what a piece of code does, so that its cost is known without a clock.

Covers the numbers that torch's operators read and write, the largest tensor they make, and the
lines of Python that run outside torch. Does not cover FLOPs: `training.measures.count_flops`.
"""

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
"""Folders whose lines are not counted."""
INDEXED = ("index", "gather", "scatter", "embedding", "take", "_index_put_impl_")
"""Beginnings of operators that read or write only where an index says."""


class Work(TorchDispatchMode):
    """Counts while it is entered.

    Attributes:
        elements: numbers read and written by operators that are no views.
        largest: numbers of the largest tensor that was made.
        lines: of Python.
        calls: of operators.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = self.largest = self.lines = self.calls = 0
        self._traced: Any = None

    def __enter__(self) -> Self:
        self._traced = sys.gettrace()
        sys.settrace(self._trace)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        sys.settrace(self._traced)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self.calls += 1
        if func.is_view:
            return made
        name = func._schema.name.partition("::")[2]
        new = _numel(made)
        if name.startswith(INDEXED):
            self.elements += _numel((args[1:], kwargs)) + (0 if name.endswith("_") else new)
        else:
            self.elements += _numel((args, kwargs)) + new
        if "scaled_dot_product" in name:  # fused, it makes no T x T tensor but reads as many
            q, k = args[:2]
            self.elements += q.numel() // q.shape[-1] * k.shape[-2]
        self.largest = max(self.largest, new)
        return made

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename.startswith(OURS):
            return None
        self.lines += event == "line"
        return self._trace


def _numel(tree: Any) -> int:
    """Return the numbers in the tensors of an operator's arguments."""
    if isinstance(tree, Tensor):
        return tree.numel()
    if isinstance(tree, tuple | list):
        return sum(map(_numel, tree))
    if isinstance(tree, dict):
        return sum(map(_numel, tree.values()))
    return 0

"""What a model costs: floating-point operations and carried state, counted by running it.

Counted in a process with the candidate in it, so these numbers are the candidate's word; what a
score is made of is computed elsewhere (`noctuary.scoring`).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from noctuary.training.model import SequenceModel


def flops_per_token(model: SequenceModel, length: int) -> float:
    """Return the FLOPs of forward and backward on one sequence, divided by its length.

    Counted are matrix products, convolutions, attention (as its products, not as the fused
    kernel that hides them) and triangular solves; a multiplication and an addition are two.
    Not counted: whatever is elementwise, sums, scans, norms, softmax, lookups, FFTs, and the
    optimiser. Runs the model, so it comes after all that must not be disturbed.
    """
    device = next(model.parameters()).device
    vocabulary = model.embedding.num_embeddings
    tokens = torch.arange(length, device=device).remainder(vocabulary).unsqueeze(0)  # (1, T)

    def once() -> None:
        logits, auxiliary = model(tokens)
        (logits.sum() + auxiliary).backward()

    return count_flops(once) / length


def count_flops(run: Callable[[], None]) -> int:
    """Return the FLOPs of what a function runs; see `flops_per_token` for what counts."""
    aten = torch.ops.aten
    counter = FlopCounterMode(
        display=False,
        custom_mapping={
            aten.linalg_solve_triangular: _solve_flops,
            aten.convolution: _conv_flops,
            aten.convolution_backward: _conv_backward_flops,
        },
    )
    with sdpa_kernel(SDPBackend.MATH), counter:
        run()
    return int(counter.get_total_flops())


def _solve_flops(a_shape: Any, b_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Return 2 per multiply-add: row i of n needs i of them for each right-hand side."""
    return int(math.prod(out_shape) * a_shape[-1])


def _conv_flops(x_shape: Any, w_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Return 2 for each tap of each output; the weights' second axis is that of one group."""
    return int(2 * math.prod(out_shape) * math.prod(w_shape[1:]))


def _conv_backward_flops(dy_shape: Any, x_shape: Any, w_shape: Any, *_: Any, **__: Any) -> int:
    """As much for the input as for the weights; torch's own formula takes groups for dense."""
    return 2 * _conv_flops(x_shape, w_shape, out_shape=dy_shape)


def state_size(model: SequenceModel, length: int) -> float | None:
    """Return the floats that the mixers' `step` carries for one sequence, over all layers.

    Where a state grows with the tokens, as a cache of keys does, it is extrapolated from the
    first two to the length. None where a mixer has no `step`.
    """
    x = torch.zeros_like(model.embedding.weight[:1])  # (1, D)
    total = 0
    for block in model.blocks:
        step = getattr(block.mixer, "step", None)
        if step is None:
            return None
        with torch.no_grad():
            first = step(x, None)[1]
            size = _floats(first)
            growth = _floats(step(x, first)[1]) - size
        total += size + growth * (length - 1)
    return float(total)


def _floats(state: object) -> int:
    return sum(tensor.numel() for tensor in _tensors(state) if not _is_index(tensor))


def _is_index(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _tensors(state: object) -> Iterator[Tensor]:
    """Yield the tensors in tuples, lists and dictionaries of any depth."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        for part in state.values():
            yield from _tensors(part)
    elif isinstance(state, tuple | list):
        for part in state:
            yield from _tensors(part)

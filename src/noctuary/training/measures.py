"""What a trial measures, and the score that is made of it.

| metric           | unit      | is                                                              |
| ---------------- | --------- | --------------------------------------------------------------- |
| `loss`           | nats      | mean cross entropy over the scored positions of the test        |
| `accuracy`       | 0 to 1    | share of those that the likeliest token meets                   |
| `scored`         | positions | how many they are                                               |
| `learning`       | 0 to 1    | share of the chance-level loss that was removed, mean over the  |
|                  |           | training; the loss is the training's own                        |
| `steps_to_solve` | steps     | first one at which the task counts as solved; left out if none  |
| `flops_per_token`| FLOP      | forward and backward of the whole model; see `flops_per_token`  |
| `state_size`     | floats    | what `step` carries from token to token; see `state_size`       |
| `gpu_memory_mb`  | MiB       | peak of torch's allocator; on CUDA only                         |

Tokens a second are not among them: they are `tokens / seconds["train"]` of the trial.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from noctuary.bench.suite import ScoreWeights
from noctuary.bench.tasks import Task
from noctuary.training.model import SequenceModel

SHORTEST_WINDOW = 10
"""Steps; fewer say too little about the loss."""


def learning(losses: Tensor, chance_loss: float) -> float:
    """Return the share of the chance-level loss that was removed, over all steps (steps,)."""
    return _clip(1 - float(losses.double().mean()) / chance_loss)


def score(
    task: Task, weights: ScoreWeights, loss: float, accuracy: float, learning: float
) -> float:
    """Return the weighted sum of the three parts, each clipped to 0 (chance) to 1 (best)."""
    removed = _clip(1 - loss / task.chance_loss)
    correct = _clip((accuracy - task.chance_accuracy) / (1 - task.chance_accuracy))
    return weights.loss * removed + weights.accuracy * correct + weights.learning * learning


def _clip(part: float) -> float:
    return min(1.0, max(0.0, part))


def steps_to_solve(losses: Tensor, threshold: float) -> int | None:
    """Return the first step at which the mean over the steps just before it is below a threshold.

    Args:
        losses: (steps,). The mean is over a twentieth of them, at least `SHORTEST_WINDOW`.
    """
    window = min(len(losses), max(SHORTEST_WINDOW, len(losses) // 20))
    means = losses.double().unfold(0, window, 1).mean(-1)  # (steps - window + 1,)
    below = (means < threshold).nonzero()
    return int(below[0]) + window if len(below) else None


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

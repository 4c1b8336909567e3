"""What a trial measures and the score that is made of it, computed by code that is trusted.

| metric           | unit      | is                                                              |
| ---------------- | --------- | --------------------------------------------------------------- |
| `loss`           | nats      | mean cross entropy over the scored positions of the test        |
| `accuracy`       | 0 to 1    | share of those that the likeliest token meets                   |
| `scored`         | positions | how many they are                                               |
| `learning`       | 0 to 1    | share of the chance-level loss that was removed, mean over the  |
|                  |           | ten points of the training; the loss is that of a snapshot of   |
|                  |           | the weights, on test sequences of its own                       |
| `leak_bound`     | 0 to 1    | the share of the scored positions whose logits depend on what   |
|                  |           | follows, mean over the test sequences, is below this at 95 %    |
| `leak_checks`    | positions | how many were checked for that, one of each test sequence       |
| `steps_to_solve` | steps     | first one at which the task counts as solved; left out if none; |
|                  |           | from the losses that the training reported                      |
| `flops_per_token`| FLOP      | forward and backward of the whole model; see `training.measures`|
| `state_size`     | floats    | what `step` carries from token to token; see `training.measures`|
| `gpu_memory_mb`  | MiB       | peak of torch's allocator; on CUDA only                         |

The first six come from logits and from targets that no process with the candidate in it ever
held. The last four are the word of such a process: they stand beside the score and are no part of
it. Tokens a second are not among them: they are `tokens / seconds["train"]` of the trial.

Covers numbers alone, in numpy; which process gave the logits is the matter of `measuring`.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctuary.bench.suite import ScoreWeights
from noctuary.bench.tasks import IGNORED, Task, Tokens

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]

SHORTEST_WINDOW = 10
"""Steps; fewer say too little about the loss."""

LEAST_LOG_PROBABILITY = -20.0
"""Nats below which log-probabilities count as equal: as good as impossible."""

SAME_WITHIN = 1e-3
"""Two computations of log-probabilities may differ by this share of the largest, or of 1."""

CONFIDENCE = 0.95

REPORTED_BETTER = 0.1, 0.05
"""A reported loss may be better than the recomputed one by this share of it, and so many nats."""

REPORTED_WORSE = 0.4, 0.1
"""The recomputed one may be better than the reported one by this share of it, and so many nats."""

_CHUNK = 2**20
"""Logits that are made double at once."""


class NotFinite(ValueError):
    """A logit is infinite or not a number."""


class Measured(NamedTuple):
    """Mean cross entropy in nats, share of hits, and the number of scored positions."""

    loss: float
    accuracy: float
    scored: int


def measure(logits: Floats, targets: Tokens) -> Measured:
    """Return what logits (N, T, V) are worth on targets (N, T).

    Raises:
        ValueError: no position is scored.
        NotFinite: a logit at one that is scored is not finite.
    """
    scored = targets != IGNORED
    wanted, chosen = targets[scored], logits[scored]  # (S,), (S, V)
    if not len(wanted):
        raise ValueError("no position is scored")
    total = 0.0
    hits = 0
    for start in range(0, len(wanted), rows := max(1, _CHUNK // logits.shape[-1])):
        part = slice(start, start + rows)
        log_p = log_probabilities(chosen[part])
        total -= float(np.take_along_axis(log_p, wanted[part, None], axis=1).sum())
        hits += int((log_p.argmax(axis=1) == wanted[part]).sum())
    return Measured(total / len(wanted), hits / len(wanted), len(wanted))


def log_probabilities(logits: Floats) -> Numbers:
    """Return the log-softmax of logits (S, V), in double precision.

    Raises:
        NotFinite: a logit is not finite.
    """
    exact = logits.astype(np.float64)
    if not np.isfinite(exact).all():
        raise NotFinite("the logits are not finite")
    exact -= exact.max(axis=1, keepdims=True)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return exact


def snapshot_steps(steps: int, count: int) -> tuple[int, ...]:
    """Return `count` equally spaced steps, or all where there are fewer; the last is the end."""
    spaced = (steps * (number + 1) // count for number in range(count))
    return tuple(step for step in dict.fromkeys(spaced) if step > 0)


def learning(losses: Sequence[float], chance_loss: float) -> float:
    """Return the share of the chance-level loss that was removed, over all snapshots."""
    return _clip(1 - sum(losses) / len(losses) / chance_loss)


def score(
    task: Task, weights: ScoreWeights, loss: float, accuracy: float, learning: float
) -> float:
    """Return the weighted sum of the three parts, each clipped to 0 (chance) to 1 (best)."""
    removed = _clip(1 - loss / task.chance_loss)
    correct = _clip((accuracy - task.chance_accuracy) / (1 - task.chance_accuracy))
    return weights.loss * removed + weights.accuracy * correct + weights.learning * learning


def _clip(part: float) -> float:
    return min(1.0, max(0.0, part))


def steps_to_solve(losses: Floats, threshold: float) -> int | None:
    """Return the first step at which the mean over the steps just before it is below a threshold.

    Args:
        losses: (steps,). The mean is over a twentieth of them, at least `SHORTEST_WINDOW`.
    """
    window = min(len(losses), max(SHORTEST_WINDOW, len(losses) // 20))
    windows = np.lib.stride_tricks.sliding_window_view(losses.astype(np.float64), window)
    below = np.flatnonzero(windows.mean(axis=-1) < threshold)  # of steps - window + 1
    return int(below[0]) + window if len(below) else None


def words(*parts: str) -> list[int]:
    """Return a seed of as many bits as a hash has, from texts."""
    return list(hashlib.sha256("\0".join(parts).encode("utf-8")).digest())


def draw_places(targets: Tokens, rng: np.random.Generator) -> Tokens:
    """Draw one scored position of each row of targets (N, T); -1 where a row has none."""
    chance = np.where(targets != IGNORED, rng.random(targets.shape), -1.0)
    places: Tokens = np.where(chance.max(axis=1) >= 0, chance.argmax(axis=1), -1)
    return places


def changed(whole: Floats, cut: Floats) -> NDArray[np.bool_]:
    """Say which rows of logits (C, V) differ in more than rounding.

    Compared are log-probabilities, so that a constant beside which differences look small, added
    to all logits or taken from those of tokens that never come, hides none.

    Raises:
        NotFinite: a logit is not finite.
    """
    first, second = (
        np.maximum(log_probabilities(logits), LEAST_LOG_PROBABILITY) for logits in (whole, cut)
    )
    scale = np.maximum(1.0, np.abs(first).max(axis=1))
    different: NDArray[np.bool_] = np.abs(first - second).max(axis=1) > SAME_WITHIN * scale
    return different


def leak_bound(checks: int) -> float:
    """Return the largest share of leaking positions that so many clean checks leave likely.

    Were the share larger, all checks would come out clean with a probability below 1 - CONFIDENCE.
    """
    return float(1.0 - (1.0 - CONFIDENCE) ** (1 / checks))


def may_be_same_loss(reported: float, recomputed: float) -> bool:
    """Say whether a loss that a training reported can be that of its weights.

    The two are of different modes, training and evaluation: dropout makes the reported one worse.
    """
    better, nats = REPORTED_BETTER
    worse, more_nats = REPORTED_WORSE
    return (1 - better) * recomputed - nats <= reported <= recomputed / (1 - worse) + more_nats

"""The tasks, each a seeded generator of token sequences and targets, in numpy.

A task gives `inputs` and `targets` of shape (N, T), integers. A target of `IGNORED` is not
scored. The same seed gives the same sequences on every machine.
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""The target of a position that is not scored; what `cross_entropy` ignores by default."""

Tokens = NDArray[np.int64]
Split = Literal["train", "test"]


class Task(Protocol):
    """One source of sequences.

    Attributes:
        chance_loss: cross entropy in nats of a model that knows the task's alphabet and
            nothing else; the score's zero.
    """

    @property
    def name(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def chance_loss(self) -> float: ...

    def sequences(self, count: int, seed: int, split: Split) -> tuple[Tokens, Tokens]:
        """Return inputs and targets, each (count, T). The splits never share a stream."""
        ...


def stream(name: str, seed: int, split: Split) -> np.random.Generator:
    """Return the generator of one task, seed and split; streams of different names differ."""
    words = [seed, 0 if split == "train" else 1, *name.encode("utf-8")]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))

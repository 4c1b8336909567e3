"""The tasks, each a seeded generator of token sequences and targets, in numpy.

A task gives `inputs` and `targets` of shape (N, T), integers. A target of `IGNORED` is not
scored. The same seed gives the same sequences on every machine. Every task is a frozen
dataclass of numbers and names, so that its fields fix it.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from noctuary.domain import Capability

IGNORED = -100
"""The target of a position that is not scored; what `cross_entropy` ignores by default."""

LEVELS = range(1, 6)
"""Levels of difficulty, from easy to hard."""

Tokens = NDArray[np.int64]
Flags = NDArray[np.bool_]
Split = Literal["train", "test"]
S = TypeVar("S")


class Task(Protocol):
    """One source of sequences.

    Attributes:
        name: a lower-case identifier; also what tells its random stream from others.
        length: tokens of a training sequence.
        test_length: tokens of a test sequence; differs from `length` for extrapolation only.
        chance_loss: cross entropy in nats of a model that knows the task's alphabet and
            nothing else; the score's zero.
        chance_accuracy: share of scored positions, 0 to 1, that the best guess meets which
            knows the task but ignores the input.
        floor_loss: cross entropy in nats that no model goes below; 0 where the input determines
            what is scored. A smaller loss is a sign of cheating.
        capability: what a good score is evidence of.
    """

    @property
    def name(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def test_length(self) -> int: ...
    @property
    def chance_loss(self) -> float: ...
    @property
    def chance_accuracy(self) -> float: ...
    @property
    def floor_loss(self) -> float: ...
    @property
    def capability(self) -> Capability: ...

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        """Return inputs and targets: (count, length), for testing (count, test_length).

        The splits never share a stream.

        Args:
            salt: fixes the test sequences together with the seed, so that who does not know it
                cannot make them; the training sequences do not depend on it.
        """
        ...


class Synthetic:
    """What most tasks share: one length, and answers from an alphabet that the input determines.

    Every answer is as likely as every other.
    """

    capability: ClassVar[Capability]
    floor_loss: ClassVar[float] = 0.0
    length: int

    @property
    def answers(self) -> int:
        """How many tokens an answer is one of."""
        raise NotImplementedError

    @property
    def test_length(self) -> int:
        return self.length

    @property
    def chance_loss(self) -> float:
        return math.log(self.answers)

    @property
    def chance_accuracy(self) -> float:
        return 1 / self.answers


def setting(level: int, ladder: Sequence[S]) -> S:
    """Return the rung of a ladder of five that belongs to a level of difficulty.

    Raises:
        ValueError: there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level}; expected {LEVELS[0]} (easy) to {LEVELS[-1]} (hard)")
    return ladder[level - LEVELS[0]]


def share(level: int, length: int, sixteenths: Sequence[int]) -> int:
    """Return a number of tokens that grows with the level and with the length.

    Raises:
        ValueError: there is no such level, or the length is too short to tell levels apart.
    """
    if length < 16:
        raise ValueError(f"length {length}; expected at least 16 for a level of difficulty")
    return length * setting(level, sixteenths) // 16


def stream(name: str, seed: int, split: Split, salt: str = "") -> np.random.Generator:
    """Return the generator of one task, seed and split; streams of different names differ.

    Those for testing differ with the salt too.
    """
    words = [seed, 0 if split == "train" else 1, *name.encode("utf-8")]
    if salt and split == "test":
        words += hashlib.sha256(salt.encode("utf-8")).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def distinct(rng: np.random.Generator, count: int, high: int, size: int) -> Tokens:
    """Return (count, size) integers below `high`, distinct within a row."""
    return np.argsort(rng.random((count, high)), axis=1)[:, :size].astype(np.int64)


def subset(rng: np.random.Generator, count: int, places: int, size: int) -> Flags:
    """Return (count, places) flags with `size` of them set in each row, anywhere."""
    return np.argsort(rng.random((count, places)), axis=1) < size


def seen_before(symbols: Tokens, alphabet: int) -> Flags:
    """Return (N, P) flags: the symbol, below `alphabet`, occurred earlier in its row."""
    count, places = symbols.shape
    rows = np.arange(count)
    seen = np.zeros((count, alphabet), dtype=np.bool_)
    earlier = np.zeros((count, places), dtype=np.bool_)
    for place in range(places):
        earlier[:, place] = seen[rows, symbols[:, place]]
        seen[rows, symbols[:, place]] = True
    return earlier

"""State tracking: word problems of finite groups (arXiv 2404.08819; 2411.12537).

Each token is an element of a group, and the target at each position is the product of all
tokens so far. Parity and modular counting are the cyclic groups; S3 and S5 are the groups of
permutations, of which only the first is solvable: the word problem of the second is complete
for NC1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from noctuary.bench.tasks import Split, Synthetic, Tokens, setting, stream
from noctuary.domain import Capability


@dataclass(frozen=True)
class Parity(Synthetic):
    """Bits, and whether the ones so far are odd in number.

    Attributes:
        flips: probability of a one, above 0 and up to 1/2.
    """

    capability: ClassVar[Capability] = "state_tracking"
    vocab_size: ClassVar[int] = 2
    answers: ClassVar[int] = 2
    length: int
    flips: float = 0.5
    name: str = "parity"

    def __post_init__(self) -> None:
        if not 0 < self.flips <= 0.5:
            raise ValueError(f"parity needs flips above 0 and up to 0.5, not {self.flips}")

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more changes of state at each level, up to every other token."""
        return cls(length, setting(level, (0.1, 0.2, 0.3, 0.4, 0.5)), name=name or cls.name)

    @property
    def chance_accuracy(self) -> float:
        # the state is even after t bits with probability (1 + (1 - 2 flips)^t) / 2
        bias = (1 - 2 * self.flips) ** np.arange(1, self.length + 1)
        return float((1 + bias).mean() / 2)

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        bits = (rng.random((count, self.length)) < self.flips).astype(np.int64)
        return bits, np.cumsum(bits, axis=1) % 2


@dataclass(frozen=True)
class ModCounter(Synthetic):
    """Steps of 0..modulus-1, and their sum so far modulo `modulus`."""

    capability: ClassVar[Capability] = "state_tracking"
    length: int
    modulus: int
    name: str = "mod_counter"

    def __post_init__(self) -> None:
        if self.modulus < 2:
            raise ValueError(f"modular counting needs a modulus of at least 2, not {self.modulus}")

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with a larger modulus at each level."""
        return cls(length, setting(level, (3, 4, 5, 7, 9)), name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return self.modulus

    @property
    def answers(self) -> int:
        return self.modulus

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        steps = stream(self.name, seed, split, salt).integers(0, self.modulus, (count, self.length))
        return steps, np.cumsum(steps, axis=1) % self.modulus


@dataclass(frozen=True)
class _Permutations(Synthetic):
    """Permutations of `degree` things: tokens from the first `generators`, targets from all.

    Token 0 swaps the first two things, token 1 turns all of them by one place (degrees are odd,
    so the turn is even and the sign of the state is not known from the position); these two
    generate the group. The other elements follow in lexicographic order.
    """

    capability: ClassVar[Capability] = "state_tracking"
    degree: ClassVar[int]
    ladder: ClassVar[tuple[int, ...]]
    length: int
    generators: int
    name: str = "permutations"

    def __post_init__(self) -> None:
        if not 2 <= self.generators <= self.answers:
            raise ValueError(
                f"{self.name} needs 2 to {self.answers} generators, not {self.generators}"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more distinct generators at each level, from 2 to all."""
        return cls(length, setting(level, cls.ladder), name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return len(elements(self.degree))

    @property
    def answers(self) -> int:
        return len(elements(self.degree))

    @cached_property
    def chance_accuracy(self) -> float:
        return float(np.mean([state.max() for state in self._distributions()]))

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        tokens = rng.integers(0, self.generators, (count, self.length))
        product = products(self.degree)
        states = tokens.copy()
        for place in range(1, self.length):
            states[:, place] = product[states[:, place - 1], tokens[:, place]]
        return tokens, states

    def _distributions(self) -> Iterator[NDArray[np.float64]]:
        """Yield how likely each state is after 1, 2, ... `length` random tokens."""
        walk = np.zeros((self.answers, self.answers))
        for token in range(self.generators):
            walk[np.arange(self.answers), products(self.degree)[:, token]] += 1 / self.generators
        state = np.zeros(self.answers)
        state[: self.generators] = 1 / self.generators
        for _ in range(self.length):
            yield state
            state = state @ walk


@dataclass(frozen=True)
class S3(_Permutations):
    """Products of the six permutations of three things."""

    degree: ClassVar[int] = 3
    ladder: ClassVar[tuple[int, ...]] = (2, 3, 4, 5, 6)
    name: str = "s3"


@dataclass(frozen=True)
class S5(_Permutations):
    """Products of the 120 permutations of five things."""

    degree: ClassVar[int] = 5
    ladder: ClassVar[tuple[int, ...]] = (2, 4, 12, 40, 120)
    name: str = "s5"


@lru_cache
def elements(degree: int) -> tuple[tuple[int, ...], ...]:
    """Return the permutations of `degree` things, in the order of their tokens."""
    swap = (1, 0, *range(2, degree))
    turn = (*range(1, degree), 0)
    return (swap, turn, *(p for p in permutations(range(degree)) if p not in (swap, turn)))


@lru_cache
def products(degree: int) -> Tokens:
    """Return the table (G, G) of `a` after `b`, the permutation that takes i to a[b[i]]."""
    group = elements(degree)
    token = {element: place for place, element in enumerate(group)}
    return np.array([[token[tuple(a[i] for i in b)] for b in group] for a in group], dtype=np.int64)

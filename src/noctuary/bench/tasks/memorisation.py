"""Memorisation, after the task of MAD (arXiv 2403.17844, section 3).

Every position is a key, and its target is the key's value in a map that all sequences of a
seed share, training and test alike. The map never appears in the input: it has to be learnt
into the weights, and no other position of the sequence helps.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from noctuary.bench.tasks import Split, Synthetic, Tokens, setting, stream
from noctuary.domain import Capability


@dataclass(frozen=True)
class Memorisation(Synthetic):
    """A map from `keys` keys (0..keys-1) to `values` values, each value equally often."""

    capability: ClassVar[Capability] = "recall"
    length: int
    keys: int
    values: int = 16
    name: str = "memorisation"

    def __post_init__(self) -> None:
        if self.keys % self.values:
            raise ValueError(
                f"memorisation needs keys that are a multiple of the values, not {self.keys} "
                f"and {self.values}"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with twice the keys at each level, from 64 to 1024."""
        return cls(length, setting(level, (64, 128, 256, 512, 1024)), name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return self.keys + self.values

    @property
    def answers(self) -> int:
        return self.values

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        mapping = stream(f"{self.name}.map", seed, "train").permutation(self.keys) % self.values
        inputs = stream(self.name, seed, split, salt).integers(0, self.keys, (count, self.length))
        return inputs, (mapping + self.keys)[inputs].astype(np.int64)

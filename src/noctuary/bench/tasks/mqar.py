"""Multi-query associative recall (arXiv 2312.04927, section 3).

A sequence lists key-value pairs and later asks for each key once; the gaps between a pair and
its query follow a power law. Scored are the queried positions, where the value is the target.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from noctuary.bench.tasks import IGNORED, Split, Synthetic, Tokens, distinct, share, stream
from noctuary.domain import Capability


@dataclass(frozen=True)
class Mqar(Synthetic):
    """MQAR with `pairs` pairs in `length` tokens; token 0 fills the space between queries.

    Attributes:
        keys, values: sizes of the two alphabets; keys are 1..keys, values follow them.
        power: exponent of the distribution of gaps; smaller means later queries are likelier.
    """

    capability: ClassVar[Capability] = "recall"
    length: int
    pairs: int
    keys: int
    values: int
    power: float = 0.1
    name: str = "mqar"

    def __post_init__(self) -> None:
        if self.length < 3 * self.pairs or self.keys < self.pairs:
            raise ValueError(
                f"MQAR needs length >= 3 * pairs and keys >= pairs, not {self.length}, "
                f"{self.pairs}, {self.keys}"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more pairs at each level: 4, 8, 12, 16, 20 in 64 tokens."""
        pairs = share(level, length, (1, 2, 3, 4, 5))
        return cls(length, pairs, keys=2 * pairs, values=16, name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return 1 + self.keys + self.values

    @property
    def answers(self) -> int:
        return self.values

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        keys = distinct(rng, count, self.keys, self.pairs) + 1
        values = rng.integers(0, self.values, (count, self.pairs)) + 1 + self.keys
        space = self.length - 2 * self.pairs
        # places of the queries: `pairs` distinct ones, drawn with power-law weights; sorted in
        # full, because the order within a partition differs between processors
        weights = (np.arange(space) + 1.0) ** (self.power - 1.0)
        noise = rng.gumbel(size=(count, space)) + np.log(weights)
        places = np.argsort(-noise, axis=1)[:, : self.pairs]

        inputs = np.zeros((count, self.length), dtype=np.int64)
        targets = np.full((count, self.length), IGNORED, dtype=np.int64)
        inputs[:, 0 : 2 * self.pairs : 2] = keys
        inputs[:, 1 : 2 * self.pairs : 2] = values
        rows = np.arange(count)[:, None]
        inputs[rows, 2 * self.pairs + places] = keys
        targets[rows, 2 * self.pairs + places] = values
        return inputs, targets

"""Multi-query associative recall (arXiv 2312.04927, section 3).

A sequence lists key-value pairs and later asks for each key once; the gaps between a pair and
its query follow a power law. Scored are the queried positions, where the value is the target.
"""

import math
from dataclasses import dataclass

import numpy as np

from noctuary.bench.tasks import IGNORED, Split, Tokens, stream


@dataclass(frozen=True)
class Mqar:
    """MQAR with `pairs` pairs in `length` tokens; token 0 fills the space between queries.

    Attributes:
        keys, values: sizes of the two alphabets; keys are 1..keys, values follow them.
        power: exponent of the distribution of gaps; smaller means later queries are likelier.
    """

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

    @property
    def vocab_size(self) -> int:
        return 1 + self.keys + self.values

    @property
    def chance_loss(self) -> float:
        return math.log(self.values)

    def sequences(self, count: int, seed: int, split: Split) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split)
        keys = _distinct(rng, count, self.keys, self.pairs) + 1
        values = rng.integers(0, self.values, (count, self.pairs)) + 1 + self.keys
        space = self.length - 2 * self.pairs
        # places of the queries: `pairs` distinct ones, drawn with power-law weights
        weights = (np.arange(space) + 1.0) ** (self.power - 1.0)
        noise = rng.gumbel(size=(count, space)) + np.log(weights)
        places = np.argpartition(-noise, self.pairs - 1, axis=1)[:, : self.pairs]

        inputs = np.zeros((count, self.length), dtype=np.int64)
        targets = np.full((count, self.length), IGNORED, dtype=np.int64)
        inputs[:, 0 : 2 * self.pairs : 2] = keys
        inputs[:, 1 : 2 * self.pairs : 2] = values
        rows = np.arange(count)[:, None]
        inputs[rows, 2 * self.pairs + places] = keys
        targets[rows, 2 * self.pairs + places] = values
        return inputs, targets


def _distinct(rng: np.random.Generator, count: int, high: int, size: int) -> Tokens:
    """Return (count, size) integers below `high`, distinct within a row."""
    return np.argsort(rng.random((count, high)), axis=1)[:, :size].astype(np.int64)

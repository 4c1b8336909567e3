"""In-context recall, after the synthetic task of MAD (arXiv 2403.17844, section 3).

Keys and values alternate; each sequence has its own mapping from keys to values. Scored is
every key that was seen before: the target is the value it had.
"""

import math
from dataclasses import dataclass

import numpy as np

from noctuary.bench.tasks import IGNORED, Split, Tokens, stream


@dataclass(frozen=True)
class InContextRecall:
    """Sequences of `length` tokens over `keys` keys (0..keys-1) and `values` values."""

    length: int
    keys: int
    values: int
    name: str = "recall"

    @property
    def vocab_size(self) -> int:
        return self.keys + self.values

    @property
    def chance_loss(self) -> float:
        return math.log(self.values)

    def sequences(self, count: int, seed: int, split: Split) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split)
        pairs = self.length // 2
        mapping = rng.integers(0, self.values, (count, self.keys)) + self.keys
        keys = rng.integers(0, self.keys, (count, pairs))
        values = np.take_along_axis(mapping, keys, axis=1)

        inputs = np.zeros((count, self.length), dtype=np.int64)
        targets = np.full((count, self.length), IGNORED, dtype=np.int64)
        inputs[:, 0 : 2 * pairs : 2] = keys
        inputs[:, 1 : 2 * pairs : 2] = values
        # (count, pairs, pairs): the same key at an earlier pair
        earlier = np.tril(keys[:, :, None] == keys[:, None, :], k=-1).any(axis=2)
        targets[:, 0 : 2 * pairs : 2] = np.where(earlier, values, IGNORED)
        return inputs, targets

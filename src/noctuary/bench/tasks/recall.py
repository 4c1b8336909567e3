"""In-context recall, plain, noisy and fuzzy, after the tasks of MAD (arXiv 2403.17844, section 3).

Keys and values alternate; each sequence has its own mapping from keys to values. Scored is
every key that was seen before: the target is the value it had.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from noctuary.bench.tasks import (
    IGNORED,
    Split,
    Synthetic,
    Tokens,
    distinct,
    seen_before,
    setting,
    stream,
    subset,
)
from noctuary.domain import Capability


@dataclass(frozen=True)
class InContextRecall(Synthetic):
    """Sequences of `length` tokens over `keys` keys (0..keys-1) and `values` values."""

    capability: ClassVar[Capability] = "recall"
    length: int
    keys: int
    values: int
    name: str = "recall"

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more keys to remember at each level."""
        keys = setting(level, (8, 16, 24, 32, 48))
        return cls(length, keys, values=16, name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return self.keys + self.values

    @property
    def answers(self) -> int:
        return self.values

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        pairs = self.length // 2
        mapping = rng.integers(0, self.values, (count, self.keys)) + self.keys
        keys = rng.integers(0, self.keys, (count, pairs))
        values = np.take_along_axis(mapping, keys, axis=1)

        inputs = np.zeros((count, self.length), dtype=np.int64)
        targets = np.full((count, self.length), IGNORED, dtype=np.int64)
        inputs[:, 0 : 2 * pairs : 2] = keys
        inputs[:, 1 : 2 * pairs : 2] = values
        targets[:, 0 : 2 * pairs : 2] = np.where(seen_before(keys, self.keys), values, IGNORED)
        return inputs, targets


@dataclass(frozen=True)
class NoisyRecall(Synthetic):
    """In-context recall with noise between the pairs, never within one.

    Attributes:
        noise: share of the tokens that are noise, from an alphabet of their own.
        keys, values, noise_tokens: sizes of the three alphabets, which follow each other.
    """

    capability: ClassVar[Capability] = "recall"
    length: int
    noise: float
    keys: int
    values: int = 16
    noise_tokens: int = 16
    name: str = "noisy_recall"

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 1 or self.pairs < 2:
            raise ValueError(
                f"noisy recall needs noise from 0 to below 1 and room for two pairs, not "
                f"{self.noise} in {self.length} tokens"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with a larger share of noise and more keys at each level."""
        noise, keys = setting(level, ((0.1, 8), (0.2, 12), (0.3, 16), (0.4, 20), (0.5, 24)))
        return cls(length, noise, keys, name=name or cls.name)

    @property
    def pairs(self) -> int:
        return int(self.length * (1 - self.noise)) // 2

    @property
    def vocab_size(self) -> int:
        return self.keys + self.values + self.noise_tokens

    @property
    def answers(self) -> int:
        return self.values

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        mapping = rng.integers(0, self.values, (count, self.keys)) + self.keys
        keys = rng.integers(0, self.keys, (count, self.pairs))
        values = np.take_along_axis(mapping, keys, axis=1)
        # a row is a series of units: pairs, two tokens wide, and single tokens of noise
        is_pair = subset(rng, count, self.length - self.pairs, self.pairs)
        starts = np.cumsum(1 + is_pair, axis=1) - 1 - is_pair
        places = starts[is_pair].reshape(count, self.pairs)

        inputs = rng.integers(0, self.noise_tokens, (count, self.length)) + self.keys + self.values
        targets = np.full((count, self.length), IGNORED, dtype=np.int64)
        rows = np.arange(count)[:, None]
        inputs[rows, places] = keys
        inputs[rows, places + 1] = values
        targets[rows, places] = np.where(seen_before(keys, self.keys), values, IGNORED)
        return inputs, targets


@dataclass(frozen=True)
class FuzzyRecall(Synthetic):
    """In-context recall whose keys and values are motifs of one to `motif` tokens.

    A key's first token fixes how long the key is, so that no key is the beginning of another
    and it is known where a key ends. Scored is every token of the value of a key seen before.

    Attributes:
        keys: how many keys a sequence draws from.
        alphabet: tokens that keys are made of (0..alphabet-1); values are made of as many more.
    """

    capability: ClassVar[Capability] = "recall"
    length: int
    motif: int
    keys: int
    alphabet: int = 8
    name: str = "fuzzy_recall"

    def __post_init__(self) -> None:
        possible = len(self._motifs()[1])
        if not 2 <= self.keys <= possible:
            raise ValueError(
                f"fuzzy recall needs 2 to {possible} keys where motifs of up to {self.motif} "
                f"tokens are over {self.alphabet}, not {self.keys}"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more to bind at each level: motif times keys is 8 to 36."""
        motif, keys = setting(level, ((2, 4), (2, 6), (2, 8), (3, 8), (3, 12)))
        return cls(length, motif, keys, name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return 2 * self.alphabet

    @property
    def answers(self) -> int:
        return self.alphabet

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        motifs, sizes = self._motifs()
        book = distinct(rng, count, len(sizes), self.keys)
        meanings = rng.integers(0, self.alphabet, (count, self.keys, self.motif)) + self.alphabet
        spans = rng.integers(1, self.motif + 1, (count, self.keys))

        pairs = self.length // 2 + 1  # as many as could fit, each of two tokens or more
        drawn = rng.integers(0, self.keys, (count, pairs))
        rows = np.arange(count)[:, None]
        keys, values = motifs[book[rows, drawn]], meanings[rows, drawn]  # (N, pairs, motif)
        key_sizes, value_sizes = sizes[book[rows, drawn]], spans[rows, drawn]
        ends = np.cumsum(key_sizes + value_sizes, axis=1)
        value_starts = ends - value_sizes
        known = seen_before(drawn, self.keys)

        # one token more than a sequence has: the last target; what lies beyond is cut off
        width = self.length + 1
        tokens = np.zeros((count, pairs * 2 * self.motif), dtype=np.int64)
        scored = np.zeros(tokens.shape, dtype=np.bool_)
        for offset in range(self.motif):
            row, pair = np.nonzero(offset < key_sizes)
            place = value_starts[row, pair] - key_sizes[row, pair] + offset
            tokens[row, place] = keys[row, pair, offset]
            row, pair = np.nonzero(offset < value_sizes)
            place = value_starts[row, pair] + offset
            tokens[row, place] = values[row, pair, offset]
            scored[row, place] = known[row, pair]
        targets = np.where(scored[:, 1:width], tokens[:, 1:width], IGNORED)
        return tokens[:, : self.length], targets

    def _motifs(self) -> tuple[Tokens, Tokens]:
        """Return all keys that may be, (K, motif), zero beyond their sizes, and the sizes (K,)."""
        digits = np.indices((self.alphabet,) * self.motif).reshape(self.motif, -1).T
        sizes = 1 + digits[:, 0] % self.motif
        beyond = np.arange(self.motif) >= sizes[:, None]
        unique = ~(beyond & (digits > 0)).any(axis=1)
        return digits[unique].astype(np.int64), sizes[unique].astype(np.int64)

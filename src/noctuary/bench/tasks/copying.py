"""Selective copying and compression, after the tasks of MAD (arXiv 2403.17844, section 3).

Content is read, then a marker comes, and from the marker on the content is to be written in
order, one token a position, while nothing but blanks is read. MAD's compression decodes from
one vector with a network of its own; here the mixer itself carries the content through the
marker, and nothing keeps an attention from looking back past it.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from noctuary.bench.tasks import IGNORED, Split, Synthetic, Tokens, share, stream, subset
from noctuary.domain import Capability

BLANK, MARKER, CONTENT = 0, 1, 2
"""The blank, the marker, and the first token of the alphabet of contents."""


@dataclass(frozen=True)
class SelectiveCopy(Synthetic):
    """Copy `tokens` tokens that are scattered among blanks; the copy ends the sequence."""

    capability: ClassVar[Capability] = "recall"
    length: int
    tokens: int
    alphabet: int = 16
    name: str = "selective_copy"

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= self.length // 2:
            raise ValueError(
                f"selective copying needs 1 to {self.length // 2} tokens in a sequence of "
                f"{self.length}, not {self.tokens}"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more to copy at each level: 4, 8, 12, 16, 24 of 64 tokens."""
        return cls(length, share(level, length, (1, 2, 3, 4, 6)), name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return CONTENT + self.alphabet

    @property
    def answers(self) -> int:
        return self.alphabet

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        content = rng.integers(0, self.alphabet, (count, self.tokens)) + CONTENT
        read = self.length - self.tokens
        inputs = np.full((count, self.length), BLANK, dtype=np.int64)
        targets = np.full((count, self.length), IGNORED, dtype=np.int64)
        inputs[:, :read][subset(rng, count, read, self.tokens)] = content.ravel()
        inputs[:, read] = MARKER
        targets[:, read:] = content
        return inputs, targets


@dataclass(frozen=True)
class Compression(Synthetic):
    """Read `tokens` random tokens, write them again; anew as often as fits into `length`."""

    capability: ClassVar[Capability] = "compression"
    length: int
    tokens: int
    alphabet: int = 16
    name: str = "compression"

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= self.length // 2:
            raise ValueError(
                f"compression needs 1 to {self.length // 2} tokens in a sequence of "
                f"{self.length}, not {self.tokens}"
            )

    @classmethod
    def at_level(cls, level: int, length: int, name: str | None = None) -> Self:
        """Return the task with more to hold at each level: 4, 8, 12, 16, 32 of 64 tokens."""
        return cls(length, share(level, length, (1, 2, 3, 4, 8)), name=name or cls.name)

    @property
    def vocab_size(self) -> int:
        return CONTENT + self.alphabet

    @property
    def answers(self) -> int:
        return self.alphabet

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        rng = stream(self.name, seed, split, salt)
        rounds = self.length // (2 * self.tokens)
        content = rng.integers(0, self.alphabet, (count, rounds, self.tokens)) + CONTENT
        # (N, rounds, read or write, tokens)
        inputs = np.full((count, rounds, 2, self.tokens), BLANK, dtype=np.int64)
        targets = np.full(inputs.shape, IGNORED, dtype=np.int64)
        inputs[:, :, 0] = content
        inputs[:, :, 1, 0] = MARKER
        targets[:, :, 1] = content
        rest = ((0, 0), (0, self.length - 2 * self.tokens * rounds))
        return (
            np.pad(inputs.reshape(count, -1), rest, constant_values=BLANK),
            np.pad(targets.reshape(count, -1), rest, constant_values=IGNORED),
        )

"""Length extrapolation: training at one length, testing beyond it.

Wraps a task that can be generated at any length. A test sequence is `factor` times as long as
those trained on, and scored are only the positions that training never reached, so that one
sequence covers all lengths in between.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

from noctuary.bench.tasks import IGNORED, Split, Task, Tokens, setting
from noctuary.bench.tasks.state_tracking import Parity
from noctuary.domain import Capability


@dataclass(frozen=True)
class LengthExtrapolation:
    """`inner` at its own length for training, at `factor` times the length for testing.

    The random stream is the wrapper's: `inner` gives all numbers but its name.
    """

    capability: ClassVar[Capability] = "length_extrapolation"
    inner: Task
    factor: int
    name: str = "extrapolation"

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ValueError(f"extrapolation needs a factor of at least 2, not {self.factor}")

    @classmethod
    def at_level(
        cls, level: int, length: int, name: str | None = None, inner: Task | None = None
    ) -> Self:
        """Return the task with a larger factor at each level, from 2 to 8.

        Args:
            inner: what to extrapolate, of the given length; parity of even odds if None.
        """
        factor = setting(level, (2, 3, 4, 6, 8))
        return cls(inner or Parity(length), factor, name or cls.name)

    @property
    def vocab_size(self) -> int:
        return self.inner.vocab_size

    @property
    def length(self) -> int:
        return self.inner.length

    @property
    def test_length(self) -> int:
        return self.factor * self.length

    @property
    def chance_loss(self) -> float:
        return self.inner.chance_loss

    @property
    def chance_accuracy(self) -> float:
        # Where every position is scored, the mean over all is that over the first `length` and
        # that over the rest, weighted; where few are scored, chance is the same at all lengths.
        whole = self._at(self.test_length).chance_accuracy
        return (self.factor * whole - self.inner.chance_accuracy) / (self.factor - 1)

    @property
    def floor_loss(self) -> float:
        return self.inner.floor_loss

    @property
    def corpus_hash(self) -> str | None:
        """The hash of the text behind `inner`; None where there is no text."""
        return getattr(self.inner, "corpus_hash", None)

    def sequences(
        self, count: int, seed: int, split: Split, salt: str = ""
    ) -> tuple[Tokens, Tokens]:
        if split == "train":
            return self._at(self.length).sequences(count, seed, split, salt)
        inputs, targets = self._at(self.test_length).sequences(count, seed, split, salt)
        targets = targets.copy()
        targets[:, : self.length] = IGNORED
        return inputs, targets

    def _at(self, length: int) -> Task:
        return cast(Task, replace(cast(Any, self.inner), length=length, name=self.name))

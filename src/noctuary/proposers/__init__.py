"""Proposers: from parents, and the mechanisms of a gap, to candidates for the next batch.

Covers what all proposers share. `grammar` needs no model. A proposer makes many candidates and
judges none: which of them are new and worth a trial is the search's business (`search.pipeline`),
and rendering one to Python is `space.render`'s.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol

from noctuary.domain import Move
from noctuary.search.history import Parent
from noctuary.search.moves import Moves
from noctuary.space.genome import Genome


class Idea(NamedTuple):
    """A genome that could be tried, and how it came about.

    Attributes:
        operator: what was done to the parents, in words.
        parents: none for a genome drawn from the space.
    """

    genome: Genome
    move: Move
    operator: str
    parents: tuple[Parent, ...]


class Proposer(Protocol):
    """Has ideas, for as long as somebody asks for more; no two need to differ."""

    def ideas(
        self,
        parents: Sequence[Parent],
        moves: Moves,
        rng: Random,
        mechanisms: tuple[str, ...] = (),
    ) -> Iterator[Idea]:
        """Yield ideas that have all of these mechanisms, the plainest first.

        Raises:
            ValueError: no mixer combines the mechanisms.
        """
        ...

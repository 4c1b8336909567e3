"""Proposers: from a gap and parents to genomes worth training.

Covers what all proposers share. `grammar` needs no model. A proposer makes genomes, not files:
rendering a genome to Python is `space.render`'s.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from noctuary.domain import Gap, Value
from noctuary.selection import Parent
from noctuary.space.genome import Genome

Known = Callable[[Genome], str | None]
"""Tells why a genome is not new, or None; `selection.is_known` with its papers and trials."""


class Proposal(Value):
    """A genome with the reason for it and where it came from.

    Attributes:
        name: `naming.design_name` of the genome.
        operator: what made it from its parents, in words.
        parents: candidate ids, none for a genome drawn from the space.
    """

    genome: Genome
    name: str
    operator: str
    parents: tuple[str, ...]
    motivation: str


class Proposer(Protocol):
    """Makes up to `count` proposals, no two alike and none known; fewer if there are no more."""

    def propose(
        self, gap: Gap, parents: Sequence[Parent], known: Known, count: int, rng: Random
    ) -> tuple[Proposal, ...]: ...

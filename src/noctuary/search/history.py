"""What was tried so far, as the search sees it: one attempt a candidate.

Covers the values and their order by merit. Does not read the archive (`knowledge` does).
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from random import Random
from typing import Literal, NamedTuple

from pydantic import ValidationError

from noctuary.domain import Axes, Move
from noctuary.space.genome import Genome


class Attempt(NamedTuple):
    """A candidate that was proposed or trained.

    Attributes:
        genome: None for a mixer outside the design space; it cannot be a parent.
        score: mean over the tasks on the first rung; None before its first complete trials.
        final: mean over tasks and seeds on the last rung; None for those who never got there.
        tasks: task -> score on the first rung.
        parents, move: of a design; empty for a human mixer.
        cycle: the cycle that proposed it; 0 for a human mixer.
        reason: why it has no score, in words; empty where it has one or waits for it.
    """

    candidate_id: str
    name: str
    kind: Literal["human", "design"]
    genome: Genome | None
    score: float | None
    final: float | None = None
    tasks: Mapping[str, float] = {}
    parents: tuple[str, ...] = ()
    move: Move | None = None
    cycle: int = 0
    reason: str = ""


class Parent(NamedTuple):
    """A candidate that new designs may be made from."""

    candidate_id: str
    name: str
    genome: Genome
    score: float | None


class History:
    """The attempts of the cycles so far, in an order that does not depend on the caller's."""

    def __init__(self, attempts: Iterable[Attempt] = ()) -> None:
        self.attempts = tuple(sorted(attempts, key=lambda a: (a.cycle, a.candidate_id)))

    @cached_property
    def scored(self) -> tuple[Attempt, ...]:
        """Those in the design space that have a score, oldest first."""
        return tuple(a for a in self.attempts if a.genome is not None and a.score is not None)

    def ranked(self, rng: Random) -> list[Parent]:
        """Return those that can be parents, best first, each genome once.

        All were screened on the first rung, and that gives the order. Those who got to the last
        rung share their places anew by what they did there: it is the better measurement. Those
        without a score come last, in random order, as do ties.
        """
        able = [a for a in self.attempts if a.genome is not None and not a.reason]
        rng.shuffle(able)  # so that ties are broken by the seed
        able.sort(key=lambda a: (a.score is None, -(a.score or 0.0)))
        places = [place for place, a in enumerate(able) if a.final is not None]
        finalists = sorted((able[place] for place in places), key=lambda a: -(a.final or 0.0))
        for place, attempt in zip(places, finalists, strict=True):
            able[place] = attempt
        parents: dict[Genome, Parent] = {}
        for attempt in able:
            if attempt.genome is not None:
                parents.setdefault(attempt.genome, as_parent(attempt, attempt.genome))
        return list(parents.values())


def as_parent(attempt: Attempt, genome: Genome) -> Parent:
    """Return an attempt as a parent, with the better measurement of its score."""
    score = attempt.score if attempt.final is None else attempt.final
    return Parent(attempt.candidate_id, attempt.name, genome, score)


def genome_of(axes: Axes | str | None) -> Genome | None:
    """Return the genome of a candidate, or None for one outside the design space.

    Args:
        axes: or the text of their JSON, of which many are read faster.
    """
    if axes is None:
        return None
    try:
        if isinstance(axes, str):
            return Genome.model_validate_json(axes)
        return Genome.model_validate(axes)
    except ValidationError:  # of an older space, or somebody else's
        return None

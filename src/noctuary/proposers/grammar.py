"""The proposer without a model: inserts, mutations and crossovers of a typed genome.

At least half of the proposals contain all of the gap's mechanisms, or a cycle would not answer
its own question; the rest vary the best parents. Does not judge a genome beyond being new:
that is what the audit and the trials are for.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from random import Random

from noctuary.domain import Gap
from noctuary.proposers import Known, Proposal
from noctuary.selection import Parent
from noctuary.space.genome import Genome
from noctuary.space.naming import design_name
from noctuary.space.operators import contains, cross, distance, every_genome, insert, mutate

log = logging.getLogger(__name__)

TRIES = 64
"""Random moves before the design space is searched one genome at a time."""

Move = tuple[Genome, str, tuple[Parent, ...]]
"""A genome, the words for how it was made, and what it was made from."""


class GrammarProposer:
    """Proposes by the operators of the design space. Same inputs and seed, same proposals."""

    def propose(
        self, gap: Gap, parents: Sequence[Parent], known: Known, count: int, rng: Random
    ) -> tuple[Proposal, ...]:
        """Return up to `count` proposals, those that answer the gap first.

        Where the space has too few new genomes with the gap's mechanisms, there are fewer of the
        others too, and the log says so.

        Raises:
            ValueError: no mixer combines the gap's mechanisms.
        """
        taken: dict[Genome, Proposal] = {}
        both = " and ".join(gap.mechanisms)
        asked = f"Has {both}, which the gap asks about for {gap.capability.replace('_', ' ')}."
        free = "Varies the best designs so far, whatever the gap asks."

        def is_new(genome: Genome) -> bool:
            return genome not in taken and known(genome) is None

        def answers(genome: Genome) -> bool:
            return contains(genome, gap.mechanisms) and is_new(genome)

        def take(
            moves: Iterator[Move], wanted: Callable[[Genome], bool], until: int, why: str
        ) -> None:
            while len(taken) < until:
                move = next((m for m in moves if wanted(m[0])), None)
                if move is None:
                    return
                taken[move[0]] = _proposal(move, why)

        answering = chain(_inserted(gap, parents, rng), _drawn(parents, rng))
        take(answering, answers, (count + 1) // 2, asked)
        if parents:
            varying = chain(_varied(parents, rng), _drawn(parents, rng))
            take(varying, is_new, min(count, 2 * len(taken)), free)
        take(answering, answers, count, asked)
        if len(taken) < count:
            log.warning(
                "%d designs proposed instead of %d: all others with %s are known",
                *(len(taken), count, both),
            )
        return tuple(taken.values())


def _inserted(gap: Gap, parents: Sequence[Parent], rng: Random) -> Iterator[Move]:
    """Yield each parent with the gap's mechanisms, nothing else changed; then varied ones."""
    for parent in parents:
        genome, words = insert(parent.genome, *gap.mechanisms)
        yield genome, words, (parent,)
    for start, first, origins in _varied(parents, rng):
        genome, words = insert(start, *gap.mechanisms)
        yield genome, f"{first}; then {words}", origins


def _varied(parents: Sequence[Parent], rng: Random) -> Iterator[Move]:
    """Yield mutations and crossovers of random parents."""
    for _ in range(TRIES if parents else 0):
        parent = rng.choice(parents)
        others = [other for other in parents if distance(parent.genome, other.genome) > 1]
        if others and rng.random() < 0.5:
            other = rng.choice(others)
            yield *cross(parent.genome, other.genome, rng), (parent, other)
        else:
            yield *mutate(parent.genome, rng, n=rng.choice((1, 1, 2))), (parent,)


def _drawn(parents: Sequence[Parent], rng: Random) -> Iterator[Move]:
    """Yield every genome of the space in random order, those near a parent first."""
    genomes = list(every_genome())
    rng.shuffle(genomes)
    if not parents:
        yield from ((genome, "drawn from the design space", ()) for genome in genomes)
        return
    nearest = []
    for genome in genomes:
        away = [distance(parent.genome, genome) for parent in parents]
        nearest.append((min(away), genome, parents[away.index(min(away))]))
    for axes, genome, parent in sorted(nearest, key=lambda item: item[0]):
        yield genome, f"drawn from the design space, {axes} axes from its parent", (parent,)


def _proposal(move: Move, why: str) -> Proposal:
    genome, words, origins = move
    names = " and ".join(
        f"{p.name} (score {p.score:.3f})" if p.score is not None else f"{p.name} (not yet scored)"
        for p in origins
    )
    return Proposal(
        genome=genome,
        name=design_name(genome),
        operator=words,
        parents=tuple(parent.candidate_id for parent in origins),
        motivation=f"{why} Made from {names or 'no parent'}: {words}.",
    )

"""The proposer without a model: the operators of the design space, applied to good parents.

Covers which operator meets which parents. Does not judge an idea beyond being a mixer: that is
what the search, the audit and the trials are for.
"""

from collections.abc import Iterator, Sequence
from random import Random

from noctuary.domain import Move
from noctuary.proposers import Idea
from noctuary.search.history import Parent
from noctuary.search.moves import Moves
from noctuary.space.operators import (
    contains,
    cross,
    draw,
    insert,
    interpolate,
    mutate,
    simplify,
)


class GrammarProposer:
    """Has ideas by the operators of the design space. Same inputs and seed, same ideas."""

    def ideas(
        self,
        parents: Sequence[Parent],
        moves: Moves,
        rng: Random,
        mechanisms: tuple[str, ...] = (),
    ) -> Iterator[Idea]:
        """Yield each parent with the mechanisms and nothing else changed; then varied ones."""
        for parent in parents if mechanisms else ():
            genome, words = insert(parent.genome, *mechanisms)
            yield Idea(genome, "insert", words, (parent,))
        while True:
            varied = _varied(parents, moves, rng)
            if contains(varied.genome, mechanisms):
                yield varied
            else:
                genome, words = insert(varied.genome, *mechanisms)
                move: Move = "insert" if varied.parents else "draw"
                yield Idea(genome, move, f"{varied.operator}; then {words}", varied.parents)


def _varied(parents: Sequence[Parent], moves: Moves, rng: Random) -> Idea:
    """Return what an operator makes of random parents; one drawn from the space without any."""
    move = moves.choose(rng)
    if not parents or move == "draw":
        genome, words = draw(rng)
        return Idea(genome, "draw", words, ())
    parent = rng.choice(parents)
    others = [other for other in parents if other.genome != parent.genome]
    if others and move in ("cross", "interpolate"):
        other = rng.choice(others)
        if move == "cross":
            genome, words = cross(parent.genome, other.genome, rng)
        else:
            genome, words = interpolate(parent.genome, other.genome)
        return Idea(genome, move, words, (parent, other))
    if move == "simplify":
        genome, words = simplify(parent.genome, rng)
        return Idea(genome, move, words, (parent,))
    genome, words = mutate(parent.genome, rng, rng.randint(1, moves.reach))
    return Idea(genome, "mutate", words, (parent,))

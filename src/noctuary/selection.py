"""Parents and novelty: what the next designs are made from, and which designs are not new.

Covers the choice of parents among scored candidates and the reason why a design is refused as
known. Does not score candidates (the archive does) and does not make designs (`proposers`).
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal, Protocol

from pydantic import ValidationError

from noctuary.domain import Axes, Paper, Value
from noctuary.gap import Tried
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import distance


class Scored(Value):
    """A candidate with its score so far.

    Attributes:
        axes: the point in the design space; None (softmax attention) cannot be a parent.
        score: mean over the tasks on the first rung; None before its first `ok` trials.
        final: mean over tasks and seeds on the last rung; None for those who never got there.
    """

    candidate_id: str
    name: str
    kind: Literal["human", "design"]
    axes: Axes | None
    score: float | None
    final: float | None = None


class Parent(Value):
    """A candidate that new designs may be made from."""

    candidate_id: str
    name: str
    genome: Genome
    score: float | None


class ParentPolicy(Protocol):
    """A way to choose parents. `choose_parents` is the first; bandits and islands fit as well."""

    def __call__(
        self, candidates: Sequence[Scored], count: int, rng: Random
    ) -> tuple[Parent, ...]: ...


def choose_parents(candidates: Sequence[Scored], count: int, rng: Random) -> tuple[Parent, ...]:
    """Return up to `count` parents, the best first: by rank, with diversity.

    The best candidate is always a parent. Each further one is drawn with a weight that falls
    with its rank (1, 1/2, 1/3, ...) and grows with its distance to the parents drawn already.
    Ranks rather than scores, so that one outlier does not take every draw. Candidates without a
    score rank behind all others, in random order; of equal genomes the best counts.
    """
    ranked = _ranked(candidates, rng)
    weights = {parent.candidate_id: 1 / rank for rank, parent in enumerate(ranked, start=1)}
    chosen, left = ranked[: min(count, 1)], ranked[1:]
    while left and len(chosen) < count:
        pull = [
            weights[parent.candidate_id]
            * min(distance(parent.genome, other.genome) for other in chosen)
            / len(AXES)
            for parent in left
        ]
        drawn = rng.choices(range(len(left)), weights=pull)[0]
        chosen.append(left.pop(drawn))
    return tuple(sorted(chosen, key=lambda parent: -weights[parent.candidate_id]))


def is_known(genome: Genome, papers: Iterable[Paper], tried: Iterable[Tried]) -> str | None:
    """Return why this design is not new, in words, or None if nobody we know of has tried it."""
    axes = genome.axes
    for paper in papers:
        if paper.axes == axes:
            where = f"arXiv {paper.arxiv_id}" if paper.arxiv_id else f"{paper.venue} {paper.year}"
            return f"known: {paper.title} ({where})"
    for design in tried:
        if design.axes == axes:
            if design.kind == "human":
                return f"known: the human baseline {design.name}"
            return f"tried in cycle {design.cycle} as {design.name}"
    return None


def _ranked(candidates: Sequence[Scored], rng: Random) -> list[Parent]:
    """Return those that can be parents, best first, each genome once.

    All were screened on the first rung, and that gives the order. Those who got to the last rung
    share their places anew by what they did there: it is the better measurement.
    """
    in_order = sorted(candidates, key=lambda c: c.candidate_id)
    rng.shuffle(in_order)  # so that ties are broken by the seed, not by the caller's order
    in_order.sort(key=lambda c: (c.score is None, -(c.score or 0.0)))
    places = [place for place, c in enumerate(in_order) if c.final is not None]
    finalists = sorted((in_order[place] for place in places), key=lambda c: -(c.final or 0.0))
    for place, candidate in zip(places, finalists, strict=True):
        in_order[place] = candidate
    parents: dict[Genome, Parent] = {}
    for candidate in in_order:
        genome = _genome(candidate.axes)
        if genome is not None and genome not in parents:
            parents[genome] = Parent(
                candidate_id=candidate.candidate_id,
                name=candidate.name,
                genome=genome,
                score=candidate.score if candidate.final is None else candidate.final,
            )
    return list(parents.values())


def _genome(axes: Axes | None) -> Genome | None:
    """Return the genome of a candidate, or None for one outside the design space."""
    if axes is None:
        return None
    try:
        return Genome.model_validate(axes)
    except (ValidationError, KeyError):
        return None

"""What the tests of the search share: genomes, attempts, gaps, and a landscape to climb."""

from random import Random

import numpy as np

from noctuary.domain import Gap, Move
from noctuary.search.history import Attempt, History
from noctuary.search.surrogate import Array
from noctuary.space.features import MECHANISMS, encoded
from noctuary.space.genome import Genome
from noctuary.space.naming import design_name
from noctuary.space.operators import draw

_RNG = Random(11)
SPACE: tuple[Genome, ...] = tuple(draw(_RNG)[0] for _ in range(300))
"""Some genomes, all different."""

EFFECTS: Array = np.random.default_rng(3).normal(0, 0.05, len(MECHANISMS))
"""What each mechanism adds to a score in a world without interactions."""


def worth(genome: Genome) -> float:
    """Return the score of a genome in that world."""
    return 0.5 + float(encoded([genome])[0] @ EFFECTS)


def attempt(
    number: int,
    score: float | None = 0.5,
    *,
    genome: Genome | None = None,
    final: float | None = None,
    cycle: int = 1,
    parents: tuple[str, ...] = (),
    move: Move | None = "mutate",
    reason: str = "",
    tasks: dict[str, float] | None = None,
) -> Attempt:
    """Return a design with this genome, or with that of its number."""
    chosen = genome or SPACE[number]
    return Attempt(
        candidate_id=f"c{number:03d}",
        name=design_name(chosen),
        kind="design",
        genome=chosen,
        score=score,
        final=final,
        tasks=tasks or {},
        parents=parents,
        move=move,
        cycle=cycle,
        reason=reason,
    )


def climbed(count: int, seed: int = 0) -> History:
    """Return a history of random designs with their worth and a little noise, four a cycle."""
    noise = np.random.default_rng(seed).normal(0, 0.005, count)
    genomes = [draw(Random(f"{seed}/{n}"))[0] for n in range(count)]
    return History(
        attempt(n, worth(genome) + float(noise[n]), genome=genome, cycle=1 + n // 4)
        for n, genome in enumerate(genomes)
    )


def gap_about(*mechanisms: str) -> Gap:
    return Gap(
        cycle=1,
        question="?",
        mechanisms=mechanisms,
        capability="recall",
        evidence_for=(),
        evidence_against=(),
        findings=(),
        papers_covering=0,
        trials_covering=0,
        expected_effect=0.0,
        refuted_if="!",
    )

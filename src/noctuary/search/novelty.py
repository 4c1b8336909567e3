"""What is not new: designs that are known, tried, or all but the same as one that was tried.

Covers the reasons, in words. Does not know the papers or the attempts by itself: they are given.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from noctuary.domain import Axes, Paper
from noctuary.search.history import Attempt, History, genome_of
from noctuary.space.features import encoded
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import changes

NEAR = 1
"""Axes on which a near-duplicate differs at most."""


class Novelty:
    """Tells why a genome is not worth a trial.

    Args:
        papers: those whose axes are known propose a known design.
        published: name -> axes of all human mixers, trained here or not.
    """

    def __init__(
        self,
        history: History,
        papers: Iterable[Paper] = (),
        published: Mapping[str, Axes] | None = None,
    ) -> None:
        self.history = history
        self._known: dict[Genome, str] = {}
        for paper in papers:
            where = f"arXiv {paper.arxiv_id}" if paper.arxiv_id else f"{paper.venue} {paper.year}"
            self._learn(genome_of(paper.axes), f"known: {paper.title} ({where})")
        for name, axes in (published or {}).items():
            self._learn(genome_of(axes), f"known: the human baseline {name}")
        for attempt in history.attempts:
            self._learn(attempt.genome, _tried(attempt))

    def refusal(self, genome: Genome) -> str | None:
        """Return why this design is not to be tried, in words, or None if it is."""
        known = self._known.get(genome)
        return known if known is not None else self._near(genome)

    def _near(self, genome: Genome) -> str | None:
        """Return why a genome is too near to one that is settled: tried, and of the worse half."""
        attempts, points = self._settled
        if not attempts:
            return None
        shared = points @ encoded([genome])[0].astype(np.float32)
        nearest = int(shared.argmax())
        if shared[nearest] < len(AXES) - NEAR:
            return None
        attempt = attempts[nearest]
        assert attempt.genome is not None
        return (
            f"near-duplicate of {attempt.name} (score {attempt.score:.3f}, in the worse half): "
            f"{changes(attempt.genome, genome)}"
        )

    @cached_property
    def _settled(self) -> tuple[list[Attempt], np.ndarray]:
        scored = sorted(self.history.scored, key=lambda a: a.score or 0.0)
        settled = scored[: len(scored) // 2]
        points = encoded([a.genome for a in settled if a.genome is not None])
        return settled, points.astype(np.float32)  # every idea is held against all of them

    def _learn(self, genome: Genome | None, reason: str) -> None:
        if genome is not None:
            self._known.setdefault(genome, reason)


def _tried(attempt: Attempt) -> str:
    if attempt.kind == "human":
        return f"known: the human baseline {attempt.name}"
    return f"tried in cycle {attempt.cycle} as {attempt.name}"

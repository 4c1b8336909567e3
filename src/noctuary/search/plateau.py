"""Notices that the search stands still, and says by how much wider it should look.

A plateau: in the last `PATIENCE` cycles no design has beaten the best one before them by more
than the noise of a score. Does not act: `search.pipeline` looks further away from the parents.
"""

from typing import NamedTuple

from noctuary.search.history import History

PATIENCE = 4
"""Cycles without progress that make a plateau."""

NOISE = 0.01
"""Standard deviation of a first-rung score between seeds; progress below it may be luck."""


class Plateau(NamedTuple):
    """A search that stands still.

    Attributes:
        cycles: how many cycles it has done so.
        best: the score that none of them has beaten beyond noise.
    """

    cycles: int
    best: float

    @property
    def reach(self) -> int:
        """Axes that a mutation changes at most: one more for each `PATIENCE` cycles, up to 6."""
        return min(6, 2 + self.cycles // PATIENCE)

    @property
    def words(self) -> str:
        return (
            f"Plateau: {self.cycles} cycles without a design that beats {self.best:.3f} by more "
            f"than the noise of a score ({NOISE}). This batch looks further from its parents: "
            f"mutations of up to {self.reach} axes, and more draws from the whole space."
        )


def plateau(history: History) -> Plateau | None:
    """Return the plateau that the history ends on, or None while there is progress."""
    best_of: dict[int, float] = {}
    for attempt in history.scored:
        if attempt.kind == "design" and attempt.score is not None:
            best_of[attempt.cycle] = max(attempt.score, best_of.get(attempt.cycle, -1.0))
    best, since = float("-inf"), 0
    for cycle in sorted(best_of):
        since = 0 if best_of[cycle] > best + NOISE else since + 1
        if since == 0:
            best = best_of[cycle]
    return Plateau(since, best) if since >= PATIENCE else None

"""Which operator makes the next idea: by fixed chances, wider ones on a plateau.

Operators that are credited with what their children achieved were tried and dropped: over 200
searches they made no difference (`LOG.md`). Covers the operators that the search is free to choose;
those that the gap or an ablation asks for are not among them.
"""

from collections.abc import Mapping
from random import Random

from noctuary.domain import Move
from noctuary.search.plateau import Plateau

CHANCES: Mapping[Move, float] = {
    "mutate": 6,
    "cross": 6,
    "simplify": 4,
    "interpolate": 3,
    "draw": 3,
}
"""Operator -> how often it is chosen, against the others."""

REACH = 2
"""Axes that a mutation changes at most while there is progress."""


class Moves:
    """Chooses operators.

    Args:
        plateau: where the search stands still, half of all ideas and more are drawn from the
            space, and mutations reach further.
    """

    def __init__(self, plateau: Plateau | None = None) -> None:
        self.plateau = plateau
        self.reach = plateau.reach if plateau else REACH

    def choose(self, rng: Random) -> Move:
        """Return an operator."""
        if self.plateau and rng.random() < 0.5:
            return "draw"
        return rng.choices(list(CHANCES), weights=list(CHANCES.values()))[0]

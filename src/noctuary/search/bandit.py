"""Which operator makes the next candidate: Thompson sampling over what each has achieved.

An operator wins where its child scores higher than the best of its parents; one that draws from
the space has no parents and must beat the best design so far. A child that was refused by the
audit or did not train is a loss, one that waits for its trials is no news. Covers the operators
that the search is free to choose; those that the gap or an ablation asks for are not among them.
"""

from collections.abc import Mapping
from random import Random

from noctuary.domain import Move
from noctuary.search.history import History
from noctuary.search.plateau import Plateau

PRIOR: Mapping[Move, tuple[float, float]] = {
    "mutate": (2.0, 2.0),
    "cross": (2.0, 2.0),
    "simplify": (1.0, 2.0),
    "interpolate": (1.0, 3.0),
    "draw": (1.0, 3.0),
}
"""Operator -> wins and losses that it is credited with at first."""

REACH = 2
"""Axes that a mutation changes at most while there is progress."""


class Operators:
    """Chooses operators.

    Args:
        credited: whether the history counts; if not, each keeps its first chances.
        plateau: where the search stands still, half of all candidates are drawn from the space,
            and mutations reach further.
    """

    def __init__(
        self, history: History, *, credited: bool = True, plateau: Plateau | None = None
    ) -> None:
        self.counts = {move: list(prior) for move, prior in PRIOR.items()}
        self.credited = credited
        self.plateau = plateau
        self.reach = plateau.reach if plateau else REACH
        if credited:
            self._credit(history)

    def choose(self, rng: Random) -> Move:
        """Return the operator with the best sample from its posterior."""
        if self.plateau and rng.random() < 0.5:
            return "draw"
        if self.credited:
            return max(self.counts, key=lambda move: rng.betavariate(*self.counts[move]))
        chances = [wins / (wins + losses) for wins, losses in self.counts.values()]
        return rng.choices(list(self.counts), weights=chances)[0]

    def _credit(self, history: History) -> None:
        best_before: dict[int, float] = {}
        best = float("-inf")
        for attempt in history.attempts:
            best_before.setdefault(attempt.cycle, best)
            best = max(best, best if attempt.score is None else attempt.score)
        for attempt in history.attempts:
            if attempt.move not in self.counts or (attempt.score is None and not attempt.reason):
                continue
            parents = [history.by_id[one].score for one in attempt.parents if one in history.by_id]
            bar = max((s for s in parents if s is not None), default=best_before[attempt.cycle])
            won = attempt.score is not None and attempt.score > bar
            self.counts[attempt.move][0 if won else 1] += 1.0

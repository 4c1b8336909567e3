"""Who takes part in `search.py`: random search, samplers of the field, the default, its ablations.

The rivals make a child of a parent by an operator at random, whoever the parent is: that is what
their publications do once no language model writes the child. Their numbers are those of the
policies in `noctuary.search.parents`. Covers what each tries next; does not run anything.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple

import numpy as np

from noctuary.archive.observations import Measured
from noctuary.bench.suite import STANDARD
from noctuary.domain import Gap, Insight, Move, Paper
from noctuary.effects import Observations, literature_prior
from noctuary.gap import Known, ranked_gaps
from noctuary.lab import shipped
from noctuary.literature.snapshot import read_snapshot
from noctuary.proposers.grammar import GrammarProposer
from noctuary.search.history import History, Parent
from noctuary.search.novelty import Novelty
from noctuary.search.parents import POLICIES
from noctuary.search.pipeline import Search
from noctuary.space import operators
from noctuary.space.features import encoded
from noctuary.space.genome import Genome

REFERENCE, DEFAULT = "random search", "the default"

FIRST_DRAWS = 40
"""Designs that the rivals draw from the space before they choose parents. Of 0, 12, 20 and 40 the
best for each of them, on seeds that no report uses: the human baselines alone are a poor start."""

TRIES = 64
"""Moves after which a rival tries what it has tried already."""


class Suggestion(NamedTuple):
    """A design to try next, and how it was made."""

    genome: Genome
    move: Move
    parents: tuple[str, ...] = ()


Searcher = Callable[[History, int, int, Random], Sequence[Suggestion]]
"""history, number of the cycle, designs wanted, generator -> that many different new designs."""


# The rivals


def random_search(history: History, cycle: int, count: int, rng: Random) -> list[Suggestion]:
    """Draw each design from the whole space."""
    return _new(history, count, lambda: Suggestion(operators.draw(rng)[0], "draw"))


def sampler(policy: str, history: History, cycle: int, count: int, rng: Random) -> list[Suggestion]:
    """Take parents by a policy, and change them at random: a mutation, or half the time a cross."""
    parents = list(POLICIES[policy](history, count, rng))

    def make() -> Suggestion:
        parent = rng.choice(parents)
        other = rng.choice(parents)
        if other is not parent and rng.random() < 0.5:
            child, _ = operators.cross(parent.genome, other.genome, rng)
            return Suggestion(child, "cross", (parent.candidate_id, other.candidate_id))
        return _mutated(parent, rng)

    return _new(history, count, make)


def aging_evolution(history: History, cycle: int, count: int, rng: Random) -> list[Suggestion]:
    """Mutate the winners of tournaments among the youngest on one axis, as arXiv 1802.01548."""

    def make() -> Suggestion:
        [parent] = POLICIES["aging"](history, 1, rng)
        return _mutated(parent, rng)

    return _new(history, count, make)


def _mutated(parent: Parent, rng: Random) -> Suggestion:
    child, _ = operators.mutate(parent.genome, rng)
    return Suggestion(child, "mutate", (parent.candidate_id,))


def _new(history: History, count: int, make: Callable[[], Suggestion]) -> list[Suggestion]:
    """Return so many suggestions that nobody has tried, the last one made where none is found."""
    seen = {attempt.genome for attempt in history.attempts}
    made: list[Suggestion] = []
    while len(made) < count:
        suggestion = make()
        for _ in range(TRIES):
            if suggestion.genome not in seen:
                break
            suggestion = make()
        seen.add(suggestion.genome)
        made.append(suggestion)
    return made


def after_draws(
    draws: int, searcher: Searcher, history: History, cycle: int, count: int, rng: Random
) -> Sequence[Suggestion]:
    """Draw the first designs from the whole space, and search from there on."""
    drawn = sum(attempt.move == "draw" for attempt in history.attempts)
    return (random_search if drawn < draws else searcher)(history, cycle, count, rng)


RIVALS: dict[str, Searcher] = {
    REFERENCE: random_search,
    "aging evolution": partial(after_draws, FIRST_DRAWS, aging_evolution),
    "UCB1 sampling": partial(after_draws, FIRST_DRAWS, partial(sampler, "ucb1")),
    "greedy": partial(after_draws, FIRST_DRAWS, partial(sampler, "greedy")),
    "MAP-Elites": partial(after_draws, FIRST_DRAWS, partial(sampler, "map_elites")),
}


# The default, and what is left of it without one of its parts


class Default:
    """The search of the nights, with a question of its own in each cycle.

    The questions stay open here: what answers them are trials on the last rung.

    Args:
        literature: whether it has read the papers.
        findings: whether it learns from scores, beyond the choice of parents.
        gaps: whether at least half of a batch takes up a question.
        switches: others of `Search`.
    """

    def __init__(
        self, *, literature: bool = True, findings: bool = True, gaps: bool = True, **switches: Any
    ) -> None:
        papers, insights = _literature() if literature else ((), ())
        self.known = Known(papers, insights, {}, CAPABILITIES)
        self.prior = np.mean(
            [literature_prior(insights, measured) for measured in CAPABILITIES.values()], axis=0
        )
        self.findings = findings
        self.asks = gaps
        self.gaps: list[Gap] = []
        self.search = Search(GrammarProposer(), findings=findings, **switches)

    def __call__(self, history: History, cycle: int, count: int, rng: Random) -> list[Suggestion]:
        if self.asks:
            known = self.known._replace(measured=_measured(history) if self.findings else {})
            [asked] = ranked_gaps(known, earlier=self.gaps, cycle=cycle, rng=rng, count=1)
            self.gaps.append(asked.gap)
        batch = self.search.propose(
            history,
            count,
            rng,
            gap=self.gaps[-1] if self.asks else None,
            prior=self.prior,
            novelty=Novelty(history, self.known.papers),
        )
        return [Suggestion(p.genome, p.move, p.parents) for p in batch.proposals]


CAPABILITIES = {task.name: task.capability for task in STANDARD.tasks}


@cache
def _literature() -> tuple[Sequence[Paper], Sequence[Insight]]:
    return read_snapshot(shipped("data/snapshot") / "papers.json")


def _measured(history: History) -> dict[str, Measured]:
    """Return the scores as the archive gives them: task -> what was scored on it."""
    tried = sorted(history.scored, key=lambda attempt: attempt.candidate_id)
    points = encoded([attempt.genome for attempt in tried if attempt.genome is not None])
    ids = np.array([attempt.candidate_id for attempt in tried], object)
    cycles = np.array([attempt.cycle for attempt in tried])
    return {
        task: Measured(
            ids,
            cycles,
            Observations(
                points, np.array([attempt.tasks[task] for attempt in tried]), np.ones(len(tried))
            ),
        )
        for task in CAPABILITIES
    }


SEARCHERS: dict[str, Callable[[], Searcher]] = {
    **{name: (lambda searcher=searcher: searcher) for name, searcher in RIVALS.items()},
    DEFAULT: Default,
    "without literature": partial(Default, literature=False),
    "without findings": partial(Default, findings=False),
    "without the surrogate": partial(Default, surrogate=False),
    "without gaps": partial(Default, gaps=False),
    "without ablations": partial(Default, ablations=0),
}
"""name -> what makes the searcher of one repetition."""

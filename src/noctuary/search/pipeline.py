"""From what was tried to the next batch: the search's one main path.

Parents, operators, many ideas, those that are new, those that the surrogate would try, and of
these a diverse batch. At least half of a batch answers the gap, or a cycle would not answer its
own question. Needs no archive and no Prefect. Does not judge what was tried (`History` brings
the scores) and does not name the gap.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

import numpy as np

from noctuary.config import ParentsBy, SearchSettings
from noctuary.domain import Gap, Mechanism, Move, Value
from noctuary.proposers import Idea, Proposer
from noctuary.proposers.grammar import GrammarProposer
from noctuary.search.batch import chosen, first
from noctuary.search.history import Attempt, History, as_parent
from noctuary.search.moves import Moves
from noctuary.search.novelty import Novelty
from noctuary.search.parents import POLICIES
from noctuary.search.plateau import Plateau, plateau
from noctuary.search.surrogate import Array, Surrogate
from noctuary.space.features import encoded
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES
from noctuary.space.naming import design_name
from noctuary.space.operators import as_axes, changes, completed, contains, simplifications

log = logging.getLogger(__name__)

POOL = 128
"""New ideas that the surrogate chooses from, and at least eight for each place of the batch."""

HEARD = 200
"""Scores that the surrogate hears of at most; more would take longer than they are worth."""

REASONS = 10
"""Reasons for a refusal that are told, the most frequent."""

TRIES = 8
"""Ideas that are asked for, for each that is to be new."""


class Proposal(Value):
    """A design worth trying, with the reason for it and where it came from.

    Attributes:
        name: `naming.design_name` of the genome.
        operator: what made it from its parents, in words.
        parents: candidate ids, none for a genome drawn from the space.
        expected, spread: score that the surrogate expects, and its standard deviation; None
            where there was none.
    """

    genome: Genome
    name: str
    move: Move
    operator: str
    parents: tuple[str, ...]
    motivation: str
    expected: float | None = None
    spread: float | None = None


class Batch(NamedTuple):
    """What the search proposes for a cycle.

    Attributes:
        refused: reason -> how many ideas were refused for it, the most frequent first.
        plateau: the standstill that it answers, where there is one.
    """

    proposals: tuple[Proposal, ...]
    refused: dict[str, int]
    plateau: Plateau | None


class Search:
    """Proposes designs. The switches leave out one part each, to measure what it is worth.

    Args:
        proposer: has the ideas.
        parents_by: name of a policy in `parents.POLICIES`.
        parents: how many parents a batch has.
        ablations: designs of a batch, at most, that take a part from the best design of the last
            cycle, to see what the part contributes.
        findings: whether the surrogate hears of scores; without, it knows the literature alone.
        surrogate: whether ideas are screened; without, the first new ones are taken.
    """

    def __init__(
        self,
        proposer: Proposer,
        *,
        parents_by: ParentsBy = "ranked",
        parents: int = 4,
        ablations: int = 1,
        findings: bool = True,
        surrogate: bool = True,
    ) -> None:
        self.proposer = proposer
        self.policy = POLICIES[parents_by]
        self.parents = parents
        self.ablations = ablations
        self.findings = findings
        self.surrogate = surrogate

    def propose(
        self,
        history: History,
        count: int,
        rng: Random,
        *,
        gap: Gap | None = None,
        prior: Array | None = None,
        novelty: Novelty | None = None,
        forbidden: Collection[Mechanism] = (),
    ) -> Batch:
        """Return up to `count` designs, no two alike and none known; fewer if there are no more.

        Args:
            prior: expected effect of each mechanism, as the literature has it.
            novelty: what is known beside the history; by default nothing is.
            forbidden: mechanisms that no design may have; ideas are changed so far as they must.

        Raises:
            ValueError: no mixer combines the gap's mechanisms.
        """
        standstill = plateau(history)
        parents = self.policy(history, self.parents, rng)
        moves = Moves(standstill)
        pool = _Pool(novelty or Novelty(history), frozenset(forbidden))
        wanted = max(POOL, 8 * count) if self.surrogate else count
        if self.ablations:
            pool.fill(_ablations(history), wanted)
        if gap is not None:
            ideas = self.proposer.ideas(parents, moves, rng, gap.mechanisms)
            pool.fill(ideas, (wanted + 1) // 2, gap.mechanisms)
            wanted //= 2
        pool.fill(self.proposer.ideas(parents, moves, rng), wanted)
        proposals = self._screened(history, list(pool.ideas.values()), gap, count, prior)
        if len(proposals) < count:
            log.warning("%d designs proposed instead of %d: no more are new", len(proposals), count)
        return Batch(proposals, dict(pool.refusals.most_common(REASONS)), standstill)

    def _screened(
        self,
        history: History,
        ideas: Sequence[Idea],
        gap: Gap | None,
        count: int,
        prior: Array | None,
    ) -> tuple[Proposal, ...]:
        """Return the batch: ablations, answers to the gap, and then whatever looks best."""
        if not ideas:
            return ()
        points = encoded([idea.genome for idea in ideas])
        ablation = np.array([idea.move == "ablate" for idea in ideas])
        answers = ~ablation & np.array([_answers(idea.genome, gap) for idea in ideas])
        n_answers = (count + 1) // 2 if gap else 0
        n_ablations = min(self.ablations, int(ablation.sum()), count // 2)
        places = [ablation] * n_ablations + [answers] * n_answers
        places += [~ablation] * (count - len(places))
        apart = len(AXES) - points @ points.T
        if not self.surrogate:
            return tuple(_proposal(ideas[i], gap) for i in first(apart, places))
        belief = _belief(history.scored if self.findings else (), prior)
        mean, covariance = belief.predict(points)
        picked = chosen(mean, covariance, belief.best, belief.noise, apart, places)
        sd = np.sqrt(np.diag(covariance))
        return tuple(_proposal(ideas[i], gap, (float(mean[i]), float(sd[i]))) for i in picked)


class _Pool:
    """New ideas, each genome once, in the order in which they came."""

    def __init__(self, novelty: Novelty, forbidden: frozenset[str]) -> None:
        self.novelty = novelty
        self.forbidden = forbidden
        self.ideas: dict[Genome, Idea] = {}
        self.refusals: Counter[str] = Counter()

    def fill(self, ideas: Iterable[Idea], more: int, keep: tuple[str, ...] = ()) -> None:
        """Take so many new ideas, or fewer where none has been new for long.

        Args:
            keep: mechanisms that an idea does not lose to what is forbidden.
        """
        full = len(self.ideas) + more
        for idea in islice(ideas, TRIES * more):
            if len(self.ideas) >= full:
                return
            allowed = self._allowed(idea, keep)
            if allowed is None:
                self.refusals["forbidden by the policy"] += 1
            elif allowed.genome not in self.ideas:
                refusal = self.novelty.refusal(allowed.genome)
                if refusal is None:
                    self.ideas[allowed.genome] = allowed
                else:
                    self.refusals[refusal] += 1

    def _allowed(self, idea: Idea, keep: tuple[str, ...]) -> Idea | None:
        """Return the idea without what is forbidden, or None where there is no such mixer."""
        if not self.forbidden or self.forbidden.isdisjoint(idea.genome.mechanisms):
            return idea
        genome = completed(as_axes(keep), idea.genome.axes, self.forbidden)
        if genome is None:
            return None
        words = f"{idea.operator}; for the policy {changes(idea.genome, genome)}"
        return idea._replace(genome=genome, operator=words)


def search_by(settings: SearchSettings) -> Search:
    """Return the search that the owner of a lab has chosen."""
    return Search(
        GrammarProposer(),
        parents_by=settings.parents_by,
        parents=settings.parents,
        ablations=settings.ablations,
    )


def _belief(seen: Sequence[Attempt], prior: Array | None) -> Surrogate:
    heard = _heard(seen)
    return Surrogate(
        encoded([a.genome for a in heard if a.genome is not None]),
        np.array([a.score for a in heard if a.score is not None]),
        prior,
    )


def _heard(seen: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that the surrogate learns from: of many, the newest and the best."""
    if len(seen) <= HEARD:
        return list(seen)
    newest, older = seen[-HEARD // 2 :], seen[: -HEARD // 2]
    best = sorted(older, key=lambda attempt: -(attempt.score or 0.0))[: HEARD - len(newest)]
    return [*best, *newest]


def _ablations(history: History) -> list[Idea]:
    """Return the last cycle's best design, without one part each, where it is the best so far."""
    designs = [a for a in history.scored if a.kind == "design"]
    best = max(designs, key=lambda a: a.score or 0.0, default=None)
    if best is None or best.genome is None or best.cycle < history.attempts[-1].cycle:
        return []
    parent = (as_parent(best, best.genome),)
    return [
        Idea(genome, "ablate", words.replace("simplified", "ablated", 1), parent)
        for genome, words in simplifications(best.genome)
    ]


def _answers(genome: Genome, gap: Gap | None) -> bool:
    return gap is not None and contains(genome, gap.mechanisms)


def _proposal(idea: Idea, gap: Gap | None, guess: tuple[float, float] | None = None) -> Proposal:
    if idea.move == "ablate":
        why = "Takes a part from the best design so far, to see what the part contributes."
    elif gap is not None and contains(idea.genome, gap.mechanisms):
        both, capability = " and ".join(gap.mechanisms), gap.capability.replace("_", " ")
        why = f"Has {both}, which the gap asks about for {capability}."
    else:
        why = "Varies the best designs so far, whatever the gap asks."
    names = " and ".join(
        f"{p.name} (score {p.score:.3f})" if p.score is not None else f"{p.name} (not yet scored)"
        for p in idea.parents
    )
    words = f"{why} Made from {names or 'no parent'}: {idea.operator}."
    if guess is not None:
        words += f" The surrogate expects a score of {guess[0]:.3f} +- {guess[1]:.3f}."
    return Proposal(
        genome=idea.genome,
        name=design_name(idea.genome),
        move=idea.move,
        operator=idea.operator,
        parents=tuple(parent.candidate_id for parent in idea.parents),
        motivation=words,
        expected=None if guess is None else guess[0],
        spread=None if guess is None else guess[1],
    )

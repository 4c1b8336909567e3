"""From a gap to designs: what is known, the search, and the rendered files.

Covers the wiring of knowledge, search and renderer. Which genomes come out is the search's
business; the same cycle and the same knowledge give the same designs.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from noctuary.canonical import source_id
from noctuary.domain import Axes, Candidate, Cycle, Design, Gap, Insight, Mechanism, Paper
from noctuary.effects import literature_prior
from noctuary.knowledge import Knowledge
from noctuary.search.history import Attempt, History, genome_of
from noctuary.search.novelty import Novelty
from noctuary.search.pipeline import Proposal, Search
from noctuary.space.mechanisms import AXES
from noctuary.space.render import render


class Designs(NamedTuple):
    """What a cycle is to try, and what the search says about it.

    Attributes:
        refused: why ideas were refused -> how many.
        notice: what is done about a plateau, in words; empty while there is progress.
    """

    made: tuple[Design, ...]
    refused: dict[str, int]
    notice: str


def seeded(cycle: Cycle, purpose: str) -> random.Random:
    """Return the generator of one purpose in one cycle."""
    return random.Random(f"{cycle.seed}/{cycle.number}/{purpose}")


def make_designs(
    cycle: Cycle,
    gap: Gap,
    papers: Sequence[Paper],
    insights: Sequence[Insight],
    humans: Sequence[Candidate],
    knowledge: Knowledge,
    search: Search,
    *,
    published: Mapping[str, Axes],
    count: int,
    forbidden: Collection[Mechanism] = (),
) -> Designs:
    """Return up to `count` new designs; at least half of them take up the gap.

    Args:
        insights: what the papers say about mechanisms.
        humans: parents of the first cycle, before anything has a score.
        published: name -> axes of all human mixers, trained here or not: none of them is new.
        forbidden: mechanisms that no design may have; parents may.
    """
    history = knowledge.history()
    if not history.scored:
        history = History([*history.attempts, *map(_unscored, humans)])
    batch = search.propose(
        history,
        count,
        seeded(cycle, "proposals"),
        gap=gap,
        prior=np.mean(
            [literature_prior(insights, task.capability) for task in knowledge.suite.tasks], axis=0
        ),
        novelty=Novelty(history, papers, published),
        forbidden=forbidden,
    )
    return Designs(
        made=tuple(_design(cycle, gap, proposal, knowledge) for proposal in batch.proposals),
        refused=batch.refused,
        notice=batch.plateau.words if batch.plateau else "",
    )


def _design(cycle: Cycle, gap: Gap, proposal: Proposal, knowledge: Knowledge) -> Design:
    source = render(
        proposal.genome,
        name=proposal.name,
        idea=proposal.motivation,
        sources=_sources(proposal),
        gap=gap.question,
    )
    led_by = [finding.finding_id for finding in knowledge.comparisons_of(proposal.parents)]
    return Design(
        design_id=source_id(source),
        name=proposal.name,
        axes=proposal.genome.axes,
        source=source,
        motivation=proposal.motivation,
        move=proposal.move,
        operator=proposal.operator,
        parents=proposal.parents,
        gap_id=gap.gap_id,
        findings=tuple(dict.fromkeys([*gap.findings, *sorted(led_by)])),
        cycle=cycle.number,
    )


def _sources(proposal: Proposal) -> tuple[str, ...]:
    found = [
        paper for axis, value in proposal.genome.axes.items() for paper in AXES[axis][value].papers
    ]
    return tuple(dict.fromkeys(found))


def _unscored(candidate: Candidate) -> Attempt:
    return Attempt(
        candidate_id=candidate.candidate_id,
        name=candidate.name,
        kind="human",
        genome=genome_of(candidate.axes),
        score=None,
    )

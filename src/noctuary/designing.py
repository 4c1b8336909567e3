"""From a gap to designs: parents, proposals, and their rendered files.

Covers the wiring of selection, proposer and renderer. Which genomes come out is the
proposer's business; the same cycle and the same knowledge give the same designs.
"""

import random
from collections.abc import Collection, Mapping, Sequence

from noctuary.canonical import source_id
from noctuary.domain import Axes, Candidate, Cycle, Design, Gap, Mechanism, Paper
from noctuary.gap import Tried
from noctuary.knowledge import Knowledge
from noctuary.proposers import Proposal, Proposer
from noctuary.selection import Scored, choose_parents, is_known
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES
from noctuary.space.render import render


def seeded(cycle: Cycle, purpose: str) -> random.Random:
    """Return the generator of one purpose in one cycle."""
    return random.Random(f"{cycle.seed}/{cycle.number}/{purpose}")


def make_designs(
    cycle: Cycle,
    gap: Gap,
    papers: Sequence[Paper],
    humans: Sequence[Candidate],
    knowledge: Knowledge,
    proposer: Proposer,
    *,
    published: Mapping[str, Axes],
    count: int,
    parents: int,
    forbidden: Collection[Mechanism] = (),
) -> tuple[Design, ...]:
    """Return up to `count` new designs that take up the gap.

    Args:
        humans: parents of the first cycle, before anything has a score.
        published: name -> axes of all human mixers, trained here or not: none of them is new.
        parents: how many of the best so far may become parents.
        forbidden: mechanisms that no design may have; parents may.
    """
    scored = knowledge.scored() or tuple(_unscored(candidate) for candidate in humans)
    tried = _with_humans(knowledge.tried(), published)
    chosen = choose_parents(scored, parents, seeded(cycle, "parents"))

    def known(genome: Genome) -> str | None:
        against = [mechanism for mechanism in genome.mechanisms if mechanism in forbidden]
        if against:
            return f"forbidden by the policy: {', '.join(against)}"
        return is_known(genome, papers, tried)

    proposals = proposer.propose(gap, chosen, known, count, seeded(cycle, "proposals"))
    return tuple(_design(cycle, gap, proposal, knowledge) for proposal in proposals)


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


def _unscored(candidate: Candidate) -> Scored:
    return Scored(
        candidate_id=candidate.candidate_id,
        name=candidate.name,
        kind=candidate.kind,
        axes=candidate.axes,
        score=None,
    )


def _with_humans(tried: tuple[Tried, ...], published: Mapping[str, Axes]) -> tuple[Tried, ...]:
    names = {one.name for one in tried}
    untried = [
        Tried(name=name, kind="human", axes=axes, cycle=0, trials=0)
        for name, axes in published.items()
        if name not in names
    ]
    return (*tried, *untried)

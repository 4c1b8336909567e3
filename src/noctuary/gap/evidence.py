"""What is known of each mechanism and each capability: papers' priors beside our own effects.

Covers the evidence table, with its uncertainty and its coverage, and the insights that stand
behind a cell. Does not say what is worth an experiment (`gap.questions`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np

from noctuary.archive.observations import Measured
from noctuary.domain import Capability, Insight, Mechanism, Paper, Value
from noctuary.effects import Floats, Observations, fit_effects, literature_prior
from noctuary.space.features import COLUMN, MECHANISMS
from noctuary.space.mechanisms import MARK

NAMED = 12
"""Insights that a gap names for each side, the weightiest; after many nights there are hundreds."""
FINDING = "finding:"


class Known(NamedTuple):
    """What a cycle can ask from.

    Attributes:
        insights: of papers and of our own findings.
        measured: task -> what designs scored on it, from `Archive.observations`.
        capabilities: task of the suite -> the capability it measures; no other can be asked about.
    """

    papers: Sequence[Paper]
    insights: Sequence[Insight]
    measured: Mapping[str, Measured]
    capabilities: Mapping[str, Capability]

    def before(self, cycle: int) -> "Known":
        """Return it with the insights that earlier cycles left, in a fixed order.

        What is measured in every cycle again, over the same trials and more, counts once: of our
        own insights about the same mechanisms only the latest is kept.
        """
        heard = [i for i in self.insights if i.cycle is None or i.cycle < cycle]
        latest: dict[tuple[tuple[str, ...], Capability], int] = {}
        for i in heard:
            if i.cycle is not None:
                key = (i.mechanisms, i.capability)
                latest[key] = max(latest.get(key, 0), i.cycle)
        kept = {
            _identity(i): i
            for i in heard
            if i.cycle is None or i.cycle == latest[i.mechanisms, i.capability]
        }
        return self._replace(insights=[kept[key] for key in sorted(kept)])

    def asked_about(self) -> tuple[Capability, ...]:
        """Return the capabilities that the suite measures, each once."""
        return tuple(dict.fromkeys(self.capabilities.values()))

    def scored(self, capability: Capability) -> Measured:
        """Return the mean scores over the tasks of a capability, of designs that have them all."""
        tasks = [
            self.measured[task]
            for task, measures in self.capabilities.items()
            if measures == capability and task in self.measured
        ]
        if not tasks:
            return Measured(np.zeros(0, object), np.zeros(0, np.int64), Observations.none())
        if len(tasks) == 1:
            return tasks[0]
        ids = reduce(np.intersect1d, [one.candidate_ids for one in tasks])
        rows = [np.searchsorted(one.candidate_ids, ids) for one in tasks]
        first, at = tasks[0], rows[0]
        scores = [one.seen.scores[its] for one, its in zip(tasks, rows, strict=True)]
        seen = Observations(first.seen.points[at], np.mean(scores, axis=0), first.seen.weights[at])
        return Measured(ids, first.cycles[at], seen)


class Evidence(Value):
    """What is known of one or two mechanisms and one capability: a cell of the evidence table.

    Effects are differences in score to the mean choice on the mechanisms' axes; that of a pair
    is the sum of both and their interaction.

    Attributes:
        literature: what the papers alone let one expect.
        measured, measured_sd: what our own trials alone say; None where no design has them.
        expected, sd: what both together say.
        insights: of papers, about any of the mechanisms.
        papers, designs: whose design has all of the mechanisms.
    """

    mechanisms: tuple[Mechanism, ...]
    capability: Capability
    literature: float
    measured: float | None
    measured_sd: float | None
    expected: float
    sd: float
    insights: int
    papers: int
    designs: int


def evidence_table(
    known: Known, pairs: Iterable[tuple[Mechanism, Mechanism]] = ()
) -> tuple[Evidence, ...]:
    """Return a cell for each capability and mechanism, and each of the pairs, in that order."""
    wanted: list[tuple[str, ...]] = [*((name,) for name in MECHANISMS), *pairs]
    in_papers, table = papers_with(known.papers), []
    for capability in known.asked_about():
        seen = known.scored(capability).seen
        prior = literature_prior(known.insights, capability)
        alone, both = fit_effects(seen), fit_effects(seen, prior)
        papers = fit_effects(Observations.none(), prior)
        heard = [
            set(i.mechanisms)
            for i in known.insights
            if i.capability == capability and finding_of(i) is None
        ]
        for mechanisms in wanted:
            at = [COLUMN[name] for name in mechanisms]
            designs = int(seen.points[:, at].all(axis=1).sum())
            measured, measured_sd = alone.together(at) if designs else (None, None)
            expected, sd = both.together(at)
            table.append(
                Evidence(
                    mechanisms=mechanisms,
                    capability=capability,
                    literature=papers.together(at)[0],
                    measured=measured,
                    measured_sd=measured_sd,
                    expected=expected,
                    sd=sd,
                    insights=sum(not names.isdisjoint(mechanisms) for names in heard),
                    papers=int(in_papers[at[0], at[-1]]),
                    designs=designs,
                )
            )
    return tuple(table)


@lru_cache(maxsize=4096)
def _identity(insight: Insight) -> str:
    """Return the id of an insight, which is a hash over all of it; papers' come in every cycle."""
    return insight.insight_id


def papers_with(papers: Sequence[Paper]) -> Floats:
    """Return how many papers' designs have both of two mechanisms, (M, M); M mechanisms."""
    has = np.zeros((len(papers), len(MECHANISMS)))
    for row, paper in enumerate(papers):
        chosen = [f"{axis}{MARK}{value}" for axis, value in (paper.axes or {}).items()]
        has[row, [COLUMN[name] for name in (*chosen, *paper.mechanisms) if name in COLUMN]] = 1
    return has.T @ has


def finding_of(insight: Insight) -> str | None:
    """Return the id of our own finding that an insight rests on, or None for a paper's."""
    own = insight.evidence.startswith(FINDING)
    return insight.evidence.removeprefix(FINDING) if own else None


def weightiest(
    insights: Iterable[Insight],
    mechanisms: tuple[str, ...],
    capability: Capability,
    wanted: Callable[[int], bool],
) -> list[Insight]:
    """Return the insights of the wanted direction that say most about the mechanisms."""

    def weight(insight: Insight) -> float:
        named = set(mechanisms) & set(insight.mechanisms)
        return insight.strength * len(named) / len(insight.mechanisms) if named else 0.0

    about = [i for i in insights if i.capability == capability and wanted(i.direction)]
    weighty = [i for i in about if weight(i) > 0]
    return sorted(weighty, key=lambda i: (-weight(i), i.insight_id))[:NAMED]

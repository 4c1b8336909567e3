"""What a cycle may know: the archive as the cycles before it left it.

Every question names the cycle that asks, and what later cycles or a half-finished run of the
same cycle left does not count. So a rerun of a cycle knows exactly what its first run knew.
"""

from collections.abc import Sequence

from noctuary.archive.rows import Row
from noctuary.archive.store import Archive
from noctuary.bench.suite import suite_by_name
from noctuary.config import TrainingSettings
from noctuary.domain import Cycle, Finding, Gap, Insight
from noctuary.gap import Tried
from noctuary.selection import Scored
from noctuary.trials import TRAINER_VERSION


class Knowledge:
    """The archive, seen from the start of one cycle.

    Args:
        settings: which suite and seeds its scores come from.
    """

    def __init__(self, archive: Archive, cycle: Cycle, settings: TrainingSettings) -> None:
        self.archive = archive
        self.before = cycle.number - 1
        self.suite = suite_by_name(settings.suite).version
        self.seeds = list(range(settings.seeds))

    def own_insights(self) -> tuple[Insight, ...]:
        """Return what our own trials taught, in earlier cycles."""
        return tuple(i for i in self.archive.insights(self.before) if i.cycle is not None)

    def earlier_gaps(self) -> tuple[Gap, ...]:
        return tuple(gap for gap in self.archive.gaps() if gap.cycle <= self.before)

    def scored(self) -> tuple[Scored, ...]:
        """Return the candidates with complete scores, best first."""
        return tuple(
            Scored(
                candidate_id=row["candidate_id"],
                name=row["name"],
                kind=row["kind"],
                axes=row["axes"],
                score=row["score"],
            )
            for row in self._scores()
            if row["complete"]
        )

    def tried(self) -> tuple[Tried, ...]:
        """Return every design proposed so far, and the human mixers, with their `ok` trials."""
        count = {row["candidate_id"]: row["n_seeds"] * len(row["tasks"]) for row in self._scores()}
        designs = [
            Tried(
                name=design.name,
                kind="design",
                axes=design.axes,
                cycle=design.cycle,
                trials=count.get(design.design_id, 0),
            )
            for design in self.archive.designs(self.before)
        ]
        humans = [
            Tried(
                name=candidate.name,
                kind="human",
                axes=candidate.axes,
                cycle=0,
                trials=count.get(candidate.candidate_id, 0),
            )
            for candidate in self.archive.candidates()
            if candidate.kind == "human" and candidate.candidate_id in count
        ]
        return tuple(humans + designs)

    def comparisons_of(self, candidate_ids: Sequence[str]) -> tuple[Finding, ...]:
        """Return the findings over all tasks about these candidates."""
        return tuple(
            finding
            for finding in self.archive.findings(self.before)
            if finding.kind == "comparison"
            and finding.task == "all"
            and finding.subject in candidate_ids
        )

    def _scores(self) -> list[Row]:
        if self.before == 0:  # the baselines are trained in the first cycle: nothing has a score
            return []
        return self.archive.query(
            "scores",
            suite=self.suite,
            rung=0,
            trainer=TRAINER_VERSION,
            seeds=self.seeds,
            max_cycle=self.before,
        )

"""What a cycle may know: the archive as the cycles before it left it.

Every question names the cycle that asks, and what later cycles or a half-finished run of the
same cycle left does not count. So a rerun of a cycle knows exactly what its first run knew.
"""

from collections.abc import Collection, Sequence

from noctuary.archive.rows import Row
from noctuary.archive.store import Archive
from noctuary.bench.rungs import promoted
from noctuary.config import TrainingSettings
from noctuary.domain import Cycle, Finding, Gap, Insight
from noctuary.gap import Tried
from noctuary.plan import rung_seeds, suite_of, trainer_of
from noctuary.selection import Scored


class Knowledge:
    """The archive, seen from the start of one cycle.

    Args:
        settings: which suite and seeds its scores come from.
    """

    def __init__(self, archive: Archive, cycle: Cycle, settings: TrainingSettings) -> None:
        self.archive = archive
        self.before = cycle.number - 1
        self.suite = suite_of(settings)
        self.trainer = trainer_of(settings)
        self.seeds = settings.seeds

    def own_insights(self) -> tuple[Insight, ...]:
        """Return what our own trials taught, in earlier cycles."""
        return tuple(i for i in self.archive.insights(self.before) if i.cycle is not None)

    def earlier_gaps(self) -> tuple[Gap, ...]:
        return tuple(gap for gap in self.archive.gaps() if gap.cycle <= self.before)

    def scored(self) -> tuple[Scored, ...]:
        """Return the candidates with complete scores on the first rung, best first."""
        final = {row["candidate_id"]: row["score"] for row in self._scores(self.suite.top)}
        return tuple(
            Scored(
                candidate_id=row["candidate_id"],
                name=row["name"],
                kind=row["kind"],
                axes=row["axes"],
                score=row["score"],
                final=final.get(row["candidate_id"]),
            )
            for row in self._scores(0)
        )

    def promoted(self, contenders: Collection[str], rung: int, keep: float) -> tuple[str, ...]:
        """Return the contenders that go on from a rung, best first.

        They stand beside all designs of earlier cycles; their own scores must be recorded.
        """
        own = self._scores(rung, upto=self.before + 1)
        rows = self._scores(rung) + [row for row in own if row["candidate_id"] in contenders]
        scores = {row["candidate_id"]: row["score"] for row in rows if row["kind"] == "design"}
        return promoted(scores, keep, contenders)

    def tried(self) -> tuple[Tried, ...]:
        """Return every design proposed so far, and the human mixers, with their `ok` trials."""
        count = {row["candidate_id"]: len(row["tasks"]) for row in self._scores(0, complete=False)}
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

    def _scores(self, rung: int, *, upto: int | None = None, complete: bool = True) -> list[Row]:
        cycle = self.before if upto is None else upto
        if cycle == 0:  # the baselines are trained in the first cycle: nothing has a score
            return []
        rows = self.archive.query(
            "scores",
            suite=self.suite.version,
            rung=rung,
            trainer=self.trainer,
            seeds=rung_seeds(self.suite, rung, self.seeds),
            max_cycle=cycle,
        )
        return [row for row in rows if row["complete"] or not complete]

"""What a cycle may know: the archive as the cycles before it left it.

Every question names the cycle that asks, and what later cycles or a half-finished run of the
same cycle left does not count. So a rerun of a cycle knows exactly what its first run knew.
"""

from collections.abc import Collection, Sequence

from noctuary.archive.observations import Measured
from noctuary.archive.rows import Row
from noctuary.archive.store import Archive
from noctuary.bench.rungs import promoted
from noctuary.config import TrainingSettings
from noctuary.domain import Cycle, Finding, Gap, Insight, Paper
from noctuary.gap import Known
from noctuary.plan import rung_seeds, suite_of, trainer_of
from noctuary.search.history import Attempt, History, genome_of


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

    def known(self, papers: Sequence[Paper], insights: Sequence[Insight]) -> Known:
        """Return what a question can be asked from: the literature's, and what was learnt here."""
        return Known(
            papers,
            (*insights, *self.own_insights()),
            self.measured(),
            {task.name: task.capability for task in self.suite.tasks},
        )

    def earlier_gaps(self) -> tuple[Gap, ...]:
        return tuple(gap for gap in self.archive.gaps() if gap.cycle <= self.before)

    def history(self) -> History:
        """Return every design proposed so far, and the human mixers that have a score."""
        if not self.before:  # the baselines are trained in the first cycle: nothing has a score
            return History()
        scores = {row["candidate_id"]: row for row in self._scores(0)}
        finals = {row["candidate_id"]: row["score"] for row in self._scores(self.suite.top)}
        rows = self.archive.query(
            "attempts",
            suite=self.suite.version,
            rung=0,
            trainer=self.trainer,
            max_cycle=self.before,
        )
        return History(
            _attempt(row, scores.get(row["candidate_id"]), finals.get(row["candidate_id"]))
            for row in rows
            if row["kind"] == "design" or row["candidate_id"] in scores
        )

    def promoted(self, contenders: Collection[str], rung: int, keep: float) -> tuple[str, ...]:
        """Return the contenders that go on from a rung, best first.

        They stand beside all designs of earlier cycles; their own scores must be recorded.
        """
        own = self._scores(rung, upto=self.before + 1)
        rows = self._scores(rung) + [row for row in own if row["candidate_id"] in contenders]
        scores = {row["candidate_id"]: row["score"] for row in rows if row["kind"] == "design"}
        return promoted(scores, keep, contenders)

    def measured(self) -> dict[str, Measured]:
        """Return task -> what the designs of earlier cycles, and the human mixers, scored on it."""
        if not self.before:
            return {}
        return self.archive.observations(
            suite=self.suite.version,
            rung=0,
            trainer=self.trainer,
            seeds=rung_seeds(self.suite, 0, self.seeds),
            max_cycle=self.before,
        )

    def comparisons_of(self, candidate_ids: Sequence[str]) -> tuple[Finding, ...]:
        """Return the findings over all tasks about these candidates."""
        return tuple(
            finding
            for finding in self.archive.findings(self.before)
            if finding.kind == "comparison"
            and finding.task == "all"
            and finding.subject in candidate_ids
        )

    def _scores(self, rung: int, *, upto: int | None = None) -> list[Row]:
        cycle = self.before if upto is None else upto
        if cycle == 0:
            return []
        rows = self.archive.query(
            "scores",
            suite=self.suite.version,
            rung=rung,
            trainer=self.trainer,
            seeds=rung_seeds(self.suite, rung, self.seeds),
            max_cycle=cycle,
        )
        return [row for row in rows if row["complete"]]


def _attempt(row: Row, scored: Row | None, final: float | None) -> Attempt:
    return Attempt(
        candidate_id=row["candidate_id"],
        name=row["name"],
        kind=row["kind"],
        genome=genome_of(row["axes"]),
        score=scored["score"] if scored else None,
        final=final,
        tasks=dict(zip(scored["tasks"], scored["scores"], strict=True)) if scored else {},
        parents=tuple(row["parents"] or ()),
        move=row["move"],
        cycle=row["cycle"],
        reason="" if scored else row["reason"],
    )

"""From a finished cycle's records to its summary and its account."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from noctuary.analysis.failures import failures, prone_to_fail
from noctuary.archive.store import Archive
from noctuary.consent import answers_of
from noctuary.domain import Candidate, Finding, Gap
from noctuary.gap import gap_markdown
from noctuary.lab import Lab
from noctuary.night import CycleRun, CycleSummary
from noctuary.plan import suite_of, trainer_of
from noctuary.report.claims import claims_section
from noctuary.report.cycle import cycle_markdown, headline, shown
from noctuary.report.sections import (
    ablations_section,
    effects_section,
    failures_section,
    search_section,
)
from noctuary.trials import Trained


class Account(NamedTuple):
    """A cycle for people: its summary, the leaderboard after it, and the text."""

    summary: CycleSummary
    board: list[dict[str, Any]]
    markdown: str


def summarise(
    archive: Archive,
    run: CycleRun,
    gap: Gap,
    candidates: Sequence[Candidate],
    trained: Sequence[Trained],
    findings: Sequence[Finding],
) -> Account:
    """Return the account of a cycle whose findings are recorded."""
    suite = suite_of(run.settings.training)
    standings = archive.leaderboard(suite.version)
    designs = [candidate for candidate in candidates if candidate.kind == "design"]
    ids = {design.candidate_id for design in designs}
    board = shown([row for row in standings if row["rung"] == suite.top], ids)
    names = {row["name"]: row["candidate_id"] for row in board}
    baseline = next((row["baseline"] for row in board if row["baseline"]), "")
    reached = [one.candidate_id for one in trained if one.rung == suite.top and one.trial_ids]
    statement = headline(findings, designs, reached, names.get(baseline, ""))
    ranked = [row for row in standings if row["candidate_id"] in ids and row["rank"] is not None]
    [record] = archive.records("cycles", cycle_id=run.cycle.cycle_id)
    summary = CycleSummary(
        cycle_id=run.cycle.cycle_id,
        number=run.cycle.number,
        gap_id=gap.gap_id,
        designs=tuple(design.candidate_id for design in designs),
        accepted=len({one.candidate_id for one in trained if one.trial_ids} & ids),
        trials=sum(one.executed for one in trained),
        steps=sum(one.steps for one in trained),
        seconds=_since(record["started"]),
        best_design=ranked[0]["candidate_id"] if ranked else None,
        statement=statement,
    )
    [outcome] = [one for one in archive.gap_outcomes() if one.gap_id == gap.gap_id]
    text = gap_markdown(
        gap,
        {insight.insight_id: insight for insight in archive.insights()},
        {paper.paper_id: paper for paper in archive.papers()},
        outcome,
    )
    trials_of = (run.cycle.number, suite.version, trainer_of(run.settings.training))
    learnt = [
        effects_section(findings),
        ablations_section(findings),
        failures_section(
            failures(archive, *trials_of), prone_to_fail(archive, *trials_of), len(designs)
        ),
        search_section(record["refused"] or {}, record["notice"] or ""),
        claims_section(archive.claims()),
    ]
    rules = [*_rules(run), f"Literature: {record['literature']}."]
    markdown = cycle_markdown(
        run.cycle.number, statement, outcome.statement, board, learnt, rules, text
    )
    return Account(summary, board, markdown)


def _rules(run: CycleRun) -> list[str]:
    """Return under which rules the cycle ran, and what a person said."""
    lines = [f"Policy `{run.policy.policy_id}`."]
    for said in answers_of(Lab(Path(run.lab)), run.cycle.cycle_id):
        word = "approved" if said.approved else "refused"
        note = " ".join(said.note.split()) or "without a note"
        lines.append(f"The {said.question.before} was {word} ({note}).")
    return lines


def _since(moment: datetime.datetime) -> float:
    """Return the seconds since a moment of the archive, which keeps UTC without saying so."""
    return (
        datetime.datetime.now(datetime.UTC) - moment.replace(tzinfo=datetime.UTC)
    ).total_seconds()

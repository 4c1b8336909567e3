"""Stage 6: what the trials say, and what that teaches the next cycle."""

from noctuary.analysis import Board, insights_from
from noctuary.analysis import analyse as analyse_archive
from noctuary.candidates import REFERENCE
from noctuary.domain import Candidate, Finding, Gap
from noctuary.night import CycleRun
from noctuary.plan import rung_seeds, suite_of, trainer_of
from noctuary.trials import Trained
from tasks.stage import stage
from tasks.workbench import archive_of


@stage("analyse", timeout_seconds=600)
def analyse(
    run: CycleRun, gap: Gap, candidates: list[Candidate], trained: list[Trained]
) -> list[Finding]:
    archive = archive_of(run)
    # findings are read from the archive; gap and trained are inputs so that the key holds them
    suite, seeds = suite_of(run.settings.training), run.settings.training.seeds
    trainer = trainer_of(run.settings.training)
    screening, results = (
        Board(suite.version, rung, trainer, rung_seeds(suite, rung, seeds))
        for rung in (0, suite.top)
    )
    findings = analyse_archive(
        archive,
        run.cycle,
        [c.candidate_id for c in candidates if c.kind == "design"],
        screening=screening,
        results=results,
    )
    archive.record_findings(findings)
    archive.record_insights(
        insights_from(
            findings,
            {c.candidate_id: c.axes for c in candidates if c.axes is not None},
            capabilities={task.name: task.capability for task in suite.tasks},
            ignoring=[c.candidate_id for c in candidates if c.name == REFERENCE],
        )
    )
    return list(findings)

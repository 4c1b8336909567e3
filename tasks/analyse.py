"""Stage 6: what the trials say, what became of the gap, and what that teaches the next cycle."""

from noctuary.analysis import Board
from noctuary.analysis import analyse as analyse_archive
from noctuary.analysis.insights import insights_from
from noctuary.archive.attesting import Attested
from noctuary.candidates import REFERENCE
from noctuary.domain import Candidate, Finding, Gap
from noctuary.gap import gap_outcome
from noctuary.night import CycleRun
from noctuary.plan import rung_seeds, suite_of, trainer_of
from noctuary.trials import Trained
from tasks.stage import stage
from tasks.workbench import archive_of


@stage("analyse", timeout_seconds=600)
def analyse(
    run: CycleRun,
    write: Attested,
    gap: Gap,
    candidates: list[Candidate],
    trained: list[Trained],
) -> list[Finding]:
    archive = archive_of(run)
    # findings are read from the archive; trained is an input so that the key holds it
    suite, seeds = suite_of(run.settings.training), run.settings.training.seeds
    trainer = trainer_of(run.settings.training)
    findings = analyse_archive(
        archive,
        run.cycle,
        [c.candidate_id for c in candidates if c.kind == "design"],
        boards=[
            Board(suite.version, rung, trainer, rung_seeds(suite, rung, seeds))
            for rung in range(len(suite.rungs))
        ],
        question=gap.mechanisms,
    )
    write.record_findings(findings)
    capabilities = {task.name: task.capability for task in suite.tasks}
    ignoring = [c.candidate_id for c in candidates if c.name == REFERENCE]
    compared = {name for f in findings for name in (f.subject, f.baseline)}
    axes = archive.axes(compared)
    write.record_insights(
        insights_from(
            findings, axes, suite=suite.version, capabilities=capabilities, ignoring=ignoring
        )
    )
    write.record_gap_outcome(
        gap_outcome(
            gap,
            findings,
            {c.candidate_id: c.axes for c in candidates if c.kind == "design" and c.axes},
            capabilities=capabilities,
            ignoring=ignoring,
        )
    )
    return list(findings)

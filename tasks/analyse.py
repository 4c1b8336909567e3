"""Stage 6: what the trials say, and what that teaches the next cycle."""

from noctuary.analysis import analyse as analyse_archive
from noctuary.analysis import insights_from
from noctuary.bench.suite import suite_by_name
from noctuary.candidates import REFERENCE
from noctuary.domain import Candidate, Finding, Gap
from noctuary.night import CycleRun
from noctuary.trials import TRAINER_VERSION, Trained
from tasks.stage import stage
from tasks.workbench import archive_of


@stage("analyse", timeout_seconds=600)
def analyse(
    run: CycleRun, gap: Gap, candidates: list[Candidate], trained: list[Trained]
) -> list[Finding]:
    archive = archive_of(run)
    # findings are read from the archive; gap and trained are inputs so that the key holds them
    findings = analyse_archive(
        archive,
        run.cycle,
        suite_by_name(run.settings.training.suite).version,
        [c.candidate_id for c in candidates if c.kind == "design"],
        trainer=TRAINER_VERSION,
        seeds=range(run.settings.training.seeds),
    )
    archive.record_findings(findings)
    archive.record_insights(
        insights_from(
            findings,
            {c.candidate_id: c.axes for c in candidates if c.axes is not None},
            ignoring=[c.candidate_id for c in candidates if c.name == REFERENCE],
        )
    )
    return list(findings)

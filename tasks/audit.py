"""Stage 4: audit one candidate before a second of training is spent on it."""

from noctuary.bench.suite import suite_by_name
from noctuary.domain import Audit, Candidate
from noctuary.night import CycleRun
from tasks.stage import stage
from tasks.workbench import archive_of, workshop_of


@stage("audit", timeout_seconds=600, label="audit {candidate.name}")
def audit(run: CycleRun, candidate: Candidate) -> Audit:
    suite = suite_by_name(run.settings.training.suite)
    verdict = workshop_of(run).audit(candidate, suite.version, run.cycle.seed)
    archive_of(run).record_audits([verdict], run.cycle.number)
    return verdict

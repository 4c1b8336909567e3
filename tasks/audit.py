"""Stage 4: audit one candidate before a second of training is spent on it."""

from noctuary.archive.attesting import Attested
from noctuary.domain import Audit, Candidate
from noctuary.night import CycleRun
from noctuary.plan import suite_of
from tasks.stage import stage
from tasks.workbench import workshop_of


@stage("audit", timeout_seconds=600, label="audit {candidate.name}")
def audit(run: CycleRun, write: Attested, candidate: Candidate) -> Audit:
    suite = suite_of(run.settings.training)
    verdict = workshop_of(run).audit(candidate, suite.version, run.cycle.seed)
    write.record_audits([verdict], run.cycle.number)
    return verdict

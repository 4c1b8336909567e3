"""The audit of one candidate: read here, then tried out in a sandboxed process."""

from pathlib import Path

from noctuary.audit.static import static_checks
from noctuary.config import TrainingSettings
from noctuary.domain import Audit, Candidate, Check
from noctuary.jobs import JobRunner, explain
from noctuary.policy import Policy
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.outcome import AuditOutcome

AUDIT_SECONDS = 60.0


def audit_candidate(
    jobs: JobRunner,
    candidate: Candidate,
    suite: str,
    settings: TrainingSettings,
    policy: Policy,
    seed: int,
) -> Audit:
    """Return the verdict on a candidate; the dynamic half is left out where the first rejects."""
    source = Path(candidate.path).read_text(encoding="utf-8")
    checks = static_checks(source)
    if not all(check.passed for check in checks):
        return Audit(candidate_id=candidate.candidate_id, suite=suite, checks=checks)
    request = {"mixer": candidate.path, "suite": settings.suite, "seed": seed}
    limits = Limits(wall_seconds=AUDIT_SECONDS, memory_mb=settings.memory_mb)
    with jobs.work_folder(f"audit-{candidate.candidate_id}") as folder:
        end, outcome = jobs.run("audit", request, folder, limits, AuditOutcome)
    if outcome is None or outcome.status != "ok":
        status, reason = explain(end, outcome, limits)
        checks += (Check(name="runs", passed=False, detail=f"{status}: {reason}"),)
        return Audit(candidate_id=candidate.candidate_id, suite=suite, checks=checks)
    return Audit(
        candidate_id=candidate.candidate_id,
        suite=suite,
        checks=checks + outcome.checks,
        ffn_width=outcome.ffn_width,
        parameters=outcome.parameters,
    )

"""The audit of one candidate: read here, then tried out in a sandboxed process."""

from pathlib import Path

from noctuary.archive.rows import REFERENCES
from noctuary.audit.static import static_checks
from noctuary.candidates import read_source
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
    *,
    class_name: str = "Mixer",
    d_model: int | None = None,
    n_heads: int | None = None,
) -> Audit:
    """Return the verdict on a candidate; the dynamic half is left out where the first rejects.

    Args:
        class_name: the mixer's class; another name for foreign modules.
        d_model, n_heads: width and heads to try it at; None for those of the suite.

    Raises:
        UsageError: the candidate's file cannot be read.
        SandboxRefused: a layer that the policy demands is missing.
    """
    source = read_source(Path(candidate.path))
    checks = static_checks(source, frozenset(policy.code.imports), class_name)
    if not all(check.passed for check in checks):
        return Audit(candidate_id=candidate.candidate_id, suite=suite, checks=checks)
    reference = candidate.kind == "human" and candidate.name in REFERENCES
    request = {
        "mixer": candidate.path,
        "suite": settings.suite,
        "seed": seed,
        "class_name": class_name,
        "d_model": d_model,
        "n_heads": n_heads,
        "quadratic": policy.code.quadratic or reference,
        "max_parameters": policy.budget.parameters,
    }
    limits = Limits(wall_seconds=AUDIT_SECONDS, memory_mb=settings.memory_mb)
    with jobs.launcher.slot(), jobs.work_folder(f"audit-{candidate.candidate_id}") as folder:
        end, outcome = jobs.run(
            "audit", request, folder, limits, AuditOutcome, readable=[candidate.path]
        )
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

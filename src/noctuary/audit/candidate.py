"""The dynamic half of an audit as a job: load the mixer, try it, and solve for its width.

Runs in a sandboxed process. The static half runs outside, before this one is started.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from noctuary.audit.dynamic import dynamic_checks
from noctuary.bench.suite import suite_by_name
from noctuary.domain import Check
from noctuary.training.model import SizeMismatch, load_mixer, solve_ffn_width


class AuditRequest(BaseModel):
    """What the worker needs to audit one mixer file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixer: Path
    suite: str
    seed: int


def audit_mixer(request: AuditRequest) -> dict[str, Any]:
    """Return the checks, and the feed-forward width that meets the parameter budget."""
    shape = suite_by_name(request.suite).shape
    mixer_class = load_mixer(request.mixer)
    checks = list(
        dynamic_checks(mixer_class, d_model=shape.d_model, n_heads=shape.n_heads, seed=request.seed)
    )
    if not all(check.passed for check in checks if check.name == "builds"):
        return _outcome(checks, None, None)
    width = parameters = None
    try:
        width, parameters = solve_ffn_width(mixer_class, shape)
        deviation = abs(parameters / shape.parameter_budget - 1)
        detail = f"{parameters} parameters at feed-forward width {width}"
        passed = True
    except SizeMismatch as error:
        deviation, detail, passed = float("inf"), str(error), False
    checks.append(
        Check(
            name="parameters",
            passed=passed,
            measured=deviation if passed else None,
            limit=shape.tolerance,
            detail=detail,
        )
    )
    return _outcome(checks, width, parameters)


def _outcome(checks: list[Check], width: int | None, parameters: int | None) -> dict[str, Any]:
    return {
        "status": "ok",
        "checks": [check.model_dump() for check in checks],
        "ffn_width": width,
        "parameters": parameters,
    }

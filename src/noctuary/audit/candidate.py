"""The dynamic half of an audit as a job: load the mixer, try it, and solve for its width.

Runs in a sandboxed process. The static half runs outside, before this one is started.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from noctuary.audit.dynamic import dynamic_checks
from noctuary.audit.settings import Settings
from noctuary.bench.suite import ModelShape, suite_by_name
from noctuary.domain import Check
from noctuary.training.arguments import takes_layer
from noctuary.training.model import SizeMismatch, load_mixer, solve_ffn_width


class AuditRequest(BaseModel):
    """What the worker needs to audit one mixer file.

    Attributes:
        class_name: the mixer's class; another name for foreign modules.
        d_model: width to try it at; None for that of the suite. The suite's parameter budget
            says nothing about another width, and is then left out.
        n_heads: None for that of the suite.
        quadratic: whether its cost may grow with the square of the length.
        max_parameters: what the policy allows a model without embedding and head, if anything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixer: Path
    suite: str
    seed: int
    class_name: str = "Mixer"
    d_model: int | None = None
    n_heads: int | None = None
    quadratic: bool = False
    max_parameters: int | None = None


def audit_mixer(request: AuditRequest) -> dict[str, Any]:
    """Return the checks, and the feed-forward width that meets the parameter budget."""
    suites = suite_by_name(request.suite).shape
    shape = replace(
        suites,
        d_model=request.d_model or suites.d_model,
        n_heads=request.n_heads or suites.n_heads,
    )
    before = Settings.now()  # before the file's code runs
    mixer_class = load_mixer(request.mixer, request.class_name)
    layers = range(shape.n_layers) if takes_layer(mixer_class) else range(1)
    checks = worst_of(
        [
            dynamic_checks(
                mixer_class,
                d_model=shape.d_model,
                n_heads=shape.n_heads,
                seed=request.seed,
                layer_idx=layer_idx,
                quadratic=request.quadratic,
                before=before,
            )
            for layer_idx in layers
        ]
    )
    if not checks[0].passed or shape.d_model != suites.d_model:
        return _outcome(checks, None, None)
    sizes, width, parameters = _sizes(mixer_class, shape, request.max_parameters)
    return _outcome(checks + sizes, width, parameters)


def worst_of(layers: Sequence[tuple[Check, ...]]) -> tuple[Check, ...]:
    """Return each check from the layer that fares worst; what fails says in which layer it does."""
    if len(layers) == 1:
        return layers[0]
    worst: dict[str, Check] = {}
    for layer, checks in enumerate(layers):
        for check in checks:
            known = worst.get(check.name)
            if known is None or (known.passed and _rank(check) > _rank(known)):
                said = check.detail if check.passed else f"in layer {layer}: {check.detail}"
                worst[check.name] = check.model_copy(update={"detail": said})
    return tuple(worst.values())


def _rank(check: Check) -> tuple[bool, float]:
    return not check.passed, check.measured or 0.0


def _sizes(
    mixer_class: type[nn.Module], shape: ModelShape, most: int | None
) -> tuple[tuple[Check, ...], int | None, int | None]:
    """Hold the model's size against the suite's budget, and against the policy's."""
    try:
        width, parameters = solve_ffn_width(mixer_class, shape)
    except SizeMismatch as error:
        check = Check(name="parameters", passed=False, limit=shape.tolerance, detail=str(error))
        return (check,), None, None
    detail = f"{parameters} parameters at feed-forward width {width}"
    deviation = abs(parameters / shape.parameter_budget - 1)
    check = Check(
        name="parameters", passed=True, measured=deviation, limit=shape.tolerance, detail=detail
    )
    if most is None:
        return (check,), width, parameters
    within = parameters <= most
    allowed = Check(
        name="parameters_allowed",
        passed=within,
        measured=parameters,
        limit=most,
        detail=""
        if within
        else f"{detail}; the policy allows {most}: choose a smaller suite, or "
        "raise budget.parameters in policy.toml",
    )
    return (check, allowed), width, parameters


def _outcome(
    checks: tuple[Check, ...], width: int | None, parameters: int | None
) -> dict[str, Any]:
    return {
        "status": "ok",
        "checks": [check.model_dump() for check in checks],
        "ffn_width": width,
        "parameters": parameters,
    }

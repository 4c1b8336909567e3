"""Runs an untrained mixer on random tokens: is it causal, sound, and what it says it is?

Covers shapes, finite outputs and gradients, causality (by changing the future and by cutting it
off), independence of the rows of a batch, determinism, and `step` against `forward`, each with
parameters as initialised and with parameters moved away from it, so that a leak behind a gate
that starts at zero is seen. Does not cover leaks that wait for rare tokens or for training (the
evaluation compares prefixes on the data it scores), the cost in T, or the number of parameters.
Runs the candidate's code: call it inside the sandbox.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noctuary.domain import Check
from noctuary.training.model import build_mixer

LENGTHS = (1, 7, 33, 64, 100)
LONG = 512
CUTS = (1, 16, 31, 32, 63, 64, 99)
TOLERANCE = 1e-4
"""Largest change, relative to outputs of size one or larger, that passes for rounding."""
STEP_TOLERANCE = 1e-3
BATCH = 3


class Subject(NamedTuple):
    """A mixer in a known state, and what to call that state."""

    module: nn.Module
    state: str
    seed: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output alone, with the same random numbers at each call."""
        return self.with_aux(x)[0]

    def with_aux(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output and the auxiliary loss, where there is one."""
        torch.manual_seed(self.seed)
        out = self.module(x)
        if not isinstance(out, tuple | list):
            return _tensor(out), None
        aux = out[1] if len(out) > 1 else None
        is_loss = isinstance(aux, Tensor) and aux.numel() == 1 and aux.is_floating_point()
        return _tensor(out[0] if out else None), aux if is_loss else None


def dynamic_checks(
    mixer_class: type[nn.Module], *, d_model: int, n_heads: int, seed: int
) -> tuple[Check, ...]:
    """Return the checks of a mixer; what it raises becomes a failed check.

    Where the mixer cannot be built, or gives the wrong shape, the later checks mean nothing and
    are left out.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        subjects: list[Subject] = []

        def build() -> tuple[float, str]:
            for state in ("as initialised", "with randomised parameters"):
                module = build_mixer(mixer_class, d_model, n_heads)
                if state != "as initialised":
                    _randomise(module)
                subjects.append(Subject(module.eval(), state, seed))
            return 0, ""

        def x(T: int, batch: int = BATCH) -> Tensor:
            return torch.randn(batch, T, d_model)

        checks = [_check("builds", 0, build)]
        if checks[-1].passed:
            checks.append(_check("shapes", 0, lambda: _shapes(subjects, [x(T) for T in LENGTHS])))
        if not checks[-1].passed:
            return tuple(checks)
        T = max(LENGTHS)
        future = [x(T), x(T)]
        measures: dict[str, tuple[float, Callable[[], tuple[float, str]]]] = {
            "finite": (0, lambda: _finite(subjects, [x(T), x(LONG, 1)])),
            "gradients": (0, lambda: _gradients(subjects, [x(T), x(LONG, 1)])),
            "causal_change": (TOLERANCE, lambda: _future_changed(subjects, *future)),
            "causal_cut": (TOLERANCE, lambda: _future_cut(subjects, future[0])),
            "batch": (TOLERANCE, lambda: _batch(subjects, *future)),
            "determinism": (TOLERANCE, lambda: _determinism(subjects, *future)),
            "step": (STEP_TOLERANCE, lambda: _step(subjects, x(37))),
        }
        checks += [_check(name, limit, measure) for name, (limit, measure) in measures.items()]
        return tuple(checks)


def _check(name: str, limit: float, measure: Callable[[], tuple[float, str]]) -> Check:
    """Hold a measurement against its limit; an exception of the candidate fails the check."""
    try:
        measured, detail = measure()
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Check(name=name, passed=False, limit=limit, detail=text)
    return Check(
        name=name,
        passed=measured <= limit,  # False for NaN
        measured=measured if math.isfinite(measured) else None,
        limit=limit,
        detail=detail,
    )


def _shapes(subjects: list[Subject], inputs: list[Tensor]) -> tuple[float, str]:
    wrong = []
    for x in inputs:
        y = subjects[0](x)
        if y.shape != x.shape:
            wrong.append(f"T={x.shape[1]} gives {tuple(y.shape)}, expected {tuple(x.shape)}")
        elif y.dtype != x.dtype:
            wrong.append(f"T={x.shape[1]} gives {y.dtype}, expected {x.dtype}")
    return len(wrong), "; ".join(wrong)


@torch.no_grad()
def _finite(subjects: list[Subject], inputs: list[Tensor]) -> tuple[float, str]:
    bad = [
        f"{count} values at T={x.shape[1]} {subject.state}"
        for subject in subjects
        for x in inputs
        if (count := _not_finite([subject(x)]))
    ]
    return len(bad), "NaN or infinite: " + "; ".join(bad) if bad else ""


def _gradients(subjects: list[Subject], inputs: list[Tensor]) -> tuple[float, str]:
    """Count non-finite gradients; parameters that no gradient reaches are named, not failed."""
    bad, reached = 0, set[str]()
    parameters: dict[str, nn.Parameter] = {}
    for subject in subjects:
        parameters = {n: p for n, p in subject.module.named_parameters() if p.requires_grad}
        for x in inputs:
            y, aux = subject.with_aux(x.requires_grad_())
            loss = (y * torch.randn_like(y)).sum() + (0 if aux is None else aux)
            wanted = [x, *parameters.values()]
            grads = torch.autograd.grad(loss, wanted, allow_unused=True)
            bad += _not_finite(g for g in grads if g is not None)
            named = zip(parameters, grads[1:], strict=True)
            reached |= {name for name, grad in named if grad is not None and bool(grad.any())}
    unreached = [name for name in parameters if name not in reached]
    details = [f"{bad} NaN or infinite gradients"] if bad else []
    details += [f"no gradient reaches {', '.join(unreached)}"] if unreached else []
    return bad, "; ".join(details)


@torch.no_grad()
def _future_changed(subjects: list[Subject], x: Tensor, other: Tensor) -> tuple[float, str]:
    """Replace everything from a position on: what comes before it must not notice."""
    worst = (0.0, "")
    for subject in subjects:
        for mode in (False, True):
            subject.module.train(mode)
            y = subject(x)
            for cut in CUTS:
                changed = torch.cat((x[:, :cut], 3 * other[:, cut:]), 1)
                delta = _difference(subject(changed)[:, :cut], y[:, :cut])
                said = f"positions before {cut} see what follows, {subject.state}"
                worst = _worse(worst, (delta, said + (" in training" if mode else "")))
        subject.module.eval()
    return _explained(worst, TOLERANCE)


@torch.no_grad()
def _future_cut(subjects: list[Subject], x: Tensor) -> tuple[float, str]:
    """Cut the sequence off at a position: what comes before it must not notice."""
    worst = (0.0, "")
    for subject in subjects:
        y = subject(x)
        for cut in CUTS:
            delta = _difference(subject(x[:, :cut]), y[:, :cut])
            said = f"positions before {cut} depend on the length, {subject.state}"
            worst = _worse(worst, (delta, said))
    return _explained(worst, TOLERANCE)


@torch.no_grad()
def _batch(subjects: list[Subject], x: Tensor, other: Tensor) -> tuple[float, str]:
    """Change all rows but the first, and take the first alone: it must not notice."""
    worst = (0.0, "")
    for subject in subjects:
        for mode in (False, True):
            subject.module.train(mode)
            alone = subject(x)[:1]
            changed = subject(torch.cat((x[:1], 3 * other[1:])))[:1]
            said = f"a row depends on the other rows, {subject.state}"
            delta = _difference(changed, alone)
            worst = _worse(worst, (delta, said + (" in training" if mode else "")))
        subject.module.eval()
        delta = _difference(subject(x[:1]), subject(x)[:1])
        worst = _worse(worst, (delta, f"a row depends on the batch size, {subject.state}"))
    return _explained(worst, TOLERANCE)


@torch.no_grad()
def _determinism(subjects: list[Subject], x: Tensor, other: Tensor) -> tuple[float, str]:
    """Call it again after another input, with other random numbers: the same must come out."""
    worst = (0.0, "")
    for subject in subjects:
        given = x.clone()
        first = subject(given)
        worst = _worse(worst, (_difference(given, x), f"it changes its input, {subject.state}"))
        subject(other.clone())
        again = subject._replace(seed=subject.seed + 1)(x.clone())
        said = f"a second call gives something else, {subject.state}"
        worst = _worse(worst, (_difference(again, first), said))
    return _explained(worst, TOLERANCE)


@torch.no_grad()
def _step(subjects: list[Subject], x: Tensor) -> tuple[float, str]:
    """Go through the tokens one by one with `step`, where there is one: `forward` must agree."""
    worst = (0.0, "")
    for subject in subjects:
        step: Any = getattr(subject.module, "step", None)
        if step is None:
            return 0, "the mixer has no step"
        state, outputs = None, []
        for x_t in x.unbind(1):
            y_t, state = step(x_t, state)
            outputs.append(y_t)
        delta = _difference(torch.stack(outputs, 1), subject(x))
        worst = _worse(worst, (delta, f"step and forward differ, {subject.state}"))
    return _explained(worst, STEP_TOLERANCE)


def _randomise(module: nn.Module) -> None:
    """Move each parameter by about its usual size, so that nothing is still at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 0.3 if parameter.ndim < 2 else 0.5 / math.sqrt(parameter.shape[-1])
            parameter.add_(torch.randn_like(parameter), alpha=scale)


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"forward returned {type(value).__name__}, expected a tensor")
    return value


def _not_finite(tensors: Iterable[Tensor]) -> int:
    return sum(int((~torch.isfinite(t)).sum()) for t in tensors)


def _difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference, relative to values of size one or larger; inf for NaN."""
    if a.shape != b.shape:
        raise ValueError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} differ")
    delta = float((a - b).abs().max() / b.abs().max().clamp(min=1))
    return delta if math.isfinite(delta) else math.inf


def _worse(a: tuple[float, str], b: tuple[float, str]) -> tuple[float, str]:
    return b if b[0] > a[0] else a


def _explained(worst: tuple[float, str], limit: float) -> tuple[float, str]:
    """Keep the explanation of a difference only where it is one."""
    delta, said = worst
    return delta, f"{said} (by {delta:.2g}, limit {limit:g})" if delta > limit else ""

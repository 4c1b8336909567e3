"""Runs an untrained mixer on made-up tokens: is it causal, sound, cheap, and what it says it is?

This is the list of checks; each is measured in a module of its own. Covers shapes, numbers and
gradients (`soundness`), the future and the neighbours in a batch (`causality`), the cost in T
(`growth`), and `step` (`stepping`), with parameters as initialised, moved and drawn anew. Does
not cover what waits for training or for rare data (the evaluation compares prefixes on the data
it scores), or the number of parameters (`candidate`). Code that attacks the process which runs it
can make these checks say anything: they find mistakes and temptations, `sandbox` holds the rest.
Runs the candidate's code: call it inside the sandbox.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from noctuary.audit import causality, growth, soundness, stepping
from noctuary.audit.inputs import Inputs
from noctuary.audit.settings import Settings
from noctuary.audit.subject import TOLERANCE, Measured, Subject, build_subjects, check
from noctuary.domain import Check
from noctuary.training.model import build_mixer


def dynamic_checks(
    mixer_class: type[nn.Module],
    *,
    d_model: int,
    n_heads: int,
    seed: int,
    layer_idx: int = 0,
    quadratic: bool = False,
    before: Settings | None = None,
) -> tuple[Check, ...]:
    """Return the checks of a mixer; what it raises becomes a failed check.

    Where the mixer cannot be built, or gives the wrong shape, the later checks mean nothing and
    are left out.

    Args:
        layer_idx: the layer whose mixer it is; classes that ask for it are told.
        quadratic: whether its cost may grow with the square of the length.
        before: how the process was before the mixer's file was loaded.
    """
    before = before or Settings.now()
    build = partial(build_mixer, mixer_class, d_model, n_heads, layer_idx)
    with torch.random.fork_rng(devices=[]):
        try:
            return _checks(build, Inputs(d_model, seed), seed, quadratic, before)
        finally:
            before.restore()


def _checks(
    build: Callable[[], nn.Module], inputs: Inputs, seed: int, quadratic: bool, before: Settings
) -> tuple[Check, ...]:
    subjects: list[Subject] = []
    first: list[soundness.FirstCalls] = []

    def builds() -> Measured:
        subjects.extend(build_subjects(build, seed))
        return 0, ""

    def shapes() -> Measured:
        measured = soundness.shapes(subjects[0], inputs)
        first.append(soundness.FirstCalls.of(subjects, inputs))
        return measured

    checks = [check("builds", 0, builds)]
    if checks[-1].passed:
        checks.append(check("shapes", 0, shapes))
    if not checks[-1].passed:
        return tuple(checks)
    measures: dict[str, tuple[float, Callable[[], Measured]]] = {
        "finite": (0, lambda: soundness.finite(subjects, inputs)),
        "gradients": (0, lambda: soundness.gradients(subjects, inputs)),
        "reached": (0, lambda: soundness.reached(subjects, inputs)),
        "causal_change": (TOLERANCE, lambda: causality.future_changed(subjects, inputs)),
        "causal_cut": (TOLERANCE, lambda: causality.future_cut(subjects, inputs)),
        "batch": (TOLERANCE, lambda: causality.other_rows(subjects, inputs)),
        "determinism": (
            TOLERANCE,
            lambda: soundness.determinism(subjects, first[0], build, inputs),
        ),
        "step": (stepping.TOLERANCE, lambda: stepping.step_and_forward(subjects, inputs)),
    }
    if stepping.has_step(subjects[0].module):
        limit = stepping.GROWING if quadratic else stepping.STEADY
        measures["step_growth"] = (limit, lambda: stepping.step_growth(subjects[1], inputs))
    checks += [check(name, limit, measure) for name, (limit, measure) in measures.items()]
    checks += _growth_checks(subjects[1], inputs, quadratic)
    # the last one, so that it sees what any call before it has left behind
    checks.append(
        check("side_effects", 0, lambda: soundness.side_effects(subjects, inputs, before))
    )
    return tuple(checks)


def _growth_checks(subject: Subject, inputs: Inputs, quadratic: bool) -> list[Check]:
    """Return a check for each quantity; a single one where they could not be counted."""
    found: list[growth.Costs] = []

    def count() -> Measured:
        found.append(growth.costs(subject, inputs))
        return 0, ""

    counted = check("growth", 0, count)
    if not found:
        return [counted]
    limit = growth.QUADRATIC if quadratic else growth.SUBQUADRATIC
    return [check(name, limit, partial(found[0].told, name, limit)) for name in growth.QUANTITIES]

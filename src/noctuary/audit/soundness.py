"""Is it a function of tokens, with the right shapes, finite numbers and gradients, and no more?

Covers the outputs and gradients over sizes of input from 0.001 to 1000, whether every parameter
is reached by a gradient, whether the same comes out twice, and what a call leaves behind. Does
not cover what it computes (`causality`) or at what cost (`growth`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from noctuary.audit.inputs import LOUD, Inputs
from noctuary.audit.settings import Settings
from noctuary.audit.subject import TOLERANCE, Measured, Subject, Worst, difference
from noctuary.training.model import count_parameters

LENGTHS = (1, 2, 7, 33, 64, 100, 513)
BATCH = 3


def shapes(subject: Subject, inputs: Inputs) -> Measured:
    wrong = []
    with torch.no_grad():
        for x in [inputs("noise", BATCH, T) for T in LENGTHS] + [inputs("noise", 1, 65)]:
            y = subject(x)
            if y.shape != x.shape:
                wrong.append(f"T={x.shape[1]} gives {tuple(y.shape)}, expected {tuple(x.shape)}")
            elif y.dtype != x.dtype:
                wrong.append(f"T={x.shape[1]} gives {y.dtype}, expected {x.dtype}")
    return len(wrong), "; ".join(wrong)


def over_scales(inputs: Inputs, length: int) -> dict[str, Tensor]:
    """Return inputs (T, D) by their names; they make one batch."""
    noise = inputs("noise", 6, length)
    x = {
        "size 0.001": 1e-3 * noise[0],
        "size 1": noise[1],
        f"size {LOUD:g}": LOUD * noise[2],
        "size 1000": 1e3 * noise[3],
        "sizes from 0.001 to 1000": noise[4] * torch.logspace(-3, 3, length)[:, None],
        "zeros": torch.zeros_like(noise[5]),
        "ones": torch.ones_like(noise[5]),
    }
    kinds = ("steady", "alternating", "pairs", "outliers", "blanks")
    return x | {kind: inputs(kind, 1, length)[0] for kind in kinds}


@torch.no_grad()
def finite(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Count the kinds of input that give NaN or infinity."""
    bad = []
    for length in (100, 513):
        x = over_scales(inputs, length)
        for subject in subjects:
            lost = ~torch.isfinite(subject(torch.stack(list(x.values()))))  # (kinds, T, D)
            bad += [
                f"{int(count)} values at {name}, T={length}, {subject.state}"
                for name, count in zip(x, lost.sum((1, 2)), strict=True)
                if count
            ]
    return len(bad), "NaN or infinite: " + "; ".join(bad[:5]) if bad else ""


def gradients(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Count the kinds of input and the parameters that get NaN or infinity for a gradient."""
    bad = []
    x = over_scales(inputs, 100)
    for subject in subjects:
        of_input, of_parameters = _grads(subject, torch.stack(list(x.values())), inputs)
        named = dict(zip(x, of_input, strict=True)) if of_input is not None else {}
        for name, grad in (named | of_parameters).items():
            lost = int((~torch.isfinite(grad)).sum())
            bad += [f"{lost} at {name}, {subject.state}"] if lost else []
    return len(bad), "NaN or infinite gradients: " + "; ".join(bad[:5]) if bad else ""


def reached(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Count the parameters that no gradient reaches, in any state of them, and are not frozen."""
    names = [name for name, p in subjects[0].module.named_parameters() if p.requires_grad]
    seen = set[str]()
    for length in (100, 513):  # a long one only where a short one leaves some out
        for subject in subjects if len(seen) < len(names) else ():
            _, grads = _grads(subject, inputs("noise", 2, length), inputs)
            seen |= {name for name, grad in grads.items() if bool((grad != 0).any())}
    lost = [name for name in names if name not in seen]
    said = f"no gradient reaches {', '.join(lost)}; use or remove them, or freeze them"
    return len(lost), said if lost else ""


def _grads(subject: Subject, x: Tensor, inputs: Inputs) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Return the gradients of x and, by name, of the parameters that have any."""
    parameters = {n: p for n, p in subject.module.named_parameters() if p.requires_grad}
    with subject.trained(True):
        y, aux = subject.with_aux(x.requires_grad_())
        loss = (y * inputs("noise", *y.shape[:2])).sum() + (0 if aux is None else aux)
        of_x, *rest = torch.autograd.grad(loss, [x, *parameters.values()], allow_unused=True)
    named = zip(parameters, rest, strict=True)
    return of_x, {name: grad for name, grad in named if grad is not None}


class FirstCalls(NamedTuple):
    """What each state of a mixer gave at the beginning, to be asked for again at the end."""

    x: Tensor
    outputs: list[Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, subjects: list[Subject], inputs: Inputs) -> "FirstCalls":
        x = inputs("noise", BATCH, 100)
        return cls(x, [subject(x.clone()) for subject in subjects])


def determinism(
    subjects: list[Subject],
    first_calls: FirstCalls,
    build: Callable[[], nn.Module],
    inputs: Inputs,
) -> Measured:
    """Call it again after other inputs, with other random numbers; build it again."""
    worst = Worst(TOLERANCE)
    for subject, first in zip(subjects, first_calls.outputs, strict=True):
        with subject.trained(False) as state:
            said = f"it gives something else than at the beginning, {state}"
            worst.see(difference(subject(first_calls.x.clone()), first), said)
    for kind in ("noise", "blanks"):
        x, other = inputs(kind, BATCH, 100), inputs("noise", BATCH + 1, 70)
        for subject in subjects:
            with subject.trained(False) as state:
                first = subject(x.clone())
                subject(other)
                again = subject(x.clone(), subject.seed + 1)
                worst.see(difference(again, first), f"a second call gives something else, {state}")
                reused = other[:BATCH].repeat(1, 2, 1)[:, :100].clone()
                subject(reused)
                reused.copy_(x)  # the same tensor as in the call before, with other numbers
                delta = difference(subject(reused), first)
                worst.see(delta, f"it goes by the tensor and not by its numbers, {state}")
            with subject.trained(True) as state:
                first = subject(x.clone())
                subject(other)
                said = f"the same random numbers give something else, {state}"
                worst.see(difference(subject(x.clone()), first), said)
    built = []
    for _ in range(2):
        torch.default_generator.manual_seed(subjects[0].seed)
        module = build().eval()
        with torch.no_grad():
            built.append(subjects[0]._replace(module=module)(x))
    worst.see(difference(*built), "another mixer of the same seed gives something else")
    return worst.told()


def side_effects(subjects: list[Subject], inputs: Inputs, before: Settings) -> Measured:
    """Count what a call changes beside its output, in evaluation mode."""
    found = []
    for subject in subjects:
        x = inputs("noise", BATCH, 100)
        given, parameters = x.clone(), count_parameters(subject.module)
        held = {name: t.clone() for name, t in subject.module.state_dict().items()}
        torch.default_generator.manual_seed(subject.seed)
        state = torch.get_rng_state()
        subject.module(given)
        drawn = not torch.equal(torch.get_rng_state(), state)
        found += [f"it leaves changed: {one}" for one in before.changes()]
        before.restore()
        now = subject.module.state_dict()
        moved = [name for name, t in held.items() if name not in now or not _same(now[name], t)]
        found += ["it changes its input"] if not torch.equal(given, x) else []
        found += ["it draws random numbers in evaluation"] if drawn else []
        found += [f"it changes {', '.join(moved)} in evaluation"] if moved else []
        more = count_parameters(subject.module) - parameters
        found += [f"it has {more} parameters more than before"] if more else []
    found = list(dict.fromkeys(found))
    return len(found), "; ".join(found[:8])


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)

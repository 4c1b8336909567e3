"""Does `step`, token by token, give what `forward` gives, from a state that does not grow?

Covers two sequences in turn, of different batches, so that a state cannot live in the module; and
what a state and a step hold and touch early and late. Does not cover a window longer than
`EARLY`: it looks like a state that grows.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from noctuary.audit.inputs import Inputs
from noctuary.audit.subject import Measured, Subject, Worst, difference
from noctuary.audit.work import Work

TOLERANCE = 1e-3
LENGTH = 130
"""Tokens by `step` against `forward`: just beyond chunks of 128."""
EARLY, LATE = 256, 512
STEADY = 0.25
"""Largest exponent of what does not grow with the tokens: the logarithm has 0.15."""
GROWING = 1.1
"""The same where a step may read all that came before it."""


def has_step(module: nn.Module) -> bool:
    return callable(getattr(module, "step", None))


@torch.no_grad()
def step_and_forward(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Go through two sequences in turn, token by token: `forward` must agree on both."""
    worst = Worst(TOLERANCE)
    if not has_step(subjects[0].module):
        return 0, "the mixer has no step"
    for subject in subjects[:2]:
        step: Any = subject.module.step
        xs = [inputs("noise", 2, LENGTH), inputs("text", 1, LENGTH)]
        states: list[Any] = [None, None]
        outputs: list[list[Tensor]] = [[], []]
        for t in range(LENGTH):
            for i, x in enumerate(xs):
                y_t, states[i] = step(x[:, t], states[i])
                outputs[i].append(y_t)
        for x, ys in zip(xs, outputs, strict=True):
            y = torch.stack(ys, 1)
            worst.see(difference(y, subject(x)), f"step and forward differ, {subject.state}")
            one = difference(y[:, :1], subject(x[:, :1]))
            worst.see(one, f"step and forward differ on one token, {subject.state}")
    return worst.told()


@torch.no_grad()
def step_growth(subject: Subject, inputs: Inputs) -> Measured:
    """Return the exponent with which a state, or the work of a step, grows with the tokens."""
    step: Any = subject.module.step
    x = inputs("noise", 1, LATE).unbind(1)
    state, seen = None, []
    for t, x_t in enumerate(x, 1):
        if t not in (EARLY, LATE):
            _, state = step(x_t, state)
            continue
        with Work() as work:
            _, state = step(x_t, state)
        seen.append((size(state), work.elements, work.lines))
    growths = {
        name: math.log(max(late, 1) / max(early, 1), LATE / EARLY)
        for name, early, late in zip(("state", "reads", "lines"), *seen, strict=True)
    }
    name, largest = max(growths.items(), key=lambda one: one[1])
    said = {"state": "the state grows", "reads": "a step touches more", "lines": "a step runs more"}
    if largest <= STEADY:
        return max(0.0, largest), ""
    return largest, f"{said[name]} the more tokens came before"


def size(state: Any) -> int:
    """Return the numbers that a state holds, in tensors and containers of any depth."""
    seen, open_, total = set[int](), [state], 0
    while open_:
        part = open_.pop()
        if id(part) in seen or part is None:
            continue
        seen.add(id(part))
        if isinstance(part, Tensor):
            total += part.numel()
        elif isinstance(part, dict):
            open_ += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            open_ += part
        elif hasattr(part, "__dict__") and not isinstance(part, nn.Module | type):
            open_.append(vars(part))
        else:
            total += len(part) if isinstance(part, str | bytes | bytearray) else 1
    return total

"""How does the cost grow with the length? Counted, not timed.

Counted are the FLOPs forward and backward, the numbers that forward reads and writes (a product
of all with all by broadcasting is no matrix product), and the memory that training keeps. Lengths
grow fourfold. Whatever grows linearly, and every constant, drops out of
c(16 T) - 5 c(4 T) + 4 c(T), so that a small part that grows faster is seen under a large one that
does not; its exponent is log_4 of how much that grows.

Covers lengths up to `LENGTHS[-1]`: what grows only beyond is not seen, what begins to grow in the
last fourfold is seen where it outweighs the rest, and a wider window is no window here. Does not
cover seconds, FLOPs of evaluation, or work outside torch that is no line of Python.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from noctuary.audit.inputs import Inputs
from noctuary.audit.subject import Measured, Subject
from noctuary.audit.work import Work
from noctuary.training.measures import count_flops

LENGTHS = (8, 32, 128, 512, 2048)
MANY_CALLS = 3000
"""Operators at the last length but one from which the last one is left out: that goes token by
token, and would take seconds."""
SUBQUADRATIC = 1.75
"""Largest exponent that is told apart from a square: chunks of sqrt(T) reach 1.5."""
QUADRATIC = 2.1
STEEP = 2.4
"""An exponent that no constant explains, from two lengths alone."""
NEGLIGIBLE = 0.02
"""Of an exponent above one: padding, rounding of chunks."""
QUANTITIES = {
    "flops_growth": "FLOPs",
    "work_growth": "the numbers read and written",
    "memory_growth": "the memory that training keeps",
    "python_growth": "the lines of Python",
}


@dataclass
class Costs:
    """Counts by quantity, one for each length so far."""

    counts: dict[str, list[int]] = field(default_factory=lambda: {q: [] for q in QUANTITIES})

    def is_plain(self) -> bool:
        """Whether a longer sequence would only cost more to say the same."""
        steep = {3: STEEP, 4: SUBQUADRATIC}
        return any(
            len(c) in steep and c[-1] > 4 ** steep[len(c)] * max(c[-2], 1)
            for c in self.counts.values()
        )

    def told(self, quantity: str, limit: float) -> Measured:
        counts = self.counts[quantity]
        measured = exponent(counts)
        if measured <= limit:
            return measured, ""
        at = ", ".join(f"{c:.3g} at T={T}" for c, T in zip(counts, LENGTHS, strict=False))
        return measured, f"{QUANTITIES[quantity]} grow like T^{measured:.2f}: {at}"


def costs(subject: Subject, inputs: Inputs) -> Costs:
    """Count at each of the `LENGTHS`, in training and in evaluation, and keep the larger.

    FLOPs are counted in training only, where they are those of both passes.
    """
    found = Costs()
    for length in LENGTHS:
        x = inputs("noise", 1, length)
        with torch.no_grad():
            subject(x)  # what is made once for a length, and kept, is no cost of each call
        train, evaluate = (_count(subject, x, training) for training in (True, False))
        for quantity in QUANTITIES:
            found.counts[quantity].append(max(train[quantity], evaluate[quantity]))
        calls = max(train["calls"], evaluate["calls"])
        if found.is_plain() or (length == LENGTHS[-2] and calls > MANY_CALLS):
            break
    return found


def exponent(counts: list[int]) -> float:
    """Return the exponent in T of a count, or that of the part of it which outgrows T.

    Args:
        counts: at lengths that grow fourfold.
    """
    local = math.log(max(counts[-1], 1) / max(counts[-2], 1), 4)
    if local <= 1 + NEGLIGIBLE:
        return max(local, 0.0)
    if len(counts) < 4:
        return local
    early, late = (c[2] - 5 * c[1] + 4 * c[0] for c in (counts[-4:-1], counts[-3:]))
    if early <= 0 or late <= 0:  # a step, as of a chunk that widens with the length
        return local
    return max(local, math.log(late / early, 4))


def _count(subject: Subject, x: Tensor, training: bool) -> dict[str, int]:
    """Return the counts of one call, and of its gradients in training."""
    work, kept = Work(), dict[int, int]()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    def run() -> None:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), work:
            y, aux = subject.with_aux(x)
        if training and y.requires_grad:
            backward = Work()
            wanted = [p for p in subject.module.parameters() if p.requires_grad]
            with backward:
                loss: Any = y.sum() + (0 if aux is None else aux)
                torch.autograd.grad(loss, wanted, allow_unused=True)
            work.largest = max(work.largest, backward.largest)

    with subject.trained(training):
        flops = 0
        if training:
            flops = count_flops(run)
        else:
            run()
    return {
        "flops_growth": flops,
        "work_growth": work.elements,
        "memory_growth": sum(kept.values()) + work.largest,
        "python_growth": work.lines,
        "calls": work.calls,
    }

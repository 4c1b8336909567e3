"""Does an output see the future, or its neighbours in the batch?

The future is changed, and cut off, and nothing before it may notice; gradients would not do, as
they miss what goes through an index. Covers every position of a short sequence and some of long
ones, both modes, all states, and each kind of input. Does not cover what waits for longer
sequences than `LONGEST`, for weights that only training finds, or for a number of calls: the
evaluation looks again, on the data that it scores.
"""

from typing import NamedTuple

import torch

from noctuary.audit.inputs import Inputs
from noctuary.audit.subject import TOLERANCE, Measured, Subject, Worst, difference

WHOLE = 130
"""Length at which the future is changed at every position: just beyond chunks of 128."""
LONGEST = 1030


class Shape(NamedTuple):
    """A batch of one kind of input."""

    kind: str
    batch: int
    length: int


SHAPES = (
    Shape("noise", 1, 100),
    Shape("noise", 8, 64),
    Shape("quiet", 3, WHOLE),
    Shape("text", 4, 128),
    Shape("pairs", 4, 77),
    Shape("outliers", 4, WHOLE),
    Shape("noise", 1, LONGEST),
    Shape("blanks", 4, 96),
    Shape("steady", 3, 65),
    Shape("alternating", 3, 33),
    Shape("noise", 3, 260),
    Shape("text", 1, 520),
)
SHORT_CUTS = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129)
LONG_CUTS = (100, 255, 256, 257, 511, 512)
BATCHES = (Shape("noise", 8, 64), Shape("outliers", 3, 100), Shape("text", 2, 260))


def future_changed(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Replace what follows a position: what comes before it must not notice."""
    worst = Worst(TOLERANCE)
    for turn, shape in enumerate(SHAPES):
        x = inputs(*shape)
        cuts = inputs.cuts(shape.batch, shape.length)
        changed = inputs.changed(x, cuts, first=turn)
        for subject in subjects:
            for training in (False, True):
                if subject is subjects[-1] and training == bool(turn % 2):
                    continue  # to save time, the last state is in one mode only, in turns
                with subject.trained(training) as state:
                    delta = difference(subject(changed), subject(x), cuts)
                said = f"positions see what follows, in {shape.kind} of length {shape.length}"
                worst.see(delta, f"{said}, {state}")
    others = 3 * inputs("noise", 1, WHOLE)
    for first, subject, kind in zip((1, 2), subjects[1:], ("noise", "medley"), strict=True):
        cuts = torch.arange(first, WHOLE, 2)  # every other one here, the others there
        x = inputs(kind, 1, WHOLE)
        changed = torch.where(torch.arange(WHOLE)[:, None] < cuts[:, None, None], x, others)
        with subject.trained(False) as state:
            y = subject(x).expand_as(x.expand(len(cuts), -1, -1))
            delta = difference(subject(changed), y, cuts)
        worst.see(delta, f"a position below {WHOLE} sees what follows, {state}")
    return worst.told()


def future_cut(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Cut the sequence off at a position: what comes before it must not notice."""
    worst = Worst(TOLERANCE)
    for length, cuts in ((WHOLE, SHORT_CUTS), (LONG_CUTS[-1] + 8, LONG_CUTS)):
        x = torch.cat([inputs(kind, 1, length) for kind in ("noise", "text", "outliers")])
        # to save time, a long one takes part as initialised and moved, in evaluation
        for subject in subjects if length == WHOLE else subjects[:2]:
            for training in (False, True) if length == WHOLE else (False,):
                if training and subject.is_noisy(x):
                    continue
                with subject.trained(training) as state:
                    y = subject(x)
                    for cut in cuts:
                        delta = difference(subject(x[:, :cut]), y[:, :cut])
                        worst.see(delta, f"positions before {cut} depend on the length, {state}")
    return worst.told()


def other_rows(subjects: list[Subject], inputs: Inputs) -> Measured:
    """Change, reorder and take away the other rows of a batch: a row must not notice."""
    worst = Worst(TOLERANCE)
    for shape in BATCHES:
        x, others = inputs(*shape), 3 * inputs(*shape)
        order = inputs.integers(1, shape.batch, 1).item()
        for subject in subjects:
            for training in (False, True):
                noisy = training and subject.is_noisy(x)
                with subject.trained(training) as state:
                    y = subject(x)
                    for row in (0, shape.batch - 1):
                        changed = others.clone()
                        changed[row] = x[row]
                        delta = difference(subject(changed)[row, None], y[row, None])
                        worst.see(delta, f"a row depends on the other rows, {state}")
                    if noisy:
                        continue
                    delta = difference(subject(x[-1:]), y[-1:])
                    worst.see(delta, f"a row depends on the batch size, {state}")
                    delta = difference(subject(x.roll(int(order), 0)), y.roll(int(order), 0))
                    worst.see(delta, f"a row depends on its place in the batch, {state}")
    return worst.told()

"""What is audited: one mixer in several states, and how far apart two of its outputs are.

Covers calling it, the states of its parameters, and holding a measurement against a limit. Does
not say which inputs it is tried on (`inputs`) or what is compared (`causality` and the others).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noctuary.domain import Check

TOLERANCE = 1e-4
"""Largest change, relative to outputs of size one or larger, that passes for rounding."""

Measured = tuple[float, str]
"""A number, and the words for it where it says that something is wrong."""


class Subject(NamedTuple):
    """A mixer in a known state, and what to call that state."""

    module: nn.Module
    state: str
    seed: int

    def __call__(self, x: Tensor, seed: int | None = None) -> Tensor:
        """Return the output alone, with the same random numbers at each call."""
        return self.with_aux(x, seed)[0]

    def with_aux(self, x: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the output and the auxiliary loss, where there is one."""
        torch.default_generator.manual_seed(self.seed if seed is None else seed)
        out = self.module(x)
        if not isinstance(out, tuple | list):
            return _tensor(out), None
        aux = out[1] if len(out) > 1 else None
        is_loss = isinstance(aux, Tensor) and aux.numel() == 1 and aux.is_floating_point()
        return _tensor(out[0] if out else None), aux if is_loss else None

    @contextmanager
    def trained(self, training: bool) -> Iterator[str]:
        """Put it in training or evaluation mode, as a trial does; yields what to call that.

        Gradients are recorded in training only, and it is left in evaluation mode.
        """
        self.module.train(training)
        try:
            with torch.set_grad_enabled(training):
                yield f"{self.state}{', in training' if training else ''}"
        finally:
            self.module.eval()

    def is_noisy(self, x: Tensor) -> bool:
        """Whether it draws random numbers in training: then only equal shapes compare."""
        with self.trained(True):
            return difference(self(x, self.seed + 1), self(x)) > TOLERANCE


def build_subjects(build: Callable[[], nn.Module], seed: int) -> list[Subject]:
    """Return the mixer as initialised, and twice with other parameters.

    What starts closed may be opened by training, so each parameter is once moved from where it
    starts, by about its usual size, and once drawn anew, to the other side: a gate at zero opens
    in one of the two, whatever its sign, and so does a bias that starts far from zero.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = []
    for _ in range(3):
        torch.default_generator.manual_seed(seed)
        modules.append(build().eval())
    initialised, moved, anew = modules
    with torch.no_grad():
        for a, b in zip(moved.parameters(), anew.parameters(), strict=True):
            if not a.is_floating_point():
                continue
            scale = 0.3 if a.ndim < 2 else 0.5 / math.sqrt(a.shape[-1])
            noise = torch.empty_like(a).normal_(0, scale, generator=generator)
            a.add_(noise)
            b.copy_(-noise)
    return [
        Subject(initialised, "as initialised", seed),
        Subject(moved, "with moved parameters", seed),
        Subject(anew, "with parameters drawn anew", seed),
    ]


@dataclass
class Worst:
    """The largest of many measurements, explained only where it is above the limit."""

    limit: float
    measured: float = 0.0
    said: str = ""

    def see(self, measured: float, said: str) -> None:
        if not measured <= self.measured:  # NaN is worse than anything
            self.measured, self.said = measured if measured >= 0 else math.inf, said

    def told(self) -> Measured:
        if self.measured <= self.limit:
            return self.measured, ""
        return self.measured, f"{self.said} (by {self.measured:.2g}, limit {self.limit:g})"


def check(name: str, limit: float, measure: Callable[[], Measured]) -> Check:
    """Hold a measurement against its limit; an exception of the candidate fails the check."""
    try:
        measured, detail = measure()
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Check(name=name, passed=False, limit=limit, detail=text)
    return Check(
        name=name,
        passed=measured <= limit,
        measured=measured if math.isfinite(measured) else None,
        limit=limit,
        detail=detail,
    )


def difference(a: Tensor, b: Tensor, before: Tensor | None = None) -> float:
    """Return the largest difference of two outputs (B, T, D); infinite where one is no number.

    It is relative to the size of each token of `b` where that is above one. Numbers that are not
    finite in both count as equal: that there are any is another check's matter.

    Args:
        before: positions (B,); only tokens before them are compared.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes {tuple(a.shape)} and {tuple(b.shape)} differ")
    a, b = a.detach(), b.detach()
    lost = ~torch.isfinite(b)
    both = lost & ~torch.isfinite(a)
    delta = (a - b).abs().masked_fill(both, 0.0).amax(-1)  # (B, T)
    delta = delta / b.abs().masked_fill(lost, 0.0).amax(-1).clamp(min=1)
    if before is not None:
        delta = delta[torch.arange(delta.shape[1]) < before[:, None]]
    largest = float(delta.max()) if delta.numel() else 0.0
    return largest if math.isfinite(largest) else math.inf


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"forward returned {type(value).__name__}, expected a tensor")
    return value

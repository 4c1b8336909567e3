"""The reading of a mixer file: no false alarms, its class, and what it does when it is imported."""

from pathlib import Path

import pytest
from mixer_texts import GOOD, below, failed
from rendered_mixers import random_genomes, rendered

from noctuary.audit.static import static_checks
from noctuary.lab import shipped

HUMAN = sorted((shipped("architectures")).rglob("*.py"))
NAMES = ["size", "text", "syntax", "complexity", "class", "imports", "import_time", "names"]


# No false alarms


@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_mixers_pass(path: Path) -> None:
    assert failed(static_checks(path.read_bytes())) == {}


def test_renderings_of_the_grammar_pass() -> None:
    for genome in random_genomes(60, seed=4):
        assert failed(static_checks(rendered(genome))) == {}, genome


def test_a_good_file_passes_with_numbers() -> None:
    checks = static_checks(GOOD)
    assert failed(checks) == {}
    assert [check.name for check in checks] == [*NAMES, "patching"]
    assert all(check.limit is not None and check.measured is not None for check in checks)


RESEARCH = '''"""What published layers do, none of which leads anywhere."""

from __future__ import annotations

import math
import typing as t
from typing import TYPE_CHECKING, Optional, TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torch.nn.modules.utils import _pair

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

try:
    from causal_conv1d import causal_conv1d_fn
except ImportError:
    causal_conv1d_fn = None

__all__ = ["Mixer"]
T = TypeVar("T")
LOG2 = math.log(2.0)
MASKED = float("-inf")
TINY = torch.finfo(torch.float32).tiny
ACTIVATIONS = {"silu": F.silu, "relu": lambda x: x.relu()}


class Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad


class Mixer(nn.Module):
    """A docstring."""

    scale: float = 2.0

    def __init__(self, d_model: int, n_heads: int = 2, bound: float = float("inf"), **kwargs):
        super().__init__()
        self.kernel = _pair(3)
        for i in range(n_heads):
            setattr(self, f"proj_{i}", nn.Linear(d_model, d_model))
        self.proj = nn.ModuleList(getattr(self, f"proj_{i}") for i in range(n_heads))
        self.proj[0].weight.no_decay = True
        self.proj[0].weight.data[0, 0] = 1.0
        self.compile = False
        nn.init.zeros_(self.proj_0.bias)

    @property
    def width(self):
        return self._width

    @width.setter
    def width(self, value):
        self._width = value

    @torch.no_grad()
    def reset(self):
        with torch.random.fork_rng():
            self.proj[0].weight.normal_(generator=torch.Generator().manual_seed(0))

    @torch.autocast("cpu", enabled=False)
    def mix(self, input: Optional[torch.Tensor], *, eps: float = 1e-6):
        vars, format = input.var(-1), "{:.2f}"
        torch._assert(input.ndim == 3, "shape {0}".format(input.shape))
        windows = torch.signal.windows.hann(3).trace if False else vars
        return input * torch.rsqrt(windows[..., None] + eps)

    def forward(self, x, cache: Cache | None = None):
        if not hasattr(self, "seen"):
            self.seen = 0
        self.seen, y = self.seen + 1, x.clone()
        y[:, 0] = 0
        y = rearrange(y, "b t d -> b t d")
        print(f"{self.__class__.__name__} {type(self).__name__} {x.shape}")
        return Scan.apply(self.mix(y)), None, cache

    def __repr__(self):
        return super().__repr__() + super().__dir__()[0]


if __name__ == "__main__":
    import os

    torch.manual_seed(0)
    print(Mixer(64)(torch.randn(1, 8, 64)), os.getcwd())
'''


def test_what_published_layers_do_is_fine() -> None:
    assert failed(static_checks(RESEARCH)) == {}


# The class


@pytest.mark.parametrize(
    ("source", "detail"),
    [
        ("class Other:\n    pass\n", "line 1: no class Mixer at the top level, nor any torch.nn.M"),
        (GOOD.replace("Mixer", "Layer"), "no class Mixer at the top level; modules here: Layer"),
        ("class Mixer:\n    def forward(self, x): ...\n", "line 1: class Mixer is no torch.nn.Mod"),
        ("class Mixer(object):\n    def forward(self, x): ...\n", "class Mixer is no torch.nn.Mo"),
        (GOOD.replace("forward", "mix"), "line 4: class Mixer defines no forward"),
        ("def f():\n    class Mixer: ...\n", "no class Mixer at the top level"),
    ],
)
def test_a_class_that_is_no_mixer(source: str, detail: str) -> None:
    problems = failed(static_checks(source))
    assert set(problems) == {"class"}
    assert detail in problems["class"]


@pytest.mark.parametrize(
    "source",
    [
        GOOD
        + "class Base(torch.nn.Module):\n    def forward(self, x): ...\nclass Mixer(Base): ...",
        "from torch import nn\nclass Mixer(nn.GRU):\n    pass\n",  # has one from there
    ],
)
def test_a_forward_may_be_inherited(source: str) -> None:
    assert failed(static_checks(source)) == {}


def test_the_class_may_have_another_name() -> None:
    source = GOOD.replace("Mixer", "Attention")
    assert failed(static_checks(source, class_name="Attention")) == {}


# Work at import


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ("torch.ones(3)", "line 7: expr statement runs at import"),
        ("x = torch.ones(3)", "line 7: a constant is computed by a call"),
        ("x: int = f()", "line 7: a constant is computed by a call"),
        ("x: f() = 3", "line 7: a constant is computed by a call"),
        ("x = [f(i) for i in range(3)]", "line 7: a constant is computed by a call"),
        ("x = lambda a=f(): a", "line 7: a constant is computed by a call"),
        ("float = print\nx = float('3')", "line 8: a constant is computed by a call"),
        ("for i in range(3): pass", "line 7: for statement runs at import"),
        ("while True: pass", "line 7: while statement runs at import"),
        ("with torch.no_grad(): pass", "line 7: with statement runs at import"),
        ("if 3: pass", "line 7: if statement runs at import"),
        ("assert 3", "line 7: assert statement runs at import"),
        ("if __name__ == '__main__': pass\nelse: f()", "line 8: expr statement runs at import"),
        ("try: f()\nexcept ImportError: pass", "line 7: expr statement runs at import"),
        ("try: import torch\nexcept ImportError: f()", "line 8: expr statement runs at import"),
        ("    y = print()", "line 7: a constant is computed by a call"),
        ("    print()", "line 7: expr statement runs at import"),
        ("def f(x=g()): pass", "line 7: a default or annotation of f is computed"),
        ("def f(*, x=g()): pass", "line 7: a default or annotation of f is computed"),
        ("def f(x: g()): pass", "line 7: a default or annotation of f is computed"),
        ("def f() -> g(): pass", "line 7: a default or annotation of f is computed"),
        ("def g(f): ...\n@g\ndef f(): ...", "line 8: a decorator runs code at import"),
        ("@torch.no_grad(g())\ndef f(): ...", "line 7: an argument of a decorator is computed"),
        ("class A(g()): pass", "line 7: a base of class A is computed"),
        ("class A:\n    class B:\n        x = g()", "line 9: a constant is computed by a call"),
    ],
)
def test_work_at_import(lines: str, detail: str) -> None:
    problems = failed(static_checks(below(lines)))
    assert set(problems) == {"import_time"}
    assert detail in problems["import_time"]

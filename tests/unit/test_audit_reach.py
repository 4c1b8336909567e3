"""What a mixer file may not name or change: each rule, and what only looks alike."""

import pydoc

import pytest
from mixer_texts import GOOD, below, failed, within

from noctuary.audit.rules import DENIED
from noctuary.audit.static import DEFAULT_ALLOWED, static_checks

# Imports


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("import os", "os is imported, which the policy does not allow"),
        ("import torch, os", "os is imported"),
        ("import os.path as torch", "os.path is imported"),
        ("from os import path", "os is imported"),
        ("from . import secret", "a file beside it is imported"),
        ("from .secret import key", "a file beside it is imported"),
        ("import no_such_package_here", "which is not installed here, nor allowed by the policy"),
        ("from torch import *", "everything of torch is imported"),
        ("import torch.hub", "torch.hub downloads code"),
        ("from torch import hub as h", "torch.hub downloads code"),
        ("from torch.utils.cpp_extension import load", "compiles and loads machine code"),
        ("from torch.serialization import os", "torch.serialization.os reads and writes files"),
        ("from torch.random import contextlib, gc", "torch.random.gc leads to the module gc"),
        ("from torch import _C", "torch._C is a private part of torch"),
        ("import torch._dynamo", "torch._dynamo is a private part of torch"),
        ("from lightning import Trainer", "lightning.Trainer is more of lightning than a mixer"),
        ("import lightning.fabric", "lightning.fabric is more of lightning"),
        ("from typing import get_type_hints", "evaluates text as code"),
        ("from typing import sys", "typing.sys leads to the module sys"),
    ],
)
def test_imports_that_are_not_allowed(line: str, detail: str) -> None:
    for source, number in ((below(line), 7), (within(line), 8)):
        problems = failed(static_checks(source))
        assert set(problems) == {"imports"}
        assert f"line {number}: " in problems["imports"]
        assert detail in problems["imports"]
        assert "allowed are einops, lightning, math, torch, typing" in problems["imports"]


@pytest.mark.parametrize(
    "line",
    [
        "import torch.nn.functional as os",
        "from torch.utils.checkpoint import checkpoint",
        "from torch._higher_order_ops import associative_scan",
        "from torch.nn.attention.flex_attention import flex_attention",
        "from lightning import LightningModule",
        "import lightning.pytorch as pl",
        "from typing import NamedTuple",
        "from math import *".replace("*", "pi"),
        "import einops.layers.torch",
    ],
)
def test_imports_that_are_allowed(line: str) -> None:
    assert failed(static_checks(below(line))) == {}
    assert failed(static_checks(within(line))) == {}


def test_the_policy_may_allow_more_or_less() -> None:
    source = below("import numpy as np", "import json")
    assert failed(static_checks(source, DEFAULT_ALLOWED | {"numpy", "json"})) == {}
    assert "torch is imported" in failed(static_checks(source, frozenset({"numpy"})))["imports"]
    allowed = static_checks(
        within("import numpy as np", "np.load('a')"), DEFAULT_ALLOWED | {"numpy"}
    )
    assert "numpy.load reads files" in failed(allowed)["names"]
    missing = static_checks(
        below("import no_such_package"), frozenset({"torch", "no_such_package"})
    )
    assert failed(missing)["imports"].startswith(
        "line 7: no_such_package is imported, which is not installed here; allowed are"
    )


def test_an_import_that_may_fail_is_judged_by_whether_it_does() -> None:
    optional = "try:\n    import {}\nexcept {}:\n    other = None\n"
    assert failed(static_checks(GOOD + optional.format("no_such_package", "ImportError"))) == {}
    assert failed(static_checks(GOOD + optional.format("no_such_package", "KeyError"))) != {}
    assert failed(static_checks(GOOD + optional.format("subprocess", "ImportError"))) != {}
    within_it = optional.replace("other = None", "import socket")
    assert failed(static_checks(GOOD + within_it.format("no_such_package", "ImportError"))) != {}


# Names


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("open('a')", "self.open('a')"),
        ("f = open", "open = 3; f = open"),
        ("exec('y = 1')", "self.exec('y = 1')"),
        ("eval('1')", "self.eval()"),
        ("compile('1', '', 'eval')", "self.compile('1')"),
        ("__import__('os')", "self.imported('os')"),
        ("globals()['torch']", "self.globals"),
        ("locals()", "self.locals"),
        ("vars(torch.nn)", "x.var(0)"),
        ("input()", "input = x; input()"),
        ("breakpoint()", "self.breakpoint()"),
        ("memoryview(b'a')", "x.view(-1)"),
        ("exit(0)", "self.exit(0)"),
        ("raise SystemExit", "raise ValueError"),
        ("delattr(self, 'a')", "del self.a"),
        ("f = __builtins__", "f = __name__"),
        ("f = __file__", "f = __debug__"),
        ("f = __loader__", "f = __class__"),
        ("type('A', (), {})", "type(x)"),
        ("getattr(x, eps)", "getattr(x, 'shape')"),
        ("getattr(x, '__dict__')", "getattr(x, '__len__')"),
        ("getattr(torch, 'load')", "getattr(torch, 'float32', None)"),
        ("getattr(F, eps)", "getattr(self, f'proj_{eps}')"),
        ("getattr(self, f'_{eps}')", "getattr(self, f'a_{eps}')"),
        ("getattr(self, f'{eps}')", "getattr(self, f'a{eps}')"),
        ("getattr(*x)", "getattr(x, 'a', 3)"),
        ("setattr(self, eps, 3)", "setattr(self, f'w{eps}', 3)"),
        ("hasattr(x, eps)", "hasattr(x, 'a')"),
        ("f = getattr", "f = isinstance"),
        ("map(getattr, x)", "map(len, x)"),
        ("x.__dict__", "x.__len__()"),
        ("x.__class__.__base__", "x.__class__.__name__"),
        ("x.__class__.__subclasses__()", "type(x).__name__"),
        ("x.forward.__globals__", "x.forward.__name__"),
        ("x.forward.__func__", "x.forward.func"),
        ("self.__doc__", "self.doc"),
        ("super().__reduce__()", "super().__len__()"),
        ("super().__thisclass__", "super().__call__(x)"),
        ("x.gi_frame", "x.frame"),
        ("x.tb_frame.f_back", "x.back"),
        ("f_back = x.f_globals", "f_back = x"),
        ("x.cr_code", "x.code"),
        ("x.grad_fn", "x.grad"),
        ("x.numpy().tofile('a')", "x.numpy().tolist()"),
        ("x.mro()", "x.more()"),
        ("torch.load('a')", "self.load('a')"),
        ("torch.save(x, 'a')", "self.save(x)"),
        ("torch.hub.load('a', 'b')", "torch.cat([x, x])"),
        ("torch.serialization.os.getcwd()", "torch.special.expit(x)"),
        ("torch.nn.parallel.replicate(x)", "torch.nn.functional.silu(x)"),
        ("torch.ops.load_library('a')", "torch.ops.aten.silu(x)"),
        ("torch.compile(self)", "torch.compiler.is_compiling()"),
        ("torch.jit.load('a')", "torch.jit.is_scripting()"),
        ("torch._C._jit_init()", "torch._assert(x.ndim == 3, 'three axes')"),
        ("F._Reduction", "F.silu(x)"),
        ("torch.manual_seed(3)", "torch.Generator().manual_seed(3)"),
        ("torch.random.manual_seed(3)", "torch.random.fork_rng()"),
        ("torch.set_num_threads(8)", "torch.get_num_threads()"),
        ("torch.set_default_dtype(x.dtype)", "torch.get_default_dtype()"),
        ("torch.library.impl('a', 'CPU')", "torch.lcm(x, x)"),
        ("torch.distributed.init_process_group()", "torch.distributions.Normal(0, 1)"),
        ("t = torch; t.load('a')", "t = self; t.load('a')"),
        ("t, u = torch, F; t.load('a')", "t, u = x, x; t.load('a')"),
        ("(t := torch).nn; t.load('a')", "(t := x).nn; t.load('a')"),
        ("t = F; u = t; u.torch.load('a')", "t = x; u = t; u.torch.load('a')"),
        ("f = lambda t=torch.hub: t", "f = lambda t=torch.cat: t"),
        ("import torch.nn as m; m.modules.module", "import torch.nn as m; m.modules.linear"),
        ("x.sys.exit()", "x.system.exit()"),
        ("torch.glob.glob('*')", "torch.random.get_rng_state()"),
        ("F.warnings", "F.math"),
        ("self.t = torch", "self.t = torch.float32"),
        ("self.mix(F)", "self.mix(F.silu)"),
        ("f = [torch]", "f = [torch.cat]"),
        ("'{0.__class__}'.format(x)", "'{0} {a.b}'.format(x, a=x)"),
        ("y.format(x)", "f'{x}'"),
        ("str.format('{0.__class__}', x)", "str.join('', 'a')"),
        ("'{a}'.format_map(x)", "'%s' % x"),
        ("match x:\n            case object(__dict__=c): pass",
         "match x:\n            case object(shape=c): pass"),
    ],
)  # fmt: skip
def test_names_that_lead_out_of_the_mixer(bad: str, good: str) -> None:
    problems = failed(static_checks(within(bad)))
    assert set(problems) == {"names"}
    assert "line 8: " in problems["names"] or "line 9: " in problems["names"]
    assert failed(static_checks(within(good))) == {}


def is_there(dotted: str) -> bool:
    try:
        return pydoc.locate(dotted) is not None
    except pydoc.ErrorDuringImport:  # is there, and needs more than we have
        return True


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what is deprecated
def test_the_denied_names_are_spelt_as_torch_spells_them() -> None:
    assert [name for name in DENIED if not is_there(name)] == []


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("__del__", "__len__"),
        ("__getattribute__", "__getattr__"),
        ("__torch_function__", "__torch__"),
        ("__reduce__", "__repr__"),
        ("__init_subclass__", "__init__"),
    ],
)
def test_methods_that_others_call(bad: str, good: str) -> None:
    method = "    def {}(self, *a): ..."
    problems = failed(static_checks(below(method.format(bad))))
    assert problems["names"].startswith(f"line 7: {bad} ")
    assert failed(static_checks(below(method.format(good)))) == {}


def test_a_name_belongs_to_the_function_that_binds_it() -> None:
    source = within("return open(x)", "def open(x): ...")
    assert failed(static_checks(source)) == {}
    elsewhere = source.replace("return open(x)", "return x") + "    def other(self): open('a')\n"
    assert "open reads and writes files" in failed(static_checks(elsewhere))["names"]
    method = GOOD + "    def open(self): ...\n    def other(self): open('a')\n"
    assert "line 8: open" in failed(static_checks(method))["names"]
    module = GOOD + "def open(a): ...\nclass B:\n    def other(self): open('a')\n"
    assert failed(static_checks(module)) == {}
    parameter = within("def load(torch): return torch.load('a')")
    assert failed(static_checks(parameter)) == {}


def test_names_are_compared_as_python_reads_them() -> None:
    wide = "\uff4f\uff50\uff45\uff4e('a')"  # full-width letters, which Python reads as `open`
    assert "open reads and writes files" in failed(static_checks(within(wide)))["names"]


# Patching


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("F.cross_entropy = x", "self.cross_entropy = x"),
        ("torch.nn.functional.cross_entropy = x", "self.torch.cross_entropy = x"),
        ("torch.Tensor.sum = x", "x.sum = 3"),
        ("torch.backends.cuda.matmul.allow_tf32 = True", "t = torch.backends.cudnn.enabled"),
        ("del F.silu", "del self.silu"),
        ("F.silu += 1", "self.silu += 1"),
        ("F.silu: int = 1", "self.silu: int = 1"),
        ("for F.silu in x: pass", "for self.silu in x: pass"),
        ("with x as F.silu: pass", "with x as self.silu: pass"),
        ("F.silu, y = x, x", "self.silu, y = x, x"),
        ("F.a[0] = x", "self.a[0] = x"),
        ("t = F; t.silu = x", "t = x; t.silu = x"),
        ("setattr(F, 'silu', x)", "setattr(self, 'silu', x)"),
        ("setattr(torch.Tensor, 'sum', x)", "setattr(x, 'sum', x)"),
        ("type(self).forward = x", "self.forward_ = x"),
        ("self.__class__.forward = x", "self.klass.forward = x"),
        ("x.__class__ = 3", "x.klass = 3"),
        ("global state", "def f():\n            nonlocal y"),
        ("__name__ = '__main__'", "name = '__main__'"),
    ],
)
def test_changes_of_what_others_use(bad: str, good: str) -> None:
    problems = failed(static_checks(within(bad)))
    assert set(problems) == {"patching"}
    assert problems["patching"].startswith("line 8: ")
    assert failed(static_checks(within(good))) == {}


def test_a_file_may_not_change_what_it_is_called() -> None:
    """Or what stands under `if __name__ == "__main__"`, which is not looked at, would run."""
    source = below("__name__ = '__main__'", "if __name__ == '__main__':", "    import os")
    assert failed(static_checks(source))["patching"] == "line 7: __name__ is given a value"
    assert failed(static_checks(below("__version__ = '1'", "__all__ = ['Mixer']"))) == {}
    assert failed(static_checks(below("class A(metaclass=torch.nn.Module): ..."))) != {}


def test_every_problem_has_its_line_and_long_lists_end() -> None:
    problems = failed(static_checks(within(*["open('a')"] * 7)))
    shown = "; ".join(f"line {line}: open reads and writes files" for line in range(8, 13))
    assert problems == {"names": f"{shown}; and 2 more"}

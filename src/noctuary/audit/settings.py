"""What a process shares with the code it runs: torch's switches, and the functions of others.

A mixer that turns gradients off, asks for threads or puts its own function in the place of
torch's changes everything that runs after it. Covers what is compared before and after, and
putting it back. Does not cover code that hides: the scores are made in another process.
"""

import builtins
import math
import random
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as nn_module

SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, torch.set_default_device),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "denormals": (
        lambda: bool(torch.tensor(1e-40).mul(1.0)),
        lambda on: torch.set_flush_denormal(not on),
    ),
}

TORCH = str(Path(torch.__file__).parent)
SHARED: dict[str, dict[str, Any] | types.MappingProxyType[str, Any]] = {
    "torch": vars(torch),
    "torch.Tensor": vars(torch.Tensor),
    "torch.nn.functional": vars(torch.nn.functional),
    "torch.nn.Module": vars(nn.Module),
    "torch.autograd": vars(torch.autograd),
    "torch.optim.AdamW": vars(torch.optim.AdamW),
    "builtins": vars(builtins),
    "math": vars(math),
    "random": vars(random),
    "time": vars(time),
}
HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


@dataclass(frozen=True)
class Settings:
    """How all this was at some time."""

    switches: dict[str, Any]
    functions: dict[str, dict[str, Any]]
    hooks: int

    @classmethod
    def now(cls) -> "Settings":
        return cls(
            {name: read() for name, (read, _) in SWITCHES.items()},
            {name: _functions(space) for name, space in SHARED.items()},
            sum(len(getattr(nn_module, name)) for name in HOOKS),
        )

    def changes(self) -> list[str]:
        """Return what is no longer as it was, in words."""
        now = Settings.now()
        changed = [
            f"{name} was {old}, is {now.switches[name]}"
            for name, old in self.switches.items()
            if now.switches[name] != old
        ]
        changed += [
            f"{space}.{name} is another function"
            for space, functions in self.functions.items()
            for name, function in functions.items()
            if (new := now.functions[space].get(name)) is not function and not _torchs(new)
        ]
        return changed + ([f"{now.hooks - self.hooks} hooks"] if now.hooks != self.hooks else [])

    def restore(self) -> None:
        """Put the switches back; functions stay as they are, so that what did it is seen."""
        for name, (read, write) in SWITCHES.items():
            if read() != self.switches[name]:
                write(self.switches[name])


def _torchs(function: Any) -> bool:
    """Whether torch itself made it: it wraps some of its functions when the compiler is loaded."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename.startswith(TORCH)


def _functions(space: dict[str, Any] | types.MappingProxyType[str, Any]) -> dict[str, Any]:
    """Return what can be called; modules that are loaded later are none of a mixer's doing."""
    return {name: value for name, value in space.items() if callable(value)}

"""A long trial's memory of itself: killed and started again, it goes on to the very same bits.

Covers what a step depends on: parameters and buffers, the optimiser, the step (which fixes the
learning rate and the batch), the losses so far, the rows of the curve, and the random states of
torch, Python and numpy, and the snapshots taken on the way. Does not cover what a mixer keeps in
attributes of its own or in globals. There are two files, which are overwritten in turns: a sandbox
lets a trial create and rename none, and whenever it is killed, one of them is whole. Each is a
SHA-256 digest and safetensors behind it; nothing in it is ever executed.
"""

import hashlib
import json
import os
import random
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from noctuary.training.module import MixerTrainer

Identity = dict[str, str | int | float]
"""What must be the same for a checkpoint to be of use: the trial, and what computes it."""

_DIGEST_BYTES = 32


class UnusableCheckpoint(ValueError):
    """A checkpoint is damaged, or of another trial, version or machine."""


class Facts(BaseModel):
    """What a checkpoint holds beside tensors.

    Attributes:
        seconds: wall seconds of training so far.
        curve: the rows of the curve file so far.
        python, numpy: the states of their global generators.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Identity
    steps_done: int
    seconds: float
    curve: list[list[str]]
    python: list[Any]
    numpy: dict[str, Any]


class Checkpoint:
    """A checkpoint that was read, to be put into a module.

    Attributes:
        path: the file it lies in.
        facts: what it holds beside tensors.
    """

    def __init__(self, path: Path, facts: Facts, tensors: dict[str, Tensor]) -> None:
        self.path = path
        self.facts = facts
        self._tensors = tensors

    def require_fit(self, module: MixerTrainer) -> None:
        """Raise UnusableCheckpoint where the module has other tensors."""
        mine = {name: (tensor.shape, tensor.dtype) for name, tensor in _tensors_of(module).items()}
        saved = {
            name: (tensor.shape, tensor.dtype) for name, tensor in self._part("module").items()
        }
        if mine != saved:
            names = sorted(name for name in mine | saved if mine.get(name) != saved.get(name))
            raise UnusableCheckpoint(f"the model differs in {', '.join(names[:3])}")

    def restore(self, module: MixerTrainer) -> None:
        """Put everything back, the random states last, when the module is on its device."""
        with torch.no_grad():
            saved = self._part("module")
            for name, tensor in _tensors_of(module).items():
                tensor.copy_(saved[name])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self._part("optimiser").items():
            number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor.clone()
        optimiser = module.raw_optimiser()
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
        module.steps_done = self.facts.steps_done
        for name, tensor in self._part("snapshot").items():
            step, _, weight = name.partition(".")
            module.snapshots.setdefault(int(step), {})[weight] = tensor.clone()

        version, words, gauss = self.facts.python
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(self.facts.numpy)
        torch.set_rng_state(self._tensors["random.cpu"].clone())
        if "random.cuda" in self._tensors:
            torch.cuda.set_rng_state(self._tensors["random.cuda"].clone())

    def _part(self, part: str) -> dict[str, Tensor]:
        begin = part + "."
        return {
            name.removeprefix(begin): tensor
            for name, tensor in self._tensors.items()
            if name.startswith(begin)
        }


def _tensors_of(module: MixerTrainer) -> dict[str, Tensor]:
    """Return parameters and buffers, those included that are no part of the weights."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


class Keeper:
    """Writes the checkpoints of a trial, at most every so often.

    Args:
        paths: the files that it overwrites in turns.
        newest: that of them which the trial went on from, to be overwritten last.
        seconds: between two checkpoints.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        identity: Identity,
        seconds: float,
        clock: Callable[[], float],
        newest: Path | None = None,
    ) -> None:
        self._paths = deque(paths)
        if newest is not None:
            self._paths.rotate(-1 - self._paths.index(newest))
        self.identity = identity
        self.seconds = seconds
        self.clock = clock
        self._last = clock()

    def keep(self, module: MixerTrainer, seconds: float, curve: list[list[str]]) -> None:
        """Write one where it is time. Call it between two steps."""
        now = self.clock()
        if now - self._last < self.seconds:
            return
        self._last = now
        write_checkpoint(self._paths[0], module, self.identity, seconds, curve)
        self._paths.rotate(-1)


def write_checkpoint(
    path: Path, module: MixerTrainer, identity: Identity, seconds: float, curve: list[list[str]]
) -> None:
    """Overwrite a file with a checkpoint of this moment between two steps.

    Args:
        seconds: of training so far.
    """
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    facts = Facts(
        identity=identity,
        steps_done=module.steps_done,
        seconds=seconds,
        curve=curve,
        python=[version, list(words), gauss],
        numpy=numpy_state,
    )
    tensors = {f"module.{name}": tensor for name, tensor in _tensors_of(module).items()}
    for number, state in module.raw_optimiser().state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{key}": tensor for key, tensor in state.items()}
    for step, weights in module.snapshots.items():
        tensors |= {f"snapshot.{step}.{name}": tensor for name, tensor in weights.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if module.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    tensors["facts"] = torch.frombuffer(
        bytearray(facts.model_dump_json().encode("utf-8")), dtype=torch.uint8
    )
    content = save({name: _apart(tensor) for name, tensor in tensors.items()})
    with path.open("wb") as handle:
        handle.write(hashlib.sha256(content).digest() + content)
        handle.flush()
        os.fsync(handle.fileno())


def _apart(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU that shares its memory with no other, as safetensors demands."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def newest_checkpoint(paths: Sequence[Path], identity: Identity) -> Checkpoint | None:
    """Return the checkpoint of the files that got furthest, or None where there is none.

    Raises:
        UnusableCheckpoint: there is none of use, but one that is damaged, or not of this trial
            on this machine.
    """
    found, problems = [], []
    for path in paths:
        if path.exists() and path.stat().st_size:
            try:
                found.append(read_checkpoint(path, identity))
            except UnusableCheckpoint as error:
                problems.append(error)
    if problems and not found:
        raise problems[0]
    return max(found, key=lambda checkpoint: checkpoint.facts.steps_done, default=None)


def read_checkpoint(path: Path, identity: Identity) -> Checkpoint:
    """Return the checkpoint in a file.

    Raises:
        UnusableCheckpoint: it is damaged, or not of this trial on this machine.
    """
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
        raise UnusableCheckpoint("its digest does not match its content")
    try:
        tensors = load(content[_DIGEST_BYTES:])
        facts = Facts.model_validate(json.loads(bytes(tensors["facts"].tolist())))
    except (SafetensorError, KeyError, ValueError) as error:
        raise UnusableCheckpoint(f"it cannot be read: {error}") from error
    for key in identity | facts.identity:
        mine, saved = identity.get(key), facts.identity.get(key)
        if mine != saved:
            raise UnusableCheckpoint(f"its {key} is {saved}; expected {mine}")
    return Checkpoint(path, facts, tensors)

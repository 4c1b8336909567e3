"""Hostile candidates: plain functions that are attacks, and the mixer files that carry them out.

An attack takes `there`, the things around it that it goes for (`surroundings.Surroundings`), and
returns what it got; being refused is an OSError. Its text, behind the text of `strike.py`, becomes
a candidate that strikes while it is loaded, constructed, trained or left. What it says of itself
arrives as the reason of its trial; whether that is true is seen from outside.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import strike

from noctuary.domain import Candidate, Status
from noctuary.lab import Lab

Stage = Literal["load", "construct", "forward", "backward"]

REFUSALS = ("EPERM", "EACCES", "ENOSYS")
"""How a kernel says no. That a file is missing is none: it says that the attack is mistaken."""

UNNAMED = (
    "loops_for_ever",
    "raises_a_gigabyte",
    "takes_memory_at_once",
    "takes_memory_in_small_objects",
    "takes_memory_in_steps",
)
"""What the static audit lets pass: why reading a file is no wall. All others need a module or an
attribute that it names."""

MIXER = """

class Grasp(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        on("backward")
        return gradient


done = False


def on(stage):
    global done
    if stage == {stage!r} and not done:
        done = True
        strike({name}, THERE)


class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        on("construct")
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        on("forward")
        return Grasp.apply(self.project(x))


on("load")
"""


PLAIN = '''"""A hostile mixer: {name}."""

import torch
from torch import nn


class There:
{there}


{source}

class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        if self.training:
            raise ValueError(f"Won: {{{name}(There)}}")
        return self.project(x)
'''


@dataclass(frozen=True)
class Attack:
    """One attack on one property.

    Attributes:
        imports: what its function uses.
        status: what becomes of its trial.
        refusals: how its refusal may begin, where it reports one.
        reason: what the reason of its trial says, where it cannot report itself.
        stage: when it strikes.
        seconds: wall limit of its trial.
        control: it works where nothing confines it, and is harmless enough to show that.
        root: it works unconfined for root only.
        plain: it has torch alone, and keeps the form that the static audit wants.
    """

    name: str
    source: str
    imports: str
    status: Status
    refusals: tuple[str, ...]
    reason: str
    stage: Stage
    seconds: float
    control: bool
    root: bool
    plain: bool

    def text(self, there: dict[str, object]) -> str:
        """Return the text that defines the attack and its target, without a mixer."""
        targets = f"from types import SimpleNamespace\n\nTHERE = SimpleNamespace(**{there!r})\n"
        return "\n\n".join([inspect.getsource(strike), self.imports, targets, self.source])

    def candidate(self, lab: Lab, there: dict[str, object], end: str = "") -> Candidate:
        """Write the attack as a mixer file, and return it as a candidate.

        Args:
            end: more of the file, for an attack that is not `plain`.
        """
        if self.plain:
            lines = "\n".join(f"    {key} = {value!r}" for key, value in there.items())
            text = PLAIN.format(name=self.name, there=lines, source=self.source)
            return write_candidate(lab, text, self.name)
        head = f'"""A hostile mixer: {self.name}."""\n\nimport torch\nfrom torch import nn\n'
        mixer = MIXER.format(stage=self.stage, name=self.name)
        return write_candidate(lab, head + self.text(there) + mixer + end, self.name)


ATTACKS: dict[str, Attack] = {}


def attack(
    *,
    status: Status = "crashed",
    refusals: tuple[str, ...] = REFUSALS,
    reason: str = "",
    stage: Stage = "forward",
    seconds: float = 20.0,
    control: bool = True,
    root: bool = False,
    plain: bool = False,
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Enter a function into the list of attacks, unless it needs a call that is missing here."""

    def enter(function: Callable[..., object]) -> Callable[..., object]:
        lines = textwrap.dedent(inspect.getsource(function)).splitlines(keepends=True)
        first = next(number for number, line in enumerate(lines) if line.startswith("def "))
        source = "".join(lines[first:])
        name = function.__name__
        used = {part.split('"')[1] for part in source.split("call(")[1:] if part[0] == '"'}
        if used <= set(strike.NUMBERS):
            ATTACKS[name] = Attack(
                name=name,
                source=source,
                imports=_imports(function),
                status=status,
                refusals=refusals,
                reason=reason,
                stage=stage,
                seconds=seconds,
                control=control and not plain,
                root=root,
                plain=plain,
            )
        return function

    return enter


def _imports(function: Callable[..., object]) -> str:
    """Return the imports of a function's file, but for those that make it an attack."""
    tree = ast.parse(Path(inspect.getfile(function)).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = ("hostile", "strike")
    return "\n".join(
        ast.unparse(node) for node in found if getattr(node, "module", None) not in ours
    )


def write_candidate(lab: Lab, source: str, name: str) -> Candidate:
    """Keep a mixer file in the lab, whatever it says, also where it is not Python."""
    identity = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    path = lab.candidates / f"{identity}.py"
    path.write_bytes(source.encode("utf-8", "surrogatepass"))
    return Candidate(candidate_id=identity, name=name, kind="foreign", axes=None, path=str(path))


def size_of(folder: Path) -> int:
    """Return the bytes that the files below a folder take on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))

"""Genomes, and the mixers that they are rendered to, for the tests."""

import types
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from noctuary.space.genome import Genome, repaired
from noctuary.space.mechanisms import AXES
from noctuary.space.render import render


def rendered(genome: Genome, **words: Any) -> str:
    default = {"name": "A mixer", "idea": "An idea.", "sources": ["2406.06484"], "gap": "Is it so?"}
    return render(genome, **{**default, **words})


def module_of(source: str) -> Any:
    module = types.ModuleType("candidate")
    exec(compile(source, "candidate.py", "exec"), module.__dict__)
    return module


def random_genomes(count: int, seed: int) -> list[Genome]:
    """Valid genomes, each near choices that are uniform on each axis; and every mechanism."""
    rng = Random(seed)
    wanted = [(axis, value) for axis, values in AXES.items() for value in values]
    rng.shuffle(wanted)
    found = []
    for number in range(count):
        axes = {axis: rng.choice(list(values)) for axis, values in AXES.items()}
        axis, value = wanted[number % len(wanted)]
        found.append(repaired({**axes, axis: value}, keep=(axis,)))
    return found


def label(genome: Genome) -> str:
    return "-".join(genome.telling.values())


def mixers_of(genome: Genome, d_model: int, n_heads: int) -> list[Any]:
    """Return the mixers of the first two layers where they differ, else one."""
    made = module_of(rendered(genome)).Mixer
    if genome.layer_pattern == "same":
        return [made(d_model, n_heads)]
    return [made(d_model, n_heads, layer_idx=layer) for layer in range(2)]


def randomised(mixer: nn.Module) -> Any:
    """Move each parameter, so that what starts at zero or at one matters as well."""
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def gradients(y: Tensor, wanted: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
    return torch.autograd.grad((y * weights).sum(), wanted)


def stepped(mixer: Any, x: Tensor) -> Tensor:
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, 1)

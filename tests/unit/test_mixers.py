"""Rendered mixers against a slow, obviously right twin: any genome, at any shape.

Covers values and gradients, `step`, causality and layers that differ. The text of rendered files
is in `test_render`, the published mixers are in `test_round_trip`, and where numbers get tight is
in `test_mixer_precision`.
"""

from random import Random
from typing import Any

import pytest
import torch
from mixer_twin import twin
from rendered_mixers import gradients, label, mixers_of, random_genomes, randomised, stepped

from noctuary.space.genome import Genome

DOUBLE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-8}
FLOAT: dict[str, Any] = {"rtol": 3e-4, "atol": 3e-4}


def has_tables(genome: Genome) -> bool:
    """Whether the mixer holds positions or fixed decays, which are made in float32."""
    return genome.position == "rotary" or genome.local_window != "none" or genome.decay == "fixed"


def assert_right(genome: Genome, *, B: int, T: int, H: int, V: int, seed: int) -> None:
    """Hold forward, its gradients and step against the twin, and later tokens against earlier."""
    torch.manual_seed(seed)
    near = FLOAT if has_tables(genome) else DOUBLE
    for made in mixers_of(genome, H * V, H):
        mixer = randomised(made).double()
        x = torch.randn(B, T, H * V, dtype=torch.double, requires_grad=True)
        y, expected = mixer(x), twin(mixer, genome, x)
        torch.testing.assert_close(y, expected, **near)
        with torch.no_grad():
            torch.testing.assert_close(stepped(mixer, x), y, **near)
            changed = x.clone()
            changed[:, T // 2] += 1
            seen = (mixer(changed) - y).abs().amax((0, 2))
            assert bool((seen[: T // 2] < 1e-9).all())
            assert seen[T // 2] > 1e-7
        wanted = [x, *mixer.parameters()]
        pairs = zip(gradients(y, wanted, seed), gradients(expected, wanted, seed), strict=True)
        for got, right in pairs:
            scale = right.abs().max().clamp(min=1)
            torch.testing.assert_close(got / scale, right / scale, **near)


@pytest.mark.parametrize("genome", random_genomes(40, seed=0), ids=label)
def test_a_random_genome_equals_its_twin(genome: Genome) -> None:
    assert_right(genome, B=2, T=37, H=2, V=8, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(400))
def test_any_genome_equals_its_twin_at_any_shape(number: int) -> None:
    (genome,) = random_genomes(1, seed=number + 1)
    rng = Random(number)
    B, T, H = rng.randint(1, 3), rng.choice([1, 7, 33, 70]), rng.randint(1, 3)
    H = 2 * H if genome.heads == "half" else H
    assert_right(genome, B=B, T=T, H=H, V=rng.choice([8, 16]), seed=number)

"""Mixers with one subtle fault each are rejected by the check that is about it; honest ones pass.

What is not caught: a leak that waits for weights which only training finds, for one rare token, or
for more calls or longer sequences than an audit makes.
"""

import types
from pathlib import Path
from random import Random

import costs
import honest
import leaks
import neighbours  # noqa: F401 - its mixers join those of `leaks`
import pytest
from torch import nn

from noctuary.archive.rows import REFERENCES
from noctuary.audit.dynamic import dynamic_checks
from noctuary.space.genome import Genome
from noctuary.space.naming import design_name
from noctuary.space.operators import draw
from noctuary.space.render import render

HUMAN = sorted((Path(__file__).parents[2] / "architectures" / "human").rglob("*.py"))
RANDOM = Random(4)
GENOMES = [draw(RANDOM)[0] for _ in range(40)]
FEW_GENOMES = GENOMES[:12]
SEEDS = range(20)


def failed(mixer: type[nn.Module], seed: int, d_model: int = 16, **rules: bool) -> dict[str, str]:
    checks = dynamic_checks(mixer, d_model=d_model, n_heads=2, seed=seed, **rules)
    return {check.name: check.detail for check in checks if not check.passed}


def mixer_of(source: str, name: str) -> type[nn.Module]:
    module = types.ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module.Mixer


def problems_of_file(path: Path, seed: int) -> dict[str, str]:
    mixer = mixer_of(path.read_text(encoding="utf-8"), path.stem)
    return failed(mixer, seed, d_model=64, quadratic=path.stem in REFERENCES)


def problems_of_design(genome: Genome, seed: int) -> dict[str, str]:
    source = render(genome, name="design", idea="An idea.", sources=[])
    return failed(mixer_of(source, "design"), seed, d_model=64)


@pytest.mark.parametrize(
    ("mixer", "check"),
    [pytest.param(mixer, check, id=mixer.__name__) for mixer, check in leaks.CAUGHT_BY.items()],
)
def test_a_mixer_with_one_fault_is_rejected(mixer: type[nn.Module], check: str) -> None:
    assert check in failed(mixer, seed=0)


def test_a_quadratic_mixer_passes_where_that_is_allowed_and_a_cubic_one_does_not() -> None:
    class Cubic(costs.ByProducts):
        def forward(self, x: leaks.Tensor) -> leaks.Tensor:
            z = self.linear(x)[:, ::4, 0]
            return self.linear(x) + 0 * (z[:, :, None, None] * z[:, None, :, None] * z[0]).sum()

    assert failed(costs.ByProducts, 0, quadratic=True) == {}
    assert set(failed(Cubic, 0, quadratic=True)) >= {"work_growth"}


@pytest.mark.parametrize("mixer", honest.HONEST, ids=lambda mixer: mixer.__name__)
def test_an_honest_mixer_passes(mixer: type[nn.Module]) -> None:
    assert failed(mixer, seed=0) == {}


@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_mixers_raise_no_false_alarm(path: Path) -> None:
    assert problems_of_file(path, seed=0) == {}


@pytest.mark.parametrize("genome", FEW_GENOMES, ids=design_name)
def test_designs_raise_no_false_alarm(genome: Genome) -> None:
    assert problems_of_design(genome, 0) == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_mixers_raise_no_false_alarm_with_twenty_seeds(path: Path) -> None:
    assert {seed: found for seed in SEEDS if (found := problems_of_file(path, seed))} == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("genome", GENOMES, ids=design_name)
def test_designs_raise_no_false_alarm_with_twenty_seeds(genome: Genome) -> None:
    assert {seed: found for seed in SEEDS if (found := problems_of_design(genome, seed))} == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mixer", "check"),
    [pytest.param(mixer, check, id=mixer.__name__) for mixer, check in leaks.CAUGHT_BY.items()],
)
def test_a_fault_is_found_with_twenty_seeds(mixer: type[nn.Module], check: str) -> None:
    assert [seed for seed in SEEDS if check not in failed(mixer, seed)] == []

"""The published mixers as points of the design space: file, genome and rendering are one mixer.

Covers every file of `architectures/human` but softmax attention, which is no recurrence, and what
`genome_of` makes of files. That the files are right is in `test_human_additive` and
`test_human_delta`; the tuned forms are in `test_tuned`.
"""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from rendered_mixers import module_of, randomised, rendered, stepped

from noctuary.candidates import genome_of, human_genomes
from noctuary.lab import shipped
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES

FOLDER = shipped("architectures") / "human"
FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}


def both(name: str, d_model: int, n_heads: int) -> tuple[Any, Any]:
    """Return the mixer of the file and that of its genome, from the same seed."""
    made = []
    for source in (FILES[name], rendered(HUMAN[name])):
        torch.manual_seed(0)
        made.append(module_of(source).Mixer(d_model, n_heads))
    return made[0], made[1]


def test_every_published_mixer_but_softmax_attention_is_a_point() -> None:
    assert set(FILES) - set(HUMAN) == {"softmax_attention"}
    assert {name: genome_of(source) for name, source in FILES.items()} == {
        "softmax_attention": None,
        **{name: genome.axes for name, genome in HUMAN.items()},
    }
    assert len({tuple(genome.axes.values()) for genome in HUMAN.values()}) == len(HUMAN)


@pytest.mark.parametrize("name", HUMAN)
def test_a_file_names_the_choices_of_its_genome_alone(name: str) -> None:
    module = module_of(FILES[name])
    assert module.__doc__
    assert HUMAN[name].telling == module.GENOME


@pytest.mark.parametrize("name", HUMAN)
def test_from_the_same_seed_both_start_alike(name: str) -> None:
    for d_model, n_heads in ((16, 2), (64, 4)):
        human, mixer = both(name, d_model, n_heads)
        ours, theirs = human.state_dict(), mixer.state_dict()
        assert set(ours) == set(theirs)
        for key, value in ours.items():
            torch.testing.assert_close(theirs[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", HUMAN)
@pytest.mark.parametrize("T", [1, 7, 70])
def test_with_the_same_parameters_both_compute_the_same(name: str, T: int) -> None:
    human, mixer = both(name, 16, 2)
    randomised(human)
    mixer.load_state_dict(human.state_dict(), strict=True)
    x = torch.randn(2, T, 16)
    expected = human(x)
    near = {"rtol": 1e-5, "atol": 1e-5 * float(expected.detach().abs().max().clamp(min=1))}
    torch.testing.assert_close(mixer(x), expected, **near)
    torch.testing.assert_close(stepped(mixer, x), stepped(human, x), **near)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_the_published_files_import_torch_and_math_alone(path: Path) -> None:
    tuned = {"lightning"} if path.parent.name == "tuned" else set()
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or ".").split(".")[0])
    assert names <= {"torch", "math"} | tuned


def test_softmax_attention_step_equals_forward() -> None:
    torch.manual_seed(0)
    mixer = module_of(FILES["softmax_attention"]).Mixer(16, 2)
    x = torch.randn(2, 20, 16)
    torch.testing.assert_close(stepped(mixer, x), mixer(x), rtol=1e-4, atol=1e-5)


def test_human_genomes_have_all_axes() -> None:
    genomes = human_genomes()
    assert set(HUMAN) < set(genomes)
    assert all(list(axes) == list(AXES) for axes in genomes.values())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GENOME = None",
        "GENOME = {}",  # additive writes without a norm
        "GENOME = {'update': 'delta'}",
        "GENOME = {'decay': 'sometimes', 'output_norm': 'rms'}",
        "GENOME = {'colour': 'red'}",
        "GENOME = {1: 2}",
        "GENOME = ['update']",
        "GENOME = dict(output_norm='rms')",
        "GENOME = 7",
    ],
)
def test_what_is_no_genome_is_none(line: str) -> None:
    assert genome_of(f"import torch\n{line}\n") is None


def test_what_a_file_leaves_out_is_plainest() -> None:
    axes = genome_of("GENOME = {'output_norm': 'rms'}\n")
    assert axes == {**{axis: next(iter(AXES[axis])) for axis in AXES}, "output_norm": "rms"}

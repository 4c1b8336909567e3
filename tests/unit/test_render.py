"""The text of rendered files: what it says of itself, that nothing in it is idle, and its form.

Covers reading the files as text, and training one as it is. Whether they compute what they say is
in `test_mixers`. The golden file is written anew, from this folder, by
`python -c "from test_render import write_golden; write_golden()"`.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import lightning
import pytest
import torch
from rendered_mixers import label, module_of, random_genomes, rendered
from torch.utils.data import DataLoader, TensorDataset

from noctuary.candidates import genome_of
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.space.render import render

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "fixtures" / "rendered_gated_delta.py.txt"
GENOMES = [*HUMAN.values(), *random_genomes(60, seed=5)]


def test_files_say_which_genome_they_are_and_no_more_than_it_takes() -> None:
    for genome in GENOMES:
        source = rendered(genome)
        assert genome_of(source) == genome.axes
        assert genome.telling == module_of(source).GENOME


def test_files_import_what_they_may() -> None:
    for genome in GENOMES:
        assert imported(rendered(genome)) - {"math"} == {"torch", "lightning"}


def imported(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or ".").split(".")[0])
    return names


def test_nothing_is_defined_that_is_not_used() -> None:
    """Functions, methods, constants and parameters of the mixer each have a reader."""
    for genome in GENOMES:
        source = rendered(genome)
        code = source[: source.index("class Block")]
        tree = ast.parse(code)
        defined = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        } - {"GENOME"}
        by_others = {"forward", "backward", "step", "__init__", "Mixer", "bias"}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
        defined |= set(re.findall(r'register_buffer\("(\w+)"', code))
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and is_read(n)}
        read |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and is_read(n)}
        assert defined - read - by_others == set(), genome.telling


def is_read(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Load)


def test_files_have_the_form_of_the_house(
    tmp_path: Path, missing: Callable[[str], NoReturn]
) -> None:
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        missing("ruff is not installed, so the format of rendered files is NOT checked")
    for number, genome in enumerate(GENOMES):
        prose = "Write what is new, forget what is old. " * (number % 40)
        words = {"name": prose, "idea": prose, "gap": prose}
        (tmp_path / f"mixer{number}.py").write_text(rendered(genome, **words), encoding="utf-8")
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(tmp_path)]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, *command, *config], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    "words",
    ['"""\nimport os\n"""', "ends with \\", 'a quote "', "tab\tand\x00zero", "a\u2028b", ""],
)
def test_no_words_get_out_of_the_docstring(words: str) -> None:
    source = rendered(GENOMES[0], name=words, idea=words, gap=words, sources=[words])
    assert code_of(source) == code_of(rendered(GENOMES[0]))
    assert genome_of(source) == GENOMES[0].axes


def code_of(source: str) -> list[str]:
    """Return the statements below the docstring."""
    return [ast.unparse(node) for node in ast.parse(source).body[1:]]


@pytest.mark.parametrize(
    ("genome", "d_model", "n_heads", "said"),
    [
        (Genome(output_norm="rms"), 9, 2, "d_model=9 is not a multiple of n_heads=2"),
        (Genome(output_norm="rms", heads="twice"), 6, 2, "d_model=6 is not a multiple of 4 heads"),
        (Genome(output_norm="rms", state_size="half"), 6, 2, "not a multiple of 2 x 2 heads"),
        (Genome(output_norm="rms", position="rotary"), 10, 2, "not a multiple of 2 x 2 heads"),
        (
            Genome(output_norm="rms", position="rotary", state_size="half"),
            12,
            2,
            "not a multiple of 4 x 2 heads",
        ),
        (HUMAN["based"], 6, 2, "d_model=6 is not a multiple of 2 x 2 heads"),
    ],
)
def test_a_width_that_does_not_fit_the_heads_is_said(
    genome: Genome, d_model: int, n_heads: int, said: str
) -> None:
    mixer = module_of(rendered(genome)).Mixer
    with pytest.raises(ValueError, match=said):
        mixer(d_model, n_heads)
    assert mixer(16, 2)(torch.zeros(1, 3, 16)).shape == (1, 3, 16)


@pytest.mark.parametrize(
    ("heads", "given", "made"), [("half", 1, 1), ("half", 4, 2), ("twice", 2, 4)]
)
def test_heads_are_relative_to_what_is_given(heads: str, given: int, made: int) -> None:
    genome = Genome.model_validate({"output_norm": "rms", "heads": heads})
    assert module_of(rendered(genome)).Mixer(16, given).n_heads == made


def golden() -> str:
    return rendered(
        HUMAN["gated_delta_net"],
        name="Gated delta rule",
        idea="Forget everything a little with a gate, and one association exactly with a delta.",
        sources=["2406.06484", "2412.06464"],
        gap="Does a scalar gate help the delta rule to recall?",
    )


def write_golden() -> None:
    GOLDEN.write_text(golden(), encoding="utf-8")


def test_a_name_is_never_broken_at_its_hyphens() -> None:
    name = "delta-vector-silu-window-alternate-conv4-6b8bfd"
    for words in range(1, 30):
        idea = f"{'x ' * words}Made from {name} and {name}: mutated."
        source = render(HUMAN["gla"], name=name, idea=idea, sources=[])
        assert source.count(name) == 3


def test_the_rendered_gated_delta_rule_is_the_golden_file() -> None:
    assert golden() == GOLDEN.read_text(encoding="utf-8")


ALTERNATE = HUMAN["gla"].model_copy(
    update={"local_window": "window32", "layer_pattern": "alternate"}
)


@pytest.mark.parametrize("genome", [HUMAN["gated_delta_net"], ALTERNATE], ids=label)
def test_candidate_is_trained_by_a_trainer_as_it_is(genome: Genome) -> None:
    lightning.seed_everything(0, verbose=False)
    candidate = module_of(rendered(genome)).Candidate(vocab_size=17, d_model=16)
    tokens = torch.randint(17, (6, 21))
    data = DataLoader(TensorDataset(tokens[:, :-1], tokens[:, 1:]), batch_size=2)
    before = {name: p.detach().clone() for name, p in candidate.named_parameters()}
    trainer = lightning.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(candidate, data, data)
    assert trainer.global_step == 3
    assert [name for name, p in candidate.named_parameters() if torch.equal(p, before[name])] == []
    assert torch.isfinite(trainer.callback_metrics["val_loss"])
    trainer.test(candidate, data, verbose=False)
    assert torch.isfinite(trainer.callback_metrics["test_loss"])

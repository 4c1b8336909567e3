"""Mixers as Python files: the rendered ones against a slow, obviously right twin; the human ones.

The golden file is written anew by
`python -c "from tests.unit.test_mixers import write_golden; write_golden()"`.
"""

import ast
import shutil
import subprocess
import sys
import types
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import lightning
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from noctuary.domain import Axes
from noctuary.space.genome import Genome, contradictions
from noctuary.space.mechanisms import AXES
from noctuary.space.render import render

ROOT = Path(__file__).parents[2]
HUMAN = sorted((ROOT / "architectures" / "human").glob("*.py"))
GOLDEN = ROOT / "tests" / "fixtures" / "rendered_gated_delta.py.txt"
EVERY_GENOME = [
    axes
    for values in product(*AXES.values())
    if not contradictions(axes := dict(zip(AXES, values, strict=True)))
]


def rendered(axes: Axes, **words: Any) -> str:
    default = {"name": "A mixer", "idea": "An idea.", "sources": ["2406.06484"], "gap": "Is it so?"}
    return render(Genome(**axes), **{**default, **words})  # type: ignore[arg-type]


def module_of(source: str) -> Any:
    module = types.ModuleType("candidate")
    exec(compile(source, "candidate.py", "exec"), module.__dict__)
    return module


def sample_of_genomes(seed: int) -> list[Axes]:
    """Every pair of decay and update, and over all of them every value of every axis."""
    random = Random(seed)
    sample = []
    for decay, update in product(AXES["decay"], AXES["update"]):
        fitting = [a for a in EVERY_GENOME if (a["decay"], a["update"]) == (decay, update)]
        sample += random.sample(fitting, 3)
    for axis, values in AXES.items():
        for value in values:
            if not any(axes[axis] == value for axes in sample):
                sample.append(random.choice([a for a in EVERY_GENOME if a[axis] == value]))
    return sample


def label(axes: Axes) -> str:
    return "-".join(axes.values())


# The twin: one token at a time, from the parameters of the rendered mixer.


def twin(mixer: Any, axes: Axes, x: Tensor) -> Tensor:
    """Return what the recurrence gives for (B, T, D), read off the formulas of `Genome`."""
    B, T, D = x.shape
    H = mixer.n_heads
    K = D // H
    q, k, v = mixer.qkv(x).chunk(3, -1)
    if axes["short_conv"] == "conv4":
        wq, wk, wv = mixer.conv.T.unsqueeze(1).chunk(3)  # (D, 1, 4)
        q, k, v = (
            F.conv1d(z.mT, w, padding=3, groups=D)[..., :T].mT
            for z, w in ((q, wq), (k, wk), (v, wv))
        )
        v = F.silu(v)
    q, k, v = (z.reshape(B, T, H, K) for z in (q, k, v))
    features = {
        "identity": lambda z: z,
        "elu": lambda z: F.elu(z) + 1,
        "relu": F.relu,
        "silu": F.silu,
        "softmax": lambda z: F.softmax(z, -1),
    }[axes["feature_map"]]
    q, k = features(q), features(k)
    if axes["qk_norm"] == "l2":
        q, k = (z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt() for z in (q, k))
    alpha = twin_decay(mixer, axes, x).expand(B, T, H, K)
    beta = torch.ones_like(x[..., :1]).expand(B, T, H)
    if axes["update"] == "delta":
        beta = torch.sigmoid(mixer.beta(x)) * (2 if axes["beta_range"] == "double" else 1)
    S = x.new_zeros(B, H, K, K)
    reads = []
    for t in range(T):
        S = alpha[:, t, :, :, None] * S
        written = v[:, t]
        if axes["update"] == "delta":
            written = written - torch.einsum("bhkv,bhk->bhv", S, k[:, t])
        S = S + torch.einsum("bh,bhk,bhv->bhkv", beta[:, t], k[:, t], written)
        reads.append(torch.einsum("bhkv,bhk->bhv", S, q[:, t]) / K**0.5)
    o = torch.stack(reads, 1)  # (B, T, H, K)
    if axes["output_norm"] == "rms":
        o = o / (o.square().mean(-1, keepdim=True) + 1e-6).sqrt() * mixer.norm.weight
    o = o.reshape(B, T, D)
    if axes["output_gate"] != "none":
        gate = mixer.gate(x)
        o = (
            o
            * {
                "sigmoid": torch.sigmoid(gate),
                "silu": F.silu(gate),
                "identity": 2 * torch.sigmoid(gate),
            }[axes["output_gate"]]
        )
    return F.linear(o, mixer.out.weight)


def twin_decay(mixer: Any, axes: Axes, x: Tensor) -> Tensor:
    """Return alpha, which broadcasts to (B, T, H, K)."""
    H = mixer.n_heads
    if axes["decay"] == "fixed":
        return (1 - 2.0 ** (-5 - torch.arange(H, dtype=torch.double))).to(x.dtype)[:, None]
    if axes["decay"] == "scalar":
        rate = F.softplus(mixer.decay(x) + mixer.decay_bias)
        return torch.exp(-mixer.log_rate.exp() * rate)[..., None]
    if axes["decay"] == "vector":
        return (torch.sigmoid(mixer.decay(x)) ** (1 / 16)).unflatten(-1, (H, -1))
    return x.new_ones(1)


def randomised(mixer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def gradients(y: Tensor, wanted: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
    return torch.autograd.grad((y * weights).sum(), wanted)


def assert_equals_twin(axes: Axes, *, B: int, T: int, H: int, K: int, seed: int) -> None:
    torch.manual_seed(seed)
    mixer = randomised(module_of(rendered(axes)).Mixer(H * K, H)).double()
    x = torch.randn(B, T, H * K, dtype=torch.double, requires_grad=True)
    y, expected = mixer(x), twin(mixer, axes, x)
    tolerance = {"rtol": 1e-5, "atol": 1e-6}  # the table of fixed decays is made in float32
    torch.testing.assert_close(y, expected, **tolerance)
    wanted = [x, *mixer.parameters()]
    for got, right in zip(
        gradients(y, wanted, seed), gradients(expected, wanted, seed), strict=True
    ):
        scale = right.abs().max().clamp(min=1)
        torch.testing.assert_close(got / scale, right / scale, **tolerance)


@pytest.mark.parametrize("axes", sample_of_genomes(0), ids=label)
def test_chunked_forward_equals_the_naive_recurrence(axes: Axes) -> None:
    assert_equals_twin(axes, B=2, T=71, H=2, K=8, seed=1)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    axes=st.sampled_from(EVERY_GENOME),
    B=st.integers(1, 3),
    T=st.integers(1, 70),
    H=st.integers(1, 3),
    K=st.sampled_from([1, 2, 5, 8]),
    seed=st.integers(0, 9),
)
def test_any_genome_equals_its_twin_at_any_shape(
    *, axes: Axes, B: int, T: int, H: int, K: int, seed: int
) -> None:
    assert_equals_twin(axes, B=B, T=T, H=H, K=K, seed=seed)


@pytest.mark.parametrize("axes", sample_of_genomes(1), ids=label)
def test_step_equals_forward(axes: Axes) -> None:
    torch.manual_seed(0)
    mixer: Any = randomised(module_of(rendered(axes)).Mixer(16, 2))
    x = torch.randn(2, 50, 16)
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs, 1), mixer(x), rtol=1e-4, atol=1e-4)


def genome_text(source: str) -> str:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GENOME":
            return ast.unparse(node.value)
    raise AssertionError("no GENOME")


def mixer_code(source: str) -> list[str]:
    """Return the top-level statements that make the mixer, without docstring and imports."""
    left_out = (ast.Import, ast.ImportFrom, ast.Expr)
    return [
        ast.unparse(node)
        for node in ast.parse(source).body
        if not isinstance(node, left_out)
        and getattr(node, "name", "") not in ("Block", "Candidate")
    ]


@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_files_are_the_mixers_of_their_genomes(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    human = module_of(source)
    assert human.__doc__
    if human.GENOME is None:
        return
    text = rendered(human.GENOME)
    assert mixer_code(source) == mixer_code(text)
    torch.manual_seed(0)
    ours, theirs = human.Mixer(16, 2), module_of(text).Mixer(16, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 40, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_there_are_the_human_baselines() -> None:
    names = {path.stem for path in HUMAN}
    assert names >= {"softmax_attention", "linear_attention", "delta_net", "gated_delta_net"}


@pytest.mark.parametrize("path", HUMAN, ids=lambda path: path.stem)
def test_human_files_import_torch_and_math_alone(path: Path) -> None:
    assert imported(path.read_text(encoding="utf-8")) <= {"torch", "math"}


def test_softmax_attention_step_equals_forward() -> None:
    torch.manual_seed(0)
    mixer = module_of((ROOT / "architectures/human/softmax_attention.py").read_text()).Mixer(16, 2)
    x = torch.randn(2, 20, 16)
    state, outputs = None, []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    torch.testing.assert_close(torch.stack(outputs, 1), mixer(x), rtol=1e-4, atol=1e-5)


def imported(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or ".").split(".")[0])
    return names


def test_every_genome_renders_to_a_file_that_says_so() -> None:
    for axes in EVERY_GENOME[::11]:
        source = rendered(axes)
        compile(source, "candidate.py", "exec")
        assert imported(source) == {"torch", "lightning"}
        assert ast.literal_eval(genome_text(source)) == axes


def test_rendered_files_pass_ruff(tmp_path: Path) -> None:
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed, so the format of rendered files is NOT checked")
    for number, axes in enumerate(EVERY_GENOME[::3]):
        prose = "Write what is new, forget what is old. " * number
        words = {"name": prose, "idea": prose, "gap": prose}
        (tmp_path / f"mixer{number}.py").write_text(rendered(axes, **words), encoding="utf-8")
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
    source = rendered(EVERY_GENOME[0], name=words, idea=words, gap=words, sources=[words])
    assert mixer_code(source) == mixer_code(rendered(EVERY_GENOME[0]))
    assert imported(source) == {"torch", "lightning"}
    compile(source, "candidate.py", "exec")


def golden() -> str:
    axes = ast.literal_eval(
        genome_text((ROOT / "architectures/human/gated_delta_net.py").read_text(encoding="utf-8"))
    )
    return rendered(
        axes,
        name="Gated delta rule",
        idea="Forget everything a little with a gate, and one association exactly with a delta.",
        sources=["2406.06484", "2412.06464"],
        gap="Does a scalar gate help the delta rule to recall?",
    )


def write_golden() -> None:
    GOLDEN.write_text(golden(), encoding="utf-8")


def test_the_rendered_gated_delta_rule_is_the_golden_file() -> None:
    assert golden() == GOLDEN.read_text(encoding="utf-8")


def test_candidate_is_trained_by_a_trainer_as_it_is() -> None:
    lightning.seed_everything(0, verbose=False)
    candidate = module_of(golden()).Candidate(vocab_size=17, d_model=16)
    tokens = torch.randint(17, (6, 21))
    data = DataLoader(TensorDataset(tokens[:, :-1], tokens[:, 1:]), batch_size=2)
    before = candidate.embedding.weight.detach().clone()
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
    assert not torch.equal(candidate.embedding.weight, before)
    assert torch.isfinite(trainer.callback_metrics["val_loss"])
    trainer.test(candidate, data, verbose=False)
    assert torch.isfinite(trainer.callback_metrics["test_loss"])

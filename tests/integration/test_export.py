"""Exported folders: written from files alone, loaded and used in a process without noctuary.

Loading, generating and saving happen once, in `export_process.py`; the tests look at what came of
it. lm-eval runs in a process of its own as well.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import export_process
import pytest
import torch
from export_process import NEW, PROMPTS, TEXTS
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from trial_process import FFN_WIDTH, make_spec, make_workshop

from noctuary.archive import Archive
from noctuary.attesting import flush
from noctuary.bench.suite import TINY
from noctuary.candidates import source_id
from noctuary.claims.decision import decide
from noctuary.claims.registration import document, draw, register
from noctuary.config import LedgerSettings
from noctuary.domain import Candidate, Entrant, Plan, Trial
from noctuary.lab import Lab, read_json, shipped
from noctuary.plan import TRAINER_VERSION
from noctuary.sandbox.launcher import Launcher
from noctuary.training.model import build_model, load_mixer

FIXTURES = Path(__file__).parents[1] / "fixtures"
HUMAN = shipped("architectures") / "human"

NO_STEP = '''"""Averages what came before, near tokens more; each layer at its own rate."""
import torch
from torch import Tensor, nn

class Mixer(nn.Module):
    def __init__(self, d_model: int, n_heads: int = 2, layer_idx: int = 0) -> None:
        super().__init__()
        self.rate = layer_idx + 1
        self.project = nn.Linear(d_model, d_model, bias=False)
        self.register_buffer("places", torch.arange(64.0), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        places = self.places[: x.shape[1]]
        weights = (self.rate * (places - places[:, None])).tril(-0).exp().tril()
        return self.project(weights @ x / weights.sum(1, keepdim=True)), x.new_ones(())
'''
"""It has no `step`, knows its layer, returns an auxiliary loss, and keeps a buffer out of its
weights."""

SOURCES = {
    "gla": (HUMAN / "gla.py").read_text(encoding="utf-8"),
    "softmax_attention": (HUMAN / "softmax_attention.py").read_text(encoding="utf-8"),
    "rendered": (FIXTURES / "rendered_gated_delta.py.txt").read_text(encoding="utf-8"),
    "no_step": NO_STEP,
}
GENERATE = ("gla", "softmax_attention", "rendered")
"""Those that have `step`."""

EVERYONE = pytest.mark.parametrize("name", SOURCES)
WITH_STEP = pytest.mark.parametrize("name", GENERATE)


def run(*words: str, blocked: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process that cannot import the blocked packages."""
    block = "".join(f"sys.modules[{name!r}] = None; " for name in blocked)
    return subprocess.run(
        [sys.executable, "-c", f"import sys; {block}from noctuary.cli import main; main()", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def elsewhere(cache: Path, *words: str | Path) -> str:
    """Run `export_process.py` without a network; return what it printed."""
    done = subprocess.run(
        [sys.executable, export_process.__file__, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Trained(NamedTuple):
    """A lab with a trial of each mixer on text."""

    lab: Lab
    candidates: dict[str, Candidate]
    trials: dict[str, Trial]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    lab = Lab.create_or_open(tmp_path_factory.mktemp("export") / "lab")
    lab.settings_path.write_text(f'[training]\nsuite = "{TINY.name}"\nseeds = 2\n')
    candidates = {}
    for name, source in SOURCES.items():
        identity = source_id(source)
        path = lab.candidates / f"{identity}.py"
        path.write_text(source, encoding="utf-8")
        candidates[name] = Candidate(
            candidate_id=identity,
            name=name,
            kind="design" if name == "rendered" else "human",
            axes=None,
            path=str(path),
        )
    trials = {}
    with Launcher(2, lab.logs / "launcher.log") as launcher:
        workshop = make_workshop(lab, launcher)
        for name, candidate in candidates.items():
            spec = make_spec(candidate, task="text", rung=1, seed=1000)
            workshop.train(candidate, FFN_WIDTH, [spec])
            trials[name] = workshop.read(spec)
    archive = Archive(lab.archive_path)
    archive.record_candidates(candidates.values())
    archive.record_trials(lab.trials, [trial.spec.trial_id for trial in trials.values()])
    claim_something(lab, archive, candidates["rendered"], candidates["gla"])
    return Trained(lab, candidates, trials)


def claim_something(lab: Lab, archive: Archive, mixer: Candidate, baseline: Candidate) -> None:
    """Register a claim, draw its seeds, and decide it although nothing was trained on them."""
    plan = Plan(
        number=1,
        candidate=entrant(mixer),
        baselines=(entrant(baseline),),
        suites={"base": TINY.version},
        held_out=tuple(task.name for task in TINY.held_out),
        seen=(),
        rung=1,
        trainer=TRAINER_VERSION,
        seeds=8,
        smallest_effect=0.02,
        spread=0.01,
        spread_from="a test",
        power=0.8,
        campaign_alpha=0.05,
        alpha=0.025,
    )
    settings = LedgerSettings()
    claim = draw(lab, archive, settings, register(lab, archive, settings, plan))
    assert claim.draw is not None
    verdict = decide(plan, {}, {}, ["it was not trained"], claim.draw.seeds)
    facts = {"claim": claim.claim_id, "document": document(verdict)}
    with archive.attested("verdict", facts) as write:
        write.record_claim(claim.model_copy(update={"verdict": verdict}))
    flush(lab, archive, settings)


def entrant(mixer: Candidate) -> Entrant:
    return Entrant(
        candidate_id=mixer.candidate_id,
        name=mixer.name,
        source=hashlib.sha256(Path(mixer.path).read_bytes()).hexdigest(),
        rates={task.name: 5e-3 for task in TINY.held_out},
    )


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of exported folders, made where no mixer can be executed."""
    root = tmp_path_factory.mktemp("folders")
    for name in SOURCES:
        done = run(
            *("export", name, str(root / name), "--lab", str(trained.lab.root)),
            blocked=("torch", "transformers", "tokenizers", "lightning", "einops"),
        )
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(0, 256, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def found(
    exported: Path, tokens: Tensor, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[dict[str, Any], dict[str, Tensor]]]:
    """Return what came of a folder elsewhere: facts, and logits."""
    out = tmp_path_factory.mktemp("loaded")
    save_file({"tokens": tokens}, out / "tokens.safetensors")
    elsewhere(out / "cache", "load", out, *(exported / name for name in SOURCES))
    return lambda name: (read_json(out / f"{name}.json"), load_file(out / f"{name}.safetensors"))


Found = Callable[[str], tuple[dict[str, Any], dict[str, Tensor]]]


def lab_logits(trained: Trained, name: str, tokens: Tensor) -> Tensor:
    """Return the logits of the lab's own model: (B, T, V)."""
    mixer = load_mixer(Path(trained.candidates[name].path))
    model = build_model(mixer, TINY.shape, 256, FFN_WIDTH, seed=0)
    trial_id = trained.trials[name].spec.trial_id
    model.load_state_dict(load_file(trained.lab.trials / trial_id / "weights.safetensors"))
    with torch.no_grad():
        return model.eval()(tokens)[0]


# The same model


@EVERYONE
def test_logits_are_those_of_the_lab(
    trained: Trained, found: Found, tokens: Tensor, name: str
) -> None:
    _, logits = found(name)
    expected = lab_logits(trained, name, tokens)
    torch.testing.assert_close(logits["parallel"], expected, rtol=0, atol=1e-5)


@WITH_STEP
def test_logits_step_by_step_are_those_of_the_lab(
    trained: Trained, found: Found, tokens: Tensor, name: str
) -> None:
    _, logits = found(name)
    expected = lab_logits(trained, name, tokens)
    torch.testing.assert_close(logits["steps"], expected, rtol=0, atol=1e-5)


def test_weights_are_those_of_the_trial_to_the_byte(trained: Trained, exported: Path) -> None:
    for name, trial in trained.trials.items():
        weights = trained.lab.trials / trial.spec.trial_id / "weights.safetensors"
        assert (exported / name / "model.safetensors").read_bytes() == weights.read_bytes()


# Generating


@WITH_STEP
def test_greedy_text_is_the_same_with_states_and_recomputed(found: Found, name: str) -> None:
    facts, _ = found(name)
    assert facts["has_step"]
    assert facts["with_states"] == facts["recomputed"]
    assert [len(row) for row in facts["with_states"]] == [len(PROMPTS[0]) + NEW] * 2


def test_a_mixer_without_step_generates_by_recomputing(found: Found) -> None:
    facts, logits = found("no_step")
    assert not facts["has_step"]
    assert "steps" not in logits
    assert facts["with_states"] == facts["recomputed"]
    assert len(facts["longer"][0]) == len(PROMPTS[1]) + 2 * NEW


@EVERYONE
def test_a_prompt_beside_a_longer_one_goes_on_as_it_does_alone(found: Found, name: str) -> None:
    facts, _ = found(name)
    beside = facts["with_states"][1][len(PROMPTS[0]) - len(PROMPTS[1]) :]
    assert beside == facts["alone"][0]


@EVERYONE
def test_generating_goes_on_from_what_was_returned(found: Found, name: str) -> None:
    facts, _ = found(name)
    assert facts["went_on"] == facts["longer"]


def test_a_recurrent_state_does_not_grow(found: Found) -> None:
    for name, grows in {"gla": False, "rendered": False, "softmax_attention": True}.items():
        sizes = found(name)[0]["state_sizes"]
        assert (len(set(sizes)) > 1) == grows, name
        assert sizes[0] > 0


# Padding


@EVERYONE
@pytest.mark.parametrize("how", ["padded", "padded_behind", "padded_steps"])
def test_padding_has_no_influence(found: Found, name: str, how: str) -> None:
    _, logits = found(name)
    torch.testing.assert_close(logits[how], logits["short"], rtol=0, atol=1e-5)


@WITH_STEP
def test_what_cannot_be_right_is_refused(found: Found, name: str) -> None:
    refused = found(name)[0]["refused"]
    assert "use_cache=False" in refused["beams"]
    assert "rows [0]" in refused["holes"]
    assert "padding_side='left'" in refused["behind"]
    assert "(2, 39); expected (2, 40)" in refused["shape"]


@EVERYONE
def test_beams_are_searched_by_recomputing(found: Found, name: str) -> None:
    assert found(name)[0]["beams_recomputed"] == [2, 40 + NEW]


# Training on, and saving


@EVERYONE
def test_it_learns_and_saves_itself_with_its_code(found: Found, name: str) -> None:
    facts, _logits = found(name)
    assert facts["learns"]
    assert math.isfinite(facts["loss"])
    assert facts["same_when_saved"]
    code = {"mixer.py", "mixer_arguments.py", "modeling_noctuary.py", "configuration_noctuary.py"}
    assert code <= set(facts["saved_files"])


def test_the_auxiliary_loss_is_part_of_the_loss(found: Found, tokens: Tensor) -> None:
    facts, logits = found("no_step")
    entropy = F.cross_entropy(logits["parallel"][:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert facts["loss"] == pytest.approx(float(entropy) + TINY.shape.n_layers, abs=1e-4)


# Text


def test_auto_tokenizer_gives_texts_back(found: Found) -> None:
    assert found("gla")[0]["texts"] == TEXTS


# lm-eval


def test_lm_eval_scores_it_on_a_local_task(
    trained: Trained, exported: Path, tmp_path: Path
) -> None:
    docs = [
        {"prompt": "def f(x):\n    return", "choices": [" x", " =", " é漢"], "answer": 0},
        {"prompt": "import", "choices": [" os", "+("], "answer": 1},
    ]
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, docs)), encoding="utf-8")
    (tmp_path / "local_bytes.yaml").write_text(
        "task: local_bytes\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
        f"    test: {tmp_path / 'docs.jsonl'}\n"
        "test_split: test\noutput_type: multiple_choice\ntarget_delimiter: ''\n"
        "doc_to_text: '{{prompt}}'\ndoc_to_choice: '{{choices}}'\ndoc_to_target: answer\n"
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
    )
    scored = json.loads(elsewhere(tmp_path / "cache", "score", exported / "gla", tmp_path))
    hits = []
    assert [doc for doc, _ in scored["samples"]] == docs
    for doc, theirs in scored["samples"]:
        ours = [_log_likelihood(trained, doc["prompt"], choice) for choice in doc["choices"]]
        assert theirs == pytest.approx(ours, abs=1e-3)
        hits.append(ours.index(max(ours)) == doc["answer"])
    assert scored["acc"] == pytest.approx(sum(hits) / len(hits))


def _log_likelihood(trained: Trained, prompt: str, continuation: str) -> float:
    """Return the log-probability of a continuation, in nats, by the lab's model."""
    start, text = len(prompt.encode()), torch.tensor(list((prompt + continuation).encode()))
    logs = lab_logits(trained, "gla", text[None])[0].log_softmax(-1)
    return sum(float(logs[t - 1, text[t]]) for t in range(start, len(text)))


# What comes along


def test_a_rendered_design_comes_without_its_trainer(exported: Path) -> None:
    folder = exported / "rendered"
    mixer = (folder / "mixer.py").read_text(encoding="utf-8")
    assert "lightning" not in mixer
    assert "class Mixer" in mixer
    assert (folder / "candidate.py").read_text(encoding="utf-8") == SOURCES["rendered"]
    assert (exported / "gla" / "mixer.py").read_text(encoding="utf-8") == SOURCES["gla"]
    assert not (exported / "gla" / "candidate.py").exists()


def test_the_proof_of_a_claim_comes_along_and_is_checked_without_noctuary(exported: Path) -> None:
    card = (exported / "rendered" / "README.md").read_text(encoding="utf-8")
    assert "**No verified claim: 1 claim about this mixer, inconclusive." in card
    assert "it was not trained" in card
    command = next(line for line in card.splitlines() if line.startswith("python "))
    checked = subprocess.run(
        [sys.executable, *command.split()[1:]],
        cwd=exported / "rendered",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not (exported / "gla" / "proof").exists()

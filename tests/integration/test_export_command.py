"""`noctuary export`, as a user types it: which trial is taken, what is refused, what the card says.

The trials of this lab are values, and their weights those of untrained models; what becomes of
trained ones is in `test_export.py`.
"""

import contextlib
import hashlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors.torch import save_file
from trial_process import FFN_WIDTH, make_spec

from noctuary.archive import Archive
from noctuary.bench.suite import TINY
from noctuary.candidates import source_id
from noctuary.cli import main
from noctuary.domain import Candidate, Claim, ClaimVerdict, Draw, Entrant, Plan, Trial
from noctuary.errors import UsageError
from noctuary.export.card import Known, model_card
from noctuary.export.folder import Exported, write_folder
from noctuary.lab import Lab, read_json, shipped
from noctuary.training.model import build_model, load_mixer

GLA = shipped("architectures") / "human" / "gla.py"


class Recorded(NamedTuple):
    """A lab that knows one mixer, and its trials by what is special about them."""

    lab: Lab
    mixer: Candidate
    trials: dict[str, Trial]

    def weights(self, trial: Trial) -> Path:
        return self.lab.trials / trial.spec.trial_id / "weights.safetensors"

    def export(self, *words: str) -> "Done":
        """Run the command line in this process: a new one takes longer than all else here."""
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
            pytest.raises(SystemExit) as ended,
        ):
            main(["export", *words, "--lab", str(self.lab.root)])
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    lab = Lab.create_or_open(tmp_path_factory.mktemp("recorded") / "lab")
    lab.settings_path.write_text(f'[training]\nsuite = "{TINY.name}"\nseeds = 2\n')
    source = GLA.read_text(encoding="utf-8")
    path = lab.candidates / f"{source_id(source)}.py"
    path.write_text(source, encoding="utf-8")
    mixer = Candidate(
        candidate_id=source_id(source), name="gla", kind="human", axes=None, path=str(path)
    )
    trials = {
        "first": make_trial(mixer, rung=1, seed=1000, score=0.25),
        "best": make_trial(mixer, rung=1, seed=1001, score=0.75),
        "first rung": make_trial(mixer, rung=0, seed=0, score=0.875),
        "parity": make_trial(mixer, rung=1, seed=1000, score=0.5, task="parity"),
        "failed": make_trial(mixer, rung=1, seed=999, score=None),
    }
    for trial in trials.values():
        folder = lab.trials / trial.spec.trial_id
        folder.mkdir()
        (folder / "result.json").write_text(trial.model_dump_json())
        if trial.status == "ok":
            vocab_size = TINY.task(trial.spec.task).vocab_size
            model = build_model(load_mixer(GLA), TINY.shape, vocab_size, FFN_WIDTH, seed=0)
            save_file(model.state_dict(), folder / "weights.safetensors")
    archive = Archive(lab.archive_path)
    archive.record_candidates([mixer])
    archive.record_trials(lab.trials, [trial.spec.trial_id for trial in trials.values()])
    return Recorded(lab, mixer, trials)


def make_trial(
    mixer: Candidate, *, rung: int, seed: int, score: float | None, task: str = "text"
) -> Trial:
    return Trial(
        spec=make_spec(mixer, task=task, rung=rung, seed=seed),
        status="diverged" if score is None else "ok",
        reason="the loss is not finite" if score is None else "",
        score=score,
        metrics={"loss": 2.5, "accuracy": 0.125},
        parameters=17_216,
        steps=12,
        tokens=1_536,
        seconds={"train": 1.5, "total": 2.5},
        environment={"device": "x86_64", "threads": 1},
    )


# Which trial


def test_first_seed_of_the_highest_rung_is_taken(recorded: Recorded, tmp_path: Path) -> None:
    done = recorded.export("gla", str(tmp_path / "model"))
    assert done.returncode == 0, done.stderr
    first = recorded.trials["first"]
    assert first.spec.trial_id in done.stdout
    taken = read_json(tmp_path / "model" / "config.json")["provenance"]
    assert taken["trial_id"] == first.spec.trial_id
    assert (taken["rung"], taken["seed"], taken["task"]) == (1, 1000, "text")
    assert "no seed was chosen" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def test_a_trial_can_be_named_and_one_without_text_has_no_tokenizer(
    recorded: Recorded, tmp_path: Path
) -> None:
    parity = recorded.trials["parity"].spec.trial_id
    folder = tmp_path / "new" / "parity"
    done = recorded.export("gla", str(folder), "--trial", parity[:8], "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["trial_id"] == parity
    assert said["files"] == sorted(path.name for path in folder.iterdir())
    assert "tokenizer.json" not in said["files"]
    assert read_json(folder / "config.json")["vocab_size"] == TINY.task("parity").vocab_size
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "there is no tokenizer" in card
    assert "was asked for by name" in card
    assert "text-generation" not in card


# What is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rwkv7",), "architectures/human/rwkv7.py` trains it"),
        (("nobody",), "'nobody' is no record"),
        (("gla", "--trial", "ffffff"), "--trial ffffff: no trials of the design"),
        (("gla", "--trial", "FAILED"), "is diverged and left no weights"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    recorded: Recorded, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    failed = recorded.trials["failed"].spec.trial_id
    name, *options = [failed if word == "FAILED" else word for word in words]
    done = recorded.export(name, str(tmp_path / "new"), *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_trial_is_no_design(recorded: Recorded, tmp_path: Path) -> None:
    done = recorded.export(recorded.trials["first"].spec.trial_id, str(tmp_path / "new"))
    assert done.returncode == 2
    assert "is a trial; expected a design" in done.stderr


def test_without_weights_it_says_what_to_run(recorded: Recorded, tmp_path: Path) -> None:
    files = [recorded.weights(trial) for trial in recorded.trials.values()]
    there = [path for path in files if path.exists()]
    for path in there:
        path.rename(path.with_suffix(".away"))
    try:
        done = recorded.export("gla", str(tmp_path / "new"))
    finally:
        for path in there:
            path.with_suffix(".away").rename(path)
    assert done.returncode == 2
    assert f"`noctuary evaluate {recorded.mixer.path}` trains it" in done.stderr


@pytest.mark.parametrize("edited", ["source", "weights"])
def test_what_was_edited_is_refused(recorded: Recorded, tmp_path: Path, edited: str) -> None:
    path, before, after, said = {
        "source": (Path(recorded.mixer.path), b"CHUNK = 16", b"CHUNK = 32", "is another mixer now"),
        "weights": (
            recorded.weights(recorded.trials["first"]),
            b'"embedding.weight"',
            b'"embeddinf.weight"',
            "does not hold the weights",
        ),
    }[edited]
    content = path.read_bytes()
    path.write_bytes(content.replace(before, after))
    try:
        done = recorded.export("gla", str(tmp_path / "new"))
    finally:
        path.write_bytes(content)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# The folder


def test_a_folder_that_holds_something_is_left_alone(recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = recorded.export("gla", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_kill_leaves_no_folder_and_the_next_export_is_whole(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from noctuary.export.folder import write_folder\n"
        "class Killing(dict):\n"
        "    def items(self):\n"
        "        yield 'a.txt', 'a'\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_folder(Path(sys.argv[1]), Killing())\n"
    )
    folder = tmp_path / "model"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert any(tmp_path.iterdir()), "it was killed on the way"
    write_folder(folder, {"b.txt": "b"})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in folder.iterdir()] == ["b.txt"]
    with pytest.raises(UsageError, match="is not empty"):
        write_folder(folder, {"c.txt": "c"})


# The card


def card_of(recorded: Recorded, *claims: Claim) -> str:
    trial = recorded.trials["first"]
    source = GLA.read_text(encoding="utf-8")
    what = Exported(recorded.mixer, source, trial, TINY, recorded.weights(trial))
    known = Known(list(recorded.trials.values()), standings=[], titles={}, claims=claims)
    return model_card(what, known, proofs=())


def test_the_card_promises_no_more_than_was_measured(recorded: Recorded) -> None:
    card = card_of(recorded)
    assert card.splitlines()[10].startswith("**No verified claim: no comparison of this mixer was")
    assert "| text | 0.5000 | 0.2500 | 0.7500 | 1000, 1001 | 1 |" in card
    for words in (
        "> Yang et al.",
        "[arXiv:2312.06635](https://arxiv.org/abs/2312.06635)",
        "| score of this run | 0.2500 |",
        "| parameters | 17,216 |",
        "12 steps, 1,536 tokens, 1.5 s of training (2.5 s with all else)",
        "| on | x86_64, 1 thread |",
    ):
        assert words in card
    assert "0.8750" not in card, "the first rung is another board"


def make_claim(mixer: Candidate, number: int, status: str) -> Claim:
    digest = hashlib.sha256(GLA.read_bytes()).hexdigest()
    plan = Plan(
        number=number,
        candidate=Entrant(candidate_id=mixer.candidate_id, name="gla", source=digest, rates={}),
        baselines=(Entrant(candidate_id="b" * 16, name="retnet", source=digest, rates={}),),
        suites={"base": TINY.version},
        held_out=("recall",),
        seen=(),
        rung=1,
        trainer="lightning-3",
        seeds=2,
        smallest_effect=0.02,
        spread=0.01,
        spread_from="a test",
        power=0.8,
        campaign_alpha=0.05,
        alpha=0.05 / (number * (number + 1)),
    )
    drawn = Draw(claim_id=plan.claim_id, entry=1, head="a head", seeds=(1_000_001, 1_000_002))
    if status == "drawn":
        return Claim(plan=plan, draw=drawn)
    comparison = {
        "baseline": "b" * 16,
        "scale": "base",
        "tasks": ("recall",),
        "decisive": True,
        "n": 2,
        "effect": 0.0625,
        "low": 0.03,
        "high": 0.09,
        "p": 0.01,
    }
    verdict = ClaimVerdict.model_validate(
        {
            "claim_id": plan.claim_id,
            "status": status,
            "reason": "by the numbers",
            "comparisons": [comparison],
            "trials": {},
        }
    )
    return Claim(plan=plan, draw=drawn, verdict=verdict)


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["verified"], "**Verified: 1 claim about this mixer"),
        (["refuted", "verified"], "**Verified: 1 claim of 2 registered about this mixer"),
        (["refuted"], "**No verified claim: 1 claim about this mixer, refuted."),
        (["drawn", "inconclusive"], "**No verified claim: 2 claims about this mixer, drawn, inc"),
    ],
)
def test_the_first_line_counts_all_claims_and_all_are_shown(
    recorded: Recorded, statuses: list[str], said: str
) -> None:
    claims = [make_claim(recorded.mixer, n, status) for n, status in enumerate(statuses, 1)]
    card = card_of(recorded, *claims)
    assert card.splitlines()[10].startswith(said)
    for claim in claims:
        assert claim.claim_id in card
    decided = [claim for claim in claims if claim.verdict]
    assert card.count("| +0.0625 |") == len(decided)

"""What a trial's record rests on: other processes, fresh data, and checks that cannot be passed by.

Real jobs and small mixers. Covers that a score is what the weights are worth, whatever the process
that trained them says, that a result which cannot be is quarantined, and that a mixer which looks
ahead is rejected. Mixers that forge in many more ways are in `tests/security`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from trial_process import (
    FFN_WIDTH,
    events,
    make_candidate,
    make_spec,
    make_workshop,
    servers_of,
)

from noctuary.bench.suite import TINY
from noctuary.bench.tasks import IGNORED
from noctuary.domain import Candidate, Trial
from noctuary.lab import Lab, shipped
from noctuary.sandbox.launcher import Launcher
from noctuary.training.model import build_model, load_mixer
from noctuary.training.requests import SNAPSHOTS_FILE, WEIGHTS_FILE

SALT = "public"
RUNG = 1
HANDED_OVER = """
def hand_over(change):
    import noctuary.training.trial as trial
    honest = trial._hand_over
    def dishonest(module, folder):
        change(module)
        honest(module, folder)
    trial._hand_over = dishonest
"""


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(2, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


def train(
    lab: Lab, launcher: Launcher, candidate: Candidate, task: str = "text", rate: float = 1e-2
) -> Trial:
    workshop = make_workshop(lab, launcher, salt=SALT)
    spec = make_spec(candidate, task, seed=3, rung=RUNG, learning_rate=rate)
    workshop.train(candidate, FFN_WIDTH, [spec])
    return workshop.read(spec)


def human(name: str) -> Candidate:
    path = shipped("architectures") / "human" / f"{name}.py"
    return Candidate(candidate_id=name, name=name, kind="human", axes=None, path=str(path))


@pytest.mark.parametrize("mixer", ["gated_delta_net", "softmax_attention", "rwkv7"])
@pytest.mark.parametrize("task", [task.name for task in TINY.tasks])
def test_a_score_is_what_the_weights_are_worth(
    launcher: Launcher, lab: Lab, mixer: str, task: str
) -> None:
    """Against the model itself, with torch's cross entropy, on the weights that were kept."""
    candidate = human(mixer)
    trial = train(lab, launcher, candidate, task)
    assert trial.status == "ok", trial.reason
    given, rung = TINY.task(task), TINY.rungs[RUNG]
    inputs, targets = map(torch.from_numpy, given.sequences(rung.test_sequences, 3, "test", SALT))
    model = build_model(
        load_mixer(Path(candidate.path)), TINY.shape, given.vocab_size, FFN_WIDTH, seed=3
    ).eval()
    model.load_state_dict(load_file(lab.trials / trial.spec.trial_id / WEIGHTS_FILE))
    with torch.no_grad():
        logits = model(inputs)[0]
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    scored = targets != IGNORED
    hits = (logits.argmax(-1) == targets)[scored].float().mean()
    assert trial.metrics["loss"] == pytest.approx(float(loss), abs=1e-5)
    assert trial.metrics["accuracy"] == pytest.approx(float(hits))
    assert trial.metrics["scored"] == scored.sum()
    assert trial.metrics["leak_checks"] == rung.test_sequences
    assert 0 <= trial.metrics["learning"] <= 1
    assert "quarantined" not in trial.environment
    assert {"limits", "environment"} <= set(trial.environment["sandbox"].split(","))


def test_a_loss_that_is_patched_changes_no_score(launcher: Launcher, lab: Lab) -> None:
    """Where logits are made, that is; a training without a loss learns nothing."""
    honest = train(lab, launcher, make_candidate(lab))
    patched = make_candidate(
        lab,
        load="""if not os.path.exists(os.environ['TMPDIR'] + '/curve.csv'):
    torch.nn.functional.cross_entropy = lambda *a, **k: torch.zeros((), requires_grad=True)
    torch.Tensor.argmax = lambda *a, **k: torch.zeros((), dtype=torch.int64)""",
    )
    forged = train(lab, launcher, patched)
    assert (forged.status, forged.metrics) == (honest.status, honest.metrics)


FORGED = {
    "losses too good": ("module.losses.mul_(0.5)", "the training reported a loss of"),
    "losses too bad": ("module.losses.mul_(3)", "the training reported a loss of"),
    "one loss too good": ("module.losses[0] = 0.1", "at step 1; its weights give"),
    "snapshots of the end": (
        "module.snapshots = {s: {k: v * 3 for k, v in w.items()} for s, w in "
        "module.snapshots.items()}",
        "the training reported a loss of",
    ),
    "weights with more in them": (
        "module.model.blocks[0].mixer.register_buffer('more', torch.zeros(50_000))",
        "bytes; expected at most the",
    ),
}


FIRST = ("losses too good", "weights with more in them")
"""The others are slow as well: the second time, each job waits for a server of its own."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in FIRST else [pytest.mark.slow]) for name in FORGED],
)
def test_a_result_that_cannot_be_is_quarantined_tried_again_and_rejected(
    launcher: Launcher, lab: Lab, name: str
) -> None:
    change, suspicion = FORGED[name]
    candidate = make_candidate(
        lab,
        load=HANDED_OVER + f"\ndef change(module):\n    {change}\n\n",
        construct="hand_over(change)",
    )
    trial = train(lab, launcher, candidate)
    assert trial.status == "rejected", trial.reason
    assert trial.reason.startswith("suspicious twice: ")
    assert suspicion in trial.reason
    assert suspicion in trial.environment["quarantined"]
    kept = sorted(lab.quarantine.iterdir())
    assert [path.name for path in kept] == [f"{trial.spec.trial_id}-{n}" for n in (1, 2)]
    for folder in kept:
        assert suspicion in (folder / "suspicion.txt").read_text()
        assert {WEIGHTS_FILE, SNAPSHOTS_FILE} <= {path.name for path in folder.iterdir()}
    assert len(events(lab, "trial quarantined")) == 2
    assert not (lab.trials / trial.spec.trial_id / WEIGHTS_FILE).exists()
    assert list(lab.work.iterdir()) == []


def test_a_suspicion_that_does_not_come_again_is_noted(launcher: Launcher, lab: Lab) -> None:
    """It lies to the children of the warm server alone; the second time others train it."""
    assert train(lab, launcher, human("softmax_attention")).status == "ok"
    (server,) = servers_of(os.getpid())
    candidate = make_candidate(
        lab,
        load=HANDED_OVER + "\ndef change(module):\n    module.losses[0] = 0.1\n",
        construct=f"os.getppid() == {server} and hand_over(change)",
    )
    trial = train(lab, launcher, candidate)
    assert trial.status == "ok", trial.reason
    assert "at step 1; its weights give" in trial.environment["quarantined"]
    assert len(events(lab, "trial quarantined")) == 1
    assert len(list(lab.quarantine.iterdir())) == 1
    assert servers_of(os.getpid()) == {server}


LOOKS_AHEAD = {
    "always": "y = y + 0.5 * torch.cat([x[:, 1:], x[:, :1]], 1)",
    "in evaluation": "y = y if self.training else y + torch.cat([x[:, 1:], x[:, :1]], 1)",
    "by the mean": "y = y + x.mean(1, keepdim=True)",
    "once it is trained": (
        "ahead = torch.cat([x[:, 1:], x[:, :1]], 1)\n"
        "        moved = (self.project.weight - self.first).abs().max() > 0.02\n"
        "        y = y + moved * ahead"
    ),
    "at every eighth position": (
        "ahead = torch.cat([x[:, 1:], x[:, :1]], 1)\n"
        "        y = y + ahead * (torch.arange(x.shape[1]) % 8 == 3)[:, None]"
    ),
}


@pytest.mark.parametrize("name", LOOKS_AHEAD)
def test_a_mixer_that_looks_ahead_is_rejected(launcher: Launcher, lab: Lab, name: str) -> None:
    candidate = make_candidate(
        lab,
        construct="self.register_buffer('first', self.project.weight.detach().clone())",
        forward=LOOKS_AHEAD[name],
    )
    trial = train(lab, launcher, candidate)
    assert trial.status == "rejected", trial.reason
    assert "positions change when what follows is cut off" in trial.reason
    assert trial.score is None


def test_what_one_process_remembers_the_next_does_not_know(launcher: Launcher, lab: Lab) -> None:
    """It answers a beginning with what came after it, where it has seen the whole before."""
    candidate = make_candidate(
        lab,
        load="seen = []",
        forward="""if not self.training:
            ahead = torch.cat([x[:, 1:], x[:, :1]], 1)
            for old, answer in seen:
                if old.shape[1] >= x.shape[1] and old.shape[0] == x.shape[0]:
                    same = (old[:, : x.shape[1]] == x).all(-1, keepdim=True)
                    ahead = torch.where(same, answer[:, : x.shape[1]], ahead)
            seen.append((x.clone(), ahead.clone()))
            y = y + ahead""",
    )
    trial = train(lab, launcher, candidate)
    assert trial.status == "rejected", trial.reason


@pytest.mark.parametrize(
    ("forward", "status", "reason"),
    [
        ("if not self.training: raise ValueError('late')", "crashed", "ValueError: late, while"),
        ("if not self.training: y = y * math.nan", "diverged", "the logits are not finite, while"),
        ("if not self.training: y = y[:, :-1]", "crashed", "the mixer returned"),
        ("if not self.training: os._exit(0)", "crashed", "no outcome that can be read, while"),
        (
            "if not self.training: hold = [torch.ones(2**20) for _ in range(2**20)]",
            "oom",
            "can't allocate memory",
        ),
    ],
)
def test_what_goes_wrong_in_measuring_is_said_to(
    launcher: Launcher, lab: Lab, forward: str, status: str, reason: str
) -> None:
    trial = train(lab, launcher, make_candidate(lab, forward=forward))
    assert trial.status == status, trial.reason
    assert reason in trial.reason
    assert trial.reason.endswith(", while it was measured")
    assert (lab.trials / trial.spec.trial_id / "output.log").exists()
    assert list(lab.work.iterdir()) == []


def test_labs_have_secrets_and_share_a_salt(launcher: Launcher, tmp_path: Path) -> None:
    labs = [Lab.create_or_open(tmp_path / name) for name in ("one", "two")]
    candidate = human("gated_delta_net")
    losses = {}
    for salt in ("", SALT):
        for lab in labs:
            workshop = make_workshop(lab, launcher, salt=salt)
            spec = make_spec(candidate, "text", seed=4 if salt else 5)
            workshop.train(candidate, FFN_WIDTH, [spec])
            losses[salt, lab.root.name] = workshop.read(spec).metrics["loss"]
    assert losses[SALT, "one"] == losses[SALT, "two"]
    assert losses["", "one"] != losses["", "two"]
    weights = [lab.trials.glob(f"*/{WEIGHTS_FILE}") for lab in labs]
    one, two = ({path.read_bytes() for path in paths} for paths in weights)
    assert one == two  # the training is the same for every secret
    assert np.unique([lab.secret for lab in labs]).size == 2

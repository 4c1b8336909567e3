"""A trial that was killed goes on from its checkpoint to the very bits of an undisturbed one.

Covers one thread on a CPU: deaths at any step, once and several times, mixers that draw random
numbers, checkpoints that are damaged or belong to something else, and SIGKILL to all processes
at once.
"""

import csv
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load, load_file
from trial_process import (
    FFN_WIDTH,
    Owner,
    make_candidate,
    make_spec,
    make_workshop,
    wait_until,
)

from noctuary.bench.suite import TINY
from noctuary.jobs import clear_work
from noctuary.lab import Lab, shipped
from noctuary.sandbox.launcher import Launcher
from noctuary.sandbox.protocol import CHECKPOINT_FILES
from noctuary.training.checkpoint import UnusableCheckpoint, read_checkpoint
from noctuary.training.requests import (
    CURVE_FILE,
    LOSSES_FILE,
    SNAPSHOTS_FILE,
    TOKEN_TYPE,
    TOKENS_FILE,
    WEIGHTS_FILE,
    TrainRequest,
)
from noctuary.training.trial import run_training

RUNG = 1
STEPS = TINY.rungs[RUNG].steps
SNAPSHOTS = (1, 3, 8)
RANDOM = {
    "load": "import random, numpy",
    "construct": """self.drop = nn.Dropout(0.3)
        self.register_buffer("mean", torch.zeros(d_model), persistent=False)""",
    "forward": """if self.training:
            y = self.drop(y) * random.gauss(1, 0.1) + 0.1 * numpy.random.randn() + self.mean
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 1))""",
}
"""In training it draws from three generators, and remembers what no weights file holds."""


class Killed(BaseException):
    """Nothing catches it, as nothing survives a SIGKILL."""


def clock_until(step: int | None) -> Callable[[], float]:
    """Return a clock that counts its readings, and kills the trial after so many steps.

    It is read four times before the first step, and in each step by the pace and then by the
    keeper, who does not survive the step after the last.
    """
    readings = itertools.count()

    def clock() -> float:
        now = next(readings)
        if step is not None and now >= 5 + 2 * step:
            raise Killed
        return float(now)

    return clock


def train(
    folder: Path, mixer: str, task: str = "mqar", dies_after: int | None = None, **other: Any
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    given, rung = TINY.task(task), TINY.rungs[RUNG]
    batch_size = rung.tokens_per_step // given.length
    tokens = np.stack(given.sequences(rung.steps * batch_size, 3, "train"))
    (folder / TOKENS_FILE).write_bytes(tokens.astype(TOKEN_TYPE).tobytes())
    request = {
        "trial_id": "one",
        "mixer": mixer,
        "shape": TINY.shape,
        "vocab_size": given.vocab_size,
        "ffn_width": FFN_WIDTH,
        "seed": 3,
        "device": "cpu",
        "tokens": folder / TOKENS_FILE,
        "length": given.length,
        "steps": rung.steps,
        "batch_size": batch_size,
        "weight_decay": rung.weight_decay,
        "learning_rate": 5e-3,
        "snapshots": SNAPSHOTS,
        "knowing_nothing": 10.0,
        "checkpoint_seconds": 0,
        "deadline_seconds": 1e9,
        **other,
    }
    return run_training(TrainRequest.model_validate(request), folder, clock_until(dies_after))


def result_of(folder: Path) -> tuple[Any, ...]:
    with (folder / CURVE_FILE).open(newline="") as handle:
        curve = [row[:2] for row in csv.reader(handle)]
    return curve, *(
        (folder / name).read_bytes() for name in (LOSSES_FILE, SNAPSHOTS_FILE, WEIGHTS_FILE)
    )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


def mixer_file(lab: Lab, name: str) -> str:
    if name == "random":
        return make_candidate(lab, **RANDOM).path
    return str(shipped("architectures") / "human" / f"{name}.py")


@pytest.mark.parametrize("mixer", ["random", "gated_delta_net"])
@pytest.mark.parametrize("task", [task.name for task in TINY.tasks])
@pytest.mark.parametrize("deaths", [(1,), (STEPS - 1,), (2, 7), (5, 0, 1, 1)])
def test_killed_after_these_steps(
    lab: Lab, tmp_path: Path, mixer: str, task: str, deaths: tuple[int, ...]
) -> None:
    path = mixer_file(lab, mixer)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, path, task)
    for steps in deaths:
        with pytest.raises(Killed):
            train(parts, path, task, dies_after=steps)
    resumed = train(parts, path, task)
    assert resumed["environment"]["resumed_after_step"] == sum(deaths)
    assert result_of(parts) == result_of(whole)
    snapshots = load_file(parts / SNAPSHOTS_FILE)
    assert {int(name.partition(".")[0]) for name in snapshots} == set(SNAPSHOTS)


def test_the_random_mixer_is_one(lab: Lab, tmp_path: Path) -> None:
    """Else the test above would hold without any state of a generator."""
    path = mixer_file(lab, "random")
    for seed in (1, 2):
        train(tmp_path / str(seed), path, seed=seed)
    first, second = (load_file(tmp_path / str(seed) / WEIGHTS_FILE) for seed in (1, 2))
    assert first.keys() == second.keys()
    assert "blocks.0.mixer.mean" not in first
    losses = [(tmp_path / str(seed) / LOSSES_FILE).read_bytes() for seed in (1, 2)]
    assert losses[0] != losses[1]


def steps_in(checkpoint: Path) -> int:
    tensors = load(checkpoint.read_bytes()[32:])
    return int(json.loads(bytes(tensors["facts"].tolist()))["steps_done"])


def damaged(content: bytes) -> Iterator[bytes]:
    yield b""
    yield content[: len(content) // 2]
    yield content[:-1]
    yield content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]
    yield b"x" * len(content)


def test_a_damaged_checkpoint_is_ignored(lab: Lab, tmp_path: Path) -> None:
    path = mixer_file(lab, "random")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, path)
    with pytest.raises(Killed):
        train(parts, path, dies_after=4)
    files = [parts / name for name in CHECKPOINT_FILES]
    before = [file.read_bytes() for file in files]
    for first, second in itertools.product(damaged(before[0]), damaged(before[1])):
        for file, content in zip(files, (first, second), strict=True):
            file.write_bytes(content)
        started_again = train(parts, path)
        if first or second:
            assert "digest" in started_again["environment"]["checkpoint_ignored"]
        assert "resumed_after_step" not in started_again["environment"]
        assert result_of(parts) == result_of(whole)


@pytest.mark.parametrize("torn", CHECKPOINT_FILES)
def test_a_trial_killed_while_it_writes_goes_on_from_the_checkpoint_before(
    lab: Lab, tmp_path: Path, torn: str
) -> None:
    path = mixer_file(lab, "random")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, path)
    with pytest.raises(Killed):
        train(parts, path, dies_after=4)
    content = (parts / torn).read_bytes()
    (parts / torn).write_bytes(content[: len(content) // 2])
    resumed = train(parts, path)
    assert resumed["environment"]["resumed_after_step"] in (3, 4)
    assert result_of(parts) == result_of(whole)


def test_the_older_checkpoint_is_overwritten(lab: Lab, tmp_path: Path) -> None:
    path = mixer_file(lab, "random")
    for dies_after, expected in ((3, {2, 3}), (1, {3, 4}), (2, {5, 6})):
        with pytest.raises(Killed):
            train(tmp_path / "one", path, dies_after=dies_after)
        assert set(map(steps_in, sorted((tmp_path / "one").glob("checkpoint.*")))) == expected


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"trial_id": "another"}, "its trial is one; expected another"),
        ({"ffn_width": 31}, "its feed-forward width is 32; expected 31"),
    ],
)
def test_a_foreign_checkpoint_is_ignored(
    lab: Lab, tmp_path: Path, other: dict[str, Any], reason: str
) -> None:
    path = mixer_file(lab, "random")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, path, **other)
    with pytest.raises(Killed):
        train(parts, path, dies_after=4)
    started_again = train(parts, path, **other)
    assert started_again["environment"]["checkpoint_ignored"] == reason
    assert result_of(parts) == result_of(whole)


def test_a_checkpoint_of_another_torch_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path / "one", mixer_file(lab, "random"), dies_after=4)
    with pytest.raises(UnusableCheckpoint, match=r"its torch is \S+; expected 1.0"):
        read_checkpoint(tmp_path / "one" / CHECKPOINT_FILES[0], {"torch": "1.0"})


def test_a_checkpoint_that_does_not_fit_the_fresh_model_is_ignored(
    lab: Lab, tmp_path: Path
) -> None:
    """The mixer makes a buffer while it runs, which a fresh one has no place for."""
    forward = """y = y * (1 + getattr(self, "count", torch.zeros(())))
        self.register_buffer("count", torch.rand(()))"""
    path = make_candidate(lab, forward=forward).path
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, path)
    with pytest.raises(Killed):
        train(parts, path, dies_after=4)
    started_again = train(parts, path)
    assert "model.blocks.0.mixer.count" in started_again["environment"]["checkpoint_ignored"]
    assert result_of(parts) == result_of(whole)


def test_everything_killed_twice(lab: Lab, tmp_path: Path) -> None:
    slow = RANDOM | {"forward": RANDOM["forward"] + "\n            time.sleep(0.1)"}
    candidate = make_candidate(lab, **slow)
    spec = make_spec(candidate, rung=RUNG)
    folder = lab.work / f"{spec.trial_id}.trial"
    before: set[bytes] = set()

    def contents() -> set[bytes]:
        return {path.read_bytes() for path in folder.glob("checkpoint.*")} - {b""}

    def has_moved_on(before: set[bytes]) -> bool:
        return len(contents() - before) > 1

    for _ in range(2):
        owner = Owner(lab, candidate, seeds=1, rung=RUNG, checkpoint=0.001)
        wait_until(functools.partial(has_moved_on, before))
        owner.kill_all()
        assert list(lab.trials.iterdir()) == []
        before = contents()
        clear_work(lab)
        assert sorted(path.name for path in folder.iterdir()) == list(CHECKPOINT_FILES)

    calm = Lab.create_or_open(tmp_path / "calm")
    with Launcher(1, tmp_path / "launcher.log") as launcher:
        trials = []
        for one in (lab, calm):
            workshop = make_workshop(one, launcher, salt="public")
            workshop.train(candidate, FFN_WIDTH, [spec])
            trials.append(workshop.read(spec).model_dump())
    assert trials[0]["environment"].pop("resumed_after_step") > 0
    for fact in ("environment", "status", "score", "metrics", "steps"):
        assert trials[0][fact] == trials[1][fact]
    assert trials[0]["status"] == "ok"
    folders = [one.trials / spec.trial_id for one in (lab, calm)]
    weights = [(folder / WEIGHTS_FILE).read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    assert not list(folders[0].glob("checkpoint.*"))
    assert list(lab.work.iterdir()) == []


def test_clearing_keeps_checkpoints_of_trials_alone(lab: Lab) -> None:
    """Only trials keep a folder, and only for a checkpoint that has something in it."""
    for name in ("one.trial", "audit-one.12ab", "two.trial", "three.trial"):
        (lab.work / name).mkdir()
    for name in ("audit-one.12ab", "two.trial"):
        (lab.work / name / CHECKPOINT_FILES[1]).write_bytes(b"x")
    (lab.work / "two.trial" / CHECKPOINT_FILES[0]).touch()
    (lab.work / "three.trial" / CHECKPOINT_FILES[0]).touch()
    (lab.work / "two.trial" / "left").mkdir()
    (lab.work / "two.trial" / "curve.csv").write_bytes(b"x")
    clear_work(lab)
    kept = [str(path.relative_to(lab.work)) for path in sorted(lab.work.rglob("*"))]
    assert kept == ["two.trial", f"two.trial/{CHECKPOINT_FILES[1]}"]

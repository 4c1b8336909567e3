"""Candidates that lie about their score, in the real machinery.

A forgery may end in no score at all or in an honest one; what it may not is to be worth more than
the same mixer without it. Covers what a candidate patches, writes and hands over, leaks that the
truncation checks have to see, and test data that it looks for. Attacks on the machine are in
`test_hostile.py`.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from forged_files import FORGERIES, UNCOVERED
from forgeries import Forgery
from hostile import size_of, write_candidate
from surroundings import strays
from trial_process import FFN_WIDTH, make_spec, make_workshop, servers_of, wait_until

from noctuary.archive.trial_files import read_trial
from noctuary.bench.suite import TINY
from noctuary.domain import Candidate, Trial
from noctuary.lab import LAB_VERSION, Lab
from noctuary.sandbox.launcher import Launcher

LEFT_BYTES = 16 * 2**20
"""What a trial may leave on disk."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab whose secret is the same in each run: 32 scored positions are few, and luck is much."""
    lab = Lab.create_or_open(tmp_path_factory.mktemp("forgery") / "lab")
    mark = {"version": LAB_VERSION, "secret": "0123456789abcdef" * 2}
    (lab.root / "lab.json").write_text(json.dumps(mark), encoding="utf-8")
    return lab


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(2, tmp_path_factory.mktemp("launcher") / "launcher.log") as launcher:
        yield launcher


def train(lab: Lab, launcher: Launcher, candidate: Candidate, task: str, seed: int = 0) -> Trial:
    workshop = make_workshop(lab, launcher, timeout=20)
    spec = make_spec(candidate, task, seed)
    assert workshop.train(candidate, FFN_WIDTH, [spec]).executed <= 1
    return workshop.read(spec)


def honest_trial(lab: Lab, launcher: Launcher, task: str) -> Trial:
    trial = train(lab, launcher, write_candidate(lab, Forgery().source(), "honest"), task)
    assert trial.status == "ok", trial.reason
    return trial


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_score_does_not_count(name: str, lab: Lab, launcher: Launcher) -> None:
    forgery = FORGERIES[name]
    honest = honest_trial(lab, launcher, forgery.task)
    candidate = write_candidate(lab, forgery.source() + f"\n# {name}\n", name)

    trial = train(lab, launcher, candidate, forgery.task)

    assert trial.status in forgery.statuses, f"{trial.status}: {trial.reason}"
    assert forgery.reason in trial.reason
    assert len(trial.reason) < 400
    assert trial.reason.isprintable()
    assert (trial.score is None) == (trial.status != "ok")
    if trial.score is not None and honest.score is not None:
        assert trial.score <= honest.score + 0.02
        assert trial.metrics["loss"] >= honest.metrics["loss"] - 0.02
        # 3 of 32 scored positions: that much is luck between two models that know nothing
        assert trial.metrics["accuracy"] <= honest.metrics["accuracy"] + 0.1
        assert trial.metrics["learning"] <= honest.metrics["learning"] + 0.02
    assert 0 < trial.seconds["total"] < 60
    assert size_of(lab.trials / trial.spec.trial_id) < LEFT_BYTES
    for kept in lab.quarantine.glob(f"{trial.spec.trial_id}-*"):
        assert size_of(kept) < LEFT_BYTES
    assert read_trial(lab.trials, trial.spec.trial_id).trial == trial
    assert list(lab.work.iterdir()) == []
    (server,) = servers_of(os.getpid())
    wait_until(lambda: not strays(server), seconds=5)


@pytest.mark.parametrize("name", UNCOVERED)
def test_what_the_threat_model_calls_open_is_open(name: str, lab: Lab, launcher: Launcher) -> None:
    """Once it is closed, the page has to say so."""
    forgery = UNCOVERED[name]
    honest = honest_trial(lab, launcher, forgery.task)
    trial = train(lab, launcher, write_candidate(lab, forgery.source(), name), forgery.task)
    assert trial.status == "ok", trial.reason
    assert trial.score is not None and honest.score is not None
    assert trial.score > honest.score + 0.3


@pytest.mark.parametrize("name", ["fixes the dice", "watches the collector"])
def test_what_changes_nothing_changes_no_bit(name: str, lab: Lab, launcher: Launcher) -> None:
    honest = honest_trial(lab, launcher, "mqar")
    candidate = write_candidate(lab, FORGERIES[name].source(), name)
    trial = train(lab, launcher, candidate, "mqar")
    weights = [lab.trials / t.spec.trial_id / "weights.safetensors" for t in (honest, trial)]
    assert trial.metrics == honest.metrics
    assert weights[0].read_bytes() == weights[1].read_bytes()


SEARCH = '''
def all_integers():
    """Print every array of integers that the collector, thawed, or a frame leads to."""
    import numpy
    gc.unfreeze()
    waiting, seen = list(gc.get_objects()), set()
    frame = sys._getframe()
    while frame is not None:
        waiting += list(frame.f_locals.values())
        frame = frame.f_back
    kinds = (torch.int64, torch.int32, torch.int16, torch.uint8)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            if thing.dtype in kinds and thing.numel() > 8:
                print("FOUND", thing.flatten().tolist(), flush=True)
        elif isinstance(thing, numpy.ndarray):
            if thing.dtype.kind in "iu" and thing.size > 8:
                print("FOUND", thing.flatten().tolist(), flush=True)
        elif not isinstance(thing, (str, bytes, int, float, type(sys))):
            waiting += gc.get_referents(thing)
    raise ValueError("searched")
'''


def has_row(found: str, row: np.ndarray) -> bool:
    return ", ".join(map(str, row)) in found


def test_no_test_data_is_in_the_process_that_trains(lab: Lab, launcher: Launcher) -> None:
    """The data it trains on is found there, so the search would find the other as well."""
    forgery = Forgery(SEARCH, forward="if steps == 1: all_integers()")
    candidate = write_candidate(lab, forgery.source(), "searches")
    trial = train(lab, launcher, candidate, "mqar", seed=5)
    assert trial.reason == "ValueError: searched"
    found = (lab.trials / trial.spec.trial_id / "output.log").read_text()
    task, rung = TINY.task("mqar"), TINY.rungs[0]
    count = rung.steps * rung.tokens_per_step // task.length
    trained_on, _ = task.sequences(count, 5, "train")
    tested_on, _ = task.sequences(rung.test_sequences, 5, "test", lab.secret)
    assert all(has_row(found, row) for row in trained_on)
    assert not any(has_row(found, row) for row in tested_on)


def test_a_candidate_cannot_make_the_test_data_itself(lab: Lab, launcher: Launcher) -> None:
    """It may call the generators of the tasks; the secret that they need it does not have."""
    made = Forgery(
        """
def make():
    from noctuary.bench.suite import TINY
    inputs, _ = TINY.task("mqar").sequences(16, 0, "test")
    raise ValueError(str(inputs[0].tolist()))
""",
        forward="make()",
    )
    trial = train(lab, launcher, write_candidate(lab, made.source(), "makes"), "mqar")
    guess, _ = TINY.task("mqar").sequences(16, 0, "test")
    truth, _ = TINY.task("mqar").sequences(16, 0, "test", lab.secret)
    assert has_row(trial.reason, guess[0])
    assert not any(has_row(trial.reason, row) for row in truth)


def test_other_labs_test_on_other_data(lab: Lab, launcher: Launcher, tmp_path: Path) -> None:
    other = Lab.create_or_open(tmp_path / "lab")
    here, there = (honest_trial(place, launcher, "mqar") for place in (lab, other))
    assert here.metrics["loss"] != there.metrics["loss"]

"""The bench's tasks: deterministic, with the alphabet they claim, and solved by exact solvers."""

import math

import numpy as np
import pytest

from noctuary.bench.suite import STANDARD, SUITES, suite_by_name
from noctuary.bench.tasks import IGNORED, Task, Tokens
from noctuary.bench.tasks.mqar import Mqar
from noctuary.bench.tasks.recall import InContextRecall
from noctuary.bench.tasks.text import ByteText, corpus
from noctuary.errors import UsageError

TASKS = [task for suite in SUITES.values() for task in suite.tasks]


def recalled(inputs: Tokens, place: int) -> int:
    """Return the token behind the last earlier place that holds the same token: exact recall."""
    earlier = [i for i in range(place) if inputs[i] == inputs[place]]
    return int(inputs[earlier[0] + 1])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.length}")
def test_the_seed_and_the_split_decide_and_the_alphabet_holds(task: Task) -> None:
    inputs, targets = task.sequences(16, 3, "train")
    again, _ = task.sequences(16, 3, "train")
    assert (inputs == again).all()
    assert inputs.shape == targets.shape == (16, task.length)
    for other in (task.sequences(16, 4, "train")[0], task.sequences(16, 3, "test")[0]):
        assert (inputs != other).any()
    scored = targets[targets != IGNORED]
    assert len(scored) > 0
    assert inputs.min() >= 0
    assert max(inputs.max(), scored.max()) < task.vocab_size


@pytest.mark.parametrize("task", [t for t in TASKS if isinstance(t, Mqar | InContextRecall)])
def test_exact_recall_solves_every_scored_position(task: Mqar | InContextRecall) -> None:
    inputs, targets = task.sequences(32, 5, "test")
    for row, wanted in zip(inputs, targets, strict=True):
        for place in np.flatnonzero(wanted != IGNORED):
            assert recalled(row, int(place)) == wanted[place]


@pytest.mark.parametrize("task", [t for t in TASKS if isinstance(t, Mqar | InContextRecall)])
def test_guessing_a_value_scores_chance(task: Mqar | InContextRecall) -> None:
    _, targets = task.sequences(256, 5, "test")
    scored = targets[targets != IGNORED]
    share = np.unique(scored, return_counts=True)[1] / len(scored)
    assert len(share) == task.values
    assert abs(-(share * np.log(share)).sum() - task.chance_loss) < 0.02


def test_mqar_asks_each_key_once() -> None:
    task = Mqar(length=40, pairs=5, keys=9, values=7)
    inputs, targets = task.sequences(64, 0, "train")
    assert ((targets != IGNORED).sum(1) == task.pairs).all()
    for row in inputs:
        keys = row[0 : 2 * task.pairs : 2]
        assert len(set(keys)) == task.pairs
        assert sorted(row[2 * task.pairs :][row[2 * task.pairs :] > 0]) == sorted(keys)


def test_mqar_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        Mqar(length=8, pairs=4, keys=8, values=8)


def test_text_is_real_and_its_splits_share_nothing() -> None:
    task = ByteText(length=64)
    assert b"import" in corpus().tobytes()
    assert task.chance_loss == math.log(256)
    inputs, targets = task.sequences(8, 0, "train")
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    text = corpus().tobytes()
    border = int(len(text) * 0.9)
    for row in task.sequences(8, 0, "test")[0]:
        window = row.astype(np.uint8).tobytes()
        assert window in text[border:]


def test_a_suite_is_versioned_by_its_content() -> None:
    from dataclasses import replace

    [rung] = STANDARD.rungs
    changed = replace(STANDARD, rungs=(replace(rung, steps=rung.steps + 1),))
    assert changed.version != STANDARD.version
    assert suite_by_name(STANDARD.version) is suite_by_name("standard-1") is STANDARD
    with pytest.raises(UsageError, match="standard-1"):
        suite_by_name("gold")
    with pytest.raises(UsageError, match="mqar"):
        STANDARD.task("chess")

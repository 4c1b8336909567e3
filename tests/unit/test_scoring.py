"""The numbers of a score, against slow twins and against leaks that were planted."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from noctuary import scoring
from noctuary.bench.suite import STANDARD, TINY, ScoreWeights
from noctuary.bench.tasks import IGNORED, Task
from noctuary.bench.tasks.text import ByteText

TASKS = [*TINY.tasks, *TINY.held_out]
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(2, 17))


def arrays(shape: tuple[int, int, int], seed: int) -> tuple[scoring.Floats, scoring.Tokens]:
    """Return logits (N, T, V) of all sizes, and targets (N, T) of which about half are scored."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 10 ** rng.uniform(-2, 2), shape).astype(np.float32)
    targets = rng.integers(0, shape[2], shape[:2])
    ignored = rng.random(shape[:2]) < 0.5
    ignored[0, 0] = False
    return logits, np.where(ignored, IGNORED, targets)


@given(SHAPES, st.integers(0, 10**6))
def test_loss_and_accuracy_are_those_of_torch(shape: tuple[int, int, int], seed: int) -> None:
    logits, targets = arrays(shape, seed)
    found = scoring.measure(logits, targets)
    exact, wanted = torch.tensor(logits).double().flatten(0, 1), torch.tensor(targets).flatten()
    scored = wanted != IGNORED
    assert found.loss == pytest.approx(float(F.cross_entropy(exact, wanted)), rel=1e-12, abs=1e-12)
    hits = (exact.argmax(-1) == wanted)[scored].double().mean()
    assert (found.accuracy, found.scored) == (pytest.approx(float(hits)), int(scored.sum()))


def test_many_logits_are_measured_in_parts() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(90, 40, 700)).astype(np.float32)  # 2.5 million
    targets = rng.integers(0, 700, (90, 40))
    whole = F.cross_entropy(
        torch.tensor(logits).double().flatten(0, 1), torch.tensor(targets).flatten()
    )
    assert scoring.measure(logits, targets).loss == pytest.approx(float(whole), rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_no_loss(bad: float) -> None:
    logits, targets = np.zeros((2, 3, 4), dtype=np.float32), np.zeros((2, 3), dtype=np.int64)
    logits[1, 2, 3] = bad
    with pytest.raises(scoring.NotFinite):
        scoring.measure(logits, targets)
    with pytest.raises(scoring.NotFinite):
        scoring.changed(logits[1], logits[1])


def test_where_nothing_is_scored_there_is_no_loss() -> None:
    logits, targets = np.zeros((2, 3, 4), dtype=np.float32), np.full((2, 3), IGNORED)
    with pytest.raises(ValueError, match="no position"):
        scoring.measure(logits, targets)


@given(st.integers(1, 5000), st.integers(1, 20))
def test_snapshots_are_apart_and_end_with_the_training(steps: int, count: int) -> None:
    found = scoring.snapshot_steps(steps, count)
    assert len(found) == min(steps, count)
    assert found[-1] == steps
    apart = np.diff([0, *found])
    assert apart.min() > 0
    assert apart.max() - apart.min() <= 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_score_is_zero_at_chance_and_one_at_best(task: Task) -> None:
    weights = ScoreWeights()
    chance = scoring.score(task, weights, task.chance_loss, task.chance_accuracy, 0.0)
    assert chance == pytest.approx(0, abs=1e-12)
    assert scoring.score(task, weights, 0.0, 1.0, 1.0) == pytest.approx(1)
    assert scoring.score(task, weights, 99.0, 0.0, 0.0) == 0  # worse than chance is no less


@given(
    st.sampled_from(TASKS),
    st.tuples(*[st.floats(0, 1)] * 3),
    st.tuples(*[st.floats(0, 1)] * 3),
)
def test_score_weighs_its_parts(
    task: Task, weights: tuple[float, float, float], parts: tuple[float, float, float]
) -> None:
    removed, correct, learning = parts
    loss = (1 - removed) * task.chance_loss
    accuracy = task.chance_accuracy + correct * (1 - task.chance_accuracy)
    found = scoring.score(task, ScoreWeights(*weights), loss, accuracy, learning)
    expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    assert found == pytest.approx(expected, abs=1e-9)


def test_learning_is_the_share_of_the_loss_removed_over_all_snapshots() -> None:
    assert scoring.learning([3.0] * 7, 3.0) == 0
    assert scoring.learning([3.0, 2.0, 1.0, 0.0], 3.0) == pytest.approx(0.5)
    assert scoring.learning([9.0, 9.0], 3.0) == 0


def naive_steps_to_solve(losses: Sequence[float], threshold: float) -> int | None:
    window = min(len(losses), max(10, len(losses) // 20))
    for step in range(window, len(losses) + 1):
        if sum(losses[step - window : step]) / window < threshold:
            return step
    return None


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=300), st.floats(0.1, 8).map(lambda x: x + 1e-3)
)
def test_steps_to_solve_against_a_loop(losses: list[int], threshold: float) -> None:
    found = scoring.steps_to_solve(np.array(losses, dtype=np.float32), threshold)
    assert found == naive_steps_to_solve(losses, threshold)


def test_one_lucky_step_solves_nothing() -> None:
    losses = np.full(100, 2.0, dtype=np.float32)
    losses[30] = 0.0
    assert scoring.steps_to_solve(losses, 1.0) is None
    losses[50:] = 0.0
    assert scoring.steps_to_solve(losses, 1.0) == 50 + 6  # six of ten make the mean 0.8


@given(SHAPES, st.integers(0, 10**6))
def test_a_scored_place_of_each_row_is_drawn(shape: tuple[int, int, int], seed: int) -> None:
    _, targets = arrays(shape, seed)
    places = scoring.draw_places(targets, np.random.default_rng(seed))
    for row, place in zip(targets, places, strict=True):
        assert (place == -1) == (row == IGNORED).all()
        assert place == -1 or row[place] != IGNORED


def test_every_scored_place_is_as_likely() -> None:
    targets = np.full((40_000, 6), IGNORED)
    targets[:, [1, 2, 5]] = 0
    counts = np.bincount(scoring.draw_places(targets, np.random.default_rng(0)), minlength=6)
    assert counts[[0, 3, 4]].sum() == 0
    assert np.abs(counts[[1, 2, 5]] / 40_000 - 1 / 3).max() < 0.01


@given(st.integers(1, 40), st.integers(2, 17), st.integers(0, 10**6), st.data())
def test_planted_leaks_are_found_and_no_others(
    rows: int, vocabulary: int, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.normal(0, 3, (rows, vocabulary)).astype(np.float32)
    cut = whole + rng.normal(0, 1e-5, whole.shape).astype(np.float32)  # rounding
    leaking = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    likeliest = whole.argmax(axis=1)
    cut[leaking, likeliest[leaking]] -= 0.5
    assert (scoring.changed(whole, cut) == leaking).all()


@pytest.mark.parametrize("veil", ["added to all", "taken from one that never comes"])
def test_large_logits_veil_no_leak(veil: str) -> None:
    whole = np.random.default_rng(3).normal(size=(50, 8)).astype(np.float32)
    cut = whole.copy()
    cut[:, 0] += 0.25
    for logits in (whole, cut):
        if veil == "added to all":
            logits[:] += 4096.0
        else:
            logits[:, -1] = -1e6
    assert scoring.changed(whole, cut).all()


def test_the_bound_is_that_of_its_definition() -> None:
    """A share of leaks as large as the bound comes out clean in one of twenty trials."""
    for checks in (1, 16, 128, 256):
        assert (1 - scoring.leak_bound(checks)) ** checks == pytest.approx(0.05)
    rng = np.random.default_rng(0)
    leaking = rng.random((20_000, 128)) < scoring.leak_bound(128)
    assert (~leaking.any(axis=1)).mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(
    ("reported", "recomputed", "plausible"),
    [
        (2.0, 2.0, True),
        (1.8, 2.0, True),
        (1.7, 2.0, False),
        (0.0, 0.04, True),
        (0.0, 0.1, False),
        (2.0, 1.5, True),  # dropout
        (2.0, 1.0, False),
        (0.3, 0.2, True),
        (math.nan, 2.0, False),
    ],
)
def test_which_losses_may_be_those_of_the_weights(
    reported: float, recomputed: float, plausible: bool
) -> None:
    assert scoring.may_be_same_loss(reported, recomputed) == plausible


@pytest.mark.parametrize("task", [*STANDARD.tasks, *STANDARD.held_out], ids=lambda task: task.name)
def test_the_floor_is_far_below_chance(task: Task) -> None:
    assert 0 <= task.floor_loss < 0.2 * task.chance_loss


def test_the_floor_of_a_text(tmp_path: Path) -> None:
    """Noise cannot be foretold, a text that repeats itself can."""
    noise, refrain = tmp_path / "noise", tmp_path / "refrain"
    noise.write_bytes(np.random.default_rng(0).bytes(2**17))
    refrain.write_bytes(b"to be or not to be, that is the question: " * 3000)
    assert ByteText(32, path=str(noise)).floor_loss == pytest.approx(math.log(256) / 2, rel=0.02)
    assert ByteText(32, path=str(refrain)).floor_loss < 0.01


def test_another_salt_gives_other_tests_and_the_same_training() -> None:
    for task in [*STANDARD.tasks, *STANDARD.held_out]:
        for split, same in (("train", True), ("test", False)):
            some, others = (task.sequences(8, 3, split, salt)[0] for salt in ("one", "another"))
            assert np.array_equal(some, others) == same
            assert np.array_equal(some, task.sequences(8, 3, split, "one")[0])


def test_what_is_memorised_is_the_same_for_every_salt() -> None:
    task = STANDARD.task("memorisation")
    meaning = {}
    for split, salt in (("train", "one"), ("test", "one"), ("test", "another")):
        inputs, targets = task.sequences(64, 3, split, salt)
        for key, value in zip(inputs.flat, targets.flat, strict=True):
            assert meaning.setdefault(key, value) == value

"""One trial from its training to its record: what trusted code makes of what three jobs give.

1. The training gets the tokens to train on; it leaves weights, snapshots of them, and its losses.
2. A fresh process gets the weights and inputs of the test; of its logits, loss, accuracy and
   learning are computed here. On batches of the training, the snapshots' logits say whether the
   losses that the training reported can be theirs.
3. Another one gets the beginnings of the same test sequences, with noise for what follows. Where
   the logits of a beginning are not those that the second process gave, that one looked ahead.

The test is made of a secret, its targets never leave this process, and no job finds what another
was given or wrote. What this does not cover: how a training came to its weights. Code of the
candidate runs in it, and may train in ways of its own; what is measured is what it hands over.
"""

import numpy as np
from numpy.typing import NDArray

from noctuary import scoring
from noctuary.assignment import Assignment
from noctuary.bench.tasks import Tokens
from noctuary.domain import Trial
from noctuary.scoring import Floats, Measured
from noctuary.trial_jobs import WHILE_MEASURED, Ended, Piece, Suspicious, TrialJobs

CUT_TO = 16
"""Beginnings are as long as the next multiple of this, so that they fit into few batches."""


def run_trial(jobs: TrialJobs) -> Trial:
    """Train and measure; return the record.

    Raises:
        Suspicious: the result should not be possible.
        SandboxRefused, NoSpace, WorkerLost: no candidate is to blame.
    """
    try:
        return _train_and_measure(jobs)
    except Ended as ended:
        return jobs.failed(ended.status, ended.reason)


def _train_and_measure(jobs: TrialJobs) -> Trial:
    one = jobs.assignment
    trained = jobs.train()
    reported = jobs.losses()

    at_the_end = Piece(one.test[0])
    on_the_way = [
        Piece(inputs, step)
        for inputs, step in zip(one.tests_on_the_way[0], one.snapshots, strict=True)
    ]
    trained_on = [Piece(one.batch(step)[0], step) for step in (0, *one.snapshots)]
    tests = [at_the_end, *on_the_way]
    logits, counted = jobs.map([*trained_on, *tests], costs_at=one.task.length)
    of_batches, of_tests = logits[: len(trained_on)], logits[len(trained_on) :]

    # first: who looks ahead has losses, too, that cannot be
    checks = require_causal(jobs, of_tests)
    require_same_losses(one, reported, of_batches)
    loss, accuracy, scored = _measured(of_tests[0], one.test[1])
    if loss < one.task.floor_loss:
        raise Suspicious(
            f"a test loss of {loss:.4g}; expected at least {one.task.floor_loss:.4g}, which no "
            "model of this task goes below"
        )
    losses = [
        _measured(part, targets).loss
        for part, targets in zip(of_tests[1:], one.tests_on_the_way[1], strict=True)
    ]

    learning = scoring.learning([*losses, loss], one.task.chance_loss)
    solved_at = one.suite.solved_share * one.task.chance_loss
    found: dict[str, float | None] = {
        "loss": loss,
        "accuracy": accuracy,
        "scored": scored,
        "learning": learning,
        "leak_bound": scoring.leak_bound(checks),
        "leak_checks": checks,
        "steps_to_solve": scoring.steps_to_solve(reported, solved_at),
        "gpu_memory_mb": trained.gpu_memory_mb,
        **{str(name): cost for name, cost in counted.costs.items()},
    }
    return Trial(
        spec=one.spec,
        status="ok",
        score=scoring.score(one.task, one.suite.weights, loss, accuracy, learning),
        metrics={name: float(value) for name, value in found.items() if value is not None},
        parameters=counted.parameters,
        steps=one.rung.steps,
        tokens=one.rung.steps * one.batch_size * one.task.length,
        seconds=jobs.cost(trained),
        peak_memory_mb=jobs.peak(),
        environment={**trained.environment, **jobs.computing(), **jobs.sandbox()},
    )


def require_same_losses(one: Assignment, reported: Floats, logits: list[Floats]) -> None:
    """Hold the losses that the training reported against those of its weights.

    Args:
        reported: (steps,).
        logits: (B, T, V) of the batch that follows, at the start and at each snapshot.

    Raises:
        Suspicious: one differs by more than dropout and rounding explain.
    """
    for step, part in zip((0, *one.snapshots), logits, strict=True):
        recomputed = _measured(part, one.batch(step)[1]).loss
        if not scoring.may_be_same_loss(float(reported[step]), recomputed):
            raise Suspicious(
                f"the training reported a loss of {reported[step]:.4g} at step {step + 1}; its "
                f"weights give {recomputed:.4g} on the same batch"
            )


def require_causal(jobs: TrialJobs, logits: list[Floats]) -> int:
    """Compute one scored position of each test sequence again, without what follows it.

    A sequence is there once: a longer beginning of it would betray what follows a shorter one.

    Args:
        logits: (N, T, V) of the test, then of the tests of the snapshots.

    Returns:
        How many positions of the test were checked.

    Raises:
        Ended: logits differ, so the trial is rejected.
    """
    one = jobs.assignment
    rng = one.rng("checks")
    inputs, targets = one.test
    places = scoring.draw_places(targets, rng)
    rows = np.flatnonzero(places >= 0)
    lengths = np.minimum((places // CUT_TO + 1) * CUT_TO, inputs.shape[1])
    pieces, before = [], []
    for length in np.unique(lengths[rows]):
        some = rows[lengths[rows] == length]
        pieces.append(Piece(_beginnings(one, inputs[some, :length], places[some], rng)))
        before.append((logits[0][some], places[some]))
    at_the_end = len(pieces)
    for step, inputs, targets, part in zip(
        one.snapshots, *one.tests_on_the_way, logits[1:], strict=True
    ):
        places = scoring.draw_places(targets, rng)
        pieces.append(Piece(_beginnings(one, inputs, places, rng), step))
        before.append((part, places))

    after, _ = jobs.map(pieces)
    different = [
        _changed(whole, cut, places) for (whole, places), cut in zip(before, after, strict=True)
    ]
    for which, flags in (
        ("scored positions", np.concatenate(different[:at_the_end])),
        ("scored positions of snapshots", np.concatenate([*different[at_the_end:], []])),
    ):
        if count := int(flags.sum()):
            raise Ended(
                "rejected", f"{count} of {len(flags)} {which} change when what follows is cut off"
            )
    return len(rows)


def _beginnings(
    one: Assignment, inputs: Tokens, places: Tokens, rng: np.random.Generator
) -> Tokens:
    """Return the inputs (N, T) up to and with the places (N,), and noise behind them."""
    noise = rng.integers(0, one.task.vocab_size, inputs.shape)
    return np.where(np.arange(inputs.shape[1]) <= places[:, None], inputs, noise)


def _measured(logits: Floats, targets: Tokens) -> Measured:
    try:
        return scoring.measure(logits, targets)
    except scoring.NotFinite as error:
        raise Ended("diverged", f"{error}{WHILE_MEASURED}") from error


def _changed(whole: Floats, cut: Floats, places: Tokens) -> NDArray[np.bool_]:
    """Say of which sequences the logits (N, T, V) at the places (N,) differ."""
    rows = np.flatnonzero(places >= 0)
    try:
        return scoring.changed(whole[rows, places[rows]], cut[rows, places[rows]])
    except scoring.NotFinite as error:
        raise Ended("diverged", f"{error}{WHILE_MEASURED}") from error

"""Which trials a candidate gets: the protocol of a suite as specs, the same for human and machine.

Covers the specs of each rung and the choice of a learning rate. Does not run anything (`trials`)
and does not decide who climbs (`bench.rungs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from noctuary.bench.rungs import search_seeds
from noctuary.bench.suite import Suite, suite_by_name
from noctuary.bench.tasks import Task
from noctuary.config import Settings, TrainingSettings
from noctuary.corpus import prepare_corpus
from noctuary.domain import Trial, TrialSpec
from noctuary.lab import Lab

TRAINER_VERSION = "lightning-2"
"""Part of every trial's id: raise it when a change in `training` changes what a trial computes."""


def suite_of(settings: TrainingSettings) -> Suite:
    """Return the suite that the settings name, with their text."""
    return suite_by_name(settings.suite, Path(settings.text) if settings.text else None)


def with_text(settings: Settings, lab: Lab) -> Settings:
    """Return the settings with their text as a file of the lab, read or fetched once.

    Raises:
        UsageError, EnvironmentRefused: the text cannot be had.
    """
    source = settings.training.text
    if not source:
        return settings
    text = str(prepare_corpus(source, lab.corpora))
    training = settings.training.model_copy(update={"text": text})
    return settings.model_copy(update={"training": training})


def rung_seeds(suite: Suite, rung: int, final: int) -> tuple[int, ...]:
    """Return the seeds of a rung: one where the rung screens, `final` on the last one."""
    return search_seeds(rung, final if rung == suite.top else 1)


def first_rung(candidate_id: str, suite: Suite, tasks: Sequence[Task]) -> tuple[TrialSpec, ...]:
    """Return a candidate's trials on the first rung: every learning rate, with one seed."""
    return tuple(
        _spec(candidate_id, suite, task, 0, seed, rate)
        for seed in search_seeds(0, 1)
        for rate in suite.learning_rates
        for task in tasks
    )


def later_rung(
    candidate_id: str, suite: Suite, rung: int, seeds: Sequence[int], rates: Mapping[str, float]
) -> tuple[TrialSpec, ...]:
    """Return a candidate's trials on a later rung.

    Args:
        rates: task -> the learning rate that the first rung found best for it.
    """
    return tuple(
        _spec(candidate_id, suite, suite.task(name), rung, seed, rate)
        for seed in seeds
        for name, rate in rates.items()
    )


def _spec(
    candidate_id: str, suite: Suite, task: Task, rung: int, seed: int, rate: float
) -> TrialSpec:
    return TrialSpec(
        candidate_id=candidate_id,
        suite=suite.version,
        task=task.name,
        rung=rung,
        seed=seed,
        learning_rate=rate,
        trainer=TRAINER_VERSION,
    )


def steps_a_design(settings: TrainingSettings) -> float:
    """Return the optimiser steps that a design takes on average, given who is promoted."""
    suite = suite_of(settings)
    share, steps = 1.0, 0.0
    for number, rung in enumerate(suite.rungs):
        attempts = len(rung_seeds(suite, number, settings.seeds))
        if number == 0:
            attempts *= len(suite.learning_rates)
        steps += share * attempts * len(suite.tasks) * rung.steps
        share *= rung.keep
    return steps


def at_best_rate(trials: Iterable[Trial]) -> dict[tuple[str, int], Trial]:
    """Return (task, seed) -> its `ok` trial with the best score; of equals, the smallest rate."""
    best: dict[tuple[str, int], Trial] = {}
    scored = [trial for trial in trials if trial.score is not None]
    for trial in sorted(scored, key=lambda t: (-(t.score or 0.0), t.spec.learning_rate)):
        best.setdefault((trial.spec.task, trial.spec.seed), trial)
    return best

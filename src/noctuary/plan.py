"""Which trials a candidate gets: the protocol of a suite as specs, the same for human and machine.

Covers the specs of each rung and the choice of a learning rate. Does not run anything (`trials`)
and does not decide who climbs (`bench.rungs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from noctuary.bench.rungs import FIRST_HELD_OUT_SEED, search_seeds
from noctuary.bench.suite import Suite, suite_by_name
from noctuary.bench.tasks import Task
from noctuary.canonical import content_id
from noctuary.config import Arithmetic, Settings, TrainingSettings
from noctuary.corpus import HUB, prepare_corpus
from noctuary.domain import Trial, TrialSpec
from noctuary.errors import UsageError
from noctuary.lab import Lab, write_atomically
from noctuary.sandbox.limits import may_use_cuda

TRAINER_VERSION = "lightning-3"
"""Part of every trial's id: raise it when a change in `training`, `measuring` or `scoring` changes
what a trial computes."""


def suite_of(settings: TrainingSettings) -> Suite:
    """Return the suite that the settings name, with their text."""
    return suite_by_name(settings.suite, text_of(settings))


def text_of(settings: TrainingSettings) -> Path | None:
    """Return the file of the suite's text task; None for the shipped corpus."""
    return Path(settings.text) if settings.text else None


def with_text(settings: Settings, lab: Lab, *, offline: bool = False) -> Settings:
    """Return the settings with their text as a file of the lab.

    A file or folder, relative ones to the lab's, is read anew; a dataset is fetched once.

    Raises:
        UsageError, EnvironmentRefused: the text cannot be had.
    """
    source = settings.training.text
    if not source:
        return settings
    if source.startswith(HUB):
        text = _fetched(source, lab, offline)
    else:
        text = prepare_corpus(str(lab.root / Path(source).expanduser()), lab.corpora)
    training = settings.training.model_copy(update={"text": str(text)})
    return settings.model_copy(update={"training": training})


def _fetched(source: str, lab: Lab, offline: bool) -> Path:
    """Return the file of a dataset, and remember which one it is."""
    note = lab.corpora / f"{content_id({'source': source})}.txt"
    if note.exists() and (known := lab.corpora / note.read_text(encoding="utf-8")).exists():
        return known
    if offline:
        raise UsageError(
            f"{source} is not in {lab.corpora} yet, and --offline forbids to fetch it; expected "
            "a text that is there: run once without --offline"
        )
    text = prepare_corpus(source, lab.corpora)
    write_atomically(note, text.name)
    return text


def rung_seeds(suite: Suite, rung: int, final: int) -> tuple[int, ...]:
    """Return the seeds of a rung: one where the rung screens, `final` on the last one."""
    return search_seeds(rung, final if rung == suite.top else 1)


def trainer_of(settings: TrainingSettings, arithmetic: Arithmetic = "fast") -> str:
    """Return the trainer's version, with what else decides the bits of a trial's numbers.

    A GPU trains in bf16; trials of different precision never stand on one board. Nor do trials
    that were tested on other sequences, or computed in other ways. What is portable is computed
    on the CPU, whatever the settings say.
    """
    parts = [TRAINER_VERSION]
    if settings.test_salt:
        parts.append(f"salt{content_id({'salt': settings.test_salt})[:8]}")
    if arithmetic == "portable":
        parts.append(arithmetic)
    elif may_use_cuda(settings.device):
        parts.append("bf16")
    return "-".join(parts)


def arithmetic_of(trainer: str) -> Arithmetic:
    """Return how the trials of a trainer are computed."""
    return "portable" if "portable" in trainer.split("-") else "fast"


def first_rung(
    candidate_id: str, suite: Suite, tasks: Sequence[Task], trainer: str
) -> tuple[TrialSpec, ...]:
    """Return a candidate's trials on the first rung: every learning rate, with one seed."""
    return tuple(
        _spec(candidate_id, suite, task, 0, seed, rate, trainer)
        for seed in search_seeds(0, 1)
        for rate in suite.learning_rates
        for task in tasks
    )


def later_rung(
    candidate_id: str,
    suite: Suite,
    rung: int,
    seeds: Sequence[int],
    rates: Mapping[str, float],
    trainer: str,
) -> tuple[TrialSpec, ...]:
    """Return a candidate's trials on a later rung.

    Args:
        rates: task -> the learning rate that the first rung found best for it.
    """
    return tuple(
        _spec(candidate_id, suite, suite.task(name), rung, seed, rate, trainer)
        for seed in seeds
        for name, rate in rates.items()
    )


def _spec(
    candidate_id: str, suite: Suite, task: Task, rung: int, seed: int, rate: float, trainer: str
) -> TrialSpec:
    if seed >= FIRST_HELD_OUT_SEED:
        raise ValueError(f"seed {seed} is for verification; expected one of the search")
    return TrialSpec(
        candidate_id=candidate_id,
        suite=suite.version,
        task=task.name,
        rung=rung,
        seed=seed,
        learning_rate=rate,
        trainer=trainer,
    )


def steps_a_design(settings: Settings) -> float:
    """Return the optimiser steps that a design takes on average, given who is promoted."""
    suite = suite_of(settings.training)
    share, steps = 1.0, 0.0
    for number, rung in enumerate(suite.rungs):
        attempts = len(rung_seeds(suite, number, settings.training.seeds))
        if number == 0:
            attempts *= len(suite.learning_rates)
        steps += share * attempts * len(suite.tasks) * rung.steps
        share *= settings.search.kept(number)
    return steps


def at_best_rate(trials: Iterable[Trial]) -> dict[tuple[str, int], Trial]:
    """Return (task, seed) -> its `ok` trial with the best score; of equals, the smallest rate."""
    best: dict[tuple[str, int], Trial] = {}
    scored = [trial for trial in trials if trial.score is not None]
    for trial in sorted(scored, key=lambda t: (-(t.score or 0.0), t.spec.learning_rate)):
        best.setdefault((trial.spec.task, trial.spec.seed), trial)
    return best

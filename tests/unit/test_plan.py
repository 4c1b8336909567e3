"""The protocol of a suite as trials: the same for everybody, and nothing held out among them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from builders import make_trial, write_trials
from hypothesis import given, settings
from hypothesis import strategies as st

from noctuary.bench.rungs import FIRST_HELD_OUT_SEED, promoted
from noctuary.bench.suite import SUITES, Suite
from noctuary.config import Settings, TrainingSettings
from noctuary.domain import Status, Trial, TrialSpec
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.plan import (
    TRAINER_VERSION,
    at_best_rate,
    first_rung,
    later_rung,
    rung_seeds,
    steps_a_design,
    suite_of,
)
from noctuary.sandbox.launcher import Launcher
from noctuary.trials import Workshop

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

any_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


@pytest.fixture
def workshop_for(tmp_path: Path) -> Callable[[Suite], Workshop]:
    """Return a workshop that plans and trains nothing, so that its launcher starts no process."""
    lab = Lab.create_or_open(tmp_path / "lab")

    def workshop(suite: Suite) -> Workshop:
        training = TrainingSettings(suite=suite.name, seeds=2)
        launcher = Launcher(1, lab.logs / "launcher.log")
        return Workshop(lab, training, launcher, Journal(lab.journal_path))

    return workshop


def trial_of(spec: TrialSpec, score: float | None, status: Status = "ok") -> Trial:
    return make_trial("", "", 0, score, status).model_copy(update={"spec": spec})


def finish(workshop: Workshop, specs: Sequence[TrialSpec], seed: int = 0) -> list[Trial]:
    """Write trials with random scores, a third of them diverged, but one for each task."""
    rng = Random(seed)
    trials, safe = [], {spec.task: rng.choice(rates_of(specs)) for spec in specs}
    for spec in specs:
        diverged = spec.learning_rate != safe[spec.task] and rng.random() < 1 / 3
        score = None if diverged else rng.choice((0.0, 0.25, 0.5, rng.random()))
        trials.append(trial_of(spec, score, "diverged" if diverged else "ok"))
    write_trials(workshop.lab.trials, trials)
    return trials


def rates_of(specs: Sequence[TrialSpec]) -> list[float]:
    return list(dict.fromkeys(spec.learning_rate for spec in specs))


def anonymous(specs: Sequence[TrialSpec]) -> list[dict[str, object]]:
    return [spec.model_dump(exclude={"candidate_id"}) for spec in specs]


# The first rung


@any_suite
def test_everybody_gets_the_same_trials_but_for_the_id(suite: Suite) -> None:
    human, design = (
        first_rung(one, suite, suite.tasks, TRAINER_VERSION) for one in ("human", "design")
    )
    assert anonymous(human) == anonymous(design)
    ids = [spec.trial_id for spec in (*human, *design)]
    assert len(set(ids)) == len(ids)


@any_suite
def test_the_first_rung_tries_every_rate_on_every_task_with_one_seed(suite: Suite) -> None:
    specs = first_rung("x", suite, suite.tasks, TRAINER_VERSION)
    tried = [(spec.task, spec.learning_rate) for spec in specs]
    assert sorted(tried) == sorted(
        (task.name, rate) for task in suite.tasks for rate in suite.learning_rates
    )
    assert {(spec.rung, spec.seed) for spec in specs} == {(0, *rung_seeds(suite, 0, 5))}
    first_of_each = {spec.task: spec for spec in reversed(specs)}
    assert {spec.learning_rate for spec in first_of_each.values()} == {suite.learning_rates[0]}


# The later ones


@any_suite
def test_a_later_rung_takes_the_best_rate_of_each_task_and_fresh_seeds(
    suite: Suite, workshop_for: Callable[[Suite], Workshop]
) -> None:
    workshop = workshop_for(suite)
    for number in range(10):
        candidate = f"candidate{number}"
        screening = finish(workshop, workshop.plan(candidate, 0), seed=number)
        best = {}
        for task in suite.tasks:
            tried = [t for t in screening if t.spec.task == task.name and t.score is not None]
            top = max(t.score or 0.0 for t in tried)
            best[task.name] = min(t.spec.learning_rate for t in tried if t.score == top)
        used = {trial.spec.seed for trial in screening}
        for rung in range(1, len(suite.rungs)):
            specs = workshop.plan(candidate, rung)
            seeds = rung_seeds(suite, rung, 2)
            assert len(specs) == len(suite.tasks) * len(seeds)
            assert {(s.task, s.seed, s.learning_rate) for s in specs} == {
                (task, seed, rate) for task, rate in best.items() for seed in seeds
            }
            assert {(s.candidate_id, s.rung, s.suite) for s in specs} == {
                (candidate, rung, suite.version)
            }
            assert not used & set(seeds)
            used |= set(seeds)


@any_suite
def test_there_is_no_later_rung_where_the_first_one_is_not_finished(
    suite: Suite, workshop_for: Callable[[Suite], Workshop]
) -> None:
    workshop = workshop_for(suite)
    screening = workshop.plan("x", 0)
    assert workshop.plan("x", suite.top) == ()
    missing = suite.tasks[-1].name
    finish(workshop, [spec for spec in screening if spec.task != missing])
    assert workshop.plan("x", suite.top) == ()
    finish(workshop, [spec for spec in screening if spec.task == missing])
    assert workshop.plan("x", suite.top) != ()


@any_suite
def test_there_is_no_later_rung_where_every_rate_of_a_task_diverged(
    suite: Suite, workshop_for: Callable[[Suite], Workshop]
) -> None:
    workshop = workshop_for(suite)
    screening = workshop.plan("x", 0)
    finish(workshop, screening)
    lost = [trial_of(s, None, "diverged") for s in screening if s.task == suite.tasks[0].name]
    write_trials(workshop.lab.trials, lost)
    assert workshop.plan("x", suite.top) == ()


@any_suite
def test_the_seeds_of_the_settings_are_those_of_the_last_rung(suite: Suite) -> None:
    counts = [len(rung_seeds(suite, rung, 7)) for rung in range(len(suite.rungs))]
    assert counts == [*(1 for _ in suite.rungs[1:]), 7]


@any_suite
def test_nothing_held_out_is_ever_trained_on(
    suite: Suite, workshop_for: Callable[[Suite], Workshop]
) -> None:
    workshop = workshop_for(suite)
    finish(workshop, workshop.plan("x", 0))
    specs = [spec for rung in range(len(suite.rungs)) for spec in workshop.plan("x", rung)]
    held_out = {task.name for task in suite.held_out}
    assert held_out
    assert {spec.task for spec in specs} == {task.name for task in suite.tasks}
    assert not held_out & {spec.task for spec in specs}
    assert max(spec.seed for spec in specs) < FIRST_HELD_OUT_SEED


# The best rate

attempts = st.lists(
    st.tuples(
        st.sampled_from(("mqar", "text")),
        st.integers(0, 1),
        st.sampled_from((5e-3, 2e-3, 1.2e-2)),
        st.sampled_from((None, -0.5, 0.0, 0.25, 0.5)),
    ),
    max_size=12,
)


@given(attempts)
def test_the_best_rate_of_each_task_and_seed_is_the_smallest_of_equals(
    attempts: list[tuple[str, int, float, float | None]],
) -> None:
    tried = [
        make_trial("x", task, seed, score, "diverged" if score is None else "ok", learning_rate=r)
        for task, seed, r, score in attempts
    ]
    found = at_best_rate(tried)
    for task in ("mqar", "text"):
        for seed in (0, 1):
            scored = [
                trial
                for trial in tried
                if (trial.spec.task, trial.spec.seed) == (task, seed) and trial.status == "ok"
            ]
            best = max((trial.score or 0.0 for trial in scored), default=None)
            rates = [trial.spec.learning_rate for trial in scored if trial.score == best]
            if best is None:
                assert (task, seed) not in found
            else:
                chosen = found[task, seed]
                assert (chosen.score, chosen.spec.learning_rate) == (best, min(rates))


# What it costs


@pytest.mark.parametrize("seeds", [2, 5])
@any_suite
def test_the_steps_of_a_design_are_those_of_a_simulated_search(suite: Suite, seeds: int) -> None:
    """Many designs with random scores climb together, so that rounding plays no part."""
    training = TrainingSettings(suite=suite.name, seeds=seeds)
    settings = Settings(training=training)
    assert suite_of(training) == suite
    rng, number = Random(seeds), 2**10
    climbing = {f"d{n}" for n in range(number)}
    steps = 0
    for rung, budget in enumerate(suite.rungs):
        for design in climbing:
            if rung == 0:
                specs = first_rung(design, suite, suite.tasks, TRAINER_VERSION)
            else:
                rates = {task.name: suite.learning_rates[0] for task in suite.tasks}
                specs = later_rung(
                    design, suite, rung, rung_seeds(suite, rung, seeds), rates, TRAINER_VERSION
                )
            steps += budget.steps * len(specs)
        climbing = set(
            promoted({d: rng.random() for d in climbing}, settings.search.kept(rung), climbing)
        )
    assert steps / number == pytest.approx(steps_a_design(settings), rel=5e-3)

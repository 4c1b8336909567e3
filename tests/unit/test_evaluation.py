"""Comparing evaluated mixers: who is compared, over which seeds, and what may be called."""

from pathlib import Path

import pytest
from builders import make_axes, make_design, make_human, make_trial, record_trials

from noctuary.archive import Archive
from noctuary.config import TrainingSettings
from noctuary.domain import Audit, Candidate, Cycle
from noctuary.evaluation import Evaluated, compare, differences
from noctuary.knowledge import Knowledge
from noctuary.plan import TRAINER_VERSION, first_rung, later_rung, rung_seeds, suite_of, trainer_of

TASKS = ["mqar", "text"]


def evaluated(name: str, scores: dict[tuple[str, int], float], failed: str = "") -> Evaluated:
    candidate = Candidate(candidate_id=name, name=name, kind="foreign", axes=None, path="x.py")
    trials = [make_trial(name, task, seed, score) for (task, seed), score in scores.items()]
    return Evaluated(
        candidate=candidate,
        audit=Audit(candidate_id=name, suite="s", checks=()),
        trials=tuple(trials),
        failed=failed,
        trial_ids=tuple(trial.spec.trial_id for trial in trials),
    )


def on_all(seeds: int, mqar: float, text: float) -> dict[tuple[str, int], float]:
    return {
        (task, seed): score + seed / 100
        for task, score in (("mqar", mqar), ("text", text))
        for seed in range(seeds)
    }


def test_seeds_pair_where_both_have_every_task() -> None:
    mine, theirs = on_all(3, 0.5, 0.7), on_all(3, 0.4, 0.5)
    assert differences(mine, theirs, TASKS) == pytest.approx([0.15] * 3)
    del theirs["text", 1]
    assert differences(mine, theirs, TASKS) == pytest.approx([0.15] * 2)
    assert differences(mine, theirs, ["mqar"]) == pytest.approx([0.1] * 3)
    assert differences(mine, {}, TASKS) == []


def test_a_large_difference_is_called_from_eight_seeds_on_and_not_before() -> None:
    rivals = [evaluated(f"r{n}", on_all(10, 0.3, 0.3)) for n in range(4)]
    for seeds, called in ((7, False), (8, True)):
        verdicts = compare(evaluated("new", on_all(seeds, 0.9, 0.9)), rivals, TASKS)
        assert [verdict.different for verdict in verdicts.values()] == [called] * 4
        assert all((verdict.low is None) != called for verdict in verdicts.values())


def test_who_failed_anywhere_is_not_compared() -> None:
    whole = evaluated("whole", on_all(8, 0.3, 0.3))
    lucky = evaluated("lucky", on_all(8, 0.9, 0.9), failed="diverged: on the ninth seed")
    assert compare(whole, [lucky], TASKS) == {}
    assert compare(lucky, [whole], TASKS) == {}
    assert list(compare(whole, [lucky, evaluated("r", on_all(8, 0.2, 0.2))], TASKS)) == ["r"]


def test_evaluating_a_design_leaves_it_a_design(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.duckdb")
    design = make_design("d0", make_axes(decay="fixed"))
    human = make_human("gla", make_axes())
    archive.record_designs([design])
    archive.record_candidates([human])
    before = archive.candidates()
    archive.record_candidates(
        [
            Candidate(candidate_id=one, name="file", kind="foreign", axes=None, path="file.py")
            for one in (design.design_id, human.candidate_id)
        ]
    )
    assert archive.candidates() == before


def test_foreign_mixers_and_those_with_a_failed_seed_are_no_parents(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a.duckdb")
    settings = TrainingSettings(suite="tiny-2", seeds=2)
    suite = suite_of(settings)
    foreign = Candidate(candidate_id="f", name="f", kind="foreign", axes=None, path="f.py")
    archive.record_candidates([foreign])
    archive.record_designs([make_design("d0", make_axes(decay="fixed"))])
    trials = []
    for candidate in ("f", "d0"):
        for task in suite.tasks:
            for rate in suite.learning_rates:
                trials.append((candidate, task.name, 0, 0, 0.5, rate))
            for seed in rung_seeds(suite, suite.top, 2):
                score = None if seed % 2 and task is suite.tasks[0] else 0.9
                trials.append((candidate, task.name, suite.top, seed, score, 5e-3))
    record_trials(
        archive,
        [
            make_trial(
                candidate,
                task,
                seed,
                score,
                "diverged" if score is None else "ok",
                suite=suite.version,
                rung=rung,
                trainer=TRAINER_VERSION,
                learning_rate=rate,
            )
            for candidate, task, rung, seed, score, rate in trials
        ],
    )
    cycle = Cycle(number=2, seed=0, settings="s")
    [scored] = [
        a for a in Knowledge(archive, cycle, settings).history().attempts if a.score is not None
    ]
    assert scored.candidate_id == "d0"
    assert scored.final is None, "the seed that survived would flatter it"


def test_trials_of_other_precision_have_another_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noctuary.plan.may_use_cuda", lambda device: device != "cpu")
    assert trainer_of(TrainingSettings(device="cpu")) == TRAINER_VERSION
    assert trainer_of(TrainingSettings(device="cuda")) == f"{TRAINER_VERSION}-bf16"


def test_no_trial_of_the_search_takes_a_held_out_seed() -> None:
    suite = suite_of(TrainingSettings(suite="tiny-2"))
    with pytest.raises(ValueError, match="is for verification"):
        later_rung("x", suite, 1, [1_000_000], {"mqar": 5e-3}, TRAINER_VERSION)
    assert first_rung("x", suite, suite.tasks, TRAINER_VERSION)

"""A lab of the tiny suite that has been searched: tuned mixers with trials, ready for a claim.

Nothing is trained: the trials are made up, and recorded as real ones are.
"""

from collections.abc import Mapping
from pathlib import Path

from noctuary.archive import Archive
from noctuary.attesting import flush
from noctuary.bench.rungs import search_seeds
from noctuary.bench.suite import TINY
from noctuary.candidates import human_candidates
from noctuary.config import Settings, load_settings
from noctuary.domain import Candidate, Trial, TrialSpec
from noctuary.lab import Lab
from noctuary.plan import trainer_of

LEVELS = {"linear_attention": 0.5, "gla": 0.4, "retnet": 0.3, "softmax_attention": 0.9}
"""name -> score on the last rung; the reference would be the best."""

RATES = {"mqar": 1e-2, "parity": 5e-3, "text": 1e-2}
"""Of the tiny suite's, the rate that each task is made to learn best with."""

SEARCH_SEEDS = 4


def searched_lab(root: Path, levels: Mapping[str, float] = LEVELS, toml: str = "") -> Lab:
    """Return a lab in which these human mixers climbed to the last rung."""
    lab = Lab.create_or_open(root)
    lab.settings_path.write_text(f'[training]\nsuite = "{TINY.name}"\n{toml}', encoding="utf-8")
    settings, archive = load_settings(lab.settings_path), Archive(lab.archive_path)
    mixers = human_candidates(lab, levels)
    with archive.attested("evaluation", {"candidates": list(levels)}) as write:
        write.record_candidates(mixers)
    for mixer in mixers:
        record(lab, settings, mixer, levels[mixer.name])
    flush(lab, archive, settings.ledger)
    return lab


def record(lab: Lab, settings: Settings, mixer: Candidate, level: float) -> None:
    """Record the screening of a mixer, and its trials on the last rung."""
    trials = [
        _trial(settings, mixer, task.name, 0, seed, rate, level - 0.1 * (rate != RATES[task.name]))
        for task in TINY.tasks
        for rate in TINY.learning_rates
        for seed in search_seeds(0, 1)
    ]
    trials += [
        _trial(settings, mixer, task.name, TINY.top, seed, RATES[task.name], level)
        for task in TINY.tasks
        for seed in search_seeds(TINY.top, SEARCH_SEEDS)
    ]
    for trial in trials:
        folder = lab.trials / trial.spec.trial_id
        folder.mkdir()
        (folder / "result.json").write_text(trial.model_dump_json(indent=1) + "\n")
    archive = Archive(lab.archive_path)
    with archive.attested("evaluation", {"mixer": mixer.candidate_id}) as write:
        write.record_trials(lab.trials, [trial.spec.trial_id for trial in trials])


def _trial(
    settings: Settings, mixer: Candidate, task: str, rung: int, seed: int, rate: float, score: float
) -> Trial:
    spec = TrialSpec(
        candidate_id=mixer.candidate_id,
        suite=TINY.version,
        task=task,
        rung=rung,
        seed=seed,
        learning_rate=rate,
        trainer=trainer_of(settings.training),
    )
    noise = int(spec.trial_id[:4], 16) / 2**16 * 0.05
    return Trial(
        spec=spec,
        status="ok",
        score=score + noise,
        metrics={"loss": 1.5},
        parameters=9_000,
        steps=2,
        tokens=128,
        seconds={"total": 1.5},
        environment={"device": "cpu"},
    )

"""From candidates to audits and finished trials on disk: found where they exist, run where not.

A trial is finished when `trials/<trial_id>/result.json` exists. The folder appears in one
rename, so there is no half-finished trial to be mistaken for a finished one, whatever was
killed and when. Covers what becomes of a candidate that fails; does not train (`training`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from noctuary.assignment import Assignment
from noctuary.auditing import audit_candidate
from noctuary.bench.suite import suite_by_name
from noctuary.config import TrainingSettings
from noctuary.domain import Audit, Candidate, Trial, TrialSpec, Value
from noctuary.jobs import JobRunner
from noctuary.journal import Journal
from noctuary.lab import Lab, explaining_disk_errors, read_json
from noctuary.measuring import run_trial
from noctuary.plan import (
    arithmetic_of,
    at_best_rate,
    first_rung,
    later_rung,
    rung_seeds,
    suite_of,
    text_of,
    trainer_of,
)
from noctuary.policy import Policy
from noctuary.sandbox.launcher import Launcher, Turn
from noctuary.trial_folders import publish, quarantine
from noctuary.trial_jobs import Suspicious, TrialJobs

HARMLESS = ("ok", "diverged")
"""Statuses after which a candidate's other trials are still run: another rate may do better."""


class Trained(Value):
    """What training one candidate on one rung came to.

    Attributes:
        trial_ids: the finished trials, found or executed.
        executed: how many of them were run now.
        steps: optimiser steps of those.
        score: mean over tasks and seeds, each at its best learning rate; None unless there is a
            score for all of them, and nothing worse than divergence happened.
        reason: what happened, where there is no score.
    """

    candidate_id: str
    rung: int
    trial_ids: tuple[str, ...]
    executed: int
    steps: int
    score: float | None
    reason: str


def _reason(failed: Sequence[Trial]) -> str:
    if not failed:
        return "the first rung gave no learning rate for every task"
    return f"{failed[0].status}: {failed[0].reason}"


class Workshop:
    """What auditing and training need, in one hand: the lab, its rules, and the launcher."""

    def __init__(
        self,
        lab: Lab,
        settings: TrainingSettings,
        launcher: Launcher,
        journal: Journal,
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        self.lab = lab
        self.policy = policy
        self.jobs = JobRunner(lab, launcher, policy.sandbox.demanded)
        on_cpu = {"device": "cpu"} if launcher.arithmetic == "portable" else {}
        self.settings = settings.model_copy(update=on_cpu)
        self.launcher = launcher
        self.journal = journal

    def audit(self, candidate: Candidate, suite: str, seed: int) -> Audit:
        """Check a candidate, statically here and dynamically in a sandboxed process."""
        return audit_candidate(self.jobs, candidate, suite, self.settings, self.policy, seed)

    def plan(self, candidate_id: str, rung: int) -> tuple[TrialSpec, ...]:
        """Return a candidate's trials on a rung, as the protocol has them.

        None on a later rung, where the first one is not finished.
        """
        suite = suite_of(self.settings)
        trainer = trainer_of(self.settings, self.launcher.arithmetic)
        screening = first_rung(candidate_id, suite, suite.tasks, trainer)
        if rung == 0:
            return screening
        rates = self.best_rates(screening)
        seeds = rung_seeds(suite, rung, self.settings.seeds)
        return later_rung(candidate_id, suite, rung, seeds, rates, trainer)

    def best_rates(self, screening: Sequence[TrialSpec]) -> dict[str, float]:
        """Return task -> best learning rate.

        Empty unless all of them are finished, nothing worse than divergence happened, and each
        task has a score.
        """
        if not all(self.is_finished(spec) for spec in screening):
            return {}
        trials = [self.read(spec) for spec in screening]
        if any(trial.status not in HARMLESS for trial in trials):
            return {}
        best = {task: t.spec.learning_rate for (task, _), t in at_best_rate(trials).items()}
        wanted = dict.fromkeys(spec.task for spec in screening)
        return {task: best[task] for task in wanted} if set(best) == set(wanted) else {}

    def train(
        self,
        candidate: Candidate,
        ffn_width: int,
        specs: Sequence[TrialSpec],
        told: Callable[[int], None] = lambda _done: None,
        heed: Callable[[], None] = lambda: None,
    ) -> "Trained":
        """See to it that the trials are finished, as many at once as the launcher has slots.

        The first trial of each task goes first. Where one of them crashes or takes too long, the
        others are not run: what a broken candidate may cost is bounded. Of candidates that train
        side by side, one gets the slots, so that its result is there soon: a design before a
        baseline, else the one that began first.

        Args:
            specs: trials of one rung.
            told: called with the number of finished trials, whenever it grows.
            heed: called before each trial; what it raises ends the training there.

        Raises:
            NoSpace: the disk is full; finished trials stay.
            WorkerLost: the process that starts trials cannot be kept alive.
        """
        turn = (float(candidate.kind == "human"), time.monotonic())
        first = list({spec.task: spec for spec in reversed(specs)}.values())
        rest = [spec for spec in specs if spec not in first]
        finished: list[TrialSpec] = []
        executed: list[TrialSpec] = []
        for part in (first, rest):
            if any(self.read(spec).status not in HARMLESS for spec in finished):
                break
            executed += self._train_all(candidate, ffn_width, part, turn, finished, told, heed)
        trials = [self.read(spec) for spec in specs if spec in finished]
        scores = [trial.score for trial in at_best_rate(trials).values() if trial.score is not None]
        wanted = {(spec.task, spec.seed) for spec in specs}
        broken = [trial for trial in trials if trial.status not in HARMLESS]
        failed = broken or [trial for trial in trials if trial.status != "ok"]
        complete = len(scores) == len(wanted) > 0 and not broken
        return Trained(
            candidate_id=candidate.candidate_id,
            rung=max((spec.rung for spec in specs), default=0),
            trial_ids=tuple(trial.spec.trial_id for trial in trials),
            executed=len(executed),
            steps=sum(self.read(spec).steps for spec in executed),
            score=sum(scores) / len(scores) if complete else None,
            reason="" if complete else _reason(failed),
        )

    def _train_all(
        self,
        candidate: Candidate,
        ffn_width: int,
        specs: Sequence[TrialSpec],
        turn: Turn,
        finished: list[TrialSpec],
        told: Callable[[int], None],
        heed: Callable[[], None],
    ) -> list[TrialSpec]:
        missing = [spec for spec in specs if not self.is_finished(spec)]
        finished.extend(spec for spec in specs if spec not in missing)
        told(len(finished))
        with ThreadPoolExecutor(self.launcher.slots) as threads:
            futures = {
                threads.submit(self._train_one, candidate, ffn_width, spec, turn, heed): spec
                for spec in missing
            }
            try:
                for future in as_completed(futures):
                    future.result()
                    finished.append(futures[future])
                    told(len(finished))
            finally:
                for future in futures:
                    future.cancel()
        return missing

    def missing(self, candidates: Sequence[Candidate], rung: int) -> int:
        """Return how many trials of these candidates are still to be run on a rung."""
        return sum(
            not self.is_finished(spec)
            for candidate in candidates
            for spec in self.plan(candidate.candidate_id, rung)
        )

    def is_finished(self, spec: TrialSpec) -> bool:
        return (self.lab.trials / spec.trial_id / "result.json").exists()

    def read(self, spec: TrialSpec) -> Trial:
        """Return a finished trial."""
        return Trial.model_validate(read_json(self.lab.trials / spec.trial_id / "result.json"))

    def _train_one(
        self,
        candidate: Candidate,
        ffn_width: int,
        spec: TrialSpec,
        turn: Turn,
        heed: Callable[[], None],
    ) -> None:
        self.lab.require_space()
        if arithmetic_of(spec.trainer) != self.launcher.arithmetic:
            raise ValueError(
                f"a trial of {spec.trainer} in a launcher that computes {self.launcher.arithmetic}"
            )
        facts = {
            "trial": spec.trial_id,
            "candidate": candidate.name,
            "task": spec.task,
            "seed": spec.seed,
        }
        assignment = Assignment(
            candidate=candidate,
            ffn_width=ffn_width,
            spec=spec,
            suite=suite_by_name(spec.suite, text_of(self.settings)),
            salt=self.settings.test_salt or self.lab.secret,
        )
        with (
            self.launcher.slot(turn),
            self.jobs.work_folder(spec.trial_id, lasting=True) as folder,
        ):
            heed()  # here, since it may have waited for the slot
            self._tell("trial started", folder=str(folder), **facts)
            trial = self._run(assignment, folder, facts)
            publish(self.lab, trial, folder)
        self._tell(
            "trial finished",
            status=trial.status,
            reason=trial.reason,
            score=trial.score,
            seconds=trial.seconds["total"],
            **facts,
        )

    def _run(self, assignment: Assignment, folder: Path, facts: Mapping[str, object]) -> Trial:
        """Run a trial; once more in processes that ran nothing before, where it is suspicious."""
        suspicions: list[str] = []
        for cold in (False, True):
            jobs = TrialJobs(self.jobs, self.settings, assignment, folder, cold)
            try:
                trial = run_trial(jobs)
                break
            except Suspicious as suspicion:
                suspicions.append(str(suspicion))
                kept = quarantine(self.lab, assignment.spec, folder, suspicions[-1])
                self._tell("trial quarantined", reason=suspicions[-1], folder=str(kept), **facts)
        else:
            trial = jobs.failed("rejected", f"suspicious twice: {suspicions[-1]}")
        if not suspicions:
            return trial
        noted = trial.environment | {"quarantined": suspicions[0]}
        return trial.model_copy(update={"environment": noted})

    def _tell(self, event: str, **facts: object) -> None:
        with explaining_disk_errors(self.lab.root):
            self.journal.write(event, **facts)

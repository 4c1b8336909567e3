"""From candidates to audits and finished trials on disk: found where they exist, run where not.

A trial is finished when `trials/<trial_id>/result.json` exists. The folder appears in one
rename, so there is no half-finished trial to be mistaken for a finished one, whatever was
killed and when. Covers what becomes of a candidate that fails; does not train (`training`).
"""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from noctuary.audit.static import static_checks
from noctuary.bench.suite import suite_by_name
from noctuary.config import TrainingSettings
from noctuary.domain import Audit, Candidate, Check, Status, Trial, TrialSpec, Value
from noctuary.journal import Journal
from noctuary.lab import Lab, explaining_disk_errors, read_json, sync_folder, write_atomically
from noctuary.sandbox.launcher import Launcher, Turn
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.outcome import AuditOutcome, Outcome, OutcomeT, TrialOutcome, read_outcome
from noctuary.sandbox.protocol import NO_SPACE_EXIT, OUTCOME_FILE, OUTPUT_FILE, Job, JobEnd, JobKind

TRAINER_VERSION = "lightning-1"
"""Part of every trial's id: raise it when a change in `training` changes what a trial computes."""

AUDIT_SECONDS = 60.0
MAX_OUTPUT_BYTES = 2**16
_SIGKILL = 9


class Trained(Value):
    """What training one candidate came to.

    Attributes:
        trial_ids: the finished trials, found or executed.
        executed: how many of them were run now.
        failed: how many have a status other than `ok`.
        score: mean over the trials; None unless all of them are `ok`.
        reason: why the first failed one did.
    """

    candidate_id: str
    trial_ids: tuple[str, ...]
    executed: int
    failed: int
    score: float | None
    reason: str


def specs_of(candidate: Candidate, settings: TrainingSettings) -> tuple[TrialSpec, ...]:
    """Return the trials of a candidate on the first rung: every task with every seed."""
    suite = suite_by_name(settings.suite)
    return tuple(
        TrialSpec(
            candidate_id=candidate.candidate_id,
            suite=suite.version,
            task=task.name,
            rung=0,
            seed=seed,
            trainer=TRAINER_VERSION,
        )
        for seed in range(settings.seeds)
        for task in suite.tasks
    )


class Workshop:
    """What auditing and training need, in one hand: the lab, its rules, and the launcher."""

    def __init__(
        self, lab: Lab, settings: TrainingSettings, launcher: Launcher, journal: Journal
    ) -> None:
        self.lab = lab
        self.settings = settings
        self.launcher = launcher
        self.journal = journal

    def audit(self, candidate: Candidate, suite: str, seed: int) -> Audit:
        """Check a candidate, statically here and dynamically in a sandboxed process."""
        source = Path(candidate.path).read_text(encoding="utf-8")
        checks = static_checks(source)
        if not all(check.passed for check in checks):
            return Audit(candidate_id=candidate.candidate_id, suite=suite, checks=checks)
        request = {"mixer": candidate.path, "suite": suite, "seed": seed}
        limits = Limits(wall_seconds=AUDIT_SECONDS, memory_mb=self.settings.memory_mb)
        with self._work_folder(f"audit-{candidate.candidate_id}") as folder:
            end, outcome = self._run("audit", request, folder, limits, AuditOutcome)
        if outcome is None or outcome.status != "ok":
            status, reason = explain(end, outcome, limits)
            checks += (Check(name="runs", passed=False, detail=f"{status}: {reason}"),)
            return Audit(candidate_id=candidate.candidate_id, suite=suite, checks=checks)
        return Audit(
            candidate_id=candidate.candidate_id,
            suite=suite,
            checks=checks + outcome.checks,
            ffn_width=outcome.ffn_width,
            parameters=outcome.parameters,
        )

    def train(
        self,
        candidate: Candidate,
        ffn_width: int,
        specs: Sequence[TrialSpec],
        told: Callable[[int], None] = lambda _done: None,
    ) -> "Trained":
        """See to it that the trials are finished, as many at once as the launcher has slots.

        The first seed goes first. Where it fails on any task, the other seeds are not run:
        what a broken candidate may cost is bounded. Of candidates that train side by side,
        one gets the slots, so that its result is there soon: a design before a baseline, else
        the one that began first.

        Args:
            told: called with the number of finished trials, whenever it grows.

        Raises:
            NoSpace: the disk is full; finished trials stay.
            WorkerLost: the process that starts trials cannot be kept alive.
        """
        turn = (float(candidate.kind == "human"), time.monotonic())
        lowest = min((spec.seed for spec in specs), default=0)
        first = [spec for spec in specs if spec.seed == lowest]
        rest = [spec for spec in specs if spec.seed != lowest]
        finished: list[TrialSpec] = []
        executed = 0
        for part in (first, rest):
            if any(self.read(spec).status != "ok" for spec in finished):
                break
            executed += self._train_all(candidate, ffn_width, part, turn, finished, told)
        trials = [self.read(spec) for spec in specs if spec in finished]
        scores = [trial.score for trial in trials if trial.score is not None]
        failed = [trial for trial in trials if trial.status != "ok"]
        return Trained(
            candidate_id=candidate.candidate_id,
            trial_ids=tuple(trial.spec.trial_id for trial in trials),
            executed=executed,
            failed=len(failed),
            score=sum(scores) / len(scores) if scores and not failed else None,
            reason=f"{failed[0].status}: {failed[0].reason}" if failed else "",
        )

    def _train_all(
        self,
        candidate: Candidate,
        ffn_width: int,
        specs: Sequence[TrialSpec],
        turn: Turn,
        finished: list[TrialSpec],
        told: Callable[[int], None],
    ) -> int:
        missing = [spec for spec in specs if not self.is_finished(spec)]
        finished.extend(spec for spec in specs if spec not in missing)
        told(len(finished))
        with ThreadPoolExecutor(self.launcher.slots) as threads:
            futures = {
                threads.submit(self._train_one, candidate, ffn_width, spec, turn): spec
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
        return len(missing)

    def missing(self, candidates: Sequence[Candidate]) -> int:
        """Return how many trials of these candidates are still to be run."""
        return sum(
            not self.is_finished(spec)
            for candidate in candidates
            for spec in specs_of(candidate, self.settings)
        )

    def is_finished(self, spec: TrialSpec) -> bool:
        return (self.lab.trials / spec.trial_id / "result.json").exists()

    def read(self, spec: TrialSpec) -> Trial:
        """Return a finished trial."""
        return Trial.model_validate(read_json(self.lab.trials / spec.trial_id / "result.json"))

    def _train_one(self, candidate: Candidate, ffn_width: int, spec: TrialSpec, turn: Turn) -> None:
        self.lab.require_space()
        facts = {
            "trial": spec.trial_id,
            "candidate": candidate.name,
            "task": spec.task,
            "seed": spec.seed,
        }
        request = {
            "mixer": candidate.path,
            "suite": spec.suite,
            "task": spec.task,
            "rung": spec.rung,
            "seed": spec.seed,
            "ffn_width": ffn_width,
            "device": self.settings.device,
        }
        limits = Limits(wall_seconds=self.settings.trial_timeout, memory_mb=self.settings.memory_mb)
        with self._work_folder(spec.trial_id) as folder:
            end, outcome = self._run(
                "trial",
                request,
                folder,
                limits,
                TrialOutcome,
                lambda: self._tell("trial started", folder=str(folder), **facts),
                turn,
            )
            trial = conclude(spec, end, outcome, limits)
            self._publish(spec, trial, folder)
        self._tell(
            "trial finished",
            status=trial.status,
            reason=trial.reason,
            score=trial.score,
            seconds=end.wall_seconds,
            **facts,
        )

    def _run(
        self,
        kind: JobKind,
        request: dict[str, Any],
        folder: Path,
        limits: Limits,
        shape: type[OutcomeT],
        started: Callable[[], None] = lambda: None,
        turn: Turn = (),
    ) -> tuple[JobEnd, OutcomeT | None]:
        job = Job(kind=kind, request=request, folder=str(folder), limits=limits)
        for _ in range(2):
            end = self.launcher.run(job, started, turn)
            if end.exit_code != NO_SPACE_EXIT:
                break
            # where there is space, another job took it for a moment, or the candidate lies
            self._require_space(folder)
        return end, read_outcome(folder, shape)

    def _require_space(self, folder: Path) -> None:
        """Raise NoSpace where the disk is full, or this user's share of it."""
        self.lab.require_space()
        with explaining_disk_errors(self.lab.root):
            write_atomically(folder / "probe", bytes(2**20))
            (folder / "probe").unlink()

    def _tell(self, event: str, **facts: Any) -> None:
        with explaining_disk_errors(self.lab.root):
            self.journal.write(event, **facts)

    def _publish(self, spec: TrialSpec, trial: Trial, folder: Path) -> None:
        """Make the trial's folder appear, complete, in one rename."""
        with explaining_disk_errors(self.lab.root):
            (folder / OUTCOME_FILE).unlink(missing_ok=True)
            if trial.status == "ok":
                (folder / OUTPUT_FILE).unlink(missing_ok=True)
            else:
                keep_end(folder / OUTPUT_FILE)
            write_atomically(folder / "spec.json", spec.model_dump_json(indent=1) + "\n")
            write_atomically(folder / "result.json", trial.model_dump_json(indent=1) + "\n")
            target = self.lab.trials / spec.trial_id
            folder.rename(target)
            sync_folder(self.lab.trials)

    @contextlib.contextmanager
    def _work_folder(self, name: str) -> Iterator[Path]:
        folder = self.lab.work / f"{name}.{uuid.uuid4().hex[:8]}"
        with explaining_disk_errors(self.lab.root):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def clear_work(lab: Lab) -> None:
    """Remove what killed processes left behind. Only while holding the lab's lock."""
    for folder in lab.work.iterdir():
        shutil.rmtree(folder, ignore_errors=True)


def keep_end(path: Path) -> None:
    """Shorten what a job printed to its end, where the traceback is."""
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
    elif path.stat().st_size > MAX_OUTPUT_BYTES:
        with path.open("rb") as handle:
            handle.seek(-MAX_OUTPUT_BYTES, os.SEEK_END)
            end = handle.read()
        write_atomically(path, end)


def conclude(spec: TrialSpec, end: JobEnd, outcome: TrialOutcome | None, limits: Limits) -> Trial:
    """Return the trial's record: the worker's outcome where it succeeded, else what stopped it."""
    cost = {"total": end.wall_seconds, "cpu": end.cpu_seconds}
    if outcome is None or outcome.status != "ok" or end.timed_out:
        status, reason = explain(end, outcome, limits)
        return Trial(
            spec=spec,
            status=status,
            reason=reason,
            seconds=cost,
            peak_memory_mb=end.peak_memory_mb,
        )
    measured = outcome.model_dump()
    measured["seconds"] = {**outcome.seconds, **cost}
    return Trial(spec=spec, peak_memory_mb=end.peak_memory_mb, **measured)


def explain(end: JobEnd, outcome: Outcome | None, limits: Limits) -> tuple[Status, str]:
    """Return the status and one line of reason for a job that did not succeed."""
    if end.timed_out:
        return "timeout", f"ended after {end.wall_seconds:.0f} s (limit {limits.wall_seconds:g} s)"
    if outcome is not None:
        return outcome.status, outcome.reason
    if end.exit_code == NO_SPACE_EXIT:
        return "crashed", "found the disk full twice, which it is not"
    if end.signal == _SIGKILL:
        return "oom", f"killed by the system at {end.peak_memory_mb:.0f} MB"
    if end.signal:
        return "crashed", f"ended by signal {end.signal}"
    return "crashed", f"ended with status {end.exit_code} and no outcome that can be read"

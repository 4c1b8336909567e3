"""Mixers trained by the protocol, outside of any cycle: what they reach, and who is better.

Serves `noctuary evaluate` and the page of the human baselines. Covers the audits, the screening
of the learning rates, the trials on one rung, and the comparison with corrected p-values. Does
not touch the archive, and does not print.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean

from noctuary.bench.tasks import Task
from noctuary.campaigns import Verdict, decide
from noctuary.domain import Audit, Candidate, Trial, Value
from noctuary.plan import at_best_rate, first_rung, later_rung, suite_of, trainer_of
from noctuary.trials import Workshop

AT_ONCE = 2
"""Candidates trained side by side: while one has its last trials to go, the other fills in."""

Scores = Mapping[tuple[str, int], float]
"""(task, seed) -> score."""


class Evaluated(Value):
    """What one mixer reached.

    Attributes:
        trials: the `ok` trials on the rung, one for each task and seed.
        failed: why there are fewer than that, or some that do not count; else empty.
        trial_ids: all its trials, the screening included.
    """

    candidate: Candidate
    audit: Audit
    trials: tuple[Trial, ...]
    failed: str
    trial_ids: tuple[str, ...]

    @property
    def scores(self) -> dict[tuple[str, int], float]:
        return {(t.spec.task, t.spec.seed): t.score for t in self.trials if t.score is not None}


def evaluate(
    workshop: Workshop,
    candidates: Sequence[Candidate],
    tasks: Sequence[Task],
    *,
    rung: int,
    seeds: Sequence[int],
    told: Callable[[str], None] = lambda _line: None,
) -> tuple[Evaluated, ...]:
    """Audit and train each candidate; what is finished already is not trained again.

    Args:
        rung: where the scores are taken; the learning rates always come from the first one.
        told: called with a line whenever a candidate gets somewhere.
    """

    def one(candidate: Candidate) -> Evaluated:
        return _evaluate(workshop, candidate, tasks, rung, seeds, told)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            return tuple(threads.map(one, candidates))
        except BaseException:  # Ctrl-C: what runs is ended, and no thread starts more
            workshop.launcher.close()
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _evaluate(
    workshop: Workshop,
    candidate: Candidate,
    tasks: Sequence[Task],
    rung: int,
    seeds: Sequence[int],
    told: Callable[[str], None],
) -> Evaluated:
    suite = suite_of(workshop.settings)
    audit = workshop.audit(candidate, suite.version, seed=0)
    if not audit.accepted:
        told(f"{candidate.name}: rejected, {audit.reason}")
        return Evaluated(
            candidate=candidate, audit=audit, trials=(), failed=audit.reason, trial_ids=()
        )
    width = audit.ffn_width or 0
    screening = first_rung(candidate.candidate_id, suite, tasks, trainer_of(workshop.settings))
    screened = workshop.train(candidate, width, screening)
    rates = workshop.best_rates(screening)
    if rates:
        told(f"{candidate.name}: learning rates chosen")
    trainer = trainer_of(workshop.settings)
    specs = later_rung(candidate.candidate_id, suite, rung, seeds, rates, trainer)
    trained = workshop.train(candidate, width, specs)
    failed = ""
    if trained.score is None:
        failed = screened.reason or trained.reason
    told(f"{candidate.name}: {failed or f'score {trained.score:.4f} on rung {rung}'}")
    trials = [workshop.read(spec) for spec in specs if workshop.is_finished(spec)]
    return Evaluated(
        candidate=candidate,
        audit=audit,
        trials=tuple(at_best_rate(trials).values()),
        failed=failed,
        trial_ids=tuple(dict.fromkeys((*screened.trial_ids, *trained.trial_ids))),
    )


def differences(mine: Scores, theirs: Scores, tasks: Sequence[str]) -> list[float]:
    """Return the mean difference over the tasks, for each seed that both finished on all."""
    shared = set(mine) & set(theirs)
    by_seed: defaultdict[int, list[float]] = defaultdict(list)
    for task, seed in sorted(shared):
        if task in tasks:
            by_seed[seed].append(mine[task, seed] - theirs[task, seed])
    return [fmean(found) for _, found in sorted(by_seed.items()) if len(found) == len(tasks)]


def compare(
    mixer: Evaluated, rivals: Sequence[Evaluated], tasks: Sequence[str]
) -> dict[str, Verdict]:
    """Return rival's name -> verdict on the mean over the tasks, corrected for all the rivals.

    Left out is who failed anywhere, since the seeds that survived would flatter it, and a rival
    without a seed in common.
    """
    asked = {
        rival.candidate.name: found
        for rival in rivals
        if not (mixer.failed or rival.failed)
        and (found := differences(mixer.scores, rival.scores, tasks))
    }
    return {verdict.name: verdict for verdict in decide(asked)} if asked else {}


def mean_metric(trials: Sequence[Trial], name: str) -> float | None:
    """Return the mean of a metric over trials; None where one of them lacks it."""
    found = [trial.metrics.get(name) for trial in trials]
    known = [value for value in found if value is not None]
    return fmean(known) if known and len(known) == len(found) else None

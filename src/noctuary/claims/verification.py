"""The trials that decide a claim: which they are, running what is missing, and what they say.

Every entrant trains at every scale, on the held-out tasks and the drawn seeds, with what its plan
fixed; nothing here can be chosen any more. A trial that is finished stays, so a verification that
was killed goes on. Covers the check that what was registered is what is here. Does not decide
(`decision`), and does not record: who calls is handed the trials of one seed at a time.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from noctuary.archive.store import Archive
from noctuary.archive.trial_files import read_trial
from noctuary.auditing import audit_candidate
from noctuary.bench.rungs import FIRST_HELD_OUT_SEED
from noctuary.bench.suite import Suite, suite_by_name
from noctuary.canonical import canonical_json
from noctuary.claims.decision import scales_of, tasks_at
from noctuary.claims.seeds import draw_seeds
from noctuary.config import Settings, TrainingSettings
from noctuary.domain import Audit, Candidate, Claim, Draw, Entrant, Plan, Scale, TrialSpec, Value
from noctuary.errors import LedgerBroken, UsageError
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.plan import text_of, trainer_of
from noctuary.policy import Policy
from noctuary.trials import Workshop

PATIENCE = 8
"""Times as long as in the search a trial may take: twice the width is up to four times the work,
and portable arithmetic up to twice the time. What is slow is not what a claim is about."""


class ClaimRun(Value):
    """Everything that deciding a claim needs; the parameters of its flow.

    Attributes:
        claim: with its seeds drawn.
    """

    lab: str
    claim: Claim
    settings: Settings
    policy: Policy = Policy()


class ClaimOutcome(Value):
    """How a verification ended.

    Attributes:
        promoted: the file of the design among the architectures; None where it did not get there.
    """

    claim: Claim
    promoted: str | None = None


class Evidence(NamedTuple):
    """What the trials of a claim say.

    Attributes:
        scores: scale and candidate id -> task and seed -> score.
        trials: trial id -> SHA-256 of its `result.json`.
        failed: what kept a planned trial from having a score, one line each.
    """

    scores: Mapping[tuple[Scale, str], Mapping[tuple[str, int], float]]
    trials: Mapping[str, str]
    failed: Sequence[str]


def patient(settings: Settings) -> Settings:
    """Return settings under which the trials of a claim have the time that they take."""
    limit = PATIENCE * settings.training.trial_timeout
    training = settings.training.model_copy(update={"trial_timeout": limit})
    return settings.model_copy(update={"training": training})


def drawn(claim: Claim) -> Draw:
    """Return the draw of a claim.

    Raises:
        UsageError: it has none yet.
    """
    if claim.draw is None:
        raise UsageError(
            f"claim {claim.claim_id} has no seeds yet; expected those that are drawn after its "
            "registration: `noctuary verify` draws them"
        )
    return claim.draw


def entrants(plan: Plan) -> tuple[Entrant, ...]:
    """Return the candidate, then the baselines."""
    return (plan.candidate, *plan.baselines)


def planned(claim: Claim, entrant: Entrant, scale: Scale) -> tuple[TrialSpec, ...]:
    """Return the trials of an entrant at a scale, seed by seed.

    Raises:
        ValueError: a seed is one of the search's.
    """
    plan, seeds = claim.plan, drawn(claim).seeds
    if min(seeds) < FIRST_HELD_OUT_SEED:
        raise ValueError(f"seed {min(seeds)} is for the search; expected {FIRST_HELD_OUT_SEED} on")
    return tuple(
        TrialSpec(
            candidate_id=entrant.candidate_id,
            suite=plan.suites[scale],
            task=task,
            rung=plan.rung,
            seed=seed,
            learning_rate=entrant.rates[task],
            trainer=plan.trainer,
        )
        for seed in seeds
        for task in tasks_at(plan, scale)
    )


def all_planned(claim: Claim) -> Iterator[tuple[Entrant, Scale, TrialSpec]]:
    """Yield every trial of a claim, with whose it is and at which scale."""
    for scale in scales_of(claim.plan):
        for entrant in entrants(claim.plan):
            for spec in planned(claim, entrant, scale):
                yield entrant, scale, spec


def require_as_registered(
    lab: Lab, archive: Archive, claim: Claim, settings: TrainingSettings
) -> None:
    """Go on where this machine has what was registered, and the seeds are those of the draw.

    Raises:
        LedgerBroken: the plan, the seeds, a mixer's file or a trial is not what was recorded.
        UsageError: the suites or the trainer here are others; the claim is decided elsewhere.
    """
    plan = claim.plan
    with Ledger.read(lab.ledger) as ledger:
        _require_drawn(ledger, claim)
    for entrant in entrants(plan):
        path = lab.candidates / f"{entrant.candidate_id}.py"
        found = sha256_of(path.read_bytes()) if path.is_file() else "no file"
        if found != entrant.source:
            raise LedgerBroken(
                f"{path} is {found}; expected {entrant.source}, as claim {claim.claim_id} "
                f"registered {entrant.name}: restore the file"
            )
    for scale in scales_of(plan):
        _suite(plan, scale, settings)
    if (here := trainer_of(settings, "portable")) != plan.trainer:
        raise UsageError(
            f"trials here would be those of trainer {here}; claim {claim.claim_id} registered "
            f"{plan.trainer}: decide it with the noctuary and the settings that registered it"
        )
    _require_untouched(lab, archive, claim)


def _require_drawn(ledger: Ledger, claim: Claim) -> None:
    draw, plan = drawn(claim), canonical_json(claim.plan.model_dump(mode="json")).decode("utf-8")
    said = ledger.statement(draw.entry)
    if said["predicate"].get("document") != plan or ":registration:" not in said["predicateType"]:
        raise LedgerBroken(
            f"entry {draw.entry} of the ledger is not the plan of claim {claim.claim_id}; "
            "expected its registration: see `noctuary ledger verify`"
        )
    if draw.head != ledger.head_containing(draw.entry):
        raise LedgerBroken(
            f"the seeds of claim {claim.claim_id} are not from the first tree head with entry "
            f"{draw.entry}; expected that one: see `noctuary ledger verify`"
        )
    expected = draw_seeds(draw.head, claim.claim_id, claim.plan.seeds, draw.randomness)
    if draw.seeds != expected:
        raise LedgerBroken(
            f"the seeds {_some(draw.seeds)} of claim {claim.claim_id} are not those drawn; "
            f"expected {_some(expected)}: see `noctuary ledger verify`"
        )


def _some(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:3]))
    return f"{shown}, ... ({len(seeds)})" if len(seeds) > 3 else shown


def _suite(plan: Plan, scale: Scale, settings: TrainingSettings) -> Suite:
    try:
        return suite_by_name(plan.suites[scale], text_of(settings))
    except UsageError as error:
        raise UsageError(
            f"there is no suite {plan.suites[scale]} here, which the claim registered; decide it "
            "with the noctuary and the text that registered it"
        ) from error


def _require_untouched(lab: Lab, archive: Archive, claim: Claim) -> None:
    """Raise LedgerBroken where a trial's files are not those that were recorded."""
    for version in set(claim.plan.suites.values()):
        for row in archive.records("trials", suite=version, trainer=claim.plan.trainer):
            trial_id = row["trial_id"]
            if (lab.trials / trial_id / "result.json").exists():
                found = read_trial(lab.trials, trial_id).digest
                if found != row["digest"]:
                    raise LedgerBroken(
                        f"{lab.trials / trial_id} is {found[:16]}; expected {row['digest'][:16]}, "
                        "as it was recorded: restore the folder"
                    )


def missing(workshop: Workshop, claim: Claim) -> int:
    """Return how many trials of a claim are still to be run."""
    return sum(not workshop.is_finished(spec) for _, _, spec in all_planned(claim))


def train_entrant(
    workshop: Workshop,
    claim: Claim,
    candidate: Candidate,
    scale: Scale,
    keep: Callable[[int, Sequence[str]], None],
    heed: Callable[[], None] = lambda: None,
) -> str:
    """Train an entrant at a scale, a seed at a time; return why it is not complete, if so.

    The first seed with a trial that is not `ok` is the last: without that score the claim cannot
    be verified, and what a broken mixer may cost is bounded.

    Args:
        workshop: of portable arithmetic.
        keep: is given the trials of each seed, found or run, once all of them are finished, and
            how many seeds there were by then.
        heed: called before each trial; what it raises ends the training there.
    """
    [entrant] = [e for e in entrants(claim.plan) if e.candidate_id == candidate.candidate_id]
    specs = planned(claim, entrant, scale)
    width = 0
    if not all(workshop.is_finished(spec) for spec in specs):
        verdict = _audit(workshop, claim.plan, candidate, scale)
        if not verdict.accepted:
            return f"rejected by the audit: {verdict.reason}"
        width = verdict.ffn_width or 0
    for number, seed in enumerate(drawn(claim).seeds, start=1):
        of_seed = [spec for spec in specs if spec.seed == seed]
        trained = workshop.train(candidate, width, of_seed, heed=heed)
        keep(number, trained.trial_ids)
        if trained.score is None:
            return trained.reason
    return ""


def _audit(workshop: Workshop, plan: Plan, candidate: Candidate, scale: Scale) -> Audit:
    suite = _suite(plan, scale, workshop.settings)
    settings = workshop.settings.model_copy(update={"suite": suite.name})
    return audit_candidate(
        workshop.jobs, candidate, suite.version, settings, workshop.policy, seed=0
    )


def evidence(workshop: Workshop, claim: Claim, failures: Sequence[str]) -> Evidence:
    """Return what the finished trials of a claim say.

    Args:
        failures: why entrants are not complete, where they are not.
    """
    scores: dict[tuple[Scale, str], dict[tuple[str, int], float]] = {}
    trials: dict[str, str] = {}
    for entrant, scale, spec in all_planned(claim):
        mine = scores.setdefault((scale, entrant.candidate_id), {})
        if not workshop.is_finished(spec):
            continue
        path = workshop.lab.trials / spec.trial_id / "result.json"
        trials[spec.trial_id] = sha256_of(path.read_bytes())
        trial = read_trial(workshop.lab.trials, spec.trial_id).trial
        if trial.score is not None:
            mine[spec.task, spec.seed] = trial.score
    return Evidence(scores, trials, tuple(failures))


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

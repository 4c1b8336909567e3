"""What a ledger says of claims, held against itself: registered, drawn, decided as planned.

Covers, over the statements alone, that every registration is counted and takes its share of alpha,
that seeds follow from the first tree head that contains it, that a verdict rests on all trials of
the plan and on no other; and with the results at hand, that they give this verdict. Whether the
statements are those that were signed is for `ledger.verify`, whether the archive says the same for
`attesting`.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from pydantic import ValidationError

from noctuary.claims.decision import comparisons_of, decide, ruling
from noctuary.claims.seeds import draw_seeds
from noctuary.claims.verification import all_planned, entrants
from noctuary.domain import Claim, ClaimVerdict, Draw, Plan, Scale, Trial, TrialSpec
from noctuary.errors import LedgerBroken
from noctuary.ledger.notes import read_note
from noctuary.ledger.statements import Kind, Statement

OF_CLAIMS: tuple[Kind, ...] = ("registration", "draw", "verdict")
"""Kinds of statements, in the order in which a claim has them."""

HeadCheck = Callable[[str, int], None]
"""Raises LedgerBroken where a head is not the one to draw from, after a registration there."""

Scores = dict[tuple[Scale, str], dict[tuple[str, int], float]]


class ClaimProblem(NamedTuple):
    """What is wrong with an entry about a claim."""

    entry: int
    what: str


class _Known(NamedTuple):
    """A claim as its entries told it so far, and where it was registered."""

    claim: Claim
    entry: int

    def further(self, **told: Draw | ClaimVerdict) -> "_Known":
        return _Known(self.claim.model_copy(update=told), self.entry)


def claim_problems(
    statements: Iterable[tuple[int, Statement]],
    check_head: HeadCheck,
    results: Mapping[str, bytes] | None = None,
    *,
    counted: bool = True,
) -> Iterator[ClaimProblem]:
    """Yield what is wrong with the entries about claims.

    Args:
        statements: index and statement of every entry of `OF_CLAIMS`, in order.
        results: trial id -> its `result.json`, of all trials that the verdicts name; None where
            only the ledger is at hand.
        counted: whether all registrations are among them, so that they can be numbered.
    """
    known: dict[str, _Known] = {}
    for index, statement in statements:
        claim_id = str(statement.facts.get("claim"))
        try:
            if statement.kind == "registration":
                plan = _registered(statement, len(known) + 1 if counted else None)
                if claim_id != plan.claim_id or claim_id in known:
                    raise LedgerBroken("its plan is that of another claim, or was there before")
                known[claim_id] = _Known(Claim(plan=plan), index)
            elif claim_id not in known:
                raise LedgerBroken("that claim was not registered before")
            elif statement.kind == "draw":
                draw = _drawn(statement, known[claim_id], index, check_head)
                known[claim_id] = known[claim_id].further(draw=draw)
            else:
                verdict = _decided(statement, known[claim_id].claim)
                known[claim_id] = known[claim_id].further(verdict=verdict)
                _check_verdict(statement, known[claim_id].claim, verdict, results)
        except (LedgerBroken, ValidationError, ValueError, LookupError) as error:
            said = " ".join(str(error).split())
            yield ClaimProblem(index, f"{statement.kind} of claim {claim_id}: {said}")


def _registered(statement: Statement, number: int | None) -> Plan:
    """Return the plan, which is written as it was hashed, and counts itself right."""
    plan = Plan.model_validate_json(str(statement.facts["document"]))
    if number is not None and plan.number != number:
        raise LedgerBroken(
            f"it calls itself number {plan.number}; expected {number}: every registration counts"
        )
    share = plan.campaign_alpha / (plan.number * (plan.number + 1))
    if not math.isclose(plan.alpha, share):
        raise LedgerBroken(f"its alpha is {plan.alpha}; expected {share}, its share of the lab's")
    for one in entrants(plan):
        name = f"file:candidates/{one.candidate_id}.py"
        if statement.subjects.get(name) != one.source:
            raise LedgerBroken(f"{name} is not the file of {one.name} in the plan")
    return plan


def _drawn(statement: Statement, before: _Known, index: int, check_head: HeadCheck) -> Draw:
    plan = before.claim.plan
    draw = Draw.model_validate_json(str(statement.facts["document"]))
    if before.claim.draw is not None:
        raise LedgerBroken("its seeds were drawn before; expected one draw of a claim")
    size = read_note(draw.head).checkpoint.size
    if draw.claim_id != plan.claim_id or draw.entry != before.entry:
        raise LedgerBroken(f"it is for entry {draw.entry}; expected its claim's, {before.entry}")
    if not draw.entry < size <= index:
        raise LedgerBroken(f"its head has {size} entries; expected {draw.entry + 1} to {index}")
    check_head(draw.head, draw.entry)
    if bool(draw.randomness) != bool(plan.beacon):
        raise LedgerBroken("it has randomness without a beacon in the plan, or lacks that of one")
    # no longer drawn from than there are seeds to be compared, whatever the plan asks for
    count = min(plan.seeds, len(draw.seeds) + 1)
    if draw.seeds != draw_seeds(draw.head, plan.claim_id, count, draw.randomness):
        raise LedgerBroken(
            "its seeds are not those drawn; expected those that follow from the head"
        )
    return draw


def _decided(statement: Statement, claim: Claim) -> ClaimVerdict:
    verdict = ClaimVerdict.model_validate_json(str(statement.facts["document"]))
    if claim.draw is None or verdict.claim_id != claim.claim_id:
        raise LedgerBroken("its seeds were not drawn before, or it is about another claim")
    if claim.verdict is not None:
        raise LedgerBroken("it was decided before; expected one verdict on a claim")
    return verdict


def _check_verdict(
    statement: Statement,
    claim: Claim,
    verdict: ClaimVerdict,
    results: Mapping[str, bytes] | None,
) -> None:
    planned = {spec.trial_id: (scale, spec) for _, scale, spec in all_planned(claim)}
    for trial_id, digest in verdict.trials.items():
        if trial_id not in planned:
            raise LedgerBroken(
                f"trial {trial_id} is not planned; expected those of the plan on the drawn seeds"
            )
        if statement.subjects.get(f"file:trials/{trial_id}/result.json") != digest:
            raise LedgerBroken(f"the result of trial {trial_id} is not among what it attests")
    missing = len(planned) - len(verdict.trials)
    if missing and verdict.status != "inconclusive":
        raise LedgerBroken(
            f"it is {verdict.status} with {len(verdict.trials)} trials; expected all "
            f"{len(planned)} of the plan"
        )
    if results is None:
        if not missing:
            _check_rule(claim.plan, verdict)
        return
    scores = _scores(verdict, planned, results)
    assert claim.draw is not None
    again = decide(claim.plan, scores, verdict.trials, (), claim.draw.seeds)
    if (verdict.status, verdict.comparisons) != (again.status, again.comparisons):
        raise LedgerBroken(
            f"it is {verdict.status}; expected {again.status}, as the results say: {again.reason}"
        )


def _check_rule(plan: Plan, verdict: ClaimVerdict) -> None:
    """Hold a verdict against its own comparisons, which no results are here to say anew.

    A trial of those planned may have no score, so that it can always be inconclusive.
    """
    decisive = [one for one in verdict.comparisons if one.decisive]
    if verdict.status == "inconclusive":
        return
    if len(decisive) != comparisons_of(plan) or any(one.n != plan.seeds for one in decisive):
        raise LedgerBroken(
            f"it is {verdict.status} by {len(decisive)} comparisons; expected "
            f"{comparisons_of(plan)}, each of {plan.seeds} seeds"
        )
    status, reason = ruling(plan, decisive)
    if status != verdict.status:
        raise LedgerBroken(f"it is {verdict.status}; expected {status}, by its plan: {reason}")


def _scores(
    verdict: ClaimVerdict,
    planned: Mapping[str, tuple[Scale, TrialSpec]],
    results: Mapping[str, bytes],
) -> Scores:
    scores: Scores = {}
    for trial_id, digest in verdict.trials.items():
        if trial_id not in results:
            raise LedgerBroken(f"the result of trial {trial_id} is missing")
        if hashlib.sha256(results[trial_id]).hexdigest() != digest:
            raise LedgerBroken(f"the result of trial {trial_id} is not the one that it attests")
        trial, (scale, spec) = Trial.model_validate_json(results[trial_id]), planned[trial_id]
        if trial.spec != spec:
            raise LedgerBroken(f"the result of trial {trial_id} is that of another one")
        if trial.score is not None:
            mine = scores.setdefault((scale, spec.candidate_id), {})
            mine[spec.task, spec.seed] = trial.score
    return scores

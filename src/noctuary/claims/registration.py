"""Commit, then draw: a plan goes into the ledger, and only then do its seeds exist.

The seeds come from the first signed tree head that contains the registration, with the value of a
beacon where the plan names one, and are recorded as a statement of their own. A kill in between
loses nothing: `draw` goes on. Each registration is a claim and counts, also of the same design.
What a plan says is for `planning`, what is trained for `verification`.
"""

import time
from collections.abc import Callable

from noctuary.archive.store import Archive
from noctuary.attesting import flush
from noctuary.canonical import canonical_json
from noctuary.claims.beacon import Clock, randomness_of
from noctuary.claims.seeds import draw_seeds
from noctuary.config import LedgerSettings
from noctuary.domain import Claim, Draw, Plan, Value
from noctuary.errors import LedgerBroken, UsageError
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import predicate_type


def register(lab: Lab, archive: Archive, settings: LedgerSettings, plan: Plan) -> Claim:
    """Append a plan to the ledger, and return the claim; it has no seeds yet.

    Raises:
        UsageError: other claims were registered since the plan was made.
        LedgerBroken: the ledger is not the one that holds this lab's statements.
    """
    known = len(archive.claims())
    if plan.number != known + 1:
        raise UsageError(
            f"the plan is of claim {plan.number}, and {known} are registered; expected "
            f"{known + 1}: make the plan again"
        )
    flush(lab, archive, settings)
    claim = Claim(plan=plan)
    sources = {
        f"file:candidates/{one.candidate_id}.py": one.source
        for one in (plan.candidate, *plan.baselines)
    }
    facts = {"claim": claim.claim_id, "document": document(plan)}
    with archive.attested("registration", facts, sources) as write:
        write.record_claim(claim)
    flush(lab, archive, settings)
    return claim


def draw(
    lab: Lab,
    archive: Archive,
    settings: LedgerSettings,
    claim: Claim,
    clock: Clock = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Claim:
    """Return the claim with its seeds; drawn now, where they were not.

    Waits for the round of the plan's beacon, where there is one.

    Raises:
        LedgerBroken: the registration is not in the ledger, or says something else.
        EnvironmentRefused: the beacon does not answer; the draw can be taken up again.
    """
    if claim.draw is not None:
        return claim
    flush(lab, archive, settings)
    with Ledger.read(lab.ledger) as ledger:
        entry = _entry_of(ledger, claim)
        head = ledger.head_containing(entry)
    plan = claim.plan
    randomness = "" if plan.beacon is None else randomness_of(plan.beacon, clock, sleep)
    found = Draw(
        claim_id=claim.claim_id,
        entry=entry,
        head=head,
        randomness=randomness,
        seeds=draw_seeds(head, claim.claim_id, plan.seeds, randomness),
    )
    drawn = claim.model_copy(update={"draw": found})
    with archive.attested("draw", {"claim": claim.claim_id, "document": document(found)}) as write:
        write.record_claim(drawn)
    flush(lab, archive, settings)
    return drawn


def document(value: Value) -> str:
    """Return a plan, a draw or a verdict as the one text that a statement holds of it."""
    return canonical_json(value.model_dump(mode="json")).decode("utf-8")


def _entry_of(ledger: Ledger, claim: Claim) -> int:
    """Return the index of a claim's registration; the newest entries are looked at first."""
    for index in reversed(range(ledger.size)):
        statement = ledger.statement(index)
        facts = statement["predicate"]
        if statement["predicateType"] != predicate_type("registration"):
            continue
        if facts.get("claim") == claim.claim_id:
            if facts.get("document") != document(claim.plan):
                raise LedgerBroken(
                    f"entry {index} of the ledger registers claim {claim.claim_id} with another "
                    "plan than the archive has: see `noctuary ledger verify`"
                )
            return index
    raise LedgerBroken(
        f"claim {claim.claim_id} is in the archive and not in the ledger of {ledger.origin}; "
        "expected its registration there: see `noctuary ledger verify`"
    )

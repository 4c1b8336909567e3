"""`noctuary verify`: the trials of a claim, on its drawn seeds, and the verdict."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import console, json_option, lab_option, open_lab, print_json, table
from noctuary.errors import CheckFailed, NotFound

if TYPE_CHECKING:
    from noctuary.archive import Archive
    from noctuary.domain import Claim
    from noctuary.lab import Lab


@click.command("verify")
@click.argument("claim", metavar="CLAIM")
@lab_option
@json_option
def command(claim: str, lab_path: Path | None, as_json: bool) -> None:
    """Train the candidate and the baselines of a claim on its drawn seeds, and decide it.

    CLAIM is a claim's id, the beginning of one, or its number. Killed, the same command goes on
    where it was. A claim is decided once: asked again, its verdict is shown and nothing is run.
    Exit status 0 says that it is verified.
    """
    lab, archive = open_lab(lab_path)
    found = find_claim(archive.claims() if archive.exists() else (), claim, lab)
    address = ""
    if _is_open(lab, found):
        found, address = _verified(lab, archive, found, quiet=as_json)
    _tell(lab, found, address, as_json)
    if found.status != "verified":
        reason = found.verdict.reason if found.verdict is not None else ""
        raise CheckFailed(f"claim {found.plan.number} is {found.status}: {reason}")


def find_claim(claims: "Sequence[Claim]", text: str, lab: "Lab") -> "Claim":
    """Return the one claim that is meant.

    Raises:
        NotFound: none is, or several are; names those there are.
    """
    exact = [one for one in claims if text in (one.claim_id, str(one.plan.number))]
    hits = exact or [one for one in claims if text and one.claim_id.startswith(text)]
    if len(hits) == 1:
        return hits[0]
    known = hits or claims
    shown = ", ".join(f"{one.plan.number} {one.claim_id} ({one.status})" for one in known)
    if hits:
        raise NotFound(f"{text!r} could be {shown}; type one of these ids")
    raise NotFound(
        f"{text!r} is no claim of {lab.root}; expected a claim's id or its number: "
        + (f"there are {shown}" if known else "register one with `noctuary claim DESIGN`")
    )


def _is_open(lab: "Lab", claim: "Claim") -> bool:
    """Return whether something is left to do: the verdict, or the promotion that follows one."""
    from noctuary.claims.promotion import promoted
    from noctuary.consent import answers_of

    if claim.verdict is None:
        return True
    refused = any(not said.approved for said in answers_of(lab, claim.claim_id))
    return claim.status == "verified" and promoted(lab, claim) is None and not refused


def _verified(
    lab: "Lab", archive: "Archive", claim: "Claim", *, quiet: bool
) -> "tuple[Claim, str]":
    """Run what is left of a claim; return it as it is now, and where the run is in the UI."""
    from noctuary.claims.registration import draw
    from noctuary.claims.verification import (
        ClaimOutcome,
        ClaimRun,
        patient,
        require_as_registered,
    )
    from noctuary.cli.watch import watched
    from noctuary.config import load_settings
    from noctuary.plan import with_text
    from noctuary.policy import load_policy

    lab.require_space()
    settings = with_text(load_settings(lab.settings_path), lab)
    with lab.lock():
        claim = draw(lab, archive, settings.ledger, claim)  # where a kill came before it
        require_as_registered(lab, archive, claim, settings.training)  # else nothing is started
    run = ClaimRun(
        lab=str(lab.root),
        claim=claim,
        settings=patient(settings),
        policy=load_policy(lab.policy_path),
    )
    outcome, address = watched("claim", run, lab, quiet=quiet)
    return ClaimOutcome.model_validate(outcome).claim, address


def _tell(lab: "Lab", claim: "Claim", address: str, as_json: bool) -> None:
    from noctuary.claims.promotion import promoted
    from noctuary.report.claims import comparison_rows, rule

    path = promoted(lab, claim) if claim.status == "verified" else None
    if as_json:
        print_json(_as_json(claim, path))
        return
    assert claim.verdict is not None
    out = console()
    rows = comparison_rows(claim.plan, claim.verdict)
    made = table(
        f"claim {claim.plan.number}: {claim.plan.candidate.name} is {claim.status}",
        [(head, head in _NUMBERS) for head in rows[0]] if rows else [],
    )
    for row in rows:
        made.add_row(*row.values())
    out.print(made)
    out.print(f"{claim.verdict.reason}\n\n{rule(claim.plan)}", soft_wrap=True)
    if path is not None:
        out.print(f"promoted to {path}, with its proof beside it", soft_wrap=True)
    if address:
        out.print(f"the run in the Prefect UI: {address}", soft_wrap=True)


_NUMBERS = ("seeds", "difference", "p")


def _as_json(claim: "Claim", path: Path | None) -> dict[str, Any]:
    assert claim.verdict is not None
    return {
        "claim": claim.claim_id,
        "number": claim.plan.number,
        "design": claim.plan.candidate.name,
        "status": claim.status,
        "verdict": claim.verdict.model_dump(mode="json"),
        "promoted": None if path is None else str(path),
    }

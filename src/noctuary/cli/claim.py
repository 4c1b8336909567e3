"""`noctuary claim`: a claim's plan into the ledger, then its seeds; or the list of all claims."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import (
    console,
    find_record,
    json_option,
    lab_option,
    open_lab,
    print_json,
    table,
)
from noctuary.errors import NotFound

if TYPE_CHECKING:
    from noctuary.archive import Archive
    from noctuary.claims.planning import Proposal
    from noctuary.domain import Candidate, Claim, Plan
    from noctuary.lab import Lab


@click.command("claim")
@click.argument("design", required=False)
@click.option(
    "--against",
    multiple=True,
    metavar="NAME",
    help="A baseline (default: the two best human mixers of the lab); can be given again.",
)
@click.option(
    "--held-out",
    multiple=True,
    metavar="TASK",
    help="A task that decides (default: all that no cycle trains on); can be given again.",
)
@click.option(
    "--smallest-effect",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="X",
    help="Difference in score that is of interest (default: the lab's setting).",
)
@click.option(
    "--seeds",
    type=click.IntRange(2, 10_000),
    help="More seeds than the power calculation wants.",
)
@click.option("--rung", type=click.IntRange(min=0), help="Training budget (default: the last).")
@click.option("--dry-run", is_flag=True, help="Show the plan, and register nothing.")
@lab_option
@json_option
def command(
    design: str | None,
    against: tuple[str, ...],
    held_out: tuple[str, ...],
    smallest_effect: float | None,
    seeds: int | None,
    rung: int | None,
    dry_run: bool,
    lab_path: Path | None,
    as_json: bool,
) -> None:
    """Register the claim that DESIGN beats the best human mixers, and draw its seeds.

    DESIGN is an id, the beginning of one, or a name; also that of a human mixer. The plan is
    signed before its seeds exist, and cannot be changed or withdrawn: each claim takes its share
    of the chance of a false discovery. `noctuary verify` decides it. Without DESIGN, shows all
    claims.
    """
    lab, archive = open_lab(lab_path)
    if design is None:
        claims = archive.claims() if archive.exists() else ()
        _list(lab, claims, as_json)
        return
    from noctuary.claims.beacon import next_beacon
    from noctuary.claims.planning import plan_claim
    from noctuary.claims.registration import draw, register
    from noctuary.config import load_settings
    from noctuary.plan import with_text

    settings = with_text(load_settings(lab.settings_path), lab)
    candidate = _candidate(archive, design)
    rivals = [_candidate(archive, name) for name in against]
    with lab.lock():
        proposal = plan_claim(
            lab,
            archive,
            settings,
            candidate,
            against=rivals,
            held_out=held_out,
            smallest_effect=smallest_effect,
            seeds=seeds,
            rung=rung,
            beacon=next_beacon(settings.claims.beacon) if settings.claims.beacon else None,
        )
        claim = None
        if not dry_run:
            registered = register(lab, archive, settings.ledger, proposal.plan)
            if proposal.plan.beacon is not None:
                click.echo(f"waiting for round {proposal.plan.beacon.round}", err=True)
            claim = draw(lab, archive, settings.ledger, registered)
    if as_json:
        print_json(_as_json(claim, proposal))
    else:
        _print(proposal, claim)


def _candidate(archive: "Archive", text: str) -> "Candidate":
    """Return the mixer that is meant.

    Raises:
        NotFound: none, several, or a record of another kind.
    """
    kind, identity = find_record(archive, text)
    for candidate in archive.candidates():
        if kind == "candidate" and candidate.candidate_id == identity:
            return candidate
    raise NotFound(f"{text!r} is a {kind}; expected a mixer: `noctuary leaderboard` lists them")


def _list(lab: "Lab", claims: Sequence["Claim"], as_json: bool) -> None:
    if as_json:
        print_json([_as_json(claim) for claim in claims])
        return
    if not claims:
        click.echo(f"No claims in {lab.root} yet: `noctuary claim DESIGN` registers one.")
        return
    made = table(
        "claims",
        [
            ("", True),
            ("claim", False),
            ("design", False),
            ("against", False),
            ("seeds", True),
            ("alpha", True),
            ("status", False),
            ("why", False),
        ],
    )
    for claim in claims:
        plan = claim.plan
        made.add_row(
            str(plan.number),
            claim.claim_id,
            plan.candidate.name,
            ", ".join(one.name for one in plan.baselines),
            str(plan.seeds),
            f"{plan.alpha:.2g}",
            claim.status,
            "" if claim.verdict is None else claim.verdict.reason,
        )
    console().print(made)


def _as_json(claim: "Claim | None", proposal: "Proposal | None" = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if claim is not None:
        found = {
            "claim": claim.claim_id,
            "status": claim.status,
            **claim.model_dump(mode="json"),
        }
    if proposal is not None:
        found |= proposal.model_dump(mode="json")
    return found


def _print(proposal: "Proposal", claim: "Claim | None") -> None:
    from noctuary.report.claims import rule

    out = console()
    for line in (*plan_lines(proposal.plan), *proposal.notes, _cost(proposal)):
        out.print(line, soft_wrap=True)
    out.print(rule(proposal.plan), soft_wrap=True)
    if claim is None or claim.draw is None:
        out.print("Nothing is registered: without --dry-run, this plan would be.", soft_wrap=True)
        return
    out.print(
        f"Claim {claim.plan.number} ({claim.claim_id}) is entry {claim.draw.entry} of the ledger. "
        f"Its seeds: {', '.join(map(str, claim.draw.seeds))}.\n"
        f"`noctuary verify {claim.plan.number}` decides it.",
        soft_wrap=True,
    )


def plan_lines(plan: "Plan") -> list[str]:
    """Return what a plan fixes, in words."""
    rivals = " and ".join(one.name for one in plan.baselines)
    scales = {"base": "as it is", "wide": "at twice the width", "long": "at twice the length"}
    lines = [
        f"The claim: {plan.candidate.name} scores above {rivals} on the mean over "
        f"{', '.join(plan.held_out)}: {', '.join(scales[scale] for scale in plan.suites)}.",
        f"{plan.seeds} seeds: a difference of {plan.smallest_effect:g} everywhere is shown with a "
        f"chance of {plan.power:.0%} at alpha {plan.alpha:.2g}, if it varies by {plan.spread:.3f} "
        f"from seed to seed ({plan.spread_from}).",
    ]
    if plan.beacon is not None:
        lines.append(f"The seeds wait for round {plan.beacon.round} of {plan.beacon.url}.")
    return lines


def _cost(proposal: "Proposal") -> str:
    if proposal.seconds is None:
        return f"It takes {proposal.trials:,} trials."
    hours = proposal.trials * proposal.seconds / 3600
    return (
        f"It takes {proposal.trials:,} trials. At {proposal.seconds:.1f} s, as in the search, "
        f"that is {hours:.1f} hours of one core; those of twice the width take longer."
    )

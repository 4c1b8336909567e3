"""The stages of a claim's verification: check, train, decide, promote.

No stage is kept by Prefect: each finds what is done by looking at the lab, so a run that was
killed goes on from there, and what was changed meanwhile is found.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from noctuary.archive.attesting import NOTHING, Attested
from noctuary.attesting import flush
from noctuary.claims.decision import decide
from noctuary.claims.promotion import promote
from noctuary.claims.registration import document
from noctuary.claims.verification import (
    ClaimRun,
    drawn,
    evidence,
    missing,
    require_as_registered,
    train_entrant,
)
from noctuary.domain import Candidate, Claim, Entrant, Scale
from noctuary.errors import LedgerBroken
from noctuary.ledger.bundle import prove
from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import Kind
from noctuary.provenance import circumstances
from noctuary.report.claims import comparison_rows, verdict_markdown
from noctuary.stopping import heed_disk_budget, heed_stop_file
from tasks.train import ACCELERATOR
from tasks.workbench import archive_of, journal_of, lab_of, workshop_of


@task(name="check claim", task_run_name="check claim {run.claim.plan.number}")
def check_claim(run: ClaimRun) -> list[Candidate]:
    """Return the entrants as candidates, once all is as it was registered and drawn."""
    lab, archive = lab_of(run), archive_of(run)
    flush(lab, archive, run.settings.ledger)  # what a kill kept from the ledger
    require_as_registered(lab, archive, run.claim, run.settings.training)
    known = {candidate.candidate_id: candidate for candidate in archive.candidates()}
    plan = run.claim.plan
    entrants = (plan.candidate, *plan.baselines)
    journal_of(run).write(
        "claim checked",
        claim=run.claim.claim_id,
        planned=missing(workshop_of(run, "portable"), run.claim),
    )
    return [_candidate(lab.candidates, known, entrant) for entrant in entrants]


@task(
    name="train entrant",
    task_run_name="train {candidate.name}, {scale}",
    tags=[ACCELERATOR],
    timeout_seconds=30 * 86400,
)
def train(run: ClaimRun, candidate: Candidate, scale: Scale) -> str:
    """Train an entrant at a scale, and record each seed; return what failed, if so."""
    workshop, journal = workshop_of(run, "portable"), journal_of(run)
    facts = {"mixer": candidate.candidate_id, "scale": scale, "suite": run.claim.plan.suites[scale]}

    def keep(seeds: int, trial_ids: Sequence[str]) -> None:
        with _attesting(run, "evaluation", facts) as write:
            write.record_trials(workshop.lab.trials, trial_ids)
        journal.write(
            "trials recorded",
            name=candidate.name,
            scale=scale,
            seeds=seeds,
            of=run.claim.plan.seeds,
        )
        heed_disk_budget(workshop.lab, run.policy)

    heed = functools.partial(heed_stop_file, workshop.lab, run.policy)
    reason = train_entrant(workshop, run.claim, candidate, scale, keep, heed)
    journal.write("entrant trained", name=candidate.name, scale=scale, reason=reason)
    return f"{candidate.name} at {scale}: {reason}" if reason else ""


@task(name="decide claim", task_run_name="decide claim {run.claim.plan.number}")
def decide_claim(run: ClaimRun, failures: list[str]) -> Claim:
    """Return the claim with its verdict, which is recorded and shown."""
    lab, archive, plan = lab_of(run), archive_of(run), run.claim.plan
    require_as_registered(lab, archive, run.claim, run.settings.training)
    found = evidence(workshop_of(run, "portable"), run.claim, [one for one in failures if one])
    seeds = drawn(run.claim).seeds
    verdict = decide(plan, found.scores, found.trials, found.failed, seeds)
    claim = run.claim.model_copy(update={"verdict": verdict})
    results = {f"file:trials/{trial}/result.json": sha for trial, sha in found.trials.items()}
    with _attesting(run, "verdict", {"document": document(verdict)}, results) as write:
        write.record_claim(claim)
    create_table_artifact(
        comparison_rows(plan, verdict), key="comparisons", description=verdict.reason
    )
    create_markdown_artifact(
        verdict_markdown(claim, verdict), key="verdict", description=verdict.status
    )
    journal_of(run).write(
        "claim decided", claim=claim.claim_id, status=verdict.status, reason=verdict.reason
    )
    return claim


@task(name="promote design", task_run_name="promote {claim.plan.candidate.name}")
def promote_design(run: ClaimRun, claim: Claim) -> Path:
    """Put a verified design among the architectures; return its file."""
    lab, archive = lab_of(run), archive_of(run)
    with Ledger.read(lab.ledger) as ledger:
        proof = prove(lab, archive, ledger, claim.claim_id)
    path = promote(lab, claim, proof.text)
    candidate = claim.plan.candidate
    source = {f"file:candidates/{candidate.candidate_id}.py": candidate.source}
    with _attesting(run, "promotion", {"name": path.name}, source):
        pass  # no row changes; the statement says that it was done
    journal_of(run).write("design promoted", claim=claim.claim_id, path=str(path))
    return path


@contextlib.contextmanager
def _attesting(
    run: ClaimRun, kind: Kind, facts: Mapping[str, Any], subjects: Mapping[str, str] = NOTHING
) -> Iterator[Attested]:
    """Record what is recorded inside with a statement about the claim, and tell the ledger."""
    archive = archive_of(run)
    said = {"claim": run.claim.claim_id, **circumstances(run.settings, run.policy), **facts}
    with archive.attested(kind, said, subjects) as write:
        yield write
    flush(lab_of(run), archive, run.settings.ledger)


def _candidate(folder: Path, known: dict[str, Candidate], entrant: Entrant) -> Candidate:
    """Return an entrant as a candidate, at the place of the lab's own copy of its file."""
    if entrant.candidate_id not in known:
        raise LedgerBroken(
            f"{entrant.name} ({entrant.candidate_id}) is no candidate of the archive any more; "
            "expected the one that the claim registered: see `noctuary ledger verify`"
        )
    path = folder / f"{entrant.candidate_id}.py"
    return known[entrant.candidate_id].model_copy(update={"path": str(path)})

"""The verification of a claim, from its drawn seeds to its verdict: the order of the stages."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

from prefect import flow, runtime, unmapped
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.consent import consented_to_discovery
from flows.cycle_record import one_line
from noctuary.claims.decision import scales_of
from noctuary.claims.verification import ClaimOutcome, ClaimRun
from noctuary.errors import Stopped
from tasks.train import CANDIDATES_AT_ONCE
from tasks.verify import check_claim, decide_claim, promote_design, train
from tasks.workbench import journal_of

THREADS = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=CANDIDATES_AT_ONCE))


@flow(
    name="verify-claim",
    flow_run_name="claim {run.claim.plan.number}: {run.claim.plan.candidate.name}",
    task_runner=THREADS,
)
def verify_claim(run: ClaimRun) -> ClaimOutcome | State:
    """Check, train, decide; and promote what is verified.

    Raises:
        Stopped: before it was done; Prefect calls such a run cancelled, not failed.
    """
    try:
        with followed(run):
            return _stages(run)
    except Stopped as stop:
        return Cancelled(message=str(stop), data=stop)


def _stages(run: ClaimRun) -> ClaimOutcome:
    claim = run.claim
    candidates = check_claim(run)
    if claim.verdict is None:
        pairs = [(one, scale) for scale in scales_of(claim.plan) for one in candidates]
        trained = train.map(unmapped(run), [one for one, _ in pairs], [scale for _, scale in pairs])
        claim = decide_claim(run, trained.result())
    if claim.status != "verified" or not consented_to_discovery(run, claim):
        return ClaimOutcome(claim=claim)
    return ClaimOutcome(claim=claim, promoted=str(promote_design(run, claim)))


@contextlib.contextmanager
def followed(run: ClaimRun) -> Iterator[None]:
    """Tell the journal when the verification starts, and how it ends."""
    journal, facts = journal_of(run), {"claim": run.claim.claim_id}
    journal.write(
        "claim started",
        number=run.claim.plan.number,
        name=run.claim.plan.candidate.name,
        flow_run=str(runtime.flow_run.id),
        **facts,
    )
    try:
        yield
    except Stopped as stop:
        journal.write("claim stopped", reason=one_line(stop), **facts)
        raise
    except BaseException as error:  # also where a signal ends the process
        journal.write("claim failed", reason=one_line(error), **facts)
        raise

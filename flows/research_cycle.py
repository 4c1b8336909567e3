"""One research cycle, from papers to findings: the one place where the order is written."""

from typing import Any, cast

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.consent import consented
from flows.cycle_record import recorded
from noctuary.domain import Candidate
from noctuary.errors import Stopped
from noctuary.night import CycleRun, CycleSummary
from noctuary.plan import suite_of
from noctuary.trials import Trained
from tasks.analyse import analyse
from tasks.audit import audit
from tasks.design import design_candidates
from tasks.fetch import fetch_literature
from tasks.gaps import synthesise_gaps
from tasks.promote import promote
from tasks.publish import publish
from tasks.train import CANDIDATES_AT_ONCE, train

THREADS = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=CANDIDATES_AT_ONCE))


@flow(
    name="research-cycle",
    flow_run_name="cycle {run.cycle.number}",
    task_runner=THREADS,
    persist_result=True,
    result_serializer="json",
)
def research_cycle(run: CycleRun) -> CycleSummary | State:
    """Read, ask, propose, check, train and promote, analyse, publish.

    Raises:
        Stopped: before it was done; Prefect calls such a run cancelled, not failed.
    """
    try:
        return _stages(run)
    except Stopped as stop:
        return Cancelled(message=str(stop), data=stop)


def _stages(run: CycleRun) -> CycleSummary:
    with recorded(run):
        literature = fetch_literature(run)
        gap = synthesise_gaps(run, literature)
        candidates = design_candidates(run, literature, gap)
        audits = audit.map(unmapped(run), candidates)
        audits.result()  # all, or no training; but `train` gets the runs, for the UI's graph
        verdict_on = dict(zip((one.candidate_id for one in candidates), audits, strict=True))
        climbing: list[Candidate] = candidates
        trained: list[Trained] = []
        for rung in range(len(suite_of(run.settings.training).rungs)):
            if rung > 0:
                climbing = consented(run, promote(run, candidates, trained, rung), rung)
            verdicts = [verdict_on[candidate.candidate_id] for candidate in climbing]
            trained += train.map(unmapped(run), climbing, verdicts, unmapped(rung)).result()
        findings = analyse(run, gap, candidates, trained)
        return publish(run, gap, candidates, trained, findings)

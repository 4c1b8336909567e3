"""A night of research cycles, each from what the last one left, until the budget is spent."""

import datetime
import functools
from pathlib import Path

from prefect import flow, get_client, tags
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.states import Cancelled

from flows.consent import consent_to_cycle
from flows.cycle_record import as_begun, one_line
from flows.dead_runs import mark_dead_runs
from flows.research_cycle import research_cycle
from flows.server import tags_of
from noctuary.archive.store import Archive
from noctuary.errors import EnvironmentRefused, Stopped
from noctuary.jobs import clear_work
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.ledger.witness import publish_after_night
from noctuary.night import CycleRun, CycleSummary, Night, NightRequest, NightSummary
from noctuary.policy import load_policy
from noctuary.stopping import heed_disk_budget, heed_stop_file


def _name() -> str:
    """Return the name of a night for people: when it was due, in local time."""
    due = _own_run().expected_start_time or datetime.datetime.now(datetime.UTC)
    return f"night of {due.astimezone():%Y-%m-%d %H:%M}"


@flow(name="night", flow_run_name=_name, persist_result=True, result_serializer="json")
def night(request: NightRequest) -> NightSummary | State:
    """Run cycles until a limit of the request is reached.

    A cycle that fails does not end the night; a machine that refuses (full disk, archive held by
    another process) does. Either way the flow fails in the end, and a retry takes up what failed.
    A night that is stopped (by the stop file, the disk budget, or a person who does not consent)
    completes; the cycle that it was in is taken up by the next one.
    """
    lab = Lab.create_or_open(Path(request.lab))
    journal = Journal(lab.journal_path)
    own = _own_run()
    rules = functools.partial(load_policy, lab.policy_path)
    try:
        heed_stop_file(lab, rules())
    except Stopped as stop:
        journal.write("night skipped", flow_run=str(own.id), reason=str(stop))
        return Cancelled(message=str(stop))
    with get_client(sync_client=True) as client:
        if _is_stale(client, own, request):
            journal.write("night skipped", flow_run=str(own.id), reason="scheduled too long ago")
            return Cancelled(message="scheduled too long ago; missed nights are not made up for")
        begun = _begun(client, own)
    with lab.lock(), tags(*tags_of(lab)):
        mark_dead_runs(lab, own.id)
        clear_work(lab)
        done = finished_cycles(lab)
        if begun:
            plan = Night.again(request, begun, _seconds_since(own.start_time), rules=rules)
        else:
            last = max(done.values(), default=0)
            plan = Night.open(lab, request, last_finished=last, rules=rules)
        journal.write("night started", flow_run=str(own.id), first=plan.first)
        while (run := plan.next()) is not None:
            # the finished cycles of an earlier attempt are called, too: Prefect knows them by
            # their place, and returns their results without running them
            if run.cycle.cycle_id in done and run.cycle not in [one.cycle for one in begun]:
                plan.skipped()
                continue
            run = as_begun(run)
            try:
                if run.cycle.cycle_id not in done:
                    _may_begin(lab, run)
                # what an earlier attempt finished comes back from its file, as plain JSON
                plan.finished(CycleSummary.model_validate(research_cycle(run)))
            except Stopped as stop:
                plan.stop(one_line(stop))
                break
            except EnvironmentRefused:
                raise
            except Exception as error:  # recorded; the night goes on with the next cycle
                journal.write("night goes on", without=run.cycle.cycle_id, reason=one_line(error))
                plan.failed_with(run.cycle.cycle_id)
        journal.write("night ended", reason=plan.ended_because)
        if not request.offline:
            publish_after_night(lab, request.settings.ledger, journal)
        return plan.close(lab)


def _may_begin(lab: Lab, run: CycleRun) -> None:
    """Go on where nothing is against this cycle.

    Raises:
        Stopped: the stop file is there, the lab takes too much, or nobody consents.
    """
    heed_stop_file(lab, run.policy)
    heed_disk_budget(lab, run.policy)
    consent_to_cycle(run)


def finished_cycles(lab: Lab) -> dict[str, int]:
    """Return cycle id -> number of the cycles that are done."""
    archive = Archive(lab.archive_path)
    archive.migrate()
    return {row["cycle_id"]: row["number"] for row in archive.cycles() if row["status"] == "done"}


def _own_run() -> FlowRun:
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    return context.flow_run


def _begun(client: SyncPrefectClient, own: FlowRun) -> list[CycleRun]:
    """Return the cycles that earlier attempts of this flow run began, in their order."""
    if own.run_count <= 1:
        return []
    mine = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[own.id]))
    children: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=mine, offset=len(children)):
        children.extend(page)
    runs = {
        run.cycle.number: run
        for run in (CycleRun.model_validate(child.parameters["run"]) for child in children)
    }
    return [runs[number] for number in sorted(runs)]


def _is_stale(client: SyncPrefectClient, own: FlowRun, request: NightRequest) -> bool:
    """Whether a schedule, not a person, asked for this night, longer ago than the grace."""
    if not own.auto_scheduled or own.expected_start_time is None or own.run_count > 1:
        return False
    if _seconds_since(own.expected_start_time) <= request.settings.serve.grace:
        return False
    # one that died before it ran, and that a person retries, has never run either
    states = client.read_flow_run_states(own.id)
    return not any(state.name == "AwaitingRetry" for state in states)


def _seconds_since(moment: datetime.datetime | None) -> float:
    if moment is None:
        return 0.0
    return (datetime.datetime.now(datetime.UTC) - moment).total_seconds()

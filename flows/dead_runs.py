"""Runs that died without a word: marked as what they are, so that they can be run again.

Only for a process that holds the lab's lock: it alone works in the lab, so whatever else is
called running there is dead. Where nobody comes to look, the watch over heartbeats (`server`)
does the same, later.
"""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.states import Crashed

from flows.server import free_accelerator, lab_tag
from noctuary.archive.store import Archive
from noctuary.lab import Lab

_ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.CANCELLING]
_DIED = "its process died without a word"


def mark_dead_runs(lab: Lab, own: UUID | None = None) -> int:
    """Mark the runs and the cycles of this lab that are called running, and are not.

    Their places at the accelerator come free.

    Args:
        own: the flow run of this process.
    """
    archive = Archive(lab.archive_path)
    for cycle in archive.cycles() if archive.exists() else []:
        if cycle["status"] == "running":
            facts = {"stage": "close", "cycle": {"id": cycle["cycle_id"]}}
            with archive.attested("stage", facts) as write:  # the ledger hears of it with the next
                write.close_cycle(cycle["cycle_id"], "failed", summary=_DIED)
    with get_client(sync_client=True) as client:
        dead = [run for run in _alive(client, lab_tag(lab)) if run.id != own]
        for run in dead:
            client.set_flow_run_state(run.id, Crashed(message=_DIED), force=True)
        for task in _running_tasks(client, dead):
            client.set_task_run_state(task.id, Crashed(message=_DIED), force=True)
        free_accelerator(client, alone=all(run.id == own for run in _alive(client)))
    return len(dead)


def _alive(client: SyncPrefectClient, *tags: str) -> list[FlowRun]:
    """Return the flow runs that the server takes for alive."""
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ALIVE)),
            tags=FlowRunFilterTags(all_=list(tags)) if tags else None,
        )
    )


def _running_tasks(client: SyncPrefectClient, runs: list[FlowRun]) -> list[TaskRun]:
    """Return the task runs of these flow runs that are called running."""
    if not runs:
        return []
    running = TaskRunFilterStateType(any_=[StateType.RUNNING])
    return client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in runs])),
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=running)),
    )

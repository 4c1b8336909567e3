"""What the flows need of a Prefect server before they start on it.

Covers waiting for it, the limit on the accelerator, the watch over heartbeats, and the tag of a
lab's runs. Does not cover the runs that died (`dead_runs`).
"""

import contextlib
import datetime
import time
from collections.abc import Iterator

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from noctuary.canonical import content_id
from noctuary.cli.processes import running_server
from noctuary.errors import ServerUnavailable
from noctuary.lab import Lab
from tasks.train import ACCELERATOR, CANDIDATES_AT_ONCE

SERVER_PATIENCE = 120.0
"""Seconds to wait for the server; on a fresh database it takes over twenty."""

SILENCE = datetime.timedelta(minutes=10)
"""A run whose heartbeat is silent for so long counts as dead: three of Prefect's own beats."""

TAG = "noctuary"
"""Marks all our runs, in any lab."""


def lab_tag(lab: Lab) -> str:
    """Return the tag that marks the flow runs of a lab."""
    return f"lab-{content_id(str(lab.root))}"


def tags_of(lab: Lab) -> list[str]:
    """Return the tags that the flow runs of a lab carry."""
    return [TAG, lab_tag(lab)]


@contextlib.contextmanager
def prepared(lab: Lab) -> Iterator[None]:
    """Wait for the server, make it ready, and tag the runs started inside."""
    with get_client(sync_client=True) as client:
        wait_for(client)
        limit_accelerator(client)
        if outlives_us(lab):
            watch_heartbeats(client)
    with prefect.tags(*tags_of(lab)):
        yield


def wait_for(client: SyncPrefectClient, patience: float = SERVER_PATIENCE) -> None:
    """Return when the server answers.

    Raises:
        ServerUnavailable: it did not answer in time.
    """
    deadline = time.monotonic() + patience
    while (problem := client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"the Prefect server at {PREFECT_API_URL.value()} did not answer within "
                f"{patience:.0f} s ({problem}); start it, or unset PREFECT_API_URL to let "
                "noctuary start its own"
            )
        time.sleep(0.25)


def limit_accelerator(client: SyncPrefectClient) -> None:
    """Let the server see to it that only so many candidates train at once."""
    try:
        current = client.read_concurrency_limit_by_tag(ACCELERATOR)
    except ObjectNotFound:
        current = None
    if current is None or current.concurrency_limit != CANDIDATES_AT_ONCE:
        client.create_concurrency_limit(ACCELERATOR, CANDIDATES_AT_ONCE)


def free_accelerator(client: SyncPrefectClient, alone: bool) -> None:
    """Give back the places at the accelerator that nobody holds any more.

    The server (Prefect 3.8) keeps the count of places that are taken apart from the leases on
    them. A lease ends with its task run, but the server may never have heard of a run that was
    killed as it began. A reset ends leases and leaves the count, a restart forgets leases and
    leaves the count. What has a count and no lease is taken for ever, and every later night
    would wait as long; so the count is set to that of the leases.

    Args:
        alone: nobody else works on this server, so the leases there are belong to the dead.
    """
    if alone:
        client.reset_concurrency_limit_by_tag(ACCELERATOR)
    leases = client.read_concurrency_limit_by_tag(ACCELERATOR).active_slots
    client.update_global_concurrency_limit(
        f"tag:{ACCELERATOR}", GlobalConcurrencyLimitUpdate(active_slots=len(leases))
    )


def outlives_us(lab: Lab) -> bool:
    """Whether the server goes on without this machine: the lab's own ends with the command."""
    return running_server(lab) != str(PREFECT_API_URL.value())


def watch_heartbeats(client: SyncPrefectClient, silence: datetime.timedelta = SILENCE) -> None:
    """Let the server mark our runs as crashed whose heartbeat has stopped.

    For runs whose machine went down while the server, on another one, lives on.
    """
    ends = ("Completed", "Failed", "Cancelled", "Crashed")
    wanted = AutomationCore(
        name="noctuary: a run without heartbeat has crashed",
        description=f"marks a run as crashed that was silent for {silence}",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}"}),
            for_each={"prefect.resource.id"},
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)},
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message=f"no sign of life for {silence}", force=True
            )
        ],
    )
    existing = client.read_automations_by_name(wanted.name)
    if not existing:
        client.create_automation(wanted)
    elif AutomationCore.model_validate(existing[0].model_dump(exclude={"id"})) != wanted:
        client.update_automation(existing[0].id, wanted)

"""The nightly deployment and the worker that executes it.

Covers registering (`register`) on whatever Prefect server is configured, and working it off
until the process is told to end (`serve`). Does not start a server, and knows no defaults: what
is deployed is in the request.
"""

import asyncio
import contextlib
import datetime
import logging
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.server.schemas.schedules import CronSchedule
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from flows.dead_runs import mark_dead_runs
from flows.night import night
from flows.server import (
    lab_tag,
    limit_accelerator,
    outlives_us,
    tags_of,
    wait_for,
    watch_heartbeats,
)
from noctuary.config import ServeSettings
from noctuary.domain import Value
from noctuary.errors import LabInUse, UsageError
from noctuary.lab import Lab
from noctuary.night import NightRequest

DEPLOYMENT = "night/nightly"

JOB = (sys.executable, "-m", "flows.job")
"""The process of one run: new for each, so it has the code as it is then."""


class Served(Value):
    """What was registered.

    Attributes:
        address: of the deployment, below the address of the UI.
        next_night: when the schedule starts one.
    """

    deployment: str
    address: str
    pool: str
    next_night: datetime.datetime


def pool_of(lab: Lab) -> str:
    """Return the name of the work pool whose worker is this lab's own."""
    return f"noctuary-{lab_tag(lab)}"


def register(request: NightRequest, pool: str, job: Sequence[str] | None = JOB) -> Served:
    """Make the server ready for this night: pool, accelerator limit, heartbeat watch, deployment.

    What is there already is brought up to date.

    Args:
        pool: work pool of type `process`; made where it is missing.
        job: command of a run's process; None leaves it to the worker.

    Raises:
        UsageError: the schedule is none, or the deployment is another lab's.
        ServerUnavailable: no server answers.
    """
    lab, settings = Lab(Path(request.lab)), request.settings.serve
    first = next_night(settings)
    with get_client(sync_client=True) as client:
        wait_for(client)
        _refuse_another_lab(client, lab)
        limit_accelerator(client)
        if outlives_us(lab):
            watch_heartbeats(client)
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(
                WorkPoolCreate(
                    name=pool,
                    type="process",
                    description=f"works in {lab.root}",
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                )
            )
    deployment = RunnerDeployment.from_flow(
        night,
        name="nightly",
        entrypoint_type=EntrypointType.MODULE_PATH,
        schedule=_schedule(settings),
        paused=False,
        parameters={"request": request.model_dump(mode="json")},
        # one at a time; a night that is asked for meanwhile waits
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        tags=tags_of(lab),
        description=f"Research cycles in {lab.root}, every night.",
        work_pool_name=pool,
        job_variables=job_variables(lab, job),
    )
    identity = cast(UUID, deployment.apply())
    address = f"deployments/deployment/{identity}"
    return Served(deployment=DEPLOYMENT, address=address, pool=pool, next_night=first)


def job_variables(lab: Lab, job: Sequence[str] | None) -> dict[str, Any]:
    """Return what the process of a run gets: results belong to the lab, so reruns find them."""
    variables: dict[str, Any] = {
        "working_dir": str(lab.root),
        "env": {
            "NOCTUARY_LAB": str(lab.root),
            "PREFECT_LOCAL_STORAGE_PATH": str(lab.prefect / "results"),
            "OMP_NUM_THREADS": "1",
        },
    }
    if job is not None:
        variables["command"] = shlex.join(job)
    return variables


def serve(request: NightRequest, told: Callable[[Served], None]) -> None:
    """Register the nightly run, and execute runs until a signal ends this process.

    A run that is going on then ends with it; it is marked as crashed, and can be retried.

    Args:
        told: called once all is registered.
    """
    lab = Lab(Path(request.lab))
    served = register(request, pool_of(lab))
    _mark_dead_runs(lab)
    told(served)
    asyncio.run(_work(served.pool))
    _mark_dead_runs(lab)


def next_night(settings: ServeSettings) -> datetime.datetime:
    """Return the next time of the schedule.

    Raises:
        UsageError: the cron expression or the time zone is none.
    """
    try:
        ZoneInfo(settings.timezone)
    except (
        ZoneInfoNotFoundError,
        ValueError,
        OSError,
    ) as error:  # unknown, or not the name of one at all
        raise UsageError(
            f"serve.timezone = {settings.timezone!r}: no such time zone; write one like "
            "Europe/Vienna, or UTC"
        ) from error
    try:
        schedule = CronSchedule(cron=settings.cron, timezone=settings.timezone)
    except ValidationError as error:
        raise UsageError(
            f"serve.cron = {settings.cron!r} is no cron expression; write five fields like "
            '"0 1 * * *" (every day at 01:00)'
        ) from error
    now = datetime.datetime.now(datetime.UTC)
    dates = asyncio.run(schedule.get_dates(n=1, start=now))
    if not dates:
        raise UsageError(f"serve.cron = {settings.cron!r}: no day ever matches; write another")
    return dates[0]


def _schedule(settings: ServeSettings) -> Schedule:
    return Cron(settings.cron, timezone=settings.timezone, slug="nightly")


def _refuse_another_lab(client: SyncPrefectClient, lab: Lab) -> None:
    try:
        there = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        return
    owner = there.parameters.get("request", {}).get("lab", str(lab.root))
    if Path(owner).resolve() != lab.root:
        raise UsageError(
            f"{DEPLOYMENT} on this server works in {owner}, not in {lab.root}; serve one lab on "
            f"one server: delete it with `prefect deployment delete {DEPLOYMENT}`, or use another "
            "server"
        )


def _mark_dead_runs(lab: Lab) -> None:
    """Mark dead runs, unless somebody works in the lab: then it is up to them."""
    with contextlib.suppress(LabInUse), lab.lock():
        mark_dead_runs(lab)


async def _work(pool: str) -> None:
    """Execute runs of the pool until a signal comes."""
    async with anyio.create_task_group() as group:

        async def stop_at_a_signal() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()
                    return

        group.start_soon(stop_at_a_signal)
        worker = ProcessWorker(work_pool_name=pool, create_pool_if_not_found=False)
        await worker.start(printer=logging.getLogger("noctuary.serve").info)

"""`noctuary serve`: the Prefect server with its UI, the nightly schedule, and a worker for it.

Covers starting, watching and ending these processes. What is deployed is said in
`flows.serving`, which runs in a process of its own. Nothing outlives this command.
"""

import contextlib
import datetime
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from noctuary.cli.common import lab_option
from noctuary.errors import ServerUnavailable, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from noctuary.cli.processes import FlowProcess
    from noctuary.config import Settings
    from noctuary.lab import Lab
    from noctuary.night import NightRequest

LOOK_EVERY = 1.0
"""Seconds between two looks at the worker."""

ASK_EVERY = 30.0
"""Seconds between two questions to the server; it is given up after `ASK_TIMES` without answer."""

ASK_TIMES = 4


@click.command("serve")
@click.option("--cron", metavar="CRON", help='When nights begin (default "0 1 * * *").')
@click.option("--budget", metavar="TIME", help="How long a night lasts (default 8h).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the server (default 4200).")
@lab_option
def command(cron: str | None, budget: str | None, port: int | None, lab_path: Path | None) -> None:
    """Serve the Prefect UI, and run research cycles every night, until told to stop.

    With a Prefect server configured (PREFECT_API_URL), the nightly run is registered there, and
    only a worker is started. Settings are those of the lab when this command starts.
    """
    from noctuary.cli.processes import FlowProcess
    from noctuary.lab import Lab

    lab = Lab.create_or_open(lab_path)
    request = build_request(lab, cron=cron, budget=budget, port=port)
    with _ended_by_sigterm(), contextlib.suppress(KeyboardInterrupt), _server(lab, request) as api:
        process = FlowProcess("serve", request.model_dump_json(), lab, api)
        try:
            served = process.hear()["served"]
            for line in welcome(served, api, request):
                click.echo(line)
            _watch(process, api)
        finally:
            process.stop()
    click.echo("noctuary: stopped serving")


def build_request(
    lab: "Lab", *, cron: str | None, budget: str | None, port: int | None
) -> "NightRequest":
    """Return the request of every night, of the options and the lab's settings.

    Raises:
        UsageError: a budget that is no duration, or settings or a policy that are wrong. Whether
            the schedule is one is for Prefect to say.
    """
    from noctuary.config import load_settings, parse_duration
    from noctuary.night import NightRequest
    from noctuary.plan import suite_of, with_text
    from noctuary.policy import load_policy

    load_policy(lab.policy_path)  # what is broken is refused now; each night reads it anew
    options: dict[str, Any] = {"cron": cron, "port": port}
    try:
        options["budget"] = None if budget is None else parse_duration(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}") from error
    given = {name: value for name, value in options.items() if value is not None}
    settings = with_text(load_settings(lab.settings_path, {"serve": given}), lab)
    suite_of(settings.training)
    return NightRequest(lab=str(lab.root), settings=settings, budget_seconds=settings.serve.budget)


def welcome(served: dict[str, Any], api: str, request: "NightRequest") -> Iterator[str]:
    """Yield the lines that say what is served, and how to use it."""
    from noctuary.cli.processes import configured_server

    ui = api.removesuffix("/api")
    own = configured_server() is None
    yield f"Prefect UI:   {ui}" + ("" if own else "  (configured server; only a worker runs here)")
    wanted = request.settings.serve.port
    if own and not ui.endswith(f":{wanted}"):
        yield f"              port {wanted} is taken; links to earlier runs point there"
    yield f"nightly run:  {ui}/{served['address']}"
    yield f"next night:   {_local(served['next_night'], request.settings)}"
    yield (f"a night now:  PREFECT_API_URL={api} prefect deployment run {served['deployment']}")
    yield "              or Run > Quick run in the UI; a failed run has a Retry button there"
    yield f"work pool:    {served['pool']}; Ctrl-C stops serving, and a night that is going on"


def _local(moment: str, settings: "Settings") -> str:
    zone = ZoneInfo(settings.serve.timezone)
    when = datetime.datetime.fromisoformat(moment).astimezone(zone)
    return f"{when:%A %Y-%m-%d %H:%M} {settings.serve.timezone} (cron {settings.serve.cron!r})"


@contextlib.contextmanager
def _server(lab: "Lab", request: "NightRequest") -> Iterator[str]:
    from noctuary.cli.processes import configured_server, prefect_server

    configured = configured_server()
    if configured is not None:
        yield configured
        return
    with prefect_server(lab, request.settings.serve.port) as api:
        yield api


def _watch(process: "FlowProcess", api: str) -> None:
    """Return never; raise where the worker or the server is gone, so that both are started anew.

    Raises:
        NoctuaryError: what ended the worker.
        ServerUnavailable: the server has not answered for minutes.
    """
    from noctuary.cli.processes import is_healthy

    last_asked, unanswered = time.monotonic(), 0
    while process.running:
        time.sleep(LOOK_EVERY)
        if time.monotonic() - last_asked < ASK_EVERY:
            continue
        last_asked = time.monotonic()
        unanswered = 0 if is_healthy(api) else unanswered + 1
        if unanswered == ASK_TIMES:
            raise ServerUnavailable(
                f"the Prefect server at {api} has not answered for "
                f"{ASK_TIMES * ASK_EVERY:.0f} s; start `noctuary serve` again"
            )
    process.outcome()
    raise ServerUnavailable("the worker ended by itself; start `noctuary serve` again")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which a service manager sends, end this command as Ctrl-C does."""

    def interrupt(_number: int, _frame: "FrameType | None") -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

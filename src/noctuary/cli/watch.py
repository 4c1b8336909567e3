"""Runs a flow in a process of its own, on a Prefect server, and shows it."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from noctuary.cli.display import Display
from noctuary.cli.processes import (
    START_SECONDS,
    FlowProcess,
    configured_server,
    is_healthy,
    prefect_server,
    running_server,
)
from noctuary.errors import Stopped, UsageError
from noctuary.lab import Lab
from noctuary.night import CycleRun, NightRequest
from noctuary.plan import suite_of
from noctuary.policy import load_policy
from noctuary.sandbox.launcher import default_slots
from noctuary.stopping import heed_disk_budget, heed_stop_file

if TYPE_CHECKING:
    from noctuary.claims.verification import ClaimRun


def watched(
    action: str,
    request: "NightRequest | CycleRun | ClaimRun",
    lab: Lab,
    *,
    budget: float | None = None,
    quiet: bool = False,
) -> tuple[dict[str, Any], str]:
    """Run an action of `python -m flows` to its end, with a live display.

    Returns:
        its summary, and the address of its run in the Prefect UI.

    Raises:
        LabInUse: another process works in the lab; nothing was started.
        UsageError: the policy is broken, or says to stop before anything is started.
        NoctuaryError: what ended it.
    """
    settings = request.settings
    _refuse_to_stop_at_once(lab)
    with lab.lock():
        pass  # refused here, before anything is started
    with server_for(lab, settings.serve.port) as api:
        suite = suite_of(settings.training).version
        slots = settings.training.workers or default_slots(settings.training.device)
        display = Display(lab, api, suite, slots, budget=budget, quiet=quiet)
        process = FlowProcess(action, request.model_dump_json(), lab, api)
        try:
            display.show_while(lambda: process.running)
            return process.outcome(), display.run_address
        finally:
            process.stop()


def _refuse_to_stop_at_once(lab: Lab) -> None:
    policy = load_policy(lab.policy_path)
    try:
        heed_stop_file(lab, policy)
        heed_disk_budget(lab, policy)
    except Stopped as stop:
        raise UsageError(f"nothing was started: {stop}") from stop


@contextlib.contextmanager
def server_for(lab: Lab, port: int) -> Iterator[str]:
    """Yield the address of a Prefect API.

    That of the configured server, else of the lab's own where `noctuary serve` keeps one, else
    of one that lives as long as this command.
    """
    api = configured_server() or _settled(lab)
    if api is not None:
        yield api
        return
    with prefect_server(lab, port) as api:
        yield api


def _settled(lab: Lab) -> str | None:
    """Return the address of the lab's running server, when it is clear whether it has one."""
    deadline = time.monotonic() + START_SECONDS
    while (api := running_server(lab)) is not None and time.monotonic() < deadline:
        if is_healthy(api):
            break
        time.sleep(0.25)  # it starts, or it ends
    return api

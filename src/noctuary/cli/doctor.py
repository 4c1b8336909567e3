"""`noctuary doctor`: what this machine has, what is missing, and what that costs.

Looks, and changes nothing: a lab that is not there yet is not made.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

import click

from noctuary.cli.common import console, json_option, lab_option, print_json, table
from noctuary.errors import EnvironmentRefused, NoctuaryError

if TYPE_CHECKING:
    from noctuary.sandbox.protocol import JobEnd

PACKAGES = ("prefect", "fastapi", "torch", "lightning", "duckdb", "semanticscholar")
LITTLE_DISK = 2 * 2**30


State = Literal["ok", "missing", "broken"]


class Line(NamedTuple):
    """One thing looked at.

    Attributes:
        state: `ok`; `missing`: works without, at the cost that the note says; `broken`: does not.
    """

    subject: str
    state: State
    found: str
    note: str = ""


@click.command("doctor")
@lab_option
@json_option
def command(lab_path: Path | None, as_json: bool) -> None:
    """Check what this machine has, what is missing, and what that costs."""
    checks: list[Callable[[], list[Line]]] = [
        _python,
        _packages,
        _cores,
        lambda: _worker(lab_path),
        lambda: _lab(lab_path),
        lambda: _network(lab_path),
        _server,
        _later,
    ]
    lines = [line for check in checks for line in check()]
    if as_json:
        print_json([line._asdict() for line in lines])
    else:
        made = table(
            "", [("", False), ("state", False), ("found", False), ("what it means", False)]
        )
        for line in lines:
            made.add_row(*line)
        console().print(made)
    broken = [line.subject for line in lines if line.state == "broken"]
    if broken:
        raise EnvironmentRefused(f"{', '.join(broken)} must be mended before `noctuary run`")


def _python() -> list[Line]:
    return [Line("python", "ok", f"{platform.python_version()} on {platform.platform()}")]


def _packages() -> list[Line]:
    lines = []
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            lines.append(Line(name, "broken", "not installed", "install noctuary again"))
        else:
            lines.append(Line(name, "ok", importlib.metadata.version(name)))
    return lines


def _cores() -> list[Line]:
    from noctuary.sandbox.launcher import usable_cores

    cores = usable_cores()
    return [Line("cores", "ok", str(cores), f"{cores} trials at once on a CPU")]


def _worker(path: Path | None) -> list[Line]:
    """Start the launcher as a night does, and ask a worker what it sees and what stops it."""
    from noctuary.lab import Lab, default_lab
    from noctuary.policy import load_policy
    from noctuary.sandbox.launcher import Launcher
    from noctuary.sandbox.limits import Limits
    from noctuary.sandbox.outcome import ProbeOutcome, read_outcome
    from noctuary.sandbox.protocol import Job

    try:
        demanded = load_policy(Lab(path or default_lab()).policy_path).sandbox.demanded
    except NoctuaryError as error:
        return [Line("policy", "broken", str(error))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        job = Job(
            kind="probe",
            request={"device": "auto"},
            folder=str(folder),
            limits=Limits(wall_seconds=60, memory_mb=4096),
        )
        try:
            with Launcher(1, folder / "launcher.log") as launcher:
                end = launcher.run(job)
        except NoctuaryError as error:
            return [Line("workers", "broken", str(error))]
        outcome = read_outcome(folder, ProbeOutcome)
    lines = layer_lines(end, demanded)
    if end.refused and not lines:
        return [Line("sandbox", "broken", end.refused)]
    if outcome is None:
        return [*lines, Line("workers", "broken", f"ended with status {end.exit_code}")]
    lines.append(Line("workers", "ok", f"torch {outcome.torch}, {outcome.instruction_set}"))
    if outcome.cuda:
        memory = (outcome.gpu_memory_mb or 0) // 1024
        lines.append(
            Line(
                "GPU",
                "ok",
                f"{outcome.device}, {memory} GB",
                'trials train there with `device = "cuda"`; the shipped suite is faster on the CPU',
            )
        )
    else:
        lines.append(Line("GPU", "missing", "none", "trials run on the CPU, a thread each"))
    return lines


def layer_lines(end: "JobEnd", demanded: Collection[str]) -> list[Line]:
    """Say of each layer of the sandbox whether it held when it was tried."""
    from noctuary.sandbox.layers import AGAINST

    lines = []
    for layer, against in AGAINST.items():
        subject = f"sandbox: {layer}"
        if layer in end.held:
            lines.append(Line(subject, "ok", "holds", f"against {against}"))
        elif layer in end.missing:
            wanted = layer in demanded
            note = f"against {against}; {'demanded' if wanted else 'not demanded'} by the policy"
            state: State = "broken" if wanted or end.refused else "missing"
            lines.append(Line(subject, state, end.missing[layer], note))
    return lines


def _lab(path: Path | None) -> list[Line]:
    from noctuary.archive import Archive
    from noctuary.lab import Lab, default_lab

    place = path or default_lab()
    existing = next(parent for parent in (place, *place.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    lines = [
        Line(
            "disk",
            "ok" if free > LITTLE_DISK else "missing",
            f"{free / 2**30:.1f} GB free",
            "" if free > LITTLE_DISK else "a night of trials takes about 1 GB",
        )
    ]
    if not (place / "lab.json").exists():
        writable = os.access(existing, os.W_OK)
        note = "`noctuary run` makes it" if writable else "its folder may not be written"
        return [*lines, Line("lab", "ok" if writable else "broken", f"none at {place}", note)]
    try:
        lab = Lab.open(place)
        trials = Archive(lab.archive_path, patience=5.0).records("trials")
        lines.append(Line("lab", "ok", str(lab.root), f"{len(trials)} trials recorded"))
    except NoctuaryError as error:
        lines.append(Line("lab", "broken", str(place), str(error)))
    return lines


def _network(path: Path | None) -> list[Line]:
    """Try to reach the addresses that the settings name, by a connection without a request."""
    from noctuary.config import load_settings
    from noctuary.lab import Lab, default_lab

    try:
        settings = load_settings(Lab(path or default_lab()).settings_path)
    except NoctuaryError as error:
        return [Line("settings", "broken", str(error))]
    literature = settings.literature
    if not literature.endpoint.strip():
        return [Line("literature", "ok", "offline by setting", "the papers at hand are used")]
    endpoints = (literature.endpoint, literature.arxiv_endpoint)
    return [_reached(endpoint) for endpoint in endpoints if endpoint.strip()]


def _reached(endpoint: str) -> Line:
    address = urlsplit(endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=3).close()
    except OSError as error:
        found = f"{address.hostname} does not answer ({error})"
        return Line("literature", "missing", found, "the papers at hand are used")
    return Line("literature", "ok", f"{address.hostname} answers")


def _server() -> list[Line]:
    from noctuary.cli.processes import configured_server

    configured = configured_server()
    found = configured or "none configured"
    return [Line("Prefect", "ok", found, "" if configured else "`noctuary run` starts its own")]


def _later() -> list[Line]:
    note = "designs come from the grammar, which needs none"
    return [Line("language model", "missing", "not supported yet", note)]


if sys.platform == "win32":
    raise EnvironmentRefused("noctuary needs fork, which Windows has not; use WSL")

"""What every stage has in common: its name, its cache key, its place in the journal.

A finished stage is never executed again within its cycle: its result is kept under a key made
of the cycle's id, the stage, the inputs and the code version of the library. So a retry, a
rerun and a new run after a crash all skip it, and a changed library or input does not. Before
each stage that is executed, the stop file is heeded. What it records becomes one transaction,
with one statement for the ledger, once it is done.
"""

import functools
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import Task, task
from prefect.client.schemas import State, TaskRun
from prefect.context import TaskRunContext
from pydantic import BaseModel

from noctuary.archive.attesting import Attested
from noctuary.canonical import content_id
from noctuary.errors import ArchiveBusy, Stopped
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.night import CycleRun
from noctuary.provenance import code_version, value_digest
from noctuary.stopping import heed_stop_file
from tasks.workbench import attesting

P = ParamSpec("P")
R = TypeVar("R")


def stage(
    name: str, *, timeout_seconds: float, tags: tuple[str, ...] = (), label: str = ""
) -> Callable[[Callable[Concatenate[CycleRun, Attested, P], R]], Task[Concatenate[CycleRun, P], R]]:
    """Make a function of a `CycleRun`, what records, and JSON values a stage.

    Args:
        name: of the stage, as the UI and the journal show it.
        timeout_seconds: after which the stage counts as failed.
        tags: Prefect tags; `accelerator` is limited by the server.
        label: template of the task run's name in the UI; the stage's name where there is none.
    """

    def decorate(
        function: Callable[Concatenate[CycleRun, Attested, P], R],
    ) -> Task[Concatenate[CycleRun, P], R]:
        signature = _without_writer(function)

        @functools.wraps(function)
        def body(run: CycleRun, /, *args: P.args, **kwargs: P.kwargs) -> R:
            journal = Journal(Lab(Path(run.lab)).journal_path)
            facts = {"stage": name, "cycle": run.cycle.cycle_id}
            journal.write("stage started", **facts)
            begin = time.monotonic()
            try:
                heed_stop_file(Lab(Path(run.lab)), run.policy)
                given = signature.bind(run, *args, **kwargs).arguments
                with attesting(run, name) as write:
                    write.facts["inputs"] = {
                        key: value_digest(_plain(value))
                        for key, value in given.items()
                        if key != "run"
                    }
                    result = function(run, write, *args, **kwargs)
                    write.subjects["result"] = value_digest(_plain(result))
                    worked = time.monotonic() - begin
            except Stopped as stop:
                journal.write("stage stopped", reason=str(stop), **facts)
                raise
            except Exception as error:
                journal.write("stage failed", reason=f"{type(error).__name__}: {error}", **facts)
                raise
            seconds = time.monotonic() - begin
            journal.write("stage finished", seconds=seconds, recording=seconds - worked, **facts)
            return result

        body.__signature__ = signature  # type: ignore[attr-defined]  # Prefect binds by it
        made: Task[Concatenate[CycleRun, P], R] = task(
            name=name,
            task_run_name=label or name,
            tags=list(tags),
            # the outside world of a stage is the archive, which another process may hold
            retries=2,
            retry_delay_seconds=[2, 10],
            retry_condition_fn=_archive_was_busy,
            timeout_seconds=timeout_seconds,
            persist_result=True,
            result_serializer="json",
            cache_key_fn=functools.partial(_cache_key, name),
        )(body)
        return made

    return decorate


def _without_writer(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a stage for who calls it: without what records."""
    signature = inspect.signature(function)
    run, _, *inputs = signature.parameters.values()
    return signature.replace(parameters=[run, *inputs])


def _cache_key(name: str, _context: TaskRunContext, parameters: dict[str, Any]) -> str:
    inputs = {key: _plain(value) for key, value in parameters.items() if key != "run"}
    run: CycleRun = parameters["run"]
    digest = content_id({"inputs": inputs, "code": code_version()})
    return f"{run.cycle.cycle_id}-{name.replace(' ', '-')}-{digest}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _archive_was_busy(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    try:
        state.result()
    except ArchiveBusy:
        return True
    except Exception:  # any other failure is final: retrying would only repeat it
        return False
    return False

"""Runs a flow for the command line: `python -m flows night|cycle|claim|serve`, a request on stdin.

The first line of standard input is the request as JSON; each line of standard output is JSON,
the last one the outcome. When standard input ends, whoever asked is gone, and so is this
process: nothing goes on working unseen.
"""

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel

from noctuary.config import Arithmetic, Settings
from noctuary.errors import NoctuaryError, NoSpace, UsageError
from noctuary.lab import Lab
from noctuary.night import CycleRun, NightRequest

Say = Callable[[str, Any], None]
"""Says one thing, and what it is, to whoever asked."""


def main() -> None:
    """Run the action that the first argument names; exit with the status of its outcome."""
    action, request = sys.argv[1], sys.stdin.readline()
    answers = _take_stdout()

    def say(kind: str, content: Any) -> None:
        if isinstance(content, BaseModel):
            content = content.model_dump(mode="json")
        print(json.dumps({kind: content}), file=answers, flush=True)

    threading.Thread(target=_leave_with_the_owner, daemon=True).start()
    try:
        say("summary", _ACTIONS[action](request, say))
        status = 0
    except NoctuaryError as error:
        say("error", str(error))
        status = error.exit_status
    except Exception as error:
        refused = _full_disk(request)
        say("error", str(refused or f"{type(error).__name__}: {error}"))
        status = refused.exit_status if refused else 1
        with contextlib.suppress(OSError):  # the log may be on the full disk
            traceback.print_exc()
    raise SystemExit(status)


def _full_disk(request: str) -> NoSpace | None:
    """Return the error of a full disk, where there is one: whatever failed then, failed of it."""
    try:
        Lab(Path(json.loads(request)["lab"])).require_space()
    except NoSpace as error:
        return error
    return None


def _night(text: str, _say: Say) -> Any:
    request = NightRequest.model_validate_json(text)
    lab = Lab(Path(request.lab))
    _warm(lab, request.settings)
    from prefect.exceptions import CancelledRun

    from flows.night import night
    from flows.server import prepared

    try:
        with prepared(lab):
            return night(request)
    except CancelledRun as cancelled:  # it found a stop file before its first cycle
        raise UsageError(str(cancelled)) from cancelled


def _cycle(text: str, _say: Say) -> Any:
    run = CycleRun.model_validate_json(text)
    lab = Lab(Path(run.lab))
    _warm(lab, run.settings)
    from flows.dead_runs import mark_dead_runs
    from flows.research_cycle import research_cycle
    from flows.server import prepared
    from noctuary.jobs import clear_work

    with lab.lock(), prepared(lab):
        mark_dead_runs(lab)
        clear_work(lab)
        return research_cycle(run)


def _claim(text: str, _say: Say) -> Any:
    from noctuary.claims.verification import ClaimRun

    run = ClaimRun.model_validate_json(text)
    lab = Lab(Path(run.lab))
    _warm(lab, run.settings, "portable")
    from flows.dead_runs import mark_dead_runs
    from flows.server import prepared
    from flows.verify_claim import verify_claim
    from noctuary.jobs import clear_work

    with lab.lock(), prepared(lab):
        mark_dead_runs(lab)
        clear_work(lab)
        return verify_claim(run)


def _serve(text: str, say: Say) -> None:
    request = NightRequest.model_validate_json(text)
    from flows.serving import serve

    serve(request, lambda served: say("served", served))


def _warm(lab: Lab, settings: Settings, arithmetic: Arithmetic = "fast") -> None:
    """Start the launcher's server before Prefect is imported: both take seconds."""
    from tasks.workbench import slots, warm_launcher

    warm_launcher(lab.root, slots(settings), arithmetic)


def _take_stdout() -> TextIO:
    """Return standard output for the answers; what anything else prints there goes to the log."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _leave_with_the_owner() -> None:
    while sys.stdin.readline():
        pass
    os._exit(1)


_ACTIONS: dict[str, Callable[[str, Say], Any]] = {
    "night": _night,
    "cycle": _cycle,
    "claim": _claim,
    "serve": _serve,
}

if __name__ == "__main__":
    main()

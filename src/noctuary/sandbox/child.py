"""What the child of the server does: it confines itself, says so, and then does the job.

Nothing of the candidate is read before the layers were applied and tried out. Covers a job from
the fork to its exit status. What the job's function writes is believed by nobody here.
"""

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from noctuary.policy import Layer
from noctuary.sandbox.canaries import what_gets_through
from noctuary.sandbox.layers import AGAINST, Apply, Scene, confine, judge
from noctuary.sandbox.protocol import (
    NO_SPACE_EXIT,
    OUTCOME_FILE,
    OUTPUT_FILE,
    Confinement,
    Job,
)

REFUSED_EXIT = 70
UNWRITTEN_EXIT = 74


def become_child(scene: Scene, layers: Mapping[Layer, Apply]) -> NoReturn:
    """Run the job and end the process; never returns into the server's loop."""
    status = REFUSED_EXIT
    try:
        signal.set_wakeup_fd(-1)
        for kind in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, signal.SIG_DFL)
        status = run_job(scene, layers)
    except BaseException as error:
        if _is_no_space(error):
            status = NO_SPACE_EXIT
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def run_job(scene: Scene, layers: Mapping[Layer, Apply]) -> int:
    """Run a job in this process, behind its layers; return the exit status."""
    make_files(scene)
    *outer, last = AGAINST
    said = confine(scene, {layer: layers[layer] for layer in outer})
    through = what_gets_through(scene, said)
    filtered = confine(scene, {last: layers[last]})
    through |= what_gets_through(scene, filtered)
    verdict = judge(said | filtered, through, scene.job.demanded)
    after = time.monotonic() - scene.received
    tell(scene.report, verdict.model_copy(update={"confined_after": after}))
    if verdict.refused:
        return REFUSED_EXIT
    try:
        outcome = perform(scene.job, scene.folder)
    except BaseException as error:  # whatever a candidate raises is its outcome, never ours
        if _is_no_space(error):
            return NO_SPACE_EXIT
        with contextlib.suppress(OSError):  # a full disk takes no traceback
            traceback.print_exc()
        outcome = failure(error)
    try:
        (scene.folder / OUTCOME_FILE).write_text(json.dumps(outcome), encoding="utf-8")
    except OSError as error:
        return NO_SPACE_EXIT if _is_no_space(error) else UNWRITTEN_EXIT
    return 0


def make_files(scene: Scene) -> None:
    """Make the files that the job may write, and lead what it prints into its log."""
    discard_what_is_no_file(scene)
    for name in scene.writable:
        mode = os.O_TRUNC if name == OUTCOME_FILE else 0  # of the same job, in an earlier life
        os.close(_open(scene.folder / name, mode))
    null = os.open(os.devnull, os.O_RDONLY)
    output = _open(scene.folder / OUTPUT_FILE, os.O_TRUNC)
    for descriptor, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)


def discard_what_is_no_file(scene: Scene) -> None:
    """Remove links and folders under the names that are to be written: links lead elsewhere."""
    for name in (*scene.writable, OUTPUT_FILE):
        path = scene.folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink() or (path.exists() and not path.is_file()):
            path.unlink()


def _open(path: Path, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, 0o644)


def tell(report: int, confinement: Confinement) -> None:
    """Say how this process is confined, once: the pipe is closed before candidate code is read."""
    os.write(report, confinement.model_dump_json().encode("utf-8"))
    os.close(report)


def _is_no_space(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def perform(job: Job, folder: Path) -> dict[str, Any]:
    """Do what the kind of the job says."""
    if job.kind == "train":
        from noctuary.training.requests import TrainRequest
        from noctuary.training.trial import run_training

        return run_training(TrainRequest.model_validate(job.request), folder)
    if job.kind == "logits":
        from noctuary.training.inference import run_inference
        from noctuary.training.requests import LogitsRequest

        return run_inference(LogitsRequest.model_validate(job.request), folder)
    if job.kind == "audit":
        from noctuary.audit.candidate import AuditRequest, audit_mixer

        return audit_mixer(AuditRequest.model_validate(job.request))
    from noctuary.training.probe import probe

    return probe()


def failure(error: BaseException) -> dict[str, Any]:
    """Return the outcome of a job that raised: a status and one line of reason."""
    from noctuary.training.watch import Diverged, TooSlow

    line = (str(error).strip().splitlines() or [""])[0][:300]
    reason = f"{type(error).__name__}: {line}"
    if isinstance(error, Diverged):
        return {"status": "diverged", "reason": line}
    if isinstance(error, TooSlow):
        return {"status": "timeout", "reason": line}
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return {"status": "oom", "reason": reason}
    return {"status": "crashed", "reason": reason}

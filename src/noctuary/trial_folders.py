"""The folder of a trial that is over: what stays in it, and where it goes.

A finished one appears under `trials/` in one rename: `spec.json`, `result.json`, the curve, the
weights and losses where all is well, and else the end of what was printed. A suspicious one is
kept as it is, under `quarantine/`, large files excepted. Does not decide which of the two it is.
"""

import os
from pathlib import Path

from noctuary.domain import Trial, TrialSpec
from noctuary.handover import read_curve, read_floats
from noctuary.jobs import discard
from noctuary.lab import Lab, explaining_disk_errors, sync_folder, write_atomically
from noctuary.sandbox.protocol import CHECKPOINT_FILES, OUTPUT_FILE
from noctuary.sandbox.reading import NotAsAgreed
from noctuary.training.requests import CURVE_FILE, LOSSES_FILE, SNAPSHOTS_FILE, WEIGHTS_FILE

MAX_OUTPUT_BYTES = 2**16

SUSPICION_FILE = "suspicion.txt"

RESULT_FILES = (WEIGHTS_FILE, LOSSES_FILE)
"""What a training came to, kept where all is well: a replay must give the same bytes."""

MAX_QUARANTINED_BYTES = 12 * 2**20
"""Of one trial; what does not fit is not kept."""

_EVIDENCE = (OUTPUT_FILE, CURVE_FILE, LOSSES_FILE, WEIGHTS_FILE, SNAPSHOTS_FILE)
"""What a suspicion may rest on, the most telling first."""


def publish(lab: Lab, trial: Trial, folder: Path) -> None:
    """Make the trial's folder appear, complete, in one rename."""
    spec = trial.spec
    kept = {CURVE_FILE, *(RESULT_FILES if trial.status == "ok" else (OUTPUT_FILE,))}
    with explaining_disk_errors(lab.root):
        _mend_curve(folder, trial)
        for path in folder.iterdir():
            if path.name not in kept | set(CHECKPOINT_FILES):
                discard(path)
        keep_end(folder / OUTPUT_FILE)
        write_atomically(folder / "spec.json", spec.model_dump_json(indent=1) + "\n")
        write_atomically(folder / "result.json", trial.model_dump_json(indent=1) + "\n")
        for name in CHECKPOINT_FILES:
            discard(folder / name)  # late: a full disk leaves it for another try
        folder.rename(lab.trials / spec.trial_id)
        sync_folder(lab.trials)


def quarantine(lab: Lab, spec: TrialSpec, folder: Path, suspicion: str) -> Path:
    """Move what a suspicious trial left out of reach, and say what is suspicious about it.

    Returns:
        The folder's new name, `quarantine/<trial id>-<number>`.
    """
    with explaining_disk_errors(lab.root):
        lab.quarantine.mkdir(exist_ok=True)
        earlier = len(list(lab.quarantine.glob(f"{spec.trial_id}-*")))
        target = lab.quarantine / f"{spec.trial_id}-{earlier + 1}"
        keep_end(folder / OUTPUT_FILE)
        kept = _that_fits(folder)
        for path in folder.iterdir():
            if path.name not in kept:
                discard(path)
        write_atomically(folder / "spec.json", spec.model_dump_json(indent=1) + "\n")
        write_atomically(folder / SUSPICION_FILE, suspicion + "\n")
        folder.rename(target)
        sync_folder(lab.quarantine)
        folder.mkdir()
    return target


def _that_fits(folder: Path) -> set[str]:
    """Return the names of the evidence that is kept."""
    kept, left = set(), MAX_QUARANTINED_BYTES
    for path in (folder / name for name in _EVIDENCE):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= left:
            kept.add(path.name)
            left -= path.stat().st_size
    return kept


def keep_end(path: Path) -> None:
    """Shorten what a job printed to its end, where the traceback is."""
    if path.is_symlink() or not path.is_file():
        discard(path)
    elif path.stat().st_size > MAX_OUTPUT_BYTES:
        with path.open("rb") as handle:
            handle.seek(-MAX_OUTPUT_BYTES, os.SEEK_END)
            end = handle.read()
        write_atomically(path, end)


def _mend_curve(folder: Path, trial: Trial) -> None:
    """Leave numbers only in the curve; where all is well, the losses that were held to the weights.

    What the training wrote of them on the way is shown for a trial without a score alone.
    """
    path = folder / CURVE_FILE
    try:
        ok = trial.status == "ok"
        losses = read_floats(folder / LOSSES_FILE, trial.steps) if ok else None
        curve = read_curve(path, losses)
    except NotAsAgreed:
        discard(path)
    else:
        write_atomically(path, curve)

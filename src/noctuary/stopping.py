"""What ends a night at a safe point: the stop file of its policy, and a lab that takes too much.

Covers looking; `Stopped` travels up to the night from there. Does not cover a disk that is full
(`lab.require_space`), nor the limits that are looked at between two cycles (`night`).
"""

import contextlib
import os
from pathlib import Path

from noctuary.errors import Stopped
from noctuary.lab import Lab
from noctuary.policy import Policy


def heed_stop_file(lab: Lab, policy: Policy) -> None:
    """Go on where the stop file is not there.

    Raises:
        Stopped: it is.
    """
    path = lab.root / policy.stop_file
    if path.exists():
        raise Stopped(f"it was stopped by {path}; remove it and run the same command to go on")


def heed_disk_budget(lab: Lab, policy: Policy) -> None:
    """Go on where the lab's folder is smaller than the policy allows. Takes a look at each file.

    Raises:
        Stopped: it is not.
    """
    allowed = policy.budget.disk_mb
    if allowed is None:
        return
    taken = folder_mb(lab.root)
    if taken >= allowed:
        raise Stopped(
            f"the lab takes {taken:.0f} MB (policy allows {allowed}); free some of {lab.root} or "
            f"raise budget.disk_mb in {lab.policy_path.name}, and run the same command to go on"
        )


def folder_mb(folder: Path) -> float:
    """Return what the files below a folder take on the disk; links are not followed."""
    blocks = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                blocks += (Path(path) / name).lstat().st_blocks
    return blocks * 512 / 2**20

"""For all tests: one thread for torch, tools that may be missing, and a disk that is soon full."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from disks import SmallDisk

from noctuary.lab import MIN_FREE_BYTES

# As in the workers; two would only wait for each other. It is read when torch is imported, which
# no conftest does.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Skip for want of a tool, aloud; in CI nothing is skipped, and this fails."""

    def skip(reason: str) -> NoReturn:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs it: {reason}")
        pytest.skip(reason)

    return skip


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str], NoReturn]) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    size = MIN_FREE_BYTES + 32 * 2**20  # a cycle of the tiny suite takes about 20 MiB
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"cannot mount a small file system here: {error}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

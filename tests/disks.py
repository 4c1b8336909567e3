"""A disk that is soon full, for tests."""

import contextlib
import os
from pathlib import Path


class SmallDisk:
    """A file system just large enough for a trial to start."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def fill(self, *, leaving: int = 0) -> None:
        """Take what is free, but for so many bytes, also while others take and give back."""
        with self._ballast.open("wb", buffering=0) as handle, contextlib.suppress(OSError):
            while (free := self.free() - leaving) > 0:
                handle.write(bytes(min(free, 2**20)))

    def free(self) -> int:
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_frsize

    def empty(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink()

"""The journal of a lab: one line of JSON an event, for live displays and for counting.

Covers what is happening now, for people. It decides nothing: what counts is in the trials'
folders and in the archive. Lines are appended in single writes, so processes can share a file.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Appends events to, and reads them from, `lab/logs/journal.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **facts: Any) -> None:
        line = json.dumps({"time": time.time(), "pid": os.getpid(), "event": event, **facts})
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode("utf-8") + b"\n")
        finally:
            os.close(descriptor)

    def end(self) -> int:
        """Return the position behind the last event."""
        return self.path.stat().st_size if self.path.exists() else 0

    def read(self, position: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the events from a position on, each with the position behind it.

        A last line that is still being written, or was torn by a crash, is left out.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as handle:
            handle.seek(position)
            for line in handle:
                if not line.endswith(b"\n"):
                    return
                position += len(line)
                try:
                    event = json.loads(line)
                except json.JSONDecodeError:  # a torn line that a later event was appended to
                    continue
                yield position, event

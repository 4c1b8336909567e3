"""CPU seconds of a process and of all below it, over time, from /proc.

Covers what processes have used that live when they are looked at, and what their parents have
collected of those that ended. A process that was born and died unseen and uncollected is missed.
"""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.5
_TICK = os.sysconf("SC_CLK_TCK")

ROLES = {
    "noctuary.sandbox.server": "warm worker",
    "-m flows": "flow process",
    "prefect": "Prefect server",
    "uvicorn": "Prefect server",
}
"""A part of a command line -> what the process is; the first that fits."""


@dataclass(frozen=True)
class Seen:
    """One look at a process: CPU seconds of its own, and of its children that it collected."""

    parent: int
    command: str
    own: float
    collected: float


class CpuRecord:
    """Samples the CPU seconds, by role, of a process tree."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.samples: list[tuple[float, dict[str, float]]] = []
        self._last: dict[int, tuple[str, Seen]] = {}
        self._end = threading.Event()

    def follow(self) -> None:
        """Sample until `stop`."""
        while True:
            self.samples.append((time.time(), self._sample()))
            if self._end.wait(INTERVAL):
                return

    def stop(self) -> None:
        self._end.set()

    def between(self, begin: float, end: float) -> dict[str, float]:
        """Return role -> CPU seconds used between two times."""
        first, last = self._at(begin), self._at(end)
        used = {role: last[role] - first.get(role, 0.0) for role in last}
        return {role: seconds for role, seconds in used.items() if seconds > 0}

    def _at(self, moment: float) -> dict[str, float]:
        earlier = [sums for when, sums in self.samples if when <= moment]
        return earlier[-1] if earlier else {}

    def _sample(self) -> dict[str, float]:
        now = look()
        tree = {self.root}
        while more := {pid for pid, one in now.items() if one.parent in tree} - tree:
            tree |= more
        for pid in tree & now.keys():
            self._last[pid] = (self._role(now[pid], now), now[pid])
        sums: dict[str, float] = {}
        for role, one in self._last.values():
            if role == "trials and audits":
                continue  # the warm worker collects them, also those too short to be seen
            sums[role] = sums.get(role, 0.0) + one.own
            if role == "warm worker":
                sums["trials and audits"] = sums.get("trials and audits", 0.0) + one.collected
        for pid, (role, one) in self._last.items():
            if role == "trials and audits" and pid in now:  # running: not collected yet
                sums[role] = sums.get(role, 0.0) + one.own
        return sums

    def _role(self, one: Seen, now: dict[int, Seen]) -> str:
        role = next((role for part, role in ROLES.items() if part in one.command), "command")
        parent = now.get(one.parent)
        if role == "warm worker" and parent and "noctuary.sandbox.server" in parent.command:
            return "trials and audits"
        return role


def look() -> dict[int, Seen]:
    """Return all processes of the machine by id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()  # from the state, the third field, on
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            own, collected = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
            found[int(folder.name)] = Seen(
                parent=int(fields[1]),
                command=command.decode("utf-8", "replace"),
                own=own / _TICK,
                collected=collected / _TICK,
            )
    return found

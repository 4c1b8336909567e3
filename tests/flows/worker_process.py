"""`noctuary serve` as a real process: starting, ending and killing it."""

import datetime
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from night_process import NOCTUARY, children_of, kill

from noctuary.lab import Lab

PATIENCE = 180.0


class Worker:
    """A `noctuary serve` in a lab."""

    def __init__(self, lab: Lab, environment: Mapping[str, str]) -> None:
        # no night is due while a test runs, whatever the hour
        due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
        cron = f"{due.minute} {due.hour} * * *"
        self.output_path = lab.logs / "serve-output.log"
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [*NOCTUARY, "serve", "--lab", str(lab.root), "--cron", cron],
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    def wait_until_it_serves(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while "work pool:" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def tree(self) -> list[int]:
        """Return the ids of this process and all below it."""
        return [pid for pid, _ in children_of(self.process.pid)]

    def terminate(self) -> int:
        """End it as a service manager does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def kill(self) -> None:
        """Kill it and everything below it."""
        kill(self.tree())
        self.process.wait()


def wait_until_gone(pids: list[int]) -> None:
    """Return when none of the processes is left."""
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False

"""Nights as real processes: starting, killing and watching them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from noctuary.lab import Lab, shipped

NOCTUARY = (sys.executable, "-c", "from noctuary.cli import main; main()")

TINY = """
[training]
suite = "tiny-2"
seeds = 2
test_salt = "public"
[search]
designs = 2
"""


def make_lab(root: Path, settings: str = TINY, trained: Path | None = None) -> Lab:
    """Return a fresh lab with settings under which a cycle takes seconds.

    Args:
        trained: folder of trials that it is to have already.
    """
    lab = Lab.create_or_open(root)
    lab.settings_path.write_text(settings, encoding="utf-8")
    if trained is not None:
        shutil.copytree(trained, lab.trials, dirs_exist_ok=True)
    return lab


def train_baselines(root: Path) -> Path:
    """Train the human mixers that every cycle has beside its designs; return their trials."""
    lab = make_lab(root)
    mixer = shipped("architectures") / "human" / "delta_product.py"  # one of them
    command = [*NOCTUARY, "evaluate", str(mixer), "--lab", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return lab.trials


def start_night(
    lab: Lab, cycles: int, environment: Mapping[str, str], seed: int = 7
) -> "subprocess.Popen[bytes]":
    """Start `noctuary run` in the lab."""
    command = [*NOCTUARY, "run"]
    options = ["--cycles", str(cycles), "--seed", str(seed), "--offline", "--lab", str(lab.root)]
    return subprocess.Popen(
        [*command, *options],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run_to_the_end(
    lab: Lab, cycles: int, environment: Mapping[str, str], timeout: float = 400, seed: int = 7
) -> str:
    """Run a night to its end; return what it printed."""
    process = start_night(lab, cycles, environment, seed)
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        kill_tree(process)
    text = output.decode("utf-8", "replace")
    assert process.returncode == 0, text
    return text


def children_of(pid: int) -> list[tuple[int, str]]:
    """Return the ids and command lines of all processes below one, the process included."""
    parents: dict[int, list[int]] = {}
    commands: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            parent = int(stat.rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            parents.setdefault(parent, []).append(int(folder.name))
            commands[int(folder.name)] = command.decode("utf-8", "replace")
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        if current in commands:
            found.append((current, commands[current]))
        todo.extend(parents.get(current, []))
    return found


def kill(pids: list[int]) -> None:
    """Send SIGKILL to processes, in order."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and everything below it, as a power cut does."""
    kill([pid for pid, _ in children_of(process.pid)])
    process.wait()

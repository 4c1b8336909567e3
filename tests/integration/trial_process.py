"""Trials with real processes: small mixers that behave or do not, and an owner to be killed.

Run as a script, it is the owner of a launcher that trains until it is done or killed:
`python trial_process.py LAB MIXER SEEDS RUNG CHECKPOINT_SECONDS`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from noctuary.bench.suite import TINY
from noctuary.candidates import source_id
from noctuary.config import TrainingSettings
from noctuary.domain import Candidate, TrialSpec
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.plan import TRAINER_VERSION
from noctuary.sandbox.launcher import Launcher
from noctuary.trials import Workshop

FFN_WIDTH = 32
MIXER = '''"""Projects each token, and does something on the way."""
import errno, math, os, signal, time
import torch
from torch import nn

calls = 0
{load}

class Mixer(nn.Module):
    def __init__(self, d_model, n_heads=2):
        super().__init__()
        self.project = nn.Linear(d_model, d_model, bias=False)
        {construct}

    def forward(self, x):
        global calls
        calls += 1
        y = self.project(x)
        {forward}
        return y
'''


def make_candidate(
    lab: Lab, *, load: str = "", construct: str = "pass", forward: str = "pass"
) -> Candidate:
    """Write a mixer that runs these statements, and return the candidate."""
    source = MIXER.format(load=load, construct=construct, forward=forward)
    identity = source_id(source)
    path = lab.candidates / f"{identity}.py"
    path.write_text(source, encoding="utf-8")
    return Candidate(
        candidate_id=identity, name=f"c{identity[:6]}", kind="design", axes=None, path=str(path)
    )


def make_workshop(
    lab: Lab, launcher: Launcher, timeout: float = 60, checkpoint: float = 60, salt: str = ""
) -> Workshop:
    settings = TrainingSettings(
        suite=TINY.name,
        device="cpu",
        trial_timeout=timeout,
        memory_mb=512,
        workers=2,
        checkpoint=checkpoint,
        test_salt=salt,
    )
    return Workshop(lab, settings, launcher, Journal(lab.journal_path))


def make_spec(
    candidate: Candidate,
    task: str = "mqar",
    seed: int = 0,
    rung: int = 0,
    learning_rate: float = TINY.learning_rates[0],
) -> TrialSpec:
    return TrialSpec(
        candidate_id=candidate.candidate_id,
        suite=TINY.version,
        task=task,
        rung=rung,
        seed=seed,
        learning_rate=learning_rate,
        trainer=TRAINER_VERSION,
    )


def events(lab: Lab, kind: str) -> list[dict[str, object]]:
    return [event for _, event in Journal(lab.journal_path).read() if event["event"] == kind]


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.03)


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield the id, the parent's id and the command line of every process that is no zombie."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                if fields[0] not in "ZX":
                    yield int(folder.name), int(fields[1]), command.decode(errors="replace")


def below(root: int) -> set[int]:
    """Return the ids of all processes that descend from one, without itself."""
    parents = {pid: parent for pid, parent, _ in processes()}
    found: set[int] = set()
    while more := {p for p, up in parents.items() if up in found | {root}} - found:
        found |= more
    return found


def servers_of(owner: int) -> set[int]:
    """Return the ids of the servers that a process's launchers have started."""
    return {pid for pid, up, line in processes() if up == owner and "noctuary.sandbox" in line}


def are_gone(pids: set[int]) -> bool:
    return not pids & {pid for pid, _, _ in processes()}


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Owner:
    """A process that trains with a launcher of its own."""

    def __init__(
        self, lab: Lab, candidate: Candidate, *, seeds: int, rung: int = 0, checkpoint: float = 60
    ) -> None:
        words = [str(lab.root), candidate.path, str(seeds), str(rung), str(checkpoint)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words], stdin=subprocess.DEVNULL, start_new_session=True
        )

    def kill_and_wait_for_all(self) -> None:
        """Kill the owner alone; all below it has to go by itself."""
        others = below(self.process.pid)
        assert others
        kill(self.process.pid)
        self.process.wait()
        # a server that is still warming up looks at its owner when it has done so
        wait_until(lambda: are_gone(others), seconds=60)

    def kill_all(self) -> None:
        """Kill the owner, the server and the jobs, from the top."""
        everything = [self.process.pid, *sorted(below(self.process.pid))]
        for pid in everything:
            kill(pid)
        self.process.wait()
        wait_until(lambda: are_gone(set(everything)), seconds=10)


def main() -> None:
    lab, mixer, seeds = Lab(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    rung, checkpoint = int(sys.argv[4]), float(sys.argv[5])
    candidate = Candidate(
        candidate_id=mixer.stem, name="killed", kind="design", axes=None, path=str(mixer)
    )
    with Launcher(2, lab.logs / "launcher.log") as launcher:
        specs = [make_spec(candidate, seed=seed, rung=rung) for seed in range(seeds)]
        # all in one part: `train` would run the first seed alone
        workshop = make_workshop(lab, launcher, checkpoint=checkpoint)
        workshop.train(candidate, FFN_WIDTH, specs[:1])
        workshop.train(candidate, FFN_WIDTH, specs[1:])


if __name__ == "__main__":
    main()

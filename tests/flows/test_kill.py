"""Killed at random moments and resumed, a night leaves the archive of an undisturbed one.

Real processes and SIGKILL: the command, the process that runs the flow, the one that starts
trials, or all of them at once, as in a power cut. Wall-clock columns are left out of the
comparison; everything else has to be equal to the last bit.
"""

import random
import subprocess
import time
from pathlib import Path

import pytest
from night_process import (
    children_of,
    kill,
    kill_tree,
    make_lab,
    run_to_the_end,
    start_night,
)

from noctuary.archive import Archive
from noctuary.attesting import agreement
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.ledger.log import Ledger
from noctuary.ledger.verify import verify_ledger

PATIENCE = 120.0


def wait_for_event(lab: Lab, name: str, process: "subprocess.Popen[bytes]", since: int) -> None:
    """Return when the journal has the event, or the process has ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if any(event["event"] == name for _, event in Journal(lab.journal_path).read(since)):
            return
        time.sleep(0.02)


def strike(process: "subprocess.Popen[bytes]", victim: str) -> None:
    """Kill one process of a night, or all of them at once."""
    tree = children_of(process.pid)
    flow = [pid for pid, command in tree if "-m flows" in command]
    launcher = [pid for pid, command in tree if "noctuary.sandbox.server" in command][:1]
    if victim == "everything":
        kill_tree(process)
    elif victim == "flow" and flow:
        kill(flow)
    elif victim == "launcher" and launcher:
        kill(launcher)
    else:
        kill([process.pid])


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("most", "cycles"), [(4, 1), pytest.param(20, 3, marks=pytest.mark.slow)])
def test_a_night_that_is_killed_again_and_again_leaves_the_same_archive(
    most: int,
    cycles: int,
    tmp_path: Path,
    prefect_environment: dict[str, str],
    trained: Path,
) -> None:
    undisturbed = make_lab(tmp_path / "undisturbed", trained=trained)
    run_to_the_end(undisturbed, cycles, prefect_environment)

    rng = random.Random(20)
    lab = make_lab(tmp_path / "killed")
    journal = Journal(lab.journal_path)
    kills = 0
    while kills < most:
        since = journal.end()
        process = start_night(lab, cycles, prefect_environment)
        try:
            # some moments lie in the start, most behind it, all over the stages
            if rng.random() < 0.85:
                wait_for_event(lab, "night started", process, since)
            time.sleep(rng.uniform(0.0, 2.5))
            assert process.poll() is None, "the night ended before its last kill: add cycles"
            victim = rng.choice(["everything", "command", "flow", "launcher"])
            strike(process, victim)
            kills += 1
            if victim == "launcher":  # the night survives that, until it is hit elsewhere
                time.sleep(rng.uniform(0.0, 1.0))
        finally:
            kill_tree(process)
    run_to_the_end(lab, cycles, prefect_environment)

    assert (
        Archive(lab.archive_path).fingerprint() == Archive(undisturbed.archive_path).fingerprint()
    )
    assert designs_on_disk(lab) == designs_on_disk(undisturbed)
    assert sorted(p.name for p in lab.trials.iterdir()) == sorted(
        p.name for p in undisturbed.trials.iterdir()
    )
    assert not list(lab.work.iterdir())
    assert verify_ledger(lab.ledger, None).ok
    with Ledger.read(lab.ledger) as ledger:
        assert agreement(lab, Archive(lab.archive_path), ledger).ok
    finished = []
    for _, event in journal.read():
        if event["event"] == "trial started":
            assert event["trial"] not in finished, "a finished trial was run again"
        elif event["event"] == "trial finished":
            finished.append(event["trial"])


def designs_on_disk(lab: Lab) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in lab.candidates.iterdir()}

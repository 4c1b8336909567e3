"""Writes `docs/baselines.md`: every human mixer on every task of the suite.

    python docs/make_baselines.py --lab DIR [--seeds 5] [--without TASK ...]

Trains what the lab does not hold yet (an hour or so on two cores; killed, the same command goes
on where it was), then writes the page. The lab is one for this purpose: the held-out tasks are
trained on here, with the seeds of the search, and never with those of verification.
"""

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path

from baselines_page import page

from noctuary.bench.rungs import search_seeds
from noctuary.candidates import human_candidates, human_names
from noctuary.config import TrainingSettings
from noctuary.evaluation import evaluate
from noctuary.jobs import clear_work
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.plan import TRAINER_VERSION, suite_of
from noctuary.sandbox.launcher import Launcher, usable_cores
from noctuary.trials import Workshop

PAGE = Path(__file__).parent / "baselines.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--mixers", nargs="*", default=human_names(), help="default: all")
    parser.add_argument("--without", nargs="*", default=[], help="tasks to leave out")
    asked = parser.parse_args()
    lab = Lab.create_or_open(asked.lab)
    settings = TrainingSettings(seeds=asked.seeds, device="cpu")
    suite = suite_of(settings)
    begin = time.monotonic()

    def told(line: str) -> None:
        print(f"{(time.monotonic() - begin) / 60:6.1f} min  {line}", flush=True)

    with lab.lock(), Launcher(usable_cores(), lab.logs / "launcher.log") as launcher:
        clear_work(lab)
        everyone = evaluate(
            Workshop(lab, settings, launcher, Journal(lab.journal_path)),
            human_candidates(lab, asked.mixers),
            [task for task in (*suite.tasks, *suite.held_out) if task.name not in asked.without],
            rung=suite.top,
            seeds=search_seeds(suite.top, asked.seeds),
            told=told,
        )
    command = " ".join(["python", *sys.argv]).replace(str(asked.lab), "DIR")
    made = (
        f"`{command}`, suite `{suite.version}`, trainer `{TRAINER_VERSION}`, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {usable_cores()} cores "
        f"({platform.machine()}, {platform.system()} {os.uname().release.split('-')[0]})"
    )
    PAGE.write_text(page(suite, everyone, asked.seeds, asked.without, made), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()

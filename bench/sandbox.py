"""What the sandbox costs: run this file.

The same jobs run through two launchers of every night's kind, in turns: one whose jobs are
confined, and one whose jobs apply no layer and try nothing out. Covers warm servers on a CPU:
the time until candidate code can be read, the time of a job that does next to nothing, and the
speed of training inside. Does not cover starting a server, which is paid once a night.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from operator import sub, truediv
from pathlib import Path
from typing import TypeVar

import measuring
import numpy as np

from noctuary.bench.suite import Suite, suite_by_name
from noctuary.candidates import shipped
from noctuary.config import TrainingSettings
from noctuary.sandbox.launcher import Launcher
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.outcome import TrainOutcome, read_outcome
from noctuary.sandbox.protocol import Job
from noctuary.training.model import load_mixer, solve_ffn_width
from noctuary.training.requests import TOKEN_TYPE, TOKENS_FILE, TRAINING_WRITES, TrainRequest

START_GOAL_MS, SPEED_GOAL = 150, 0.98
BARE_SERVER = Path(__file__).with_name("bare_server.py")

T = TypeVar("T")
Spreads = dict[str, dict[str, float]]


def train_job(folder: Path, mixer: Path, suite: Suite, width: int, steps: int) -> Job:
    """Return a training on random tokens, as long and as large as the suite's."""
    task, rung = suite.tasks[0], suite.rungs[0]
    batch = rung.tokens_per_step // task.length
    tokens = np.random.default_rng(0).integers(
        task.vocab_size, size=2 * steps * batch * task.length
    )
    (folder / TOKENS_FILE).write_bytes(tokens.astype(TOKEN_TYPE).tobytes())
    request = TrainRequest(
        mixer=mixer,
        shape=suite.shape,
        vocab_size=task.vocab_size,
        ffn_width=width,
        seed=0,
        device="cpu",
        trial_id="bench",
        tokens=folder / TOKENS_FILE,
        length=task.length,
        steps=steps,
        batch_size=batch,
        weight_decay=rung.weight_decay,
        learning_rate=suite.learning_rates[0],
        snapshots=(),
        knowing_nothing=1e9,
        checkpoint_seconds=1e9,
        deadline_seconds=1e9,
    )
    return Job(
        kind="train",
        request=request.model_dump(mode="json"),
        folder=str(folder),
        limits=Limits(wall_seconds=600, memory_mb=4096),
        readable=(str(mixer),),
        writable=TRAINING_WRITES,
    )


def probe_job(folder: Path) -> Job:
    limits = Limits(wall_seconds=60, memory_mb=1024)
    return Job(kind="probe", request={"device": "cpu"}, folder=str(folder), limits=limits)


def start_up(launcher: Launcher, job: Job) -> tuple[float, float]:
    """Return the seconds until candidate code could be read, and of the whole job."""
    begin = time.perf_counter()
    end = launcher.run(job)
    if end.refused:
        raise SystemExit(f"the sandbox does not hold here: {end.refused}")
    return end.confined_after, time.perf_counter() - begin


def speed(launcher: Launcher, job: Job, steps: int) -> tuple[float, float]:
    """Return the steps a second in `Trainer.fit`, and a CPU-second of the whole job."""
    end = launcher.run(job)
    outcome = read_outcome(Path(job.folder), TrainOutcome)
    if outcome is None or outcome.status != "ok":
        raise SystemExit(f"the training failed: {end} {outcome}")
    return steps / outcome.seconds["train"], steps / end.cpu_seconds


def measure(suite: Suite, mixer: Path, jobs: int, pairs: int, steps: int) -> dict[str, Spreads]:
    """Return what was measured -> its spreads."""
    width, _ = solve_ffn_width(load_mixer(mixer), suite.shape)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        work = folder / "work"
        work.mkdir()
        with (
            Launcher(1, folder / "confined.log") as confined,
            Launcher(1, folder / "bare.log", server=[str(BARE_SERVER)]) as bare,
        ):
            launchers = (confined, bare)
            probe, short = probe_job(work), train_job(work, mixer, suite, width, 3)
            for launcher in launchers:
                start_up(launcher, probe)
                speed(launcher, short, 3)
            starts = in_turns(jobs, launchers, lambda one: start_up(one, probe))
            job = train_job(work, mixer, suite, width, steps)
            speeds = in_turns(pairs, launchers, lambda one: speed(one, job, steps))
    columns = {
        "until candidate code can be read": [(1e3 * a[0], 1e3 * b[0]) for a, b in starts],
        "a job that does next to nothing": [(1e3 * a[1], 1e3 * b[1]) for a, b in starts],
        "training": [(a[0], b[0]) for a, b in speeds],
        "training, in CPU time": [(a[1], b[1]) for a, b in speeds],
    }
    return {
        name: compare(values, truediv if name.startswith("training") else sub)
        for name, values in columns.items()
    }


def compare(pairs: list[tuple[float, float]], against: Callable[[float, float], float]) -> Spreads:
    """Return the spread of each side, and of the one against the other within pairs."""
    return {
        "confined": measuring.spread([inside for inside, _ in pairs]),
        "bare": measuring.spread([outside for _, outside in pairs]),
        "against": measuring.spread([against(*pair) for pair in pairs]),
    }


def in_turns(
    count: int, launchers: tuple[Launcher, Launcher], run: Callable[[Launcher], T]
) -> list[tuple[T, T]]:
    """Return pairs of runs; the side that begins changes from pair to pair."""
    found = []
    for pair in range(count):
        if pair % 2:
            second, first = run(launchers[1]), run(launchers[0])
        else:
            first, second = run(launchers[0]), run(launchers[1])
        found.append((first, second))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suite", default=TrainingSettings().suite)
    parser.add_argument("--mixer", default="delta_net", help="human baseline")
    parser.add_argument("--pairs", type=int, default=7, help="trainings of each side")
    parser.add_argument("--jobs", type=int, default=40, help="short jobs of each side")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    suite = suite_by_name(asked.suite)
    mixer = shipped("architectures") / "human" / f"{asked.mixer}.py"
    result = measure(suite, mixer, asked.jobs, asked.pairs, asked.steps)
    rows = []
    for name, spreads in result.items():
        form, more = ("{:.1f}/s", "{:.1%}") if name.startswith("training") else ("{:.1f} ms",) * 2
        forms = (form, form, more)
        sides = [_span(found, form) for found, form in zip(spreads.values(), forms, strict=True)]
        rows.append([name, *sides])
    measuring.report(
        f"The sandbox, {suite.version}, {asked.mixer}, {asked.steps} steps, {asked.pairs} pairs "
        f"(goals: under {START_GOAL_MS} ms a trial, {SPEED_GOAL:.0%} of the bare speed)",
        {"facts": about, "measured": result},
        measuring.markdown(["", "confined", "bare", "added, or share"], rows),
        as_json=asked.json,
        record=asked.record,
    )
    return 0


def _span(found: dict[str, float], form: str) -> str:
    return (
        f"{form.format(found['median'])} ({form.format(found['low'])} to "
        f"{form.format(found['high'])})"
    )


if __name__ == "__main__":
    sys.exit(main())

"""What a night costs beside its training: times to the first results, shares, overhead.

Runs a real `noctuary run` with its own Prefect server in a fresh temporary lab, offline, and
reads off the lines it prints, the lab's journal, the trials' results and, twice a second, the
CPU times of all its processes under /proc. All numbers of a table come from one run.

Covers the command as a user runs it, except that the display goes to a pipe, where it prints
lines instead of redrawing. Does not separate Lightning's own cost from the seconds of `fit`;
`lightning_overhead.py` measures that. Linux only. `README.md` says how each number is made.
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import measuring
from processes import CpuRecord

from noctuary.domain import Trial
from noctuary.journal import Journal
from noctuary.lab import Lab, read_json

GOALS = {"first design on the display": "60 s", "first leaderboard": "240 s"}
TRIAL_SECONDS = 10.0
"""The trials of the cycle that the goal for the overhead speaks of."""


@dataclasses.dataclass(frozen=True)
class Night:
    """What one run left to be read.

    Attributes:
        began: seconds since the epoch at which the command was started.
        lines: what the display said, each with its time.
        slots: trials at once.
    """

    lab: Lab
    began: float
    lines: list[tuple[float, str]]
    record: CpuRecord
    slots: int
    status: int

    def events(self) -> list[dict[str, Any]]:
        return [event for _, event in Journal(self.lab.journal_path).read()]


def run_night(lab: Lab, asked: argparse.Namespace) -> Night:
    """Run the command to its end, with nothing of the caller's Prefect configuration."""
    lab.settings_path.write_text(
        f'[training]\nsuite = "{asked.suite}"\nseeds = {asked.seeds}\n'
        f"workers = {asked.workers}\n[search]\ndesigns = {asked.designs}\n",
        encoding="utf-8",
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["PREFECT_HOME"] = str(lab.root / "no-prefect")
    command = [sys.executable, "-c", "from noctuary.cli import main; main()", "run", "--offline"]
    options = ["--cycles", str(asked.cycles), "--seed", str(asked.seed), "--lab", str(lab.root)]
    began = time.time()
    process = subprocess.Popen(
        [*command, *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[tuple[float, str]] = []
    record = CpuRecord(process.pid)
    watching = threading.Thread(target=record.follow, daemon=True)
    watching.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append((time.time(), line.rstrip()))
            print(line, end="", file=sys.stderr)
        status = process.wait()
    finally:
        record.stop()
        process.kill()
    watching.join()
    return Night(lab, began, lines, record, asked.workers or measuring.cores(), status)


def first_results(night: Night) -> dict[str, float | None]:
    """Return the seconds from the start to the first results."""
    events = night.events()

    def first(event: str, **facts: Any) -> float | None:
        for one in events:
            if one["event"] == event and all(one.get(key) == facts[key] for key in facts):
                return one["time"] - night.began
        return None

    designs = {name for one in events if one["event"] == "designs made" for name in one["designs"]}
    shown = [
        when - night.began
        for when, line in night.lines
        if any(f"{name}: score" in line for name in designs)
    ]
    return {
        "first trial finished": first("trial finished"),
        "first candidate trained": first("candidate trained"),
        "first design trained": first("candidate trained", kind="design"),
        "first design on the display": shown[0] if shown else None,
        "first leaderboard": first("stage finished", stage="publish"),
        "end": night.lines[-1][0] - night.began if night.lines else None,
    }


def cycles(night: Night) -> list[dict[str, Any]]:
    """Return the account of each finished cycle."""
    events = night.events()
    accounts: list[dict[str, Any]] = []
    ended = None
    for begin in (one for one in events if one["event"] == "cycle started"):
        if ended is not None:
            accounts[-1]["until_the_next"] = begin["time"] - ended
        end = next(
            (
                one
                for one in events
                if one["event"] == "cycle finished" and one["cycle"] == begin["cycle"]
            ),
            None,
        )
        if end is not None:
            within = [one for one in events if begin["time"] <= one["time"] <= end["time"]]
            accounts.append(account(night, begin["number"], within))
            ended = end["time"]
    return accounts


def account(night: Night, number: int, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return where the seconds of one cycle went; `README.md` explains each key."""
    begin, end = events[0]["time"], events[-1]["time"]
    wall = end - begin
    finished = [one for one in events if one["event"] == "trial finished"]
    started = [one["time"] for one in events if one["event"] == "trial started"]
    if not finished:
        return {"cycle": number, "wall": wall, "trials": 0}
    trials = [
        Trial.model_validate(read_json(night.lab.trials / one["trial"] / "result.json"))
        for one in finished
    ]
    total = sum(trial.seconds["total"] for trial in trials)
    train = sum(trial.seconds.get("train", 0.0) for trial in trials)
    train_cpu = sum(
        trial.seconds["cpu"] * trial.seconds.get("train", 0.0) / trial.seconds["total"]
        for trial in trials
    )
    training_phase = max(one["time"] for one in finished) - min(started)
    overhead = wall - total / night.slots
    cpu = night.record.between(begin, end)
    needed = len(trials) * TRIAL_SECONDS / night.slots
    recording = sum(one["recording"] for one in events if one["event"] == "stage finished")
    ledger = sum(one["seconds"] for one in events if one["event"] == "ledger told")
    return {
        "cycle": number,
        "wall": wall,
        "trials": len(trials),
        "not_ok": sum(trial.status != "ok" for trial in trials),
        "trial_seconds": statistics.mean(trial.seconds["total"] for trial in trials),
        "train_share_of_core_seconds": train / (wall * measuring.cores()),
        "train_share_of_cpu_seconds": train_cpu / sum(cpu.values()),
        "cpu_seconds": cpu,
        "overhead_seconds": overhead,
        "overhead_share": overhead / wall,
        "overhead_before_and_after": wall - training_phase,
        "overhead_between_trials": training_phase - total / night.slots,
        "overhead_per_trial": overhead / len(trials),
        "overhead_share_if_trials_took_10_s": overhead / (overhead + needed),
        "stages": stage_seconds(events),
        "recording_seconds": recording,
        "recording_share": recording / wall,
        "ledger_seconds": ledger,
        "ledger_share": ledger / wall,
    }


def stage_seconds(events: list[dict[str, Any]]) -> dict[str, float]:
    """Return the wall seconds in which at least one run of each stage was going on."""
    seconds: dict[str, float] = {}
    running: dict[str, list[float]] = {}
    for one in events:
        stage = one.get("stage")
        if one["event"] == "stage started":
            running.setdefault(stage, []).append(one["time"])
        elif one["event"] in ("stage finished", "stage failed") and running.get(stage):
            first = running[stage][0]
            running[stage].pop()
            if not running[stage]:
                seconds[stage] = seconds.get(stage, 0.0) + one["time"] - first
    return seconds


def tables(result: dict[str, Any]) -> str:
    """Return the tables for people."""
    first = [
        [name, "-" if seconds is None else f"{seconds:.1f} s", GOALS.get(name, "")]
        for name, seconds in result["first_results"].items()
    ]
    rows = [
        ("wall", "wall", "{:.1f} s", ""),
        ("until the next cycle", "until_the_next", "{:.1f} s", ""),
        ("trials", "trials", "{}", ""),
        ("mean seconds of a trial", "trial_seconds", "{:.2f} s", ""),
        ("training, of all core-seconds", "train_share_of_core_seconds", "{:.1%}", "75%"),
        ("training, of the CPU seconds used", "train_share_of_cpu_seconds", "{:.1%}", ""),
        ("overhead", "overhead_seconds", "{:.2f} s", ""),
        ("overhead, share of the cycle", "overhead_share", "{:.1%}", ""),
        ("overhead before and after the trials", "overhead_before_and_after", "{:.2f} s", ""),
        ("overhead and idle slots between them", "overhead_between_trials", "{:.2f} s", ""),
        ("overhead per trial", "overhead_per_trial", "{:.3f} s", ""),
        ("recording: archive, statements and ledger", "recording_seconds", "{:.2f} s", ""),
        ("recording, share of the cycle", "recording_share", "{:.1%}", ""),
        ("of it the ledger's", "ledger_seconds", "{:.2f} s", ""),
        ("the ledger's share of the cycle", "ledger_share", "{:.2%}", "1%"),
        ("overhead if trials took 10 s", "overhead_share_if_trials_took_10_s", "{:.1%}", "5%"),
    ]
    accounts = result["cycles"]
    body = [
        [label, *(form.format(one[key]) if key in one else "-" for one in accounts), goal]
        for label, key, form, goal in rows
    ]
    for role in sorted({role for one in accounts for role in one.get("cpu_seconds", {})}):
        label = f"CPU seconds: {role}"
        body.append([label, *(f"{one['cpu_seconds'].get(role, 0.0):.1f} s" for one in accounts)])
        body[-1].append("")
    for stage in sorted({stage for one in accounts for stage in one.get("stages", {})}):
        label = f"stage: {stage}"
        body.append([label, *(f"{one['stages'].get(stage, 0.0):.2f} s" for one in accounts), ""])
    heads = [f"cycle {one['cycle']}" for one in accounts]
    return "\n\n".join(
        [
            measuring.markdown(["from the start to", "seconds", "goal"], first),
            measuring.markdown(["", *heads, "goal"], body),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suite", default="standard-2")
    parser.add_argument("--seeds", type=int, default=3, help="seeds a task (settings default)")
    parser.add_argument("--designs", type=int, default=4, help="designs a cycle (default too)")
    parser.add_argument("--workers", type=int, default=0, help="trials at once; 0: one a core")
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    with tempfile.TemporaryDirectory() as folder:
        night = run_night(Lab.create_or_open(Path(folder) / "lab"), asked)
        if night.status:
            log = night.lab.logs / "night.log"
            print(log.read_text(encoding="utf-8") if log.exists() else "", file=sys.stderr)
            print(f"noctuary run ended with status {night.status}", file=sys.stderr)
            return 3
        result = {
            "facts": about,
            "settings": {k: v for k, v in vars(asked).items() if k not in ("json", "record")},
            "first_results": first_results(night),
            "cycles": cycles(night),
        }
    title = (
        f"A night of {asked.cycles} cycles, {asked.suite}, {asked.designs} designs, "
        f"{asked.seeds} seeds, {night.slots} trials at once"
    )
    measuring.report(title, result, tables(result), as_json=asked.json, record=asked.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())

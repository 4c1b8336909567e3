"""What the benchmarks share: facts of the machine, tables, and where results are kept.

Covers no measurement of its own, only the clock for calls.
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.md")


class Clock:
    """Wall and CPU seconds of calls, by what was called."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def time(self, name: str, call: Callable[[], T]) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        return result

    def forget(self, name: str) -> None:
        del self.wall[name], self.cpu[name]


def facts() -> dict[str, Any]:
    """Return when and where this runs, and how busy the machine was just before."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {cores()} cores, {platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def cores() -> int:
    return len(os.sched_getaffinity(0))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median with the smallest and the largest of the repeats."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def report(title: str, result: dict[str, Any], table: str, *, as_json: bool, record: bool) -> None:
    """Print the result, and with `record` append it to `results.md`."""
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        print(f"\n{title}\n\n{table}")
    if record:
        about = result["facts"]
        lines = [
            f"## {title}, {about['date']}",
            f"{about['machine']}; load before {about['load_before']}; Python {about['python']}; "
            f"commit {about['commit']}; `{' '.join(['python', *map(_relative, sys.argv)])}`",
            table,
        ]
        with RESULTS.open("a", encoding="utf-8") as handle:
            handle.write("\n" + "\n\n".join(lines) + "\n")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table whose columns line up."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    made = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    made.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(made)


def _relative(argument: str) -> str:
    path = Path(argument).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) and path.exists() else argument


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (
        " with changes" if git("status", "--porcelain", "src", "tasks", "flows") else ""
    )

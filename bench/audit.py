"""How long the dynamic half of an audit takes, for each human mixer: `python` this file.

Each mixer is audited by the warm worker of every night, in its sandbox, one at a time, at the
width of the standard suite, and again with other seeds. Seconds are from the job's request to the
end of its process. The mixers take turns, so that what else the machine does meets all of them.

Covers no start of the worker and no reading of the syntax tree. Exit status 1: a mixer was
rejected, which for a published one is a false alarm.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import measuring

from noctuary.archive.rows import REFERENCES
from noctuary.lab import shipped
from noctuary.sandbox.launcher import Launcher
from noctuary.sandbox.limits import Limits
from noctuary.sandbox.outcome import AuditOutcome, read_outcome
from noctuary.sandbox.protocol import Job

HUMAN = shipped("architectures") / "human"
GOAL = 2.0
"""Seconds."""
SLOWEST = Limits(wall_seconds=60, memory_mb=4096)


def audit(launcher: Launcher, path: Path, suite: str, seed: int) -> dict[str, Any]:
    """Return the seconds of one audit, and the checks that failed."""
    request = {
        "mixer": str(path),
        "suite": suite,
        "seed": seed,
        "quadratic": path.stem in REFERENCES,
    }
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            kind="audit", request=request, folder=folder, limits=SLOWEST, readable=(str(path),)
        )
        with launcher.slot():
            end = launcher.run(job)
        outcome = read_outcome(Path(folder), AuditOutcome)
    checks = () if outcome is None else outcome.checks
    failed = [check.name for check in checks if not check.passed]
    return {
        "wall": end.wall_seconds,
        "cpu": end.cpu_seconds,
        "failed": failed if checks else ["it did not end"],
    }


def table(result: dict[str, Any]) -> str:
    body = []
    for name, runs in result["mixers"].items():
        wall, cpu = (measuring.spread([run[clock] for run in runs]) for clock in ("wall", "cpu"))
        failed = sorted({check for run in runs for check in run["failed"]})
        body.append(
            [
                name,
                f"{wall['median']:.2f} s ({wall['low']:.2f} to {wall['high']:.2f})",
                f"{cpu['median']:.2f} s",
                "yes" if wall["median"] < GOAL else "NO",
                "accepted" if not failed else f"REJECTED: {', '.join(failed)}",
            ]
        )
    return measuring.markdown(["mixer", "wall", "CPU", f"under {GOAL:g} s", "verdict"], body)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    paths = {path.stem: path for path in sorted(HUMAN.rglob("*.py"))}
    parser.add_argument("--mixers", nargs="+", default=list(paths), choices=paths, metavar="NAME")
    parser.add_argument("--suite", default="standard-2")
    parser.add_argument("--repeats", type=int, default=5, help="seeds for each mixer")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in asked.mixers}
    with tempfile.TemporaryDirectory() as folder:
        launcher = Launcher(1, Path(folder) / "worker.log")
        try:
            audit(launcher, paths[asked.mixers[0]], asked.suite, seed=0)  # waits for the worker
            for seed in range(asked.repeats):
                for name in asked.mixers:
                    runs[name].append(audit(launcher, paths[name], asked.suite, seed))
        finally:
            launcher.close()
    result = {"facts": about, "suite": asked.suite, "goal": GOAL, "mixers": runs}
    title = f"Audit time of the human mixers, {asked.suite}"
    measuring.report(title, result, table(result), as_json=asked.json, record=asked.record)
    return 1 if any(run["failed"] for each in runs.values() for run in each) else 0


if __name__ == "__main__":
    sys.exit(main())

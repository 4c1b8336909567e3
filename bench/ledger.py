"""What the ledger costs: appending, opening, proving, and verifying a million entries.

Statements of a stage with eight files are appended alone, each durable under a head of its own,
and in batches of a thousand. The large ledger is made of such batches; `--ledger DIR` keeps it for
the next time. Opening, proofs and an append are measured on it, then a process of its own verifies
it, with one process a core. Beside it stands the verification of a ledger with a head for each
entry.

Covers no archive: `cycle.py` says what the ledger costs of a night. Exit status 1: a goal is
missed.
"""

import argparse
import datetime
import hashlib
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import measuring

from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import Statement, utc_text
from noctuary.ledger.verify import verify_ledger

GOALS_MS = {
    "append in a batch": 1.0,
    "append alone": 5.0,
    "inclusion proof": 5.0,
    "consistency proof": 5.0,
}
GOAL_SECONDS, GOAL_MB = 120.0, 1000.0
BATCH = 1_000
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SUBJECTS = 8
CODE = hashlib.sha256(b"code").hexdigest()


def statement(number: int) -> bytes:
    """Return a statement of a stage, of 1.6 kB."""
    names = [f"file:trials/{number:016x}/part-{part}" for part in range(SUBJECTS)]
    return Statement(
        kind="stage",
        subjects={name: hashlib.sha256(name.encode()).hexdigest() for name in names},
        facts={
            "time": utc_text(START + datetime.timedelta(seconds=number)),
            "started": utc_text(START),
            "stage": "train",
            "cycle": {"id": f"c{number:08d}", "number": number, "seed": str(number)},
            "code": CODE,
            "settings": CODE,
            "environment": {"python": "3.11.7", "machine": "x86_64", "torch": "2.13.0"},
            "inputs": {"designs": CODE},
        },
    ).payload


def build(folder: Path, entries: int) -> None:
    with Ledger.open(folder, now=lambda: START) as ledger:
        for first in range(ledger.size, entries, BATCH):
            ledger.append([statement(n) for n in range(first, min(first + BATCH, entries))])


def measure_appends(folder: Path, alone: int, batches: int) -> dict[str, Any]:
    """Return milliseconds for each statement, wall and CPU."""
    clock = measuring.Clock()
    with Ledger.open(folder, now=lambda: START) as ledger:
        made = [statement(number) for number in range(1, 1 + alone + batches * BATCH)]
        for payload in made[:alone]:
            clock.time("append alone", lambda p=payload: ledger.append([p]))
        for first in range(alone, len(made), BATCH):
            some = made[first : first + BATCH]
            clock.time("append in a batch", lambda p=some: ledger.append(p))
    each = {"append alone": 1, "append in a batch": BATCH}
    return {name: spread(clock, name, count) for name, count in each.items()}


def spread(clock: measuring.Clock, name: str, count: int = 1) -> dict[str, Any]:
    wall, cpu = (
        measuring.spread([1000 * seconds / count for seconds in times[name]])
        for times in (clock.wall, clock.cpu)
    )
    return {"wall": wall, "cpu": cpu}


def measure_large(folder: Path, repeats: int) -> dict[str, Any]:
    """Return milliseconds of what is asked of a large ledger."""
    clock, rng = measuring.Clock(), random.Random(0)
    for _ in range(repeats):
        clock.time("open to write, and close", lambda: Ledger.open(folder).close())
        clock.time("open to read, and close", lambda: Ledger.read(folder).close())
    with Ledger.read(folder) as ledger:
        for index in rng.choices(range(ledger.size), k=20 * repeats):
            clock.time("inclusion proof", lambda i=index: ledger.inclusion_proof(i))
            clock.time("consistency proof", lambda i=index: ledger.consistency_proof(i + 1))
    with Ledger.open(folder) as ledger:
        size = ledger.size
        for number in range(size, size + repeats):
            payload = statement(number)
            clock.time("append alone, to the large one", lambda p=payload: ledger.append([p]))
    return {name: spread(clock, name) for name in clock.wall}


def verification(folder: Path) -> dict[str, Any]:
    """Verify in a process of its own; return seconds, and the memory of all processes at most."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_verify, args=(folder, theirs))
    process.start()
    theirs.close()
    result: dict[str, Any] = ours.recv()
    process.join()
    return result


def _verify(folder: Path, answer: Connection) -> None:
    key = (folder / "key.pub").read_text(encoding="utf-8")
    start = time.perf_counter()
    found = verify_ledger(folder, key)
    seconds = time.perf_counter() - start
    mine, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    workers = measuring.cores() if others.ru_maxrss else 0
    answer.send(
        {
            "entries": found.size,
            "ok": found.ok,
            "wall": seconds,
            "cpu": sum(one.ru_utime + one.ru_stime for one in (mine, others)),
            "memory_mb": (mine.ru_maxrss + workers * others.ru_maxrss) / 1024,
        }
    )


def table(result: dict[str, Any]) -> str:
    rows = []
    for name, found in {**result["appends"], **result["large"]}.items():
        wall, cpu = (
            "{median:.3f} ms ({low:.3f} to {high:.3f})".format(**found[kind])
            for kind in ("wall", "cpu")
        )
        rows.append([name, wall, cpu, f"{GOALS_MS[name]:g} ms" if name in GOALS_MS else ""])
    for name, found in result["verified"].items():
        size = f"{found['entries']:,} entries, {name}"
        goal = f"{GOAL_SECONDS:g} s, {GOAL_MB:g} MB" if name == "few heads" else ""
        rows.append(
            [
                f"verify {size}",
                f"{found['wall']:.1f} s, at most {found['memory_mb']:.0f} MB",
                f"{found['cpu']:.1f} s ({1e6 * found['cpu'] / found['entries']:.0f} us an entry)",
                goal,
            ]
        )
    return measuring.markdown(["what", "wall", "CPU", "goal"], rows)


def missed(result: dict[str, Any]) -> bool:
    measured = {**result["appends"], **result["large"]}
    large = result["verified"]["few heads"]
    return (
        any(measured[name]["wall"]["median"] > goal for name, goal in GOALS_MS.items())
        or large["wall"] > GOAL_SECONDS
        or large["memory_mb"] > GOAL_MB
        or not all(found["ok"] for found in result["verified"].values())
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--ledger", type=Path, help="made if it is missing, and kept")
    parser.add_argument("--alone", type=int, default=1_000, help="entries with a head each")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    with tempfile.TemporaryDirectory() as scratch:
        appends = measure_appends(Path(scratch) / "appends", min(asked.alone, 1_000), 20)
        headed = Path(scratch) / "headed"
        with Ledger.open(headed, now=lambda: START) as ledger:
            for number in range(1, asked.alone):
                ledger.append([statement(number)])
        folder = asked.ledger or Path(scratch) / "large"
        build(folder, asked.entries)
        result = {
            "facts": about,
            "appends": appends,
            "large": measure_large(folder, asked.repeats),
            "verified": {
                "a head each": verification(headed),
                "few heads": verification(folder),
            },
        }
    title = f"The ledger, {asked.entries:,} entries of {len(statement(1))} bytes"
    measuring.report(title, result, table(result), as_json=asked.json, record=asked.record)
    return 1 if missed(result) else 0


if __name__ == "__main__":
    sys.exit(main())

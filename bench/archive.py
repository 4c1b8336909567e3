"""Is the archive as quick with a million trials as with ten? `python bench/archive.py`.

Makes an archive of a long life with SQL: designs of the standard suite that climb as they do in a
night (three learning rates on the first rung, half of them on the second, a quarter on the last,
with three seeds there), with parents, gaps, findings and curves; and then asks what people and
cycles ask, each question in a process of its own, opened as every command opens it. The scores
are made up, the axes are drawn from the design space. Each number is the time of a call into
`Archive`, so opening the file is in it and starting Python is not; the peak is that of the whole
process. CPU time stands beside wall time, as a busy machine stretches the one alone.
"""

import argparse
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring

from noctuary.analysis.failures import failures, prone_to_fail
from noctuary.analysis.interactions import interactions
from noctuary.archive import Archive
from noctuary.bench.suite import STANDARD
from noctuary.canonical import canonical_json
from noctuary.domain import Trial, TrialSpec
from noctuary.space.operators import draw

TRIALS_A_DESIGN = 17
"""Four tasks: 12 on the first rung, 2 on average on the second, 3 on the last."""

DESIGNS_A_CYCLE = 4
FINDINGS_A_CYCLE = 50
CURVE_POINTS = 10
SUITE, TRAINER = STANDARD.version, "lightning-3"
GOAL_MS, GOAL_MB = 50, 1_000
WITH_GOAL = (
    "leaderboard, best 50",
    "leaderboard, one candidate",
    "leaderboard, plain client",
    "lineage",
)

_MADE = """
CREATE TEMP TABLE made AS
SELECT i, left(sha256('candidate' || i), 16) AS id, i < 14 AS human, hash(i) % 1000 / 2000 AS level,
    ($points::VARCHAR[])[1 + i % len($points::VARCHAR[])] AS axes
FROM range($count::BIGINT) r(i);

INSERT INTO candidates BY NAME
SELECT id AS candidate_id, CASE WHEN human THEN 'human-' ELSE 'design-' END || i AS name,
    CASE WHEN human THEN 'human' ELSE 'design' END AS kind, i = 0 AS reference, axes,
    'candidates/' || id || '.py' AS path
FROM made;

INSERT INTO designs BY NAME
SELECT id AS design_id, 'design-' || i AS name, axes,
    repeat('# a line of source' || chr(10), 150) AS source,
    'to see what comes of it' AS motivation, 'mutate' AS move, 'mutation of decay' AS operator,
    [left(sha256('candidate' || greatest(i % 14, i - i // 4 - i * 7919 % 40)), 16),
        left(sha256('candidate' || greatest(i % 13, i // 2 - i * 104729 % 40)), 16)] AS parents,
    'gap' || i // 4 AS gap_id, ['finding' || i // 4 || '-0'] AS findings, 1 + i // 4 AS cycle
FROM made WHERE NOT human;

INSERT INTO trials BY NAME
SELECT left(sha256(id || task || rung || seed || rate), 16) AS trial_id, id AS candidate_id,
    $suite AS suite, task, rung, seed, $trainer AS trainer, rate AS learning_rate,
    CASE WHEN lost THEN 'diverged' ELSE 'ok' END AS status, '' AS reason,
    CASE WHEN NOT lost THEN level + hash(id || task || seed || rate) % 1000 / 4000 END AS score,
    '{"accuracy":0.5,"learning":0.4,"loss":1.2,"state_size":4096}' AS metrics,
    96000 AS parameters, 100 AS steps, 51200 AS tokens,
    '{"device":"cpu","threads":1}' AS environment,
    '{"total":10.5,"train":9.1}' AS seconds, 400.0 AS peak_memory_mb,
    '2026-01-01'::TIMESTAMP AS recorded_at, sha256(id || task || rung || seed) AS digest
FROM (
    SELECT *, NOT human AND hash(id || task || rung || seed || rate) % 100 < 3 AS lost
    FROM made
    CROSS JOIN (SELECT unnest($tasks::VARCHAR[]) AS task)
    CROSS JOIN (VALUES (0, 0, 0.005), (0, 0, 0.002), (0, 0, 0.012), (1, 1000, 0.005),
        (2, 2000, 0.005), (2, 2001, 0.005), (2, 2002, 0.005)) r(rung, seed, rate)
    WHERE human OR rung = 0 OR (rung = 1 AND i % 2 = 0) OR (rung = 2 AND i % 4 = 0)
);

INSERT INTO curves SELECT trial_id, 10 * step, 3.0 / (1 + step), 0.9 * step
FROM trials, range(1, $curve_points::BIGINT + 1) p(step);

INSERT INTO gaps BY NAME
SELECT 'gap' || c AS gap_id, 1 + c AS cycle, 'does it help?' AS question,
    ['decay=vector'] AS mechanisms,
    'recall' AS capability, ['insight' || c % 250] AS evidence_for, [] AS evidence_against,
    ['finding' || c || '-1'] AS findings, 1 AS papers_covering, 0 AS trials_covering,
    0.02 AS expected_effect, 'it does not' AS refuted_if
FROM range($cycles::BIGINT) r(c);

INSERT INTO findings BY NAME
SELECT 'finding' || c || '-' || n AS finding_id, 1 + c AS cycle, 'comparison' AS kind,
    left(sha256('candidate' || (4 * c + n % 4)), 16) AS subject, 'human' AS baseline,
    'mqar' AS task, 2 AS rung,
    0.01 AS effect, 0.0 AS low, 0.02 AS high, 3 AS n, 'scores 0.010 above it on mqar' AS statement
FROM range($cycles::BIGINT) r(c), range($findings::BIGINT) f(n);
"""


def make(path: Path, trials: int) -> float:
    """Write an archive of so many trials; return the seconds that counting its standings took."""
    import duckdb

    from noctuary.archive import standings

    rng = random.Random(0)
    points = [canonical_json(draw(rng)[0].axes).decode() for _ in range(2_000)]
    count = trials // TRIALS_A_DESIGN
    given = {
        "points": points,
        "count": count,
        "suite": SUITE,
        "trainer": TRAINER,
        "tasks": [task.name for task in STANDARD.tasks],
        "curve_points": CURVE_POINTS,
        "cycles": count // DESIGNS_A_CYCLE,
        "findings": FINDINGS_A_CYCLE,
    }
    archive = Archive(path)
    archive.migrate()
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        for statement in _MADE.split(";\n")[:-1]:
            used = {name: value for name, value in given.items() if f"${name}" in statement}
            connection.execute(statement, used)
        start = time.perf_counter()
        standings.rebuild(connection)
        return time.perf_counter() - start


def questions(path: Path, count: int) -> dict[str, Callable[[], Any]]:
    """Return name -> what is measured, in an archive of so many candidates."""
    archive = Archive(path)
    last = f"design-{count - 1}"
    cycle = (count - 1) // DESIGNS_A_CYCLE
    board = {"suite": SUITE, "rung": 0, "trainer": TRAINER, "max_cycle": cycle}

    def identity() -> str:
        return str(archive.query("find", text=last)[0]["id"])

    newest = identity()

    def plain() -> list[Any]:
        import duckdb

        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute("SELECT * FROM leaderboard LIMIT 20").fetchall()

    return {
        "leaderboard, best 50": lambda: archive.leaderboard(SUITE, top=50),
        "leaderboard, one candidate": lambda: archive.leaderboard(candidate=newest),
        "leaderboard, plain client": plain,
        "lineage": lambda: archive.lineage(newest, 50),
        "leaderboard, everybody": archive.leaderboard,
        "find a record by its name": identity,
        "one candidate's trials": lambda: archive.records("trials", candidate_id=newest),
        "scores of a board": lambda: archive.query("scores", **board),
        "observations of a board": lambda: archive.observations(SUITE, 0, TRAINER, None, cycle),
        "mechanism effects": lambda: archive.query("mechanism_effects", **board),
        "interactions": lambda: interactions(archive, board, cycle, ()),
        "differences of a cycle": lambda: archive.query(
            "paired_differences", candidates=[newest], **{**board, "rung": 2}
        ),
        "failures of a cycle": lambda: failures(archive, cycle, SUITE, TRAINER),
        "mechanisms that fail": lambda: prone_to_fail(archive, cycle, SUITE, TRAINER),
        "recording 12 trials": lambda: record(archive, newest),
    }


def record(archive: Archive, candidate_id: str) -> None:
    """Record a first rung of a candidate as the training stage does, under new seeds."""
    seed = time.monotonic_ns() % 1_000_000
    ids = []
    for task in STANDARD.tasks:
        for rate in STANDARD.learning_rates:
            spec = TrialSpec(
                candidate_id=candidate_id,
                suite=SUITE,
                task=task.name,
                rung=0,
                seed=seed,
                learning_rate=rate,
                trainer=TRAINER,
            )
            folder = archive.path.parent / "trials" / spec.trial_id
            folder.mkdir(parents=True)
            trial = Trial(spec=spec, status="ok", score=0.5)
            (folder / "result.json").write_text(trial.model_dump_json())
            ids.append(spec.trial_id)
    archive.record_trials(archive.path.parent / "trials", ids)


def measured(path: Path, count: int, name: str, repeats: int) -> dict[str, float]:
    """Return milliseconds of the calls, the first left out, and the peak of the process in MB."""
    ask = questions(path, count)[name]
    ask()  # imports, and the pages of the file
    times, used = [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        ask()
        times.append(1_000 * (time.perf_counter() - start))
        used.append(1_000 * (time.process_time() - cpu))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    cpu = measuring.spread(used)["median"]
    return {**measuring.spread(times), "cpu": cpu, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    facts = measuring.facts()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noctuary.duckdb"
        seconds = make(path, arguments.trials)
        size = path.stat().st_size / 2**20
        count = arguments.trials // TRIALS_A_DESIGN
        names = list(questions(path, count))
        found = {}
        spawned = multiprocessing.get_context("spawn")
        for name in names:
            with spawned.Pool(1) as pool:  # a process each, for its own peak of memory
                found[name] = pool.apply(measured, (path, count, name, arguments.repeats))
    rows = [
        (
            name,
            f"{one['median']:.0f}",
            f"{one['low']:.0f} to {one['high']:.0f}",
            f"{one['cpu']:.0f}",
            f"{one['peak_mb']:.0f}",
            _verdict(name, one),
        )
        for name, one in found.items()
    ]
    about = (
        f"{arguments.trials:,} trials of {count:,} candidates, {size:.0f} MiB on disk; counting "
        f"all standings anew took {seconds:.1f} s."
    )
    table = measuring.markdown(("question", "ms", "of all", "CPU ms", "peak MiB", "goal"), rows)
    result = {"facts": facts, "trials": arguments.trials, "rebuild_s": seconds, "found": found}
    measuring.report(
        f"The archive with {arguments.trials:,} trials (goal: {GOAL_MS} ms, {GOAL_MB:,} MB)",
        json.loads(json.dumps(result)),
        f"{about}\n\n{table}",
        as_json=arguments.json,
        record=arguments.record,
    )


def _verdict(name: str, one: dict[str, float]) -> str:
    if one["peak_mb"] * 2**20 / 1e6 > GOAL_MB:
        return "missed: memory"
    if name in WITH_GOAL:
        return "met" if one["median"] < GOAL_MS else "missed"
    return ""


if __name__ == "__main__":
    main()

"""The measured table of designs as a Parquet file: its columns, writing it and reading it.

Covers the file alone: `space_table.py` measures what is in it, and says how in a protocol beside
it. Any DuckDB client reads it too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import measuring
import numpy as np
from numpy.typing import NDArray

from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES

Floats = NDArray[np.float64]

DATA = measuring.ROOT / "data" / "space"
TABLE, PROTOCOL = "trials.parquet", "protocol.json"
METRICS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "learning": "learning",
    "state_floats": "state_size",  # of the same name as an axis
    "flops_per_token": "flops_per_token",
}
"""column -> metric of a trial."""

COLUMNS = {
    "number": "INTEGER",
    "origin": "VARCHAR",
    **dict.fromkeys(AXES, "VARCHAR"),
    "task": "VARCHAR",
    "rung": "INTEGER",
    "seed": "INTEGER",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "score": "DOUBLE",
    **dict.fromkeys(METRICS, "DOUBLE"),
    "parameters": "INTEGER",
    "seconds": "DOUBLE",
    "candidate_id": "VARCHAR",
    "trial_id": "VARCHAR",
}
"""column -> type. A design that the audit refused has a row for each task, without a trial."""


class Table(NamedTuple):
    """The designs of the table that have a score on every task of the first rung, and noise.

    Attributes:
        tasks: in the order of the columns of `scores`.
        scores: (n, tasks) of the first seed.
        noise: (m, tasks) what a seed adds to a design's mean over the seeds, of those designs
            that have several, scaled so that its variance is that of one seed.
        later: (k, 2) mean over the tasks on the first rung and on the second one.
        failed: designs without a score on every task.
    """

    tasks: tuple[str, ...]
    genomes: tuple[Genome, ...]
    scores: Floats
    noise: Floats
    later: Floats
    failed: int


def read_table(folder: Path = DATA) -> Table:
    """Return the measured table.

    Raises:
        duckdb.IOException: there is none in this folder.
    """
    with duckdb.connect() as connection:
        axes = ", ".join(f'"{axis}"' for axis in AXES)
        found = connection.execute(
            f"SELECT number, rung, seed, task, score, {axes} FROM read_parquet(?) "
            "ORDER BY number, rung, seed, task",
            [str(folder / TABLE)],
        ).fetchall()
    tasks = tuple(sorted({row[3] for row in found}))
    genomes = {
        row[0]: Genome.model_validate(dict(zip(AXES, row[5:], strict=True))) for row in found
    }
    scores: dict[tuple[int, int], dict[int, dict[str, float]]] = {}  # (number, rung), seed, task
    for number, rung, seed, task, score, *_ in found:
        if score is not None:
            scores.setdefault((number, rung), {}).setdefault(seed, {})[task] = score
    complete = {
        key: {seed: [s[t] for t in tasks] for seed, s in by.items() if len(s) == len(tasks)}
        for key, by in scores.items()
    }
    first = {number: by[0] for (number, rung), by in complete.items() if rung == 0 and 0 in by}
    repeated = [np.array(list(by.values())) for by in complete.values() if len(by) > 1]
    later = [
        (np.mean(list(complete[number, 0].values())), np.mean(list(by.values())))
        for (number, rung), by in complete.items()
        if rung == 1 and by and number in first
    ]
    return Table(
        tasks=tasks,
        genomes=tuple(genomes[number] for number in first),
        scores=np.array(list(first.values())),
        noise=np.vstack(
            [
                np.zeros((0, len(tasks))),
                *((by - by.mean(0)) * np.sqrt(len(by) / (len(by) - 1)) for by in repeated),
            ]
        ),
        later=np.array(later).reshape(-1, 2),
        failed=len(genomes) - len(first),
    )


def write_table(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the rows as one Parquet file; what a row does not say is null."""
    with duckdb.connect() as connection:
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        connection.execute(f"CREATE TABLE trials ({columns})")
        connection.executemany(
            f"INSERT INTO trials VALUES ({', '.join('?' * len(COLUMNS))})",
            [[row.get(name) for name in COLUMNS] for row in found],
        )
        connection.execute(
            "COPY (FROM trials ORDER BY number, rung, seed, task) TO ? "
            "(FORMAT parquet, COMPRESSION zstd)",
            [str(path)],
        )

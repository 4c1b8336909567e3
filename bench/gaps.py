"""How long a question and 64 proposals take with 100,000 trials in the archive: `python` this file.

An archive of designs that were drawn from the space, with made-up scores: each mechanism has an
effect on each task, and each trial its noise (from one seed). All designs have every trial of the
first rung, so 100,000 trials are some 8,300 designs. Papers and insights are the shipped ones.
Then a process of its own does what a cycle does: reads the archive, ranks the questions, reads
the history and proposes. Several times, each with the archive closed before.

Covers no rendering and no recording. Exit status 1: the median is over the goal, or the memory.
"""

import argparse
import csv
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import measuring
import numpy as np

from noctuary.archive import Archive
from noctuary.archive.connection import opened
from noctuary.archive.standings import rebuild
from noctuary.bench.suite import STANDARD
from noctuary.candidates import human_genomes
from noctuary.config import SearchSettings, TrainingSettings
from noctuary.designing import seeded
from noctuary.domain import Candidate, Cycle, Design, Gap, Insight, Paper
from noctuary.effects import literature_prior
from noctuary.gap import synthesise_gap
from noctuary.knowledge import Knowledge
from noctuary.lab import shipped
from noctuary.literature.snapshot import read_snapshot
from noctuary.plan import first_rung, trainer_of
from noctuary.search.history import History
from noctuary.search.novelty import Novelty
from noctuary.search.pipeline import search_by
from noctuary.space.features import MECHANISMS, encoded
from noctuary.space.human import HUMAN
from noctuary.space.operators import draw

GOAL_SECONDS, GOAL_MB = 1.0, 1000.0
PROPOSALS = 64
A_CYCLE = 4
"""Designs of a cycle."""
NOISE, EFFECT_SD = 0.03, 0.03
COLUMNS = ("trial_id", "candidate_id", "task", "seed", "rate", "score")
TRIALS = """
INSERT INTO trials BY NAME
SELECT trial_id, candidate_id, $suite AS suite, task, 0 AS rung, seed, $trainer AS trainer,
    'ok' AS status, '' AS reason, score, '{}' AS metrics, 100000 AS parameters, 100 AS steps,
    51200 AS tokens, '{}' AS environment, '{}' AS seconds, 100.0 AS peak_memory_mb,
    TIMESTAMP '2026-01-01' AS recorded_at, '' AS digest, rate AS learning_rate
FROM read_csv($path, header = true)
"""
T = TypeVar("T")
SETTINGS = TrainingSettings(device="cpu")


def build(path: Path, trials: int, seed: int) -> None:
    """Make an archive with so many trials, and the designs that they are of."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    number = trials // (len(STANDARD.tasks) * len(STANDARD.learning_rates)) - len(HUMAN)
    genomes = {draw(rng)[0]: None for _ in range(number)}
    designs = [
        Design(
            design_id=f"{place:064x}",
            name=f"design-{place}",
            axes=genome.axes,
            source="",
            motivation="",
            move="draw",
            operator="drawn",
            parents=(),
            gap_id="",
            findings=(),
            cycle=1 + place // A_CYCLE,
        )
        for place, genome in enumerate(genomes)
    ]
    humans = [
        Candidate(
            candidate_id=f"human-{name}", name=name, kind="human", axes=genome.axes, path=name
        )
        for name, genome in HUMAN.items()
    ]
    archive = Archive(path)
    archive.record_candidates(humans)
    archive.record_designs(designs)
    points = encoded([*HUMAN.values(), *genomes])
    ids = [*(human.candidate_id for human in humans), *(one.design_id for one in designs)]
    effects = noise.normal(0, EFFECT_SD, (len(STANDARD.tasks), len(MECHANISMS)))
    level = dict(zip([t.name for t in STANDARD.tasks], 0.4 + effects @ points.T, strict=True))
    rows = path.with_suffix(".csv")
    with rows.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        for place, candidate in enumerate(ids):
            for spec in first_rung(candidate, STANDARD, STANDARD.tasks, trainer_of(SETTINGS)):
                score = level[spec.task][place] + NOISE * rng.gauss(0, 1)
                writer.writerow(
                    [spec.trial_id, candidate, spec.task, spec.seed, spec.learning_rate, score]
                )
    place = {"suite": STANDARD.version, "trainer": trainer_of(SETTINGS), "path": str(rows)}
    with opened(path, read_only=False, patience=30, sleep=time.sleep, told=print) as connection:
        connection.execute(TRIALS, place)
        rebuild(connection)


def propose(
    cycle: Cycle, history: History, gap: Gap, papers: Sequence[Paper], insights: Sequence[Insight]
) -> int:
    """Return how many proposals the search makes, as `designing.make_designs` asks it."""
    prior = np.mean([literature_prior(insights, t.capability) for t in STANDARD.tasks], axis=0)
    novelty = Novelty(history, papers, human_genomes())
    rng = seeded(cycle, "proposals")
    search = search_by(SearchSettings())
    return len(
        search.propose(history, PROPOSALS, rng, gap=gap, prior=prior, novelty=novelty).proposals
    )


def measure(path: Path, repeats: int) -> dict[str, Any]:
    """Return seconds by what was done, the counts behind them, and the memory in MB."""
    archive, clock = Archive(path), measuring.Clock()
    papers, insights = read_snapshot(shipped("data/snapshot") / "papers.json")
    last = archive.records("designs", design_id=f"{0:064x}")  # the archive is there and open
    cycle = Cycle(number=10**6 + len(last), seed=0, settings="")
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in range(repeats + 1):
        knowledge = Knowledge(archive, cycle, SETTINGS)
        known = clock.time("read what was measured", lambda k=knowledge: k.known(papers, insights))
        gap = clock.time(
            "rank the questions",
            lambda k=known: synthesise_gap(k, cycle=cycle.number, rng=seeded(cycle, "gap")),
        )
        history = clock.time("read the history", knowledge.history)

        proposals = clock.time(
            f"propose {PROPOSALS}",
            lambda h=history, g=gap: propose(cycle, h, g, papers, insights),
        )
    first = {name: times[0] for name, times in clock.wall.items()}
    return {
        "wall": {name: times[1:] for name, times in clock.wall.items()},
        "cpu": {name: times[1:] for name, times in clock.cpu.items()},
        "first": first,
        "designs": len(history.attempts),
        "proposals": proposals,
        "gap": gap.question,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "memory_before_mb": base,
    }


def table(result: dict[str, Any]) -> str:
    rows = [
        [
            name,
            *(f"{statistics.median(result[kind][name]):.2f} s" for kind in ("wall", "cpu")),
            f"{first:.2f} s",
        ]
        for name, first in result["first"].items()
    ]
    sums = total(result, "wall"), total(result, "cpu"), sum(result["first"].values())
    rows.append(["together", *(f"{seconds:.2f} s" for seconds in sums)])
    head = ["what", "median", "of the CPU", "the first time, with imports"]
    return (
        f"{measuring.markdown(head, rows)}\n\n{result['designs']:,} candidates, "
        f"{result['proposals']} proposals; at most {result['memory_mb']:.0f} MB, of which "
        f"{result['memory_before_mb']:.0f} MB before (goal: together under {GOAL_SECONDS:g} s, "
        f"under {GOAL_MB:.0f} MB)."
    )


def total(result: dict[str, Any], kind: str) -> float:
    """Return the median seconds of a whole round."""
    return statistics.median(map(sum, zip(*result[kind].values(), strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="made if it is missing, and kept")
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()
    about = measuring.facts()
    spawned = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        # each in a process of its own: the memory of making is not that of asking
        ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool,
    ):
        path = asked.archive or Path(folder) / "noctuary.duckdb"
        if not path.exists():
            pool.submit(build, path, asked.trials, asked.seed).result()
        result = {"facts": about, **pool.submit(measure, path, asked.repeats).result()}
    title = f"A question and {PROPOSALS} proposals, {asked.trials:,} trials in the archive"
    measuring.report(title, result, table(result), as_json=asked.json, record=asked.record)
    return 0 if total(result, "wall") < GOAL_SECONDS and result["memory_mb"] < GOAL_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())

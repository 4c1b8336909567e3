"""Holds whole searches against each other: how many trials until the top 1 % of the space?

    python bench/search.py                        # all searches, on the oracle and on the table
    python bench/search.py --first-seed 1000      # for tuning: seeds that no report uses

Each search runs 200 times, on the landscapes of `oracle.py`, in batches of four designs as a
cycle has them. All of them start from the same human baselines with the same scores, see the same
noise, and are judged by the scores without it. Repetition n of one search has the seed of
repetition n of every other, so that they are compared in pairs. A repetition that has not got
there by the last trial counts as that many trials, which flatters the slow ones.

Covers the runs and their comparison; who takes part is in `searchers.py`. No design is trained.
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random

os.environ["OMP_NUM_THREADS"] = "1"

import measuring
import numpy as np
from comparing import Comparison, compared, draw_figure, tables
from oracle import Landscape, Measured, Oracle
from searchers import REFERENCE, SEARCHERS, Searcher, Suggestion
from table import DATA, Floats, read_table

from noctuary.candidates import BASELINES
from noctuary.lab import write_atomically
from noctuary.search.history import Attempt, History
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.space.operators import draw
from noctuary.space.tuned import TUNED

REPETITIONS, TRIALS, BATCH = 200, 80, 4
TOGETHER = 50
"""Repetitions that go side by side in a process."""
DRAWS = 50_000
"""Uniform draws of the space of which the oracle's top is taken."""


# Running them


class Repetition:
    """One search under way, from the human baselines on."""

    def __init__(self, landscape: Landscape, searcher: Searcher, seed: int) -> None:
        self.landscape = landscape
        self.searcher = searcher
        self.rng = Random(seed)
        self.noise = np.random.default_rng(seed)
        self.attempts: list[Attempt] = []
        self.values: list[float] = []
        for name, genome in baselines().items():
            self._record(Suggestion(genome, "draw"), landscape.scores([genome])[0], 0, name)

    def suggest(self, cycle: int) -> list[Suggestion]:
        history = History(self.attempts)
        wanted = self.searcher(history, cycle, BATCH, self.rng)
        seen = {attempt.genome for attempt in self.attempts if attempt.genome is not None}
        tried = self.landscape.settle([suggestion.genome for suggestion in wanted], seen)
        return [one._replace(genome=genome) for one, genome in zip(wanted, tried, strict=True)]

    def learn(self, tried: Sequence[Suggestion], scores: Floats, cycle: int) -> None:
        """Record a batch; scores (batch, tasks) are those without noise."""
        for suggestion, row in zip(tried, scores, strict=True):
            self._record(suggestion, row, cycle)
            self.values.append(float(row.mean()))

    def _record(self, suggestion: Suggestion, scores: Floats, cycle: int, human: str = "") -> None:
        [noise] = self.landscape.noise(1, self.noise)
        observed = scores + noise
        name = human or f"t{len(self.values):04d}"
        self.attempts.append(
            Attempt(
                candidate_id=name,
                name=name,
                kind="human" if human else "design",
                genome=suggestion.genome,
                score=float(observed.mean()),
                tasks=dict(zip(self.landscape.tasks, map(float, observed), strict=True)),
                parents=suggestion.parents,
                move=None if human else suggestion.move,
                cycle=cycle,
            )
        )


def baselines() -> dict[str, Genome]:
    """Return the human mixers that every cycle trains beside its designs."""
    known = HUMAN | {form.name: form.genome for form in TUNED}
    return {name: known[name] for name in BASELINES if name in known}


def run(name: str, landscape: Landscape, seeds: Sequence[int], trials: int) -> Floats:
    """Return the score without noise of each trial of each repetition, (repetitions, trials).

    The repetitions go side by side, so that a landscape is asked about many designs at once.
    """
    repetitions = [Repetition(landscape, SEARCHERS[name](), seed) for seed in seeds]
    for cycle in range(1, trials // BATCH + 1):
        batches = [repetition.suggest(cycle) for repetition in repetitions]
        scores = landscape.scores([one.genome for batch in batches for one in batch])
        for n, (repetition, batch) in enumerate(zip(repetitions, batches, strict=True)):
            repetition.learn(batch, scores[n * BATCH : (n + 1) * BATCH], cycle)
    return np.array([repetition.values for repetition in repetitions])


def landscapes(folder: Path) -> dict[str, Landscape]:
    """Return the oracle, and the table by itself."""
    table, rng = read_table(folder), Random(0)
    return {
        "oracle": Oracle(table, [draw(rng)[0] for _ in range(DRAWS)]),
        "table": Measured(table),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", type=Path, default=DATA, help="folder of the measured table")
    parser.add_argument("--searches", nargs="+", default=list(SEARCHERS), choices=SEARCHERS)
    parser.add_argument("--on", nargs="+", default=["oracle", "table"])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=measuring.cores())
    parser.add_argument("--figure", type=Path, help="where to draw the comparison on the oracle")
    parser.add_argument("--out", type=Path, help="where to keep all numbers, as JSON")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    about = measuring.facts()
    known = landscapes(asked.table)
    seeds = range(asked.first_seed, asked.first_seed + asked.repetitions)
    searches = list(dict.fromkeys([REFERENCE, *asked.searches]))  # it is needed for the ratios
    parts = [seeds[at : at + TOGETHER] for at in range(0, len(seeds), TOGETHER)]
    found: dict[str, Comparison] = {}
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("fork")) as processes:
        for place in asked.on:
            runs = {
                name: [
                    processes.submit(run, name, known[place], part, asked.trials) for part in parts
                ]
                for name in searches
            }
            values = {
                name: np.concatenate([one.result() for one in of_search])
                for name, of_search in runs.items()
            }
            found[place] = compared(values, known[place].targets)
    if asked.figure:
        draw_figure(found["oracle"], asked.figure)
    result = {"facts": about, "seeds": [seeds.start, seeds.stop - 1], **found}
    if asked.out:
        write_atomically(asked.out, json.dumps(result))
    measuring.report(
        f"Searches until the top 1 % of the space, {asked.repetitions} repetitions of "
        f"{asked.trials} trials, seeds {seeds.start} to {seeds.stop - 1} (goal: the default at "
        "most a third of random search)",
        result,
        "\n\n".join(f"On the {place}: {tables(one)}" for place, one in found.items()),
        as_json=asked.json,
        record=asked.record,
    )


if __name__ == "__main__":
    main()

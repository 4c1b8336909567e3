"""What the rungs save, and what they lose: `python bench/rungs.py --lab DIR`.

Trains human mixers and random points of the design space on every rung of the suite, as if
nobody were ever sent home, and then replays the ladder on those scores: who would have been
promoted, how many optimiser steps that takes against training everybody to the end, and whether
one of the final best would have been lost. The replay is exact: trials of a rung do not depend
on who else is there. Finished trials of the lab are used, and a killed run goes on.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import measuring
from scipy.stats import spearmanr

from noctuary.bench.rungs import promoted
from noctuary.bench.suite import Suite
from noctuary.candidates import REFERENCE, file_candidate, human_candidates, human_names
from noctuary.config import SearchSettings, TrainingSettings
from noctuary.domain import Candidate
from noctuary.evaluation import Evaluated, evaluate
from noctuary.journal import Journal
from noctuary.lab import Lab, write_atomically
from noctuary.plan import rung_seeds, suite_of
from noctuary.report.panel import task_scores
from noctuary.sandbox.launcher import Launcher, usable_cores
from noctuary.space.naming import design_name
from noctuary.space.operators import draw
from noctuary.space.render import render
from noctuary.trials import Workshop

BEST = 5
KEEPS = ((0.8, 0.5), (0.8, 0.6), (0.5, 0.5), (0.5, 0.25), (0.25, 0.5))


def random_designs(lab: Lab, count: int, seed: int) -> list[Candidate]:
    """Return random points of the design space as candidates, written into the lab."""
    folder = lab.root / "random"
    folder.mkdir(exist_ok=True)
    made = []
    rng = random.Random(seed)
    for genome in (draw(rng)[0] for _ in range(count)):
        path = folder / f"{design_name(genome)}.py"
        source = render(genome, name=path.stem, idea="A random point of the space.", sources=[])
        write_atomically(path, source)
        made.append(file_candidate(lab, path))
    return made


def scores_on(everyone: Sequence[Evaluated], tasks: int) -> dict[str, float]:
    """Return name -> mean over the tasks, of those that have them all."""
    found = {one.candidate.name: task_scores(one) for one in everyone}
    return {name: fmean(s.values()) for name, s in found.items() if len(s) == tasks}


def replay(
    suite: Suite, scores: Sequence[Mapping[str, float]], keep: Sequence[float], seeds: int
) -> tuple[int, list[str]]:
    """Return the steps a task of the ladder, and who reaches the last rung.

    Args:
        scores: for each rung, name -> score.
    """
    climbing = sorted(scores[0])
    steps = len(climbing) * len(suite.learning_rates) * suite.rungs[0].steps
    for rung in range(1, len(suite.rungs)):
        standing = {name: scores[rung - 1][name] for name in climbing}
        climbing = list(promoted(standing, keep[rung - 1], climbing))
        attempts = seeds if rung == suite.top else 1
        steps += len(climbing) * attempts * suite.rungs[rung].steps
    return steps, climbing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--designs", type=int, default=12, help="random designs")
    parser.add_argument("--seeds", type=int, default=3, help="on the last rung")
    parser.add_argument("--suite", default=TrainingSettings().suite)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    lab = Lab.create_or_open(asked.lab)
    settings = TrainingSettings(suite=asked.suite, seeds=asked.seeds, device="cpu")
    suite = suite_of(settings)
    about = measuring.facts()
    humans = human_candidates(lab, [name for name in human_names() if name != REFERENCE])
    candidates = [*humans, *random_designs(lab, asked.designs, seed=0)]
    scores: list[dict[str, float]] = []
    with lab.lock(), Launcher(usable_cores(), lab.logs / "launcher.log") as launcher:
        workshop = Workshop(lab, settings, launcher, Journal(lab.journal_path))
        for rung in range(len(suite.rungs)):
            everyone = evaluate(
                workshop,
                candidates,
                suite.tasks,
                rung=rung,
                seeds=rung_seeds(suite, rung, asked.seeds),
                told=lambda line: print(line, flush=True),
            )
            scores.append(scores_on(everyone, len(suite.tasks)))
    complete = set.intersection(*(set(found) for found in scores))
    scores = [{name: found[name] for name in sorted(complete)} for found in scores]
    final = sorted(complete, key=lambda name: -scores[-1][name])
    attempts = len(suite.learning_rates) + asked.seeds
    everybody = len(complete) * attempts * suite.rungs[suite.top].steps
    rows, results = [], []
    for keep in KEEPS:
        steps, reached = replay(suite, scores, keep, asked.seeds)
        lost = [name for name in final[:BEST] if name not in reached]
        results.append({"keep": keep, "saved": everybody / steps, "lost": lost})
        rows.append(
            [
                ", ".join(f"{share:g}" for share in keep)
                + (" (the default)" if keep == SearchSettings().keep else ""),
                f"{len(reached)} of {len(complete)}",
                f"{everybody / steps:.1f}x",
                ", ".join(lost) or "none",
            ]
        )
    correlations = [
        float(spearmanr([found[n] for n in final], [scores[-1][n] for n in final])[0])
        for found in scores[:-1]
    ]
    table = measuring.markdown(
        ["keep on each rung", "reach the last", "steps saved", f"lost of the final best {BEST}"],
        rows,
    )
    ranks = "; ".join(
        f"rung {n} ({suite.rungs[n].steps} steps) and the last: {rho:.2f}"
        for n, rho in enumerate(correlations)
    )
    best = ", ".join(f"{name} {scores[-1][name]:.3f}" for name in final[:BEST])
    measuring.report(
        f"The rungs of {suite.version}, {len(complete)} mixers, {asked.seeds} seeds at the end "
        "(goal: 4x saved, none of the best five lost)",
        {
            "facts": about,
            "ladder": results,
            "rank_correlation": correlations,
            "final": {name: scores[-1][name] for name in final},
        },
        f"{table}\n\nSpearman's rank correlation, {ranks}. The final best: {best}.",
        as_json=asked.json,
        record=asked.record,
    )


if __name__ == "__main__":
    main()

"""How many trials a machine gets through, and what a trial spends its time on: run this file.

The same trials, with other seeds, run through the launcher of every night: one at a time, and
as many at a time as there are cores, in turns. The gain is the ratio of trials a second; the
share of training is the time in `Trainer.fit` over the time from fork to end. Covers warm
workers only: the first trial of each launcher is not counted.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import measuring

from noctuary.bench.suite import Suite
from noctuary.candidates import human_candidates
from noctuary.config import TrainingSettings
from noctuary.domain import Candidate, Trial
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.plan import later_rung, suite_of, trainer_of
from noctuary.sandbox.launcher import Launcher
from noctuary.trials import Workshop

MIXERS = ("delta_net", "softmax_attention")


def run_trials(workshop: Workshop, candidate: Candidate, width: int, seeds: range) -> list[Trial]:
    """Run one trial a seed on the first task, on the last rung."""
    suite: Suite = suite_of(workshop.settings)
    specs = later_rung(
        candidate.candidate_id,
        suite,
        suite.top,
        seeds,
        {suite.tasks[0].name: suite.learning_rates[0]},
        trainer_of(workshop.settings),
    )
    with ThreadPoolExecutor(workshop.launcher.slots) as threads:
        list(threads.map(lambda spec: workshop.train(candidate, width, [spec]), specs))
    return [workshop.read(spec) for spec in specs]


def measure(name: str, slots: int, rounds: int, settings: TrainingSettings) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab.create_or_open(Path(folder) / "lab")
        [candidate] = human_candidates(lab, [name])
        with (
            Launcher(1, lab.logs / "one.log") as one,
            Launcher(slots, lab.logs / "all.log") as several,
        ):
            shops = {
                count: Workshop(lab, settings, launcher, Journal(lab.journal_path))
                for count, launcher in ((1, one), (slots, several))
            }
            width = shops[1].audit(candidate, suite_of(settings).version, 0).ffn_width or 0
            trials: list[Trial] = []
            rates: dict[int, list[float]] = {1: [], slots: []}
            seed = 0
            for turn in range(rounds + 1):
                for count, workshop in shops.items():
                    seeds = range(seed, seed + 2 * count)
                    seed = seeds.stop
                    begin = time.monotonic()
                    done = run_trials(workshop, candidate, width, seeds)
                    if turn:  # the first round warms the launchers up
                        rates[count].append(len(seeds) / (time.monotonic() - begin))
                        trials += done if count == 1 else []
    gains = [many / alone for alone, many in zip(rates[1], rates[slots], strict=True)]
    return {
        "mixer": name,
        "seconds": measuring.spread([trial.seconds["total"] for trial in trials]),
        "training": measuring.spread(
            [trial.seconds["train"] / trial.seconds["total"] for trial in trials]
        ),
        "gain": measuring.spread(gains),
        "per_core_hour": 3600 * statistics.median(rates[slots]) / slots,
        "peak_memory_mb": max(trial.peak_memory_mb or 0 for trial in trials),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixers", nargs="*", default=MIXERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suite", default=TrainingSettings().suite)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    about = measuring.facts()
    settings = TrainingSettings(suite=asked.suite, device="cpu")
    suite, slots = suite_of(settings), measuring.cores()
    results = [measure(name, slots, asked.rounds, settings) for name in asked.mixers]
    rows = [
        [
            result["mixer"],
            f"{result['seconds']['median']:.2f} s",
            _span(result["training"], "{:.1%}"),
            _span(result["gain"], "{:.2f}x"),
            f"{result['per_core_hour']:.0f}",
            f"{result['peak_memory_mb']:.0f} MB",
        ]
        for result in results
    ]
    head = ["mixer", "a trial", "of it training", f"{slots} at once, against one"]
    head += ["trials a core-hour", "peak memory"]
    measuring.report(
        f"Throughput of {suite.version}, {suite.tasks[0].name}, "
        f"{suite.rungs[suite.top].steps} steps (goals: 95 % training in a trial of 10 s, 1.9x)",
        {"facts": about, "mixers": results},
        measuring.markdown(head, rows),
        as_json=asked.json,
        record=asked.record,
    )


def _span(found: dict[str, float], form: str) -> str:
    return (
        f"{form.format(found['median'])} ({form.format(found['low'])} to "
        f"{form.format(found['high'])})"
    )


if __name__ == "__main__":
    main()

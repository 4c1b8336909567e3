"""What Lightning's Trainer costs over a bare loop on the same model: `python` this file.

Both train the same model on the same batches with the same optimiser, schedule and clipping, in
one process on one thread. They take turns, and the one that begins changes from pair to pair,
so that a change of the machine's speed hits both. The overhead is that of the fastest run of
each side, with the median and the range of the pairs beside it. The Trainer is that of a trial
(`training.trial.make_trainer`); its side also writes the learning curve, the bare loop does not.
The losses of both must be equal to the last bit, or the comparison fails with status 1.

Covers `fit`, its set-up included. Does not cover importing Lightning (the warm worker pays that
once), evaluation, or what the sandbox costs. On a busy machine the numbers mean little, in
CPU time too: neighbours take the caches and the clock.
"""

import argparse
import dataclasses
import gc
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import measuring
import torch

from noctuary.bench.suite import ModelShape, Rung, suite_by_name
from noctuary.bench.tasks import Task
from noctuary.lab import shipped
from noctuary.training.model import build_model, load_mixer, solve_ffn_width
from noctuary.training.module import MixerTrainer, TokenBatches
from noctuary.training.trial import make_trainer
from noctuary.training.watch import Pace, Watch

GOAL = 0.05
RATE = 5e-3
MIXERS = ("softmax_attention", "linear_attention", "gated_delta_net")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What both sides train."""

    mixer_class: type[torch.nn.Module]
    shape: ModelShape
    task: Task
    rung: Rung
    ffn_width: int

    def fresh(self) -> tuple[MixerTrainer, TokenBatches]:
        model = build_model(
            self.mixer_class, self.shape, self.task.vocab_size, self.ffn_width, seed=0
        )
        rung = self.rung
        batch_size = rung.tokens_per_step // self.task.length
        inputs, targets = self.task.sequences(rung.steps * batch_size, 0, "train")
        module = MixerTrainer(
            model, steps=rung.steps, weight_decay=rung.weight_decay, learning_rate=RATE
        )
        return module, TokenBatches(inputs, targets, batch_size)


@dataclasses.dataclass(frozen=True)
class Side:
    """One training run: its seconds and, step by step, its losses."""

    wall: float
    cpu: float
    losses: list[float]


def with_lightning(setting: Setting) -> Side:
    module, data = setting.fresh()
    with tempfile.TemporaryDirectory() as folder:
        pace = Pace(setting.rung.steps, 3600.0, time.monotonic, time.monotonic())
        watch = Watch(Path(folder) / "curve.csv", pace, knowing_nothing=math.inf)
        trainer = make_trainer("cpu", Path(folder), [watch])
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.fit(module, train_dataloaders=data)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        watch.close()
    return Side(wall, cpu, module.losses.tolist())


def with_bare_loop(setting: Setting) -> Side:
    module, data = setting.fresh()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    module.optimiser = module.configure_optimizers()
    module.train()
    for index, batch in enumerate(data):
        module.training_step(batch, index)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Side(wall, cpu, module.losses.tolist())


def compare(setting: Setting, pairs: int) -> dict[str, Any]:
    """Return the overhead of Lightning as shares of the bare loop, over pairs of runs."""
    short = dataclasses.replace(setting, rung=dataclasses.replace(setting.rung, steps=3))
    with_lightning(short)
    with_bare_loop(short)
    sides: list[tuple[Side, Side]] = []
    for pair in range(pairs):
        if pair % 2:
            bare, full = with_bare_loop(setting), with_lightning(setting)
        else:
            full, bare = with_lightning(setting), with_bare_loop(setting)
        sides.append((full, bare))
    steps = setting.rung.steps
    fastest = {
        clock: [min(getattr(pair[side], clock) for pair in sides) for side in (0, 1)]
        for clock in ("wall", "cpu")
    }
    return {
        # whatever else the machine did only ever slowed a run down
        "overhead_wall": fastest["wall"][0] / fastest["wall"][1] - 1,
        "overhead_cpu": fastest["cpu"][0] / fastest["cpu"][1] - 1,
        "overhead_wall_of_pairs": measuring.spread(
            [full.wall / bare.wall - 1 for full, bare in sides]
        ),
        "bare_step_ms": 1e3 * fastest["wall"][1] / steps,
        "added_step_ms": 1e3 * (fastest["wall"][0] - fastest["wall"][1]) / steps,
        "losses_equal": all(
            full.losses == bare.losses and len(bare.losses) == steps for full, bare in sides
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suite", default="standard-2")
    parser.add_argument("--task", help="task of the suite (default: its first)")
    parser.add_argument("--mixers", nargs="+", default=list(MIXERS), help="human baselines")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each side")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: the suite's)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    torch.set_num_threads(1)
    suite = suite_by_name(asked.suite)
    task = suite.task(asked.task) if asked.task else suite.tasks[0]
    rung = dataclasses.replace(suite.rungs[0], steps=asked.steps or suite.rungs[0].steps)
    results = {}
    for name in asked.mixers:
        mixer_class = load_mixer(shipped("architectures") / "human" / f"{name}.py")
        width, _ = solve_ffn_width(mixer_class, suite.shape)
        results[name] = compare(Setting(mixer_class, suite.shape, task, rung, width), asked.pairs)

    table = measuring.markdown(
        ["mixer", "overhead", "in CPU time", "wall, pair by pair", "bare step", "adds", "losses"],
        [
            [
                name,
                f"{one['overhead_wall']:+.1%}",
                f"{one['overhead_cpu']:+.1%}",
                "{median:+.1%} ({low:+.1%} to {high:+.1%})".format(**one["overhead_wall_of_pairs"]),
                f"{one['bare_step_ms']:.1f} ms",
                f"{one['added_step_ms']:.2f} ms",
                "equal" if one["losses_equal"] else "DIFFER",
            ]
            for name, one in results.items()
        ],
    )
    title = (
        f"Lightning against a bare loop, {suite.version}, {task.name}, {rung.steps} steps, "
        f"{asked.pairs} pairs (goal: under {GOAL:.0%})"
    )
    result = {"facts": about, "goal": GOAL, "mixers": results}
    measuring.report(title, result, table, as_json=asked.json, record=asked.record)
    return 0 if all(one["losses_equal"] for one in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""What portable arithmetic costs, and whether trainings are equal to the bit: run this file.

Each human mixer is trained by the fast arithmetic and by the portable one, in turns, and each
again in another process: a replay. The second portable one is started with variables that ask
for another instruction set, which it must not heed. Then fast trainings under the instruction
sets of lesser processors say how far apart two processors may get. Covers one machine, which can
only pretend to be others; does not cover what MKL does on a processor of another vendor.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import measuring

from noctuary.assignment import Assignment
from noctuary.bench.suite import Suite, suite_by_name
from noctuary.candidates import human_candidates, human_names
from noctuary.config import Arithmetic, TrainingSettings
from noctuary.distance import Distance, distance
from noctuary.domain import Candidate, TrialSpec
from noctuary.jobs import JobRunner
from noctuary.lab import Lab
from noctuary.plan import trainer_of
from noctuary.replay import Training, train
from noctuary.sandbox.launcher import Launcher
from noctuary.training.model import load_mixer, solve_ffn_width
from noctuary.trial_jobs import TrialJobs

OTHER_SETS = ("avx2", "default")
"""Instruction sets that torch takes where it is told to."""

MISLEADING = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AVX2"}


class Trained(NamedTuple):
    training: Training
    cpu_seconds: float


class Side:
    """A launcher of its own, and trainings in it."""

    def __init__(
        self, folder: Path, arithmetic: Arithmetic, variables: Mapping[str, str], suite: Suite
    ) -> None:
        self.lab = Lab.create_or_open(folder)
        self.suite = suite
        self.settings = TrainingSettings(suite=suite.name, device="cpu", trial_timeout=3600.0)
        self.trainer = trainer_of(self.settings, arithmetic)
        with _variables(variables):
            self.launcher = Launcher(1, self.lab.logs / "launcher.log", arithmetic=arithmetic)

    def train(self, candidate: Candidate, ffn_width: int, task: str, rung: int) -> Trained:
        spec = TrialSpec(
            candidate_id=candidate.candidate_id,
            suite=self.suite.version,
            task=task,
            rung=rung,
            seed=0,
            learning_rate=self.suite.learning_rates[0],
            trainer=self.trainer,
        )
        jobs = JobRunner(self.lab, self.launcher)
        assignment = Assignment(candidate, ffn_width, spec, self.suite, salt="")
        with jobs.work_folder(spec.trial_id) as folder:
            trial = TrialJobs(jobs, self.settings, assignment, folder)
            return Trained(train(trial), trial.ends[0].cpu_seconds)


def measure(suite: Suite, names: list[str], task: str, rung: int, pairs: int) -> dict[str, Any]:
    """Return mixer -> its costs, whether its replays are equal, and its distances."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name).resolve()

        def side(label: str, arithmetic: Arithmetic, variables: Mapping[str, str]) -> Side:
            made = Side(folder / label, arithmetic, variables, suite)
            stack.enter_context(made.launcher)
            return made

        fast = [side("fast", "fast", {}), side("fast again", "fast", {})]
        portable = [side("p", "portable", {}), side("p again", "portable", MISLEADING)]
        others = {one: side(one, "fast", {"ATEN_CPU_CAPABILITY": one}) for one in OTHER_SETS}
        found = {}
        for candidate in human_candidates(fast[0].lab, names):
            width, _ = solve_ffn_width(load_mixer(Path(candidate.path)), suite.shape)
            asked = (candidate, width, task, rung)
            runs = [
                (fast[n % 2].train(*asked), portable[n % 2].train(*asked)) for n in range(pairs)
            ]
            first = runs[0][0].training
            elsewhere = {
                one: _between(first, other.train(*asked).training) for one, other in others.items()
            }
            found[candidate.name] = {
                "cost": measuring.spread([p.cpu_seconds / f.cpu_seconds for f, p in runs]),
                "fast_equal": all(_between(first, f.training).is_zero for f, _ in runs),
                "portable_equal": all(
                    _between(runs[0][1].training, p.training).is_zero for _, p in runs
                ),
                "portable_to_fast": _between(first, runs[0][1].training).model_dump(),
                "elsewhere": {one: apart.model_dump() for one, apart in elsewhere.items()},
            }
        return found


def _between(one: Training, other: Training) -> Distance:
    return distance(*one, *other)


@contextlib.contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while: a launcher takes them when it is made."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suite", default=TrainingSettings().suite)
    parser.add_argument("--mixers", nargs="*", default=list(human_names()), help="human baselines")
    parser.add_argument("--task", default="text")
    parser.add_argument("--rung", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=2, help="trainings of each arithmetic")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()
    if asked.pairs < 2:
        parser.error(f"--pairs {asked.pairs}; expected 2 or more, or nothing is trained again")

    about = measuring.facts()
    suite = suite_by_name(asked.suite)
    found = measure(suite, asked.mixers, asked.task, asked.rung, asked.pairs)
    costs = [one["cost"]["median"] for one in found.values()]
    rows = [
        [
            name,
            f"{one['cost']['median']:.2f} ({one['cost']['low']:.2f} to {one['cost']['high']:.2f})",
            *("yes" if one[key] else "NO" for key in ("fast_equal", "portable_equal")),
            *(_shown(apart) for apart in (one["portable_to_fast"], *one["elsewhere"].values())),
        ]
        for name, one in found.items()
    ]
    equal = all(one["fast_equal"] and one["portable_equal"] for one in found.values())
    measuring.report(
        f"Arithmetic, {suite.version}, {asked.task}, rung {asked.rung} "
        f"({suite.rungs[asked.rung].steps} steps)",
        {"facts": about, "measured": found},
        measuring.markdown(
            [
                *("mixer", "portable / fast, CPU time", "fast again: equal"),
                *("portable again: equal", "portable from fast"),
                *(f"fast on {one} from fast" for one in OTHER_SETS),
            ],
            rows,
        )
        + "\n\nDistances: largest of the losses of the first ten steps and of all, of the mean "
        "loss of the last tenth (nats), and of the weights. "
        f"Median cost over the mixers: {statistics.median(costs):.2f}.",
        as_json=asked.json,
        record=asked.record,
    )
    return 0 if equal else 1


def _shown(apart: dict[str, Any]) -> str:
    names = ("early_loss", "loss", "final_loss", "weight")
    return ", ".join(f"{apart[name]:.0e}" for name in names)


if __name__ == "__main__":
    sys.exit(main())

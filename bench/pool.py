"""Trains one human mixer on many seeds of the first rung: a pool for `campaigns.py --pool`.

    python bench/pool.py delta_net --lab DIR --seeds 40
    python bench/campaigns.py --pool DIR/trials

The learning rate is that which the suite tries first, the same for all. Killed, the same command
goes on where it was.
"""

import argparse
from pathlib import Path

from noctuary.candidates import human_candidates
from noctuary.config import TrainingSettings
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.plan import later_rung, suite_of, trainer_of
from noctuary.sandbox.launcher import Launcher, usable_cores
from noctuary.trials import Workshop

FIRST_SEED = 500
"""Of the first rung's seeds, some that the search does not take: nobody is promoted by them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mixer")
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=40)
    asked = parser.parse_args()
    lab = Lab.create_or_open(asked.lab)
    settings = TrainingSettings(device="cpu")
    suite = suite_of(settings)
    [candidate] = human_candidates(lab, [asked.mixer])
    with lab.lock(), Launcher(usable_cores(), lab.logs / "launcher.log") as launcher:
        workshop = Workshop(lab, settings, launcher, Journal(lab.journal_path))
        audit = workshop.audit(candidate, suite.version, seed=0)
        rates = {task.name: suite.learning_rates[0] for task in suite.tasks}
        seeds = range(FIRST_SEED, FIRST_SEED + asked.seeds)
        specs = later_rung(candidate.candidate_id, suite, 0, seeds, rates, trainer_of(settings))
        workshop.train(
            candidate,
            audit.ffn_width or 0,
            specs,
            lambda done: print(f"{done} of {len(specs)} trials", end="\r", flush=True),
        )
    print(f"\n{lab.trials}")


if __name__ == "__main__":
    main()

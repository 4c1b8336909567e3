"""Trains a fixed list of designs of the space once, so that searches can be compared in seconds.

    python bench/space_table.py --lab DIR            # trains; killed, the same command goes on
    python bench/space_table.py --lab DIR --export   # writes data/space from what is finished

Each design goes the way of every other: audit, feed-forward width, sandboxed trials on all tasks
of the suite. It gets one seed of the first rung at the learning rate that the suite tries first;
every fifth design also gets two more seeds, which tell the noise, and every ninth a trial of the
second rung, which tells what the first is worth. The list is drawn before anything is trained and
kept in the lab, so that its beginning is a fair sample however early one stops: the human designs,
then uniform draws of the space and mutations of human designs in turns. The test sequences are
made of a public salt: whoever trains the same list gets the same numbers.

Covers the trials and the table. What is made of it: `oracle.py`, `search.py`.
"""

import argparse
import hashlib
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import measuring
from table import DATA, METRICS, PROTOCOL, TABLE, write_table

from noctuary.canonical import content_id, source_id
from noctuary.config import TrainingSettings
from noctuary.domain import Audit, Axes, Candidate, Trial, TrialSpec, Value
from noctuary.errors import UsageError
from noctuary.journal import Journal
from noctuary.lab import Lab, read_json, write_atomically
from noctuary.plan import later_rung, suite_of, trainer_of
from noctuary.sandbox.launcher import Launcher
from noctuary.space.genome import Genome, repaired
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES, RULES
from noctuary.space.render import render
from noctuary.space.tuned import TUNED
from noctuary.trials import Workshop

SALT = "noctuary-space"
LISTED = 400
MOST_MUTATIONS = 3

Origin = Literal["human", "draw", "near"]


class Part(NamedTuple):
    """Trials that every n-th design of the list gets."""

    rung: int
    seeds: tuple[int, ...]
    every: int


PARTS = (Part(0, (0,), every=1), Part(0, (1, 2), every=5), Part(1, (1000,), every=9))
"""Odd steps, since draws and mutations take turns."""


class Listed(Value):
    """A design of the list: its place, counted from 1, and where it comes from."""

    number: int
    origin: Origin
    axes: Axes
    candidate_id: str


# The list


def listed_genomes(count: int, seed: int) -> Iterator[tuple[Origin, Genome]]:
    """Yield different genomes: the human ones, then draws of the space and mutated human ones.

    A longer list begins with the shorter one. Moves of `space.operators` are not used, as they
    change with the search and this list must not.
    """
    rng = random.Random(seed)
    human = [*HUMAN.values(), *(form.genome for form in TUNED)]
    known: set[Genome] = set()
    for genome in human:
        if genome not in known and len(known) < count:
            known.add(genome)
            yield "human", genome
    origin: Origin = "draw"
    while len(known) < count:
        genome = _drawn(rng) if origin == "draw" else _near(rng.choice(human), rng)
        if genome not in known:
            known.add(genome)
            yield origin, genome
            origin = "near" if origin == "draw" else "draw"


def _drawn(rng: random.Random) -> Genome:
    return repaired({axis: rng.choice(list(values)) for axis, values in AXES.items()})


def _near(genome: Genome, rng: random.Random) -> Genome:
    """Return a genome with another value on one to three axes, and what follows from that."""
    while True:
        changed = rng.sample(list(AXES), rng.randint(1, MOST_MUTATIONS))
        values = {a: rng.choice([v for v in AXES[a] if v != genome.axes[a]]) for a in changed}
        try:
            return repaired(genome.axes | values, keep=changed)
        except ValueError:
            continue  # these values contradict each other


def make_list(lab: Lab, asked: dict[str, Any], count: int) -> tuple[Listed, ...]:
    """Return the lab's list of designs, made where there is none, with a file for each.

    Args:
        asked: what fixes the list and its trials; a lab has one of these.
        count: designs of a list that is made now.

    Raises:
        UsageError: the lab's list was made for something else.
    """
    path = lab.root / "list.json"
    if not path.exists():
        made = []
        for number, (origin, genome) in enumerate(listed_genomes(count, asked["seed"]), start=1):
            source = render(
                genome, name=f"Design {number}", idea="A point of the space.", sources=[]
            )
            candidate = source_id(source)
            write_atomically(lab.candidates / f"{candidate}.py", source)
            design = Listed(number=number, origin=origin, axes=genome.axes, candidate_id=candidate)
            made.append(design.model_dump(mode="json"))
        write_atomically(path, json.dumps({"asked": asked, "designs": made}, indent=1))
    found = read_json(path)
    if found["asked"] != asked:
        raise UsageError(
            f"{path} was made for {found['asked']}, not for {asked}; use another --lab"
        )
    return tuple(Listed.model_validate(design) for design in found["designs"])


# The trials


class Bench:
    """A lab, its list, and what trains it."""

    def __init__(
        self, lab: Lab, settings: TrainingSettings, seed: int, listed: int = LISTED
    ) -> None:
        self.lab = lab
        self.settings = settings
        self.suite = suite_of(settings)
        self.asked = {
            "suite": self.suite.version,
            "trainer": trainer_of(settings),
            "test_salt": settings.test_salt,
            "learning_rate": self.suite.learning_rates[0],
            "seed": seed,
        }
        (lab.root / "audits").mkdir(exist_ok=True)
        self.designs = make_list(lab, self.asked, listed)

    def specs(self, design: Listed, part: Part) -> tuple[TrialSpec, ...]:
        """Return a design's trials of a part; none where it is not its turn."""
        if (design.number - 1) % part.every:
            return ()
        rates = {task.name: self.suite.learning_rates[0] for task in self.suite.tasks}
        trainer = trainer_of(self.settings)
        return later_rung(design.candidate_id, self.suite, part.rung, part.seeds, rates, trainer)

    def train(self, launcher: Launcher, count: int) -> None:
        """See to it that the trials of the first `count` designs are finished."""
        workshop = Workshop(self.lab, self.settings, launcher, Journal(self.lab.journal_path))
        for part in PARTS:
            with ThreadPoolExecutor(launcher.slots) as threads:
                try:
                    train = partial(self._train_one, workshop, part)
                    list(threads.map(train, self.designs[:count]))
                except BaseException:  # Ctrl-C: what runs is ended, and no thread starts more
                    launcher.close()
                    threads.shutdown(wait=False, cancel_futures=True)
                    raise

    def _train_one(self, workshop: Workshop, part: Part, design: Listed) -> None:
        specs = self.specs(design, part)
        if all(workshop.is_finished(spec) for spec in specs):
            return
        candidate = Candidate(
            candidate_id=design.candidate_id,
            name=f"design {design.number}",
            kind="design",
            axes=design.axes,
            path=str(self.lab.candidates / f"{design.candidate_id}.py"),
        )
        audit = self.audit(design)
        if audit is None:
            audit = workshop.audit(candidate, self.suite.version, seed=0)
            write_atomically(self._audit_path(design), audit.model_dump_json(indent=1))
        result = f"rejected, {audit.reason}"
        if audit.accepted:
            trained = workshop.train(candidate, audit.ffn_width or 0, specs)
            result = trained.reason if trained.score is None else f"{trained.score:.4f}"
        print(f"{candidate.name} ({design.origin}), rung {part.rung}: {result}", flush=True)

    def audit(self, design: Listed) -> Audit | None:
        """Return the verdict on a design, where there is one already."""
        path = self._audit_path(design)
        return Audit.model_validate(read_json(path)) if path.exists() else None

    def complete(self, part: Part) -> int:
        """Return how many designs have all trials of a part, however far it was planned."""
        planned = (self.specs(design, part) for design in self.designs)
        return sum(
            bool(specs) and all(self.result(spec).exists() for spec in specs) for specs in planned
        )

    def result(self, spec: TrialSpec) -> Path:
        """Return where a trial's result is, once it is finished."""
        return self.lab.trials / spec.trial_id / "result.json"

    def _audit_path(self, design: Listed) -> Path:
        return self.lab.root / "audits" / f"{design.candidate_id}.json"


# The table


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row for each finished trial, and for each that a refused design did not get.

    Left out are designs under way: every one in the table has all tasks of the first part.
    """
    for design in bench.designs:
        about = {"number": design.number, "origin": design.origin, **design.axes}
        audit = bench.audit(design)
        first = bench.specs(design, PARTS[0])
        if audit is not None and not audit.accepted:
            refused = {"status": "rejected", "reason": audit.reason}
            yield from (about | _place(spec) | refused for spec in first)
        elif all(bench.result(spec).exists() for spec in first):
            for spec in (spec for part in PARTS for spec in bench.specs(design, part)):
                if bench.result(spec).exists():
                    yield about | _row(Trial.model_validate(read_json(bench.result(spec))))


def _place(spec: TrialSpec) -> dict[str, Any]:
    return spec.model_dump(include={"task", "rung", "seed", "candidate_id"})


def _row(trial: Trial) -> dict[str, Any]:
    return {
        **_place(trial.spec),
        "status": trial.status,
        "reason": trial.reason or None,
        "score": trial.score,
        **{column: trial.metrics.get(name) for column, name in METRICS.items()},
        "parameters": trial.parameters,
        "seconds": trial.seconds.get("total"),
        "trial_id": trial.spec.trial_id,
    }


def export(bench: Bench, folder: Path) -> dict[str, Any]:
    """Write the table and its protocol; return the protocol."""
    folder.mkdir(parents=True, exist_ok=True)
    found = list(rows(bench))
    write_table(found, folder / TABLE)
    about = measuring.facts()
    trained = next(row["trial_id"] for row in found if row["status"] == "ok")
    environment = read_json(bench.lab.trials / trained / "result.json")["environment"]
    protocol = {
        "command": "python bench/space_table.py --lab DIR",
        "date": about["date"],
        "machine": about["machine"],
        "python": about["python"],
        "environment": environment,
        **bench.asked,
        "space": content_id({"axes": {a: list(v) for a, v in AXES.items()}, "rules": RULES}),
        "parts": [part._asdict() | {"complete": bench.complete(part)} for part in PARTS],
        "designs": len({row["number"] for row in found}),
        "rows": len(found),
        "sha256": hashlib.sha256((folder / TABLE).read_bytes()).hexdigest(),
    }
    write_atomically(folder / PROTOCOL, json.dumps(protocol, indent=1) + "\n")
    return protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--designs", type=int, default=LISTED, help="from the list's beginning")
    parser.add_argument("--slots", type=int, default=1, help="trials at once")
    parser.add_argument("--seed", type=int, default=0, help="of the list")
    parser.add_argument("--suite", default=TrainingSettings().suite)
    parser.add_argument("--export", action="store_true", help="train nothing, write the table")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the table")
    asked = parser.parse_args()
    lab = Lab.create_or_open(asked.lab)
    settings = TrainingSettings(suite=asked.suite, device="cpu", test_salt=SALT)
    bench = Bench(lab, settings, asked.seed)
    if not asked.export:
        with lab.lock(), Launcher(asked.slots, lab.logs / "launcher.log") as launcher:
            bench.train(launcher, asked.designs)
    print(json.dumps(export(bench, asked.out), indent=1))


if __name__ == "__main__":
    main()

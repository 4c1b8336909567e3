"""The plan of a claim: whom against whom, on what, with how many seeds; all from the search.

Covers the choice of baselines, the learning rates, the pilot for the power calculation, and the
share of alpha. Everything is fixed by what the lab holds already: nothing is trained here, and
nothing recorded (`registration`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

from noctuary.archive.store import Archive
from noctuary.bench.rungs import search_seeds
from noctuary.bench.suite import Suite
from noctuary.canonical import source_id
from noctuary.claims.decision import SCALES, planned_scores
from noctuary.claims.power import Differences, Spread, expected_spread, seeds_for
from noctuary.config import Settings
from noctuary.domain import Beacon, Candidate, Entrant, Plan, Trial, Value
from noctuary.errors import LedgerBroken, UsageError
from noctuary.evaluation import Scores
from noctuary.lab import Lab
from noctuary.plan import at_best_rate, suite_of, trainer_of
from noctuary.trials import HARMLESS

DEFAULT_BASELINES = 2
"""The best human mixers of the lab that a claim is against, unless others are named."""


class Proposal(Value):
    """A plan that is not registered yet.

    Attributes:
        notes: what was decided beside what was asked for, a line each.
        trials: that decide it.
        seconds: of one such trial at the base scale in the search, on average; None where the
            candidate has none.
    """

    plan: Plan
    notes: tuple[str, ...]
    trials: int
    seconds: float | None


class Search:
    """What the search knows about mixers: its boards and trials, as they are in the archive."""

    def __init__(self, lab: Lab, archive: Archive, settings: Settings) -> None:
        self.lab = lab
        self.suite: Suite = suite_of(settings.training)
        self.trainer = trainer_of(settings.training)
        self._archive = archive

    def board(self) -> dict[str, dict[str, Any]]:
        """Return candidate id -> row of the last rung's leaderboard, best first, ranked ones."""
        rows = [
            row
            for row in self._archive.leaderboard(suite=self.suite.version)
            if row["trainer"] == self.trainer
            and row["rung"] == self.suite.top
            and row["score"] is not None
        ]
        rows.sort(key=lambda row: (-row["score"], row["candidate_id"]))
        return {row["candidate_id"]: row for row in rows}

    def trials(self, candidate_id: str, rung: int) -> tuple[Trial, ...]:
        return self._archive.trials(
            candidate_id=candidate_id, suite=self.suite.version, trainer=self.trainer, rung=rung
        )

    def scores(self, candidate_id: str) -> Scores:
        """Return (task, seed) -> score on the last rung."""
        best = at_best_rate(self.trials(candidate_id, self.suite.top))
        return {key: trial.score for key, trial in best.items() if trial.score is not None}

    def rates(self, candidate: Candidate) -> dict[str, float]:
        """Return task of the search -> the rate that its first rung found best.

        Raises:
            UsageError: it did not try them all, or a task has no score.
        """
        seeds = search_seeds(0, 1)
        screened = [
            trial for trial in self.trials(candidate.candidate_id, 0) if trial.spec.seed in seeds
        ]
        tried = {(t.spec.task, t.spec.learning_rate) for t in screened if t.status in HARMLESS}
        rates = {task: t.spec.learning_rate for (task, _), t in at_best_rate(screened).items()}
        names = [task.name for task in self.suite.tasks]
        missing = [
            name
            for name in names
            if name not in rates
            or any((name, rate) not in tried for rate in self.suite.learning_rates)
        ]
        if missing:
            raise UsageError(
                f"{candidate.name} has no learning rate for {', '.join(missing)} of "
                f"{self.suite.version} by trainer {self.trainer}; a claim needs it tuned like the "
                f"others: run `noctuary evaluate` on {self.lab.candidates}/"
                f"{candidate.candidate_id}.py"
            )
        return {name: rates[name] for name in names}


def plan_claim(
    lab: Lab,
    archive: Archive,
    settings: Settings,
    candidate: Candidate,
    *,
    against: Sequence[Candidate] = (),
    held_out: Sequence[str] = (),
    smallest_effect: float | None = None,
    seeds: int | None = None,
    rung: int | None = None,
    beacon: Beacon | None = None,
) -> Proposal:
    """Return the plan of a claim, and what it comes to.

    Args:
        settings: with their text in place (`plan.with_text`).
        against: baselines; by default the best human mixers of the last rung. Where only weaker
            ones are named, the best is added.
        held_out: tasks that decide; by default all that no cycle trains on.
        smallest_effect, rung: by default the settings' and the last.
        seeds: more than the power calculation wants.

    Raises:
        UsageError: something of this cannot be; says what can.
        LedgerBroken: a mixer's file is not the one that was tried.
    """
    search, wanted = Search(lab, archive, settings), settings.claims
    suite = search.suite
    rivals, notes = _baselines(search, archive, candidate, against)
    tasks = _held_out(suite, held_out)
    chosen_rung = suite.top if rung is None else rung
    if chosen_rung > suite.top:
        raise UsageError(f"--rung {rung}: {suite.name} has the rungs 0 to {suite.top}")
    number = len(archive.claims()) + 1
    alpha = wanted.alpha / (number * (number + 1))
    effect = smallest_effect or wanted.smallest_effect
    spread = _spread(search, candidate, rivals, len(tasks))
    plan = Plan(
        number=number,
        candidate=_entrant(search, candidate, tasks),
        baselines=tuple(_entrant(search, rival, tasks) for rival in rivals),
        suites={scale: suite.scaled(scale).version for scale in SCALES},
        held_out=tasks,
        seen=tuple(task.name for task in suite.tasks),
        rung=chosen_rung,
        trainer=trainer_of(settings.training, "portable"),
        seeds=seeds_for(
            effect,
            spread.value,
            alpha=alpha,
            power=wanted.power,
            comparisons=len(rivals) * len(SCALES),
            asked=seeds,
        ),
        smallest_effect=effect,
        spread=spread.value,
        spread_from=spread.source,
        power=wanted.power,
        campaign_alpha=wanted.alpha,
        alpha=alpha,
        beacon=beacon,
    )
    trials = sum(map(len, planned_scores(plan, range(plan.seeds)).values()))
    took = [t.seconds.get("total", 0.0) for t in search.trials(candidate.candidate_id, chosen_rung)]
    return Proposal(plan=plan, notes=notes, trials=trials, seconds=fmean(took) if took else None)


def _baselines(
    search: Search, archive: Archive, candidate: Candidate, named: Sequence[Candidate]
) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Return the baselines, and what is to be said about them."""
    board = search.board()
    humans = [
        identity
        for identity, row in board.items()
        if row["kind"] == "human" and not row["reference"] and identity != candidate.candidate_id
    ]
    if any(one.candidate_id == candidate.candidate_id for one in named):
        raise UsageError(
            f"{candidate.name} is the candidate and a baseline; expected another mixer"
        )
    if not humans:
        raise UsageError(
            f"no human mixer has a score on the last rung of {search.suite.version} in "
            f"{search.lab.root}; a claim needs one to be held against: `noctuary run` trains some"
        )
    known = {one.candidate_id: one for one in archive.candidates()}
    if not named:
        return tuple(known[identity] for identity in humans[:DEFAULT_BASELINES]), ()
    chosen = list({one.candidate_id: one for one in named}.values())
    best = known[humans[0]]
    bar = board[best.candidate_id]["score"]
    if any(board.get(one.candidate_id, {"score": -1.0})["score"] >= bar for one in chosen):
        return tuple(chosen), ()
    note = f"{best.name} is a baseline too: the best human mixer here, above all that were named"
    return (*chosen, best), (note,)


def _held_out(suite: Suite, named: Sequence[str]) -> tuple[str, ...]:
    known = tuple(task.name for task in suite.held_out)
    for name in named:
        if name not in known:
            seen = " is one of the search's" if any(t.name == name for t in suite.tasks) else ""
            raise UsageError(
                f"--held-out {name}: it{seen or ' is no task'} of {suite.name}; expected one that "
                f"no cycle trains on: {', '.join(known)}"
            )
    return tuple(name for name in known if name in named) or known


def _entrant(search: Search, candidate: Candidate, held_out: Sequence[str]) -> Entrant:
    """Return the candidate with its rates; on tasks that nobody tuned on, the median of them."""
    rates = search.rates(candidate)
    return Entrant(
        candidate_id=candidate.candidate_id,
        name=candidate.name,
        source=_source_hash(search.lab.candidates / f"{candidate.candidate_id}.py"),
        rates={**rates, **dict.fromkeys(held_out, median_low(rates.values()))},
    )


def _source_hash(path: Path) -> str:
    """Return the SHA-256 of a mixer's file, hexadecimal.

    Raises:
        LedgerBroken: it is missing, or not the one that its name says.
    """
    try:
        data = path.read_bytes()
        found = source_id(data.decode("utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise LedgerBroken(
            f"{path} cannot be read ({error}); expected the mixer that was trained: restore it"
        ) from error
    if found != path.stem:
        raise LedgerBroken(f"{path} is mixer {found}; expected {path.stem}: restore the file")
    return hashlib.sha256(data).hexdigest()


def _spread(
    search: Search, candidate: Candidate, rivals: Sequence[Candidate], tasks: int
) -> Spread:
    """Return the spread to expect, from the claim's own mixers, else from the human ones."""
    scores = search.scores(candidate.candidate_id)
    own = [
        _differences(search, scores, search.scores(rival.candidate_id), candidate.name, rival.name)
        for rival in rivals
    ]
    if any(known.told for known in own):
        return expected_spread(own, tasks, search.suite.top)
    humans = [(row["name"], i) for i, row in search.board().items() if row["kind"] == "human"]
    pairs = [
        _differences(search, search.scores(a), search.scores(b), one, other)
        for (one, a), (other, b) in combinations(humans, 2)
    ]
    return expected_spread(pairs, tasks, search.suite.top)


def _differences(
    search: Search, mine: Scores, theirs: Mapping[tuple[str, int], float], one: str, other: str
) -> Differences:
    shared = sorted(set(mine) & set(theirs))
    return Differences(
        f"{one} and {other}",
        [
            [mine[key] - theirs[key] for key in shared if key[0] == task.name]
            for task in search.suite.tasks
        ],
    )

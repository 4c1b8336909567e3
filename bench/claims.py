"""How often claims of nothing are verified, and how often claims of a true effect are.

Each simulated claim goes the real way: a pilot of the search's tasks gives the spread, the power
calculation the seeds, and `noctuary.claims.decision` decides on scores at three scales. Nothing is
planted in three ways: the candidate is as good as both baselines everywhere, as one of them, or as
one of them at one scale only and far better else, which is the hardest for a rule where all
comparisons have to hold. Then an effect of just the registered size is planted everywhere. Last,
campaigns of several claims of nothing: any that is verified counts.

Scores are made up, normal and with two modes like a phase transition, or drawn with `--pool` from
a folder of trials (`lab/trials`) or a file of JSON lines with `candidate_id`, `task`, `rung`,
`seed` and `score`, of mixers that were trained on the held-out tasks as well; there, half of the
seeds have all their tasks and scales from one seed of the pool, so that these hang together.
Exit status 1: nothing was verified more often, or an effect less often, than was promised.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from campaigns import records

from noctuary.bench.suite import STANDARD
from noctuary.campaigns import binomial_bounds
from noctuary.claims.decision import SCALES, decide, planned_scores
from noctuary.claims.power import LEAST_SPREAD, Differences, expected_spread, seeds_for
from noctuary.domain import ClaimVerdict, Entrant, Plan, Scale
from noctuary.errors import UsageError
from noctuary.stats import Floats

ALPHA, POWER = 0.05, 0.8
PILOT_SEEDS = 3
"""Those of a night on the last rung."""

Effect = Callable[[Scale, int], float]
"""Scale and number of the baseline -> how far the candidate is above it."""

Draw = Callable[[np.random.Generator, int], Floats]
"""Draws so many seeds' scores of a mixer about a mean of zero, (seeds, search + held-out tasks)."""

AT_ONE_SCALE: Scale = "wide"
FAR = 0.2
"""An effect that every claim shows."""


@dataclass(frozen=True)
class Source:
    """Where scores are from.

    Attributes:
        mixers: one is drawn for each entrant of a claim.
        search, held_out: names of the tasks, in the order of the draws' columns.
    """

    name: str
    mixers: tuple[Draw, ...]
    search: tuple[str, ...]
    held_out: tuple[str, ...]


def planted(effect: float) -> dict[str, Effect]:
    """Return what the claims are of, by name; all but the last are of nothing."""
    return {
        "nothing": lambda _scale, _which: 0.0,
        "nothing against one": lambda _scale, which: 0.0 if which == 0 else FAR,
        "nothing at one scale": lambda scale, which: (
            0.0 if (scale, which) == (AT_ONE_SCALE, 0) else FAR
        ),
        "the effect": lambda _scale, _which: effect,
    }


def made_up(spread: float = 0.05) -> list[Source]:
    """Return sources of invented scores of such a standard deviation on each task."""
    search, held_out = _task_names(4, len(STANDARD.held_out))
    columns = len(search) + len(held_out)

    def normal(rng: np.random.Generator, n: int) -> Floats:
        return rng.normal(0, spread, (n, columns))

    def modes(rng: np.random.Generator, n: int) -> Floats:
        share = 0.3
        apart = spread / np.sqrt(share * (1 - share))
        scores: Floats = apart * ((rng.random((n, columns)) < share) - share)
        return scores + rng.normal(0, 0.005, (n, columns))

    return [
        Source(name, (draw,), search, held_out)
        for name, draw in (("normal", normal), ("two modes, three in ten", modes))
    ]


def pooled(path: Path, rung: int, best: int) -> Source:
    """Return the scores of the best mixers of a pool that were trained on all tasks there."""
    scores: defaultdict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for one in records(path):
        spec = one.get("spec", one)
        if one.get("score") is not None and int(spec["rung"]) == rung:
            scores[spec["candidate_id"]][spec["task"], int(spec["seed"])] = float(one["score"])
    search = tuple(task.name for task in STANDARD.tasks)
    seeds = sorted({seed for found in scores.values() for _, seed in found})
    everywhere = [
        task.name
        for task in STANDARD.held_out
        if sum(all((task.name, seed) in found for seed in seeds) for found in scores.values()) > 2
    ]
    tables = {
        candidate: np.array(
            [[found[task, seed] for task in (*search, *everywhere)] for seed in seeds]
        )
        for candidate, found in scores.items()
        if all((task, seed) in found for task in (*search, *everywhere) for seed in seeds)
    }
    ranked = sorted(tables, key=lambda one: -tables[one][:, : len(search)].mean())[:best]
    mixers = tuple(_resampled(tables[one]) for one in ranked)
    name = f"{len(ranked)} mixers, {len(seeds)} seeds, {len(everywhere)} held-out tasks"
    return Source(name, mixers, search, tuple(everywhere))


def _resampled(table: Floats) -> Draw:
    """Return the draw from a mixer's scores, (seeds, tasks), task by task or all of a seed."""
    residual = (table - table.mean(axis=0)) * np.sqrt(len(table) / (len(table) - 1))

    def draw(rng: np.random.Generator, n: int) -> Floats:
        rows = rng.integers(0, len(table), (n, table.shape[1]))
        together = rng.random(n) < 0.5
        rows[together] = rows[together, :1]
        scores: Floats = residual[rows, np.arange(table.shape[1])]
        return scores

    return draw


def simulate(
    source: Source,
    effect_of: Effect,
    rng: np.random.Generator,
    *,
    smallest: float,
    baselines: int = 2,
    number: int = 1,
    least: float = LEAST_SPREAD,
) -> tuple[Plan, ClaimVerdict] | None:
    """Return one claim with its verdict; None where the power calculation refuses it."""
    mixers = [source.mixers[i] for i in rng.integers(0, len(source.mixers), baselines + 1)]
    pilot = [mixer(rng, PILOT_SEEDS)[:, : len(source.search)] for mixer in mixers]
    known = [Differences("a pair", (pilot[0] - each).T.tolist()) for each in pilot[1:]]
    spread = expected_spread(known, len(source.held_out), 2, least)
    alpha = ALPHA / (number * (number + 1))
    comparisons = baselines * len(SCALES)
    try:
        seeds = seeds_for(smallest, spread.value, alpha=alpha, power=POWER, comparisons=comparisons)
    except UsageError:
        return None
    names = [f"mixer {i}" for i in range(baselines + 1)]
    plan = Plan(
        number=number,
        candidate=_entrant(names[0], source),
        baselines=tuple(_entrant(name, source) for name in names[1:]),
        suites={scale: scale for scale in SCALES},
        held_out=source.held_out,
        seen=(),
        rung=2,
        trainer="simulated",
        seeds=seeds,
        smallest_effect=smallest,
        spread=spread.value,
        spread_from=spread.source,
        power=POWER,
        campaign_alpha=ALPHA,
        alpha=alpha,
    )
    scores: dict[tuple[Scale, str], dict[tuple[str, int], float]] = {}
    for scale, name in planned_scores(plan, range(seeds)):
        which = names.index(name)
        mean = 0.5 - (effect_of(scale, which - 1) if which else 0.0)
        table = np.clip(mean + mixers[which](rng, seeds)[:, len(source.search) :], 0, 1).tolist()
        scores[scale, name] = {
            (task, seed): table[seed][column]
            for column, task in enumerate(source.held_out)
            for seed in range(seeds)
        }
    return plan, decide(plan, scores, {}, (), range(seeds))


def outcomes(
    source: Source,
    effect_of: Effect,
    *,
    claims: int,
    smallest: float,
    seed: int,
    least: float = LEAST_SPREAD,
) -> tuple[Counter[str], list[int]]:
    """Return how many claims ended how, of those that were not refused, and their seeds."""
    rng, counted, seeds = np.random.default_rng(seed), Counter[str](), list[int]()
    while len(seeds) < claims and counted["refused"] <= 10 * claims:
        found = simulate(source, effect_of, rng, smallest=smallest, least=least)
        counted["refused" if found is None else found[1].status] += 1
        if found is not None:
            seeds.append(found[0].seeds)
    return counted, seeds


def campaigns_with_a_false_claim(
    source: Source, *, campaigns: int, claims: int, smallest: float, seed: int
) -> int:
    """Return in how many campaigns of claims of nothing at least one was verified."""
    rng = np.random.default_rng(seed)
    hardest = planted(smallest)["nothing at one scale"]
    false = 0
    for _ in range(campaigns):
        found = [
            simulate(source, hardest, rng, smallest=smallest, number=number)
            for number in range(1, claims + 1)
        ]
        false += any(one is not None and one[1].status == "verified" for one in found)
    return false


def measure(source: Source, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what became of claims of all that is planted; last, with no floor for the spread."""
    effects = planted(asked.smallest)
    asks = [(name, effect, LEAST_SPREAD) for name, effect in effects.items()]
    for name, effect, least in [*asks, ("the effect, pilot alone", effects["the effect"], 0.0)]:
        counted, seeds = outcomes(
            source,
            effect,
            claims=asked.claims,
            smallest=asked.smallest,
            seed=asked.seed,
            least=least,
        )
        yield {
            "source": source.name,
            "planted": name,
            "seeds": float(np.median(seeds)) if seeds else None,
            **{k: counted[k] for k in ("verified", "refuted", "inconclusive", "refused")},
        }


def table(result: dict[str, Any]) -> str:
    asked = result["settings"]
    most = binomial_bounds(asked["claims"], ALPHA)[1]
    head = ["scores", "planted", "seeds", "verified", "refuted", "inconclusive", "refused"]
    body = [
        [
            row["source"],
            row["planted"],
            "-" if row["seeds"] is None else f"{row['seeds']:.0f}",
            *(f"{row[k] / asked['claims']:.1%}" for k in ("verified", "refuted", "inconclusive")),
            str(row["refused"]),
        ]
        for row in result["rows"]
    ]
    families = [
        [row["source"], str(asked["claims_a_campaign"]), f"{row['false'] / asked['claims']:.1%}"]
        for row in result["families"]
    ]
    return (
        f"{asked['claims']} claims a row, the first of their lab: alpha {ALPHA / 2:g}, smallest "
        f"effect {asked['smallest']:g}, two baselines, three scales, the spread from "
        f"{PILOT_SEEDS} seeds of a pilot. Of nothing, at most {ALPHA:.0%} may be verified (up to "
        f"{most / asked['claims']:.1%} is within the binomial 99 %); of the effect, {POWER:.0%} or "
        "more; the last row is what the pilot's spread alone, without its floor, would come to. "
        "Refused: the power calculation wanted more than 100 seeds.\n\n"
        + measuring.markdown(head, body)
        + f"\n\nCampaigns of claims of nothing at one scale, {asked['claims']} of each:\n\n"
        + measuring.markdown(["scores", "claims", "with one verified"], families)
    )


def _entrant(name: str, source: Source) -> Entrant:
    rates = dict.fromkeys((*source.search, *source.held_out), 5e-3)
    return Entrant(candidate_id=name, name=name, source="0" * 64, rates=rates)


def _task_names(search: int, held_out: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (
        tuple(f"seen {i}" for i in range(search)),
        tuple(f"held-out {i}" for i in range(held_out)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pool", type=Path, help="folder of trials, or a file of JSON lines")
    parser.add_argument("--rung", type=int, default=2, help="of the pool's trials")
    parser.add_argument("--best", type=int, default=8, help="so many of the pool's mixers")
    parser.add_argument("--claims", type=int, default=200)
    parser.add_argument("--claims-a-campaign", type=int, default=5)
    parser.add_argument("--smallest", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args(arguments)

    about = measuring.facts()
    sources = [pooled(asked.pool, asked.rung, asked.best)] if asked.pool else made_up()
    rows = [row for source in sources for row in measure(source, asked)]
    families = [
        {
            "source": source.name,
            "false": campaigns_with_a_false_claim(
                source,
                campaigns=asked.claims,
                claims=asked.claims_a_campaign,
                smallest=asked.smallest,
                seed=asked.seed,
            ),
        }
        for source in sources
    ]
    settings = {k: v for k, v in vars(asked).items() if k not in ("json", "record")}
    settings["pool"] = None if asked.pool is None else str(asked.pool)
    result = {"facts": about, "settings": settings, "rows": rows, "families": families}
    title = f"Claims of {'made-up' if asked.pool is None else 'real'} scores"
    measuring.report(title, result, table(result), as_json=asked.json, record=asked.record)
    most, fewest = binomial_bounds(asked.claims, ALPHA)[1], POWER * asked.claims
    held = all(
        row["verified"] >= fewest if row["planted"] == "the effect" else row["verified"] <= most
        for row in rows
        if row["planted"] in planted(asked.smallest)
    )
    return 0 if held and all(row["false"] <= most for row in families) else 1


if __name__ == "__main__":
    sys.exit(main())

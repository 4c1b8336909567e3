"""How often campaigns call noise a discovery, and how often they find what was planted.

Campaigns are simulated from the scores of one mixer on many seeds, `--pool`: a folder of trials
(`lab/trials`) or a file of JSON lines with `candidate_id`, `task`, `rung`, `seed` and `score`.
Each comparison draws two disjoint sets of seeds and gives them two names. Nothing differs, so
whatever is called different is a false alarm. Then a difference is added to one comparison, just
so large that the power formula promises to find it in 80 % of campaigns. Without a pool the
scores are made up: normal, heavy-tailed, and with two modes like a phase transition.

Covers the rule of `noctuary.campaigns` beside Student's test with the same correction and the
bootstrap. Does not cover pairs on common seeds: of a mixer and itself they do not differ at all.
Exit status 1: the rule raised more false alarms than its alpha allows, beyond the binomial 99 %.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measuring
import numpy as np

from noctuary.campaigns import (
    Draw,
    Rule,
    binomial_bounds,
    corrected,
    draw_from,
    fewest_seeds,
    noise_floor,
    power,
    simulate_campaigns,
    smallest_difference,
)
from noctuary.stats import Floats, bootstrap_interval, paired_t_p, sign_flip_p

POWER = 0.8
RULE = "sign flip"
"""The rule of `decide`; the others are beside it for comparison."""


@dataclass(frozen=True)
class Source:
    """Scores of one mixer.

    Attributes:
        spread: standard deviation of a paired difference.
        scores: the pool; None where they are made up.
    """

    name: str
    draw: Draw
    spread: float
    scores: tuple[float, ...] | None = None


def rules(alpha: float) -> dict[str, Rule]:
    """Return name -> rule."""

    def bootstrap(comparisons: Mapping[str, Sequence[float]]) -> Collection[str]:
        confidence = 1 - alpha / len(comparisons)
        return {
            name
            for name, each in comparisons.items()
            if bootstrap_interval(each, confidence, resamples=1999).distinguishable
        }

    return {
        RULE: corrected(sign_flip_p, alpha),
        "t": corrected(paired_t_p, alpha),
        "bootstrap": bootstrap,
    }


def made_up() -> list[Source]:
    """Return sources of invented scores, each with its known spread."""

    def of_two(one: Draw) -> Draw:
        def draw(rng: np.random.Generator, n: int) -> Floats:
            return one(rng, n) - one(rng, n)

        return draw

    def modes(share: float) -> Draw:
        def draw(rng: np.random.Generator, n: int) -> Floats:
            scores: Floats = np.where(rng.random(n) < share, 1.0, 0.2) + rng.normal(0, 0.01, n)
            return scores

        return draw

    def mode_spread(share: float) -> float:
        return math.sqrt(2 * (0.8**2 * share * (1 - share) + 0.01**2))

    return [
        Source("normal", of_two(lambda rng, n: rng.normal(0, 1, n)), math.sqrt(2)),
        Source("Student, 3 degrees", of_two(lambda rng, n: rng.standard_t(3, n)), math.sqrt(6)),
        Source("two modes, half each", of_two(modes(0.5)), mode_spread(0.5)),
        Source("two modes, one in ten", of_two(modes(0.1)), mode_spread(0.1)),
    ]


def pools(path: Path, candidate: str, task: str) -> list[Source]:
    """Return a source for each candidate, suite, task, rung and trainer that the path holds.

    Trials without a score are left out, so a mixer that fails often looks better than it is.
    """
    found: defaultdict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    for one in records(path):
        spec = one.get("spec", one)
        if one.get("score") is None or one.get("status", "ok") != "ok":
            continue
        keys = ("candidate_id", "suite", "task", "rung", "trainer")
        key = tuple(str(spec.get(name, "")) for name in keys)
        if key[0].startswith(candidate) and task in ("", key[2]):
            found[key][int(spec["seed"])] = float(one["score"])
    sources = []
    for key, by_seed in sorted(found.items()):
        scores = tuple(score for _, score in sorted(by_seed.items()))
        spread = math.sqrt(2) * float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
        name = f"{key[0][:12]} {key[2]} rung {key[3]}"
        sources.append(Source(name, draw_from(scores), spread, scores))
    return sources


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines, or of a folder of trials."""
    if path.is_dir():
        for result in sorted(path.glob("*/result.json")):
            yield json.loads(result.read_text(encoding="utf-8"))
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)


def measure(source: Source, n: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return, for each rule, its false alarms and what it found of the planted difference."""
    share = asked.alpha / asked.comparisons
    planted = smallest_difference(n, source.spread, alpha=share, wanted=POWER)
    stated = power(planted, source.spread, n, alpha=share)
    floor = None if source.scores is None else noise_floor(source.scores, n).size
    rows = []
    for name, rule in rules(asked.alpha).items():
        if name not in asked.rules:
            continue

        def simulate(difference: float, rule: Rule = rule) -> tuple[int, int]:
            seen = simulate_campaigns(
                source.draw,
                n_seeds=n,
                n_comparisons=asked.comparisons,
                rng=np.random.default_rng(asked.seed),  # each rule sees the same campaigns
                n_campaigns=asked.campaigns,
                planted=difference,
                rule=rule,
            )
            return seen.false_alarms, seen.found

        rows.append(
            {
                "source": source.name,
                "scores": None if source.scores is None else len(source.scores),
                "spread": source.spread,
                "seeds": n,
                "rule": name,
                "floor": floor,
                "planted": planted,
                "stated": stated,
                "false_alarms": simulate(0.0)[0],
                "found": simulate(planted)[1],
            }
        )
    return rows


def table(result: dict[str, Any]) -> str:
    """Return the table for people, with the bounds that it is to be read by."""
    asked = result["settings"]
    most = binomial_bounds(asked["campaigns"], asked["alpha"])[1]
    low, high = binomial_bounds(asked["campaigns"], POWER)
    head = ["scores of", "pool", "spread", "seeds", "95 % of A/A within", "rule"]
    head += ["false alarms", "planted", "found"]
    body = [
        [
            row["source"],
            "-" if row["scores"] is None else str(row["scores"]),
            f"{row['spread']:.4f}",
            str(row["seeds"]),
            "-" if row["floor"] is None else f"{row['floor']:.4f}",
            row["rule"],
            f"{row['false_alarms'] / asked['campaigns']:.1%}"
            + (" too many" if row["false_alarms"] > most else ""),
            f"{row['planted']:.4f}",
            f"{row['found'] / asked['campaigns']:.1%}"
            + (" fewer" if row["found"] < low else " more" if row["found"] > high else ""),
        ]
        for row in result["rows"]
    ]
    fewest = fewest_seeds(asked["comparisons"], asked["alpha"])
    notes = (
        f"{asked['campaigns']} campaigns a cell of {asked['comparisons']} comparisons at alpha "
        f"{asked['alpha']}. False alarms: {most / asked['campaigns']:.1%} or less is within the "
        f"binomial 99 %. Found: the formula states {POWER:.0%}, {low / asked['campaigns']:.1%} to "
        f"{high / asked['campaigns']:.1%} agrees with it. The sign flip calls nothing below "
        f"{fewest} seeds."
    )
    return f"{notes}\n\n{measuring.markdown(head, body)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pool", type=Path, help="folder of trials, or a file of JSON lines")
    parser.add_argument("--candidate", default="", help="only ids that begin so")
    parser.add_argument("--task", default="", help="only this task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 8, 10, 14])
    parser.add_argument("--comparisons", type=int, default=4)
    parser.add_argument("--campaigns", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    names = list(rules(0.05))
    parser.add_argument("--rules", nargs="+", choices=names, default=names)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append to bench/results.md")
    asked = parser.parse_args()

    about = measuring.facts()
    sources = pools(asked.pool, asked.candidate, asked.task) if asked.pool else made_up()
    rows = []
    for source in sources:
        for n in asked.seeds:
            enough = source.scores is None or len(source.scores) >= 2 * n
            if enough and source.spread > 0:
                rows += measure(source, n, asked)
            else:
                have = 0 if source.scores is None else len(source.scores)
                print(
                    f"left out: {source.name} at {n} seeds: {have} scores of spread "
                    f"{source.spread:.4f}; expected {2 * n} and a spread above zero",
                    file=sys.stderr,
                )
    if not rows:
        print(f"no pool in {asked.pool} is large enough; nothing measured", file=sys.stderr)
        return 3
    settings = {k: v for k, v in vars(asked).items() if k not in ("json", "record")}
    settings["pool"] = None if asked.pool is None else str(asked.pool)
    result = {"facts": about, "settings": settings, "rows": rows}
    if not asked.json:
        print(f"{about['machine']}; {about['date']}; commit {about['commit']}")
    title = f"Campaigns of {'made-up' if asked.pool is None else 'real'} scores"
    measuring.report(title, result, table(result), as_json=asked.json, record=asked.record)
    most = binomial_bounds(asked.campaigns, asked.alpha)[1]
    held = all(row["false_alarms"] <= most for row in rows if row["rule"] == RULE)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

"""Campaigns: many comparisons at once, what may be called different, and how many seeds it takes.

Covers the decision rule, the power behind it, the noise floor of one mixer against itself, and
simulated campaigns that show what the rule does. The rule is the exact sign-flip test with Holm's
correction: a mixer scored under two names gives differences that are symmetric about zero,
however many modes its scores have, so few seeds and phase transitions raise no false alarms.
Student's test calls with fewer seeds, but too often where scores have modes and comparisons are
many (50 on 5 seeds); the bootstrap calls too often everywhere. `bench/campaigns.py` shows it.

It takes `fewest_seeds` before anything at all can be called: 6 for one comparison at 0.05, 8 for
four, 9 for ten, 12 for a hundred. What stays below alpha is the chance to call two names of one
distribution different. Two mixers of equal mean, one of which rarely breaks through, do differ,
and seeds that all missed the rare mode say so with the wrong sign: no test on few seeds can help
that.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from noctuary.stats import (
    EXACT_PAIRS,
    ROUNDING,
    Floats,
    benjamini_hochberg,
    check_finite,
    hedges_g_paired,
    holm,
    sign_flip_interval,
    sign_flip_p,
)

Correction = Literal["holm", "benjamini-hochberg"]
CORRECTIONS: dict[Correction, Callable[[Sequence[float]], tuple[float, ...]]] = {
    "holm": holm,
    "benjamini-hochberg": benjamini_hochberg,
}

Comparisons = Mapping[str, Sequence[float]]
"""name of the comparison -> its paired differences in score, one a seed."""

Rule = Callable[[Comparisons], Collection[str]]
"""Names the comparisons that it calls different."""

Draw = Callable[[np.random.Generator, int], Floats]
"""Draws so many paired differences of a mixer and itself, (n,)."""

MOST_SEEDS = 1_000_000
"""Nobody trains more; a difference that needs more counts as none."""


@dataclass(frozen=True)
class Verdict:
    """What a campaign says about one comparison.

    Attributes:
        n: pairs, one a seed.
        effect: mean difference in score.
        low, high: interval of the sign-flip test, simultaneous over the campaign (Bonferroni);
            None with too few seeds for one. Holm may call more than these intervals do.
        p, adjusted_p: of the sign-flip test, before and after the correction.
        g: Hedges' g_z; None where undefined.
        seeds_needed: seeds at which a difference of this size and spread is called four times in
            five, were they the true ones; None where they give no number. After a selection of
            the best the effect is inflated, and this too low.
    """

    name: str
    n: int
    effect: float
    low: float | None
    high: float | None
    p: float
    adjusted_p: float
    g: float | None
    different: bool
    seeds_needed: int | None


@dataclass(frozen=True)
class NoiseFloor:
    """How far apart a mixer and itself come out on disjoint seeds.

    Attributes:
        n: seeds on each side.
        spread: standard deviation of one paired difference in score.
        size: the given share of mean differences of n seeds is no larger.
    """

    n: int
    spread: float
    size: float


@dataclass(frozen=True)
class Simulated:
    """What a rule did in simulated campaigns.

    Attributes:
        campaigns: how many there were.
        false_alarms: campaigns in which a comparison without a difference was called different.
        found: campaigns in which the planted difference was; zero where none was planted.
    """

    campaigns: int
    false_alarms: int
    found: int


def decide(
    differences_by_comparison: Comparisons, alpha: float = 0.05, correction: Correction = "holm"
) -> tuple[Verdict, ...]:
    """Return the verdict on each comparison of a campaign, in the order given.

    With Holm the chance that anything is called different which is not stays at most alpha; with
    Benjamini-Hochberg the share of false calls does.

    Raises:
        ValueError: no comparison, one without differences, a difference that is not finite, or
            more comparisons than the test can tell apart (see `fewest_seeds`).
    """
    p_values = sign_flip_p_values(differences_by_comparison)
    adjusted = CORRECTIONS[correction](list(p_values.values()))
    share = alpha / len(p_values)
    fewest = fewest_seeds(len(p_values), alpha)
    verdicts = []
    for (name, differences), one in zip(differences_by_comparison.items(), adjusted, strict=True):
        interval = sign_flip_interval(differences, 1 - share)
        needed = _seeds_for_what_was_seen(differences, share)
        verdicts.append(
            Verdict(
                name=name,
                n=interval.n,
                effect=interval.effect,
                low=interval.low,
                high=interval.high,
                p=p_values[name],
                adjusted_p=one,
                g=hedges_g_paired(differences),
                different=one <= alpha,
                seeds_needed=None if needed is None else max(needed, fewest),
            )
        )
    return tuple(verdicts)


def sign_flip_p_values(differences_by_comparison: Comparisons) -> dict[str, float]:
    """Return each comparison's p-value, uncorrected; a ValueError names the comparison at fault."""
    if not differences_by_comparison:
        raise ValueError("no comparisons; expected at least one")
    found = {}
    for name, differences in differences_by_comparison.items():
        try:
            found[name] = sign_flip_p(differences)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def fewest_seeds(n_comparisons: int = 1, alpha: float = 0.05) -> int:
    """Return the seeds below which no single difference, however large, is called.

    All signs equal has a p-value of 2^(1 - n), and the first step of either correction wants
    alpha / n_comparisons.

    Raises:
        ValueError: no comparison, alpha outside 0 to 1, or so many comparisons that the flips
            which are looked at would not do.
    """
    _check_share(alpha, "alpha")
    if n_comparisons < 1:
        raise ValueError(f"{n_comparisons} comparisons; expected at least one")
    for n in range(1, EXACT_PAIRS + 1):
        if n_comparisons * 2.0 ** (1 - n) <= alpha:
            return n
    most = math.floor(alpha * 2.0 ** (EXACT_PAIRS - 1))
    raise ValueError(f"{n_comparisons} comparisons; at alpha {alpha} at most {most} can be told")


def power(difference: float, sd: float, n: int, *, alpha: float = 0.05) -> float:
    """Return the chance that n seeds show a true paired difference, with its sign.

    That of Student's two-sided test on normal differences, by the noncentral t distribution
    (Cohen 1988, chapter 2). The sign-flip test has the same with many seeds and less just above
    `fewest_seeds`.

    Args:
        sd: standard deviation of the paired differences.

    Raises:
        ValueError: sd is not positive, n below two, alpha outside 0 to 1, or a number that is
            not finite.
    """
    from scipy.stats import nct, t

    check_finite([difference], "difference")
    check_finite([sd], "sd")
    _check_share(alpha, "alpha")
    if sd <= 0:
        raise ValueError(f"sd {sd}; power needs differences with a spread above zero")
    if n < 2:
        raise ValueError(f"{n} seeds; a test needs at least two")
    shift = abs(difference) / sd * math.sqrt(n)
    return float(nct.sf(t.isf(alpha / 2, n - 1), n - 1, shift))


def seeds_needed(difference: float, sd: float, *, alpha: float = 0.05, wanted: float = 0.8) -> int:
    """Return the fewest seeds that show a true paired difference with the wanted power.

    By the formula of `power`, so never fewer than two; the rule of `decide` takes `fewest_seeds`
    besides.

    Raises:
        ValueError: as for `power`; the difference is zero; the wanted power is not between alpha
            and 1; or more than `MOST_SEEDS` are needed.
    """
    _check_wanted(wanted, alpha)
    if difference == 0:
        raise ValueError("a difference of 0; no number of seeds can show it")
    count = _search(difference, sd, alpha, wanted)
    if count is None:
        raise ValueError(
            f"a difference of {difference:g} beside a spread of {sd:g}; "
            f"it takes more than {MOST_SEEDS} seeds to show"
        )
    return count


def smallest_difference(n: int, sd: float, *, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """Return the smallest true paired difference that n seeds show with the wanted power.

    Raises:
        ValueError: as for `power`, or the wanted power is not between alpha and 1.
    """
    from scipy.optimize import brentq

    _check_wanted(wanted, alpha)
    large = sd
    while power(large, sd, n, alpha=alpha) < wanted:
        large *= 2
    return float(brentq(lambda d: power(d, sd, n, alpha=alpha) - wanted, 0.0, large))


def noise_floor(
    scores: Sequence[float], n: int, *, share: float = 0.95, draws: int = 10_000, seed: int = 0
) -> NoiseFloor:
    """Return how far n seeds of a mixer come out from n other seeds of it.

    Args:
        scores: of one mixer, each from another seed; at least 2 n.
        share: of the mean differences that the size is to cover.

    Raises:
        ValueError: too few scores, one that is not finite, or a share outside 0 to 1.
    """
    _check_share(share, "share")
    if n < 1:
        raise ValueError(f"{n} seeds; expected at least one")
    draw, rng = draw_from(scores), np.random.default_rng(seed)
    means = [abs(float(draw(rng, n).mean())) for _ in range(draws)]
    spread = math.sqrt(2) * float(np.std(scores, ddof=1))
    return NoiseFloor(n, spread, float(np.quantile(means, share, method="higher")))


def draw_from(scores: Sequence[float]) -> Draw:
    """Return the draw of paired differences between disjoint seeds of one mixer's scores."""
    check_finite(scores, "score")
    pool = np.asarray(scores, dtype=float)

    def draw(rng: np.random.Generator, n: int) -> Floats:
        if 2 * n > len(pool):
            raise ValueError(f"{len(pool)} scores; two disjoint sets of {n} seeds need {2 * n}")
        first, second = rng.choice(pool, (2, n), replace=False)
        difference: Floats = first - second
        return difference

    return draw


def simulate_campaigns(
    draw: Draw,
    *,
    n_seeds: int,
    n_comparisons: int,
    rng: np.random.Generator,
    n_campaigns: int = 200,
    planted: float = 0.0,
    rule: Rule | None = None,
) -> Simulated:
    """Return what a rule calls different in campaigns of a mixer against itself.

    Args:
        planted: added to the differences of the first comparison; zero for pure A/A campaigns.
        rule: by default that of `decide`.

    Raises:
        ValueError: not one campaign, or what the draw or the rule refuses.
    """
    if n_campaigns < 1:
        raise ValueError(f"{n_campaigns} campaigns; expected at least one")
    call = rule or corrected(sign_flip_p)
    names = [f"comparison {i}" for i in range(n_comparisons)]
    false_alarms = found = 0
    for _ in range(n_campaigns):
        comparisons = {name: draw(rng, n_seeds) for name in names}
        real = set()
        if planted:
            comparisons[names[0]] = comparisons[names[0]] + planted
            real = {names[0]}
        called = set(call({name: values.tolist() for name, values in comparisons.items()}))
        false_alarms += bool(called - real)
        found += bool(called & real)
    return Simulated(n_campaigns, false_alarms, found)


def corrected(
    p_value: Callable[[Sequence[float]], float],
    alpha: float = 0.05,
    correction: Correction = "holm",
) -> Rule:
    """Return the rule that calls different what a test's corrected p-values leave below alpha."""

    def rule(comparisons: Comparisons) -> Collection[str]:
        adjusted = CORRECTIONS[correction]([p_value(each) for each in comparisons.values()])
        return {name for name, p in zip(comparisons, adjusted, strict=True) if p <= alpha}

    return rule


def binomial_bounds(n: int, share: float, confidence: float = 0.99) -> tuple[int, int]:
    """Return between which counts a share of n comes out, with the given confidence."""
    from scipy.stats import binom

    low, high = binom.interval(confidence, n, share)
    return int(low), int(high)


def _seeds_for_what_was_seen(differences: Sequence[float], alpha: float) -> int | None:
    mean = math.fsum(differences) / len(differences)
    if len(differences) < 2 or mean == 0:
        return None
    sd = float(np.std(differences, ddof=1))
    if sd <= ROUNDING * abs(mean):
        return 2
    return _search(mean, sd, alpha, wanted=0.8)


def _search(difference: float, sd: float, alpha: float, wanted: float) -> int | None:
    """Return the fewest seeds with the wanted power; None beyond `MOST_SEEDS`."""
    counts = range(2, MOST_SEEDS + 1)
    at = bisect_left(counts, wanted, key=lambda n: power(difference, sd, n, alpha=alpha))
    return counts[at] if at < len(counts) else None


def _check_share(value: float, what: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{what} {value}; expected between 0 and 1")


def _check_wanted(wanted: float, alpha: float) -> None:
    if not alpha < wanted < 1:
        raise ValueError(f"a power of {wanted}; expected between alpha {alpha} and 1")

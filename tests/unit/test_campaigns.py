"""The decision rule of a campaign: what it calls, how often it is wrong, and what it takes."""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from noctuary.campaigns import (
    MOST_SEEDS,
    Comparisons,
    Correction,
    Draw,
    Simulated,
    binomial_bounds,
    corrected,
    decide,
    draw_from,
    fewest_seeds,
    noise_floor,
    power,
    seeds_needed,
    simulate_campaigns,
    smallest_difference,
)
from noctuary.stats import Floats, hedges_g_paired, paired_t_p, sign_flip_p

differences = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=10)
comparisons = st.lists(differences, min_size=1, max_size=6).map(
    lambda lists: {f"c{i}": values for i, values in enumerate(lists)}
)


def normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(0, 1, n)


def heavy(rng: np.random.Generator, n: int) -> Floats:
    return rng.standard_t(2, n)


def two_modes(rng: np.random.Generator, n: int) -> Floats:
    """Draw differences of scores that break through on every second seed."""
    scores = np.where(rng.random((2, n)) < 0.5, 1.0, 0.2) + rng.normal(0, 0.01, (2, n))
    return scores[0] - scores[1]


def real_like(rng: np.random.Generator, n: int) -> Floats:
    """Draw from a pool of sixty scores, as a campaign over real trials does."""
    pool = np.random.default_rng(7).beta(0.5, 0.5, 60)
    return draw_from(pool.tolist())(rng, n)


NOISES = [normal, heavy, two_modes, real_like]


@pytest.mark.parametrize("sd", [0.02, 1.0])
@pytest.mark.parametrize("n", [3, 5, 9, 40])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_power_is_statsmodels(n: int, alpha: float, sd: float) -> None:
    for size in (0.3, 0.8, 1.5, 2.5):
        ours = power(size * sd, sd, n, alpha=alpha)
        theirs = TTestPower().power(size, n, alpha / 2, alternative="larger")
        assert ours == pytest.approx(theirs, abs=1e-9)
        assert power(-size * sd, sd, n, alpha=alpha) == ours


def test_power_far_out_is_one() -> None:
    for size in np.logspace(1, 4, 50):  # where statsmodels gives nan here and there
        assert power(size, 1.0, 10) == pytest.approx(1.0)


def test_seeds_needed_of_textbooks() -> None:
    # Cohen (1988): pairs for a medium and a large effect at 0.05 two-sided, power 0.8
    assert seeds_needed(0.5, 1.0) == 34
    assert seeds_needed(0.8, 1.0) == 15
    assert seeds_needed(0.5, 1.0, wanted=0.9) == 44
    assert seeds_needed(1e3, 1.0) == 2


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 200), st.floats(0.01, 10), st.sampled_from([0.001, 0.05, 0.2]))
def test_smallest_difference_needs_just_these_seeds(n: int, sd: float, alpha: float) -> None:
    found = smallest_difference(n, sd, alpha=alpha)
    assert power(found, sd, n, alpha=alpha) == pytest.approx(0.8)
    assert seeds_needed(1.0001 * found, sd, alpha=alpha) <= n
    assert seeds_needed(0.9999 * found, sd, alpha=alpha) > n


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power(0.1, 0.0, 5), "sd 0.0; power needs"),
        (lambda: power(0.1, -1.0, 5), "sd -1.0; power needs"),
        (lambda: power(0.1, math.nan, 5), "a sd is nan"),
        (lambda: power(math.inf, 1.0, 5), "a difference is inf"),
        (lambda: power(0.1, 1.0, 1), "1 seeds; a test needs"),
        (lambda: power(0.1, 1.0, 5, alpha=0.0), "alpha 0.0; expected between"),
        (lambda: seeds_needed(0.0, 1.0), "a difference of 0"),
        (lambda: seeds_needed(0.1, 0.0), "sd 0.0"),
        (lambda: seeds_needed(0.1, 1.0, wanted=1.0), "a power of 1.0"),
        (lambda: seeds_needed(0.1, 1.0, wanted=0.05), "a power of 0.05"),
        (lambda: seeds_needed(1e-6, 1.0), f"more than {MOST_SEEDS} seeds"),
        (lambda: smallest_difference(5, 0.0), "sd 0.0"),
        (lambda: smallest_difference(1, 1.0), "1 seeds"),
        (lambda: smallest_difference(5, 1.0, wanted=math.nan), "a power of nan"),
        (lambda: fewest_seeds(0), "0 comparisons"),
        (lambda: fewest_seeds(3, 1.5), "alpha 1.5"),
        (lambda: fewest_seeds(2000), "at most 1638 can be told"),
        (lambda: noise_floor([0.1] * 9, 5), "9 scores; two disjoint sets of 5 seeds need 10"),
        (lambda: noise_floor([], 1), "no score"),
        (lambda: noise_floor([0.1, math.nan], 1), "a score is nan"),
        (lambda: noise_floor([0.1, 0.2], 0), "0 seeds"),
        (lambda: noise_floor([0.1, 0.2], 1, share=1.0), "share 1.0"),
        (lambda: decide({}), "no comparisons"),
        (lambda: decide({"a": [0.1], "b": []}), "b: no difference"),
        (lambda: decide({"a": [0.1, math.nan]}), "a: a difference is nan"),
        (lambda: decide({"a": [0.1]}, alpha=0.0), "alpha 0.0"),
    ],
)
def test_impossible_values_are_refused_in_a_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("count", "fewest"), [(1, 6), (4, 8), (10, 9), (100, 12)])
def test_fewest_seeds_is_where_the_rule_begins_to_call(count: int, fewest: int) -> None:
    assert fewest_seeds(count) == fewest
    noise = {f"noise {i}": [1.0, -1.0] * 6 for i in range(count - 1)}
    for correction in ("holm", "benjamini-hochberg"):
        clear = decide({"clear": [1.0] * fewest, **noise}, correction=correction)[0]
        short = decide({"clear": [1.0] * (fewest - 1), **noise}, correction=correction)[0]
        assert clear.different
        assert clear.seeds_needed == fewest
        assert not short.different
        assert short.low is None


def test_a_verdict_by_hand() -> None:
    clear = [0.3, 0.2, 0.25, 0.4, 0.35, 0.1, 0.3]
    first, second = decide({"clear": clear, "noise": [0.1, -0.1, 0.2, -0.2, 0.0, 0.1, -0.1]})
    assert (first.name, first.n, first.different) == ("clear", 7, True)
    assert first.effect == pytest.approx(1.9 / 7)
    assert first.p == 2 / 2**7
    assert first.adjusted_p == 4 / 2**7
    # at 0.025 one of 128 subsets lies beyond either bound: the smallest and the largest difference
    assert (first.low, first.high) == (0.1, 0.4)
    assert first.g == hedges_g_paired(clear)
    assert first.seeds_needed == 7  # Student's test would do with fewer, the flips do not
    assert (second.different, second.p, second.adjusted_p) == (False, 1.0, 1.0)
    assert second.seeds_needed is None  # a mean of zero


def test_seeds_needed_of_a_verdict_is_the_formulas() -> None:
    seen = [0.5, -0.25, 0.25, 0.75, -0.5, 0.5]
    verdict = decide({"a": seen, "b": [-d for d in seen], "c": [0.1]})[0]
    sd = float(np.std(seen, ddof=1))
    assert verdict.seeds_needed == seeds_needed(sum(seen) / 6, sd, alpha=0.05 / 3)


def test_one_difference_is_no_evidence() -> None:
    (verdict,) = decide({"one": [0.9]})
    assert verdict.n == 1
    assert (verdict.p, verdict.different) == (1.0, False)
    assert (verdict.low, verdict.g, verdict.seeds_needed) == (None, None, None)


@settings(deadline=None)
@given(comparisons, st.sampled_from([0.05, 0.2]))
def test_a_simultaneous_interval_without_zero_is_a_call(
    campaign: dict[str, list[float]], alpha: float
) -> None:
    verdicts = decide(campaign, alpha)
    for verdict in verdicts:
        if verdict.low is not None and not verdict.low <= 0 <= verdict.high:
            assert verdict.different
    if any(verdict.different for verdict in verdicts):  # the first of Holm's steps is Bonferroni's
        first = min(verdicts, key=lambda verdict: verdict.p)
        assert first.low is not None and not first.low <= 0 <= first.high


@settings(deadline=None, max_examples=30)
@given(comparisons, st.data())
def test_verdicts_know_no_order(campaign: dict[str, list[float]], data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(campaign)))
    turned = {name: list(reversed(campaign[name])) for name in names}
    ours = {verdict.name: verdict for verdict in decide(campaign)}
    for verdict in decide(turned):
        other = ours[verdict.name]
        assert verdict.adjusted_p == pytest.approx(other.adjusted_p)
        assert (verdict.different, verdict.low) == (other.different, other.low)
    assert [verdict.name for verdict in decide(turned)] == names


@settings(deadline=None, max_examples=30)
@given(comparisons)
def test_benjamini_hochberg_calls_all_that_holm_calls(campaign: dict[str, list[float]]) -> None:
    strict, lenient = decide(campaign), decide(campaign, correction="benjamini-hochberg")
    assert all(b.different >= a.different for a, b in zip(strict, lenient, strict=True))


@pytest.mark.parametrize("draw", NOISES)
@pytest.mark.parametrize("correction", ["holm", "benjamini-hochberg"])
def test_a_mixer_against_itself_is_rarely_called_different(
    draw: Draw, correction: Correction
) -> None:
    seen = simulate_campaigns(
        draw,
        n_seeds=10,
        n_comparisons=4,
        rng=np.random.default_rng(11),
        rule=corrected(sign_flip_p, correction=correction),
    )
    assert seen.campaigns == 200
    assert seen.found == 0
    assert 0 < seen.false_alarms <= binomial_bounds(200, 0.05)[1]


def test_many_comparisons_with_two_modes_need_the_sign_flip() -> None:
    def simulate(p_value: Callable[..., float]) -> int:
        rng = np.random.default_rng(12)
        rule = corrected(p_value)
        options = {"n_seeds": 5, "n_comparisons": 100, "n_campaigns": 200}
        return simulate_campaigns(two_modes, rng=rng, rule=rule, **options).false_alarms

    # five equal breakthroughs in a row happen to 2 / 4^5, and look like certainty to Student
    assert simulate(paired_t_p) > binomial_bounds(200, 0.05)[1]
    assert simulate(sign_flip_p) == 0


@pytest.mark.parametrize("n", [12, 14])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95])
def test_what_is_planted_is_found_as_often_as_the_formula_states(n: int, wanted: float) -> None:
    planted = smallest_difference(n, 1.0, alpha=0.05 / 4, wanted=wanted)
    seen = simulate_campaigns(
        normal, n_seeds=n, n_comparisons=4, planted=planted, rng=np.random.default_rng(n)
    )
    low, high = binomial_bounds(200, wanted)
    assert low <= seen.found <= high
    assert seen.false_alarms <= binomial_bounds(200, 0.05)[1]


def test_a_campaign_too_small_finds_nothing_however_large() -> None:
    seen = simulate_campaigns(
        normal, n_seeds=7, n_comparisons=4, planted=100.0, rng=np.random.default_rng(0)
    )
    assert seen == Simulated(200, 0, 0)
    one_more = simulate_campaigns(
        normal, n_seeds=8, n_comparisons=4, planted=100.0, rng=np.random.default_rng(0)
    )
    assert one_more.found == 200


def test_a_rare_mode_that_all_seeds_missed_misleads() -> None:
    """The limit that the module's docstring names: equal means, and yet half the calls."""

    def rare(rng: np.random.Generator, n: int) -> Floats:
        return np.where(rng.random(n) < 0.1, 0.9, -0.1)

    seen = simulate_campaigns(rare, n_seeds=6, n_comparisons=1, rng=np.random.default_rng(3))
    low, high = binomial_bounds(200, 0.9**6)
    assert low <= seen.false_alarms <= high


def test_the_simulation_counts_what_the_rule_calls() -> None:
    seen: list[Comparisons] = []

    def all_but_the_first(campaign: Comparisons) -> list[str]:
        seen.append(campaign)
        return list(campaign)[1:]

    def simulate(n_comparisons: int, planted: float, rule: Callable[..., list[str]]) -> Simulated:
        return simulate_campaigns(
            lambda rng, n: np.zeros(n),
            n_seeds=3,
            n_comparisons=n_comparisons,
            n_campaigns=5,
            planted=planted,
            rng=np.random.default_rng(0),
            rule=rule,
        )

    assert simulate(3, 0.5, all_but_the_first) == Simulated(5, 5, 0)
    assert list(seen[0].values()) == [[0.5] * 3, [0.0] * 3, [0.0] * 3]
    assert simulate(1, 0.5, all_but_the_first) == Simulated(5, 0, 0)
    assert simulate(3, 0.5, list) == Simulated(5, 5, 5)
    assert simulate(1, 0.5, list) == Simulated(5, 0, 5)
    assert simulate(1, 0.0, list) == Simulated(5, 5, 0)
    with pytest.raises(ValueError, match="0 campaigns"):
        simulate_campaigns(
            normal, n_seeds=3, n_comparisons=1, n_campaigns=0, rng=np.random.default_rng(0)
        )


def test_noise_floor_of_normal_scores() -> None:
    scores = np.random.default_rng(4).normal(0.5, 0.1, 400)
    found = noise_floor(scores.tolist(), 8)
    sd = float(np.std(scores, ddof=1))
    assert found.n == 8
    assert found.spread == pytest.approx(math.sqrt(2) * sd)
    assert found.size == pytest.approx(1.96 * sd * math.sqrt(2 / 8), rel=0.05)


def test_noise_floor_by_hand() -> None:
    pool = [0.0, 0.0, 0.25, 1.0]
    means = [abs(a + b - c - d) / 2 for a, b, c, d in permutations(pool)]  # 0.375 or 0.625
    assert noise_floor(pool, 2, share=0.3).size == pytest.approx(min(means))
    assert noise_floor(pool, 2).size == pytest.approx(max(means))
    assert noise_floor([0.5] * 4, 2).size == 0.0


def test_both_sides_of_a_draw_have_seeds_of_their_own() -> None:
    pool = [float(2**i) for i in range(8)]
    rng = np.random.default_rng(6)
    for _ in range(200):
        drawn = draw_from(pool)(rng, 4)
        # all eight are used once: the first sides minus the second are all minus twice the second
        second = (sum(pool) - drawn.sum()) / 2
        assert bin(int(second)).count("1") == 4
        assert second == int(second)

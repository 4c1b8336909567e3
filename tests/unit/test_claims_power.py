"""Seeds from the power calculation, and what the whole rule does in simulated claims."""

import math

import claims as simulated
import numpy as np
import pytest

from noctuary.campaigns import binomial_bounds, power
from noctuary.claims.power import (
    LEAST_SPREAD,
    MOST_SEEDS,
    Differences,
    expected_spread,
    seeds_for,
)
from noctuary.claims.sign_flips import fewest_pairs
from noctuary.errors import UsageError

FIRST = {"alpha": 0.025, "power": 0.8, "comparisons": 6}


@pytest.mark.parametrize(("effect", "spread"), [(0.02, 0.03), (0.03, 0.03), (0.05, 0.04)])
def test_the_seeds_are_the_fewest_with_the_power_for_all_comparisons_together(
    effect: float, spread: float
) -> None:
    seeds = seeds_for(effect, spread, **FIRST)
    together = [1 - 6 * (1 - power(effect, spread, n, alpha=0.05)) for n in (seeds - 1, seeds)]
    assert together[0] < 0.8 <= together[1]


def test_there_are_always_enough_to_verify_and_to_refute() -> None:
    assert seeds_for(0.9, 0.001, **FIRST) == fewest_pairs(0.025 / 6) == 8


def test_a_later_claim_takes_more_seeds() -> None:
    later = [
        seeds_for(0.05, 0.05, alpha=0.05 / (n * (n + 1)), power=0.8, comparisons=6)
        for n in (1, 2, 5, 20)
    ]
    assert later == sorted(set(later))


def test_more_seeds_can_be_asked_for_but_never_fewer() -> None:
    needed = seeds_for(0.03, 0.04, **FIRST)
    assert seeds_for(0.03, 0.04, **FIRST, asked=needed + 5) == needed + 5
    with pytest.raises(UsageError, match=rf"--seeds {needed - 1}: .* takes {needed}; expected"):
        seeds_for(0.03, 0.04, **FIRST, asked=needed - 1)


def test_too_many_seeds_are_refused_with_what_the_most_would_show() -> None:
    with pytest.raises(UsageError, match=r"takes 143 seeds.*--smallest-effect 0\.024") as caught:
        seeds_for(0.02, 0.0625, **FIRST)
    assert "\n" not in str(caught.value)
    assert seeds_for(0.024, 0.0625, **FIRST) <= MOST_SEEDS
    assert seeds_for(0.02, 0.0625, **FIRST, asked=150) == 150  # who wants to, may


def test_an_effect_that_nobody_can_show_is_refused_too() -> None:
    with pytest.raises(UsageError, match=r"more than 1000000 seeds.*claim a larger one"):
        seeds_for(1e-6, 0.1, **FIRST)


def _pair(name: str, spread: float, seeds: int = 5) -> Differences:
    """Return four tasks whose differences have just this sample standard deviation."""
    values = np.linspace(-1, 1, seeds)
    return Differences(name, [(values / values.std(ddof=1) * spread).tolist()] * 4)


def test_the_spread_is_of_the_widest_pair_and_of_a_mean_over_the_held_out_tasks() -> None:
    spread = expected_spread([_pair("gla and new", 0.2), _pair("delta and new", 0.3)], 9, 2)
    assert 0.3 / 3 < spread.value < 1.2 * 0.3 / 3
    assert spread.source == "delta and new on rung 2 of the search, 5 seeds, 4 tasks"


def test_fewer_seeds_of_the_pilot_make_it_more_careful() -> None:
    values = [expected_spread([_pair("a pair", 0.3, seeds)], 1, 2).value for seeds in (2, 3, 9)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    "known",
    [
        [],
        [_pair("a lucky pair", 0.001)],
        [Differences("one seed", [[0.4]] * 4)],
        [Differences("a task without seeds in common", [[0.4, 0.1], []])],
    ],
)
def test_it_is_never_below_what_human_baselines_show(known: list[Differences]) -> None:
    spread = expected_spread(known, 4, 2)
    assert spread.value == LEAST_SPREAD / math.sqrt(4)
    assert "human baselines" in spread.source


CLAIMS = 200
NORMAL, MODES = simulated.made_up(0.15)


@pytest.mark.parametrize("source", [pytest.param(NORMAL, marks=pytest.mark.slow), MODES])
def test_of_200_claims_of_nothing_at_most_one_in_twenty_is_verified(
    source: simulated.Source,
) -> None:
    effect = simulated.planted(0.1)["nothing at one scale"]  # the hardest: all else is far better
    counted, _ = simulated.outcomes(source, effect, claims=CLAIMS, smallest=0.1, seed=0)
    assert counted["verified"] <= 0.05 * CLAIMS
    assert counted["refused"] == 0


def test_of_claims_of_a_mixer_that_equals_both_baselines_none_is_verified() -> None:
    effect = simulated.planted(0.1)["nothing"]
    counted, _ = simulated.outcomes(NORMAL, effect, claims=50, smallest=0.1, seed=0)
    assert counted["verified"] == 0


@pytest.mark.parametrize("source", [NORMAL, pytest.param(MODES, marks=pytest.mark.slow)])
def test_of_200_claims_of_an_effect_of_the_registered_size_four_in_five_are_verified(
    source: simulated.Source,
) -> None:
    effect = simulated.planted(0.1)["the effect"]
    counted, seeds = simulated.outcomes(source, effect, claims=CLAIMS, smallest=0.1, seed=0)
    assert counted["verified"] >= 0.8 * CLAIMS
    assert counted["refuted"] <= binomial_bounds(CLAIMS, 0.025)[1]
    assert np.median(seeds) <= 20


@pytest.mark.slow
def test_a_campaign_of_claims_of_nothing_keeps_its_alpha() -> None:
    false = simulated.campaigns_with_a_false_claim(
        NORMAL, campaigns=40, claims=3, smallest=0.1, seed=0
    )
    assert false <= binomial_bounds(40, 0.05)[1]

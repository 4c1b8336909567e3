"""The benchmark of searches: its landscapes, whole runs, and how they are held together."""

from random import Random

import numpy as np
import pytest
from comparing import RESAMPLES, compared, hits, tables
from oracle import Measured, Oracle
from search import baselines, run
from searchers import RIVALS, SEARCHERS
from table import Floats, Table

from noctuary.bench.suite import STANDARD
from noctuary.space.features import encoded
from noctuary.space.genome import Genome
from noctuary.space.operators import distance, draw

TASKS = tuple(sorted(task.name for task in STANDARD.tasks))


def drawn(count: int, seed: int) -> list[Genome]:
    rng = Random(seed)
    return list(dict.fromkeys(draw(rng)[0] for _ in range(count)))


@pytest.fixture(scope="module")
def table() -> Table:
    """Return designs whose scores are sums of effects."""
    genomes = tuple(dict.fromkeys([*baselines().values(), *drawn(120, seed=1)]))
    points = encoded(genomes)
    effects = np.random.default_rng(0).normal(0, 0.05, (points.shape[1], len(TASKS)))
    noise = np.random.default_rng(1).normal(0, 0.01, (40, len(TASKS)))
    return Table(TASKS, genomes, 0.5 + points @ effects, noise, np.zeros((0, 2)), 0)


# Landscapes


def test_the_oracle_has_one_percent_of_the_space_at_the_top(table: Table) -> None:
    oracle = Oracle(table, drawn(2000, seed=2))
    assert np.mean(oracle.drawn >= oracle.targets["1 %"]) == pytest.approx(0.01, abs=0.003)
    fresh = oracle.scores(drawn(2000, seed=3)).mean(1)
    assert 0.002 < np.mean(fresh >= oracle.targets["1 %"]) < 0.03


def test_the_oracle_orders_designs_that_it_has_not_seen(table: Table) -> None:
    half = len(table.genomes) // 2
    seen = table._replace(genomes=table.genomes[:half], scores=table.scores[:half])
    predicted = Oracle(seen, drawn(100, seed=2)).scores(table.genomes[half:])
    assert np.corrcoef(predicted.mean(1), table.scores[half:].mean(1))[0, 1] > 0.4


def test_its_noise_is_that_of_the_seeds(table: Table) -> None:
    noise = Oracle(table, drawn(100, seed=2)).noise(4000, np.random.default_rng(0))
    assert noise.std(0) == pytest.approx(table.noise.std(0), rel=0.1)


def test_of_the_measured_designs_the_nearest_new_one_is_tried(table: Table) -> None:
    measured = Measured(table)
    seen = set(table.genomes[:60])
    wanted = drawn(8, seed=4)
    tried = measured.settle(wanted, seen)
    assert len(set(tried)) == len(tried)
    left = [genome for genome in table.genomes if genome not in seen]
    for n, (asked, got) in enumerate(zip(wanted, tried, strict=True)):
        free = [genome for genome in left if genome not in tried[:n]]
        assert distance(asked, got) == min(distance(asked, genome) for genome in free)
    assert measured.settle([left[3]], seen) == [left[3]]


def test_the_best_percent_of_the_measured_designs_reach_the_target(table: Table) -> None:
    measured = Measured(table)
    top = measured.scores(table.genomes).mean(1) >= measured.targets["1 %"]
    assert top.sum() == round(0.01 * len(table.genomes))


# Runs


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_seed_repeats_a_search(name: str, table: Table) -> None:
    landscape = Oracle(table, drawn(100, seed=2))
    once, again = (run(name, landscape, [7, 8], trials=8) for _ in range(2))
    assert once.shape == (2, 8)
    assert (once == again).all()
    assert (once[0] != once[1]).any()


def test_on_the_measured_designs_no_search_tries_one_twice(table: Table) -> None:
    spread = table._replace(scores=np.random.default_rng(3).random(table.scores.shape))
    for name in RIVALS:
        [values] = run(name, Measured(spread), [0], trials=40)
        assert len(set(values)) == 40


def test_a_search_that_learns_is_better_than_random_search(table: Table) -> None:
    landscape = Oracle(table, drawn(100, seed=2))
    best = {
        name: run(name, landscape, range(6), trials=40).max(1).mean()
        for name in ("random search", "without gaps")
    }
    assert best["random search"] < best["without gaps"]


# Comparisons


def test_the_first_trial_at_the_target_counts() -> None:
    values = np.array([[0.1, 0.5, 0.4, 0.9], [0.5, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]])
    assert hits(values, 0.5).tolist() == [2, 1, np.inf]


def planted(rng: np.random.Generator, chance: float) -> Floats:
    """Return 300 repetitions of 200 trials, each at the top with this probability."""
    return (rng.random((300, 200)) < chance).astype(float)


def test_a_search_is_held_against_random_search_repetition_by_repetition() -> None:
    rng = np.random.default_rng(0)
    slow, fast = planted(rng, 0.01), planted(rng, 0.04)
    values = {"random search": slow, "same": slow, "the default": fast}
    found = compared(values, {"1 %": 1.0})["searches"]
    assert found["same"]["top"]["1 %"]["of_random"] == [1.0, 1.0, 1.0]
    _, low, high = found["the default"]["top"]["1 %"]["of_random"]
    # expected: 25 trials, of (1 - 0.99^200) / 0.01 = 86.6 where the last trial ends the count
    assert low < 25 / 86.6 < high
    assert high - low < 0.15
    assert found["the default"]["top"]["1 %"]["later"] == [0.0, 0.0, 0.0]
    _, low, high = found["same"]["top"]["1 %"]["later"]
    assert 40 < low < 86.6 - 25 < high < 85
    assert found["same"]["better"][20][0] < 0  # it has the top less often by then


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(40):
        values = {"random search": planted(np.random.default_rng(seed), 0.05)}
        found = compared(values, {"1 %": 1.0})["searches"]["random search"]
        _, low, high = found["top"]["1 %"]["mean"]
        held += low <= 20 <= high
    assert RESAMPLES >= 1000
    assert held >= 34  # of 40; at 95 % fewer has a probability below 1 %


def test_a_search_that_mostly_fails_has_no_median() -> None:
    values = np.zeros((10, 20))
    values[:4, 5] = 1.0
    found = compared({"random search": values}, {"1 %": 1.0})
    top = found["searches"]["random search"]["top"]["1 %"]
    assert top["median"][0] == np.inf
    assert top["reached"] == 0.4
    assert top["mean"][0] == pytest.approx(0.4 * 6 + 0.6 * 20)
    assert "over 20 (" in tables(found)

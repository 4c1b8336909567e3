"""The parts of the search: the surrogate, the batch, novelty, plateaus."""

import json
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import norm, spearmanr
from searching import EFFECTS, SPACE, attempt, climbed, worth

from noctuary.domain import Paper
from noctuary.search.batch import APART, chosen, expected_improvement, first
from noctuary.search.history import Attempt, History, genome_of
from noctuary.search.moves import Moves
from noctuary.search.novelty import Novelty
from noctuary.search.plateau import NOISE, PATIENCE, plateau
from noctuary.search.surrogate import GUESS, Kernel, Surrogate
from noctuary.space.features import MECHANISMS, encoded
from noctuary.space.genome import Genome
from noctuary.space.human import HUMAN
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import distance, draw, neighbours

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("steady")

# --- the surrogate


def test_the_surrogate_learns_what_mechanisms_are_worth() -> None:
    seen, unseen = climbed(120), SPACE[:200]
    belief = Surrogate(
        encoded([a.genome for a in seen.scored if a.genome]),
        np.array([a.score for a in seen.scored]),
    )
    mean, covariance = belief.predict(encoded(unseen))
    truth = np.array([worth(genome) for genome in unseen])
    assert spearmanr(mean, truth).statistic > 0.8
    inside = np.abs(mean - truth) < 2 * np.sqrt(np.diag(covariance))
    assert inside.mean() > 0.85
    assert abs(belief.best - max(a.score or 0 for a in seen.scored)) < 0.05


def test_without_scores_the_surrogate_believes_the_literature() -> None:
    points = encoded(SPACE[:50])
    belief = Surrogate(points[:0], np.zeros(0), EFFECTS)
    mean, covariance = belief.predict(points)
    assert np.allclose(mean - mean[0], (points - points[0]) @ EFFECTS)
    assert (np.diag(covariance) > 0).all()
    for few in (1, 2, 3):
        scores = np.array([worth(genome) for genome in SPACE[:few]])
        mean, covariance = Surrogate(points[:few], scores, EFFECTS).predict(points)
        assert np.isfinite(mean).all()
        assert np.diag(covariance)[:few].max() < np.diag(covariance)[few:].min()


def test_what_is_measured_is_believed_and_its_neighbours_are_less_uncertain() -> None:
    genome, far = SPACE[0], max(SPACE, key=lambda other: distance(other, SPACE[0]))
    seen = climbed(40)
    genomes = [*(a.genome for a in seen.scored if a.genome), genome]
    scores = np.array([*(a.score for a in seen.scored if a.score), worth(genome)])
    mean, covariance = Surrogate(encoded(genomes), scores).predict(
        encoded([genome, neighbours(genome)[0], far])
    )
    assert abs(mean[0] - worth(genome)) < 0.03
    assert covariance[0, 0] < covariance[1, 1] < covariance[2, 2]
    assert covariance[0, 1] > covariance[0, 2]


def naive_covariance(kernel: Kernel, one: Genome, other: Genome) -> float:
    """Return the covariance of two scores by going over the axes."""
    total = sum(kernel.rates)
    same = [getattr(one, axis) == getattr(other, axis) for axis in AXES]
    shared = sum(rate for rate, agree in zip(kernel.rates, same, strict=True) if agree)
    return float(kernel.additive * shared / total + kernel.near * np.exp(shared - total))


def test_the_surrogate_is_the_gaussian_process_of_the_textbook() -> None:
    seen = climbed(30)
    genomes = [a.genome for a in seen.scored if a.genome]
    scores, asked = np.array([a.score for a in seen.scored]), SPACE[:5]
    belief = Surrogate(encoded(genomes), scores)

    def covariances(some: Sequence[Genome], others: Sequence[Genome]) -> np.ndarray:
        return np.array([[naive_covariance(belief.kernel, a, b) for b in others] for a in some])

    inverse = np.linalg.inv(covariances(genomes, genomes) + belief.kernel.noise * np.eye(30))
    beside = covariances(asked, genomes)
    mean = belief.centre + beside @ inverse @ (scores - belief.centre)
    covariance = covariances(asked, asked) - beside @ inverse @ beside.T
    found, found_covariance = belief.predict(encoded(asked))
    assert np.allclose(found, mean)
    assert np.allclose(found_covariance, belief.scale**2 * covariance)


def test_the_surrogate_finds_out_which_axes_matter() -> None:
    rng = Random(1)
    genomes = [draw(rng)[0] for _ in range(80)]
    scores = np.array(
        [0.3 * (g.local_window == "window32") + 0.2 * (g.token_shift == "blend") for g in genomes]
    )
    rates = dict(zip(AXES, Surrogate(encoded(genomes), scores).kernel.rates, strict=True))
    assert set(sorted(rates, key=lambda axis: rates[axis])[-2:]) == {"local_window", "token_shift"}


def test_the_fit_climbs_by_the_gradient_of_the_likelihood() -> None:
    seen = climbed(20)
    belief = Surrogate(
        encoded([a.genome for a in seen.scored if a.genome]),
        np.array([a.score for a in seen.scored]),
    )
    somewhere = GUESS + np.random.default_rng(0).normal(0, 0.5, len(GUESS))
    _, gradient = belief._unlikelihood(somewhere)
    numeric = approx_fprime(somewhere, lambda at: belief._unlikelihood(at)[0], 1e-6)
    assert np.allclose(gradient, numeric, atol=1e-3)


# --- the batch


@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(-3, 3))
def test_expected_improvement_is_the_mean_of_what_exceeds_the_best(
    mean: float, sd: float, best: float
) -> None:
    grid = norm.ppf((np.arange(20_000) + 0.5) / 20_000, mean, sd)
    naive = np.maximum(grid - best, 0).mean()
    found = expected_improvement(np.array([mean]), np.array([sd]), best)[0]
    assert found == pytest.approx(naive, abs=1e-3 * sd)


def some_places(number: int, of: int) -> list[np.ndarray]:
    return [np.ones(of, bool)] * number


def test_a_batch_prefers_what_may_improve_and_spreads() -> None:
    # two pairs of near-equal ideas, and one that is surely bad
    mean = np.array([0.60, 0.59, 0.55, 0.54, 0.1])
    covariance = 0.01 * np.array(
        [
            [1.0, 0.99, 0, 0, 0],
            [0.99, 1.0, 0, 0, 0],
            [0, 0, 1.0, 0.99, 0],
            [0, 0, 0.99, 1.0, 0],
            [0, 0, 0, 0, 0.01],
        ]
    )
    far = np.full((5, 5), 9.0)
    assert chosen(mean, covariance, 0.6, 0.01, far, some_places(2, 5)) == [0, 2]
    near = far.copy()
    near[0, 2] = near[2, 0] = APART - 1
    assert chosen(mean, covariance, 0.6, 0.01, near, some_places(2, 5)) == [0, 3]


def test_each_place_takes_what_may_have_it_as_long_as_there_is_something() -> None:
    mean, covariance, apart = np.arange(4.0), np.eye(4), np.full((4, 4), 9.0)
    only_first = np.array([True, False, False, False])
    places = [only_first, only_first, *some_places(5, 4)]
    assert chosen(mean, covariance, 9.0, 0.1, apart, places) == [0, 3, 2, 1]
    assert first(apart, places) == [0, 1, 2, 3]
    near = np.ones((4, 4))
    assert sorted(chosen(mean, covariance, 9.0, 0.1, near, some_places(4, 4))) == [0, 1, 2, 3]


def test_where_nothing_can_improve_the_highest_expectation_is_taken() -> None:
    mean, nothing = np.array([0.1, 0.3, 0.2]), np.zeros((3, 3))
    apart = np.full((3, 3), 9.0)
    assert chosen(mean, nothing, 0.9, 0.1, apart, some_places(2, 3)) == [1, 2]


# --- novelty


def paper(arxiv_id: str | None) -> Paper:
    return Paper(
        paper_id="arxiv:2312.06635",
        title="Gated Linear Attention",
        authors=("A. Author",),
        year=2023,
        venue="ICML",
        arxiv_id=arxiv_id,
        account="",
        axes=HUMAN["gla"].axes,
        source="snapshot",
    )


def test_known_designs_are_refused_with_the_reason() -> None:
    gla, nothing = HUMAN["gla"], History()
    listed, unlisted = paper("2312.06635"), paper(None)
    assert Novelty(nothing, [listed]).refusal(gla) == (
        "known: Gated Linear Attention (arXiv 2312.06635)"
    )
    assert Novelty(nothing, [unlisted]).refusal(gla) == "known: Gated Linear Attention (ICML 2023)"
    published = Novelty(nothing, published={"gla": gla.telling})
    assert published.refusal(gla) == "known: the human baseline gla"
    tried = Novelty(History([attempt(7, cycle=3)]))
    assert tried.refusal(SPACE[7]) == f"tried in cycle 3 as {attempt(7).name}"
    assert tried.refusal(gla) is None


def test_axes_are_read_from_their_json_too_where_they_are_a_point_of_the_space() -> None:
    genome = SPACE[3]
    assert genome_of(json.dumps(genome.telling)) == genome_of(genome.telling) == genome
    for outside in ('{"decay":"unheard_of"}', '{"unheard_of":"axis"}', '{"update":"delta"}', None):
        assert genome_of(outside) is None


def test_what_all_but_equals_a_design_of_the_worse_half_is_refused() -> None:
    good, bad = SPACE[0], SPACE[1]
    novelty = Novelty(History([attempt(0, 0.9), attempt(1, 0.2)]))
    near_bad = next(g for g in neighbours(bad) if distance(g, bad) == 1)
    near_good = next(g for g in neighbours(good) if distance(g, good) == 1)
    further = next(g for g in neighbours(bad) if distance(g, bad) > 1)
    refusal = novelty.refusal(near_bad)
    assert refusal is not None
    assert refusal.startswith(f"near-duplicate of {attempt(1).name} (score 0.200")
    [axis] = [axis for axis in AXES if getattr(bad, axis) != getattr(near_bad, axis)]
    assert f"{axis} {getattr(bad, axis)} -> {getattr(near_bad, axis)}" in refusal
    assert novelty.refusal(near_good) is None
    assert novelty.refusal(further) is None
    assert Novelty(History([attempt(1, 0.2)])).refusal(near_bad) is None


# --- plateaus


def bests(*scores: float) -> History:
    return History(attempt(n, score, cycle=n + 1) for n, score in enumerate(scores))


def test_a_search_that_stands_still_is_noticed() -> None:
    assert plateau(History()) is None
    assert plateau(bests(0.5, 0.6, 0.7)) is None
    still = [0.7 + NOISE / 2] * PATIENCE
    assert plateau(bests(0.5, 0.7, *still[1:])) is None
    found = plateau(bests(0.5, 0.7, *still))
    assert found is not None
    assert (found.cycles, found.best) == (PATIENCE, 0.7)
    assert f"{PATIENCE} cycles without a design that beats 0.700" in found.words
    assert plateau(bests(0.5, 0.7, *still, 0.8)) is None


def test_many_small_steps_are_progress_once_they_add_up() -> None:
    assert plateau(bests(*(0.5 + n * 0.4 * NOISE for n in range(12)))) is None


def test_the_longer_the_plateau_the_further_the_search_looks() -> None:
    short, long = plateau(bests(*[0.5] * 6)), plateau(bests(*[0.5] * 30))
    assert short is not None and long is not None
    assert Moves().reach < short.reach < long.reach < len(AXES)
    draws = [Moves(p).choose for p in (None, long)]
    calm, restless = (
        sum(choose(Random(seed)) == "draw" for seed in range(300)) for choose in draws
    )
    assert restless > 2 * calm


def test_the_scores_of_human_mixers_are_no_progress() -> None:
    human = Attempt("h", "human", "human", HUMAN["gla"], 0.99)
    history = History([human, *bests(0.5, *[0.5] * PATIENCE).attempts])
    found = plateau(history)
    assert found is not None and found.best == 0.5
    assert len(MECHANISMS) == encoded([HUMAN["gla"]]).shape[1]

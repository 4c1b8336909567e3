"""The effects model: planted effects and interactions are found, with honest uncertainty.

Covers the model on designs drawn from the space with scores that were made up, so that the truth
is known. Whether real scores are like that is what `bench/` measures.
"""

from itertools import combinations
from random import Random

import numpy as np
import pytest
from builders import make_insight

from noctuary.effects import (
    BELIEF,
    EFFECT_SCALE,
    EFFECT_SD,
    LEVEL,
    PRIOR_COUNT,
    SPREAD,
    Floats,
    Observations,
    fit_effects,
    interactions,
    literature_prior,
    pair_kernel,
)
from noctuary.space.features import COLUMN, MECHANISMS, encoded
from noctuary.space.mechanisms import AXES
from noctuary.space.operators import draw

AXIS = [name.split("=")[0] for name in MECHANISMS]
SPACE = encoded([draw(Random(seed))[0] for seed in range(1200)])


def centred(effects: Floats) -> Floats:
    """Return the effects without the mean over their axis."""
    means = {axis: effects[[a == axis for a in AXIS]].mean() for axis in AXES}
    return effects - np.array([means[axis] for axis in AXIS])


def study(
    seed: int, n: int, noise: float = 0.05, pair_sd: float = 0.0
) -> tuple[Observations, Floats, Floats]:
    """Return n scored designs, the effects behind them, and the true scores of the space."""
    rng = np.random.default_rng(seed)
    effects = centred(rng.normal(0, 0.05, len(MECHANISMS)))
    true = 0.4 + SPACE @ effects
    for a, b in combinations(range(len(MECHANISMS)), 2):
        if pair_sd and AXIS[a] != AXIS[b]:
            true = true + rng.normal(0, pair_sd) * SPACE[:, a] * SPACE[:, b]
    chosen = rng.permutation(len(SPACE))[:n]
    scores = true[chosen] + rng.normal(0, noise, n)
    return Observations(SPACE[chosen], scores, np.ones(n)), effects, true


def test_planted_effects_are_recovered() -> None:
    seen, effects, _ = study(0, 600, noise=0.02)
    found = fit_effects(seen)
    # not 1: `update=additive` and `beta_range=none` always come together, and share the effect
    assert np.corrcoef(found.mean, effects)[0, 1] > 0.93
    assert found.mean == pytest.approx(centred(found.mean), abs=1e-9)
    assert np.abs(found.mean - effects).max() < 0.05
    assert fit_effects(study(0, 60)[0]).sd.mean() > 2 * found.sd.mean()


def test_a_planted_interaction_is_found_and_no_other() -> None:
    seen, _, _ = study(1, 800, noise=0.03)
    pair = COLUMN["update=delta"], COLUMN["short_conv=conv4"]
    both = seen.points[:, pair].all(axis=1)
    found = fit_effects(seen._replace(scores=seen.scores + 0.3 * both))
    assert found.pair_mean == pytest.approx(found.pair_mean.T, abs=1e-7)
    largest = np.unravel_index(np.abs(found.pair_mean).argmax(), found.pair_mean.shape)
    assert set(largest) == set(pair)
    assert found.pair_mean[pair] > 0.03
    assert found.pair_mean[pair] > 2 * found.pair_sd[pair]
    assert np.abs(fit_effects(seen).pair_mean).max() < found.pair_mean[pair] / 4
    assert found.pair_count[pair] == both.sum()


@pytest.mark.parametrize("n", [8, 40, 150])
@pytest.mark.parametrize("pair_sd", [0.0, 0.006])
def test_intervals_of_95_percent_hold_about_that_often(n: int, pair_sd: float) -> None:
    of_effects, of_scores = [], []
    for seed in range(20):
        seen, effects, true = study(seed, n, pair_sd=pair_sd)
        found = fit_effects(seen)
        if not pair_sd:  # with interactions, main effects are not what was planted
            of_effects.append(np.abs(found.mean - effects) < 1.96 * found.sd)
        mean, sd = found.predict(SPACE)
        again = true + np.random.default_rng(seed + 99).normal(0, 0.05, len(true))
        of_scores.append(np.abs(mean - again) < 1.96 * sd)
    assert 0.88 < np.mean(of_scores) < 0.995
    assert pair_sd or 0.88 < np.mean(of_effects) < 0.995


def test_predictions_get_better_and_surer_with_more_designs() -> None:
    errors, sds = [], []
    for n in (0, 10, 100, 600):
        seen, _, true = study(2, n, pair_sd=0.006)
        mean, sd = fit_effects(seen).predict(SPACE)
        errors.append(np.sqrt(np.mean((mean - true) ** 2)))
        sds.append(sd.mean())
    assert errors == sorted(errors, reverse=True)
    assert sds == sorted(sds, reverse=True)


def test_interactions_predict_what_main_effects_cannot() -> None:
    seen, _, true = study(3, 600, pair_sd=0.01)
    found = fit_effects(seen)
    alone = found._replace(pair_mean=np.zeros_like(found.pair_mean))
    unseen = ~(SPACE[:, None] == seen.points).all(axis=2).any(axis=1)
    errors = [np.std((e.predict(SPACE)[0] - true)[unseen]) for e in (found, alone)]
    assert errors[0] < 0.85 * errors[1]


def test_without_designs_the_prior_orders_the_mechanisms() -> None:
    prior = np.linspace(-0.02, 0.04, len(MECHANISMS))
    found = fit_effects(Observations.none(), prior)
    assert found.mean == pytest.approx(centred(prior))
    mean, sd = found.predict(SPACE)
    assert mean == pytest.approx(LEVEL + SPACE @ centred(prior))
    assert sd.min() > 0.2
    assert not found.pair_mean.any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_designs_change_little_and_break_nothing(n: int) -> None:
    prior = np.where(np.array(MECHANISMS) == "decay=vector", 0.03, 0.0)
    seen, _, _ = study(4, n)
    found = fit_effects(seen, prior)
    for values in (found.mean, found.sd, found.pair_mean, found.pair_sd, *found.predict(SPACE)):
        assert np.isfinite(values).all()
    assert abs(found.mean[COLUMN["decay=vector"]] - centred(prior)[COLUMN["decay=vector"]]) < 0.02


def test_a_wrong_prior_is_unlearnt() -> None:
    seen, effects, _ = study(5, 600, noise=0.02)
    found = fit_effects(seen, -effects)
    assert np.corrcoef(found.mean, effects)[0, 1] > 0.85


def test_the_right_prior_helps_as_long_as_there_are_few_designs() -> None:
    seen, effects, true = study(6, 12)
    errors = [np.std(fit_effects(seen, p).predict(SPACE)[0] - true) for p in (effects / 2, None)]
    assert errors[0] < errors[1]


def test_neither_the_order_of_the_rows_nor_the_unit_of_the_weights_matters() -> None:
    seen, _, _ = study(7, 120, pair_sd=0.006)
    weights = np.random.default_rng(0).integers(1, 4, 120).astype(float)
    shuffled = np.random.default_rng(1).permutation(120)
    one = fit_effects(Observations(seen.points, seen.scores, weights))
    other = fit_effects(
        Observations(seen.points[shuffled], seen.scores[shuffled], 5 * weights[shuffled])
    )
    for mine, theirs in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_a_score_of_many_seeds_counts_more() -> None:
    seen, _, _ = study(8, 60)
    points = np.vstack([seen.points, seen.points[:1], seen.points[:1]])
    scores = np.append(seen.scores, [0.9, 0.1])

    def guess(first: float, second: float) -> float:
        weights = np.append(seen.weights, [first, second])
        return float(fit_effects(Observations(points, scores, weights)).predict(points[:1])[0][0])

    assert guess(5, 1) > guess(1, 1) > guess(1, 5)


@pytest.mark.parametrize("n", [20, 400])
def test_main_effects_are_those_of_the_regression_on_every_single_design(n: int) -> None:
    from sklearn.linear_model import BayesianRidge

    seen, _, _ = study(5, n)
    weights = np.random.default_rng(5).integers(1, 4, n).astype(float)
    found = fit_effects(seen._replace(weights=weights))
    naive = BayesianRidge(
        alpha_1=BELIEF / 2,
        alpha_2=BELIEF / 2 * SPREAD**2,
        lambda_1=BELIEF / 2,
        lambda_2=BELIEF / 2 * EFFECT_SD**2,
        alpha_init=SPREAD**-2,
        lambda_init=EFFECT_SD**-2,
    ).fit(seen.points, seen.scores, sample_weight=weights / weights.mean())
    assert found.mean == pytest.approx(centred(naive.coef_), abs=1e-10)
    assert found.covariance == pytest.approx(naive.sigma_, abs=1e-10)
    level = [found.intercept + SPACE[:3] @ centred(naive.coef_), naive.predict(SPACE[:3])]
    assert level[0] == pytest.approx(level[1], abs=1e-10)


def test_all_interactions_at_once_equal_the_ridge_regression_with_a_column_for_each() -> None:
    rng = np.random.default_rng(0)
    n, pair_var, noise_var = 80, 2e-4, 3e-3
    points, left = SPACE[:n], rng.normal(0, 0.1, n)
    weights = rng.uniform(0.5, 2, n)
    of_axes = np.array([centred(point) for point in np.eye(len(MECHANISMS))])
    shown = points @ of_axes
    pairs = [(a, b) for a, b in combinations(range(len(MECHANISMS)), 2) if AXIS[a] != AXIS[b]]
    columns = np.stack([shown[:, a] * shown[:, b] for a, b in pairs], axis=1)
    gram = columns.T @ (columns * weights[:, None]) / noise_var + np.eye(len(pairs)) / pair_var
    expected = np.linalg.solve(gram, columns.T @ (weights * left) / noise_var)
    found = interactions(points, left, weights, pair_var, noise_var, tolerance=1e-5)
    assert [found[pair] for pair in pairs] == pytest.approx(expected, abs=1e-5)
    assert all(found[a, b] == 0 for a in range(76) for b in range(76) if AXIS[a] == AXIS[b])
    assert pair_kernel(points) == pytest.approx(columns @ columns.T)


def test_a_difference_is_that_of_two_predictions_and_surer() -> None:
    found = fit_effects(study(9, 80, pair_sd=0.006)[0])
    mean, sd = found.predict(SPACE)
    gain, gain_sd = found.difference(SPACE, SPACE[0])
    assert gain == pytest.approx(mean - mean[0])
    assert gain_sd[0] == pytest.approx(0, abs=1e-6)
    assert (gain_sd[1:] < np.hypot(sd[1:], sd[0])).all()


def test_what_two_mechanisms_add_is_both_effects_and_their_interaction() -> None:
    found = fit_effects(study(10, 200, pair_sd=0.01)[0])
    a, b = COLUMN["decay=vector"], COLUMN["output_gate=silu"]
    mean, sd = found.together([a, b])
    assert mean == pytest.approx(found.mean[a] + found.mean[b] + found.pair_mean[a, b])
    assert found.together([a]) == pytest.approx((found.mean[a], found.sd[a]))
    assert sd > 0


def test_the_prior_is_a_signed_strength_weighted_mean_shrunk_by_the_count() -> None:
    claims = [
        make_insight(mechanisms=("decay=vector",), strength=0.9),
        make_insight(mechanisms=("decay=vector",), strength=0.8, evidence="arxiv:2"),
        make_insight(mechanisms=("decay=vector", "qk_norm=l2"), strength=0.6, direction=-1),
        make_insight(mechanisms=("decay=vector",), capability="compression"),
        make_insight(mechanisms=("decay=vector",), cycle=1, evidence="finding:f"),
        make_insight(mechanisms=("update=delta",), direction=0, strength=0.5),
        make_insight(mechanisms=("of_another=space",)),
    ]
    prior = literature_prior(claims, "recall")
    decay = EFFECT_SCALE * (1.7 - 0.3) / (1.7 + 0.3 + PRIOR_COUNT)
    assert prior[COLUMN["decay=vector"]] == pytest.approx(decay)
    assert prior[COLUMN["qk_norm=l2"]] == pytest.approx(-EFFECT_SCALE * 0.3 / (0.3 + PRIOR_COUNT))
    assert np.count_nonzero(prior) == 2
    assert literature_prior(reversed(claims), "recall") == pytest.approx(prior)

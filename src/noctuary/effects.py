"""What each mechanism and each pair of them adds to a score: learnt from designs and papers.

A Bayesian linear model of the score of a design on its mechanisms, around what the literature
expects, and on all pairs of them. Covers one score
(one task, or a mean of tasks) on one board; who asks about several fits several. Does not know
where the observations come from, nor what is worth an experiment (`gap`).

An effect is a contrast within an axis: how much higher a design scores with this mechanism than
the plain mean over all values of its axis, other things equal. An interaction is what two
mechanisms add together beyond the sum of their effects. Both say what goes with a score over
all designs seen, under a model that knows nothing of triples.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noctuary.domain import Capability, Insight
from noctuary.space.features import COLUMN, MECHANISMS
from noctuary.space.mechanisms import AXES

Floats = NDArray[np.float64]

EFFECT_SCALE = 0.05
"""Difference in score that a mechanism is expected to make once nobody doubts that it helps."""
PRIOR_COUNT = 2.0
"""Full-strength insights without an effect that the mean of a mechanism's is shrunk by."""
EFFECT_SD = 0.05
"""How far from what the literature expects an effect is likely to be, before any design is seen."""
SPREAD = 0.1
"""Spread of scores around the main effects, before any design is seen."""
BELIEF = 4.0
"""Designs that these two guesses count for, against those seen."""
LEVEL, LEVEL_SD = 0.5, 0.25
"""Score of a design of which nothing is known."""
SHARES = (0.1, 0.25, 0.5, 0.75)
"""Shares of that spread that interactions may have; the rest is noise. Never none: what was not
seen yet is not ruled out."""
DECIDING = 300
"""Designs, at most, by which the share is chosen: the work grows with their cube."""


class Observations(NamedTuple):
    """Designs and their scores, in any order.

    Attributes:
        points: (n, mechanisms) of 0 and 1, from `space.features.encoded`.
        scores: (n,)
        weights: (n,) how much each score counts, above 0; only ratios matter.
    """

    points: Floats
    scores: Floats
    weights: Floats

    @classmethod
    def none(cls) -> "Observations":
        return cls(np.zeros((0, len(MECHANISMS))), np.zeros(0), np.zeros(0))


class Effects(NamedTuple):
    """What is known of the effects of all mechanisms and their pairs; M mechanisms.

    Attributes:
        mean, sd: (M,) posterior of each effect, relative to the mean over its axis.
        pair_mean, pair_sd: (M, M) of each interaction; symmetric, zero within an axis.
        pair_count: (M, M) weighted number of designs with both; the diagonal counts mechanisms.
        noise: sd of the scores around main effects and interactions.
        intercept: score of a design whose effects are all 0.
        intercept_sd: how well it is known.
        covariance: (M, M) posterior of the effects, before they are centred.
        centre: (M,) mean of the points seen; uncertainty grows with the distance to it.
    """

    mean: Floats
    sd: Floats
    pair_mean: Floats
    pair_sd: Floats
    pair_count: Floats
    noise: float
    intercept: float
    intercept_sd: float
    covariance: Floats
    centre: Floats

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The order of all rows and columns."""
        return MECHANISMS

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Return mean and sd of the score that each point would get, (n,) and (n,).

        The sd includes the noise; `sqrt(sd**2 - noise**2)` is that of the expected score.
        """
        off = points - self.centre
        variance = ((off @ self.covariance) * off).sum(axis=1)
        variance += _over_pairs(points, self.pair_sd**2)
        sd = np.sqrt(variance + self.intercept_sd**2 + self.noise**2)
        return self.expected(points), sd

    def expected(self, points: Floats) -> Floats:
        """Return the mean score of each point, (n,)."""
        return self.intercept + points @ self.mean + _over_pairs(points, self.pair_mean)

    def together(self, columns: Sequence[int]) -> tuple[float, float]:
        """Return mean and sd of what these mechanisms of different axes add, interactions too."""
        chosen = np.zeros(len(MECHANISMS))
        chosen[list(columns)] = 1
        contrast = _contrasts() @ chosen
        mean = self.mean @ chosen + _over_pairs(chosen[None], self.pair_mean)[0]
        variance = contrast @ self.covariance @ contrast
        variance += _over_pairs(chosen[None], self.pair_sd**2)[0]
        return float(mean), float(np.sqrt(variance))

    def difference(self, points: Floats, base: Floats) -> tuple[Floats, Floats]:
        """Return mean and sd of how much higher each point scores than the base, (n,) and (n,).

        Args:
            base: (mechanisms,) one point. What the two have in common does not count, nor noise.
        """
        mean = (points - base) @ self.mean
        mean += _over_pairs(points, self.pair_mean) - _over_pairs(base[None], self.pair_mean)
        off, spread = points - base, self.pair_sd**2
        variance = ((off @ self.covariance) * off).sum(axis=1)
        variance += _over_pairs(points, spread) + _over_pairs(base[None], spread)
        variance -= 2 * _over_pairs(points * base, spread)
        return mean, np.sqrt(np.maximum(variance, 0.0))


def fit_effects(seen: Observations, prior: Floats | None = None) -> Effects:
    """Return what the observations teach, beyond the prior; without any, the prior itself.

    Main effects by `BayesianRidge`, which finds the spread of the effects and that around them
    by evidence (MacKay 1992), here starting from the guesses above. Interactions by a ridge
    regression of what the main effects leave over on all pairs at once.

    Args:
        prior: (M,) expected effects, such as `literature_prior`; None expects none.
    """
    contrast = _contrasts()
    expected = contrast @ (np.zeros(len(MECHANISMS)) if prior is None else prior)
    n = len(seen.scores)
    if n == 0:
        return _unseen(expected)
    from sklearn.linear_model import BayesianRidge

    weights = seen.weights / seen.weights.mean()
    unexpected = seen.scores - seen.points @ expected
    centre, level = weights @ seen.points / n, float(weights @ unexpected) / n
    off = np.column_stack([seen.points - centre, unexpected - level]) * np.sqrt(weights)[:, None]
    rows = _folded(off)
    half = BELIEF / 2  # a Gamma prior of shape k / 2 is worth k observations
    model = BayesianRidge(
        alpha_1=half + (n - len(rows)) / 2,
        alpha_2=half * SPREAD**2,
        lambda_1=half,
        lambda_2=half * EFFECT_SD**2,
        alpha_init=SPREAD**-2,
        lambda_init=EFFECT_SD**-2,
        fit_intercept=False,
    ).fit(rows[:, :-1], rows[:, -1])
    effect_var, spread_var = 1 / float(model.lambda_), 1 / float(model.alpha_)
    share = _share_of_pairs(seen.points, unexpected, weights, effect_var, spread_var)
    pair_var = share * spread_var / _pairs_of_a_point()
    noise_var = (1 - share) * spread_var
    left = unexpected - level - (seen.points - centre) @ model.coef_
    count = seen.points.T @ (seen.points * weights[:, None])
    return Effects(
        mean=expected + contrast @ model.coef_,
        sd=np.sqrt(np.diag(contrast @ model.sigma_ @ contrast)),
        pair_mean=interactions(seen.points, left, weights, pair_var, noise_var),
        # as if each pair were estimated alone, with all others as noise
        pair_sd=np.sqrt(_pair_scale() * spread_var / (count + spread_var / pair_var)),
        pair_count=count,
        noise=noise_var**0.5,
        intercept=level - float(centre @ model.coef_) + float((model.coef_ / _axis_size()).sum()),
        intercept_sd=(n / spread_var + LEVEL_SD**-2) ** -0.5,
        covariance=model.sigma_,
        centre=centre,
    )


def literature_prior(insights: Iterable[Insight], capability: Capability) -> Floats:
    """Return the effect that papers let one expect of each mechanism, (M,), in score.

    `EFFECT_SCALE` times the mean direction, weighted by strength and shrunk towards 0. An
    insight about k mechanisms says 1/k of itself about each. What our own trials taught does
    not count here: their scores are in the observations already.
    """
    signed, total = [0.0] * len(MECHANISMS), [0.0] * len(MECHANISMS)
    for insight in insights:
        if insight.capability != capability or insight.cycle is not None:
            continue
        weight = insight.strength / max(1, len(insight.mechanisms))
        for name in insight.mechanisms:
            if name in COLUMN:
                signed[COLUMN[name]] += weight * insight.direction
                total[COLUMN[name]] += weight
    return EFFECT_SCALE * np.array(signed) / (np.array(total) + PRIOR_COUNT)


def _folded(rows: Floats) -> Floats:
    """Return rows with the same sums of products, no more than there are columns.

    That is all that a linear regression knows of its observations, but for their number; the
    time of one with thousands of them goes mostly into a decomposition that this one is spared.
    """
    if len(rows) <= rows.shape[1]:
        return rows
    values, vectors = np.linalg.eigh(rows.T @ rows)
    folded: Floats = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return folded


def _unseen(expected: Floats) -> Effects:
    """Return what is known before any design was seen."""
    size, contrast = len(MECHANISMS), _contrasts()
    covariance = EFFECT_SD**2 * np.eye(size)
    share = sum(SHARES) / len(SHARES)
    pair_var = share * SPREAD**2 / _pairs_of_a_point()
    return Effects(
        mean=expected,
        sd=np.sqrt(np.diag(contrast @ covariance @ contrast)),
        pair_mean=np.zeros((size, size)),
        pair_sd=np.sqrt(_pair_scale() * pair_var),
        pair_count=np.zeros((size, size)),
        noise=(1 - share) ** 0.5 * SPREAD,
        intercept=LEVEL,
        intercept_sd=LEVEL_SD,
        covariance=covariance,
        centre=1 / _axis_size(),
    )


def _share_of_pairs(
    points: Floats, scores: Floats, weights: Floats, effect_var: float, spread_var: float
) -> float:
    """Return the share of the spread that interactions have: the mean, weighted by evidence."""
    from scipy.linalg import cho_factor, cho_solve

    # evenly through the designs in an order of their own, so that the caller's does not matter
    order = np.lexsort((scores, *points.T))
    some = order[np.linspace(0, len(order) - 1, min(len(order), DECIDING)).astype(int)]
    points, scores, noise = points[some], scores[some] - LEVEL, np.diag(1 / weights[some])
    main = LEVEL_SD**2 + effect_var * points @ points.T
    pairs = pair_kernel(points) / _pairs_of_a_point()
    evidence = []
    for share in SHARES:
        factor = cho_factor(main + spread_var * (share * pairs + (1 - share) * noise), lower=True)
        fit = scores @ cho_solve(factor, scores) / 2
        evidence.append(-fit - np.log(factor[0].diagonal()).sum())
    odds = np.exp(np.array(evidence) - max(evidence))
    return float(odds @ SHARES / odds.sum())


def interactions(
    points: Floats,
    left: Floats,
    weights: Floats,
    pair_var: float,
    noise_var: float,
    tolerance: float = 1e-2,
) -> Floats:
    """Return the posterior means of all interactions, (M, M), from what is left over, (n,).

    Solves the dual of the ridge regression by conjugate gradients. A step is two matrix products
    with the (n, M) points: neither the pairs' columns nor the (n, n) kernel is ever formed.

    Args:
        tolerance: what may stay unsolved, as a share of what is left over; noise is far more.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    # single precision, of which the tolerance needs little
    centred = (points @ _contrasts()).astype(np.float32)
    across = np.where(_same_axis(), 0.0, pair_var).astype(np.float32)
    noise = (noise_var / weights).astype(np.float32)

    def pulled(dual: NDArray[np.float32]) -> NDArray[np.float32]:
        of_pairs: NDArray[np.float32] = across * (centred.T @ (centred * dual[:, None]))
        return of_pairs

    def kernel(dual: NDArray[np.float32]) -> NDArray[np.float32]:
        sums: NDArray[np.float32] = np.einsum("nm,nm->n", centred @ pulled(dual), centred)
        return sums / 2 + noise * dual

    n = len(left)
    system = LinearOperator((n, n), matvec=kernel, dtype=np.float32)
    dual, _ = cg(system, left.astype(np.float32), rtol=tolerance, maxiter=100)
    return pulled(dual).astype(np.float64)


def _over_pairs(points: Floats, of_pairs: Floats) -> Floats:
    """Return the sum of a quantity (M, M) over all pairs of mechanisms of each point, (n,)."""
    sums: Floats = np.einsum("nm,nm->n", points @ of_pairs, points)
    return sums / 2  # each pair stands there twice


def pair_kernel(points: Floats) -> Floats:
    """Return the covariance of points through interactions of variance 1, (n, n).

    On an axis of k values two points share 1 - 1/k where they agree, else -1/k; the kernel is the
    sum of the products over all pairs of axes.
    """
    agreement: Floats = points @ _contrasts() @ points.T
    squares: Floats = (points * (1 - 2 / _axis_size())) @ points.T + (_axis_size() ** -3).sum()
    return (agreement**2 - squares) / 2


@cache
def _same_axis() -> NDArray[np.bool_]:
    """Return which mechanisms are choices on one axis, (M, M)."""
    axis = np.repeat(np.arange(len(AXES)), [len(values) for values in AXES.values()])  # (M,)
    same: NDArray[np.bool_] = axis[:, None] == axis
    return same


@cache
def _axis_size() -> Floats:
    """Return how many values the axis of each mechanism has, (M,)."""
    size: Floats = _same_axis().sum(axis=1).astype(float)
    return size


@cache
def _contrasts() -> Floats:
    """Return the projection that takes the mean of its axis from each effect, (M, M)."""
    projection: Floats = np.eye(len(MECHANISMS)) - _same_axis() / _axis_size()
    return projection


@cache
def _pair_scale() -> Floats:
    """Return the variance that centring leaves of an interaction of variance 1, (M, M)."""
    left = 1 - 1 / _axis_size()
    scale: Floats = np.where(_same_axis(), 0.0, np.outer(left, left))
    return scale


@cache
def _pairs_of_a_point() -> float:
    """Return the variance that interactions of variance 1 give a point: the same for all."""
    left = 1 - 1 / _axis_size()
    return float(((left / _axis_size()).sum() ** 2 - (left**2 / _axis_size()).sum()) / 2)

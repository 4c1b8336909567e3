"""Guesses the scores of genomes that nobody has trained, with how sure the guess is.

A Gaussian process over the axes of a genome. A score is a sum of effects of mechanisms, and on
top of them something that two genomes have in common the more, the fewer axes they differ on.
How much each axis matters is learnt (automatic relevance determination): a handful of axes decide
most of a score, and which ones is what the search has to find out. What the literature expects is
the prior mean. Covers fitting and predicting. Does not say which effects there are (`effects`
does) or which genome is worth a trial (`search.batch`).
"""

from functools import cached_property
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from noctuary.space.features import MECHANISMS
from noctuary.space.mechanisms import AXES

Array = NDArray[np.float64]

LEVEL, SPREAD = 0.5, 0.1
"""Mean and standard deviation of the scores of designs, as long as there are too few to tell."""

USUAL = 3
"""Scores that the spread counts for, beside those that there are."""

STEPS = 12
"""Steps of the fit; more change the predictions by less than the next design does."""

GUESS = np.log([*[1 / 8] * len(AXES), 0.5, 0.5, 0.05])
"""Logarithms of a kernel's parameters as they are expected, each give or take a factor of e."""

FURTHEST = 4.0
"""How far from the guess a logarithm may go: without noise, equal genomes have no solution."""

_AXIS = np.repeat(np.arange(len(AXES)), [len(values) for values in AXES.values()])
"""(mechanisms,) number of the axis of each."""


class Kernel(NamedTuple):
    """The covariance of two scores, relative to the variance of all.

    Attributes:
        rates: (axes,) how far apart a difference on this axis puts two genomes.
        additive: variance of the sum of effects; each axis has its share by its rate.
        near: variance of what genomes at distance 0 share; it falls as exp(-distance).
        noise: variance between seeds.
    """

    rates: Array
    additive: float
    near: float
    noise: float

    @classmethod
    def of(cls, logarithms: Array) -> "Kernel":
        rates, others = np.exp(logarithms[: len(AXES)]), np.exp(logarithms[len(AXES) :])
        return cls(rates, *map(float, others))

    def parts(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return the additive part and the other one for points (n, mechanisms) and (m, ...)."""
        # what two genomes share on an axis is the product of their columns, 0 or 1
        shared = (a * self.rates[_AXIS]) @ b.T
        total = self.rates.sum()
        return self.additive * shared / total, self.near * np.exp(shared - total)

    def __call__(self, a: Array, b: Array) -> Array:
        """Return the covariance without noise, (n, m)."""
        additive, near = self.parts(a, b)
        return additive + near


class Surrogate:
    """What is believed of the score over genomes, given as `features.encoded` points.

    Args:
        points: (n, mechanisms); none at all is fine. The time of a fit grows with n cubed.
        scores: (n,).
        prior: expected effect of each mechanism on the score, (mechanisms,).
    """

    def __init__(self, points: Array, scores: Array, prior: Array | None = None) -> None:
        self.prior = np.zeros(len(MECHANISMS)) if prior is None else prior
        self.points = points
        left = scores - points @ self.prior
        self.centre = float(left.mean()) if len(left) else LEVEL
        squares = float(((left - self.centre) ** 2).sum())
        self.scale = sqrt((squares + USUAL * SPREAD**2) / (len(left) + USUAL))
        self._standard = (left - self.centre) / self.scale

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Return the mean score of each point, and its covariance with the others, (n, n)."""
        mean, covariance = np.zeros(len(points)), self.kernel(points, points)
        if len(self.points):
            beside = self.kernel(self.points, points)
            mean = beside.T @ cho_solve(self._factor, self._standard)
            explained = solve_triangular(self._factor[0], beside, lower=True)
            covariance = covariance - explained.T @ explained
        back = self.centre + self.scale * mean + points @ self.prior
        return back, self.scale**2 * covariance

    @property
    def best(self) -> float:
        """The highest score, less what of it is likely to be noise; the level where none is known.

        The mean of the belief at the points that were measured: the best of many noisy scores
        flatters itself.
        """
        if not len(self.points):
            return self.centre
        noise = self.kernel.noise * cho_solve(self._factor, self._standard)
        without = self.centre + self.scale * (self._standard - noise) + self.points @ self.prior
        return float(without.max())

    @property
    def noise(self) -> float:
        """Standard deviation of a score between seeds, as far as the scores tell."""
        return self.scale * sqrt(self.kernel.noise)

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel under which the scores, and the kernel itself, are likeliest."""
        if len(self.points) < 2:
            return Kernel.of(GUESS)
        found = minimize(
            self._unlikelihood,
            GUESS,
            jac=True,
            method="L-BFGS-B",
            bounds=[(guess - FURTHEST, guess + FURTHEST) for guess in GUESS],
            options={"maxiter": STEPS},
        )
        return Kernel.of(found.x)

    @cached_property
    def _factor(self) -> tuple[Array, bool]:
        """The Cholesky factor of the covariance of what was measured."""
        covariance = self.kernel(self.points, self.points)
        factor: tuple[Array, bool] = cho_factor(
            covariance + self.kernel.noise * np.eye(len(covariance)), lower=True
        )
        return factor

    def _unlikelihood(self, logarithms: Array) -> tuple[float, Array]:
        """Return minus the log posterior of a kernel, but for a constant, and its gradient.

        Rasmussen and Williams 2006, equations 5.8 and 5.9, with a normal prior around `GUESS`.
        """
        kernel, x = Kernel.of(logarithms), self.points
        additive, near = kernel.parts(x, x)
        identity = np.eye(len(x))
        factor = cho_factor(additive + near + kernel.noise * identity, lower=True)
        solved = cho_solve(factor, self._standard)
        away = logarithms - GUESS
        value = 0.5 * self._standard @ solved + np.log(np.diag(factor[0])).sum()
        slope = 0.5 * (cho_solve(factor, identity) - np.outer(solved, solved))

        def by_axis(weights: Array) -> Array:
            """Return for each axis the sum of the weights of pairs that agree on it."""
            by_mechanism = ((weights @ x) * x).sum(axis=0)
            return np.bincount(_AXIS, weights=by_mechanism).astype(np.float64)

        total = kernel.rates.sum()
        on_near = by_axis(slope * near) - (slope * near).sum()
        on_additive = kernel.additive * by_axis(slope) / total - (slope * additive).sum() / total
        gradient = np.concatenate(
            [
                kernel.rates * (on_near + on_additive),
                [
                    (slope * additive).sum(),
                    (slope * near).sum(),
                    kernel.noise * np.trace(slope),
                ],
            ]
        )
        return float(value + 0.5 * away @ away), gradient + away

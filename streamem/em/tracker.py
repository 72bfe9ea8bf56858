"""Parameters and statistics of a tracker, and a start for its noise.

References
----------
Harvey (1989) for direct maximisation; Cappé, Moulines and Rydén (2005), proposition 10.1.6, for Fisher's identity.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import comb
from typing import Any

import numpy as np
from scipy.optimize import minimize

from streamem.em.dynamics import ORDERS, Dynamics, noise_start
from streamem.em.observations import Array, Observations
from streamem.em.state_space import refused, typical, unfit
from streamem.em.statistics import Sums

__all__ = ["TrackerParameters", "TrackerStatistics", "guessed", "likeliest_noise", "tracker_from"]

WIDE = 1e2
"""A sequence begins anywhere: its first state has so many times the variance that the warm-up shows."""

FAR = (18.0, 7.0)
"""How far below and above the guess the logarithm of a noise is sought: the guess sees all differences as noise."""


@dataclass(frozen=True, eq=False)
class TrackerParameters:
    """The noise of a tracker of D columns.

    Parameters
    ----------
    noise : ndarray, shape (B, D)
        q of each noise of each column, per second.
    observation_covariance : ndarray, shape (D, D)
        R.
    initial_mean, initial_covariance : ndarray, shapes (n,) and (n, n)
        Of the first state; not learned.
    scale : ndarray, shape (B D + D,)
        What the floors of noise and R are relative to.
    """

    noise: Array
    observation_covariance: Array
    initial_mean: Array
    initial_covariance: Array
    scale: Array

    @property
    def columns(self) -> int:
        """D."""
        return len(self.observation_covariance)


@dataclass(frozen=True, eq=False)
class TrackerStatistics(Sums):
    """Expected sums: noise in units of its covariance (B, D), e eᵀ (D, D), transitions with noise, and rows."""

    noise: Array
    residual: Array
    steps: float
    rows: float

    @property
    def weight(self) -> Any:
        """How many rows there are, shape (1,)."""
        return np.array([self.rows])


Expected = Callable[[TrackerParameters], tuple[TrackerStatistics, float]]
"""The E-step over all rows: statistics, and the mean log-likelihood of a row."""


def likeliest_noise(guess: TrackerParameters, expected: Expected, ranks: Array) -> TrackerParameters:
    """Return the parameters with the likeliest noises and variances of R, which is diagonal.

    EM would creep. The slope of the likelihood is that of the expected complete one (Fisher's identity).
    """
    size = guess.noise.size

    def at(logarithms: Array) -> TrackerParameters:
        noise, variances = np.split(np.exp(logarithms), [size])
        return replace(guess, noise=noise.reshape(guess.noise.shape), observation_covariance=np.diag(variances))

    def cost(logarithms: Array) -> tuple[float, Array]:
        theta = at(logarithms)
        total, likelihood = expected(theta)
        of_noise = total.noise / theta.noise - total.steps * ranks[:, None]
        of_rows = np.diagonal(total.residual) / np.diagonal(theta.observation_covariance) - total.rows
        return -likelihood, -0.5 * np.concatenate([of_noise.ravel(), of_rows]) / max(total.rows, 1.0)

    middle = np.log(np.concatenate([guess.noise.ravel(), np.diagonal(guess.observation_covariance)]))
    low, high = middle - FAR[0], middle + FAR[1]
    smooth = np.where(np.arange(len(middle)) < size, -3.0, 0.0)
    options = {"maxiter": 200, "ftol": 1e-11, "gtol": 1e-6}
    search: Any = minimize
    tried = [
        search(cost, begin, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)), options=options)
        for begin in (middle, middle + smooth)
    ]
    return at(min(tried, key=lambda one: float(one.fun)).x)


def guessed(
    dynamics: Dynamics, observations: Observations, seconds: Array, states: int, harmonics: int
) -> TrackerParameters:
    """Return a guess at the noise from differences of neighbours, and a first state as wide as anything in the rows.

    `seconds` (N,) lie before each row in the order of the segments; a column has so many `states`.
    """
    columns = observations.values.shape[1]
    mean, variance, _ = typical(observations)
    step = float(np.median(seconds[seconds > 0.0])) if (seconds > 0.0).any() else 1.0
    order = ORDERS[dynamics]
    squares = [squared_differences(observations, seconds, one, step, variance) for one in range(1, order + 1)]
    noise, R = noise_start(dynamics, squares[-1], step, harmonics)
    first = [variance, *(square / step ** (2 * one) for one, square in enumerate(squares[: order - 1], start=1))]
    first += [variance] * (states - len(first))
    m1 = np.concatenate([mean, np.zeros((states - 1) * columns)])
    scale = np.concatenate([noise.ravel(), 2.0 * R])
    return TrackerParameters(noise, np.diag(R), m1, np.diag(WIDE * np.concatenate(first)), scale)


def squared_differences(observations: Observations, seconds: Array, order: int, step: float, otherwise: Array) -> Array:
    """Return the mean squared `order`-th differences within sequences, shape (D,), as of rows `step` seconds apart.

    White noise has the same in them whatever the times. `otherwise` where there is no difference, or none but 0.
    """
    segments = observations.segments()
    values = segments.sorted(observations.values)
    rows = len(values) - order
    if rows < 1:
        return otherwise
    number = np.repeat(np.arange(len(segments)), np.diff(segments.bounds))
    time = np.cumsum(seconds) / step
    weights = np.ones((rows, order + 1))
    with np.errstate(divide="ignore"):
        for i in range(order + 1):
            for j in range(order + 1):
                if i != j:
                    weights[:, i] /= time[i : rows + i] - time[j : rows + j]
    whole = (number[order:] == number[:rows]) & np.isfinite(weights).all(axis=1)
    weights /= np.where(whole, np.sqrt((np.where(whole[:, None], weights, 1.0) ** 2).sum(axis=1)), 1.0)[:, None]
    apart = sum(weights[whole, i, None] * values[i : rows + i][whole] for i in range(order + 1))
    known = ~np.isnan(apart)
    total = (np.where(known, apart, 0.0) ** 2).sum(axis=0)
    mean = comb(2 * order, order) * total / np.maximum(known.sum(axis=0), 1)
    return np.asarray(np.where(mean > 0.0, mean, otherwise))


def tracker_from(arrays: Mapping[str, Any], noises: int, states: int) -> TrackerParameters:
    """Return the parameters that `arrays` hold under the names of `TrackerParameters`.

    Raises
    ------
    SnapshotError
        They are not those of a tracker with so many noises and states a column.
    """
    names = ("noise", "observation_covariance", "initial_mean", "initial_covariance", "scale")
    found = {name: np.asarray(arrays.get(name, ()), float) for name in names}
    columns = len(found["observation_covariance"])
    n = states * columns
    shapes = [(noises, columns), (columns, columns), (n,), (n, n), (noises * columns + columns,)]
    for (name, array), shape in zip(found.items(), shapes, strict=True):
        if array.shape != shape or not np.isfinite(array).all():
            raise refused("kalman", f"{name} of shape {array.shape}", f"finite numbers, {shape}")
    for name in ("observation_covariance", "initial_covariance"):
        if wrong := unfit(found[name], sure=True):
            raise refused("kalman", f"{name}: {wrong[0]}", wrong[1])
    for name in ("noise", "scale"):
        if not (found[name] > 0.0).all():
            raise refused("kalman", f"a {name} that is not positive", "numbers > 0")
    return TrackerParameters(**found)

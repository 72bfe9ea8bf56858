"""Positive numbers with a mode: gamma, by Newton on the shape.

References
----------
Minka (2002), *Estimating a gamma distribution*, eq. 10, for the iteration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from streamem.em.declaration import Declaration
from streamem.em.families.family import column_moments
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.em.statistics import Sums
from streamem.errors import SnapshotError, tell

__all__ = ["Gamma", "GammaParameters", "GammaStatistics"]

SHAPES = (1e-6, 1e6)
"""Lowest and highest shape: coefficients of variation from 1,000 to .001. Beyond, the likelihood has no maximum."""

ROUNDS = 50
"""Newton steps at most; five are enough almost everywhere."""


@dataclass(frozen=True, eq=False)
class GammaParameters:
    """The parameters of K components of D independent columns.

    Parameters
    ----------
    shape, rate : ndarray, shape (K, D)
        The mean is shape / rate.
    centre, log_centre : ndarray, shape (D,)
        Means of the columns and of their logarithms in the warm-up: what the prior is.
    """

    shape: Array
    rate: Array
    centre: Array
    log_centre: Array

    @property
    def components(self) -> int:
        """K."""
        return len(self.shape)

    @property
    def columns(self) -> int:
        """D."""
        return int(self.shape.shape[1])

    def take(self, order: Labels) -> "GammaParameters":
        """Return the same components in another order."""
        return GammaParameters(self.shape[order], self.rate[order], self.centre, self.log_centre)


@dataclass(frozen=True, eq=False)
class GammaStatistics(Sums):
    """Weighted sums over rows: rows (K,), values (K, D), logarithms (K, D)."""

    weight: Array
    total: Array
    log_total: Array


@dataclass(frozen=True, kw_only=True)
class Gamma(Declaration):
    """Positive numbers: gamma. A missing value is taken as its component's mean, its logarithm likewise.

    Examples
    --------
    >>> Gamma().free_parameters(components=2, columns=3)
    12
    """

    support: ClassVar[str] = "a finite number above 0 or a missing value"
    exposed: ClassVar[bool] = False
    type: Literal["gamma"] = "gamma"

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned: shapes and rates."""
        return 2 * components * columns

    def wrong(self, values: Array) -> Flags:
        """Return which values are not positive or infinite."""
        return np.asarray((values <= 0.0) | np.isinf(values))

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: their weight."""
        return observations.span()

    def coordinates(self, values: Array) -> Array:
        """Return cube roots, which are nearly normal for every shape (Wilson and Hilferty 1931)."""
        return np.cbrt(values)

    def broad(self, observations: Observations, components: int) -> GammaParameters:
        """Return `components` equal components fitted to all rows.

        Raises
        ------
        ModelError
            A column has no observed value, or always the same.
        """
        weight = np.ones(len(observations)) if observations.weight is None else observations.weight
        centre, _ = column_moments(observations.values, weight)
        log_centre, _ = column_moments(np.log(observations.values), weight)
        shape, rate = fitted(np.tile(centre, (components, 1)), np.tile(log_centre, (components, 1)))
        return GammaParameters(shape, rate, centre, log_centre)

    def log_density(self, parameters: GammaParameters, observations: Observations) -> Array:
        """Return the log density of every row's observed part under every component, shape (K, N)."""
        values, logarithms, absent = parts(observations.values)
        out = (parameters.shape - 1.0) @ logarithms.T - parameters.rate @ values.T
        constant = log_normaliser(parameters)
        out += constant.sum(axis=1)[:, None] if absent is None else constant @ (~absent).T.astype(float)
        return np.ascontiguousarray(out)

    def expect(self, parameters: GammaParameters, observations: Observations, responsibility: Array) -> GammaStatistics:
        """Return the expected statistics of rows that belong to components by shares, shape (K, N)."""
        values, logarithms, absent = parts(observations.values)
        total, log_total = responsibility @ values, responsibility @ logarithms
        if absent is not None:
            missing = responsibility @ absent.astype(float)
            total += missing * self.mean(parameters)
            log_total += missing * mean_logarithm(parameters)
        return GammaStatistics(responsibility.sum(axis=1), total, log_total)

    def moments(self, parameters: GammaParameters, weight: Array, span: Span) -> GammaStatistics:  # noqa: ARG002
        """Return the statistics that the components expect of so much data, `weight` of shape (K,)."""
        rows = weight[:, None]
        return GammaStatistics(weight, rows * self.mean(parameters), rows * mean_logarithm(parameters))

    def prior(self, parameters: GammaParameters, weight: float) -> GammaStatistics:
        """Return pseudo-rows as the data at large, `weight` a component."""
        each = np.full((parameters.components, 1), weight)
        return GammaStatistics(each[:, 0], each * parameters.centre, each * parameters.log_centre)

    def maximize(self, statistics: GammaStatistics, previous: GammaParameters) -> GammaParameters:
        """Return shapes and rates; a component of no weight keeps its `previous` ones."""
        alive = (statistics.weight > np.finfo(float).tiny)[:, None]
        weight = np.where(alive, statistics.weight[:, None], 1.0)
        mean = np.where(alive, statistics.total / weight, self.mean(previous))
        logarithm = np.where(alive, statistics.log_total / weight, mean_logarithm(previous))
        shape, rate = fitted(mean, logarithm)
        return GammaParameters(
            np.where(alive, shape, previous.shape),
            np.where(alive, rate, previous.rate),
            previous.centre,
            previous.log_centre,
        )

    def at_floor(self, parameters: GammaParameters) -> Flags:
        """Return for each component whether a shape lies at an edge of its range, shape (K,)."""
        return np.asarray(((parameters.shape <= SHAPES[0]) | (parameters.shape >= SHAPES[1])).any(axis=1))

    def sample(
        self,
        parameters: GammaParameters,
        component: Labels,
        rng: np.random.Generator,
        exposure: float = 1.0,  # noqa: ARG002
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""
        drawn = rng.gamma(parameters.shape[component]) / parameters.rate[component]
        return np.maximum(drawn, np.finfo(float).tiny)  # a shape near 0 draws what float64 rounds to 0

    def relative_entropy(self, one: GammaParameters, other: GammaParameters, exposure: float = 1.0) -> Array:  # noqa: ARG002
        """Return KL(k of `one` || l of `other`) in nats a row for every pair, shape (K, L)."""
        mean, logarithm = self.mean(one), mean_logarithm(one)
        mine = (log_normaliser(one) + one.shape * logarithm - one.rate * mean).sum(axis=1)
        theirs = log_normaliser(other).sum(axis=1) + logarithm @ other.shape.T - mean @ other.rate.T
        return np.asarray(mine[:, None] - theirs)

    def mean(self, parameters: GammaParameters) -> Array:
        """Return the means, shape (K, D)."""
        return np.asarray(parameters.shape / parameters.rate)

    def spread(self, parameters: GammaParameters) -> Array:
        """Return the standard deviation of every column in every component, shape (K, D)."""
        return np.asarray(np.sqrt(parameters.shape) / parameters.rate)

    def beside(self, one: GammaParameters, other: GammaParameters) -> GammaParameters:
        """Return the components with the columns of both."""
        shape, rate = np.hstack([one.shape, other.shape]), np.hstack([one.rate, other.rate])
        return GammaParameters(
            shape, rate, np.append(one.centre, other.centre), np.append(one.log_centre, other.log_centre)
        )

    def assemble(self, arrays: Mapping[str, Array]) -> GammaParameters:
        """Return the parameters that `arrays` hold under the names of `GammaParameters`.

        Raises
        ------
        SnapshotError
            An array is missing, or its shape or a number is impossible.
        """
        names = ("shape", "rate", "centre", "log_centre")
        shape, rate, centre, log_centre = (arrays.get(name, np.empty(0)) for name in names)
        columns = shape.shape[1:]
        fits = shape.ndim == 2 and rate.shape == shape.shape and centre.shape == log_centre.shape == columns
        if not fits or 0 in shape.shape or not all((part > 0.0).all() for part in (shape, rate, centre)):
            raise SnapshotError(
                tell(
                    "parameters of the gamma family",
                    found=", ".join(f"{name} {arrays[name].shape}" for name in names if name in arrays) or "none",
                    wanted="(K, D) twice and (D,) twice, none of them zero; shapes, rates and centre above 0",
                    do="use a snapshot as streamem wrote it",
                )
            )
        return GammaParameters(shape, rate, centre, log_centre)


def parts(values: Array) -> tuple[Array, Array, Flags | None]:
    """Return values and logarithms with 0 for what is missing, and what is missing; None when nothing is."""
    logarithms = np.log(values)
    if not np.isnan(np.vdot(logarithms, logarithms)):
        return values, logarithms, None
    absent = np.isnan(values)
    return np.where(absent, 0.0, values), np.where(absent, 0.0, logarithms), absent


def log_normaliser(parameters: GammaParameters) -> Array:
    """Return α log β - log Γ(α), shape (K, D)."""
    return np.asarray(parameters.shape * np.log(parameters.rate) - gammaln(parameters.shape))


def mean_logarithm(parameters: GammaParameters) -> Array:
    """Return E log v = ψ(α) - log β, shape (K, D)."""
    return np.asarray(digamma(parameters.shape) - np.log(parameters.rate))


def fitted(mean: Array, logarithm: Array) -> tuple[Array, Array]:
    """Return shape and rate for means of values and of logarithms: the α with log α - ψ(α) = log mean - logarithm."""
    gap = np.maximum(np.log(mean) - logarithm, 0.5 / SHAPES[1])
    shape = np.clip((3.0 - gap + np.sqrt((gap - 3.0) ** 2 + 24.0 * gap)) / (12.0 * gap), *SHAPES)
    for _ in range(ROUNDS):
        slope = shape * shape * (1.0 / shape - polygamma(1, shape))
        better = np.clip(1.0 / (1.0 / shape + (np.log(shape) - digamma(shape) - gap) / slope), *SHAPES)
        still = np.abs(better - shape) <= 1e-14 * shape
        shape = better
        if still.all():
            break
    return shape, shape / mean

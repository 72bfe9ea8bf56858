"""Families of independent columns that are told by the mean of each: what Poisson, Bernoulli and others share.

With the natural parameter θ and the log-partition A as functions of the mean, a row's log density is
Σ_d v_d θ_kd - e A_kd + log h(v_d, e), e the exposure: two matrix products for all rows and components. A missing value
leaves its column out of the density, and counts as its component's mean in the statistics.

References
----------
Amid and Warmuth (2020), section 3; Wainwright and Jordan (2008), section 3, for the forms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from streamem.em.declaration import Declaration
from streamem.em.families.family import column_moments
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.em.statistics import Sums
from streamem.errors import SnapshotError, tell

__all__ = ["Independent", "IndependentParameters", "IndependentStatistics"]

FLOOR = 1e-9
"""No mean comes closer to the edge of its range than this share of the data's mean, so that every log is finite."""


@dataclass(frozen=True, eq=False)
class IndependentParameters:
    """The parameters of K components.

    Parameters
    ----------
    mean : ndarray, shape (K, D)
        For an exposure of 1.
    centre : ndarray, shape (D,)
        The means of the columns in the warm-up: what the floor and the prior are relative to.
    """

    mean: Array
    centre: Array

    @property
    def components(self) -> int:
        """K."""
        return len(self.mean)

    @property
    def columns(self) -> int:
        """D."""
        return int(self.mean.shape[1])

    def take(self, order: Labels) -> "IndependentParameters":
        """Return the same components in another order."""
        return IndependentParameters(self.mean[order], self.centre)


@dataclass(frozen=True, eq=False)
class IndependentStatistics(Sums):
    """Weighted sums over rows.

    Parameters
    ----------
    weight : ndarray, shape (K,)
        Rows.
    exposure : ndarray, shape (K,)
        Of these rows.
    total : ndarray, shape (K, D)
        Of their values.
    """

    weight: Array
    exposure: Array
    total: Array


@dataclass(frozen=True)
class Independent(Declaration):
    """What a family of independent columns adds: its link, its support and how it is drawn from."""

    support: ClassVar[str]
    exposed: ClassVar[bool] = False
    highest: ClassVar[float] = np.inf
    """The mean lies between 0 and this."""

    def exposure(self, observations: Observations) -> Array:
        """Return the exposure of every row, shape (N,)."""
        return np.ones(len(observations)) if observations.exposure is None else observations.exposure

    def exposure_alone(self, values: Array) -> float:  # noqa: ARG002
        """Return the exposure of one row, shape (D,), of which none is told."""
        return 1.0

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: their weight, and the mean of their exposures."""
        return Span(observations.span().weight, observations.mean(self.exposure(observations)) or 1.0)

    def natural(self, mean: Array) -> Array:
        """Return θ(μ)."""
        raise NotImplementedError

    def log_partition(self, mean: Array) -> Array:
        """Return A(θ(μ)) for an exposure of 1."""
        raise NotImplementedError

    def log_base(self, values: Array, exposure: Array) -> Array:
        """Return log h(v, e) for every value, broadcast; 0 unless a family says otherwise."""
        return np.zeros(np.broadcast_shapes(values.shape, exposure.shape))

    def variance(self, mean: Array) -> Array:
        """Return the variance for every mean."""
        raise NotImplementedError

    def draw(self, mean: Array, rng: np.random.Generator) -> Array:
        """Return a value for every mean."""
        raise NotImplementedError

    def wrong(self, values: Array) -> Flags:
        """Return which values no component can have given rise to, shape (N, D)."""
        raise NotImplementedError

    def coordinates(self, values: Array) -> Array:
        """Return rows as they are clustered for a start: as they are."""
        return values

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned: the means."""
        return components * columns

    def broad(self, observations: Observations, components: int) -> IndependentParameters:
        """Return `components` equal components with the data's means.

        Raises
        ------
        ModelError
            A column has no observed value, or always the same.
        """
        weight = np.ones(len(observations)) if observations.weight is None else observations.weight
        centre, _ = column_moments(observations.values, weight)
        seen = np.where(np.isnan(observations.values), 0.0, weight[:, None])
        centre = centre * seen.sum(axis=0) / (seen * self.exposure(observations)[:, None]).sum(axis=0)
        return IndependentParameters(np.tile(centre, (components, 1)), centre)

    def log_density(self, parameters: IndependentParameters, observations: Observations) -> Array:
        """Return the log density of every row's observed part under every component, shape (K, N)."""
        values, absent = observed(observations.values)
        exposure = self.exposure(observations)
        base = self.log_base(values, exposure[:, None])
        partition = self.log_partition(parameters.mean)
        if absent is None:
            cost = partition.sum(axis=1)[:, None] * exposure
        else:
            base[absent] = 0.0
            cost = partition @ np.where(absent, 0.0, exposure[:, None]).T
        with np.errstate(over="ignore", invalid="ignore"):  # of a row that is too far, which callers refuse
            return np.ascontiguousarray(self.natural(parameters.mean) @ values.T - cost + base.sum(axis=1))

    def expect(
        self, parameters: IndependentParameters, observations: Observations, responsibility: Array
    ) -> IndependentStatistics:
        """Return the expected statistics of rows that belong to components by shares, shape (K, N)."""
        values, absent = observed(observations.values)
        exposure = self.exposure(observations)
        total = responsibility @ values
        if absent is not None:
            total += parameters.mean * (responsibility @ np.where(absent, exposure[:, None], 0.0))
        return IndependentStatistics(responsibility.sum(axis=1), responsibility @ exposure, total)

    def moments(self, parameters: IndependentParameters, weight: Array, span: Span) -> IndependentStatistics:
        """Return the statistics that the components expect of so much data, `weight` of shape (K,)."""
        exposure = weight * span.exposure
        return IndependentStatistics(weight, exposure, exposure[:, None] * parameters.mean)

    def prior(self, parameters: IndependentParameters, weight: float) -> IndependentStatistics:
        """Return pseudo-rows at the data's means, `weight` a component."""
        each = np.full(parameters.components, weight)
        return IndependentStatistics(each, each, np.tile(weight * parameters.centre, (parameters.components, 1)))

    def maximize(self, statistics: IndependentStatistics, previous: IndependentParameters) -> IndependentParameters:
        """Return the means; a component of no weight keeps its `previous` ones, and none lies beyond the floor."""
        alive = statistics.exposure > np.finfo(float).tiny
        exposure = np.where(alive, statistics.exposure, 1.0)[:, None]
        mean = np.where(alive[:, None], statistics.total / exposure, previous.mean)
        return IndependentParameters(np.clip(mean, *self.range(previous.centre)), previous.centre)

    def range(self, centre: Array) -> tuple[Array, Array]:
        """Return the lowest and the highest mean of every column."""
        return FLOOR * centre, self.highest - FLOOR * (self.highest - centre) if np.isfinite(
            self.highest
        ) else np.full_like(centre, np.inf)

    def at_floor(self, parameters: IndependentParameters) -> Flags:
        """Return for each component whether a mean lies at an edge of its range, shape (K,)."""
        lowest, highest = self.range(parameters.centre)
        return np.asarray(((parameters.mean <= lowest) | (parameters.mean >= highest)).any(axis=1))

    def sample(
        self, parameters: IndependentParameters, component: Labels, rng: np.random.Generator, exposure: float = 1.0
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""
        return self.draw(parameters.mean[component] * exposure, rng)

    def relative_entropy(
        self, one: IndependentParameters, other: IndependentParameters, exposure: float = 1.0
    ) -> Array:
        """Return KL(k of `one` || l of `other`) in nats a row for every pair, shape (K, L)."""
        mine = (self.natural(one.mean) * one.mean - self.log_partition(one.mean)).sum(axis=1)
        theirs = one.mean @ self.natural(other.mean).T - self.log_partition(other.mean).sum(axis=1)
        return np.asarray(exposure * (mine[:, None] - theirs))

    def mean(self, parameters: IndependentParameters) -> Array:
        """Return the means, shape (K, D)."""
        return parameters.mean

    def spread(self, parameters: IndependentParameters) -> Array:
        """Return the standard deviation of every column in every component, shape (K, D)."""
        return np.sqrt(self.variance(parameters.mean))

    def beside(self, one: IndependentParameters, other: IndependentParameters) -> IndependentParameters:
        """Return the components with the columns of both."""
        return IndependentParameters(np.hstack([one.mean, other.mean]), np.append(one.centre, other.centre))

    def assemble(self, arrays: Mapping[str, Array]) -> IndependentParameters:
        """Return the parameters that `arrays` hold under the names of `IndependentParameters`.

        Raises
        ------
        SnapshotError
            An array is missing, or its shape or a mean is impossible.
        """
        mean, centre = (arrays.get(name, np.empty(0)) for name in ("mean", "centre"))
        if mean.ndim != 2 or 0 in mean.shape or centre.shape != mean.shape[1:]:
            raise SnapshotError(
                tell(
                    f"parameters of the {self.type} family",  # type: ignore[attr-defined]
                    found=f"mean {mean.shape}, centre {centre.shape}",
                    wanted="(K, D) and (D,), none of them zero",
                    do="use a snapshot of a model of this family",
                )
            )
        if not ((mean > 0.0) & (mean < self.highest)).all() or not (centre > 0.0).all():
            raise SnapshotError(
                tell(
                    f"parameters of the {self.type} family",  # type: ignore[attr-defined]
                    found=f"means from {mean.min():g} to {mean.max():g}",
                    wanted=f"means above 0 and below {self.highest:g}",
                    do="use a snapshot as streamem wrote it",
                )
            )
        return IndependentParameters(mean, centre)


def observed(values: Array) -> tuple[Array, Flags | None]:
    """Return rows with 0 for what is missing, and what is missing; None when nothing is."""
    if not np.isnan(np.vdot(values, values)):  # a sum of squares: NaN only from NaN
        return values, None
    absent = np.isnan(values)
    return np.where(absent, 0.0, values), absent

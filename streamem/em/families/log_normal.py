"""Positive numbers whose logarithms are normal."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from streamem.em.families.gaussian import Gaussian, GaussianParameters, GaussianStatistics
from streamem.em.observations import Array, Flags, Labels, Observations

__all__ = ["LogNormal"]


@dataclass(frozen=True, kw_only=True)
class LogNormal(Gaussian):
    """Positive numbers: the logarithms are normal, with every covariance and the missing values of `gaussian`.

    Mean and covariance in its parameters are those of the logarithms.

    Parameters
    ----------
    covariance : str
        Of the logarithms: ``full``, ``tied``, ``diagonal`` or ``spherical``.
    covariance_floor : float
        No variance of the logarithms falls below this share of theirs in the warm-up.

    Examples
    --------
    >>> LogNormal().wrong(np.array([[1.0, 0.0]])).tolist()
    [[False, True]]
    """

    support: ClassVar[str] = "a finite number above 0 or a missing value"
    type: Literal["log_normal"] = "log_normal"  # type: ignore[assignment]

    def wrong(self, values: Array) -> Flags:
        """Return which values are not positive or infinite."""
        return np.asarray((values <= 0.0) | np.isinf(values))

    def coordinates(self, values: Array) -> Array:
        """Return logarithms."""
        return np.log(values)

    def broad(self, observations: Observations, components: int) -> GaussianParameters:
        """Return `components` equal components as wide as the data."""
        return super().broad(logarithms(observations), components)

    def log_density(self, parameters: GaussianParameters, observations: Observations) -> Array:
        """Return the log density of every row's observed part under every component, shape (K, N)."""
        logs = logarithms(observations)
        return np.asarray(super().log_density(parameters, logs) - np.nansum(logs.values, axis=1))

    def expect(
        self, parameters: GaussianParameters, observations: Observations, responsibility: Array
    ) -> GaussianStatistics:
        """Return the expected statistics of the logarithms of rows that belong to components by shares."""
        return super().expect(parameters, logarithms(observations), responsibility)

    def sample(
        self, parameters: GaussianParameters, component: Labels, rng: np.random.Generator, exposure: float = 1.0
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""
        return np.exp(super().sample(parameters, component, rng, exposure))

    def mean(self, parameters: GaussianParameters) -> Array:
        """Return the mean of every column in every component: exp(μ + σ²/2), shape (K, D)."""
        return np.asarray(np.exp(parameters.mean + 0.5 * super().spread(parameters) ** 2))

    def spread(self, parameters: GaussianParameters) -> Array:
        """Return the standard deviation of every column in every component, shape (K, D)."""
        return np.asarray(self.mean(parameters) * np.sqrt(np.expm1(super().spread(parameters) ** 2)))


def logarithms(observations: Observations) -> Observations:
    """Return the observations with the logarithms of their values."""
    return observations.with_values(np.log(observations.values))

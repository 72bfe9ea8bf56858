"""Counts: Poisson, with an exposure where rows are of different length."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import gammaln

from streamem.em.families.family import not_counts
from streamem.em.families.independent import Independent
from streamem.em.observations import Array, Flags

__all__ = ["Poisson"]


@dataclass(frozen=True, kw_only=True)
class Poisson(Independent):
    """Counts: Poisson; with an exposure the mean is a rate. A missing count is taken as its component's mean.

    Examples
    --------
    >>> Poisson().free_parameters(components=3, columns=2)
    6
    """

    support: ClassVar[str] = "a whole number of at least 0 or a missing value"
    exposed: ClassVar[bool] = True
    type: Literal["poisson"] = "poisson"

    def natural(self, mean: Array) -> Array:
        """Return log μ."""
        return np.log(mean)

    def log_partition(self, mean: Array) -> Array:
        """Return μ."""
        return mean

    def log_base(self, values: Array, exposure: Array) -> Array:
        """Return v log e - log v!."""
        return np.asarray(values * np.log(exposure) - gammaln(values + 1.0))

    def variance(self, mean: Array) -> Array:
        """Return μ."""
        return mean

    def draw(self, mean: Array, rng: np.random.Generator) -> Array:
        """Return counts."""
        return rng.poisson(mean).astype(float)

    def wrong(self, values: Array) -> Flags:
        """Return which values are no counts."""
        return not_counts(values)

    def coordinates(self, values: Array) -> Array:
        """Return square roots, whose variance is about the same for every mean."""
        return np.sqrt(values)

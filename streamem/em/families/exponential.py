"""Waiting times without a memory: exponential."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from streamem.em.families.independent import Independent
from streamem.em.observations import Array, Flags

__all__ = ["Exponential"]


@dataclass(frozen=True, kw_only=True)
class Exponential(Independent):
    """Waiting times, distances, sizes: exponential. A missing value is taken as its component's mean.

    Examples
    --------
    >>> Exponential().wrong(np.array([[0.5, -1.0]])).tolist()
    [[False, True]]
    """

    support: ClassVar[str] = "a finite number of at least 0 or a missing value"
    type: Literal["exponential"] = "exponential"

    def natural(self, mean: Array) -> Array:
        """Return -1/μ."""
        return -1.0 / mean

    def log_partition(self, mean: Array) -> Array:
        """Return log μ."""
        return np.log(mean)

    def variance(self, mean: Array) -> Array:
        """Return μ²."""
        return mean * mean

    def draw(self, mean: Array, rng: np.random.Generator) -> Array:
        """Return times."""
        return rng.exponential(mean)

    def wrong(self, values: Array) -> Flags:
        """Return which values are negative or infinite."""
        return (values < 0.0) | np.isinf(values)

    def coordinates(self, values: Array) -> Array:
        """Return cube roots, which are nearly normal for every mean (Wilson and Hilferty 1931)."""
        return np.cbrt(values)

"""Failures before the first success: geometric."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from streamem.em.families.family import not_counts
from streamem.em.families.independent import Independent
from streamem.em.observations import Array, Flags

__all__ = ["Geometric"]


@dataclass(frozen=True, kw_only=True)
class Geometric(Independent):
    """Failures before a success, 0, 1, 2 and so on: geometric. A missing count is taken as its component's mean.

    The probability of success is 1/(1 + mean). Trials up to and with the success are one more: subtract 1 from them.

    Examples
    --------
    >>> float(np.exp(-Geometric().log_partition(np.array(3.0))))  # that of no failure
    0.25
    """

    support: ClassVar[str] = "a whole number of at least 0 or a missing value"
    type: Literal["geometric"] = "geometric"

    def natural(self, mean: Array) -> Array:
        """Return log μ/(1+μ)."""
        return np.asarray(np.log(mean) - np.log1p(mean))

    def log_partition(self, mean: Array) -> Array:
        """Return log(1+μ)."""
        return np.log1p(mean)

    def variance(self, mean: Array) -> Array:
        """Return μ(1+μ)."""
        return mean * (1.0 + mean)

    def draw(self, mean: Array, rng: np.random.Generator) -> Array:
        """Return counts of failures."""
        return (rng.geometric(1.0 / (1.0 + mean)) - 1).astype(float)

    def wrong(self, values: Array) -> Flags:
        """Return which values are no counts."""
        return not_counts(values)

    def coordinates(self, values: Array) -> Array:
        """Return cube roots: large counts are nearly exponential."""
        return np.cbrt(values)

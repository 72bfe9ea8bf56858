"""Yes or no: Bernoulli."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from streamem.em.families.family import not_counts
from streamem.em.families.independent import Independent
from streamem.em.observations import Array, Flags

__all__ = ["Bernoulli"]


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Independent):
    """Yes or no, as 1 or 0: Bernoulli. A missing value is taken as its component's probability of 1.

    Examples
    --------
    >>> Bernoulli().wrong(np.array([[0.0, 1.0, 0.5, np.nan]])).tolist()
    [[False, False, True, False]]
    """

    support: ClassVar[str] = "0, 1 or a missing value"
    highest: ClassVar[float] = 1.0
    type: Literal["bernoulli"] = "bernoulli"

    def natural(self, mean: Array) -> Array:
        """Return log μ/(1-μ)."""
        return np.asarray(np.log(mean) - np.log1p(-mean))

    def log_partition(self, mean: Array) -> Array:
        """Return -log(1-μ)."""
        return -np.log1p(-mean)

    def variance(self, mean: Array) -> Array:
        """Return μ(1-μ)."""
        return mean * (1.0 - mean)

    def draw(self, mean: Array, rng: np.random.Generator) -> Array:
        """Return zeros and ones."""
        return (rng.random(mean.shape) < mean).astype(float)

    def wrong(self, values: Array) -> Flags:
        """Return which values are neither 0 nor 1."""
        return not_counts(values, 1.0)

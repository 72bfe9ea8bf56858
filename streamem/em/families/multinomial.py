"""Counts over several columns with the same shares in every row: multinomial."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import gammaln

from streamem.em.families.family import not_counts
from streamem.em.families.independent import Independent, IndependentParameters, IndependentStatistics
from streamem.em.observations import Array, Flags, Labels, Observations

__all__ = ["Multinomial"]


@dataclass(frozen=True, kw_only=True)
class Multinomial(Independent):
    """Counts over several columns, such as words or choices: multinomial. Rows are whole.

    The means are shares, which sum to 1 in each component; a row's exposure is the sum of its counts.

    Examples
    --------
    >>> Multinomial().free_parameters(components=2, columns=5)
    8
    """

    support: ClassVar[str] = "a whole number of at least 0 in every column, none of them missing"
    type: Literal["multinomial"] = "multinomial"

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned: shares that sum to 1."""
        return components * (columns - 1)

    def exposure(self, observations: Observations) -> Array:
        """Return the sum of the counts of every row, shape (N,)."""
        return np.asarray(observations.values.sum(axis=1))

    def exposure_alone(self, values: Array) -> float:
        """Return the sum of the counts of one row, shape (D,)."""
        return float(sum(values.tolist()))

    def natural(self, mean: Array) -> Array:
        """Return log μ."""
        return np.log(mean)

    def log_partition(self, mean: Array) -> Array:
        """Return 0: the shares sum to 1."""
        return np.zeros_like(mean)

    def log_base(self, values: Array, exposure: Array) -> Array:
        """Return log e!/Πv!, spread over the columns."""
        return np.asarray(gammaln(exposure + 1.0) / values.shape[1] - gammaln(values + 1.0))

    def variance(self, mean: Array) -> Array:
        """Return μ(1-μ), of a single count."""
        return mean * (1.0 - mean)

    def wrong(self, values: Array) -> Flags:
        """Return which values are no counts; a missing one is none either."""
        return not_counts(values) | np.isnan(values)

    def coordinates(self, values: Array) -> Array:
        """Return the square roots of the shares of a row, whose variance is about the same everywhere."""
        return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1.0)))

    def maximize(self, statistics: IndependentStatistics, previous: IndependentParameters) -> IndependentParameters:
        """Return the shares; a component of no weight keeps its `previous` ones."""
        found = super().maximize(statistics, previous)
        return IndependentParameters(found.mean / found.mean.sum(axis=1, keepdims=True), found.centre)

    def sample(
        self, parameters: IndependentParameters, component: Labels, rng: np.random.Generator, exposure: float = 1.0
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D), of `exposure` counts, rounded."""
        return rng.multinomial(round(exposure), parameters.mean[component]).astype(float)

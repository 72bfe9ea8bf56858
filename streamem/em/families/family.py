"""What a family is: the distribution of a row within one component, for any number of components at once.

K components, N rows, D columns. A missing value (NaN) counts as its expectation under the component, so that a step
with missing values is a step of EM too; where a family does otherwise, it says so.
"""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np

from streamem.em.kernels.support import uncounted
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.errors import ModelError, tell

__all__ = ["Family", "Parameters", "column_moments", "not_counts"]


class Parameters(Protocol):
    """The parameters of K components: a frozen dataclass of arrays."""

    @property
    def components(self) -> int:
        """K."""

    @property
    def columns(self) -> int:
        """D."""

    def take(self, order: Labels) -> Self:
        """Return the same components in another order: ``order[k]`` becomes number k."""


class Family(Protocol):
    """A declared family: a frozen dataclass of its settings. Its docstring's first line is what ``list`` shows."""

    @property
    def type(self) -> str:
        """Its name in a pipeline file."""

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned."""

    def wrong(self, values: Array) -> Flags:
        """Return which values no component can have given rise to, shape (N, D); a missing one never is."""

    @property
    def support(self) -> str:
        """What a value must be, in words, for messages."""

    @property
    def exposed(self) -> bool:
        """Whether an exposure of each row means anything to it."""

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: all that the inertia needs to know of them."""

    def coordinates(self, values: Array) -> Array:
        """Return rows as they are clustered for a start: where differences of equal size mean about the same."""

    def broad(self, observations: Observations, components: int) -> Any:
        """Return `components` equal components as wide as the data: what a start begins from.

        Raises ModelError for a column that has no observed value, or always the same.
        """

    def log_density(self, parameters: Any, observations: Observations) -> Array:
        """Return the log density of every row's observed part under every component, shape (K, N)."""

    def expect(self, parameters: Any, observations: Observations, responsibility: Array) -> Any:
        """Return the expected statistics of rows that belong to components by shares, shape (K, N), weights in them."""

    def moments(self, parameters: Any, weight: Array, span: Span) -> Any:
        """Return the statistics that the components expect of so much data: `weight` rows each, shape (K,)."""

    def prior(self, parameters: Any, weight: float) -> Any:
        """Return pseudo-rows, `weight` a component, as the data at large: they keep a component from collapsing."""

    def maximize(self, statistics: Any, previous: Any) -> Any:
        """Return the parameters under which the statistics are most likely; no weight keeps the `previous` ones."""

    def at_floor(self, parameters: Any) -> Flags:
        """Return for each component whether a floor holds it up, shape (K,)."""

    def sample(self, parameters: Any, component: Labels, rng: np.random.Generator, exposure: float = 1.0) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""

    def relative_entropy(self, one: Any, other: Any, exposure: float = 1.0) -> Array:
        """Return KL(component k of `one` || l of `other`) in nats a row for every pair, shape (K, L)."""

    def mean(self, parameters: Any) -> Array:
        """Return the mean of every column in every component, shape (K, D)."""

    def spread(self, parameters: Any) -> Array:
        """Return the standard deviation of every column in every component, shape (K, D)."""

    def assemble(self, arrays: Mapping[str, Array]) -> Any:
        """Return the parameters that `arrays` hold by their names. Raises SnapshotError where they cannot be."""


def not_counts(values: Array, highest: float = np.finfo(float).max) -> Flags:
    """Return which values are no whole numbers from 0 to `highest`; a missing one is not among them.

    Hardly ever one is, and that takes a sixth of the time to see that it takes to say which.

    Examples
    --------
    >>> not_counts(np.array([[3.0, -1.0], [0.5, np.nan]])).tolist()
    [[False, True], [True, False]]
    """
    if not uncounted(values, highest):
        return np.zeros(values.shape, np.bool_)
    return np.asarray((values < 0.0) | (values > np.floor(values)) | (values > highest))


def column_moments(values: Array, weight: Array) -> tuple[Array, Array]:
    """Return mean and variance of the observed values of every column, shapes (D,).

    Parameters
    ----------
    values : ndarray, shape (N, D)
    weight : ndarray, shape (N,)

    Raises
    ------
    ModelError
        A column has no observed value, or always the same.
    """
    seen = np.where(np.isnan(values), 0.0, weight[:, None])
    count = seen.sum(axis=0)
    for column in np.flatnonzero(count == 0.0):
        raise ModelError(
            tell(
                f"column {column} of the features",
                found=f"no value in any of the {len(values)} warm-up records",
                wanted="observed values to start from",
                do="leave the column out or raise warmup_records",
            )
        )
    # about a value of the column itself: exact zeros for a constant column, no digits lost far from zero
    anchor = values[np.argmax(seen > 0.0, axis=0), np.arange(values.shape[1])]
    apart = np.where(seen > 0.0, values - anchor, 0.0)
    shift = (seen * apart).sum(axis=0) / count
    variance = (seen * (apart - shift) ** 2).sum(axis=0) / count
    for column in np.flatnonzero(~(variance > 0.0)):
        raise ModelError(
            tell(
                f"column {column} of the features",
                found=f"{anchor[column]:g} in all {len(values)} warm-up records",
                wanted="values that differ",
                do="leave the column out or raise warmup_records",
            )
        )
    return anchor + shift, variance

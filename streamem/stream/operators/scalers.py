"""River's scalers over arrays: the same arithmetic in the same order, so the same bits, without a loop in Python.

A scaler is a frozen description; what it has learned is one array of plain numbers, a column for each feature, whose
first row counts the values that were there. A new one is a class here and a line in `SCALERS`.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Protocol

import numba
import numpy as np

from streamem.em.declaration import Declaration, limited

__all__ = ["SCALERS", "AdaptiveStandardScaler", "MaxAbsScaler", "MinMaxScaler", "Scaler", "StandardScaler"]

Array = np.ndarray

HALF = 0.5
"""An argument of the kernels: a constant exponent is compiled to a square root, not always the same to the bit."""


class Scaler(Protocol):
    """What learns from every record, and scales it."""

    begin: ClassVar[tuple[float, ...]]
    """What is known of a feature before its first value; the number of values, 0, comes first."""

    def scale(self, values: Array, state: Array, scaled: Array) -> None:
        """Learn from each row, then write it to `scaled` as the scaler sees it that has learned from it.

        Parameters
        ----------
        values : ndarray, shape (N, D)
            Float64, finite; NaN where missing, which is not learned from and stays missing.
        state : ndarray, shape (S, D)
            What is known, brought up to date in place.
        scaled : ndarray, shape (N, D)
            Written to.
        """


@dataclass(frozen=True, kw_only=True)
class StandardScaler(Declaration):
    """Zero mean and unit variance over all records so far; Welford's formulas.

    Parameters
    ----------
    with_std : bool
        Whether to divide by the standard deviation.

    Examples
    --------
    >>> state, scaled = np.zeros((3, 1)), np.empty((2, 1))
    >>> StandardScaler().scale(np.array([[10.557], [9.100]]), state, scaled)
    >>> scaled.round(3).tolist()
    [[0.0], [-1.0]]
    """

    begin: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0)
    with_std: bool = True

    def scale(self, values: Array, state: Array, scaled: Array) -> None:
        """As `Scaler.scale`; the state is count, mean and variance."""
        _standard(values, state, scaled, self.with_std, HALF)


@dataclass(frozen=True, kw_only=True)
class MinMaxScaler(Declaration):
    """From 0 at the least value so far to 1 at the greatest; 0 while all are equal.

    Examples
    --------
    >>> state, scaled = np.array([[0.0], [inf], [-inf]]), np.empty((3, 1))
    >>> MinMaxScaler().scale(np.array([[8.0], [12.0], [9.0]]), state, scaled)
    >>> scaled.tolist()
    [[0.0], [1.0], [0.25]]
    """

    begin: ClassVar[tuple[float, ...]] = (0.0, inf, -inf)

    def scale(self, values: Array, state: Array, scaled: Array) -> None:
        """As `Scaler.scale`; the state is count, minimum and maximum."""
        _min_max(values, state, scaled)


@dataclass(frozen=True, kw_only=True)
class MaxAbsScaler(Declaration):
    """Divided by the greatest absolute value so far, so in [-1, 1]; the sign and zero stay.

    Examples
    --------
    >>> state, scaled = np.zeros((2, 1)), np.empty((2, 1))
    >>> MaxAbsScaler().scale(np.array([[-8.0], [2.0]]), state, scaled)
    >>> scaled.tolist()
    [[-1.0], [0.25]]
    """

    begin: ClassVar[tuple[float, ...]] = (0.0, 0.0)

    def scale(self, values: Array, state: Array, scaled: Array) -> None:
        """As `Scaler.scale`; the state is count and greatest absolute value."""
        _max_abs(values, state, scaled)


@dataclass(frozen=True, kw_only=True)
class AdaptiveStandardScaler(Declaration):
    """Zero mean and unit variance of what came last: mean and variance are exponentially weighted.

    Parameters
    ----------
    fading_factor : float
        Weight of the newest value, in [0, 1].

    Examples
    --------
    >>> state, scaled = np.zeros((3, 1)), np.empty((2, 1))
    >>> AdaptiveStandardScaler(fading_factor=0.5).scale(np.array([[4.0], [8.0]]), state, scaled)
    >>> scaled.tolist()
    [[0.0], [1.0]]
    """

    begin: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0)
    fading_factor: float = limited(0.3, ge=0, le=1)

    def scale(self, values: Array, state: Array, scaled: Array) -> None:
        """As `Scaler.scale`; the state is count, mean, and mean of squares."""
        _adaptive(values, state, scaled, self.fading_factor, HALF)


SCALERS: dict[str, type[Any]] = {
    "StandardScaler": StandardScaler,
    "MinMaxScaler": MinMaxScaler,
    "MaxAbsScaler": MaxAbsScaler,
    "AdaptiveStandardScaler": AdaptiveStandardScaler,
}
"""The transformers of river that can be used in a pipeline, by river's names."""


@numba.njit(cache=True, nogil=True)
def _standard(values, state, scaled, with_std, half):  # type: ignore[no-untyped-def]
    """Scale by `river.preprocessing.StandardScaler`'s formulas, in its order of operations."""
    for column in range(values.shape[1]):
        count, mean, variance = state[0, column], state[1, column], state[2, column]
        for row in range(values.shape[0]):
            value = values[row, column]
            if np.isnan(value):
                scaled[row, column] = np.nan
                continue
            count += 1.0
            before = mean
            mean += (value - before) / count
            if not with_std:
                scaled[row, column] = value - mean
                continue
            variance += ((value - before) * (value - mean) - variance) / count
            scaled[row, column] = (value - mean) / variance**half if variance != 0.0 else 0.0
        state[0, column], state[1, column], state[2, column] = count, mean, variance


@numba.njit(cache=True, nogil=True)
def _min_max(values, state, scaled):  # type: ignore[no-untyped-def]
    """Scale as `river.preprocessing.MinMaxScaler` does."""
    for column in range(values.shape[1]):
        least, most = state[1, column], state[2, column]
        for row in range(values.shape[0]):
            value = values[row, column]
            if np.isnan(value):
                scaled[row, column] = np.nan
                continue
            state[0, column] += 1.0
            least, most = min(least, value), max(most, value)
            scaled[row, column] = (value - least) / (most - least) if most != least else 0.0
        state[1, column], state[2, column] = least, most


@numba.njit(cache=True, nogil=True)
def _max_abs(values, state, scaled):  # type: ignore[no-untyped-def]
    """Scale as `river.preprocessing.MaxAbsScaler` does."""
    for column in range(values.shape[1]):
        most = state[1, column]
        for row in range(values.shape[0]):
            value = values[row, column]
            if np.isnan(value):
                scaled[row, column] = np.nan
                continue
            state[0, column] += 1.0
            most = max(most, abs(value))
            scaled[row, column] = value / most if most != 0.0 else 0.0
        state[1, column] = most


@numba.njit(cache=True, nogil=True)
def _adaptive(values, state, scaled, factor, half):  # type: ignore[no-untyped-def]
    """Scale as `river.preprocessing.AdaptiveStandardScaler` does; `river.stats.EWVar` is E[x²] - E[x]²."""
    for column in range(values.shape[1]):
        count, mean, square = state[0, column], state[1, column], state[2, column]
        for row in range(values.shape[0]):
            value = values[row, column]
            if np.isnan(value):
                scaled[row, column] = np.nan
                continue
            if count == 0.0:
                mean, square = value, value * value
            else:
                mean = factor * value + (1.0 - factor) * mean
                square = factor * (value * value) + (1.0 - factor) * square
            count += 1.0
            variance = square - mean * mean
            scaled[row, column] = (value - mean) / variance**half if variance > 0.0 else 0.0
        state[0, column], state[1, column], state[2, column] = count, mean, square

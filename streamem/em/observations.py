"""What a micro-batch is to the mathematics."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Flags", "Labels", "Observations", "Span"]

Array = NDArray[np.float64]
Labels = NDArray[np.intp]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """How much data a batch was: all that the inertia of an update needs to know of it.

    Parameters
    ----------
    weight : float
        The sum of the row weights.
    """

    weight: float


@dataclass(frozen=True, eq=False)
class Observations:
    """Rows of numbers.

    Parameters
    ----------
    values : ndarray, shape (N, D)
        Float64, C-contiguous; NaN where a value is missing. Never infinite.
    weight : ndarray, shape (N,), optional
        Float64, >= 0; a row of weight 2 counts as two equal rows. 1 if left out.

    Examples
    --------
    >>> len(Observations(np.array([[1.0, 2.0], [3.0, np.nan]])))
    2
    """

    values: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Observations":
        return Observations(self.values[rows], None if self.weight is None else self.weight[rows])

    def span(self) -> Span:
        """Return how much data this is."""
        return Span(float(len(self.values)) if self.weight is None else float(self.weight.sum()))

    def mean(self, by_row: Array) -> float:
        """Return the weighted mean of one number a row, 0 for no rows."""
        total = self.span().weight
        if total == 0.0:
            return 0.0
        return float(by_row.sum() if self.weight is None else self.weight @ by_row) / total

    @staticmethod
    def concatenate(parts: "list[Observations]") -> "Observations":
        """Return the rows of all parts, in order."""
        values = np.concatenate([part.values for part in parts])
        if all(part.weight is None for part in parts):
            return Observations(values)
        weights = [np.ones(len(part)) if part.weight is None else part.weight for part in parts]
        return Observations(values, np.concatenate(weights))

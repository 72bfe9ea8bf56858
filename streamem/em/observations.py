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
    exposure : float
        Mean exposure of a row, 1 where there is none.
    """

    weight: float
    exposure: float = 1.0

    def and_rows(self, count: float) -> "Span":
        """Return the span with `count` more rows, of exposure 1."""
        weight = self.weight + count
        return Span(weight, (self.weight * self.exposure + count) / weight)


@dataclass(frozen=True, eq=False)
class Observations:
    """Rows of numbers.

    Parameters
    ----------
    values : ndarray, shape (N, D)
        Float64, C-contiguous; NaN where a value is missing. Never infinite.
    weight : ndarray, shape (N,), optional
        Float64, >= 0; a row of weight 2 counts as two equal rows. 1 if left out.
    exposure : ndarray, shape (N,), optional
        Float64, > 0; how much time, length or population the counts of a row are of. 1 if left out.

    Examples
    --------
    >>> len(Observations(np.array([[1.0, 2.0], [3.0, np.nan]])))
    2
    """

    values: Array
    weight: Array | None = None
    exposure: Array | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Flags) -> "Observations":
        weight = None if self.weight is None else self.weight[rows]
        return Observations(self.values[rows], weight, None if self.exposure is None else self.exposure[rows])

    def span(self) -> Span:
        """Return how much data this is by the weight of its rows, whatever a model makes of them."""
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
        return Observations(values, joined(parts, "weight"), joined(parts, "exposure"))


def joined(parts: list[Observations], name: str) -> Array | None:
    """Return one number a row of all parts, 1 where a part has none, or None where none of them has it."""
    columns = [getattr(part, name) for part in parts]
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [np.ones(len(part)) if column is None else column for part, column in zip(parts, columns, strict=True)]
    )

"""What a micro-batch is to the mathematics."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamem.em.rows import by_row, numbers
from streamem.errors import DataError, ModelError, tell

__all__ = ["Array", "Flags", "Labels", "Observations", "Segments", "Span"]

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
class Segments:
    """How the rows of a batch make up sequences, for models that know an order.

    Parameters
    ----------
    order : ndarray of int, shape (N,), or None
        Rows sequence by sequence, those of a sequence in their order; None where they come so already.
    bounds : ndarray of int, shape (S + 1,)
        Segment s is rows ``bounds[s]`` to ``bounds[s + 1]`` of that order.
    sequence : ndarray of int, shape (S,)
        Which sequence each segment is of, ascending.
    """

    order: Labels | None
    bounds: Labels
    sequence: Labels

    def __len__(self) -> int:
        return len(self.sequence)

    def sorted(self, rows: Any) -> Any:
        """Return observations or an array of rows in the order of the segments."""
        return rows if self.order is None else rows[self.order]

    def weights(self, observations: "Observations") -> Array:
        """Return the weight of every segment, shape (S,): that of its rows, which must be equal.

        Raises
        ------
        ModelError
            The rows of a sequence have different weights.
        """
        if observations.weight is None:
            return np.ones(len(self))
        weight = self.sorted(observations.weight)
        each = weight[self.bounds[:-1]]
        if not np.array_equal(np.repeat(each, np.diff(self.bounds)), weight):
            found, wanted = "rows of different weights in one sequence", "one weight for all rows of a sequence"
            do = "weigh whole sequences, or leave weight out"
            raise ModelError(tell("weight", found=found, wanted=wanted, do=do))
        return np.asarray(each)

    def restored(self, rows: Any) -> Any:
        """Return an array whose first axis is in the order of the segments as the rows came."""
        if self.order is None:
            return rows
        out = np.empty_like(rows)
        out[self.order] = rows
        return out


@dataclass(frozen=True, eq=False)
class Observations:
    """Rows of numbers, checked when they are made; what is no float64 yet becomes it.

    Parameters
    ----------
    values : ndarray, shape (N, D)
        Float64, C-contiguous; NaN where a value is missing. Never infinite.
    weight : ndarray, shape (N,), optional
        Float64, >= 0; a row of weight 2 counts as two equal rows. 1 if left out.
    exposure : ndarray, shape (N,), optional
        Float64, > 0; how much time, length or population the counts of a row are of. 1 if left out.
    sequence : ndarray, shape (N,), optional
        Intp, from 0 on; which sequence a row is of, by the same number in every batch: what goes on from batch to batch
        is kept in as many slots as the largest says. Rows of a sequence are in the order of their time. 0 if left out.
    time : ndarray, shape (N,), optional
        Float64, seconds, finite.
    checked : bool
        Whether who makes this has checked it all, the values by the model's `wrong` too; then nobody does again.

    Raises
    ------
    DataError
        Text or other things that are no numbers, another shape, or a number that a row cannot have.

    Examples
    --------
    >>> len(Observations(np.array([[1.0, 2.0], [3.0, np.nan]])))
    2
    """

    values: Array
    weight: Array | None = None
    exposure: Array | None = None
    sequence: Labels | None = None
    time: Array | None = None
    checked: bool = field(default=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.checked:
            return
        values = numbers("values", self.values)
        if values.ndim != 2 or not values.shape[1]:
            do = "write values[:, None] for one column" if values.ndim == 1 else "give one row a record"
            found, wanted = f"the shape {values.shape}", "(rows, columns), at least one column"
            raise DataError(tell("values", found=found, wanted=wanted, do=do))
        object.__setattr__(self, "values", values)
        for name in BY_ROW:
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, by_row(name, given, len(values)))

    @classmethod
    def trusted(cls, values: Array, *by_row: Any, checked: bool = False) -> "Observations":
        """Return rows made of others that were checked: a part of a batch must not cost that again."""
        made = object.__new__(cls)
        made.__dict__.update(values=values, checked=checked, **EMPTY)
        made.__dict__.update(zip(BY_ROW, by_row, strict=False))
        return made

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Flags | Labels) -> "Observations":
        if isinstance(rows, int | np.integer):
            raise DataError(tell("observations", found=f"row {rows}", wanted="rows", do=f"write [{rows} : {rows + 1}]"))
        rest = (getattr(self, name) for name in BY_ROW)
        by_row = (None if column is None else column[rows] for column in rest)
        return Observations.trusted(self.values[rows], *by_row, checked=self.checked)

    def with_values(self, values: Array) -> "Observations":
        """Return the same rows with other values."""
        return Observations.trusted(values, *(getattr(self, name) for name in BY_ROW), checked=self.checked)

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
        by_row = (joined(parts, name, empty) for name, empty in BY_ROW.items())
        return Observations.trusted(values, *by_row, checked=all(part.checked for part in parts))

    def segments(self) -> Segments:
        """Return how the rows make up sequences."""
        return self._segments

    @cached_property
    def _segments(self) -> Segments:
        rows = len(self.values)
        if self.sequence is None:
            few = np.arange(min(rows, 1))
            return Segments(None, np.append(few, rows), few)
        changes = np.diff(self.sequence)
        order: Labels | None = None
        sequence = self.sequence
        if (changes < 0).any():
            order = np.argsort(sequence, kind="stable")
            sequence = sequence[order]
            changes = np.diff(sequence)
        firsts = np.flatnonzero(changes) + 1
        bounds = np.concatenate([[0], firsts, [rows]]) if rows else np.zeros(1, np.intp)
        return Segments(order, bounds, sequence[bounds[:-1]])


BY_ROW = {"weight": 1.0, "exposure": 1.0, "sequence": 0, "time": np.nan}
"""What a row may have besides its values, and what stands for it in rows that lack it."""

EMPTY = dict.fromkeys(BY_ROW)


def joined(parts: list[Observations], name: str, empty: float) -> Any:
    """Return one number a row of all parts, `empty` where a part has none, or None where none of them has it."""
    columns = [getattr(part, name) for part in parts]
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [np.full(len(part), empty) if column is None else column for part, column in zip(parts, columns, strict=True)]
    )

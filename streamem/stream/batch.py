"""What flows through a pipeline: micro-batches, several of them together, and the records that fell out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

__all__ = ["ROW", "Batch", "Position", "Record", "Rejected"]

Position = Mapping[str, Any]
"""Where a reader stands, as plain JSON values. Only the reader that made it reads it."""

ROW = "__streamem.row"
"""The hidden column (UInt32) of a batch's frame: which record of the batch, rejected ones counted, a row came from."""


@dataclass(frozen=True)
class Record:
    """One record as it came in: its bytes, and where it was (``{"path": ..., "record": ...}``).

    Messages may have no value, and besides a key and headers.
    """

    value: bytes | None
    where: Mapping[str, Any]
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True)
class Rejected:
    """A record that cannot be used, and why.

    Parameters
    ----------
    record : Record
        The original.
    operator : str
        Who refused it: ``source`` or the name of an operator.
    message : str
        Found, wanted, what to do.
    row : int
        Its place in the batch.
    """

    record: Record
    operator: str
    message: str
    row: int = 0


@dataclass(frozen=True)
class Batch:
    """Consecutive micro-batches in one frame, and the position after them.

    A micro-batch is what one step of learning sees. What costs the same for a thousand records as for ten thousand
    (a frame made, a column added) is paid once for all that are together; how many those are never shows in an output.

    Parameters
    ----------
    frame : polars.DataFrame
        One row a record, the hidden column `ROW` among its columns. Operators add columns and drop rows.
    number : int
        Of its first micro-batch, counted from 0 over the whole life of the pipeline, restarts included.
    position : Position
        Where reading goes on after this batch.
    records : int
        How many records of the source the batch covers, rejected ones included.
    original : callable
        Gives the `Record` that a value of the column `ROW` stands for.
    rejected : tuple of Rejected
        What fell out so far.
    size : int or None
        Records in each micro-batch, rejected ones included; the last one may have fewer. None: there is but one.

    Examples
    --------
    >>> frame = pl.DataFrame({ROW: [0, 1, 2, 4]}, schema={ROW: pl.UInt32})
    >>> batch = Batch(frame, 7, {}, 5, original=lambda row: Record(b"", {}), size=2)
    >>> list(batch.numbers)
    [7, 8, 9]
    >>> batch.rows()
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """

    frame: pl.DataFrame
    number: int
    position: Position
    records: int
    original: Callable[[int], Record] = field(repr=False)
    rejected: tuple[Rejected, ...] = ()
    size: int | None = None

    @property
    def numbers(self) -> range:
        """The numbers of its micro-batches."""
        return range(self.number, self.number + (1 if self.size is None else max(1, -(-self.records // self.size))))

    def rows(self) -> list[slice]:
        """Return which rows of the frame each micro-batch still has."""
        inner: list[int] = []
        if self.size is not None and self.records > self.size:
            firsts = np.arange(self.size, self.records, self.size)
            inner = np.searchsorted(self.frame[ROW].to_numpy(), firsts).tolist()
        return [slice(start, stop) for start, stop in pairwise([0, *inner, self.frame.height])]

    def fallen(self) -> list[Rejected]:
        """Return what fell out, micro-batch by micro-batch, and in each by operator."""
        size = self.size or self.records or 1
        return sorted(self.rejected, key=lambda one: one.row // size)

    def with_frame(self, frame: pl.DataFrame) -> "Batch":
        """Return the same batch with other columns or fewer rows."""
        return replace(self, frame=frame)

    def reject(self, bad: np.ndarray, operator: str, reason: Callable[[int], str]) -> "Batch":
        """Return the batch without the rows where `bad` holds; they join `rejected`.

        Parameters
        ----------
        bad : ndarray of bool, shape (rows of the frame,)
        operator : str
            The name of the operator that refuses them.
        reason : callable
            Gives the message for the index of a row in the present frame.
        """
        indices = np.flatnonzero(bad)
        if indices.size == 0:
            return self
        rows = self.frame[ROW].to_numpy()
        fallen = tuple(Rejected(self.original(int(rows[i])), operator, reason(int(i)), int(rows[i])) for i in indices)
        return replace(self, frame=self.frame.filter(pl.Series(~bad)), rejected=self.rejected + fallen)

"""Some thousand records, framed and parsed at once; batches are cut from pieces and do not depend on their size."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streamem.stream.batch import ROW, Batch, Record, Rejected

__all__ = ["Piece", "Slice", "batch_of"]


@dataclass(frozen=True)
class Piece:
    """Consecutive records of one file.

    Parameters
    ----------
    frame : polars.DataFrame
        The records that could be parsed; the column `ROW` counts all records of the piece.
    count : int
        All records, rejected ones included.
    rejected : sequence of (int, str)
        Which records could not be parsed, and why.
    where : callable
        Gives the position after the first n records.
    original : callable
        Gives record n as it came in.
    """

    frame: pl.DataFrame
    count: int
    rejected: Sequence[tuple[int, str]]
    where: Callable[[int], Mapping[str, Any]]
    original: Callable[[int], Record]

    def rows(self, start: int, stop: int) -> pl.DataFrame:
        """Return the parsed records from number `start` to before `stop`."""
        if self.rejected:
            start, stop = np.searchsorted(self.frame[ROW].to_numpy(), [start, stop]).tolist()
        return self.frame.slice(start, stop - start)

    def fallen(self, start: int, stop: int) -> Sequence[tuple[int, str]]:
        """Return the rejected ones from number `start` to before `stop`."""
        first, last = (bisect_left(self.rejected, number, key=lambda one: one[0]) for number in (start, stop))
        return self.rejected[first:last]


@dataclass(frozen=True)
class Slice:
    """Records `start` to before `stop` of a piece."""

    piece: Piece
    start: int
    stop: int


def batch_of(slices: Sequence[Slice], number: int) -> Batch:
    """Return the batch that consecutive slices make."""
    last = slices[-1]
    if len(slices) == 1:
        frame, original = last.piece.rows(last.start, last.stop), last.piece.original
    else:
        frame, original = joined(slices)
    rejected = tuple(
        Rejected(one.piece.original(index), "source", message)
        for one in slices
        for index, message in one.piece.fallen(one.start, one.stop)
    )
    records = sum(one.stop - one.start for one in slices)
    return Batch(frame, number, last.piece.where(last.stop), records, original, rejected)


def joined(slices: Sequence[Slice]) -> tuple[pl.DataFrame, Callable[[int], Record]]:
    """Return the rows of several pieces, counted on from one to the next, and the originals by that count."""
    bases = np.cumsum([0] + [one.piece.count for one in slices])
    frames = [
        one.piece.rows(one.start, one.stop).with_columns((pl.col(ROW) + int(base)).cast(pl.UInt32))
        for one, base in zip(slices, bases, strict=False)
    ]

    def original(row: int) -> Record:
        index = int(np.searchsorted(bases, row, side="right")) - 1
        return slices[index].piece.original(row - int(bases[index]))

    return pl.concat(frames), original

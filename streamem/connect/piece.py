"""Some thousand records, framed and parsed at once; batches are cut from pieces and do not depend on their size."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
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
        The records that could be parsed.
    numbers : ndarray of int, or None
        Which of all records of the piece each row of the frame is; None where the frame has them all.
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
    numbers: np.ndarray | None
    count: int
    rejected: Sequence[tuple[int, str]]
    where: Callable[[int], Mapping[str, Any]]
    original: Callable[[int], Record]


@dataclass(frozen=True)
class Slice:
    """Records `start` to before `stop` of a piece."""

    piece: Piece
    start: int
    stop: int

    def rows(self) -> tuple[pl.DataFrame, np.ndarray]:
        """Return the records that could be parsed, and the number of each in the slice."""
        numbers = self.piece.numbers
        if numbers is None:
            return self.piece.frame[self.start : self.stop], np.arange(self.stop - self.start)
        first, last = np.searchsorted(numbers, [self.start, self.stop])
        return self.piece.frame[first:last], numbers[first:last] - self.start

    def rejected(self) -> list[Rejected]:
        """Return the records that could not be parsed."""
        piece = self.piece
        first, last = (bisect_left(piece.rejected, number, key=itemgetter(0)) for number in (self.start, self.stop))
        return [Rejected(piece.original(n), "source", message) for n, message in piece.rejected[first:last]]


def batch_of(slices: Sequence[Slice], number: int, size: int | None) -> Batch:
    """Return the batch that consecutive slices make, with micro-batches of `size` records, or but one."""
    bases = np.cumsum([0] + [one.stop - one.start for one in slices])
    parts = [one.rows() for one in slices]

    def original(row: int) -> Record:
        index = int(np.searchsorted(bases, row, side="right")) - 1
        return slices[index].piece.original(row - int(bases[index]) + slices[index].start)

    frame = parts[0][0] if len(parts) == 1 else pl.concat([frame for frame, _ in parts], rechunk=True)
    rows = np.concatenate([numbers + base for (_, numbers), base in zip(parts, bases, strict=False)])
    numbered = frame.hstack([pl.Series(ROW, rows.astype(np.uint32))])
    rejected = tuple(fallen for one in slices for fallen in one.rejected())
    last_slice = slices[-1]
    return Batch(numbered, number, last_slice.piece.where(last_slice.stop), int(bases[-1]), original, rejected, size)

"""Pieces of input cut into batches: by count, on live sources also by time; the same for every source of pieces.

Where sequences are kept whole, at the first change of the key after the count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from streamem.connect.piece import Piece, Slice, batch_of
from streamem.em.observations import Labels
from streamem.errors import DataError
from streamem.stream.batch import Batch
from streamem.stream.protocol import Cuts, World

__all__ = ["Cutter"]

NEVER = 1 << 62
"""Behind all records of a piece."""


@dataclass
class Cutter:
    """Cuts consecutive pieces.

    Parameters
    ----------
    cuts : Cuts
    number : int
        Of the next micro-batch.
    world : World
        Its clock says when a live micro-batch has waited long enough.
    key : str or None
        The column whose changes end a micro-batch, where `cuts` wants keys whole.
    alone : bool
        Whether each micro-batch comes in a batch of its own.
    """

    cuts: Cuts
    number: int
    world: World
    key: str | None = None
    alone: bool = False

    def batches(self, pieces: Iterator[Piece | None]) -> Iterator[Batch | None]:
        """Yield batches; the last one of the input is short, and the one before damage; None where a piece is None."""
        waiting: list[Slice] = []
        damage: DataError | None = None
        held = 0
        left = self.cuts.limit
        oldest = 0.0
        patience = self.cuts.max_wait_ms
        last = None
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except DataError as error:
                damage = error
                break
            at = 0
            ends = None
            if piece is not None and self.key is not None:
                ends, last = changes(piece, self.key, last)
            while piece is not None and at < piece.count:
                if not waiting:
                    oldest = self.world.monotonic()
                end = self.end(piece, at, held, left) if ends is None else self.whole_end(ends, at, held, left)
                stop = min(piece.count, end)
                if stop > at:
                    waiting.append(Slice(piece, at, stop))
                held += stop - at
                at = stop
                if stop == end:
                    yield self.batch(waiting)
                    left = None if left is None else left - held
                    waiting, held = [], 0
                    if left == 0:
                        return
            if waiting and patience is not None and (self.world.monotonic() - oldest) * 1000 >= patience:
                yield self.batch(waiting)
                left = None if left is None else left - held
                waiting, held = [], 0
            elif piece is None:
                yield None
        if waiting and not self.world.stopping.is_set():
            yield self.batch(waiting)
        if damage is not None and not self.world.stopping.is_set():
            raise damage

    def end(self, piece: Piece, at: int, held: int, left: int | None) -> int:
        """Return where in a piece, from `at` on, a batch ends that has `held` records; behind the piece if later."""
        size, records = self.cuts.max_records, held + piece.count - at
        if left is not None and left <= records:
            records = left
            if left < size:
                return at + left - held
        lone = self.alone or bool(piece.rejected)
        ready = size * min(records // size, 1 if lone else self.cuts.together(self.number))
        return at + ready - held if ready else piece.count + 1

    def whole_end(self, ends: Labels, at: int, held: int, left: int | None) -> int:
        """Return the same where a batch ends at one of `ends`, or at the limit."""
        index = np.searchsorted(ends, max(at + self.cuts.max_records - held, at + (not held)))
        found = int(ends[index]) if index < len(ends) else NEVER
        return found if left is None else min(found, at + left - held)

    def batch(self, slices: list[Slice]) -> Batch:
        """Return the batch of some slices."""
        batch = batch_of(slices, self.number, self.cuts.max_records if self.key is None else None)
        self.number = batch.numbers.stop
        return batch


def changes(piece: Piece, key: str, last: pl.Series | None) -> tuple[Labels, pl.Series]:
    """Return before which records of a piece the key changes, and the last key; `last` is that of the piece before."""
    keys = piece.frame.get_column(key)
    if last is None or not len(last):
        last = keys[:1]
    before = pl.concat([last, keys[:-1]]) if len(keys) else keys
    rows = np.flatnonzero(keys.ne_missing(before).to_numpy())
    numbers = rows if piece.numbers is None else piece.numbers[rows]
    return numbers, keys[-1:] if len(keys) else last

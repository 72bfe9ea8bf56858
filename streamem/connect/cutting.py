"""Pieces of input cut into batches: by count, on live sources also by time; the same for every source of pieces."""

from collections.abc import Iterator
from dataclasses import dataclass

from streamem.connect.piece import Piece, Slice, batch_of
from streamem.errors import DataError
from streamem.stream.batch import Batch
from streamem.stream.protocol import Cuts, World

__all__ = ["Cutter"]


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
    alone : bool
        Whether each micro-batch comes in a batch of its own.
    """

    cuts: Cuts
    number: int
    world: World
    alone: bool = False

    def batches(self, pieces: Iterator[Piece | None]) -> Iterator[Batch | None]:
        """Yield batches; the last one of the input is short, and the one before damage; None where a piece is None."""
        waiting: list[Slice] = []
        damage: DataError | None = None
        held = 0
        left = self.cuts.limit
        oldest = 0.0
        patience = self.cuts.max_wait_ms
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except DataError as error:
                damage = error
                break
            at = 0
            while piece is not None and at < piece.count:
                if not waiting:
                    oldest = self.world.monotonic()
                ready = self.ready(held + piece.count - at, left, lone=bool(piece.rejected))
                stop = at + ready - held if ready else piece.count
                waiting.append(Slice(piece, at, stop))
                held += stop - at
                at = stop
                if ready:
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

    def ready(self, records: int, left: int | None, *, lone: bool) -> int:
        """Return how many of the records at hand make a batch now; 0 while they do not fill a micro-batch."""
        size = self.cuts.max_records
        if left is not None and left <= records:
            records = left
            if left < size:
                return left
        return size * min(records // size, 1 if lone or self.alone else self.cuts.together(self.number))

    def batch(self, slices: list[Slice]) -> Batch:
        """Return the batch of some slices."""
        batch = batch_of(slices, self.number, self.cuts.max_records)
        self.number = batch.numbers.stop
        return batch

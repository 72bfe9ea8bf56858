"""Messages of one poll as a piece of records, each with its place in its partition."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streamem.connect.kafka.client import Messages, Partition
from streamem.connect.kafka.formats import Decoded, Decoder
from streamem.connect.kafka.metadata import metadata_columns
from streamem.connect.piece import Piece
from streamem.stream.batch import Position, Record

__all__ = ["Place", "piece_of"]


class Place(NamedTuple):
    """Where reading goes on in a partition: at a message, and in it behind some rows, where it holds several."""

    offset: int
    row: int = 0

    @staticmethod
    def partition(name: str) -> Partition:
        """Return the partition of a name in a position.

        Examples
        --------
        >>> Place.partition("readings/3")
        ('readings', 3)
        """
        topic, _, number = name.rpartition("/")
        return topic, int(number)


def piece_of(
    runs: Sequence[Messages],
    decoder: Decoder,
    metadata: Sequence[str],
    places: Mapping[Partition, Place],
    after: Mapping[Partition, int],
) -> tuple[Piece, dict[Partition, Place]]:
    """Return the records of messages, and where reading goes on after them.

    Parameters
    ----------
    runs : sequence of Messages
        What a poll gave, in the order in which it counts.
    decoder : Decoder
    metadata : sequence of str
        Columns to add.
    places : mapping of Partition to Place
        Where reading goes on before them.
    after : mapping of Partition to int
        The offset behind the messages of each partition.
    """
    decoded = decoder.decode([value for run in runs for value in run.values])
    frame = decoded.frame
    if metadata:
        frame = frame.hstack(metadata_columns(runs, metadata, decoded.messages))
    bounds = np.cumsum([0] + [len(run.offsets) for run in runs])
    skipped = _skipped(runs, bounds, places)
    records = _Records(decoded, frame.height, skipped)
    if records.kept is not None:
        frame = frame.filter(records.kept)
    end = dict(places) | {partition: Place(offset) for partition, offset in after.items()}

    def locate(message: int) -> tuple[int, int]:
        run = int(np.searchsorted(bounds, message, side="right")) - 1
        return run, message - int(bounds[run])

    def where(taken: int) -> Position:
        if taken == records.count:
            return _plain(end)
        message = int(records.messages[taken - 1])
        run, index = locate(message)
        position = dict(places)
        for before in runs[:run]:
            if before.offsets:
                position[before.partition] = Place(before.offsets[-1] + 1)
        first, last = np.searchsorted(records.messages, [message, message + 1])
        offset = runs[run].offsets[index]
        whole = taken == last
        rows = taken - int(first) + skipped.get(message, 0)
        position[runs[run].partition] = Place(offset + 1) if whole else Place(offset, rows)
        return _plain(position)

    def original(record: int) -> Record:
        run, index = locate(int(records.messages[record]))
        one = runs[run]
        key, headers, _ = one.rest(index)
        topic, partition = one.partition
        place = {"topic": topic, "partition": partition, "offset": one.offsets[index]}
        return Record(one.values[index], place, key, tuple(headers))

    return Piece(frame, records.numbers, records.count, records.rejected, where, original), end


def _plain(places: Mapping[Partition, Place]) -> Position:
    return {f"{topic}/{number}": list(place) for (topic, number), place in places.items()}


def _skipped(runs: Sequence[Messages], bounds: np.ndarray, places: Mapping[Partition, Place]) -> dict[int, int]:
    """Return how many rows of which message were done by an earlier run."""
    skipped = {}
    for run, start in zip(runs, bounds, strict=False):
        place = places[run.partition]
        if place.row and run.offsets and run.offsets[0] == place.offset:
            skipped[int(start)] = place.row
    return skipped


class _Records:
    """Rows and bad messages as one sequence, in the order of the messages."""

    def __init__(self, decoded: Decoded, rows: int, skipped: Mapping[int, int]) -> None:
        of_rows = np.arange(rows) if decoded.messages is None else decoded.messages
        self.kept: np.ndarray | None = None
        if skipped:
            firsts = np.searchsorted(of_rows, list(skipped))
            self.kept = np.ones(rows, dtype=np.bool_)
            for first, count in zip(firsts, skipped.values(), strict=True):
                self.kept[first : first + count] = False
            of_rows = of_rows[self.kept]
        if not decoded.bad:
            self.numbers: np.ndarray | None = None
            self.messages, self.rejected = of_rows, []
        else:
            both = np.concatenate([of_rows, [message for message, _ in decoded.bad]]).astype(np.int64)
            order = np.argsort(both, kind="stable")
            ranks = np.empty(len(both), dtype=np.int64)
            ranks[order] = np.arange(len(both))
            self.numbers, self.messages = ranks[: len(of_rows)], both[order]
            numbers = ranks[len(of_rows) :].tolist()
            self.rejected = [(number, why) for number, (_, why) in zip(numbers, decoded.bad, strict=True)]
        self.count = len(self.messages)

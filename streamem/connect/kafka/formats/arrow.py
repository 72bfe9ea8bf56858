"""Messages of Arrow: many rows each, as an IPC stream or an IPC file."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streamem.connect.kafka.formats.conform import conform, usable
from streamem.connect.kafka.formats.decoder import Decoded, present, unfit
from streamem.connect.kafka.formats.ipc import stream_of
from streamem.errors import DataError, tell

__all__ = ["ArrowMessages", "arrow_schema", "encode_arrow"]


@dataclass(frozen=True)
class ArrowMessages:
    """A message holds any number of rows.

    Examples
    --------
    >>> values = encode_arrow(pl.DataFrame({"x": [1, 2, 3]}), 2)
    >>> result = ArrowMessages(pl.Schema({"x": pl.Float64()})).decode([values[0], b"?", values[1]])
    >>> result.frame["x"].to_list(), result.messages.tolist(), result.bad[0][0]
    ([1.0, 2.0, 3.0], [0, 0, 2], 1)
    """

    schema: pl.Schema

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the rows of messages."""
        _, _, bad = present(values)
        frames = [pl.DataFrame(schema=self.schema)]
        heights = np.zeros(len(values), np.int64)
        for n, value in enumerate(values):
            if value is None or n in bad:
                continue
            try:
                frame, lost = conform(rows(value), self.schema)
                if lost:
                    raise DataError(next(iter(lost.values())))
                frames.append(frame)
                heights[n] = frame.height
            except DataError as error:
                bad[n] = str(error)
        indices = np.repeat(np.arange(len(values)), heights)
        frame = pl.concat(frames, rechunk=True)
        if not bad and (heights == 1).all():
            return Decoded(frame, None, ())
        return Decoded(frame, indices, sorted(bad.items()))


def rows(value: bytes) -> pl.DataFrame:
    """Return the rows of one message.

    Raises
    ------
    DataError
        It is not Arrow, or not whole.
    """
    stream = stream_of(value)
    try:
        return pl.read_ipc_stream(stream)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        found = str(error).strip().split("\n")[0].removesuffix(".")
        raise DataError(unfit(found, "an Arrow IPC stream or file")) from error


def arrow_schema(sample: Sequence[bytes | None], numbers: frozenset[str], place: str) -> pl.Schema:
    """Return the columns of the first message that can be read.

    Raises
    ------
    DataError
        There is none.
    """
    kept, _, _ = present(sample)
    for value in kept:
        try:
            return usable(rows(value).schema, numbers)
        except DataError:
            continue  # met again as a bad message
    do = "look at the topic, and at format:"
    raise DataError(tell(place, found="no message of Arrow that can be read", wanted="at least one", do=do))


def encode_arrow(frame: pl.DataFrame, rows_per_message: int) -> list[bytes]:
    """Return the rows of a frame as Arrow IPC streams, so many in each but the last.

    Not compressed: the producer's compression.type does that for whole batches of messages, and not every reader of
    Arrow has its codecs.

    Examples
    --------
    >>> values = encode_arrow(pl.DataFrame({"x": [1.5, None, 3.0]}), 2)
    >>> [pl.read_ipc_stream(value)["x"].to_list() for value in values]
    [[1.5, None], [3.0]]
    """
    values = []
    for part in frame.iter_slices(rows_per_message):
        buffer = io.BytesIO()
        part.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
        values.append(buffer.getvalue())
    return values

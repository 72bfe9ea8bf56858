"""Whether bytes are whole Arrow IPC: what polars does not look at before it allocates memory.

polars believes the lengths in a damaged message and ends the process when there is no such memory: one message would
stop a pipeline at every start. So lengths are held against the bytes that are there first. Only these few fields of
Message.fbs (https://github.com/apache/arrow/blob/main/format/Message.fbs) are read here; the rest is polars'.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from streamem.connect.kafka.formats.decoder import unfit
from streamem.errors import DataError

__all__ = ["FILE", "stream_of"]

FILE = b"ARROW1"
"""What an IPC file begins and ends with; a stream does not."""

HEAD, TAIL = 8, 10
"""Bytes before the stream in a file, and behind the footer: the length of the footer, and `FILE`."""

MARK = b"\xff\xff\xff\xff"
"""What a message of the stream begins with, before the length of its metadata."""

ROWS = 1 << 24
"""Rows of one message at most: a column of nothing needs no bytes for its rows, and would be without end."""

BUFFER = 1 << 30
"""Bytes of one column at most after decompression."""

SCHEMA, DICTIONARY, BATCH = 1, 2, 3


def stream_of(value: bytes) -> bytes:
    """Return the stream that a message is, or the one within the file that it is, after a look at its lengths.

    Raises
    ------
    DataError
        It is not Arrow, or not whole.
    """
    try:
        stream = within(value) if value.startswith(FILE) else value
        check(stream)
    except (struct.error, ValueError) as error:
        raise (error if isinstance(error, DataError) else refused("metadata cut short")) from error
    return stream


def within(value: bytes) -> bytes:
    """Return the stream within a file: what its footer names, dictionaries first.

    A file of polars begins with the schema without the mark and the length that it has in a stream.
    """
    require(value.endswith(FILE), "a file without its end")
    (size,) = struct.unpack_from("<i", value, len(value) - TAIL)
    begin = len(value) - TAIL - size
    require(HEAD <= begin <= len(value) - TAIL, "a file without its end")
    footer = Table.at_root(value[begin : len(value) - TAIL])
    blocks = np.concatenate([footer.vector(2, 3), footer.vector(3, 3)], axis=1).T
    starts, sizes = blocks[:, 0], (blocks[:, 1] & 0xFFFFFFFF) + blocks[:, 2]
    fit = (starts >= HEAD) & (starts <= begin) & (sizes >= 0) & (sizes <= begin - starts)
    require(bool(fit.all()), "rows beyond the end of the file")
    head = value[HEAD : min(starts.tolist(), default=begin)]
    if head.startswith(MARK):
        head = head[: 8 + struct.unpack_from("<i", head, 4)[0]]
    else:
        head += bytes(-len(head) % 8)
        head = MARK + struct.pack("<i", len(head)) + head
    parts = zip(starts.tolist(), sizes.tolist(), strict=True)
    return head + b"".join(value[start : start + size] for start, size in parts)


def check(value: bytes) -> None:
    """Raise for a stream with a length that cannot be."""
    place, kinds = 0, []
    while place < len(value):
        mark, size = struct.unpack_from("<4si", value, place)
        require(mark == MARK, f"bytes that begin with {value[place : place + 8].hex(' ')}")
        if size == 0:
            break
        place += 8
        require(0 < size <= len(value) - place, "the end of the message within metadata")
        message = Table.at_root(value[place : place + size])
        kind, body = message.number(1, "<B"), message.number(3, "<q")
        place += size
        require(0 <= body <= len(value) - place, "the end of the message within its columns")
        kinds.append(kind)
        if kind in (DICTIONARY, BATCH):
            batch = message.table(2)
            columns(batch if kind == BATCH else batch.table(1), value[place : place + body])
        place += body
    require(kinds[:1] == [SCHEMA], "no schema")


def columns(batch: "Table", body: bytes) -> None:
    """Raise for a batch of rows whose columns are not within its body."""
    lengths, counts = batch.vector(1, 2)
    begins, sizes = batch.vector(2, 2)
    rows = batch.number(0, "<q")
    require(0 <= rows <= ROWS, f"{rows} rows")
    require(bool(((lengths >= 0) & (counts >= 0) & (counts <= lengths)).all()), "a column of fewer than no rows")
    fit = (begins >= 0) & (sizes >= 0) & (begins <= len(body)) & (sizes <= len(body) - begins)
    require(bool(fit.all()), "a column beyond the end of the message")
    require(bool((lengths <= max(ROWS, 8 * BUFFER)).all()), "a column without end")
    if batch.place(3):  # compressed: each begins with its length before that, or -1 where it is not
        for begin in begins[sizes > 0].tolist():
            (size,) = struct.unpack_from("<q", body, begin)
            require(-1 <= size <= BUFFER, f"a column of {size} bytes")


class Table:
    """A table of a flatbuffer: fields by number, each of which may be absent."""

    def __init__(self, content: bytes, start: int) -> None:
        self.content, self.start = content, start
        require(0 <= start < len(content), "metadata cut short")
        self.fields = start - struct.unpack_from("<i", content, start)[0]
        require(0 <= self.fields < len(content), "metadata cut short")

    @classmethod
    def at_root(cls, content: bytes) -> "Table":
        """Return the table that a flatbuffer is."""
        return cls(content, struct.unpack_from("<I", content)[0])

    def place(self, field: int) -> int:
        """Return where a field is; 0 where it is absent."""
        (size,) = struct.unpack_from("<H", self.content, self.fields)
        slot = 4 + 2 * field
        offset: int = struct.unpack_from("<H", self.content, self.fields + slot)[0] if slot < size else 0
        return self.start + offset if offset else 0

    def number(self, field: int, kind: str) -> int:
        """Return a number; 0 where it is absent."""
        place = self.place(field)
        return int(struct.unpack_from(kind, self.content, place)[0]) if place else 0

    def table(self, field: int) -> "Table":
        """Return a table within this one."""
        place = self.place(field)
        require(place > 0, "metadata cut short")
        return Table(self.content, place + struct.unpack_from("<I", self.content, place)[0])

    def vector(self, field: int, words: int) -> NDArray[np.int64]:
        """Return a vector of records of so many whole numbers, a row a number."""
        place = self.place(field)
        if not place:
            return np.empty((words, 0), np.int64)
        place += struct.unpack_from("<I", self.content, place)[0]
        (count,) = struct.unpack_from("<I", self.content, place)
        return np.frombuffer(self.content, "<i8", words * count, place + 4).reshape(count, words).T


def require(fine: bool, found: str) -> None:
    """Raise DataError unless it is fine."""
    if not fine:
        raise refused(found)


def refused(found: str) -> DataError:
    """Return the error for bytes that are not whole Arrow."""
    return DataError(unfit(found, "an Arrow IPC stream or file", "send it whole"))

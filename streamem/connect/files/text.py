"""Pieces of CSV and NDJSON files."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streamem.connect.files import framing, schema
from streamem.connect.files.bytestream import ByteStream
from streamem.connect.files.parse import Csv, Ndjson, Parser, parse
from streamem.connect.files.piece import Piece
from streamem.errors import DataError, nearest, tell
from streamem.stream.batch import ROW, Record

__all__ = ["TextFile", "TextFormat"]

ENCODING_MARK = b"\xef\xbb\xbf"

LONGEST_LINE = 64 << 20
"""Bytes without a newline that are still taken for a record."""


@dataclass(frozen=True)
class TextFormat:
    """How the records of all files of a source are written."""

    kind: str
    separator: str
    null_values: Sequence[str]

    def frames(self, data: bytes, *, final: bool) -> framing.Frames:
        """Return where the records of `data` are."""
        if self.kind == "csv":
            return framing.csv_records(data, self.separator, final=final)
        return framing.lines(data, final=final)

    def sample(self, stream: ByteStream) -> tuple[pl.DataFrame, dict[str, pl.DataType]]:
        """Return the first 10,000 records of a stream and the types in them, and leave the stream at its beginning."""
        names: list[str] = []
        data, begin, frames = b"", 0, framing.NONE
        while len(frames.ends) < schema.RECORDS:
            try:
                more = stream.read()
            except DataError:
                break  # the reader meets the damage again, after the records before it
            data += more
            names, begin = header(stream.path, data, self.separator, final=not more) if self.kind == "csv" else ([], 0)
            frames = self.frames(data[begin:], final=not more)
            if not more:
                break
        stream.give_back(data)
        body = data[begin:]
        records = [body[a:b] for a, b in zip(frames.starts[: schema.RECORDS], frames.ends, strict=False)]
        if self.kind == "ndjson":
            return schema.infer_ndjson(records)
        frame = schema.infer_csv(b"".join(records), names, self.separator, self.null_values)
        return frame, schema.csv_types(frame)


def header(path: str, data: bytes, separator: str, *, final: bool) -> tuple[list[str], int]:
    """Return the names in the first record of CSV data, and where it ends; none while it is not there as a whole.

    Raises
    ------
    DataError
        It names a column twice, or not at all.
    """
    frames = framing.csv_records(data, separator, final=final)
    if not len(frames.ends):
        return [], 0
    line = data[frames.starts[0] : frames.ends[0]].removeprefix(ENCODING_MARK).decode("utf-8", errors="replace")
    names = next(csv.reader(io.StringIO(line), delimiter=separator))
    if len(set(names)) < len(names) or "" in names:
        wanted, do = "a name of its own for each column", "mend the header"
        raise DataError(tell(f"header of {path}", found=line.strip(), wanted=wanted, do=do))
    return names, int(frames.ends[0])


@dataclass
class TextFile:
    """One file being read.

    Parameters
    ----------
    path : str
    text : TextFormat
    wanted : polars.Schema
        The columns of every frame.
    position : callable
        Gives the source's position for a byte offset and a count of records in this file.
    """

    path: str
    text: TextFormat
    wanted: pl.Schema
    position: Callable[[int, int], Mapping[str, Any]]

    def open(self, stream: ByteStream, offset: int, record: int) -> None:
        """Begin at a byte offset of a stream, before record number `record` counted from 0."""
        self.stream = stream
        self.record = record
        self.rest = b""
        self.parser: Parser = Ndjson(self.wanted)
        if self.text.kind == "csv":
            data, begin = b"", 0
            while not begin and (more := stream.read()):
                data += more
                names, begin = header(self.path, data, self.text.separator, final=False)
            if not begin:
                names, begin = header(self.path, data, self.text.separator, final=True)
            self.parser = self.csv(names)
            stream.give_back(data)
            offset = max(offset, begin)
        stream.skip(offset)

    def csv(self, names: list[str]) -> Csv:
        """Return the parser for a CSV file with this header."""
        for column in self.wanted:
            if names and column not in names:
                raise DataError(
                    tell(
                        f"header of {self.path}",
                        found=f"no column {column}{nearest(column, names)}",
                        wanted="the columns of the first file: " + ", ".join(self.wanted),
                        do="read files of another schema in another pipeline",
                    )
                )
        return Csv(names, self.wanted, self.text.separator, self.text.null_values)

    def pieces(self, *, final: bool) -> Iterator[Piece]:
        """Yield pieces up to the present end of the file; an unterminated last record only if it is `final`.

        Damage in a compressed file is raised after the whole records before it.
        """
        while True:
            damage: DataError | None = None
            try:
                more = self.stream.read()
            except DataError as error:
                more, damage = b"", error
            data = self.rest + more
            frames = self.text.frames(data, final=final and not more and damage is None)
            if frames.consumed:
                self.rest = data[frames.consumed :]
                if len(frames.ends):
                    yield self.piece(data, frames, self.stream.offset - len(self.rest) - frames.consumed)
            else:
                self.rest = data
                if len(data) > LONGEST_LINE:
                    raise self.endless()
            if damage is not None:
                raise damage
            if not more:
                return

    def endless(self) -> DataError:
        """Return the error for a record that does not end."""
        return DataError(
            tell(
                f"{self.path}, record {self.record + 1}",
                found=f"more than {LONGEST_LINE >> 20} MiB without an end of line",
                wanted="records on lines of their own",
                do="look whether this is a text file",
            )
        )

    def piece(self, data: bytes, frames: framing.Frames, base: int) -> Piece:
        """Return the records of a run of bytes that begins at offset `base`, parsed."""
        starts, ends, first = frames.starts, frames.ends, self.record
        count = len(ends)
        self.record += count
        if first == 0 and self.text.kind == "ndjson" and data.startswith(ENCODING_MARK) and base == 0:
            starts = starts.copy()
            starts[0] += len(ENCODING_MARK)
        bad = self.ragged(frames)
        rows = np.delete(np.arange(count), [index for index, _ in bad]) if bad else np.arange(count)
        gaps = bool(bad) or bool(starts[0]) or not np.array_equal(starts[1:], ends[:-1])

        def records(start: int, stop: int) -> bytes:
            if gaps:
                return b"".join(data[starts[n] : ends[n]] for n in rows[start:stop])
            return data[starts[start] : ends[stop - 1]]

        frame, unparsed = parse(self.parser, records, len(rows))
        if unparsed:
            bad = sorted([*bad, *((int(rows[index]), message) for index, message in unparsed)])
            rows = np.delete(rows, [index for index, _ in unparsed])
        path = self.path

        def original(index: int) -> Record:
            value = data[starts[index] : ends[index]].rstrip(b"\r\n")
            return Record(value, {"path": path, "record": first + index + 1})

        def where(taken: int) -> Mapping[str, Any]:
            return self.position(base + int(ends[taken - 1]), first + taken)

        return Piece(frame.with_columns(pl.Series(ROW, rows, pl.UInt32)), count, bad, where, original)

    def ragged(self, frames: framing.Frames) -> list[tuple[int, str]]:
        """Return the CSV records that have more or fewer fields than the header, or a quote that never closes."""
        if frames.fields is None:
            return []
        width = len(self.parser.names) if isinstance(self.parser, Csv) else 0
        wrong = np.flatnonzero(frames.fields != width)
        return [
            (
                int(index),
                f"found {abs(frames.fields[index])} fields{'' if frames.fields[index] > 0 else ' and an open quote'}; "
                f"wanted {width} as in the header. To do: mend the record, or set errors.policy",
            )
            for index in wrong
        ]

    @property
    def raw_offset(self) -> int:
        """How many bytes of the file on the disk were read."""
        return self.stream.raw_offset

    def close(self) -> None:
        """Give the file back."""
        self.stream.close()

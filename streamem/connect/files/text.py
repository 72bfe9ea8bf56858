"""Pieces of CSV and NDJSON files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streamem.connect.files import framing
from streamem.connect.files.bytestream import ByteStream
from streamem.connect.files.written import ENCODING_MARK, TextFormat, header, whole
from streamem.connect.parse import Csv, Ndjson, Parser, parse
from streamem.connect.piece import Piece
from streamem.errors import ConnectError, DataError, nearest, tell
from streamem.stream.batch import Record

__all__ = ["TextFile"]

LONGEST_LINE = 64 << 20
"""Bytes without a newline that are still taken for a record."""


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
        self.offset = offset
        self.torn = False
        self.parser: Parser | None = None

    def begin(self, *, final: bool) -> bool:
        """Read the mark of the encoding and the header; return False while they are not there as a whole."""
        data, at, names = b"", 0, [""]
        more = b"more"
        wanted = LONGEST_LINE if self.text.kind == "csv" else len(ENCODING_MARK)
        try:
            while more and len(data) < wanted:
                more = self.stream.read()
                data += more
                at = len(ENCODING_MARK) if data.startswith(ENCODING_MARK) else 0
                if self.text.kind == "csv":
                    names, length = header(self.path, data[at:], self.text.separator, final=final and not more)
                    if length:
                        at += length
                        break
        finally:
            self.stream.give_back(data)
        if not data or not names:
            if len(data) >= LONGEST_LINE:
                raise self.endless()
            return False
        if self.text.kind == "ndjson" and not final and data == ENCODING_MARK[: len(data)]:
            return False
        self.parser = self.csv(names) if self.text.kind == "csv" else Ndjson(self.wanted)
        if self.offset > at:
            self.stream.skip(self.offset - 1)
            before = self.stream.read()
            self.stream.give_back(before[1:])
            self.torn = before[:1] != b"\n"
        else:
            self.stream.skip(at)
        return True

    def csv(self, names: list[str]) -> Csv:
        """Return the parser for a CSV file with this header."""
        for column in self.wanted:
            if column not in names:
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
        if self.parser is None and not self.begin(final=final):
            return
        while True:
            damage: DataError | None = None
            try:
                more = self.stream.read()
            except DataError as error:
                more, damage = b"", error
            if self.torn and more:
                self.torn = False
                if more[:1] not in b"\r\n":
                    raise self.went_on()
            data = self.rest + more
            frames = self.text.frames(data, final=final and not more and damage is None and not self.stream.left)
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

    def went_on(self) -> ConnectError:
        """Return the error for a record that was read before its end was there."""
        return ConnectError(
            tell(
                f"{self.path}, record {self.record}",
                found="more of a record that was read as the last one, without an end of line",
                wanted="an end of line, then further records",
                do="start afresh with --fresh; read a file that is still being written with follow: true",
            )
        )

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
        assert self.parser is not None  # noqa: S101  set by begin
        bad = self.ragged(frames)
        rows = np.delete(np.arange(count), [index for index, _ in bad]) if bad else np.arange(count)
        gaps = bool(bad) or (frames.stray is not None and bool(frames.stray.any()))
        gaps = gaps or not np.array_equal(starts[1:], ends[:-1])
        separator = self.text.separator

        def records(start: int, stop: int) -> bytes:
            if gaps:
                return b"".join(whole(data, frames, n, separator) for n in rows[start:stop])
            return data[starts[start] : ends[stop - 1]]

        frame, unparsed = parse(self.parser, records, len(rows))
        if unparsed:
            bad = sorted([*bad, *((int(rows[index]), message) for index, message in unparsed)])
            rows = np.delete(rows, [index for index, _ in unparsed])
        path = self.path

        def original(index: int) -> Record:
            value = data[starts[index] : ends[index]].removesuffix(b"\n").removesuffix(b"\r")
            return Record(value, {"path": path, "record": first + index + 1})

        def where(taken: int) -> Mapping[str, Any]:
            return self.position(base + int(ends[taken - 1]), first + taken)

        return Piece(frame, rows if bad else None, count, bad, where, original)

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

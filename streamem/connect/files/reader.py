"""Files being read: pieces in, batches out, cut by count across pieces and files."""

import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from streamem.connect import schema
from streamem.connect.ahead import ahead
from streamem.connect.cutting import Cutter
from streamem.connect.files import listing
from streamem.connect.files.bytestream import HEAD, ByteStream, head, open_stream, size_of
from streamem.connect.files.parquet import ParquetFile, parquet_schema
from streamem.connect.files.text import TextFile
from streamem.connect.files.written import TextFormat
from streamem.connect.piece import Piece
from streamem.errors import ConnectError, DataError, tell
from streamem.stream.batch import Batch, Position
from streamem.stream.protocol import Columns, Cuts, Resume, World

if TYPE_CHECKING:
    from streamem.connect.files.source import FilesSource

__all__ = ["FilesReader"]

POLL_SECONDS = 0.05
"""How often a followed file is looked at."""

YEAR = 365.25 * 86400

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class FilesReader:
    """An open `FilesSource`."""

    def __init__(
        self, source: "FilesSource", kind: str, world: World, cuts: Cuts, columns: Columns, resume: Resume | None
    ) -> None:
        self.source, self.kind, self.world, self.cuts, self.columns = source, kind, world, cuts, columns
        separator = source.separator or ("\t" if source.paths[0].endswith((".tsv", ".tsv.gz", ".tsv.zst")) else ",")
        self.text = TextFormat(kind, separator, source.null_values)
        read = [entry[0] for entry in resume.position["finished"]] + [resume.position["path"]] if resume else []
        self.files = listing.find(source.paths, source.order, read)
        self.number = resume.number if resume else 0
        self.resume = resume.position if resume else None
        self.first = listing.check_known(self.files, resume.position) if resume else 0
        self.finished: tuple[listing.Known, ...] = ()
        if resume:
            self.finished = tuple(listing.Known(*entry) for entry in resume.position["finished"])
        self.file: TextFile | ParquetFile | None = None
        self.standard_input = open_stream("-", world.wait) if "-" in self.files else None
        self.endless = source.follow or "-" in self.files
        self.bytes_total = 0 if self.endless else sum(size_of(path) for path in self.files)
        self.bytes_before = sum(known.size for known in self.finished)
        self.schema = resume.schema if resume else self.settle()
        self.coming: Generator[Piece | None] | None = None
        self.began: tuple[float, float] | None = None

    def settle(self) -> pl.Schema:
        """Return the schema, from the first file that has records."""
        numbers, declared = self.columns.numbers, self.source.schema
        if self.kind == "parquet":
            return parquet_schema(self.files[0], numbers)
        while True:
            for path in self.files:
                stream = self.stream(path)
                try:
                    sample, inferred = self.text.sample(stream, final=not self.source.follow)
                finally:
                    stream.close()
                if inferred:
                    return schema.settle(sample, inferred, declared, numbers, path, self.columns.time)
            if not self.source.follow or self.world.wait(POLL_SECONDS):
                return schema.settle(pl.DataFrame(), {}, declared, numbers, ", ".join(self.source.paths))
            self.files = listing.find(self.source.paths, self.source.order)

    @property
    def done(self) -> float | None:
        """The share of the bytes read so far; None for input without an end."""
        if self.endless:
            return None
        file = self.file  # the thread that reads ahead may take it away
        read = self.bytes_before + (file.raw_offset if file else 0)
        return min(1.0, read / self.bytes_total) if self.bytes_total else 1.0

    def commit(self, position: Position) -> None:
        """Files need not be told."""

    def close(self) -> None:
        """End the reading ahead, and close the file that is being read."""
        if self.coming is not None:
            self.coming.close()
        if self.file is not None:
            self.file.close()

    def __iter__(self) -> Iterator[Batch | None]:
        """Yield batches; the last one of the input is short, and the one before damage."""
        # what has no end is read when it is asked for: a thread could hang there, or be ahead of the clock
        self.coming = self.pieces() if self.endless else ahead(self.pieces())
        speed = self.source.speed
        key = self.columns.key if self.cuts.whole_keys else None
        cutter = Cutter(self.cuts, self.number, self.world, key, alone=speed is not None)
        for batch in cutter.batches(self.coming):
            if batch is not None and speed is not None and not self.due(batch, speed):
                return
            yield batch

    def due(self, batch: Batch, speed: float) -> bool:
        """Wait until the last record of a batch is due in a replay; return False when asked to stop meanwhile."""
        times = batch.frame[self.columns.time].drop_nulls() if self.columns.time else pl.Series()
        if times.dtype.is_float():
            times = times.filter(times.is_finite())
        if not len(times):
            return True
        unit = UNITS[self.columns.time_unit]
        if self.began is None:
            self.began = self.world.monotonic(), seconds(times[0], unit)
        wall, event = self.began
        wait = wall + (seconds(times[-1], unit) - event) / speed - self.world.monotonic()
        if wait > threading.TIMEOUT_MAX:
            found, do = f"{wait / YEAR:,.0f} years to the next batch", "set time_unit, or raise source.speed"
            raise DataError(tell("time", found=found, wanted="a replay that goes on", do=do))
        return wait <= 0 or not self.world.wait(wait)

    def pieces(self) -> Generator[Piece | None]:
        """Yield the pieces of all files in order, and None whenever a followed file has nothing more for now."""
        index = self.first
        offset, record = (self.resume["offset"], self.resume["record"]) if self.resume else (0, 0)
        while index < len(self.files):
            path = self.files[index]
            self.file = self.opened(path, offset, record)
            last = index == len(self.files) - 1
            yield from self.file.pieces(final=not (last and self.source.follow))
            while last and self.source.follow:
                yield None
                if self.world.wait(POLL_SECONDS):
                    return
                if self.file.raw_offset > size_of(path):
                    found, do = "a file shorter than what was read of it", "restore it, or start afresh with --fresh"
                    raise ConnectError(tell(path, found=found, wanted="a file that only grows", do=do))
                if isinstance(self.file, TextFile) and self.file.stream.replaced:
                    found, do = "another file of this name", "give each file a name of its own, and name them by a glob"
                    raise ConnectError(tell(path, found=found, wanted="the file that is being read", do=do))
                read = self.files[: index + 1]
                self.files = listing.find(self.source.paths, self.source.order, read)
                listing.check_order(self.files, read)
                last = index == len(self.files) - 1
                yield from self.file.pieces(final=not last)
            self.file.close()
            if index < len(self.files) - 1:
                known = listing.Known.of(path)
                if self.kind != "parquet" and path != "-":
                    known = replace(known, size=self.file.raw_offset)
                self.finished = (*self.finished, known)
                self.bytes_before += known.size
                self.file = None
            index, offset, record = index + 1, 0, 0

    def opened(self, path: str, offset: int, record: int) -> TextFile | ParquetFile:
        """Return a file opened at a position."""
        finished = [known.plain() for known in self.finished]
        known = listing.Known.of(path)

        def position(offset: int, record: int) -> Mapping[str, Any]:
            # of a plain text file as much is known as was read: it may grow
            size = known.size if self.kind == "parquet" or path.endswith((".gz", ".zst")) else offset
            length = min(size, HEAD)
            same = path == "-" or length == min(known.size, HEAD)
            digest = known.head if same else head(path, length)
            return {
                "path": path,
                "offset": offset,
                "record": record,
                "size": size,
                "head": digest,
                "finished": finished,
            }

        file: TextFile | ParquetFile
        if self.kind == "parquet":
            file = ParquetFile(path, self.schema, position)
        else:
            file = TextFile(path, self.text, self.schema, position)
        file.open(self.stream(path), offset, record)
        return file

    def stream(self, path: str) -> ByteStream:
        """Return a file from its beginning; standard input as it is."""
        return self.standard_input if self.standard_input and path == "-" else open_stream(path)


def seconds(value: Any, unit: float) -> float:
    """Return a time as seconds since the epoch; ISO 8601 text and times without a zone count as UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise no_time(repr(value), "a time in ISO 8601") from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if not isinstance(value, (int, float)):
        found = str(value.to_list()) if isinstance(value, pl.Series) else repr(value)
        raise no_time(found, "a time in ISO 8601 or a number")
    return float(value) * unit


def no_time(found: str, wanted: str) -> DataError:
    """Return the error for a value that is no time."""
    return DataError(tell("time", found=found, wanted=wanted, do="mend the record, or replay without speed"))

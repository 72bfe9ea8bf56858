"""Pieces of Parquet files."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from streamem.connect.files.bytestream import ByteStream, cannot_read
from streamem.connect.piece import Piece
from streamem.errors import DataError, tell
from streamem.stream.batch import Record

__all__ = ["ParquetFile", "parquet_schema"]

ROWS = 65_536
"""Rows read at once: large enough that opening the file again costs little, small enough for memory."""


def parquet_schema(path: str, numbers: frozenset[str]) -> pl.Schema:
    """Return the columns of a file, numbers that are used as such as Float64.

    Raises
    ------
    DataError
        It is not a Parquet file, or its end is missing.
    """
    try:
        found = pl.read_parquet_schema(path)
    except OSError as error:
        raise cannot_read(path, error) from error
    except pl.exceptions.PolarsError as error:
        raise unreadable(path, error) from error
    return pl.Schema(
        {
            name: pl.Float64() if name in numbers and (kind.is_numeric() or kind == pl.Null()) else kind
            for name, kind in found.items()
        }
    )


def unreadable(path: str, error: Exception) -> DataError:
    """Return the error for a file that cannot be read as Parquet."""
    found = str(error).strip().split("\n")[0]
    return DataError(tell(path, found=found, wanted="a whole Parquet file", do="get the file again"))


@dataclass
class ParquetFile:
    """One file being read; its position is a count of rows."""

    path: str
    wanted: pl.Schema
    position: Callable[[int, int], Mapping[str, Any]]

    def open(self, stream: ByteStream, offset: int, record: int) -> None:  # noqa: ARG002
        """Open the file before row `record` counted from 0."""
        stream.close()  # polars opens the file itself
        found = parquet_schema(self.path, frozenset(n for n, kind in self.wanted.items() if kind == pl.Float64()))
        for name, kind in self.wanted.items():
            if found.get(name) != kind:
                has = f"{name} of type {found[name]}" if name in found else f"no column {name}"
                raise DataError(
                    tell(
                        self.path,
                        found=has,
                        wanted=f"{name} of type {kind}, as in the first file",
                        do="read files of another schema in another pipeline",
                    )
                )
        self.record = record
        self.size = Path(self.path).stat().st_size
        self.height = int(pl.scan_parquet(self.path).select(pl.len()).collect().item())

    def pieces(self, *, final: bool) -> Iterator[Piece]:  # noqa: ARG002
        """Yield pieces up to the end of the file."""
        scan = pl.scan_parquet(self.path).select(
            pl.col(name).cast(kind) if kind == pl.Float64() else pl.col(name) for name, kind in self.wanted.items()
        )
        while self.record < self.height:
            first = self.record
            try:
                frame = scan.slice(first, ROWS).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise unreadable(f"{self.path}, row {first}", error) from error
            self.record += frame.height
            yield self.piece(frame, first)

    def piece(self, frame: pl.DataFrame, first: int) -> Piece:
        """Return rows as a piece."""
        path = self.path

        def original(index: int) -> Record:
            row = json.dumps(frame.row(index, named=True), default=str).encode()
            return Record(row, {"path": path, "record": first + index + 1})

        def where(taken: int) -> Mapping[str, Any]:
            return self.position(0, first + taken)

        return Piece(frame, None, frame.height, (), where, original)

    @property
    def raw_offset(self) -> int:
        """About how many bytes of the file were read."""
        return int(self.size * self.record / max(self.height, 1))

    def close(self) -> None:
        """Nothing stays open."""

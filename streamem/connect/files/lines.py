"""Rows as lines of NDJSON or CSV."""

import io
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from streamem.connect.console import told
from streamem.connect.files.folder import make_folder
from streamem.errors import ConfigError, ConnectError, ModelError, tell
from streamem.stream.disk import Disk
from streamem.stream.protocol import State

__all__ = ["LineWriter", "Lines", "OutputWriter"]

RECORDS = 8192
"""Rows serialised at once, whatever the micro-batch is: a fifth less time than pieces of 1,000."""


class Lines:
    """Gathers rows until they are some thousand, and turns them into whole lines."""

    def __init__(self, kind: str, *, widths: dict[str, int] | None = None, columns: list[str] | None = None) -> None:
        self.kind = kind
        self.widths = dict(widths or {})
        self.columns = columns
        self.frames: list[pl.DataFrame] = []
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> bool:
        """Take rows; return whether there are enough to be written."""
        self.frames.append(frame)
        self.rows += frame.height
        return self.rows >= RECORDS

    def take(self) -> list[pl.DataFrame]:
        """Return what was taken so far, and begin anew."""
        frames, self.frames, self.rows = self.frames, [], 0
        return frames

    def text(self, frames: list[pl.DataFrame]) -> memoryview:
        """Return frames as whole lines."""
        buffer = io.BytesIO()
        for _, alike in groupby(frames, key=lambda frame: frame.schema):
            self.put(pl.concat(alike, rechunk=True), buffer)
        return buffer.getbuffer()

    def put(self, frame: pl.DataFrame, buffer: io.BytesIO) -> None:
        """Write a frame as whole lines."""
        if self.kind == "ndjson":
            check_finite(frame)
            frame.write_ndjson(buffer)
            return
        flat = self.flattened(frame)
        if self.columns not in (None, flat.columns):
            found, wanted = ", ".join(flat.columns), ", ".join(self.columns or [])
            do = "write the same columns, or start afresh with --fresh"
            raise ConfigError(tell("the columns of a CSV output", found=found, wanted=wanted, do=do))
        flat.write_csv(buffer, include_header=self.columns is None)
        self.columns = flat.columns

    def flattened(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with each list as columns NAME.0, NAME.1 and so on, as many as the longest first had."""
        columns: list[pl.Expr] = []
        for name, kind in frame.schema.items():
            if isinstance(kind, (pl.List, pl.Array)):
                lists = pl.col(name).arr.to_list() if isinstance(kind, pl.Array) else pl.col(name)
                longest = int(frame.select(lists.list.len().max()).item() or 0)
                width = self.widths.setdefault(name, longest)
                if longest > width:
                    do = "write NDJSON or Parquet, or leave the column out"
                    raise ConfigError(
                        tell(f"column {name}", found=f"a list of {longest}", wanted=f"{width} values, as before", do=do)
                    )
                columns += [lists.list.get(n, null_on_oob=True).alias(f"{name}.{n}") for n in range(width)]
            elif isinstance(kind, pl.Struct):
                do = "write NDJSON or Parquet, or leave the column out"
                raise ConfigError(tell(f"column {name}", found="a record in a field of CSV", wanted="a value", do=do))
            else:
                columns.append(pl.col(name))
        flat = frame.select(columns)
        # a matrix was a list of lists
        return self.flattened(flat) if any(isinstance(kind, (pl.List, pl.Array)) for kind in flat.dtypes) else flat


def check_finite(frame: pl.DataFrame) -> None:
    """Raise ModelError for an infinite number: JSON has none, and null would be a lie."""
    for name in frame.columns:
        if infinite(frame[name]):
            raise ModelError(
                tell(
                    f"column {name}",
                    found="an infinite number",
                    wanted="finite numbers, which JSON can hold",
                    do="leave the column out with include:, or write CSV or Parquet",
                )
            )


def infinite(column: pl.Series) -> bool:
    """Return whether there is an infinite number in a column, in its lists and records too."""
    kind = column.dtype
    if isinstance(kind, pl.Struct):
        return any(infinite(column.struct.field(field.name)) for field in kind.fields)
    if isinstance(kind, (pl.List, pl.Array)):
        return (kind.inner.is_nested() or kind.inner.is_float()) and infinite(elements(column))
    return kind.is_float() and bool(np.isinf(column.to_numpy()).any())


def elements(column: pl.Series) -> pl.Series:
    """Return the elements of all lists; where the lists are equally long, without polars' engine, 0.3 ms a call."""
    first = column[0] if len(column) else None
    if column.dtype == pl.List(pl.Float64) and isinstance(first, pl.Series) and column.null_count() == 0:
        with suppress(pl.exceptions.PolarsError):
            return pl.Series(column.cast(pl.Array(pl.Float64, len(first))).to_numpy().ravel())
    return column.explode()


class LineWriter:
    """A file that grows by whole lines, and is cut back to the last checkpoint when it is opened."""

    def __init__(self, disk: Disk, path: Path, kind: str, state: State | None) -> None:
        self.disk, self.path = disk, path
        self.length = int(state.values["length"]) if state else 0
        values = state.values if state else {}
        self.lines = Lines(kind, widths=values.get("widths"), columns=values.get("columns"))
        make_folder(disk, path.parent)
        found = path.stat().st_size if path.exists() else 0
        if found < self.length:
            raise ConnectError(
                tell(
                    str(path),
                    found=f"{found} bytes",
                    wanted=f"at least {self.length}, as the checkpoint says",
                    do="restore the file, or start afresh with --fresh",
                )
            )
        # lines are made and written in another thread, one piece at a time, while the next batches are learned
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self.writing: Future[None] | None = None
        self.unnamed = not path.exists()
        self.descriptor = disk.open(path)
        if found > self.length:
            try:
                disk.truncate(self.descriptor, self.length)
            except OSError:
                disk.close(self.descriptor)
                raise

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        if self.lines.add(frame):
            self.settle()
            self.writing = self.worker.submit(self.put, self.lines.take())

    def settle(self) -> None:
        """Wait until what was given to the other thread is written."""
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def put(self, frames: list[pl.DataFrame]) -> None:
        """Write rows as whole lines, or none of them."""
        content = self.lines.text(frames)
        if not content:
            return
        try:
            self.disk.write(self.descriptor, content)
        except OSError as error:
            with suppress(OSError):  # the next start cuts it back in any case
                self.disk.truncate(self.descriptor, self.length)
            do = "make room, and start again: it goes on from the last checkpoint"
            raise ConnectError(
                tell(str(self.path), found=error.strerror or str(error), wanted="room for the output", do=do),
            ) from error
        self.length += len(content)

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Write what waits."""
        self.settle()
        self.put(self.lines.take())
        return State({"length": self.length, "widths": dict(self.lines.widths), "columns": self.lines.columns})

    def sync(self) -> None:
        """Return once what was written is on the disk."""
        try:
            self.disk.sync(self.descriptor)
            if self.unnamed:
                self.disk.sync_folder(self.path.parent)
                self.unnamed = False
        except OSError as error:
            do = "look at the disk, and start again: it goes on from the last checkpoint"
            raise ConnectError(
                tell(str(self.path), found=error.strerror or str(error), wanted="the output on the disk", do=do)
            ) from error

    def close(self) -> None:
        """Give the file back."""
        self.worker.shutdown()
        self.disk.close(self.descriptor)


class OutputWriter:
    """Standard output, line by line; at least once."""

    def __init__(self, kind: str) -> None:
        self.lines = Lines(kind)

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        if self.lines.add(frame):
            with told():
                sys.stdout.buffer.write(self.lines.text(self.lines.take()))

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Write what waits."""
        with told():
            sys.stdout.buffer.write(self.lines.text(self.lines.take()))
            sys.stdout.buffer.flush()
        return State()

    def sync(self) -> None:
        """Do nothing: what reads standard output has it."""

    def close(self) -> None:
        """Leave standard output open."""

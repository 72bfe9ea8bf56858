"""Rows as lines of NDJSON or CSV."""

import io
import sys
from pathlib import Path

import polars as pl

from streamem.errors import ConfigError, ConnectError, ModelError, tell
from streamem.stream.disk import Disk
from streamem.stream.protocol import State

__all__ = ["LineWriter", "Lines", "OutputWriter"]

RECORDS = 8192
"""Rows serialised at once, whatever the micro-batch is: half the time of pieces of 1,000."""


class Lines:
    """Gathers rows, and turns them into whole lines some thousand at a time."""

    def __init__(self, kind: str, *, header: bool, widths: dict[str, int] | None = None) -> None:
        self.kind = kind
        self.header = header
        self.widths = dict(widths or {})
        self.frames: list[pl.DataFrame] = []
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> bytes:
        """Take rows; return lines when there are enough, else nothing."""
        self.frames.append(frame)
        self.rows += frame.height
        return self.take() if self.rows >= RECORDS else b""

    def take(self) -> bytes:
        """Return all rows taken so far as lines."""
        if not self.rows:
            return b""
        frame = pl.concat(self.frames) if len(self.frames) > 1 else self.frames[0]
        self.frames, self.rows = [], 0
        buffer = io.BytesIO()
        if self.kind == "ndjson":
            check_finite(frame)
            frame.write_ndjson(buffer)
        else:
            self.flattened(frame).write_csv(buffer, include_header=self.header)
            self.header = False
        return buffer.getvalue()

    def flattened(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the frame with each list as columns NAME.0, NAME.1 and so on, as many as its first row has."""
        columns: list[pl.Expr] = []
        for name, kind in frame.schema.items():
            if isinstance(kind, (pl.List, pl.Array)):
                width = self.widths.setdefault(name, int(frame[name].list.len().max() or 0))  # type: ignore[arg-type]
                columns += [pl.col(name).list.get(n, null_on_oob=True).alias(f"{name}.{n}") for n in range(width)]
            elif isinstance(kind, pl.Struct):
                do = "write NDJSON or Parquet, or leave the column out"
                raise ConfigError(tell(f"column {name}", found="a record in a field of CSV", wanted="a value", do=do))
            else:
                columns.append(pl.col(name))
        return frame.select(columns)


def check_finite(frame: pl.DataFrame) -> None:
    """Raise ModelError for an infinite number: JSON has none, and null would be a lie."""
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    if not floats:
        return
    infinite = frame.select(pl.col(floats).is_infinite().any())
    for name in floats:
        if infinite[name][0]:
            raise ModelError(
                tell(
                    f"column {name}",
                    found="an infinite number",
                    wanted="finite numbers, which JSON can hold",
                    do="leave the column out with include:, or write CSV or Parquet",
                )
            )


class LineWriter:
    """A file that grows by whole lines, and is cut back to the last checkpoint when it is opened."""

    def __init__(self, disk: Disk, path: Path, kind: str, state: State | None) -> None:
        self.disk, self.path = disk, path
        self.length = int(state.values["length"]) if state else 0
        self.lines = Lines(
            kind, header=kind == "csv" and not self.length, widths=state.values.get("widths") if state else None
        )
        disk.make_folder(path.parent)
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
        self.unnamed = not path.exists()
        self.descriptor = disk.open(path)
        if found > self.length:
            disk.truncate(self.descriptor, self.length)

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        self.put(self.lines.add(frame))

    def put(self, content: bytes) -> None:
        """Write whole lines, or none of them."""
        if not content:
            return
        try:
            self.disk.write(self.descriptor, content)
        except OSError as error:
            self.disk.truncate(self.descriptor, self.length)
            do = "make room, and start again: it goes on from the last checkpoint"
            raise ConnectError(
                tell(str(self.path), found=error.strerror or str(error), wanted="room for the output", do=do),
                retry=True,
            ) from error
        self.length += len(content)

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Write what waits, and return once it is on the disk."""
        self.put(self.lines.take())
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
        return State({"length": self.length, "widths": self.lines.widths})

    def close(self) -> None:
        """Give the file back."""
        self.disk.close(self.descriptor)


class OutputWriter:
    """Standard output, line by line; at least once."""

    def __init__(self, kind: str) -> None:
        self.lines = Lines(kind, header=kind == "csv")

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        sys.stdout.buffer.write(self.lines.add(frame))

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Write what waits."""
        sys.stdout.buffer.write(self.lines.take())
        sys.stdout.buffer.flush()
        return State()

    def close(self) -> None:
        """Leave standard output open."""

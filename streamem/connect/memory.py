"""Frames in memory as a source and a sink, for programs and tests."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from streamem.errors import ConfigError, tell
from streamem.stream.batch import ROW, Batch, Position, Record
from streamem.stream.protocol import Columns, Cuts, Resume, State, World

__all__ = ["MemorySink", "MemorySource"]


@dataclass(frozen=True, kw_only=True)
class MemorySource:
    """The rows of a frame.

    Parameters
    ----------
    frame : polars.DataFrame

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import Columns, Cuts, World
    >>> source = MemorySource(frame=pl.DataFrame({"x": [1.0, 2.0, 3.0]}))
    >>> [batch.frame["x"].to_list() for batch in source.open(World(), Cuts(2), Columns(), None)]
    [[1.0, 2.0], [3.0]]
    """

    frame: pl.DataFrame

    def open(self, world: World, cuts: Cuts, columns: Columns, resume: Resume | None) -> "MemoryReader":  # noqa: ARG002
        """Return a reader at `resume`, or at the first row. Raises ConfigError for `whole_keys`: it cuts by count."""
        if cuts.whole_keys:
            do = "take it out, or read files or topics"
            raise ConfigError(tell("batch.whole_keys", found="a frame in memory", wanted="batches by count", do=do))
        numbers = [name for name in columns.numbers if name in self.frame.columns]
        start, number = (resume.position["record"], resume.number) if resume else (0, 0)
        return MemoryReader(self.frame.cast(dict.fromkeys(numbers, pl.Float64)), cuts, start, number)


class MemoryReader:
    """A frame being read."""

    def __init__(self, frame: pl.DataFrame, cuts: Cuts, start: int, number: int) -> None:
        self.frame, self.cuts, self.start, self.number = frame, cuts, start, number
        self.schema = frame.schema

    def __iter__(self) -> Iterator[Batch | None]:
        """Yield batches in order."""
        end = self.frame.height if self.cuts.limit is None else min(self.frame.height, self.start + self.cuts.limit)
        while self.start < end:
            first = self.start
            part = self.frame[first : min(end, first + self.cuts.max_records)]
            self.start += part.height
            numbered = part.with_columns(pl.Series(ROW, np.arange(part.height), pl.UInt32))

            def original(row: int, first: int = first, part: pl.DataFrame = part) -> Record:
                return Record(repr(part.row(row, named=True)).encode(), {"record": first + row + 1})

            yield Batch(numbered, self.number, {"record": self.start}, part.height, original)
            self.number += 1

    @property
    def done(self) -> float | None:
        """The share of the rows read so far."""
        return self.start / max(self.frame.height, 1)

    def commit(self, position: Position) -> None:
        """Do nothing: a frame need not be told."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class MemorySink:
    """Gathers frames in the list `frames`; at least once.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import World
    >>> sink = MemorySink()
    >>> sink.open(World(), None).write(pl.DataFrame({"x": [1.0, 2.0]}))
    >>> sink.frame["x"].to_list()
    [1.0, 2.0]
    """

    frames: list[pl.DataFrame] = field(default_factory=list)

    def open(self, world: World, state: State | None) -> "MemoryWriter":  # noqa: ARG002
        """Return a writer to the list."""
        return MemoryWriter(self.frames)

    def move_aside(self, world: World) -> list[str]:  # noqa: ARG002
        """Nothing stands in memory."""
        return []

    @property
    def frame(self) -> pl.DataFrame:
        """Everything written so far."""
        return pl.concat(self.frames) if self.frames else pl.DataFrame()


class MemoryWriter:
    """An open `MemorySink`."""

    def __init__(self, frames: list[pl.DataFrame]) -> None:
        self.frames = frames

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        self.frames.append(frame)

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Frames in memory survive nothing."""
        return State()

    def sync(self) -> None:
        """Do nothing: memory survives nothing."""

    def close(self) -> None:
        """Nothing is open."""

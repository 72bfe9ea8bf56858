"""A source of rows in memory, and a sink of lines on the disk, that keep the contracts and can be made to fail."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streamem.errors import ConfigError, ConnectError
from streamem.stream.batch import ROW, Batch, Position, Record, Rejected
from streamem.stream.disk import Disk, move_aside
from streamem.stream.protocol import Columns, Cuts, Resume, State, World


@dataclass(frozen=True)
class Rows:
    """A source of the rows of a frame; it rejects `unreadable` ones and is idle after batches in `idle_after`."""

    frame: pl.DataFrame
    unreadable: frozenset[int] = frozenset()
    idle_after: frozenset[int] = frozenset()
    fails_after: Mapping[int, Exception] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)
    opened: list[tuple[Cuts, Columns, Resume | None]] = field(default_factory=list)

    def open(self, world: World, cuts: Cuts, columns: Columns, resume: Resume | None) -> "RowsReader":
        self.opened.append((cuts, columns, resume))
        return RowsReader(self, cuts, resume)


class RowsReader:
    def __init__(self, rows: Rows, cuts: Cuts, resume: Resume | None) -> None:
        self.rows = rows
        self.cuts = cuts
        self.schema = resume.schema if resume else rows.frame.schema
        self.at = resume.position["record"] if resume else 0
        self.number = resume.number if resume else 0

    @property
    def done(self) -> float:
        return self.at / max(1, self.rows.frame.height)

    def original(self, row: int) -> Record:
        return Record(json.dumps(self.rows.frame.row(row, named=True)).encode(), {"path": "rows", "record": row})

    def __iter__(self) -> Iterator[Batch | None]:
        left = self.cuts.limit if self.cuts.limit is not None else self.rows.frame.height
        while self.at < self.rows.frame.height and left > 0:
            indices = np.arange(self.at, min(self.at + min(self.cuts.max_records, left), self.rows.frame.height))
            good = [int(i) for i in indices if i not in self.rows.unreadable]
            bad = [int(i) for i in indices if i in self.rows.unreadable]
            frame = self.rows.frame[good].with_columns(pl.Series(ROW, good, pl.UInt32))
            self.at += len(indices)
            left -= len(indices)
            rejected = tuple(Rejected(self.original(i), "source", "found nonsense") for i in bad)
            self.rows.journal.append(f"read {self.number}")
            yield Batch(frame, self.number, {"record": self.at}, len(indices), self.original, rejected)
            if self.number in self.rows.fails_after:
                raise self.rows.fails_after[self.number]
            self.number += 1
            if self.number - 1 in self.rows.idle_after:
                self.rows.journal.append("idle")
                yield None

    def commit(self, position: Position) -> None:
        self.rows.journal.append(f"commit {position['record']}")

    def close(self) -> None:
        self.rows.journal.append("close source")


@dataclass(frozen=True)
class Lines:
    """A sink of NDJSON lines in one file, exactly once; what waits in memory is lost without a flush."""

    path: Path
    journal: list[str] = field(default_factory=list)

    def open(self, world: World, state: State | None) -> "LinesWriter":
        length = self.path.stat().st_size if self.path.exists() else None
        if state is None and length is not None:
            raise ConfigError(f"{self.path} stands there")
        wanted = state.values["length"] if state else 0
        if (length or 0) < wanted:
            raise ConnectError(f"{self.path} is too short")
        self.journal.append(f"open {self.path.name}")
        return LinesWriter(self, world.disk, wanted)

    def move_aside(self, world: World) -> list[str]:
        return [move_aside(world.disk, self.path)] if self.path.exists() else []

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


class LinesWriter:
    def __init__(self, lines: Lines, disk: Disk, length: int) -> None:
        self.lines = lines
        self.disk = disk
        self.descriptor = disk.open(lines.path)
        disk.truncate(self.descriptor, length)
        self.length = length
        self.waiting: list[bytes] = []
        self.schema: pl.Schema | None = None

    def write(self, frame: pl.DataFrame) -> None:
        assert frame.height > 0
        assert self.schema in (None, frame.schema)
        self.schema = frame.schema
        self.lines.journal.append(f"write {self.lines.path.name}")
        self.waiting.append(frame.write_ndjson().encode())

    def flush(self, final: bool) -> State:
        content = b"".join(self.waiting)
        self.waiting = []
        self.disk.write(self.descriptor, content)
        self.length += len(content)
        self.lines.journal.append(f"flush {self.lines.path.name}" + (" final" if final else ""))
        return State({"length": self.length})

    def sync(self) -> None:
        self.disk.sync(self.descriptor)

    def close(self) -> None:
        self.disk.close(self.descriptor)
        self.lines.journal.append(f"close {self.lines.path.name}")


class AtOnce(Executor):
    """Runs a checkpoint in the thread that asks for it, so that a journal has one order."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **named))
        except BaseException as error:
            done.set_exception(error)
        return done


class Watched(Disk):
    """A disk that tells a journal of every rename, and can fail in place of a call."""

    def __init__(self, journal: list[str], fail: Callable[[str], OSError | None] = lambda call: None) -> None:
        self.journal = journal
        self.fail = fail

    def replace(self, source: Path, target: Path) -> None:
        error = self.fail("replace")
        if error is not None:
            raise error
        super().replace(source, target)
        self.journal.append(f"replace {target.name}")


class DiedError(Exception):
    """The process dies here."""


def two_clusters(rows: int, *, seed: int = 1) -> pl.DataFrame:
    """Return rows of two clusters with a key, a time, missing values and a text column."""
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=rows)
    x = rng.normal(label * 6.0, 1.0)
    x[rng.random(rows) < 0.03] = np.nan
    return pl.DataFrame(
        {
            "device": [f"d{i % 3}" for i in range(rows)],
            "time": [f"2026-01-01T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}" for i in range(rows)],
            "x": pl.Series(x, nan_to_null=True),
            "y": rng.normal(label * -5.0, 2.0),
            "count": rng.integers(1, 5, size=rows),
            "text": [str(i) for i in range(rows)],
        }
    )


def batch_of(columns: Mapping[str, Any], *, number: int = 0) -> Batch:
    """Return a batch of these columns; the original of row i is the JSON of its number."""
    frame = pl.DataFrame(columns)
    frame = frame.with_columns(pl.Series(ROW, range(frame.height), pl.UInt32))
    return Batch(frame, number, {"record": frame.height}, frame.height, lambda i: Record(b"%d" % i, {"record": i}))

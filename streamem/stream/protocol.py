"""The contracts of a pipeline's parts: who calls what, when, and what it must not do.

A `Source`, an `Operator` and a `Sink` are *declared*: frozen dataclasses whose fields are the settings of the pipeline
file. `open` turns each into something *running*: a `Reader`, a `Step`, a `Writer`. The pipeline alone decides the
order: read, operate, write, flush, checkpoint, commit.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from streamem.errors import ConfigError, tell
from streamem.stream.batch import Batch, Position, Rejected
from streamem.stream.disk import Disk

__all__ = [
    "Columns",
    "Cuts",
    "Ledger",
    "LedgerSink",
    "LedgerWriter",
    "Operator",
    "Reader",
    "Resume",
    "Sink",
    "Source",
    "State",
    "Step",
    "Transaction",
    "World",
    "Writer",
]


@dataclass(frozen=True)
class State:
    """What a running part wants to find again after a restart.

    Parameters
    ----------
    values : mapping
        Plain JSON values.
    arrays : mapping of str to ndarray
        Numeric arrays.
    blobs : mapping of str to bytes
        Anything else that has a safe format of its own, such as Arrow.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    blobs: Mapping[str, bytes] = field(default_factory=dict)


class Transaction(Protocol):
    """What several parts of a pipeline put into one outside system together: all of it is there, or nothing."""

    @property
    def committed(self) -> int | None:
        """The number of the last commit there, by this process or one before it; None where there was none."""

    def commit(self, number: int) -> None:
        """Make everything since the last commit seen, and `number` with it.

        Raises ConnectError, with `retry` True where nothing of it will be seen and it can be done again.
        """

    def close(self) -> None:
        """Give everything back; what was not committed will never be seen."""


class Ledger(Protocol):
    """A declared outside system that has transactions. Parts on the same one are equal in this."""

    def begin(self, name: str, worker: int, place: str) -> Transaction:
        """Return the transactions of a pipeline's worker; whatever ran under these names before can commit no more.

        `place` names something that is there, such as the topic of a sink: where the numbers of commits are kept.
        """


@dataclass(frozen=True)
class World:
    """What a pipeline touches outside its own memory; tests put their own in its place.

    Parameters
    ----------
    disk : Disk
    stopping : threading.Event
        Set to end a run after the present batch.
    keeper : callable
        Makes what runs a checkpoint while the next batches are learned: one thread.
    transaction : Transaction or None
        What sinks with a `ledger` write in; set by the pipeline.

    Examples
    --------
    >>> world = World()
    >>> world.stopping.set()
    >>> world.wait(60.0)
    True
    """

    disk: Disk = field(default_factory=Disk)
    stopping: threading.Event = field(default_factory=threading.Event)
    keeper: Callable[[], Executor] = lambda: ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
    transaction: Transaction | None = None

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait, but no longer than until the run is asked to stop; return whether it was."""
        return self.stopping.wait(seconds)


TOGETHER = 16_384
"""Records in one `Batch`: enough that its fixed costs do not show, few enough that its columns stay in the cache."""


@dataclass(frozen=True)
class Cuts:
    """Where micro-batches end: after `max_records`, and on live sources also after `max_wait_ms`.

    With `whole_keys` a micro-batch ends where the key changes, at the first such place after `max_records`: sequences
    that come one after the other are never cut.

    With a `limit` the reader ends after that many records of this run, the last micro-batch short where it must be.
    A `Batch` ends with the last of each of `every` micro-batches: something is due there, such as a checkpoint.

    Examples
    --------
    >>> from streamem.stream.protocol import Columns
    >>> Cuts(max_records=500, whole_keys=True).check(Columns(key="device"))
    """

    max_records: int
    max_wait_ms: int | None = None
    whole_keys: bool = False
    limit: int | None = None
    every: tuple[int, ...] = ()

    def check(self, columns: "Columns") -> None:
        """Raise ConfigError where keys cannot be kept whole."""
        for wrong, found, do in (
            (columns.key is None, "no key", "name its column at key:, or take it out"),
            (self.max_wait_ms is not None, "max_wait_ms, which may cut a sequence", "take one of them out"),
        ):
            if self.whole_keys and wrong:
                raise ConfigError(tell("batch.whole_keys", found=found, wanted="a key, and batches by count", do=do))

    def together(self, number: int) -> int:
        """Return how many micro-batches from `number` on may come in one `Batch`."""
        most = max(1, TOGETHER // self.max_records)
        return min([most, *(every - number % every for every in self.every)])


@dataclass(frozen=True)
class Columns:
    """The columns that the pipeline names: what they mean to a reader.

    Parameters
    ----------
    time : str or None
        Event time, ISO 8601 text, a temporal type, or a number since the epoch in `time_unit`.
    time_unit : str
        ``s``, ``ms``, ``us`` or ``ns``; for numbers only.
    numbers : frozenset of str
        Columns that are used as numbers (features, weights). Where they are inferred, integers become Float64.
    key : str or None
        Tells sequences apart: a device, a vehicle.

    Examples
    --------
    >>> Columns(time="seen_at", time_unit="ms", key="device")
    Columns(time='seen_at', time_unit='ms', numbers=frozenset(), key='device')
    """

    time: str | None = None
    time_unit: str = "s"
    numbers: frozenset[str] = frozenset()
    key: str | None = None


@dataclass(frozen=True)
class Resume:
    """Where a reader goes on after a restart: the position, the schema it had, and the number of the next batch."""

    position: Position
    schema: pl.Schema
    number: int


class Source(Protocol):
    """A declared source. Its class docstring's first line is what ``streamem list`` shows."""

    def open(self, world: World, cuts: Cuts, columns: Columns, resume: Resume | None) -> "Reader":
        """Return a reader at `resume`, or at the beginning.

        Called once a run, before any sink is opened. Raises ConfigError when settings and the outside do not fit,
        ConnectError when the outside fails. Must not keep anything open when it raises.
        """


class Reader(Protocol):
    """An open source."""

    @property
    def schema(self) -> pl.Schema:
        """The columns of every frame (without `ROW`), fixed for the life of the pipeline."""

    def __iter__(self) -> Iterator[Batch | None]:
        """Yield batches in order, or None when a live source has nothing at the moment; end with the input.

        A micro-batch with records that cannot be parsed comes alone, so that what stands before it is done first.

        Called once. A record that cannot be parsed joins `Batch.rejected`; it is never dropped silently, and never
        raises. Watches `World.stopping` wherever it waits. Raises DataError for damage that has no record to blame
        (a truncated gzip), ConnectError when the outside fails.
        """

    @property
    def done(self) -> float | None:
        """The share of the input read so far, in [0, 1], or None where nobody knows."""

    def commit(self, position: Position) -> None:
        """Learn that everything before `position` is done for good, or will be when the transaction commits.

        Called for each checkpoint, in another thread.
        """

    def close(self) -> None:
        """Give everything back. Called once, also after an error."""


class Operator(Protocol):
    """A declared operator.

    What it gives must not depend on which micro-batches come together.
    """

    @property
    def name(self) -> str:
        """Unique in a pipeline; the columns it adds begin with it."""

    @property
    def numbers(self) -> frozenset[str]:
        """The columns that it uses as numbers; they join `Columns.numbers` before the source is opened."""

    def open(self, schema: pl.Schema, columns: Columns) -> "Step":
        """Return the running operator. Raises ConfigError when the schema lacks what it needs."""


class Step(Protocol):
    """A running operator."""

    @property
    def schema(self) -> pl.Schema:
        """The columns after this operator, `ROW` left out."""

    @property
    def holding(self) -> bool:
        """Whether batches were taken that were not yet given back (a warm-up). The position then does not advance."""

    def process(self, batch: Batch) -> list[Batch]:
        """Return the batches that leave: none while they are held, all held ones in order when the hold ends, else one.

        Raises ModelError when the numbers degenerate; the run then ends, and the last checkpoint counts.
        """

    def finish(self) -> list[Batch]:
        """Return what is still held. Called once at the end of the input, not when a run is stopped before it."""

    def state(self) -> State:
        """Return what a restart needs. Called between batches, never while the step is `holding`."""

    def restore(self, state: State) -> None:
        """Go on from `state`. Called once, before the first batch. Raises SnapshotError when it does not fit."""


class Sink(Protocol):
    """A declared sink. Its docstring says its delivery guarantee."""

    def open(self, world: World, state: State | None) -> "Writer":
        """Return a writer that goes on after `state`, the one of the last checkpoint; None starts it anew.

        What was written after `state` is cut off. Raises ConfigError where output stands that no checkpoint speaks
        of, ConnectError where it is shorter than `state` says or cannot be written.
        """

    def move_aside(self, world: World) -> list[str]:
        """Rename what stands there to the first free of ``.1``, ``.2``…, and return the new names; else [].

        Called before `open`, for a run that starts afresh.
        """


class Writer(Protocol):
    """An open sink."""

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows. They may wait in memory until `flush`. Frames of posteriors have one schema, snapshots several."""

    def flush(self, final: bool) -> State:
        """Write everything taken so far, and return what `open` needs to go on from here.

        `final`: the input has ended, so an unfinished part is closed.
        """

    def sync(self) -> None:
        """Return once everything flushed so far survives a crash.

        Called after `flush` and before the checkpoint that tells of it, in another thread: rows may be taken and
        flushed meanwhile.
        """

    def close(self) -> None:
        """Give everything back. Called once, also after an error, and then without a flush before it."""


@runtime_checkable
class LedgerWriter(Writer, Protocol):
    """An open `LedgerSink`: what it sends is seen when `World.transaction` commits.

    What was flushed is sent by `sync`, one `sync` for each `flush`, so that nothing of the next batches is among it.
    """

    def write(self, frame: pl.DataFrame, key: pl.Series | str | None = None) -> None:
        """Take rows, with a key for each or for all of them."""

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take bad records: the originals, where they were, who refused them and why."""


@runtime_checkable
class LedgerSink(Protocol):
    """A sink of a system with transactions. All of a pipeline's are on one ledger."""

    @property
    def ledger(self) -> Ledger:
        """Where it writes; equal for sinks whose records are seen together."""

    @property
    def place(self) -> str:
        """What of the ledger it writes to, such as a topic."""

    def open(self, world: World, state: State | None) -> LedgerWriter:
        """Return a writer in `World.transaction`. Raises ConfigError where the place is not there."""

    def move_aside(self, world: World) -> list[str]:
        """Return [], for what stands in a ledger stays there."""

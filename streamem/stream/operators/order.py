"""Times that do not go backwards within a key: what stands before a tracker."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numba
import numpy as np
import polars as pl

from streamem.errors import ConfigError, SnapshotError, tell
from streamem.stream.batch import ROW, Batch, Position, Record
from streamem.stream.checks import at_least, columns_exist
from streamem.stream.keys import Keys
from streamem.stream.operators.lag import check_key, keyed, reject_keyless
from streamem.stream.protocol import Columns, State
from streamem.stream.times import seconds, time_types

__all__ = ["Order", "OrderStep"]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Let no event time go backwards within a key: late records are bad, are left out, or are waited for.

    Equal times are fine, and times less than about 0.2 microseconds apart may count as equal. Key and time are the
    columns that the pipeline names; without a key all records are one sequence. A record without a key, or without a
    time that can be read, is a bad record under every policy.

    Parameters
    ----------
    name : str
        Unique in the pipeline; it appears in messages and in the counts of bad records.
    policy : str
        ``error``: a record earlier than the newest of its key is a bad record. ``drop``: it is left out and counted.
        ``reorder``: records wait for earlier ones, and leave in the order of their times at the end of the first
        micro-batch in which the newest time of all is `reorder_ms` later; one that comes too late for that, so that
        a later one of its key has left, is a bad record. The end of the input lets go of all that wait, in a
        micro-batch of their own.
    reorder_ms : int or None
        Of ``reorder``, and needed there: how much later than later records a record may come.
    max_keys : int or None
        Keys whose newest time is kept; above it those not seen for longest leave at the end of a micro-batch. One that
        comes again begins anew.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import Columns
    >>> order = Order(policy="reorder", reorder_ms=5000)
    >>> step = order.open(pl.Schema({"device": pl.String, "time": pl.Float64}), Columns(key="device", time="time"))
    >>> step.schema.names()
    ['device', 'time']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["order"] = "order"
    name: str = "order"
    policy: Literal["error", "drop", "reorder"] = "error"
    reorder_ms: int | None = None
    max_keys: int | None = None

    @property
    def numbers(self) -> frozenset[str]:
        """None: a time need not be a number."""
        return frozenset()

    def open(self, schema: pl.Schema, columns: Columns) -> "OrderStep":
        """Return the running operator. Raises ConfigError without a time column, and for settings that do not fit."""
        if (self.policy == "reorder") != (self.reorder_ms is not None):
            found = f"policy {self.policy} {'without' if self.reorder_ms is None else 'with'} reorder_ms"
            wanted, do = "reorder_ms for reorder, and only there", "add it or take it out"
            raise ConfigError(tell(self.name, found=found, wanted=wanted, do=do))
        at_least(f"{self.name}.reorder_ms", self.reorder_ms, 1)
        check_key(self.name, columns.key, self.max_keys, schema)
        place, wanted = f"{self.name}: time", "the column of the event time"
        if columns.time is None:
            do = "write time: at the top of the pipeline file"
            raise ConfigError(tell(place, found="no time column", wanted=wanted, do=do))
        columns_exist(place, [columns.time], schema.names())
        if not time_types(schema[columns.time]):
            found = f"{columns.time!r} of type {schema[columns.time]}"
            raise ConfigError(tell(place, found=found, wanted="ISO 8601 text, a time or a number", do="name another"))
        return OrderStep(self, schema, columns, columns.time)


class OrderStep:
    """Compares every record with the newest of its key, after what waits has been put in order."""

    holding = False

    def __init__(self, order: Order, schema: pl.Schema, columns: Columns, time: str) -> None:
        self.schema = schema
        self.dropped = 0
        self._order = order
        self._columns = columns
        self._time = time
        self._keys = Keys(order.max_keys)
        self._newest = np.empty(0)
        self._waiting = None if order.reorder_ms is None else _Waiting(schema, order.reorder_ms * 1e-3)

    def process(self, batch: Batch) -> list[Batch]:
        """Return the batch without late records, or what no longer waits, in order."""
        batch, times = self._readable(batch)
        if self._waiting is None:
            return [self._forward(batch, times)]
        return [self._forward(part, its_times) for part, its_times in self._waiting.turn(batch, times)]

    def finish(self) -> list[Batch]:
        """Return what still waits."""
        last = [] if self._waiting is None else self._waiting.release()
        return [self._forward(batch, times) for batch, times in last]

    def _readable(self, batch: Batch) -> tuple[Batch, np.ndarray]:
        """Return the batch without the rows that lack a key or a time, and the times in seconds."""
        batch = reject_keyless(batch, self._columns.key, self._order.name)
        times = seconds(batch.frame.get_column(self._time), self._columns)
        unreadable = ~np.isfinite(times)
        if not unreadable.any():
            return batch, times
        values = batch.frame.get_column(self._time)

        def reason(row: int) -> str:
            found = "nothing" if values[row] is None else repr(values[row])
            wanted, do = "an event time", "mend the record, or drop it by where"
            return tell(f"{self._order.name}: time column {self._time}", found=found, wanted=wanted, do=do)

        return batch.reject(unreadable, self._order.name, reason), times[~unreadable]

    def _forward(self, batch: Batch, times: np.ndarray) -> Batch:
        """Return the batch without the rows that are earlier than the newest of their key."""
        behind = np.empty(len(times))
        for number, rows in zip(batch.numbers, batch.rows(), strict=True):
            slots = keyed(batch.frame[rows], self._columns.key, self._keys, number)
            self._make_room(int(slots.max(initial=-1)) + 1)
            _fall_behind(times[rows], slots, self._newest, behind[rows])
            if self._order.max_keys is not None:
                self._newest[self._keys.leave(None)] = -np.inf
        late = behind > 0.0
        if not late.any():
            return batch
        if self._order.policy == "drop":
            self.dropped += int(late.sum())
            return batch.with_frame(batch.frame.filter(pl.Series(~late)))
        return batch.reject(late, self._order.name, lambda row: self._late(batch.frame, row, float(behind[row])))

    def _late(self, frame: pl.DataFrame, row: int, behind: float) -> str:
        key = self._columns.key
        of = "all" if key is None else f"{key} {frame.get_column(key)[row]}"
        found = f"{frame.get_column(self._time)[row]}, {behind:g} s before the newest of {of}"
        wanted, do = "times that do not go backwards", "sort the input, or set policy: drop or reorder"
        if self._order.policy == "reorder":
            wanted, do = f"records at most {self._order.reorder_ms} ms late", "raise reorder_ms, or mend the record"
        return tell(f"{self._order.name}: time column {self._time}", found=found, wanted=wanted, do=do)

    def _make_room(self, slots: int) -> None:
        """See that there are so many slots."""
        there = len(self._newest)
        if slots > there:
            self._newest = np.concatenate([self._newest, np.full(max(slots, 2 * there) - there, -np.inf)])

    def state(self) -> State:
        """Return the newest time of every key, the count, and what waits."""
        known = State() if self._columns.key is None else self._keys.state()
        waiting = State() if self._waiting is None else self._waiting.state()
        slots = known.arrays.get("slots", np.arange(len(self._newest)))
        newest = {"newest": self._newest[slots]}  # a copy: it is written out while the next batches come
        values = {"dropped": self.dropped, **waiting.values}
        return State(values, {**known.arrays, **waiting.arrays, **newest}, {**known.blobs, **waiting.blobs})

    def restore(self, state: State) -> None:
        """Go on from `state`."""
        slots = np.arange(len(state.arrays["newest"]))
        if self._columns.key is not None:
            self._keys.restore(state)
            slots = state.arrays["slots"]
        self.dropped = state.values["dropped"]
        self._make_room(int(slots.max(initial=-1)) + 1)
        self._newest[slots] = state.arrays["newest"]
        if self._waiting is not None:
            self._waiting.restore(state, self._order.name)


@numba.njit(cache=True, nogil=True)
def _fall_behind(times, slots, newest, behind):  # type: ignore[no-untyped-def]
    """Write how much earlier every row is than the newest of its slot so far, 0 where it is not; raise `newest`."""
    for row in range(len(times)):
        slot = slots[row]
        if times[row] < newest[slot]:
            behind[row] = newest[slot] - times[row]
        else:
            behind[row] = 0.0
            newest[slot] = times[row]


Timed = tuple[Batch, np.ndarray]
"""A batch, and the times of its rows in seconds."""


_ORIGINALS: dict[str, Any] = {"value": pl.Binary, "where": pl.String}

_SAVED = 0
"""The source of the rows whose originals are no longer the reader's, but in the state."""


class _Waiting:
    """Rows that wait for earlier ones, in the order of their times.

    They are in the state, so the position goes on without them. Every micro-batch comes alone out of here: it may have
    more rows than the source cut records for it, some of them of earlier batches, whose originals go along.

    Parameters
    ----------
    schema : polars.Schema
        Of the rows, without `ROW`.
    wait : float
        Seconds by which the newest time must be later than that of a row which leaves.
    """

    def __init__(self, schema: pl.Schema, wait: float) -> None:
        self._wait = wait
        self._newest = -np.inf
        self._after: tuple[int, Position] | None = None  # the number of the next micro-batch, and its position
        self._rows = pl.DataFrame(schema=schema)
        self._times = np.empty(0)
        self._came = np.empty((0, 2), np.int64)  # of every row: which of the sources, and its number there
        self._sources: dict[int, Callable[[int], Record]] = {}
        self._originals = pl.DataFrame(schema=_ORIGINALS)  # the source that is `_SAVED`

    def turn(self, batch: Batch, times: np.ndarray) -> list[Timed]:
        """Take the rows of a batch, and return its micro-batches with the rows that leave at the end of each.

        `times` must be finite. Originals stay with the reader's memory until the next checkpoint.
        """
        parts = batch.rows()
        source = max(self._sources, default=_SAVED) + 1
        self._sources[source] = batch.original
        came = np.stack([np.full(len(times), source), batch.frame[ROW].to_numpy().astype(np.int64)], axis=1)
        # what is the newest time at the end of each micro-batch, and at the end of which one a row leaves
        newest = np.maximum.accumulate(np.concatenate([[self._newest], times]))[[rows.stop for rows in parts]]
        arrived = np.repeat(np.arange(len(parts)), [rows.stop - rows.start for rows in parts])
        waited = len(self._times)
        times = np.concatenate([self._times, times])
        leaves = np.searchsorted(newest, times + self._wait)
        leaves[waited:] = np.maximum(leaves[waited:], arrived)
        order = np.lexsort((times, leaves))  # stable, and those that waited came first
        self._newest = float(newest[-1])
        self._after = batch.numbers.stop, batch.position
        self._rows = pl.concat([self._rows, batch.frame.select(self._rows.columns)])[order]
        self._times, self._came = times[order], np.concatenate([self._came, came])[order]
        stops = np.searchsorted(leaves[order], np.arange(len(parts)), side="right").tolist()
        size = batch.records if batch.size is None else batch.size
        left = [
            self._leaving(
                slice(start, stop),
                number=number,
                position=batch.position,
                records=min(size, batch.records - index * size),
                rejected=batch.rejected if index == 0 else (),
            )
            for index, (number, start, stop) in enumerate(zip(batch.numbers, [0, *stops], stops, strict=False))
        ]
        self._keep(slice(stops[-1], None))
        return left

    def release(self) -> list[Timed]:
        """Return all rows that wait, in a micro-batch after the last one; none if no row waits."""
        if self._after is None or not self._rows.height:
            return []
        number, position = self._after
        last = self._leaving(slice(0, self._rows.height), number=number, position=position, records=0, rejected=())
        self._after = number + 1, position
        self._keep(slice(self._rows.height, None))
        return [last]

    def _leaving(self, rows: slice, **batch: Any) -> Timed:
        """Return some rows as a batch of one micro-batch."""
        sources, came = self._sources, self._came[rows]
        frame = self._rows[rows].hstack([pl.Series(ROW, np.arange(len(came)), pl.UInt32)])

        def original(row: int) -> Record:
            source, number = came[row].tolist()
            return sources[source](number)

        return Batch(frame, original=original, **batch), self._times[rows]

    def _keep(self, rows: slice) -> None:
        """Forget all rows but some, and the sources that none of them came from."""
        self._rows, self._times, self._came = self._rows[rows], self._times[rows].copy(), self._came[rows].copy()
        self._sources = {source: self._sources[source] for source in np.unique(self._came[:, 0]).tolist()}

    def state(self) -> State:
        """Return the rows that wait, with their originals: a restart goes on behind them.

        Each original is taken from the reader once; that is the one loop over rows, and only over those that wait.
        """
        saved = self._came[:, 0] == _SAVED
        records = [self._sources[source](number) for source, number in self._came[~saved].tolist()]
        values = [record.value for record in records]
        where = [json.dumps(dict(record.where)) for record in records]
        taken = pl.DataFrame({"value": values, "where": where}, schema=_ORIGINALS)
        order = np.argsort(np.concatenate([np.flatnonzero(saved), np.flatnonzero(~saved)]))
        self._save(pl.concat([self._originals[self._came[saved, 1]], taken])[order])
        return State(
            values={"after": self._after},
            arrays={"times": self._times, "reached": np.array(self._newest)},
            blobs={"rows": _to_arrow(self._rows), "originals": _to_arrow(self._originals)},
        )

    def restore(self, state: State, operator: str) -> None:
        """Go on from `state`. Raises SnapshotError where the rows have other columns."""
        rows = pl.read_ipc(io.BytesIO(state.blobs["rows"]))
        if rows.schema != self._rows.schema:
            found, wanted = f"waiting records with the columns {rows.schema}", f"{self._rows.schema}"
            do = "set the operators before it back, or start afresh with --fresh"
            raise SnapshotError(tell(operator, found=found, wanted=wanted, do=do))
        self._rows = rows
        self._times = state.arrays["times"]
        self._newest = float(state.arrays["reached"])
        self._after = tuple(state.values["after"]) if state.values["after"] else None
        self._save(pl.read_ipc(io.BytesIO(state.blobs["originals"])))

    def _save(self, originals: pl.DataFrame) -> None:
        """Take the originals of the rows that wait from a frame, in place of the reader."""
        self._originals = originals
        self._came = np.stack([np.full(originals.height, _SAVED), np.arange(originals.height)], axis=1)
        value, where = originals.get_columns()
        self._sources = {_SAVED: lambda row: Record(value[row], json.loads(where[row]))}


def _to_arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    # in one piece, and without the views by which a few texts would drag along all that came with them
    frame.rechunk().write_ipc(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()

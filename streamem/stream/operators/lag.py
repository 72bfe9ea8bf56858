"""Earlier values of a key's columns beside its present ones, and how they changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numba
import numpy as np
import polars as pl

from streamem.errors import ConfigError, SnapshotError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import at_least, columns_exist
from streamem.stream.keys import Keys
from streamem.stream.protocol import Columns, State

__all__ = ["MOST_LAG", "Lag", "check_key", "keyed", "reject_keyless"]

MOST_LAG = 10_000
"""The longest lag: so many values are kept of every column of every key."""


@dataclass(frozen=True, kw_only=True)
class Lag:
    """Add the values that columns had in earlier records of the same key, and differences to them.

    Parameters
    ----------
    name : str
        Unique in the pipeline; it appears in messages and in the counts of bad records.
    columns : list of str
        Numeric columns. What is added is Float64 and called ``COLUMN.lag1``, ``COLUMN.lag2``…; null where there is no
        earlier record of the key, or where the value is missing there.
    lags : list of int
        How many records of the key a value is earlier.
    differences : bool
        Add ``COLUMN.diff1``: the value minus the one in the record before.
    key : str or None
        Column that tells sequences apart; None takes the pipeline's key, and without one all records are one sequence.
        A record without a key is a bad record.
    max_keys : int or None
        Keys whose values are kept; above it those not seen for longest leave at the end of a micro-batch. One that
        comes again begins anew.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import Columns
    >>> lag = Lag(name="before", columns=["x"], lags=[2], differences=True)
    >>> lag.open(pl.Schema({"x": pl.Float64}), Columns()).schema.names()
    ['x', 'x.lag2', 'x.diff1']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["lag"] = "lag"
    name: str
    columns: Sequence[str]
    lags: Sequence[int] = (1,)
    differences: bool = False
    key: str | None = None
    max_keys: int | None = None

    @property
    def numbers(self) -> frozenset[str]:
        """The columns."""
        return frozenset(self.columns)

    def open(self, schema: pl.Schema, columns: Columns) -> "_LagStep":
        """Return the running operator.

        Raises ConfigError for columns that are not there, not numbers or there already, and for lags below 1.
        """
        self._check(schema)
        key = self.key if self.key is not None else columns.key
        check_key(self.name, key, self.max_keys, schema)
        added: dict[str, pl.DataType] = dict.fromkeys(self._added(), pl.Float64())
        for column in added:
            if column in schema:
                found, do = f"a column {column!r} before it", "rename that column, or leave the lag out"
                raise ConfigError(tell(self.name, found=found, wanted="names that are not taken", do=do))
        return _LagStep(self, pl.Schema(dict(schema) | added), key)

    def _check(self, schema: pl.Schema) -> None:
        place = f"{self.name}.columns"
        columns_exist(place, self.columns, schema.names())
        for column in self.columns:
            if not schema[column].is_numeric():
                found = f"{column!r} of type {schema[column]}"
                do = f"leave it out, or make a number of it: transform with CAST({column} AS DOUBLE)"
                raise ConfigError(tell(place, found=found, wanted="numbers", do=do))
        if not self.columns or not (self.lags or self.differences):
            found = "nothing to add" if self.columns else "no columns"
            do = "name columns, and lags or differences: true"
            raise ConfigError(tell(place, found=found, wanted="at least one column and one lag", do=do))
        each: tuple[tuple[str, Sequence[Any]], ...] = (("columns", self.columns), ("lags", self.lags))
        for setting, values in each:
            if len(set(values)) < len(values):
                twice = next(value for value in values if list(values).count(value) > 1)
                where = f"{self.name}.{setting}"
                raise ConfigError(tell(where, found=f"{twice!r} twice", wanted="each once", do="take one of them out"))
        for lag in self.lags:
            at_least(f"{self.name}.lags", lag, 1)
            if lag > MOST_LAG:
                do = "write a smaller number: every key keeps so many values"
                raise ConfigError(tell(f"{self.name}.lags", found=str(lag), wanted=f"at most {MOST_LAG}", do=do))

    def _added(self) -> list[str]:
        """Return the columns that are added, in order."""
        ends = [*(f"lag{lag}" for lag in self.lags), *(["diff1"] if self.differences else [])]
        return [f"{column}.{end}" for column in self.columns for end in ends]


class _LagStep:
    """Keeps the last values of every key in a ring of as many as the longest lag."""

    holding = False

    def __init__(self, lag: Lag, schema: pl.Schema, key: str | None) -> None:
        self.schema = schema
        self._lag = lag
        self._key = key
        self._keys = Keys(lag.max_keys)
        self._lags = np.array([*lag.lags, *([1] if lag.differences and 1 not in lag.lags else [])], np.int64)
        self._past = np.empty((0, int(self._lags.max()), len(lag.columns)))
        self._passed = np.empty(0, np.int64)

    def process(self, batch: Batch) -> list[Batch]:
        batch = reject_keyless(batch, self._key, self._lag.name)
        values = np.empty((batch.frame.height, len(self._lag.columns)))
        for column, name in enumerate(self._lag.columns):
            values[:, column] = batch.frame.get_column(name).cast(pl.Float64).to_numpy()
        lagged = np.empty((len(self._lag.columns), len(self._lags), batch.frame.height))
        for number, rows in zip(batch.numbers, batch.rows(), strict=True):
            slots = keyed(batch.frame[rows], self._key, self._keys, number)
            self._make_room(int(slots.max(initial=-1)) + 1)
            _earlier(values[rows], slots, self._lags, self._past, self._passed, lagged[:, :, rows])
            if self._lag.max_keys is not None:
                gone = self._keys.leave(None)
                self._past[gone] = np.nan
                self._passed[gone] = 0
        return [batch.with_frame(batch.frame.hstack(self._columns(values, lagged)))]

    def _columns(self, values: np.ndarray, lagged: np.ndarray) -> list[pl.Series]:
        added = []
        for column in range(len(self._lag.columns)):
            added += list(lagged[column, : len(self._lag.lags)])
            if self._lag.differences:
                before = lagged[column, self._lags.tolist().index(1)]
                with np.errstate(invalid="ignore"):  # infinity minus infinity is a missing value
                    added.append(values[:, column] - before)
        names = self.schema.names()[-len(added) :]
        return [pl.Series(name, one, pl.Float64, nan_to_null=True) for name, one in zip(names, added, strict=True)]

    def _make_room(self, slots: int) -> None:
        """See that there are so many slots, missing values in the new ones."""
        there = len(self._past)
        if slots > there:
            more = max(slots, 2 * there) - there
            self._past = np.concatenate([self._past, np.full((more, *self._past.shape[1:]), np.nan)])
            self._passed = np.concatenate([self._passed, np.zeros(more, np.int64)])

    def finish(self) -> list[Batch]:
        return []

    def state(self) -> State:
        known = State() if self._key is None else self._keys.state()
        slots = known.arrays.get("slots", np.arange(len(self._past)))
        arrays = {"past": self._past[slots], "passed": self._passed[slots]}  # copies: they are written out meanwhile
        return State(arrays={**known.arrays, **arrays}, blobs=known.blobs)

    def restore(self, state: State) -> None:
        past = state.arrays["past"]
        if past.shape[1:] != self._past.shape[1:]:
            found = f"{past.shape[1]} earlier values of {past.shape[2]} columns"
            wanted = f"{self._past.shape[1]} of {self._past.shape[2]}"
            do = "set columns and lags back, or start afresh with --fresh"
            raise SnapshotError(tell(self._lag.name, found=found, wanted=wanted, do=do))
        slots = np.arange(len(past))
        if self._key is not None:
            self._keys.restore(state)
            slots = state.arrays["slots"]
        self._make_room(int(slots.max(initial=-1)) + 1)
        self._past[slots] = past
        self._passed[slots] = state.arrays["passed"]


@numba.njit(cache=True, nogil=True)
def _earlier(values, slots, lags, past, passed, lagged):  # type: ignore[no-untyped-def]
    """Write the lagged values of every row to `lagged`, shape (columns, lags, rows), and keep its own in `past`.

    The ring of a slot begins full of NaN, so what was never written is missing. `passed` counts its records.
    """
    depth = past.shape[1]
    for row in range(len(slots)):
        slot = slots[row]
        at = passed[slot]
        for column in range(values.shape[1]):
            for index in range(len(lags)):
                lagged[column, index, row] = past[slot, (at - lags[index]) % depth, column]
            past[slot, at % depth, column] = values[row, column]
        passed[slot] = at + 1


def check_key(operator: str, key: str | None, max_keys: int | None, schema: pl.Schema) -> None:
    """Refuse a key column that is not there, and `max_keys` below 1 or without a key, with a ConfigError."""
    at_least(f"{operator}.max_keys", max_keys, 1)
    if key is not None:
        columns_exist(f"{operator}: key", [key], schema.names())
    elif max_keys is not None:
        do = "name the column that tells sequences apart as key:, or leave max_keys out"
        raise ConfigError(tell(f"{operator}.max_keys", found="no key to count", wanted="a key", do=do))


def reject_keyless(batch: Batch, key: str | None, operator: str) -> Batch:
    """Return the batch without the rows that have no key."""
    if key is None or not batch.frame.get_column(key).null_count():
        return batch
    wanted, do = "a key that tells its sequence", "mend the record, or drop it by where"
    message = tell(f"{operator}: key column {key}", found="nothing", wanted=wanted, do=do)
    return batch.reject(batch.frame.get_column(key).is_null().to_numpy(), operator, lambda _: message)


def keyed(frame: pl.DataFrame, key: str | None, keys: Keys, number: int) -> np.ndarray:
    """Return the slot of every row of a micro-batch; slot 0 for all where there is no key."""
    if key is None:
        return np.zeros(frame.height, np.intp)
    return keys.slots(frame.get_column(key), number)

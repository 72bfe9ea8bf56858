"""What a record gives as numbers: features, times, and the columns of frames, each refused where it is none."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from river.utils.dataframe import to_numpy

from streamem.em.observations import Array
from streamem.errors import DataError, tell

__all__ = [
    "MISSING",
    "Frame",
    "frame_columns",
    "frame_keys",
    "frame_of",
    "frame_times",
    "in_order",
    "number",
    "plain_rows",
    "seconds",
]

Frame = nw.DataFrame[Any]
"""A frame of pandas, polars or another library that narwhals knows."""

MISSING = float("nan")


def in_order(names: Iterable[Any]) -> list[Any]:
    """Return names of features in the order that every dictionary of them gives, however it is shuffled.

    Examples
    --------
    >>> in_order({"b", "a", 2, 1})
    [1, 2, 'a', 'b']
    """
    return sorted(names, key=lambda name: (type(name).__name__, name if isinstance(name, int | float | str) else 0))


def number(name: Any, value: Any) -> float:
    """Return the value of a feature as a float, NaN for one that is missing.

    Raises
    ------
    DataError
        It is text, infinite, or nothing that a number can be made of.

    Examples
    --------
    >>> number("speed", 3), number("speed", None)
    (3.0, nan)
    """
    if value is None:
        return MISSING
    try:
        found = MISSING if isinstance(value, str | bytes | bytearray) else float(value)
        right = not isinstance(value, str | bytes | bytearray) and (isfinite(found) or isnan(found))
    except (TypeError, ValueError, OverflowError):
        right = False
    if not right:
        do = "make a number of it, or leave the feature out of the record: then it is missing"
        raise DataError(tell(f"feature {name!r}", found=repr(value)[:60], wanted="a finite number", do=do))
    return found


def seconds(name: Any, value: Any) -> float:
    """Return a time as seconds since 1970; one without a time zone is taken as UTC.

    Raises
    ------
    DataError
        It is neither a finite number of seconds nor a date and time.

    Examples
    --------
    >>> seconds("t", datetime(1970, 1, 2))
    86400.0
    """
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, np.datetime64) and not np.isnat(value):
        return float(value.astype("datetime64[us]").astype(np.int64)) * 1e-6
    found = MISSING
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        found = float(value)
    if not isfinite(found):
        do = "give seconds, a datetime or a numpy.datetime64"
        raise DataError(tell(f"time {name!r}", found=repr(value)[:60], wanted="a time", do=do))
    return found


def plain_rows(X: Any, names: Sequence[Any]) -> Array | None:
    """Return the rows of a frame of just these columns, floats or whole numbers and finite; None for any other.

    Most frames are such, and finding out costs a tenth of what narwhals needs to look at one.
    """
    columns = getattr(X, "columns", None)
    if columns is None or not hasattr(X, "to_numpy") or list(columns) != list(names):
        return None
    found = X.to_numpy(order="c") if isinstance(X, pl.DataFrame) else X.to_numpy()
    if found.dtype.kind not in "fiu" or found.ndim != 2:
        return None
    values = np.ascontiguousarray(found, np.float64)
    return None if np.isinf(values).any() else values


def frame_of(X: Any) -> Frame:
    """Return a frame as narwhals sees it.

    Raises
    ------
    DataError
        It is none.
    """
    try:
        frame: Frame = nw.from_native(X, eager_only=True)
    except TypeError as error:
        do = "give a frame of pandas or polars; single records go to the methods that end with _one"
        raise DataError(tell("X", found=f"a {type(X).__name__}", wanted="a frame", do=do)) from error
    return frame


def frame_columns(frame: Frame, names: Sequence[Any]) -> Array:
    """Return the columns of a frame as C-contiguous rows (N, D), NaN for what is missing and for columns it lacks.

    Raises
    ------
    DataError
        A column holds no numbers, or an infinite one.
    """
    present = frame.columns
    picked = frame if present == list(names) else frame.select([name for name in names if name in present])
    for name, kind in picked.schema.items():
        if not (kind.is_numeric() or kind in (nw.Boolean, nw.Unknown)):
            do = "make numbers of it, or leave it out"
            raise DataError(tell(f"column {name!r}", found=f"values of type {kind}", wanted="numbers", do=do))
    values = np.empty((len(frame), 0)) if not picked.columns else to_numpy(picked)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        place = f"column {picked.columns[column]!r}, row {row}"
        found, do = f"{values[row, column]:g}", "mend it, or make it missing"
        raise DataError(tell(place, found=found, wanted="a finite number", do=do))
    if len(picked.columns) == len(names):
        return np.ascontiguousarray(values)
    whole = np.full((len(frame), len(names)), np.nan)
    whole[:, [names.index(name) for name in picked.columns]] = values
    return whole


def frame_times(frame: Frame, name: str) -> Array:
    """Return a column of times as seconds since 1970, shape (N,).

    Raises
    ------
    DataError
        There is no such column, or it holds no times, or lacks one.
    """
    if name not in frame.columns:
        found, do = f"the columns {', '.join(map(str, frame.columns))}", "add the column of times"
        raise DataError(tell(f"time {name!r}", found=found, wanted="it among them", do=do))
    column = frame[name]
    kind = column.dtype
    if kind == nw.Datetime:
        whole = column.dt.timestamp("us").to_numpy()
        times = np.asarray(whole, float) * 1e-6
    elif kind.is_numeric():
        times = np.asarray(column.to_numpy(), float)
    else:
        times = np.array([seconds(name, value) for value in column.to_list()])  # dates as Python objects
    if column.null_count() or not np.isfinite(times).all():
        do = "give every row a time"
        raise DataError(tell(f"time {name!r}", found="a missing or infinite one", wanted="times", do=do))
    return times


def frame_keys(frame: Frame, name: str) -> list[Any]:
    """Return the keys of the rows of a frame.

    Raises
    ------
    DataError
        There is no such column, or a row without a key.
    """
    if name not in frame.columns:
        found, do = f"the columns {', '.join(map(str, frame.columns))}", "add the column of keys"
        raise DataError(tell(f"key {name!r}", found=found, wanted="it among them", do=do))
    if frame[name].null_count():
        raise DataError(tell(f"key {name!r}", found="a row without one", wanted="a key in every row", do="fill it in"))
    keys: list[Any] = frame[name].to_list()
    return keys

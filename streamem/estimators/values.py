"""What a record gives as numbers: features, times, and the columns of frames, each refused where it is none."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError
from river.utils.dataframe import to_numpy

from streamem.em.observations import Array
from streamem.errors import DataError, tell

__all__ = [
    "MISSING",
    "Frame",
    "check_mapping",
    "check_order",
    "checked_key",
    "finite_number",
    "frame_columns",
    "frame_keys",
    "frame_of",
    "frame_times",
    "in_order",
    "number",
    "plain_rows",
    "plain_total",
    "seconds",
]

Frame = nw.DataFrame[Any]
"""A frame of pandas, polars or another library that narwhals knows."""

MISSING = float("nan")

TIMES = (np.datetime64, np.timedelta64)

NO_NUMBERS = (str, bytes, bytearray, memoryview, complex, np.complexfloating, *TIMES)
"""What `float` makes a number of, though it is none."""

PLAIN = frozenset({bool, int, float, *(np.dtype(kind).type for kind in np.typecodes["AllInteger"] + "efd")})
"""The types of sums that only numbers add up to."""

FAR_YEARS = 290_000
"""So far from 1970 microseconds still fit 64 bits."""


def in_order(names: Iterable[Any]) -> list[Any]:
    """Return names of features in the order that every dictionary of them gives, however it is shuffled.

    Examples
    --------
    >>> in_order({"b", "a", 2, 1})
    [1, 2, 'a', 'b']
    """
    return sorted(names, key=lambda name: (type(name).__name__, name if isinstance(name, int | float | str) else 0))


def absent(value: Any) -> bool:
    """Return whether a value stands for nothing: None, NaN, NaT, or the NA of pandas.

    Examples
    --------
    >>> [absent(value) for value in (None, float("nan"), np.datetime64("NaT"), 0.0, "")]
    [True, True, True, False, False]
    """
    if value is None:
        return True
    try:
        unlike = value != value
    except ArithmeticError:  # a signaling NaN of decimal: no number, but no missing one either
        return False
    if unlike is False:
        return False
    # an array of one is no value, so that its truth does not count
    return unlike is True or (isinstance(unlike, np.bool_) and bool(unlike)) or type(value).__name__ == "NAType"


def plain_total(total: Any) -> float:
    """Return a sum of numbers as a float; a TypeError, where one of them may be something that only looks like one.

    The sum of complex numbers or of times is of their kind, and `float` would make some number of it.
    """
    if type(total) not in PLAIN:
        raise TypeError(type(total))
    return float(total)


def finite_number(value: Any) -> float | None:
    """Return a value as a float, NaN for one that is missing; None, where it is no finite number."""
    if type(value) is not float and isinstance(value, NO_NUMBERS):
        return MISSING if isinstance(value, TIMES) and absent(value) else None
    if absent(value):
        return MISSING
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def number(name: Any, value: Any) -> float:
    """Return the value of a feature as a float, NaN for one that is missing: None, NaN, NaT, or the NA of pandas.

    Raises
    ------
    DataError
        It is text, infinite, complex, or nothing that a number can be made of.

    Examples
    --------
    >>> number("speed", 3), number("speed", None)
    (3.0, nan)
    """
    found = finite_number(value)
    if found is None:
        do = "make a number of it, or leave the feature out of the record: then it is missing"
        raise DataError(tell(f"feature {name!r}", found=repr(value)[:60], wanted="a finite number", do=do))
    return found


def check_mapping(x: Any) -> None:
    """Refuse a record that is no mapping, with a DataError."""
    if not isinstance(x, Mapping):
        do = "write for example {'speed': 1.5}"
        raise DataError(tell("a record", found=f"a {type(x).__name__}", wanted="a mapping of names to numbers", do=do))


def finite_seconds(value: Any) -> float | None:
    """Return a time as seconds since 1970; None, where it is no finite one."""
    try:
        if isinstance(value, datetime):  # NaT of pandas is one, but has no seconds
            return None if absent(value) else (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, np.datetime64):
            known = not np.isnat(value) and abs(int(value.astype("datetime64[Y]").astype(np.int64))) < FAR_YEARS
            return float(value.astype("datetime64[us]").astype(np.int64)) * 1e-6 if known else None
        if not isinstance(value, int | float | np.number) or isinstance(value, (bool, *NO_NUMBERS)):
            return None
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def seconds(name: Any, value: Any, row: int | None = None) -> float:
    """Return a time as seconds since 1970, of a row of a frame or of a record; without a time zone it is taken as UTC.

    Raises
    ------
    DataError
        It is neither a finite number of seconds nor a date and time.

    Examples
    --------
    >>> seconds("t", datetime(1970, 1, 2))
    86400.0
    """
    found = finite_seconds(value)
    if found is None:
        place, do = f"time {name!r}" + at_row(row), "give seconds, a datetime or a numpy.datetime64"
        raise DataError(tell(place, found=repr(value)[:60], wanted="a time", do=do))
    return found


def checked_key(name: Any, key: Any, row: int | None = None) -> Any:
    """Return the key of a record, or of a row of a frame; a number as one of Python.

    Raises
    ------
    DataError
        It stands for nothing, as None and NaN do, or cannot be told apart from others, such as a list.
    """
    place = f"key {name!r}" + at_row(row)
    try:
        hash(key)
    except TypeError as error:
        raise DataError(tell(place, found=repr(key)[:60], wanted="text or a number", do="mend it")) from error
    if absent(key):
        do = "give the record a key" if row is None else "give every row a key"
        raise DataError(tell(place, found=repr(key)[:60], wanted="a key", do=do))
    return key.item() if isinstance(key, np.number) else key  # JSON takes no numbers of NumPy


def at_row(row: int | None) -> str:
    return "" if row is None else f", row {row}"


def check_order(name: Any, time: float, latest: float, key: Any = None, row: int | None = None) -> None:
    """Refuse a time before the latest one of its key, with a DataError."""
    if time < latest:
        whose = "" if key is None else f" of the key {key!r}"
        found = f"{latest - time:g} s before the record before it{whose}: {time:.17g} after {latest:.17g}"
        wanted = "times that do not go back within a key"
        do = "leave the record out" if row is None else "sort the rows by time, and leave out those that come too late"
        raise DataError(tell(f"time {name!r}" + at_row(row), found=found, wanted=wanted, do=do))


def plain_rows(X: Any, names: Sequence[Any]) -> Array | None:
    """Return the rows of a frame of just these columns, floats or whole numbers and finite; None for any other.

    Most frames are such, and finding out costs a tenth of what narwhals needs to look at one.
    """
    if not hasattr(X, "to_numpy") or list(getattr(X, "columns", ())) != list(names):
        return None
    try:
        found = X.to_numpy(order="c") if isinstance(X, pl.DataFrame) else X.to_numpy()
    except pl.exceptions.InvalidOperationError:  # of a type that NumPy has not
        return None
    if found.dtype.kind not in "fiu" or found.ndim != 2:
        return None
    values = np.ascontiguousarray(found, np.float64)
    return None if np.isinf(values).any() else values


def frame_of(X: Any) -> Frame:
    """Return a frame as narwhals sees it.

    Raises
    ------
    DataError
        It is none, or two of its columns have the same name.
    """
    try:
        frame: Frame = nw.from_native(X, eager_only=True)
    except TypeError as error:
        do = "give a frame of pandas or polars; single records go to the methods that end with _one"
        raise DataError(tell("X", found=f"a {type(X).__name__}", wanted="a frame", do=do)) from error
    except DuplicateError as error:
        names = list(map(repr, X.columns))
        found = ", ".join(dict.fromkeys(name for name in names if names.count(name) > 1)) + " more than once"
        do = "rename one of them, or leave it out"
        raise DataError(tell("the columns of X", found=found, wanted="names, each once", do=do)) from error
    return frame


def frame_columns(frame: Frame, names: Sequence[Any]) -> Array:
    """Return the columns of a frame as C-contiguous rows (N, D), NaN for what is missing and for columns it lacks.

    A column that is not of numbers by its type, such as one of objects or of categories, holds what its values are.

    Raises
    ------
    DataError
        A value is no number, or an infinite one.
    """
    schema = frame.schema
    there = [name for name in names if name in schema]
    plain = [name for name in there if of_numbers(schema[name])]
    # by their places: narwhals selects only columns whose names are text by these
    numbers = frame if frame.columns == plain else frame[:, [frame.columns.index(name) for name in plain]]
    if plain and len(plain) == len(names):
        values = np.ascontiguousarray(to_numpy(numbers))
    else:
        values = np.full((len(frame), len(names)), np.nan)
        if plain:
            values[:, [names.index(name) for name in plain]] = to_numpy(numbers)
        for name in there:
            if name not in plain:
                values[:, names.index(name)] = column_numbers(name, frame.get_column(name).to_list())
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        place = f"column {names[column]!r}, row {row}"
        found, do = f"{values[row, column]:g}", "mend it, or make it missing"
        raise DataError(tell(place, found=found, wanted="a finite number", do=do))
    return values


def of_numbers(kind: Any) -> bool:
    """Return whether all values of a column of this type are numbers that an array of doubles holds."""
    whole = kind.is_integer() and kind not in (nw.Int128, nw.UInt128)  # which NumPy has not
    return bool(whole or kind.is_float() or kind == nw.Boolean)


def column_numbers(name: Any, column: Sequence[Any]) -> Array:
    """Return the values of a column as numbers, each by itself as those of a record are.

    Raises
    ------
    DataError
        One of them is none.
    """
    out = np.empty(len(column))
    for row, value in enumerate(column):
        found = finite_number(value)
        if found is None:
            place, do = f"column {name!r}, row {row}", "make numbers of it, or leave it out"
            raise DataError(tell(place, found=repr(value)[:60], wanted="numbers that are finite", do=do))
        out[row] = found
    return out


def named_column(role: str, frame: Frame, name: Any) -> Any:
    """Return the column of keys or of times; a DataError, where there is no such column."""
    if name not in frame.columns:
        found, do = f"the columns {', '.join(map(str, frame.columns))}", f"add the column of {role}s"
        raise DataError(tell(f"{role} {name!r}", found=found, wanted="it among them", do=do))
    return frame.get_column(name)


def frame_times(frame: Frame, name: Any) -> Array:
    """Return a column of times as seconds since 1970, shape (N,).

    Raises
    ------
    DataError
        There is no such column, or it holds no times, or lacks one.
    """
    column = named_column("time", frame, name)
    kind = column.dtype
    whole = not column.null_count()
    if whole and kind == nw.Datetime:
        return np.asarray(column.dt.timestamp("us").to_numpy(), float) * 1e-6
    if whole and of_numbers(kind) and kind != nw.Boolean:
        times = np.asarray(column.to_numpy(), float)
        if np.isfinite(times).all():
            return times
    return np.array([seconds(name, value, row) for row, value in enumerate(column.to_list())], float)


def frame_keys(frame: Frame, name: Any) -> list[Any]:
    """Return the keys of the rows of a frame.

    Raises
    ------
    DataError
        There is no such column, or a row without a key.
    """
    keys: list[Any] = named_column("key", frame, name).to_list()
    try:
        whole = not any(map(absent, set(keys)))
    except TypeError:
        whole = False
    if not whole:
        for row, key in enumerate(keys):
            checked_key(name, key, row)
    return keys

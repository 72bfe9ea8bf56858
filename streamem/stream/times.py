"""Event times: ISO 8601 text, temporal types, or numbers since the epoch; as seconds and as text."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from streamem.em.observations import Array
from streamem.errors import ConfigError, tell
from streamem.stream.protocol import Columns

__all__ = ["iso_time", "seconds", "time_types"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}


def iso_time(value: Any, columns: Columns) -> str | None:
    """Return an event time as ISO 8601 text.

    Parameters
    ----------
    value : str, date, datetime, number or None
        A value of the time column; text is taken as it is.
    columns : Columns
        Its `time_unit` says what numbers count.

    Raises
    ------
    ConfigError
        A number lies outside the calendar: it counts something else.

    Examples
    --------
    >>> iso_time(1.5, Columns(time="t", time_unit="s"))
    '1970-01-01T00:00:01.500000+00:00'
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    try:
        return (_EPOCH + timedelta(microseconds=value * _MICROSECONDS[columns.time_unit])).isoformat()
    except (OverflowError, ValueError) as error:
        raise ConfigError(
            tell(
                "time_unit",
                found=f"{columns.time_unit!r}, by which the {columns.time} {value} lies outside the calendar",
                wanted="the unit that the column counts in",
                do="write s, ms, us or ns",
            )
        ) from error


def time_types(dtype: pl.DataType) -> bool:
    """Return whether a column of this type can be a time column."""
    return dtype.is_numeric() or dtype == pl.String or dtype == pl.Date or isinstance(dtype, pl.Datetime)


def seconds(series: pl.Series, columns: Columns) -> Array:
    """Return event times as seconds since the epoch, NaN where there is none or none can be read; shape (N,).

    Examples
    --------
    >>> times = pl.Series(["1970-01-01T00:01:00Z", "1970-01-01 00:00:00.5", "1970-01-01 01:00+01:00"])
    >>> seconds(times, Columns()).tolist()
    [60.0, 0.5, 0.0]
    """
    if series.dtype.is_numeric():
        return (series.cast(pl.Float64) * (_MICROSECONDS[columns.time_unit] * 1e-6)).to_numpy()
    if series.dtype == pl.String:
        text = series.str.replace("T", " ", literal=True).str.replace(r"Z$", "")
        read = [text.str.to_datetime(form, strict=False, time_unit="us") for form in _FORMS]
        for form in _FORMS[:2]:
            zoned = text.str.to_datetime(f"{form}%#z", strict=False, time_unit="us")
            read.append(zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
        series = pl.select(pl.coalesce(read)).to_series()
    return (series.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) * 1e-6).to_numpy()

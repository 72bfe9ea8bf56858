"""Columns of what a message is beside its value."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from streamem.connect.kafka.client import Header, Messages

__all__ = ["metadata_columns", "with_metadata"]

TYPES: dict[str, pl.DataType] = {
    "key": pl.String(),
    "headers": pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
    "timestamp": pl.Datetime("ms", "UTC"),
    "topic": pl.String(),
    "partition": pl.Int64(),
    "offset": pl.Int64(),
}


def text(value: bytes | None) -> str | None:
    r"""Return bytes as text, what is not UTF-8 escaped.

    Examples
    --------
    >>> text("café".encode()), text(bytes([255])), text(None)
    ('café', '\\xff', None)
    """
    return None if value is None else value.decode("utf-8", "backslashreplace")


def headers(found: Sequence[Header]) -> list[dict[str, str | None]]:
    """Return headers as a list of records."""
    return [{"key": key, "value": text(value)} for key, value in found]


OF: dict[str, Callable[[Messages, int], Any]] = {
    "key": lambda run, n: text(run.rest(n)[0]),
    "headers": lambda run, n: headers(run.rest(n)[1]),
    "timestamp": lambda run, n: run.rest(n)[2],
    "topic": lambda run, _: run.partition[0],
    "partition": lambda run, _: run.partition[1],
    "offset": lambda run, n: run.offsets[n],
}


def with_metadata(schema: pl.Schema, wanted: Sequence[str]) -> pl.Schema:
    """Return a schema with the columns of metadata behind it.

    Examples
    --------
    >>> with_metadata(pl.Schema({"x": pl.Float64()}), ["offset"])
    Schema([('x', Float64), ('kafka.offset', Int64)])
    """
    return pl.Schema(dict(schema) | {f"kafka.{name}": TYPES[name] for name in wanted})


def metadata_columns(runs: Sequence[Messages], wanted: Sequence[str], rows: np.ndarray | None) -> list[pl.Series]:
    """Return the columns of metadata for rows.

    Parameters
    ----------
    runs : sequence of Messages
    wanted : sequence of str
    rows : ndarray of int, or None
        Which of all messages each row came from; None where row n is message n.
    """
    columns = []
    for name in wanted:
        values = [OF[name](run, n) for run in runs for n in range(len(run.offsets))]
        if name == "timestamp":
            series = pl.Series(f"kafka.{name}", values, pl.Int64()).cast(TYPES[name])
        else:
            series = pl.Series(f"kafka.{name}", values, TYPES[name])
        columns.append(series if rows is None else series.gather(rows))
    return columns

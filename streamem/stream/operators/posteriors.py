"""Between frames and the mathematics: feature columns in, posterior columns out. `learn` and `score` share it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from streamem.em import AnomalyRank, Observations, Posterior
from streamem.errors import ConfigError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import columns_exist
from streamem.stream.protocol import State

__all__ = ["LEAST_WINDOW", "attach", "check_numeric", "extended", "observe", "pack", "unpack"]

LEAST_WINDOW = 100
"""The smallest window that an anomaly is ranked in: below that many records a rank says nothing."""


def check_numeric(columns: Sequence[str], schema: pl.Schema, place: str) -> None:
    """Refuse columns that are not there or are not numbers.

    Raises
    ------
    ConfigError
        With the nearest right name, or the type that was found.
    """
    if not columns:
        raise ConfigError(tell(place, found="no columns", wanted="at least one", do="name the columns to learn from"))
    columns_exist(place, columns, schema.names())
    for column in columns:
        if not schema[column].is_numeric():
            raise ConfigError(
                tell(
                    place,
                    found=f"{column!r} of type {schema[column]}",
                    wanted="numbers",
                    do=f"leave it out, or make a number of it: transform with CAST({column} AS DOUBLE)",
                )
            )
    doubled = {column for column in columns if list(columns).count(column) > 1}
    if doubled:
        raise ConfigError(
            tell(place, found=f"{min(doubled)!r} twice", wanted="each column once", do="take one of them out")
        )


def observe(batch: Batch, features: Sequence[str], weight: str | None, operator: str) -> tuple[Batch, Observations]:
    """Return the batch without the rows that cannot be used, and its features and weights as arrays.

    Null and NaN features are missing values (NaN). Rows with an infinite feature, or with a weight that is missing,
    infinite or negative, are rejected.
    """
    frame = batch.frame
    values = np.empty((frame.height, len(features)))
    for column, feature in enumerate(features):  # three times cheaper than DataFrame.to_numpy(order="c")
        values[:, column] = _floats(frame.get_column(feature))
    weights = None if weight is None else _floats(frame.get_column(weight))
    infinite = np.isinf(values)
    bad = np.zeros(frame.height, dtype=np.bool_)
    if infinite.any():
        bad |= infinite.any(axis=1)
    if weights is not None:
        bad |= ~(np.isfinite(weights) & (weights >= 0.0))
    if not bad.any():
        return batch, Observations(values, weights)

    def reason(row: int) -> str:
        place, wanted = f"weight column {weight}", "a finite number of at least 0"
        value = None if weights is None else weights[row]
        if infinite[row].any():
            column = int(infinite[row].argmax())
            place, value, wanted = features[column], values[row, column], "a finite number or a missing value"
        return tell(f"{operator}: {place}", found=str(value), wanted=wanted, do="mend the record, or drop it by where")

    kept = batch.reject(bad, operator, reason)
    return kept, Observations(values[~bad], None if weights is None else weights[~bad])


def _floats(series: pl.Series) -> np.ndarray:
    """Return a column as float64, nulls as NaN."""
    if series.dtype != pl.Float64:
        series = series.cast(pl.Float64)
    return series.to_numpy()


def _added(name: str, *, warmup: bool) -> dict[str, pl.DataType]:
    """Return the columns that `attach` adds to a frame, with their types."""
    columns: dict[str, pl.DataType] = {
        f"{name}.batch": pl.Int64(),
        f"{name}.component": pl.Int64(),
        f"{name}.probabilities": pl.List(pl.Float64()),
        f"{name}.log_likelihood": pl.Float64(),
        f"{name}.anomaly": pl.Float64(),
    }
    return columns | {f"{name}.warmup": pl.Boolean()} if warmup else columns


def extended(schema: pl.Schema, name: str, *, warmup: bool) -> pl.Schema:
    """Return a schema with the posterior columns of operator `name` behind it.

    Raises
    ------
    ConfigError
        A column of that name is there already.
    """
    added = _added(name, warmup=warmup)
    for column in added:
        if column in schema:
            raise ConfigError(
                tell(name, found=f"a column {column!r} before it", wanted="a name of its own", do="rename the operator")
            )
    return pl.Schema(dict(schema) | added)


def attach(
    batch: Batch, name: str, posterior: Posterior | None, observations: Observations, rank: AnomalyRank, *, warmup: bool
) -> Batch:
    """Return the batch with the posterior columns of operator `name`; `posterior` None is that of no rows.

    One `hstack` of finished columns; no expression engine, which costs 0.1 ms a call whatever the size.
    """
    schema = _added(name, warmup=warmup)
    if posterior is None:
        return batch.with_frame(batch.frame.hstack([pl.Series(column, [], dtype) for column, dtype in schema.items()]))
    probabilities = np.ascontiguousarray(posterior.probabilities)
    parts, missing = batch.rows(), np.isnan(observations.values)
    numbers = np.repeat(batch.numbers, [rows.stop - rows.start for rows in parts])
    # which pattern of missing values leaves the rank first depends on the micro-batch
    ranked = parts if missing.any() else [slice(None)]
    anomaly = np.concatenate([rank.rank(posterior.log_likelihood[rows], missing[rows]) for rows in ranked])
    columns = [
        numbers,
        probabilities.argmax(axis=1),
        probabilities,
        posterior.log_likelihood,
        anomaly,
    ]
    if warmup:
        columns.append(posterior.warmup)
    series = [
        pl.Series(column, values, nan_to_null=values is anomaly) for column, values in zip(schema, columns, strict=True)
    ]
    series[2] = series[2].cast(pl.List(pl.Float64))
    return batch.with_frame(batch.frame.hstack(series))


Arrays = Mapping[str, np.ndarray]


def pack(parts: Mapping[str, tuple[Mapping[str, Any], Arrays]]) -> State:
    """Return one state of several named parts, each plain values and arrays."""
    return State(
        values={name: values for name, (values, _) in parts.items()},
        arrays={f"{name}/{key}": array for name, (_, arrays) in parts.items() for key, array in arrays.items()},
    )


def unpack(state: State, name: str) -> tuple[Mapping[str, Any], Arrays]:
    """Return the values and arrays of one part that `pack` put into a state."""
    prefix = f"{name}/"
    arrays = {key.removeprefix(prefix): array for key, array in state.arrays.items() if key.startswith(prefix)}
    return state.values[name], arrays

"""Between frames and the mathematics: feature columns in, posterior columns out. `learn` and `score` share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streamem.em import AnomalyRank, Mixture, Observations, Posterior
from streamem.errors import ConfigError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import columns_exist
from streamem.stream.protocol import State

__all__ = ["LEAST_WINDOW", "Inputs", "attach", "extended", "pack", "unpack"]

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


@dataclass(frozen=True)
class Inputs:
    """The columns that an operator reads, and what their values must be.

    Parameters
    ----------
    operator : str
        Its name, for messages.
    features : sequence of str
    model : Mixture
        Says which values are possible.
    weight, exposure : str or None
    """

    operator: str
    features: Sequence[str]
    model: Mixture
    weight: str | None = None
    exposure: str | None = None

    @property
    def numbers(self) -> frozenset[str]:
        """All of these columns."""
        return frozenset([*self.features, *(column for column in (self.weight, self.exposure) if column is not None)])

    def check(self, schema: pl.Schema) -> None:
        """Refuse columns that are not there or are not numbers, and an exposure that means nothing to the model.

        Raises
        ------
        ConfigError
        """
        check_numeric(self.features, schema, f"{self.operator}.features")
        for setting, column in (("weight", self.weight), ("exposure", self.exposure)):
            if column is not None:
                check_numeric([column], schema, f"{self.operator}.{setting}")
        if self.exposure is not None and not self.model.exposed:
            found = f"{self.exposure} for the family {self.model.family.type}"
            wanted = "an exposure for counts: family poisson"
            raise ConfigError(tell(f"{self.operator}.exposure", found=found, wanted=wanted, do="leave it out"))

    def observe(self, batch: Batch) -> tuple[Batch, Observations]:
        """Return the batch without the rows that cannot be used, and its features and weights as arrays.

        Null and NaN features are missing values (NaN). Rows are rejected that have a feature which the model cannot
        give rise to, a weight that is missing, infinite or negative, or an exposure that is so or zero.
        """
        frame = batch.frame
        values = np.empty((frame.height, len(self.features)))
        for column, feature in enumerate(self.features):  # three times cheaper than DataFrame.to_numpy(order="c")
            values[:, column] = _floats(frame.get_column(feature))
        weight = None if self.weight is None else _floats(frame.get_column(self.weight))
        exposure = None if self.exposure is None else _floats(frame.get_column(self.exposure))
        wrong = self.model.wrong(values)
        bad = np.zeros(frame.height, dtype=np.bool_)
        if wrong.any():
            bad |= wrong.any(axis=1)
        if weight is not None:
            bad |= ~(np.isfinite(weight) & (weight >= 0.0))
        if exposure is not None:
            bad |= ~(np.isfinite(exposure) & (exposure > 0.0))
        observations = Observations(values, weight, exposure)
        if not bad.any():
            return batch, observations

        def reason(row: int) -> str:
            place, value, wanted = f"weight column {self.weight}", weight, "a finite number of at least 0"
            if exposure is not None and not (np.isfinite(exposure[row]) and exposure[row] > 0.0):
                place, value, wanted = f"exposure column {self.exposure}", exposure, "a finite number above 0"
            if wrong[row].any():
                column = int(wrong[row].argmax())
                place, value, wanted = (
                    self.features[column],
                    values[:, column],
                    f"{self.model.support} or a missing value",
                )
            found = "nothing" if value is None else str(value[row])
            do = "mend the record, or drop it by where"
            return tell(f"{self.operator}: {place}", found=found, wanted=wanted, do=do)

        return batch.reject(bad, self.operator, reason), observations[~bad]


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

"""Between frames and the mathematics: feature columns in, posterior columns out. `learn` and `score` share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from streamem.em import LDS, AnomalyRank, Categorical, Observations, Posterior, Product
from streamem.em.model import Model
from streamem.em.posterior import Kind
from streamem.errors import ConfigError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import columns_exist
from streamem.stream.keys import Keys
from streamem.stream.operators.categories import Texts, over, texts_of
from streamem.stream.protocol import Columns, State
from streamem.stream.times import seconds

__all__ = [
    "LEAST_WINDOW",
    "Inputs",
    "attach",
    "check_features",
    "check_keys",
    "check_numeric",
    "extended",
    "pack",
    "restore_keys",
    "unpack",
]

LEAST_WINDOW = 100
"""The smallest window that an anomaly is ranked in: below that many records a rank says nothing."""


def check_features(columns: Sequence[str], schema: pl.Schema, place: str) -> None:
    """Refuse no columns, columns that are not there, and one that is named twice.

    Raises
    ------
    ConfigError
        With the nearest right name.
    """
    if not columns:
        raise ConfigError(tell(place, found="no columns", wanted="at least one", do="name the columns to learn from"))
    columns_exist(place, columns, schema.names())
    doubled = {column for column in columns if list(columns).count(column) > 1}
    if doubled:
        raise ConfigError(
            tell(place, found=f"{min(doubled)!r} twice", wanted="each column once", do="take one of them out")
        )


def check_width(model: Model, features: int, place: str) -> None:
    """Refuse another number of features than a model is declared for, with a ConfigError; most take any number."""
    family, parts = getattr(model, "family", None), ""
    if isinstance(family, Product):
        wanted, parts = family.columns, " for its parts"
    elif isinstance(model, LDS):
        given = "observation" if model.observation else "observation_covariance"
        wanted, parts = len(getattr(model, given)), f", the rows of {given}"
    else:
        return
    if wanted and features != wanted:
        do = f"name {wanted}, or declare the {model.type} for {features}"
        raise ConfigError(tell(place, found=f"{features} features", wanted=f"{wanted}{parts}", do=do))


def check_numeric(column: str, schema: pl.Schema, place: str) -> None:
    """Refuse a column that is not there or is not numbers, with a ConfigError."""
    columns_exist(place, [column], schema.names())
    if not schema[column].is_numeric():
        found, wanted = f"{column!r} of type {schema[column]}", "numbers"
        do = f"leave it out, or make a number of it: transform with CAST({column} AS DOUBLE)"
        raise ConfigError(tell(place, found=found, wanted=wanted, do=do))


@dataclass(frozen=True)
class Inputs:
    """The columns that an operator reads, and what their values must be.

    Parameters
    ----------
    operator : str
        Its name, for messages.
    features : sequence of str
    model : Model
        Says which values are possible.
    weight, exposure : str or None
    columns : Columns
        The key that tells sequences apart, and the time.
    idle_ttl_ms : int or None
        After how long a key leaves.
    texts : Texts
        The features that are text; none before `opened` has looked.
    """

    operator: str
    features: Sequence[str]
    model: Model
    weight: str | None = None
    exposure: str | None = None
    columns: Columns = field(default_factory=Columns)
    idle_ttl_ms: int | None = None
    texts: Texts = field(default_factory=Texts)

    @property
    def numbers(self) -> frozenset[str]:
        """All of these columns but the categories, which may be text."""
        each = zip(self.features, over(self.model, len(self.features)), strict=True)
        features = [feature for feature, (_, family) in each if not isinstance(family, Categorical)]
        return frozenset([*features, *(column for column in (self.weight, self.exposure) if column is not None)])

    def opened(self, schema: pl.Schema) -> "Inputs":
        """Return the same for records of a schema: which features are text is known then.

        Raises
        ------
        ConfigError
            Columns that are not there or of a wrong type, or an exposure that means nothing to the model.
        """
        place = f"{self.operator}.features"
        check_features(self.features, schema, place)
        check_width(self.model, len(self.features), place)
        texts = texts_of(self.model, self.features, schema, place)
        for setting, column in (("weight", self.weight), ("exposure", self.exposure)):
            if column is not None:
                check_numeric(column, schema, f"{self.operator}.{setting}")
        if self.exposure is not None and not self.model.exposed:
            found = f"{self.exposure} for the family {getattr(self.model, 'family', self.model).type}"
            wanted = "an exposure for counts: family poisson"
            raise ConfigError(tell(f"{self.operator}.exposure", found=found, wanted=wanted, do="leave it out"))
        return replace(self, texts=texts)

    def of(self, model: Model, place: str) -> "Inputs":
        """Return the same for a model that has learned already, with its names of categories.

        Raises SnapshotError where it has none and a feature is text.
        """
        return replace(self, model=model, texts=self.texts.of(model, place))

    def record(self) -> dict[str, Any]:
        """Return the columns as a snapshot names them."""
        named = {"exposure": self.exposure}
        if self.model.sequential:
            named |= {"key": self.columns.key}
        if self.timed:
            named |= {"time_column": self.columns.time, "time_unit": self.columns.time_unit}
        return {"features": list(self.features), **{name: column for name, column in named.items() if column}}

    @property
    def timed(self) -> bool:
        """Whether the time of a record matters."""
        return self.columns.time is not None and (self.model.timed or self.idle_ttl_ms is not None)

    @property
    def key(self) -> str | None:
        """The column that tells sequences apart, for models that know an order."""
        return self.columns.key if self.model.sequential else None

    def with_sequences(self, observations: Observations, frame: pl.DataFrame, keys: Keys, number: int) -> Observations:
        """Return the observations of a micro-batch with the sequence of every row.

        Parameters
        ----------
        observations : Observations
        frame : polars.DataFrame
            The same rows.
        keys : Keys
            Learns new keys.
        number : int
            Of the micro-batch.
        """
        if self.key is None:
            return observations
        sequence = keys.slots(frame.get_column(self.key), number, observations.time)
        return replace(observations, sequence=sequence)

    def observe(self, batch: Batch) -> tuple[Batch, Observations]:
        """Return the batch without the rows that cannot be used, and its features and weights as arrays.

        Null and NaN features are missing values (NaN), texts the numbers of their categories. Rows are rejected that
        have a feature which the model cannot give rise to, a weight that is missing, infinite or negative, or an
        exposure that is so or zero.
        """
        frame = batch.frame
        values = np.empty((frame.height, len(self.features)))
        for column, feature in enumerate(self.features):  # three times cheaper than DataFrame.to_numpy(order="c")
            series = frame.get_column(feature)
            read = self.texts.numbers(feature, series) if feature in self.texts.parts else _floats(series)
            values[:, column] = read
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
        time = None
        if self.timed and self.columns.time is not None:
            time = seconds(frame.get_column(self.columns.time), self.columns)
            bad |= ~np.isfinite(time)
        if self.key is not None:
            bad |= frame.get_column(self.key).is_null().to_numpy()
        observations = Observations(values, weight, exposure, time=time, checked=True)
        if not bad.any():
            return batch, observations

        def reason(row: int) -> str:
            value: Any
            place, value, wanted = f"weight column {self.weight}", weight, "a finite number of at least 0"
            if exposure is not None and not (np.isfinite(exposure[row]) and exposure[row] > 0.0):
                place, value, wanted = f"exposure column {self.exposure}", exposure, "a finite number above 0"
            if time is not None and not np.isfinite(time[row]):
                column_of_time = frame.get_column(str(self.columns.time))
                place, value, wanted = f"time column {self.columns.time}", column_of_time, "a time"
            if self.key is not None and frame.get_column(self.key)[row] is None:
                place, value, wanted = f"key column {self.key}", None, "a key that tells its sequence"
            if wrong[row].any():
                column = int(wrong[row].argmax())
                feature = self.features[column]
                if feature in self.texts.parts:
                    text = str(frame.get_column(feature)[row])
                    return self.texts.unknown(f"{self.operator}: {feature}", feature, text)
                family = over(self.model, len(self.features))[column][1]
                wanted = self.model.support if family is None else family.support
                place, value = feature, values[:, column]
            found = "nothing" if value is None or value[row] is None else str(value[row])
            do = "mend the record, or drop it by where"
            return tell(f"{self.operator}: {place}", found=found, wanted=wanted, do=do)

        return batch.reject(bad, self.operator, reason), observations[~bad]


def _floats(series: pl.Series) -> np.ndarray:
    """Return a column as float64, nulls as NaN."""
    if series.dtype != pl.Float64:
        series = series.cast(pl.Float64)
    return series.to_numpy()


_TYPES: dict[Kind, pl.DataType] = {
    "label": pl.Int64(),
    "index": pl.Int64(),
    "number": pl.Float64(),
    "flag": pl.Boolean(),
    "vector": pl.List(pl.Float64()),
    "matrix": pl.List(pl.List(pl.Float64())),
}


def _added(name: str, model: Model, *, warmup: bool, drift: bool = False) -> dict[str, pl.DataType]:
    """Return the columns that `attach` adds to a frame, with their types."""
    columns: dict[str, pl.DataType] = {f"{name}.batch": pl.Int64()}
    columns |= {f"{name}.{told}": _TYPES[kind] for told, kind in model.tells.items()}
    columns |= {f"{name}.log_likelihood": pl.Float64(), f"{name}.anomaly": pl.Float64()}
    flags = {"warmup": warmup, "drift": drift}
    return columns | {f"{name}.{flag}": pl.Boolean() for flag, there in flags.items() if there}


def extended(schema: pl.Schema, name: str, model: Model, *, warmup: bool, drift: bool = False) -> pl.Schema:
    """Return a schema with the posterior columns of operator `name` behind it.

    Raises
    ------
    ConfigError
        A column of that name is there already.
    """
    added = _added(name, model, warmup=warmup, drift=drift)
    for column in added:
        if column in schema:
            raise ConfigError(
                tell(name, found=f"a column {column!r} before it", wanted="a name of its own", do="rename the operator")
            )
    return pl.Schema(dict(schema) | added)


def attach(
    batch: Batch,
    inputs: Inputs,
    posterior: Posterior | None,
    observations: Observations,
    rank: AnomalyRank,
    *,
    warmup: bool,
    drift: np.ndarray | None = None,
) -> Batch:
    """Return the batch with the posterior columns of an operator; `posterior` None is that of no rows.

    `drift` tells at which rows one was detected, where somebody watches.

    One `hstack` of finished columns; no expression engine, which costs 0.1 ms a call whatever the size.
    """
    schema = _added(inputs.operator, inputs.model, warmup=warmup, drift=drift is not None)
    if posterior is None:
        return batch.with_frame(batch.frame.hstack([pl.Series(column, [], dtype) for column, dtype in schema.items()]))
    parts, missing = batch.rows(), np.isnan(observations.values)
    numbers = np.repeat(batch.numbers, [rows.stop - rows.start for rows in parts])
    # which pattern of missing values leaves the rank first depends on the micro-batch
    ranked = parts if missing.any() else [slice(None)]
    anomaly = np.concatenate([rank.rank(posterior.log_likelihood[rows], missing[rows]) for rows in ranked])
    told = [
        posterior.probabilities.argmax(axis=1) if kind == "label" else posterior.columns[name]
        for name, kind in inputs.model.tells.items()
    ]
    columns = [numbers, *told, posterior.log_likelihood, anomaly]
    if warmup:
        columns.append(posterior.warmup)
    if drift is not None:
        columns.append(drift)
    series = [_series(column, values, dtype) for (column, dtype), values in zip(schema.items(), columns, strict=True)]
    return batch.with_frame(batch.frame.hstack(series))


def _series(name: str, values: np.ndarray, dtype: pl.DataType) -> pl.Series:
    """Return a column; NaN is null, except in a matrix, which has none."""
    if values.ndim == 1:
        return pl.Series(name, values, nan_to_null=values.dtype.kind == "f")
    series = pl.Series(name, np.ascontiguousarray(values)).cast(dtype)
    if values.ndim == 2 and np.isnan(np.vdot(values, values)):
        return series.list.eval(pl.element().fill_nan(None))
    return series


Arrays = Mapping[str, np.ndarray]


def pack(parts: Mapping[str, tuple[Mapping[str, Any], Arrays]], keys: Keys) -> State:
    """Return one state of several named parts, each plain values and arrays, and of the keys."""
    known = keys.state()
    arrays = {f"{name}/{key}": array for name, (_, arrays) in parts.items() for key, array in arrays.items()}
    return State(
        values={name: values for name, (values, _) in parts.items()},
        arrays=arrays | {f"keys/{name}": array for name, array in known.arrays.items()},
        blobs=known.blobs,
    )


def unpack(state: State, name: str) -> tuple[Mapping[str, Any], Arrays]:
    """Return the values and arrays of one part that `pack` put into a state."""
    prefix = f"{name}/"
    arrays = {key.removeprefix(prefix): array for key, array in state.arrays.items() if key.startswith(prefix)}
    return state.values.get(name, {}), arrays


def restore_keys(keys: Keys, state: State) -> None:
    """Let the keys go on from the state that `pack` gave."""
    keys.restore(State(arrays=unpack(state, "keys")[1], blobs=state.blobs))


def check_keys(operator: Any, columns: Columns) -> None:
    """Refuse settings of keys without what they need, with a ConfigError.

    Parameters
    ----------
    operator : Learn or Score
    columns : Columns
        The key and time columns.
    """
    for setting, missing, needed in (
        ("max_keys", columns.key is None, "key"),
        ("idle_ttl_ms", columns.key is None, "key"),
        ("idle_ttl_ms", columns.time is None, "time"),
    ):
        if getattr(operator, setting) is not None and missing:
            found, wanted = f"{setting} without {needed}:", f"the column that {needed}: names"
            raise ConfigError(tell(f"{operator.name}.{setting}", found=found, wanted=wanted, do=f"add {needed}:"))

"""River's transformers as an operator: features scaled by what the stream has shown of them so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from streamem.errors import ConfigError, ModelError, SnapshotError, nearest, tell
from streamem.stream.batch import ROW, Batch
from streamem.stream.operators.posteriors import check_features, check_numeric
from streamem.stream.operators.scalers import SCALERS, Scaler
from streamem.stream.protocol import Columns, State

__all__ = ["River"]


@dataclass(frozen=True, kw_only=True)
class River:
    """Add features as one of river's transformers makes them, which learns from every record.

    For each record the transformer first learns from it and then transforms it, as in river's own examples: a value is
    scaled by the records up to and including its own, later ones never change it, and where micro-batches end does not
    matter. The numbers are river's to the last bit. A missing value is not learned from and stays missing. What was
    learned is kept in checkpoints as plain arrays.

    Parameters
    ----------
    name : str
        Ends the names of the columns that are added; it appears in messages and in the counts of bad records too.
    transformer : str
        By river's name: StandardScaler, MinMaxScaler, MaxAbsScaler or AdaptiveStandardScaler. The others of river have
        a state that cannot be written down as plain values, or a meaning for other data than numbers.
    parameters : mapping
        Of the transformer, by river's names: ``with_std`` for StandardScaler, ``fading_factor`` for
        AdaptiveStandardScaler.
    features : list of str
        Numeric columns. An infinite number makes a bad record.
    columns : list of str or None
        What the new columns are called, one for each feature; None calls them ``FEATURE.NAME``. A name of a column
        that is there puts the new one in its place.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import Columns
    >>> river = River(name="scaled", transformer="StandardScaler", features=["speed"])
    >>> river.open(pl.Schema({"speed": pl.Float64}), Columns()).schema.names()
    ['speed', 'speed.scaled']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["river"] = "river"
    name: str = "scaled"
    transformer: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    features: Sequence[str]
    columns: Sequence[str] | None = None

    @property
    def numbers(self) -> frozenset[str]:
        """The features."""
        return frozenset(self.features)

    def scaler(self) -> Scaler:
        """Return the transformer. Raises ConfigError for one that is none of `SCALERS`, or other parameters."""
        if self.transformer not in SCALERS:
            wanted = f"one of river's whose state can be written as plain values: {', '.join(SCALERS)}"
            found = f"{self.transformer!r}{nearest(self.transformer, SCALERS)}"
            do = "take one of these, or transform with an expression of SQL"
            raise ConfigError(tell(f"{self.name}.transformer", found=found, wanted=wanted, do=do))
        kind = SCALERS[self.transformer]
        known = [one.name for one in fields(kind)]
        for parameter in self.parameters:
            if parameter not in known:
                found = f"the unknown key {parameter}"
                wanted = f"one of {', '.join(known)}" if known else f"none: {self.transformer} has no parameters here"
                do = f"remove or rename it{nearest(parameter, known)}"
                raise ConfigError(tell(f"{self.name}.parameters.{parameter}", found=found, wanted=wanted, do=do))
        try:
            made: Scaler = kind(**self.parameters)
        except ConfigError as error:  # which names the transformer and the parameter
            told = str(error).removeprefix(f"{self.transformer}: ")
            raise ConfigError(f"{self.name}.parameters.{told}") from error
        return made

    def check(self) -> None:
        """Refuse what `scaler` does, before any column is known."""
        self.scaler()

    def open(self, schema: pl.Schema, columns: Columns) -> "RiverStep":  # noqa: ARG002 (one sequence: that of all)
        """Return the running operator.

        Raises ConfigError for another transformer or other parameters, and for columns that are not there, not
        numbers, or not one for each feature.
        """
        scaler = self.scaler()
        check_features(self.features, schema, f"{self.name}.features")
        for feature in self.features:
            check_numeric(feature, schema, f"{self.name}.features")
        added = self.added()
        if len(added) != len(self.features) or len({*added, ROW, ""}) < len(added) + 2:
            found, wanted = ", ".join(map(repr, added)) or "none", f"{len(self.features)} different names"
            do = "write one name for each feature, or leave columns out"
            raise ConfigError(tell(f"{self.name}.columns", found=found, wanted=wanted, do=do))
        after = pl.Schema(dict(schema) | dict.fromkeys(added, pl.Float64()))
        return RiverStep(self, scaler, after)

    def added(self) -> list[str]:
        """Return the names of the new columns."""
        return [f"{feature}.{self.name}" for feature in self.features] if self.columns is None else list(self.columns)


class RiverStep:
    """A running transformer."""

    holding = False

    def __init__(self, river: River, scaler: Scaler, schema: pl.Schema) -> None:
        self.schema = schema
        self._river = river
        self._scaler = scaler
        self._state = np.repeat(np.array(scaler.begin)[:, None], len(river.features), axis=1)

    def process(self, batch: Batch) -> list[Batch]:
        """Return the batch with the new columns, and learn from it. Raises ModelError where numbers overflow."""
        values = self._values(batch.frame)
        bad = np.isinf(values).any(axis=1)
        if bad.any():
            batch, values = batch.reject(bad, self._river.name, self._reason(batch.frame, values)), values[~bad]
        state, scaled = self._state.copy(), np.empty_like(values)
        self._scaler.scale(values, state, scaled)
        if not np.isfinite(state[:, state[0] > 0.0]).all():
            found = f"numbers that overflow {self._river.transformer} in the batch {batch.number} or one with it"
            wanted, do = "features whose squares are finite", "divide them by a large number in a transform before it"
            raise ModelError(tell(self._river.name, found=found, wanted=wanted, do=do))
        self._state = state
        columns = zip(self._river.added(), scaled.T, strict=True)
        series = [pl.Series(name, np.ascontiguousarray(one), nan_to_null=True) for name, one in columns]
        return [batch.with_frame(batch.frame.with_columns(series))]

    def _values(self, frame: pl.DataFrame) -> np.ndarray:
        values = np.empty((frame.height, len(self._river.features)))
        for column, feature in enumerate(self._river.features):
            values[:, column] = frame.get_column(feature).cast(pl.Float64).to_numpy()
        return values

    def _reason(self, frame: pl.DataFrame, values: np.ndarray) -> Any:
        def reason(row: int) -> str:
            feature = self._river.features[int(np.isinf(values[row]).argmax())]
            place, found = f"{self._river.name}: {feature}", str(frame.get_column(feature)[row])
            wanted, do = "a finite number or a missing value", "mend the record, or drop it by where"
            return tell(place, found=found, wanted=wanted, do=do)

        return reason

    def finish(self) -> list[Batch]:
        """Return nothing: nothing is held."""
        return []

    def state(self) -> State:
        """Return the array of what was learned."""
        return State(arrays={"state": self._state})  # never changed in place, so no copy

    def restore(self, state: State) -> None:
        """Go on from `state`. Raises SnapshotError where it is that of another transformer or of other features."""
        learned = state.arrays.get("state", np.empty(0))
        if learned.shape != self._state.shape:
            found, wanted = f"an array of the shape {learned.shape}", f"one of {self._state.shape}"
            do = "set transformer and features back, or start afresh with --fresh"
            raise SnapshotError(tell(self._river.name, found=found, wanted=wanted, do=do))
        self._state = learned

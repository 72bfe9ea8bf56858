"""A model that is finished, and gives every record its posterior."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Literal

import polars as pl

from streamem.em import AnomalyRank, Carry, Posterior, Snapshot
from streamem.errors import ConfigError, SnapshotError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import at_least
from streamem.stream.keys import Keys
from streamem.stream.operators.posteriors import (
    LEAST_WINDOW,
    Inputs,
    attach,
    check_keys,
    extended,
    pack,
    restore_keys,
    unpack,
)
from streamem.stream.protocol import Columns, State
from streamem.stream.snapshots import check_features, check_model, read_snapshot

__all__ = ["Score"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Add every record's posterior under the averaged parameters of a snapshot; nothing is learned.

    Parameters
    ----------
    name : str
        Begins the columns that are added: those of `learn` but for ``NAME.warmup``.
    snapshot : str
        A snapshot file. Of an NDJSON file the last line counts.
    operator : str or None
        Which operator's snapshot to take from a file that has several.
    features : list of str or None
        Columns in the order of the model's dimensions; None takes the names that the snapshot has.
    exposure : str or None
        Column of exposures, for counts; None takes the one that the snapshot was learned with.
    anomaly_window_records : int
        Records before it that a record's anomaly is ranked among.
    max_keys, idle_ttl_ms : int or None
        When keys leave, as for `learn`.

    Examples
    --------
    >>> import json, tempfile
    >>> import polars as pl
    >>> from streamem.em import Mixture, Observations, OnlineEM
    >>> from streamem.stream.protocol import Columns
    >>> learner = OnlineEM(Mixture(components=1), warmup_records=2)
    >>> _ = learner.update(Observations([[0.0], [1.0]]))
    >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    ...     json.dump(learner.snapshot.to_json(), file)
    ...     file.flush()
    ...     step = Score(name="model", snapshot=file.name, features=["x"]).open(pl.Schema({"x": pl.Float64}), Columns())
    >>> step.schema.names()[:2]
    ['x', 'model.batch']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["score"] = "score"
    name: str
    snapshot: str
    operator: str | None = None
    features: list[str] | None = None
    exposure: str | None = None
    anomaly_window_records: int = 1000
    max_keys: int | None = None
    idle_ttl_ms: int | None = None

    @property
    def numbers(self) -> frozenset[str]:
        """The features and the exposure that are named here or in the snapshot."""
        return self._read(Columns())[2].numbers

    def open(self, schema: pl.Schema, columns: Columns) -> "_ScoreStep":
        """Return the running operator.

        Raises ConfigError for columns that are not there or not numbers, SnapshotError for a file that is no snapshot
        or one of other features.
        """
        snapshot, record, inputs = self._read(columns)
        check_features(record, inputs.features, f"{self.name}.features")
        check_model(snapshot, snapshot.model, inputs.features, f"{self.name}.features")
        at_least(f"{self.name}.anomaly_window_records", self.anomaly_window_records, LEAST_WINDOW)
        inputs = inputs.opened(schema)
        inputs = inputs.of(snapshot.model, f"{self.name}.features")
        check_keys(self, columns)
        return _ScoreStep(self, extended(schema, self.name, snapshot.model, warmup=False), snapshot, inputs)

    def _read(self, columns: Columns) -> tuple[Snapshot, dict[str, Any], Inputs]:
        snapshot, record = read_snapshot(self.snapshot, operator=self.operator)
        features = self.features or record.get("features")
        if not features:
            raise ConfigError(
                tell(
                    f"{self.name}.features",
                    found=f"no names, and none in {self.snapshot}",
                    wanted="the columns in the order of the model's dimensions",
                    do="add features",
                )
            )
        exposure = self.exposure or record.get("exposure")
        named = (self.name, list(features), snapshot.model, None, exposure)
        inputs = Inputs(*named, columns, self.idle_ttl_ms)
        return snapshot, record, inputs


class _ScoreStep:
    """Scores under one snapshot; a restart with another one is refused, since the outputs would not fit together."""

    holding = False

    def __init__(self, score: Score, schema: pl.Schema, snapshot: Snapshot, inputs: Inputs) -> None:
        self.schema = schema
        self._score = score
        self._snapshot = snapshot
        self._inputs = inputs
        self._keys = Keys(score.max_keys, None if score.idle_ttl_ms is None else score.idle_ttl_ms * 1e-3)
        self._carry = Carry()
        self._rank = AnomalyRank(score.anomaly_window_records)
        self._digest = sha256(json.dumps(snapshot.to_json(), sort_keys=True).encode()).hexdigest()

    def process(self, batch: Batch) -> list[Batch]:
        batch, observations = self._inputs.observe(batch)
        parts: list[Posterior] = []
        for number, rows in zip(batch.numbers, batch.rows(), strict=True):
            if rows.start == rows.stop:
                continue
            part = self._inputs.with_sequences(observations[rows], batch.frame[rows], self._keys, number)
            parts.append(self._carry.follow(self._snapshot.model, self._snapshot.averaged, part))
            newest = None if part.time is None else float(part.time.max())
            self._carry.forget(self._keys.leave(newest))
        posterior = Posterior.concatenate(parts) if parts else None
        return [attach(batch, self._inputs, posterior, observations, self._rank, warmup=False)]

    def finish(self) -> list[Batch]:
        return []

    def state(self) -> State:
        parts = {"rank": self._rank.to_arrays(), "carry": self._carry.to_arrays()}
        return pack(parts | {"snapshot": ({"sha256": self._digest}, {})}, self._keys)

    def restore(self, state: State) -> None:
        if unpack(state, "snapshot")[0]["sha256"] != self._digest:
            raise SnapshotError(
                tell(
                    f"{self._score.name}.snapshot",
                    found=f"another snapshot in {self._score.snapshot} than the checkpoint was made with",
                    wanted="the same one, so that all posteriors are of one model",
                    do="put it back, or start afresh with --fresh",
                )
            )
        self._rank = AnomalyRank.from_arrays(*unpack(state, "rank"))
        self._carry = Carry.from_arrays(*unpack(state, "carry"))
        restore_keys(self._keys, state)

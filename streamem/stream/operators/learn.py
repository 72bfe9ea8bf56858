"""A model that learns from every micro-batch, and gives every record its posterior."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from streamem.em import AnomalyRank, ExactInertia, GrowingWindow, Observations, OnlineEM, Posterior, Snapshot
from streamem.errors import ConfigError, ModelError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import at_least
from streamem.stream.operators.posteriors import LEAST_WINDOW, Inputs, attach, extended, pack, unpack
from streamem.stream.protocol import Columns, State
from streamem.stream.snapshots import check_features, check_model, read_snapshot

__all__ = ["Learn", "LearnStep"]

_LEAST = {"warmup_records": 1, "seed": 0, "until_records": 1, "anomaly_window_records": LEAST_WINDOW}


@dataclass(frozen=True, kw_only=True)
class Learn:
    """Take one online-EM step per micro-batch, and add every record's posterior before that step.

    Parameters
    ----------
    name : str
        Begins the columns that are added: ``NAME.batch``, ``NAME.component``, ``NAME.probabilities``,
        ``NAME.log_likelihood``, ``NAME.anomaly``, ``NAME.warmup``.
    features : list of str
        Numeric columns, in the order of the model's dimensions. Null and NaN are missing values; a value that the
        family cannot give rise to, such as an infinite or a negative count, makes a bad record.
    model : Model
        What is learned, one of `streamem.em.MODELS`.
    schedule : Schedule
        Step sizes, one of `streamem.em.SCHEDULES`.
    warmup_records : int or None
        Records that are held for the start; None takes what model and columns need.
    seed : int
        For the start, and for sampled inertia.
    weight : str or None
        Column of record weights, finite and >= 0; anything else there makes a bad record.
    exposure : str or None
        Column of exposures, finite and > 0: the time, length or population that a record's counts are of.
    inertia : Inertia
        How the moments of the present model are taken: exact or sampled.
    paused : bool
        Posteriors only, the parameters stand still. Needs `start_from` or a checkpoint to take them from.
    until_records : int or None
        The batch in which the learner has seen this many records is the last that it learns from.
    anomaly_window_records : int
        Records before it that a record's anomaly is ranked among.
    start_from : str or None
        A snapshot file to begin from, in place of a warm-up. Of an NDJSON file the last line counts, of a file with
        several operators the last line of the operator `name`.
    certificate : bool
        Check every update against what the method promises; the slack of the last one and the count of violations are
        in the snapshots. Costs a second E-step.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["learn"] = "learn"
    name: str
    features: list[str]
    model: Any
    schedule: Any = field(default_factory=GrowingWindow)
    warmup_records: int | None = None
    seed: int = 0
    weight: str | None = None
    exposure: str | None = None
    inertia: Any = field(default_factory=ExactInertia)
    paused: bool = False
    until_records: int | None = None
    anomaly_window_records: int = 1000
    start_from: str | None = None
    certificate: bool = False

    @property
    def numbers(self) -> frozenset[str]:
        """The features, the weight and the exposure."""
        return self.inputs.numbers

    @property
    def inputs(self) -> Inputs:
        """What it reads."""
        return Inputs(self.name, self.features, self.model, self.weight, self.exposure)

    def open(self, schema: pl.Schema, columns: Columns) -> "LearnStep":  # noqa: ARG002
        """Return the running learner.

        Raises ConfigError for columns that are not there or not numbers, SnapshotError for a `start_from` of another
        model or other features.
        """
        self.inputs.check(schema)
        for setting, least in _LEAST.items():
            at_least(f"{self.name}.{setting}", getattr(self, setting), least)
        start = None
        if self.start_from is not None:
            start, record = read_snapshot(self.start_from, operator=self.name)
            place = f"{self.name}.start_from {self.start_from}"
            check_features(record, self.features, place)
            check_model(start, self.model, self.features, place)
        return LearnStep(self, extended(schema, self.name, warmup=True), start)


class LearnStep:
    """A running learner; during its warm-up it holds batches."""

    def __init__(self, learn: Learn, schema: pl.Schema, start: Snapshot | None) -> None:
        self.schema = schema
        self.features = learn.features
        self.exposure = learn.exposure
        self._inputs = learn.inputs
        self._learn = learn
        self._learner = self._begin(start)
        self._rank = AnomalyRank(learn.anomaly_window_records)
        self._held: list[tuple[Batch, Observations]] = []

    def _begin(self, start: Snapshot | None) -> OnlineEM:
        learn = self._learn
        return OnlineEM(
            learn.model,
            schedule=learn.schedule,
            warmup_records=learn.warmup_records,
            seed=learn.seed,
            inertia=learn.inertia,
            start=start,
            certified=learn.certificate,
        )

    @property
    def snapshot(self) -> Snapshot | None:
        """What was learned so far; None before the start was made."""
        return self._learner.snapshot

    @property
    def holding(self) -> bool:
        """Whether batches wait for the start."""
        return bool(self._held)

    def process(self, batch: Batch) -> list[Batch]:
        """Return the batches that leave, each with its posteriors, and learn from this one."""
        batch, observations = self._inputs.observe(batch)
        before = self._learner.snapshot, self._learner.held
        posteriors: list[Posterior] = []
        for number, rows in zip(batch.numbers, batch.rows(), strict=True):
            try:
                posteriors += self._posteriors(observations[rows])
            except ModelError as error:
                self._learner.snapshot, self._learner.held = before
                # the mathematics knows columns by number only
                named = re.sub(
                    r"column (\d+) of the features", lambda m: f"feature {self.features[int(m[1])]}", str(error)
                )
                raise ModelError(f"{self._learn.name}, batch {number}: {named}") from error
        taken = [*self._held, (batch, observations)]
        self._held = taken if self._learner.holding else []
        return [] if self._learner.holding else self._leave(taken, posteriors)

    def _posteriors(self, observations: Observations) -> list[Posterior]:
        if len(observations) == 0:
            return []
        if self._standing_still():
            return [self._learner.posterior(observations)]
        return self._learner.update(observations)

    def _standing_still(self) -> bool:
        snapshot = self._learner.snapshot
        if self._learn.paused and snapshot is None:
            raise ConfigError(
                tell(
                    f"{self._learn.name}.paused",
                    found="a learner that has learned nothing",
                    wanted="parameters to take the posteriors from",
                    do="add start_from, or let it learn first",
                )
            )
        until = self._learn.until_records
        return self._learn.paused or (until is not None and snapshot is not None and snapshot.records_seen >= until)

    def _leave(self, taken: list[tuple[Batch, Observations]], posteriors: list[Posterior]) -> list[Batch]:
        """Return the batches that were taken, with the posteriors of all their rows."""
        leaving: list[Batch] = []
        posterior = Posterior.concatenate(posteriors) if posteriors else None
        start = 0
        for batch, observations in taken:
            stop = start + len(observations)
            told = posterior[start:stop] if posterior is not None and stop > start else None
            leaving.append(attach(batch, self._learn.name, told, observations, self._rank, warmup=True))
            start = stop
        return leaving

    def finish(self) -> list[Batch]:
        """Return nothing: rows that are still held are too few for a start, and a ModelError says so."""
        try:
            self._learner.finish()
        except ModelError as error:
            raise ModelError(f"{self._learn.name}: {error}") from error
        return []

    def state(self) -> State:
        """Return the snapshot, where there is one, and the ring of the anomaly rank."""
        snapshot = self._learner.snapshot
        parts = {"rank": self._rank.to_arrays()}
        return pack(parts if snapshot is None else parts | {"snapshot": snapshot.to_arrays()})

    def restore(self, state: State) -> None:
        """Go on from `state`."""
        self._rank = AnomalyRank.from_arrays(*unpack(state, "rank"))
        if "snapshot" in state.values:
            snapshot = Snapshot.from_arrays(*unpack(state, "snapshot"))
            check_model(snapshot, self._learn.model, self.features, f"{self._learn.name}, checkpoint")
            self._learner = self._begin(snapshot)

"""A model that learns from every micro-batch, and gives every record its posterior."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from streamem.em import (
    AnomalyRank,
    Carry,
    Constant,
    ExactInertia,
    GrowingWindow,
    Observations,
    OnlineEM,
    Posterior,
    Snapshot,
)
from streamem.errors import ConfigError, ModelError, tell
from streamem.stream.batch import Batch
from streamem.stream.checks import at_least
from streamem.stream.keys import Keys
from streamem.stream.operators.drift import DriftMonitor
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
from streamem.stream.snapshots import check_features, check_model, named, read_snapshot

__all__ = ["Learn", "LearnStep"]

_LEAST = {
    "warmup_records": 1,
    "seed": 0,
    "until_records": 1,
    "anomaly_window_records": LEAST_WINDOW,
    "max_keys": 1,
    "idle_ttl_ms": 1,
}


@dataclass(frozen=True, kw_only=True)
class Learn:
    """Take one online-EM step per micro-batch, and add every record's posterior before that step.

    Parameters
    ----------
    name : str
        Begins the columns that are added: ``NAME.batch``, what the model tells (``NAME.component`` or ``NAME.state``
        and ``NAME.probabilities``, or ``NAME.mean`` and ``NAME.covariance``), ``NAME.log_likelihood``,
        ``NAME.anomaly``, ``NAME.warmup``, and with `drift` ``NAME.drift``.
    features : list of str
        Numeric columns, in the order of the model's dimensions; for the family categorical text too, for bernoulli
        true and false. Null and NaN are missing values; a value that the family cannot give rise to, such as an
        infinite or a negative count, makes a bad record. Categories without names get those of the warm-up.
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
    drift : Detector or None
        Watches the log-likelihood, one of `streamem.stream.operators.detectors.DETECTORS`. At a drift ``NAME.drift`` is
        true, and from the next micro-batch on the schedule begins again: its window is as short as after a start and
        grows anew, so the step size is raised for a while. Snapshots and the summary count them.
    max_keys : int or None
        Keys whose sequences are kept; above it those not seen for longest leave. One that comes again begins anew.
    idle_ttl_ms : int or None
        A key leaves when the newest event time is so much later than its own last one.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.em import Mixture
    >>> from streamem.stream.protocol import Columns
    >>> learn = Learn(name="cluster", features=["x"], model=Mixture(components=2))
    >>> learn.open(pl.Schema({"x": pl.Float64}), Columns()).schema.names()[:4]
    ['x', 'cluster.batch', 'cluster.component', 'cluster.probabilities']
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
    drift: Any = None
    max_keys: int | None = None
    idle_ttl_ms: int | None = None

    @property
    def numbers(self) -> frozenset[str]:
        """The features, the weight and the exposure."""
        return self.inputs(Columns()).numbers

    def inputs(self, columns: Columns) -> Inputs:
        """Return what it reads, of records whose key and time are `columns`."""
        named = (self.name, self.features, self.model, self.weight, self.exposure)
        return Inputs(*named, columns, self.idle_ttl_ms)

    def open(self, schema: pl.Schema, columns: Columns) -> "LearnStep":
        """Return the running learner.

        Raises ConfigError for columns that are not there or not numbers, SnapshotError for a `start_from` of another
        model or other features.
        """
        inputs = self.inputs(columns).opened(schema)
        check_keys(self, columns)
        for setting, least in _LEAST.items():
            at_least(f"{self.name}.{setting}", getattr(self, setting), least)
        self.check()
        start = None
        if self.start_from is not None:
            start, record = read_snapshot(self.start_from, operator=self.name)
            place = f"{self.name}.start_from {self.start_from}"
            check_features(record, self.features, place)
            check_model(start, self.model, self.features, place)
            inputs = inputs.of(start.model, place)
        after = extended(schema, self.name, self.model, warmup=True, drift=self.drift is not None)
        return LearnStep(self, inputs, after, start)

    def check(self) -> None:
        """Refuse to watch for drifts that could change nothing, with a ConfigError."""
        if self.drift is not None and isinstance(self.schedule, Constant):
            found, wanted = "constant, which has no window to begin again", "another schedule, or no drift"
            do = "write for example schedule: {type: growing_window}"
            raise ConfigError(tell(f"{self.name}.schedule", found=found, wanted=wanted, do=do))


class LearnStep:
    """A running learner; during its warm-up it holds batches."""

    def __init__(self, learn: Learn, inputs: Inputs, schema: pl.Schema, start: Snapshot | None) -> None:
        self.schema = schema
        self.inputs = inputs
        self._learn = learn
        self._keys = Keys(learn.max_keys, None if learn.idle_ttl_ms is None else learn.idle_ttl_ms * 1e-3)
        self._learner = self._begin(start)
        self._rank = AnomalyRank(learn.anomaly_window_records)
        self._monitor = None if learn.drift is None else DriftMonitor(learn.drift, learn.anomaly_window_records)
        self._held: list[tuple[Batch, Observations]] = []
        self._last_key: object = None

    def _begin(self, start: Snapshot | None) -> OnlineEM:
        learn = self._learn
        return OnlineEM(
            self.inputs.model,
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
    def drifts(self) -> int | None:
        """How many drifts there were over the whole life; None where nobody watches."""
        return None if self._monitor is None else self._monitor.count

    def record(self) -> dict[str, Any]:
        """Return what a snapshot record says besides the snapshot: the columns that are read, and the drifts."""
        return self.inputs.record() | ({} if self.drifts is None else {"drifts": self.drifts})

    @property
    def holding(self) -> bool:
        """Whether batches wait for the start."""
        return bool(self._held)

    @property
    def last_held(self) -> Batch | None:
        """The batch that came last, while it waits for the start."""
        return self._held[-1][0] if self._held else None

    def process(self, batch: Batch) -> list[Batch]:
        """Return the batches that leave, each with its posteriors, and learn from this one."""
        if self.inputs.texts.learning:
            self._learn_names(batch)
        batch, observations = self.inputs.observe(batch)
        posteriors: list[Posterior] = []
        drifts: list[np.ndarray] = []
        for number, rows in zip(batch.numbers, batch.rows(), strict=True):
            self._whole(batch.frame[rows], number)
            part = self.inputs.with_sequences(observations[rows], batch.frame[rows], self._keys, number)
            try:
                told = self._posteriors(part)
            except ModelError as error:
                raise ModelError(f"{self._learn.name}, batch {number}: {self._named(error)}") from error
            posteriors += told
            drifts += self._watch(told, part)
            self._let_go(part)
        taken = [*self._held, (batch, observations)]
        self._held = taken if self._learner.holding else []
        return [] if self._learner.holding else self._leave(taken, posteriors, drifts)

    def _whole(self, frame: pl.DataFrame, number: int) -> None:
        """Refuse a sequence that is to be complete and goes on in another micro-batch, with a ModelError."""
        if self.inputs.key is None or self._learner.model.carries or not frame.height:
            return
        keys = frame.get_column(self.inputs.key)
        if self._last_key is not None and keys[0] == self._last_key:
            found, wanted = f"key {keys[0]!r} in this one and in the one before", "each sequence in one micro-batch"
            do = "set batch.whole_keys: true, give each sequence a key of its own, or write sequences: endless"
            raise ModelError(tell(f"{self._learn.name}, batch {number}", found=found, wanted=wanted, do=do))
        self._last_key = keys[-1]

    def _learn_names(self, batch: Batch) -> None:
        """Learn the names of categories from the rows of a batch that join the warm-up, and from no others.

        With the last of them the model gets the names, so that later rows with others are bad records.
        """
        inputs, learner = self.inputs, self._learner
        good, _ = replace(inputs, texts=inputs.texts.learned(batch.frame)).observe(batch)
        warmup = learner.warmup(len(inputs.features))
        stop = warmup - sum(len(observations) for _, observations in self._held)
        complete = good.frame.height >= stop
        if complete and learner.model.sequential and not learner.model.carries:  # such sequences are not cut
            stop = next(rows.stop for rows in good.rows() if rows.stop >= stop)
        texts = inputs.texts.learned(good.frame[:stop])
        if complete:
            model, texts = named(inputs.model, texts.names), texts.settled(inputs.operator)
            learner.model, learner.warmup_records = model, warmup  # by itself a model with names takes another warm-up
            inputs = replace(inputs, model=model)
        self.inputs = replace(inputs, texts=texts)

    def _named(self, error: ModelError) -> str:
        """Return what went wrong with the features' names: the mathematics knows columns and categories by number."""
        features, texts = self._learn.features, self.inputs.texts

        def told(found: re.Match[str]) -> str:
            feature = features[int(found[1])]
            if found[2] is None:
                return f"feature {feature}"
            category = repr(texts.names[texts.parts[feature]][int(found[2])]) if feature in texts.parts else found[2]
            return f"feature {feature}: found {category} in all"

        return re.sub(r"column (\d+) of the features(?:: found (\S+) in all)?", told, str(error))

    def _posteriors(self, observations: Observations) -> list[Posterior]:
        if len(observations) == 0:
            return []
        if self._standing_still():
            return [self._learner.follow(observations)]
        return self._learner.update(observations)

    def _watch(self, told: list[Posterior], observations: Observations) -> list[np.ndarray]:
        """Return at which rows of each a drift is detected; what was learned before it then counts for less.

        The last of `told` is that of `observations`; those before it were held for the warm-up.
        """
        if self._monitor is None or not told:
            return []
        drifts = self._monitor.watch(told[-1], np.isnan(observations.values))
        if drifts.any():
            self._learner.restart()
        return [*(np.zeros(len(posterior), np.bool_) for posterior in told[:-1]), drifts]

    def _let_go(self, observations: Observations) -> None:
        """Let keys leave whose time has come; during the warm-up none does, since its rows are gone through again."""
        if self.inputs.key is None or self._learner.holding:
            return
        newest = None if observations.time is None or not len(observations) else float(observations.time.max())
        self._learner.carry.forget(self._keys.leave(newest))

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

    def _leave(
        self, taken: list[tuple[Batch, Observations]], posteriors: list[Posterior], drifts: list[np.ndarray]
    ) -> list[Batch]:
        """Return the batches that were taken, with the posteriors of all their rows, and where drifts were detected."""
        leaving: list[Batch] = []
        posterior = Posterior.concatenate(posteriors) if posteriors else None
        drift = None if self._monitor is None else np.concatenate([np.zeros(0, np.bool_), *drifts])
        start = 0
        for batch, observations in taken:
            stop = start + len(observations)
            told = posterior[start:stop] if posterior is not None and stop > start else None
            flags = None if drift is None else drift[start:stop]
            leaving.append(attach(batch, self.inputs, told, observations, self._rank, warmup=True, drift=flags))
            start = stop
        return leaving

    def finish(self) -> list[Batch]:
        """Return nothing: rows that are still held are too few for a start, and a ModelError says so."""
        try:
            self._learner.finish()
        except ModelError as error:
            raise ModelError(f"{self._learn.name}: {self._named(error)}") from error
        return []

    def state(self) -> State:
        """Return the snapshot and the carry, where there are, the keys, the ring of the anomaly rank, the detector."""
        snapshot = self._learner.snapshot
        parts: dict[str, Any] = {"rank": self._rank.to_arrays(), "carry": self._learner.carry.to_arrays()}
        if self._monitor is not None:
            before = {"weight": self._learner.weight_before, "updates": self._learner.updates_before}
            parts |= {**self._monitor.state(), "before": (before, {})}
        return pack(parts if snapshot is None else parts | {"snapshot": snapshot.to_arrays()}, self._keys)

    def restore(self, state: State) -> None:
        """Go on from `state`."""
        self._rank = AnomalyRank.from_arrays(*unpack(state, "rank"))
        restore_keys(self._keys, state)
        if "snapshot" in state.values:
            snapshot = Snapshot.from_arrays(*unpack(state, "snapshot"))
            place = f"{self._learn.name}, checkpoint"
            check_model(snapshot, self._learn.model, self._learn.features, place)
            self.inputs = self.inputs.of(snapshot.model, place)
            self._learner = self._begin(snapshot)
            self._learner.carry = Carry.from_arrays(*unpack(state, "carry"))
        if self._monitor is not None:
            self._monitor.restore(unpack(state, "drift"), unpack(state, "drift_rank"), self._learn.name)
            before, _ = unpack(state, "before")
            self._learner.weight_before = float(before["weight"])
            self._learner.updates_before = int(before["updates"])

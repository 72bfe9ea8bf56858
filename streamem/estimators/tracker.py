"""Kalman trackers as river forecasters: known laws of motion, learned noise, one track for each key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from river.time_series.base import Forecaster
from river.utils.dataframe import to_native_frame, to_native_series

from streamem.em import AnomalyRank, Kalman
from streamem.em.model import Carried, Model
from streamem.em.observations import Array
from streamem.em.state_space import Forward
from streamem.errors import DataError, ModelError, tell
from streamem.estimators.motion import Motion
from streamem.estimators.named import ALONE
from streamem.estimators.settings import check_whole
from streamem.estimators.strangeness import UNKNOWN, among, strangeness
from streamem.estimators.track import Sighting, expected_share
from streamem.estimators.values import Frame, check_mapping, frame_of, seconds
from streamem.stream.checks import at_least

__all__ = ["KalmanTracker"]

TARGET = "y"
"""The name of what is followed where records are plain numbers."""


class KalmanTracker(Motion, Forecaster):
    """Follows what moves by known laws, at irregular times too, and learns how much noise there is.

    Parameters
    ----------
    dynamics : str
        ``constant_position``, ``constant_velocity``, ``constant_acceleration``, ``local_level``, ``local_trend`` or
        ``seasonal``; see `streamem.em.Kalman`.
    period, harmonics : int
        Of the season, in seconds; in records, where they have no time.
    observation_covariance_type : str
        ``diagonal`` or ``full``.
    gate_sigma : float, optional
        A record further from its prediction than so many standard deviations is not used.
    time : name, optional
        Of the time: seconds, a datetime or a numpy.datetime64. If left out records are one second apart.
    key : name, optional
        What tells tracks apart, such as a vehicle. If left out there is one.
    max_keys : int, optional
        Tracks at most; those not seen for longest are forgotten, and begin anew when they come again.
    batch_size : int
        Records of a micro-batch. The track itself goes on with every record, only the noise is learned batch by batch:
        at 1,000 a record costs two microseconds, at 100 six.
    schedule, warmup_records, features, anomaly_window_records, seed
        As in `GaussianMixture`. Features are settled once the start is made: a track has no place for a new one.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(1)
    >>> model = KalmanTracker(warmup_records=100)
    >>> for second in range(500):
    ...     model.learn_one({"metres": 3.0 * second + rng.gauss(0, 1)})
    >>> [abs(ahead["metres"] - 3.0 * second) < 5.0 for second, ahead in enumerate(model.forecast(3), start=500)]
    [True, True, True]
    >>> model.observation_covariance.round().tolist()
    [[1.0]]
    """

    def __init__(
        self,
        dynamics: str = "constant_velocity",
        *,
        period: int = 0,
        harmonics: int = 0,
        observation_covariance_type: str = "diagonal",
        gate_sigma: float | None = None,
        time: Any = None,
        key: Any = None,
        max_keys: int | None = None,
        schedule: Any = None,
        warmup_records: int | None = None,
        batch_size: int = 1000,
        features: Sequence[Any] | None = None,
        anomaly_window_records: int = 1000,
        seed: int = 0,
    ) -> None:
        self._scalar = False
        self._spacing = None
        self._laid = None
        self._begin(locals())

    _noted = ("scalar", "spacing")
    dynamics: Any
    period: int
    harmonics: int
    observation_covariance_type: Any
    gate_sigma: float | None

    def _model(self) -> Model:
        return Kalman(
            dynamics=self.dynamics,
            period=self.period,
            harmonics=self.harmonics,
            observation_covariance=self.observation_covariance_type,
            gate_sigma=self.gate_sigma,
        )

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"warmup_records": 4, "batch_size": 2}
        yield {"warmup_records": 4, "batch_size": 2, "time": "time", "dynamics": "local_level"}

    def learn_one(self, y: Any = None, x: Mapping[Any, Any] | None = None) -> None:
        """Learn from a record: with the others of its micro-batch, once `batch_size` are gathered.

        Parameters
        ----------
        y : number or mapping of names to numbers
            A position, with key and time in it, or one number.
        x : mapping, optional
            Key and time of a number, where they have names; whatever else is in it is ignored. Without `y` a position.

        Raises
        ------
        DataError
            A feature is text or infinite, key or time is missing, or time goes back. Nothing has changed.
        ModelError
            The start or the update degenerates. Nothing has changed, but that a record too far from all that was
            learned is left out of the micro-batch.

        Examples
        --------
        >>> model = KalmanTracker(warmup_records=4, batch_size=4)
        >>> for y in (0.0, 3.1, 5.9, 9.0):
        ...     model.learn_one(y)
        >>> 11.0 < model.predict_one() < 13.0
        True
        """
        if x is None and type(y) is dict:
            self._take(y)
            return
        self._take(self._record(y, x))
        self._scalar = self._scalar or plain_number(y, x)

    def _record(self, y: Any, x: Mapping[Any, Any] | None) -> Mapping[Any, Any]:
        """Return a record as one mapping."""
        if x is not None:
            check_mapping(x)
        if y is None and x is not None:
            return x
        if isinstance(y, Mapping) and not x:
            return y
        if isinstance(y, Mapping):
            return {**y, **{name: x[name] for name in (self.key, self.time) if x and name in x}}
        known = self._names
        if known and known != (TARGET,):
            do = "give a mapping with these names"
            raise DataError(tell("a record", found=f"{y!r}"[:60], wanted=", ".join(map(str, known)), do=do))
        return {TARGET: y, **{name: x[name] for name in (self.key, self.time) if x and name in x}}

    # ------------------------------------------------------------------------------------------------- one record

    def predict_one(self, x: Mapping[Any, Any] | None = None) -> Any:
        """Return where the next record is expected, by name, or as a number where records are numbers.

        Parameters
        ----------
        x : mapping, optional
            Key and time of the record, where they have names; its features are not looked at. Without a time it is
            as far from the last one as records were lately.

        Raises
        ------
        DataError
            The key is missing, or time goes back.
        ModelError
            The time is too far ahead to tell.

        Examples
        --------
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> abs(model.predict_one()["metres"] - 24.0) < 2.0
        True
        """
        return self.forecast(1, None if x is None else [x])[0]

    def forecast(self, horizon: int, xs: Iterable[Mapping[Any, Any]] | None = None) -> list[Any]:
        """Return where the next `horizon` records are expected: a list of mappings, or of numbers.

        Before the start it is the last value everywhere.

        Parameters
        ----------
        horizon : int
            Steps ahead. Without times of their own they are as far apart as records were lately.
        xs : iterable of mappings, optional
            Key and time of each, where they have names: the same key in all of them.

        Raises
        ------
        ConfigError
            The horizon is no whole number of at least 0.
        DataError
            The key is missing or not the same in all, a time goes back, or there are fewer `xs` than steps.
        ModelError
            A time is too far ahead to tell.

        Examples
        --------
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> [round(ahead["metres"] / 3.0) for ahead in model.forecast(3)]
        [8, 9, 10]
        """
        check_whole("forecast: horizon", horizon)
        at_least("forecast: horizon", horizon, 0)
        steps, told = int(horizon), self._ahead_of(horizon, xs)
        key = ALONE if self.key is None else self._key_of(told[0] if told else {})
        if self._learner.snapshot is None:
            return [self._as_told(self._last_row()) for _ in range(steps)]
        expected = self._track().ahead(self._ahead(key, steps, told), self._carried(key))
        return [self._as_told(row) for row in expected]

    def _ahead_of(self, horizon: int, xs: Any) -> list[Mapping[Any, Any]] | None:
        """Return the keys and times of the steps of a forecast, checked; None where they have none."""
        if xs is None:
            return None
        try:
            told = [] if isinstance(xs, Mapping) else list(xs)
        except TypeError:
            told = []
        if len(told) < horizon:
            found = f"{horizon} steps and {len(told)} records"
            raise DataError(tell("forecast", found=found, wanted="a record for each step", do="give as many records"))
        told = [{} if x is None else x for x in told]  # as river's evaluation has it for a series without features
        for x in told:
            check_mapping(x)
        keys = {} if self.key is None else dict.fromkeys(self._key_of(x) for x in told[:horizon])
        if len(keys) > 1:
            found, do = f"the keys {', '.join(map(repr, keys))}", "forecast each of them alone"
            raise DataError(tell("forecast", found=found[:120], wanted="one key in all records", do=do))
        return told

    def _ahead(self, key: Any, steps: int, xs: Sequence[Mapping[Any, Any]] | None) -> list[float]:
        """Return the seconds from the last record to each step."""
        if self.time is None or not xs or self.time not in xs[0]:
            apart = self._lately()
            return [apart * step for step in range(1, steps + 1)]
        latest = self._latest(key)
        times = np.array([seconds(self.time, x.get(self.time)) for x in xs[:steps]])
        if (np.diff(times, prepend=latest) < 0.0).any():
            found, wanted = "a time before the one before it", "times that do not go back"
            raise DataError(tell(f"time {self.time!r}", found=found, wanted=wanted, do="sort the records by time"))
        ahead: list[float] = (times - latest).tolist()
        return ahead

    def _last_row(self) -> Array:
        """Return the last numbers before the start, NaN where there was none."""
        names, gathered, held = self._names, self._gathered, self._learner.held
        rows = gathered.values if gathered.count else held[-1].values if held else np.full((1, len(names)), np.nan)
        return np.asarray(rows[-1])

    def _as_told(self, row: Array, names: Sequence[Any] | None = None, *, scalar: bool = False) -> Any:
        """Return numbers by their names, or the number where records are numbers."""
        if scalar or self._scalar:
            return float(row[0]) if len(row) else float("nan")
        return dict(zip(self._names if names is None else names, row.tolist(), strict=True))

    def filter_one(self, y: Any = None, x: Mapping[Any, Any] | None = None) -> Any:
        """Return where the thing is, given this record and those before it; nothing is learned.

        Before the start it is the record itself.

        Raises
        ------
        DataError
            As in `learn_one`.
        ModelError
            The record is too far from its prediction to tell how far.

        Examples
        --------
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> 23.0 < model.filter_one({"metres": 26.0})["metres"] < 26.0
        True
        """
        record, scalar = self._record(y, x), plain_number(y, x)
        seen, values, _ = self._seen(record)
        if seen is None:
            return self._as_told(values, self._named_in(record), scalar=scalar)
        return self._as_told(self._track().where(seen), scalar=scalar)

    def log_likelihood_one(self, y: Any = None, x: Mapping[Any, Any] | None = None) -> float:
        """Return the log-likelihood of the record in nats, given those before it; NaN before the start.

        Raises
        ------
        DataError
            As in `learn_one`.
        ModelError
            The record is too far from its prediction to tell how far.

        Examples
        --------
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> model.log_likelihood_one({"metres": 24.0}) > model.log_likelihood_one({"metres": 34.0})
        True
        """
        seen = self._seen(self._record(y, x))[0]
        return float("nan") if seen is None else seen.log_likelihood

    def score_one(self, y: Any = None, x: Mapping[Any, Any] | None = None) -> float:
        """Return how strange the record is, from 0 to 1: a rank among learned records, as in `GaussianMixture`.

        Where fewer than 100 such records were learned, what the model itself expects is compared with: the score is
        the share of records that would be nearer to their prediction, of as many features, by the chi-squared
        distribution of the squared distance of Mahalanobis. It is 0 where nothing is observed, and before the start.

        Raises
        ------
        DataError
            As in `learn_one`.

        Examples
        --------
        >>> model = KalmanTracker(warmup_records=120, batch_size=120)
        >>> for second in range(120):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> model.score_one({"metres": 360.5}) < 0.9 < model.score_one({"metres": 400.0})
        True
        """
        try:
            seen, values, pattern = self._seen(self._record(y, x))
        except ModelError:
            return 1.0
        if seen is None:
            return UNKNOWN
        windows = self._ranked()
        if pattern in windows:
            return strangeness(windows, pattern, seen.log_likelihood)
        return float(expected_share(seen.distance, int((~np.isnan(values)).sum())))

    def _seen(self, record: Mapping[Any, Any]) -> tuple[Sighting | None, Array, bytes]:
        """Return what the model says of a record, None before the start, its numbers and which are missing."""
        key = self._key_of(record)
        time = self._time_of(record, key)
        values, pattern = self._observed(record)
        if self._learner.snapshot is None:
            return None, np.array([self._checked(name, record.get(name)) for name in self._named_in(record)]), b""
        return self._track().see(values, time, self._carried(key)), values, pattern

    def _named_in(self, record: Iterable[Any]) -> Sequence[Any]:
        """Return the names of features; before the first is learned those of a record or a frame."""
        return self._names or tuple(name for name in record if name not in (self.key, self.time))

    def _step(self, values: Array, time: float, carried: Carried | None) -> Carried:
        return self._track().see(values, time, carried).left(time)

    # ------------------------------------------------------------------------------------------------- frames

    def predict_many(self, X: Any) -> Any:
        """Return where each row is, given it and those before it, as a frame like the given one.

        Before the start it is the row itself.

        Raises
        ------
        DataError, ModelError
            As `learn_many`.

        Examples
        --------
        >>> import polars as pl
        >>> model = KalmanTracker(warmup_records=8)
        >>> model.learn_many(pl.DataFrame({"metres": [3.0 * second + (-1) ** second for second in range(8)]}))
        >>> model.predict_many(pl.DataFrame({"metres": [24.0, 27.0]}))["metres"].round().to_list()
        [24.0, 27.0]
        """
        frame = frame_of(X)
        passed, values = self._told(frame)
        names = self._modelled if passed is not None else self._named_in(frame.columns)
        if passed is not None:
            values = passed.segments.restored(passed.mean) @ self._track().observation.T
        columns = {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(names)}
        return to_native_frame(columns, like=frame)

    def score_many(self, X: Any) -> Any:
        """Return how strange every row is, as a series like the frame; see `score_one`.

        Raises
        ------
        DataError
            As `learn_many`.
        ModelError
            A row is too far from everything learned to tell how far; `score_one` gives it 1.

        Examples
        --------
        >>> import polars as pl
        >>> model = KalmanTracker(warmup_records=120)
        >>> model.learn_many(pl.DataFrame({"metres": [3.0 * second + (-1) ** second for second in range(120)]}))
        >>> usual, strange = model.score_many(pl.DataFrame({"metres": [360.5, 400.0]}))
        >>> usual < 0.9 < strange
        True
        """
        frame = frame_of(X)
        passed, values = self._told(frame)
        found = np.full(len(frame), UNKNOWN)
        if passed is not None:
            missing, windows, restored = np.isnan(values), self._ranked(), passed.segments.restored
            found = expected_share(restored(passed.distance), (~missing).sum(axis=1))
            for pattern, rows in AnomalyRank.patterns(missing):
                if pattern in windows:
                    found[rows] = among(np.array(windows[pattern]), restored(passed.log_likelihood)[rows])
        return to_native_series(found, name=None if frame.implementation.is_pandas_like() else "", like=frame)

    def _told(self, frame: Frame) -> tuple[Forward | None, Array]:
        """Return what the filter finds of a frame, None before the start or of an empty one, and its numbers."""
        names = self._named_in(frame.columns)
        if not len(frame):
            return None, np.empty((0, len(names)))
        if self._learner.snapshot is None:
            return None, self._look_at(frame, names)[0]
        rows, carried = self._after_gathered(frame)
        theta = self._learner.begun().averaged
        return self._kalman().passed(theta, rows, carried, keep=False)[0], rows.values


def plain_number(y: Any, x: Mapping[Any, Any] | None) -> bool:
    """Return whether a record is a number, and no mapping of names to numbers."""
    return not isinstance(y, Mapping) and (y is not None or x is None)

"""Kalman trackers as river forecasters: known laws of motion, learned noise, one track for each key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from river.time_series.base import Forecaster
from river.utils.dataframe import to_native_frame, to_native_series

from streamem.em import Kalman, Observations, Posterior
from streamem.em.dynamics import over_columns
from streamem.em.model import Carried, Model
from streamem.em.observations import Array
from streamem.errors import ConfigError, DataError, ModelError, SnapshotError, tell
from streamem.estimators.named import ALONE
from streamem.estimators.strangeness import UNKNOWN, scores, strangeness
from streamem.estimators.values import Frame, frame_of, seconds
from streamem.estimators.written import Written

__all__ = ["KalmanTracker"]

TARGET = "y"
"""The name of what is followed where records are plain numbers."""


class KalmanTracker(Written, Forecaster):
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
        self._spacing: float | None = None
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
        """
        if x is None and type(y) is dict:
            self._take(y)
            return
        self._take(self._record(y, x))
        self._scalar = self._scalar or plain_number(y, x)

    def _record(self, y: Any, x: Mapping[Any, Any] | None) -> Mapping[Any, Any]:
        """Return a record as one mapping."""
        if y is None and x is not None:
            return x
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
            Key and time of the record, where they have names; its features are not looked at.

        Raises
        ------
        DataError
            The key or time is missing, or time goes back.
        """
        return self.forecast(1, None if x is None else [dict(x)])[0]

    def forecast(self, horizon: int, xs: Iterable[Mapping[Any, Any]] | None = None) -> list[Any]:
        """Return where the next `horizon` records are expected: a list of mappings, or of numbers.

        Before the start it is the last value everywhere.

        Parameters
        ----------
        horizon : int
            Steps ahead. Without times of their own they are as far apart as records were lately.
        xs : iterable of mappings, optional
            Key and time of each, where they have names.

        Raises
        ------
        DataError
            The key is missing, or a time goes back.
        """
        steps = int(horizon)
        told = None if xs is None else list(xs)
        if steps < 0 or (told is not None and len(told) < steps):
            found = f"{horizon} steps" + ("" if told is None else f" and {len(told)} records")
            raise DataError(tell("forecast", found=found, wanted="a record for each step", do="give as many records"))
        key = ALONE if self.key is None else self._key_of(told[0] if told else {})
        if self._learner.snapshot is None:
            return [self._as_told(self._last_row())] * steps
        begun = self._learner.begun()
        model, theta = self._kalman(), begun.averaged
        carried = self._carried(key)
        C = over_columns(model.moved(np.ones(1)), theta.noise)[2]
        if carried is None or not carried["known"][0]:
            return [self._as_told(C @ theta.initial_mean)] * steps
        ahead = self._ahead(key, steps, told)
        A = over_columns(model.moved(ahead), theta.noise)[0]
        expected = (A @ carried["mean"][0]) @ C.T
        return [self._as_told(row) for row in expected]

    def _ahead(self, key: Any, steps: int, xs: Sequence[Mapping[Any, Any]] | None) -> Array:
        """Return the seconds from the last record to each step."""
        if self.time is None or not xs or self.time not in xs[0]:
            return self._lately() * np.arange(1.0, steps + 1.0)
        latest = self._latest(key)
        times = np.array([seconds(self.time, x.get(self.time)) for x in xs[:steps]])
        if (np.diff(times, prepend=latest) < 0.0).any():
            found, wanted = "a time before the one before it", "times that do not go back"
            raise DataError(tell(f"time {self.time!r}", found=found, wanted=wanted, do="sort the records by time"))
        return times - latest

    def _lately(self) -> float:
        """Return how many seconds apart records were lately: learned ones, or those gathered until any are learned."""
        if self._spacing is not None:
            return self._spacing
        gathered = self._gathered
        latest: dict[Any, float] = {}
        apart: list[float] = []
        for key, time in zip(gathered.keys or [ALONE] * len(gathered.times), gathered.times, strict=True):
            if time > latest.get(key, time):
                apart.append(time - latest[key])
            latest[key] = time
        return float(np.median(apart)) if apart else 1.0

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
        """
        record, scalar = self._record(y, x), plain_number(y, x)
        told, values = self._said(record)
        if told is None:
            return self._as_told(values, self._named_in(record), scalar=scalar)
        theta = self._learner.begun().averaged
        C = over_columns(self._kalman().moved(np.ones(1)), theta.noise)[2]
        return self._as_told(C @ told.columns["mean"][0], scalar=scalar)

    def log_likelihood_one(self, y: Any = None, x: Mapping[Any, Any] | None = None) -> float:
        """Return the log-likelihood of the record in nats, given those before it; NaN before the start.

        Raises
        ------
        DataError
            As in `learn_one`.
        ModelError
            The record is too far from its prediction to tell how far.
        """
        told, _ = self._said(self._record(y, x))
        return float("nan") if told is None else float(told.log_likelihood[0])

    def score_one(self, y: Any = None, x: Mapping[Any, Any] | None = None) -> float:
        """Return how strange the record is, from 0 to 1: a rank among learned records, as in `GaussianMixture`.

        Raises
        ------
        DataError
            As in `learn_one`.
        """
        try:
            told, values = self._said(self._record(y, x))
        except ModelError:
            return 1.0
        if told is None:
            return UNKNOWN
        pattern = np.packbits(np.isnan(values)).tobytes()
        return strangeness(self._ranked(), pattern, float(told.log_likelihood[0]))

    def _said(self, record: Mapping[Any, Any]) -> tuple[Posterior | None, Array]:
        """Return what the model says of a record, None before the start, and its numbers."""
        key = self._key_of(record)
        time = self._time_of(record, key)
        if self._learner.snapshot is None:
            return None, np.array([self._checked(name, record.get(name)) for name in self._named_in(record)])
        values, _ = self._observed(record)
        return self._one(values, time, self._carried(key))[0], values

    def _named_in(self, record: Mapping[Any, Any]) -> Sequence[Any]:
        """Return the names of features; before the first is learned those of a record."""
        return self._names or tuple(name for name in record if name not in (self.key, self.time))

    def _one(self, values: Array, time: float, carried: Carried | None) -> tuple[Posterior, Carried | None]:
        when = None if self.time is None else np.array([time])
        rows = Observations.trusted(values[None], None, None, None, when, checked=True)
        return self._kalman().posterior(self._learner.begun().averaged, rows, carried)

    def _step(self, values: Array, time: float, carried: Carried | None) -> Carried:
        left = self._one(values, time, carried)[1]
        return {} if left is None else left

    def _note(self, rows: Observations) -> None:
        if rows.time is None:
            return
        segments = rows.segments()
        apart = np.diff(segments.sorted(rows.time))
        apart[segments.bounds[1:-1] - 1] = 0.0
        if (apart > 0.0).any():
            self._spacing = float(np.median(apart[apart > 0.0]))

    # ------------------------------------------------------------------------------------------------- frames

    def predict_many(self, X: Any) -> Any:
        """Return where each row is, given it and those before it, as a frame like the given one.

        Before the start it is the row itself.

        Raises
        ------
        DataError, ModelError
            As `learn_many`.
        """
        frame = frame_of(X)
        told, values = self._told(frame)
        names = self._modelled if told is not None else tuple(self._names)
        if told is not None:
            theta = self._learner.begun().averaged
            values = told.columns["mean"] @ over_columns(self._kalman().moved(np.ones(1)), theta.noise)[2].T
        columns = {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(names)}
        return to_native_frame(columns, like=frame)

    def score_many(self, X: Any) -> Any:
        """Return how strange every row is, as a series like the frame; see `score_one`.

        Raises
        ------
        DataError, ModelError
            As `learn_many`.
        """
        frame = frame_of(X)
        told, values = self._told(frame)
        found = np.full(len(frame), UNKNOWN)
        if told is not None:
            found = scores(self._rank, told.log_likelihood, np.isnan(values))
        return to_native_series(found, name=None if frame.implementation.is_pandas_like() else "", like=frame)

    def _told(self, frame: Frame) -> tuple[Posterior | None, Array]:
        if self._learner.snapshot is None or not len(frame):
            return None, self._read_frame(frame, self._names)[0] if len(frame) else np.empty((0, len(self._names)))
        return self._posterior_of(frame)

    # ------------------------------------------------------------------------------------------------- attributes

    def _kalman(self) -> Kalman:
        model = self._learner.model
        if not isinstance(model, Kalman):
            raise ConfigError(tell("tracker", found=model.type, wanted="a kalman model", do="load another snapshot"))
        return model

    def _matrices(self) -> tuple[Array, Array, Array]:
        theta = self._learner.begun().averaged
        A, Q, C = over_columns(self._kalman().moved(np.ones(1)), theta.noise)
        return A[0], Q[0], C

    @property
    def transition_matrix(self) -> Array:
        """A over one second, or from record to record where they have no time, shape (n, n)."""
        return self._matrices()[0]

    @property
    def transition_covariance(self) -> Array:
        """Q over one second, or from record to record, shape (n, n)."""
        return self._matrices()[1]

    @property
    def observation_matrix(self) -> Array:
        """C, shape (D, n)."""
        return self._matrices()[2]

    @property
    def observation_covariance(self) -> Array:
        """R, shape (D, D)."""
        return np.asarray(self._learner.begun().averaged.observation_covariance)

    def _drawn(self, n: int, rng: np.random.Generator, exposure: float) -> Array:  # noqa: ARG002
        theta = self._learner.begun().averaged
        return np.asarray(self._kalman().sample(theta, rng, np.array([n]))[0].values)

    @classmethod
    def _settings_of(cls, model: Model) -> dict[str, Any]:
        if not isinstance(model, Kalman):
            do = "load it with the class that is for this model"
            raise SnapshotError(tell(cls.__name__, found=f"a snapshot of {model}", wanted="a Kalman", do=do))
        names = ("dynamics", "period", "harmonics", "gate_sigma")
        return {
            **{name: getattr(model, name) for name in names},
            "observation_covariance_type": model.observation_covariance,
        }


def plain_number(y: Any, x: Mapping[Any, Any] | None) -> bool:
    """Return whether a record is a number, and no mapping of names to numbers."""
    return not isinstance(y, Mapping) and (y is not None or x is None)

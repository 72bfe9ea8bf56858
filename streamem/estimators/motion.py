"""What a tracker has learned: the matrices of its motion, the pace of its records, the settings of its snapshots."""

from typing import Any

import numpy as np

from streamem.em import Kalman, Observations
from streamem.em.model import Model
from streamem.em.observations import Array, Labels
from streamem.errors import ConfigError, SnapshotError, tell
from streamem.estimators.named import ALONE
from streamem.estimators.track import Track
from streamem.estimators.written import Written

__all__ = ["Motion"]


class Motion(Written):
    """The matrices of a tracker under its averaged parameters."""

    _laid: Track | None
    """What single records are read with; made anew for other parameters."""
    _spacing: float | None
    """How many seconds apart records were lately."""

    def _kalman(self) -> Kalman:
        model = self._learner.model
        if not isinstance(model, Kalman):
            raise ConfigError(tell("tracker", found=model.type, wanted="a kalman model", do="load another snapshot"))
        return model

    def _track(self) -> Track:
        """Return the tracker laid out for single records; anew, once its parameters are others."""
        theta = self._learner.begun().averaged
        if self._laid is None or self._laid.parameters is not theta:
            self._laid = Track(self._kalman(), theta, timed=self.time is not None)
        return self._laid

    def _note(self, rows: Observations) -> None:
        if rows.time is None or not len(rows):
            return
        segments = rows.segments()
        times, first = segments.sorted(rows.time), segments.bounds[:-1]
        apart = np.diff(times, prepend=times[0])
        apart[first] = times[first] - self._left_at(segments.sequence)
        if (apart > 0.0).any():
            self._spacing = float(np.median(apart[apart > 0.0]))

    def _left_at(self, slots: Labels) -> Array:
        """Return the time of the last record of sequences, shape (S,), NaN where there is none."""
        if self._learner.held:
            latest = self._latest_held()
            return np.array([latest.get(slot, np.nan) for slot in slots.tolist()])
        taken = self._learner.carry.take(slots)
        return np.full(len(slots), np.nan) if taken is None else np.where(taken["known"] > 0.0, taken["time"], np.nan)

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

    @property
    def transition_matrix(self) -> Array:
        """A over one second, or from record to record where they have no time, shape (n, n).

        Raises
        ------
        ModelError
            The start is not made yet.

        Examples
        --------
        >>> from streamem.estimators import KalmanTracker
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> model.transition_matrix.tolist()
        [[1.0, 1.0], [0.0, 1.0]]
        """
        return np.array(self._track().over(1.0).transition)

    @property
    def transition_covariance(self) -> Array:
        """Q over one second, or from record to record, shape (n, n).

        Raises
        ------
        ModelError
            The start is not made yet.

        Examples
        --------
        >>> from streamem.estimators import KalmanTracker
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> (model.transition_covariance < 0.01).all(axis=1).tolist()
        [True, True]
        """
        return np.array(self._track().over(1.0).noise)

    @property
    def observation_matrix(self) -> Array:
        """C, shape (D, n).

        Raises
        ------
        ModelError
            The start is not made yet.

        Examples
        --------
        >>> from streamem.estimators import KalmanTracker
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> model.observation_matrix.tolist()
        [[1.0, 0.0]]
        """
        return self._track().observation.copy()

    @property
    def observation_covariance(self) -> Array:
        """R, shape (D, D).

        Raises
        ------
        ModelError
            The start is not made yet.

        Examples
        --------
        >>> from streamem.estimators import KalmanTracker
        >>> model = KalmanTracker(warmup_records=8, batch_size=8)
        >>> for second in range(8):
        ...     model.learn_one({"metres": 3.0 * second + (-1) ** second})
        >>> model.observation_covariance.round().tolist()
        [[1.0]]
        """
        return np.array(self._learner.begun().averaged.observation_covariance)

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

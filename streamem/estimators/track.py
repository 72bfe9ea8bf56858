"""What a tracker says of one record, without the cost of a batch of one.

A batch of one record takes 100 to 400 µs through `Kalman.posterior`, nearly all of it bookkeeping. The kernel that
filters batches takes 2 to 5; here it is called with matrices that are laid out once for each time step, so that the
numbers are those of `Kalman.posterior`.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from scipy.special import chdtr

from streamem.em import Kalman
from streamem.em.dynamics import over_columns
from streamem.em.kernels.track import packed, seen
from streamem.em.model import Carried, check_finite
from streamem.em.observations import Array
from streamem.em.state_space import gates
from streamem.em.tracker import TrackerParameters
from streamem.errors import ModelError, tell

__all__ = ["Sighting", "Track", "expected_share"]

STEPS = 256
"""Time steps whose matrices are kept. Where hardly any comes twice they are made anew, which takes 10 µs."""

ONE = np.ones(1)


class Sighting(NamedTuple):
    """What a tracker says of one record.

    Parameters
    ----------
    log_likelihood, distance : float
        Of the record given those before it; the distance is the squared one of Mahalanobis.
    mean, covariance : ndarray, shapes (1, n) and (1, n, n)
        Of the state given the record too.
    """

    log_likelihood: float
    distance: float
    mean: Array
    covariance: Array

    def left(self, time: float) -> Carried:
        """Return what the record leaves to the next of its sequence."""
        return {"known": ONE, "mean": self.mean, "covariance": self.covariance, "time": np.array([time])}


class Step(NamedTuple):
    """A time step.

    Parameters
    ----------
    transition, noise : ndarray, shape (n, n)
        A and Q.
    matrices : ndarray
        All that `kernels.track.seen` takes.
    """

    transition: Array
    noise: Array
    matrices: Array


class Track:
    """A tracker and the parameters that it predicts with, laid out for one record at a time.

    Parameters
    ----------
    model : Kalman
    parameters : TrackerParameters
    timed : bool
        Whether records have a time; otherwise they are one second apart.

    Examples
    --------
    >>> theta = TrackerParameters(np.ones((1, 1)), np.eye(1), np.zeros(2), np.eye(2), np.ones(2))
    >>> track = Track(Kalman(), theta, timed=False)
    >>> seen = track.see(np.array([3.0]), 0.0, None)
    >>> round(seen.distance, 3), seen.mean[0].round(3).tolist()
    (4.5, [1.5, 0.0])
    """

    def __init__(self, model: Kalman, parameters: TrackerParameters, *, timed: bool) -> None:
        self.model, self.parameters, self.timed = model, parameters, timed
        columns = parameters.columns
        self.observation = over_columns(model.moved(ONE), parameters.noise)[2]
        n = self.observation.shape[1]
        R, m1, V1 = parameters.observation_covariance, parameters.initial_mean, parameters.initial_covariance
        self._rest = packed(self.observation, R, m1, V1, gates(model.gate_sigma, columns))
        self._begin = np.zeros(1), np.zeros((1, n)), np.zeros((1, n, n))
        self._steps: dict[float, Step] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy takes: without the steps, a megabyte at most, which are made anew."""
        return {**self.__dict__, "_steps": {}}

    def over(self, seconds: float) -> Step:
        """Return the step over so many seconds."""
        step = self._steps.get(seconds)
        if step is None:
            if len(self._steps) == STEPS:
                self._steps.clear()
            (A,), (Q,), _ = over_columns(self.model.moved(np.array([seconds])), self.parameters.noise)
            step = self._steps[seconds] = Step(A, Q, packed(A, Q, self._rest))
        return step

    def see(self, values: Array, time: float, carried: Carried | None) -> Sighting:
        """Return what the model says of a record.

        Parameters
        ----------
        values : ndarray, shape (D,)
            NaN where missing.
        time : float
            In seconds, not before that of the record before it.
        carried : Carried or None
            What its sequence takes up, one row.

        Raises
        ------
        ModelError
            The record is too far from its prediction to tell how far.
        """
        if carried is None or not carried["known"][0]:
            seconds, begin = 0.0, self._begin
        else:
            seconds = time - carried["time"].item() if self.timed else 1.0
            begin = carried["known"], carried["mean"], carried["covariance"]
        mean, covariance = np.empty_like(begin[1]), np.empty_like(begin[2])
        likelihood, distance = seen(values[None], *begin, self.over(seconds).matrices, mean, covariance)
        if likelihood - likelihood != 0.0:
            check_finite(np.array([likelihood]))
        return Sighting(likelihood, distance, mean, covariance)

    def ahead(self, seconds: Sequence[float], carried: Carried | None) -> Array:
        """Return what is expected so many seconds after the last record of a sequence, shape (U, D).

        Raises
        ------
        ModelError
            A time is too far ahead to tell.
        """
        if carried is None or not carried["known"][0]:
            expected = self.observation @ self.parameters.initial_mean
            return np.broadcast_to(expected, (len(seconds), len(expected)))
        mean = carried["mean"][0]
        with np.errstate(over="ignore", invalid="ignore"):
            if len(seconds) == 1:
                expected = self.observation.dot(self.over(seconds[0]).transition.dot(mean))[None]
            else:
                A = over_columns(self.model.moved(np.array(seconds)), self.parameters.noise)[0]
                expected = (A @ mean) @ self.observation.T
        if not isfinite(sum(expected.ravel().tolist())):
            found, wanted = f"a time {max(seconds):g} s after the last record", "one at which numbers are finite"
            raise ModelError(tell("forecast", found=found, wanted=wanted, do="look at the times"))
        return np.asarray(expected)

    def where(self, sighting: Sighting) -> Array:
        """Return the position that a state is at, shape (D,)."""
        return np.asarray(self.observation.dot(sighting.mean[0]))


def expected_share(distance: Array | float, observed: Array | int) -> Array:
    """Return the share of records that the model itself expects nearer to their prediction.

    Parameters
    ----------
    distance : float or ndarray, shape (N,)
        Squared, of Mahalanobis: as a sum of so many squared normal numbers as values are observed.
    observed : int or ndarray, shape (N,)
        Of values; where it is 0 so is the share.

    Examples
    --------
    >>> expected_share(np.array([0.0, 4.0, 4.0, 4.0]), np.array([1, 1, 2, 0])).round(3).tolist()
    [0.0, 0.954, 0.865, 0.0]
    """
    return np.where(np.equal(observed, 0), 0.0, chdtr(observed, distance))

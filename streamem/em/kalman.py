"""Kalman trackers: known dynamics over irregular times, learned noise.

References
----------
Amid and Warmuth (2020), section 3.3; Durbin and Koopman (2012) for the structural ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from streamem.em.declaration import limited
from streamem.em.dynamics import ORDERS, Dynamics, Motion, motion, noise_ranks, noise_sums, over_columns
from streamem.em.model import Carried, Expectation
from streamem.em.observations import Array, Flags, Labels, Observations
from streamem.em.one_state import OneState
from streamem.em.posterior import Kind, Posterior
from streamem.em.start import check_runs, seen_rows
from streamem.em.state_space import (
    FLOOR,
    Forward,
    Space,
    StateSpan,
    divergence,
    drawn_from,
    floored,
    floors,
    forward,
    gates,
    refused,
    tells,
    told,
    unfit,
)
from streamem.em.tracker import TrackerParameters, TrackerStatistics, guessed, likeliest_noise, tracker_from
from streamem.errors import ConfigError, ModelError, tell

__all__ = ["Kalman"]

FULL_ROUNDS = 50
"""EM iterations that turn a diagonal R into a full one."""

MANY = 60
"""Harmonics at most: the state has two numbers for each."""


@dataclass(frozen=True, kw_only=True)
class Kalman(OneState):
    """Tracks what moves by known laws, at irregular times too, and learns how much noise there is.

    Parameters
    ----------
    dynamics : str
        ``constant_position``, ``constant_velocity`` and ``constant_acceleration``, each disturbed by white noise in
        its next derivative; ``local_level``, ``local_trend`` (level and slope) and ``seasonal`` (level and harmonics)
        with a noise for each part. Every column moves so, with its own noise.
    period : int
        Of the season, in seconds; in rows, where rows have no time.
    harmonics : int
        Of the season; 0 is all, period // 2.
    observation_covariance : str
        R is ``diagonal`` or ``full``.
    sequences : str
        ``endless``: sequences go on from batch to batch, each key's filtered state is carried. ``complete``: what a
        batch holds of a sequence is all of it.
    horizon_seconds : float
        Forecast each record's sequence so far ahead, so many rows where rows have no time; 0 for no forecast.
    gate_sigma : float or None
        A row further from its prediction is an outlier: it is flagged and not used. As likely as so many standard
        deviations of one normal number. The first row of a sequence never is.

    Raises
    ------
    ConfigError
        A season without a period or with too many harmonics, either without a season, or a setting beyond its limits.

    Examples
    --------
    >>> Kalman(dynamics="constant_velocity").free_parameters(columns=2)
    4
    """

    type: Literal["kalman"] = "kalman"
    dynamics: Dynamics = "constant_velocity"
    period: int = limited(0, ge=0)
    harmonics: int = limited(0, ge=0)
    observation_covariance: Literal["diagonal", "full"] = "diagonal"
    sequences: Literal["endless", "complete"] = "endless"
    horizon_seconds: float = limited(0.0, ge=0)
    gate_sigma: float | None = limited(None, gt=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamics != "seasonal":
            for name, number in (("period", self.period), ("harmonics", self.harmonics)):
                if number:
                    found, do = f"{number} with {self.dynamics}", "take it out, or set dynamics to seasonal"
                    raise ConfigError(tell(f"kalman: {name}", found=found, wanted="dynamics seasonal with it", do=do))
            return
        if self.period < 2:
            do = "set the period of the season, in seconds or rows"
            raise ConfigError(tell("kalman: period", found=str(self.period), wanted="at least 2", do=do))
        if not 1 <= self.turns <= MANY:
            found, wanted = str(self.turns), f"1 to {MANY}"
            raise ConfigError(tell("kalman: harmonics", found=found, wanted=wanted, do="set fewer harmonics"))

    @property
    def turns(self) -> int:
        """The harmonics of the season."""
        return self.harmonics or self.period // 2

    timed = True
    combinable = ""

    @property
    def tells(self) -> Mapping[str, Kind]:
        """The columns of its posteriors."""
        return tells(gated=self.gated, ahead=self.horizon_seconds > 0.0)

    def free_parameters(self, columns: int) -> int:
        """Return how many numbers are learned from rows of so many columns."""
        noises = 2 if self.dynamics in ("local_trend", "seasonal") else 1
        return noises * columns + (
            columns if self.observation_covariance == "diagonal" else columns * (columns + 1) // 2
        )

    def moved(self, seconds: Array) -> Motion:
        """Return how a column moves over each of `seconds`."""
        return motion(self.dynamics, seconds, self.period, self.turns)

    def elapsed(self, observations: Observations, carried: Carried | None) -> Array:
        """Return the seconds before each row in the order of the segments, 0 before the first of a sequence.

        Raises
        ------
        ModelError
            Time goes back, or is missing.
        """
        segments = observations.segments()
        first = segments.bounds[:-1]
        known = carried["known"] if self.carries and carried is not None else np.zeros(len(segments))
        if observations.time is None:
            seconds = np.ones(len(observations))
            seconds[first] = known
            return seconds
        time = segments.sorted(observations.time)
        seconds = np.diff(time, prepend=np.nan)
        seconds[first] = 0.0
        if self.carries and carried is not None:
            goes_on = known > 0.0
            seconds[first[goes_on]] = time[first[goes_on]] - carried["time"][goes_on]
        if not (seconds >= 0.0).all():
            row = int(np.flatnonzero(~(seconds >= 0.0))[0])
            found = f"{seconds[row]:g} seconds after the record before it" if seconds[row] < 0.0 else "no time"
            wanted = "times that do not go back within a sequence"
            do = "sort the records by time, name their key, or in a pipeline put the operator order before"
            raise ModelError(tell(f"record {row + 1} of the batch", found=found, wanted=wanted, do=do))
        return np.asarray(seconds)

    def space(self, parameters: TrackerParameters, seconds: Array) -> tuple[Space, Motion]:
        """Return the state space of rows with so many seconds before each, and the motion over different times."""
        different, which = np.unique(seconds, return_inverse=True) if len(seconds) else (np.ones(1), np.zeros(0, int))
        with np.errstate(over="ignore", invalid="ignore"):  # `forward` tells the record that is too far
            moved = self.moved(different)
            A, Q, C = over_columns(moved, parameters.noise)
        which = np.asarray(which, np.intp)
        R, m1, V1 = parameters.observation_covariance, parameters.initial_mean, parameters.initial_covariance
        return Space(A, Q, which, C, R, m1, V1, False, gates(self.gate_sigma, parameters.columns)), moved

    def passed(
        self, parameters: TrackerParameters, observations: Observations, carried: Carried | None, *, keep: bool
    ) -> tuple[Forward, Motion]:
        """Return what the filter finds, and the motion over the different times."""
        segments = observations.segments()
        space, moved = self.space(parameters, self.elapsed(observations, carried))
        values = np.ascontiguousarray(segments.sorted(observations.values))
        return forward(space, values, segments, carried if self.carries else None, keep=keep), moved

    def expect(
        self, parameters: TrackerParameters, observations: Observations, carried: Carried | None = None
    ) -> Expectation:
        """Return the expected statistics, filtered posteriors and carry of a batch under `parameters`.

        Raises
        ------
        ModelError
            A log-likelihood is not finite, time goes back, or the rows of a sequence have different weights.
        """
        passed, moved = self.passed(parameters, observations, carried, keep=True)
        found = passed.backward(passed.segments.weights(observations), second=False)
        noise = noise_sums(moved, parameters.noise, found.noise, found.steps)
        statistics = TrackerStatistics(noise, found.See, float(found.steps[moved.seconds > 0.0].sum()), found.rows)
        return Expectation(statistics, self.told(parameters, passed), self.left(passed, observations))

    def posterior(
        self, parameters: TrackerParameters, observations: Observations, carried: Carried | None = None
    ) -> tuple[Posterior, Carried | None]:
        """Return the filtered posteriors and the carry of a batch: the E-step without statistics."""
        passed, _ = self.passed(parameters, observations, carried, keep=False)
        return self.told(parameters, passed), self.left(passed, observations)

    def smooth(
        self, parameters: TrackerParameters, observations: Observations, carried: Carried | None = None
    ) -> tuple[Array, Array]:
        """Return mean and covariance of the states given all rows of each segment, shapes (N, n) and (N, n, n)."""
        passed, _ = self.passed(parameters, observations, carried, keep=True)
        found = passed.backward(np.ones(len(passed.segments)), second=False, rows=True)
        return passed.segments.restored(found.mean), passed.segments.restored(found.covariance)

    def told(self, parameters: TrackerParameters, passed: Forward) -> Posterior:
        """Return the posteriors of the rows as they came."""
        ahead = None
        if self.horizon_seconds > 0.0:
            A, Q, _ = over_columns(self.moved(np.array([self.horizon_seconds])), parameters.noise)
            ahead = A[0], Q[0]
        columns = told(passed, gated=self.gated, ahead=ahead)
        return Posterior(passed.segments.restored(passed.log_likelihood), columns)

    def left(self, passed: Forward, observations: Observations) -> Carried | None:
        """Return what the segments leave to the next batch."""
        if not self.carries:
            return None
        segments = passed.segments
        last = np.zeros(len(segments))
        if observations.time is not None:
            last = segments.sorted(observations.time)[segments.bounds[1:] - 1]
        return {**passed.left(), "time": last}

    def span(self, observations: Observations, carried: Carried | None = None) -> StateSpan:
        """Return how much data rows are: their weight, and that of the steps that take time."""
        segments = observations.segments()
        each = segments.weights(observations)
        lengths = np.diff(segments.bounds)
        known = carried["known"] if self.carries and carried is not None else np.zeros(len(each))
        steps = np.repeat(each, lengths) @ (self.elapsed(observations, carried) > 0.0)
        return StateSpan(float(each @ lengths), float(each @ (1.0 - known)), float(steps))

    def unit(self, weight: float) -> StateSpan:
        """Return the span over which models are combined: one row of a sequence that goes on."""
        return StateSpan(weight, 0.0, weight)

    def moments(self, parameters: TrackerParameters, span: StateSpan) -> TrackerStatistics:
        """Return the statistics that the model itself expects of `span`: the inertia of an update."""
        noise = span.steps * self.ranks[:, None] * parameters.noise
        return TrackerStatistics(noise, span.weight * parameters.observation_covariance, span.steps, span.weight)

    @property
    def ranks(self) -> Array:
        """The rank of each noise, shape (B,)."""
        return noise_ranks(self.dynamics, self.period, self.turns)

    def maximize(self, statistics: TrackerStatistics, previous: TrackerParameters) -> TrackerParameters:
        """Return the parameters under which the statistics are most likely."""
        noise, R = previous.noise, previous.observation_covariance
        if statistics.steps > 0.0:
            least = FLOOR * previous.scale[: noise.size].reshape(noise.shape)
            noise = np.maximum(statistics.noise / (statistics.steps * self.ranks[:, None]), least)
        if statistics.rows > 0.0:
            R = statistics.residual / statistics.rows
            diagonal = self.observation_covariance == "diagonal"
            R = floored(np.diag(np.diagonal(R)) if diagonal else R, previous.scale[noise.size :])
        return replace(previous, noise=noise, observation_covariance=R)

    def at_floor(self, parameters: TrackerParameters) -> Flags:
        """Return whether a floor holds up a noise or R, shape (1,)."""
        size = parameters.noise.size
        low = (parameters.noise.ravel() <= 1.000001 * FLOOR * parameters.scale[:size]).any()
        return np.array([bool(low) or floors(parameters.observation_covariance, parameters.scale[size:])])

    def relative_entropy(self, old: TrackerParameters, new: TrackerParameters, span: StateSpan) -> float:
        """Return D_RE(old, new) over `span`, in nats a row."""
        ratio = old.noise / new.noise
        of_noise = 0.5 * float(self.ranks @ (ratio - np.log(ratio) - 1.0).sum(axis=1))
        of_rows = divergence(old.observation_covariance, new.observation_covariance)
        return (span.steps * of_noise + span.weight * of_rows) / span.weight

    def sampled(
        self, parameters: TrackerParameters, span: StateSpan, samples: int, rng: np.random.Generator
    ) -> TrackerStatistics:
        """Return the moments estimated from a drawn sequence of rows one second apart: unbiased."""
        drawn, _ = self.sample(parameters, rng, np.array([samples + 1]))
        free = replace(self, gate_sigma=None, sequences="complete")
        found: TrackerStatistics = free.expect(parameters, drawn).statistics
        steps, rows = span.steps / found.steps, span.weight / found.rows
        return TrackerStatistics(steps * found.noise, rows * found.residual, span.steps, span.weight)

    def sample(
        self, parameters: TrackerParameters, rng: np.random.Generator, lengths: Labels, time: Array | None = None
    ) -> tuple[Observations, Array]:
        """Return sequences of so many rows drawn from the model, and the state of each row, shape (N, n).

        `time` is that of each row; one second a row if left out.
        """
        rows = int(lengths.sum())
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        shape = Observations(np.empty((rows, parameters.columns)), sequence=sequence, time=time)
        drawn, states = drawn_from(self.space(parameters, self.elapsed(shape, None))[0], rng, lengths)
        return replace(drawn, time=time), states

    def start(self, observations: Observations, rng: np.random.Generator) -> TrackerParameters:  # noqa: ARG002
        """Return parameters fitted to warm-up rows: the likeliest noise, found directly, since EM creeps.

        Raises
        ------
        ModelError
            A likelihood is not finite, time goes back, or no sequence has more records one after another than the
            dynamics have derivatives.
        """
        self.check_support(observations)
        free = replace(self, gate_sigma=None, sequences="complete")

        def expected(parameters: TrackerParameters) -> tuple[TrackerStatistics, float]:
            found = free.expect(parameters, observations)
            return found.statistics, observations.mean(found.log_likelihood)

        best = likeliest_noise(self.begun(observations), expected, self.ranks)
        if self.observation_covariance == "full" and best.columns > 1:
            for _ in range(FULL_ROUNDS):
                best = free.maximize(expected(best)[0], best)
        return best

    def check_support(self, observations: Observations) -> None:
        """Refuse warm-up rows in which the noise of the dynamics does not show, with a ModelError."""
        seen = observations[seen_rows(observations)]
        order = ORDERS[self.dynamics]
        why = f"the noise of {self.dynamics} shows in their differences of order {order}"
        check_runs(seen, self.elapsed(seen, None), order + 1, why)

    def begun(self, observations: Observations) -> TrackerParameters:
        """Return where the search for the noise begins, and a first state as wide as anything in the rows."""
        seconds = self.elapsed(observations, None)
        states = len(self.moved(np.ones(1)).observed)
        return guessed(self.dynamics, observations, seconds, states, self.turns)

    def assemble(self, arrays: Mapping[str, Any]) -> TrackerParameters:
        """Return the parameters that `arrays` hold under the names of `TrackerParameters`.

        Raises
        ------
        SnapshotError
            They are not parameters of this model.
        """
        moved = self.moved(np.ones(1))
        theta = tracker_from(arrays, len(moved.ranks), len(moved.observed))
        diagonal = self.observation_covariance == "diagonal"
        if wrong := unfit(theta.observation_covariance, sure=True, diagonal=diagonal):
            raise refused("kalman", f"observation_covariance: {wrong[0]}", wrong[1])
        return theta

    def summary(self, parameters: TrackerParameters) -> list[dict[str, Any]]:
        """Return the noises, and the standard deviations of the observations."""
        sd = np.sqrt(np.diagonal(parameters.observation_covariance))
        return [{"noise": parameters.noise.tolist(), "observation_sd": sd.tolist()}]

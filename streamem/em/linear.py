"""Parameters and statistics of a state space with matrices of its own, and a start for them from rows.

Statistics are residuals about the matrices they were found under, and say which: with a level of 1e8, h hᵀ - A h hᵀ
would have no digit left. Added to others, they are first moved to the matrices of the first.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from streamem.em.kernels.kalman import rolled
from streamem.em.observations import Array, Observations
from streamem.em.state_space import StateSpan, refused, typical

__all__ = [
    "LDSParameters",
    "LDSStatistics",
    "lds_from",
    "least_rows",
    "long_run",
    "regressed",
    "second_moments",
    "started",
]

ROLLED = 300
"""The moments of a model without a long run are rolled over at least so many steps."""


@dataclass(frozen=True, eq=False)
class LDSParameters:
    """A linear-Gaussian state space.

    Parameters
    ----------
    transition, transition_covariance : ndarray, shape (n, n)
        A and Q.
    observation, observation_covariance : ndarray, shapes (m, n) and (m, m)
        C and R.
    initial_mean, initial_covariance : ndarray, shapes (n,) and (n, n)
    scale : ndarray, shape (n + m,)
        Variances that the floors of Q and R are relative to.
    """

    transition: Array
    observation: Array
    transition_covariance: Array
    observation_covariance: Array
    initial_mean: Array
    initial_covariance: Array
    scale: Array

    @property
    def columns(self) -> int:
        """The observed coordinates, m."""
        return len(self.observation)

    @property
    def states(self) -> int:
        """The coordinates of the state, n."""
        return len(self.transition)


@dataclass(frozen=True, eq=False)
class LDSStatistics:
    """Expected sums over sequences.

    Parameters
    ----------
    about : LDSParameters
        The residuals are w = h_{t+1} - A h_t, e = v_t - C h_t and d = h_1 - m1 with its A, C and m1.
    begun, steps, rows : float
        Sequences that begin, transitions, and rows.
    shift, scatter : ndarray, shapes (n,) and (n, n)
        d and d dᵀ.
    S00, Swh, Sww : ndarray, shape (n, n)
        h_t h_tᵀ, w h_tᵀ and w wᵀ over transitions.
    Shh, Seh, See : ndarray, shapes (n, n), (m, n) and (m, m)
        h hᵀ, e hᵀ and e eᵀ over rows.
    """

    about: LDSParameters
    begun: float
    steps: float
    rows: float
    shift: Array
    scatter: Array
    S00: Array
    Swh: Array
    Sww: Array
    Shh: Array
    Seh: Array
    See: Array

    @property
    def weight(self) -> Any:
        """How many rows there are, shape (1,)."""
        return np.array([self.rows])

    @property
    def sums(self) -> tuple[Any, ...]:
        """All of them, in order."""
        return (
            self.begun, self.steps, self.rows, self.shift, self.scatter,
            self.S00, self.Swh, self.Sww, self.Shh, self.Seh, self.See,
        )  # fmt: skip

    def __add__(self, other: "LDSStatistics") -> "LDSStatistics":
        moved = other.moved(self.about)
        return LDSStatistics(self.about, *(a + b for a, b in zip(self.sums, moved.sums, strict=True)))

    def scale(self, factor: float) -> "LDSStatistics":
        """Return the statistics with every sequence counted `factor` times."""
        return LDSStatistics(self.about, *(factor * one for one in self.sums))

    def blend(self, new: "LDSStatistics", step: float) -> "LDSStatistics":
        """Return (1 - step) self + step new."""
        return self.scale(1.0 - step) + new.scale(step)

    def moved(self, about: LDSParameters) -> "LDSStatistics":
        """Return the same sums as residuals about other matrices."""
        if about is self.about:
            return self
        shift = self.about.initial_mean - about.initial_mean
        Swh, Sww = turned(self.about.transition - about.transition, self.S00, self.Swh, self.Sww)
        Seh, See = turned(self.about.observation - about.observation, self.Shh, self.Seh, self.See)
        one = np.outer(shift, self.shift)
        scatter = self.scatter + one + one.T + self.begun * np.outer(shift, shift)
        return replace(
            self,
            about=about,
            shift=self.shift + self.begun * shift,
            scatter=scatter,
            Swh=Swh,
            Sww=Sww,
            Seh=Seh,
            See=See,
        )


def turned(change: Array, hh: Array, rh: Array, rr: Array) -> tuple[Array, Array]:
    """Return r hᵀ and r rᵀ of r + change h in the place of r."""
    if not change.any():
        return rh, rr
    cross = change @ rh.T
    return rh + change @ hh, rr + cross + cross.T + change @ hh @ change.T


def regressed(rh: Array, hh: Array) -> Array:
    """Return the matrix B that leaves the least of r - B h: rh hh⁻¹, in units in which the diagonal of hh is 1."""
    scale = np.sqrt(np.maximum(np.diagonal(hh), np.finfo(float).tiny))
    unit = hh / np.outer(scale, scale)
    try:
        found = np.linalg.solve(unit, (rh / scale).T).T
    except np.linalg.LinAlgError:
        found = np.linalg.lstsq(unit, (rh / scale).T)[0].T
    return np.asarray(found / scale)


def least_rows(learned: Collection[str], states: int, columns: int, *, diagonal: Collection[str]) -> int:
    """Return how many rows it takes to learn parts of a state space from them, rather than repeat them.

    Rows hold at least as many numbers as are learned, up to the coordinates of the state: A and C together have m n, Q
    beside them no more (Hannan and Deistler 1988). And there are at least as many as columns where R is full: some
    combination of the columns is zero in fewer, and with C across it the likelihood has no maximum.

    Parameters
    ----------
    learned, diagonal : collection of str
        The parts, and those of them that are held diagonal.
    states, columns : int
        n and m.

    Examples
    --------
    >>> least_rows("ACQR", 20, 2, diagonal=()), least_rows("ACQR", 1, 10, diagonal=())
    (42, 10)
    """
    n, m = states, columns
    numbers = 0
    if {"A", "C"} & set(learned):
        numbers += m * n if "C" in learned else min(n * n, m * n)
    if "Q" in learned:
        numbers += min(n if "Q" in diagonal else n * (n + 1) // 2, m * n)
    if "R" in learned:
        numbers += m if "R" in diagonal else m * (m + 1) // 2
    full = m if {"C", "R"} <= set(learned) and "R" not in diagonal else 0
    return max(-(-numbers // m), full)


def filled(observations: Observations) -> Array:
    """Return the values of the longest sequence, missing ones between their neighbours, shape (T, m)."""
    segments = observations.segments()
    longest = int(np.diff(segments.bounds).argmax())
    values = segments.sorted(observations.values)[segments.bounds[longest] : segments.bounds[longest + 1]]
    out = np.zeros_like(values)
    place = np.arange(len(values))
    for index, column in enumerate(values.T):
        known = ~np.isnan(column)
        if known.any():
            out[:, index] = np.interp(place, place[known], column[known])
    return np.asarray(out)


def subspace(observations: Observations, states: int) -> tuple[Array, Array]:
    """Return A and C from the singular vectors of lagged rows (Van Overschee and De Moor 1996), states of variance 1.

    A is stable: a larger eigenvalue is drawn back to the unit circle.
    """
    values = filled(observations)
    m = values.shape[1]
    lags = min(states // m + 2, max(len(values) // 2, 1))
    lagged = np.concatenate([values[lag : len(values) - lags + lag + 1] for lag in range(lags)], axis=1)
    spread = np.sqrt(typical(observations)[1])
    left, size, _ = np.linalg.svd((lagged / np.tile(spread, lags)).T, full_matrices=False)
    rank = min(states, len(size))
    observed = np.zeros((lags * m, states))
    observed[:, :rank] = left[:, :rank] * size[:rank] / np.sqrt(lagged.shape[0])
    C = observed[:m] * spread[:, None]
    A = np.linalg.lstsq(observed[:-m], observed[m:])[0] if lags > 1 else np.eye(states)
    radius = float(np.abs(np.linalg.eigvals(A)).max())
    return (A / radius * 0.999 if radius > 0.999 else A), C


def states_of(observations: Observations, C: Array) -> Array:
    """Return the states of least size that the rows of the longest sequence show, shape (T, n)."""
    return filled(observations) @ np.linalg.pinv(C).T


def started(observations: Observations, given: Mapping[str, Array], states: int) -> LDSParameters:
    """Return what is given, the rest from rows: A and C from lagged ones, covariances from what those leave."""
    n, m = states, observations.values.shape[1]
    _, variance, noise = typical(observations)
    A, C = given["A"], given["C"]
    if not A.size and not C.size:
        A, C = subspace(observations, n)
    A, C = A if A.size else np.eye(n), C if C.size else np.eye(m, n)
    found = states_of(observations, C)
    change = found[1:] - found[:-1] @ A.T if len(found) > 1 else np.ones((1, n))
    squared = 0.5 * (change**2).mean(axis=0)
    spread = np.maximum(squared, 1e-6 * squared.mean()) + np.finfo(float).tiny
    Q = given["Q"] if given["Q"].size else np.diag(spread)
    R = given["R"] if given["R"].size else np.diag(0.5 * noise)
    m1 = given["m1"] if given["m1"].size else found[0]
    V1 = given["V1"] if given["V1"].size else np.diag(found.var(axis=0) + spread)
    units = np.diagonal(Q)
    units = np.where(units > 0.0, units, max(float(units.mean()), np.finfo(float).tiny))
    return LDSParameters(A, C, Q, R, m1, V1, np.concatenate([units, np.minimum(noise, variance)]))


def second_moments(parameters: LDSParameters, span: StateSpan, *, before_first: bool) -> tuple[Array, Array]:
    """Return what the model expects of Σ h_t h_tᵀ over the transitions of `span`, and over its rows; (n, n).

    Sequences that go on count as the model is in the long run.
    """
    A, Q = parameters.transition, parameters.transition_covariance
    first = first_moment(parameters)
    if span.alive is not None:
        alive = np.append(span.begun, span.alive) if before_first else span.alive
        visits, departures = rolled(A, Q, first, alive)
        return departures, visits - span.begun * first if before_first else visits
    anywhere = long_run(parameters, span)
    going_on = span.weight - span.begun
    visits = going_on * (A @ anywhere @ A.T + Q) + span.begun * (A @ first @ A.T + Q if before_first else first)
    return going_on * anywhere + (span.begun * first if before_first else 0.0), visits


def first_moment(parameters: LDSParameters) -> Array:
    """Return E[h_1 h_1ᵀ]."""
    return parameters.initial_covariance + np.outer(parameters.initial_mean, parameters.initial_mean)


def long_run(parameters: LDSParameters, span: StateSpan) -> Array:
    """Return E[h hᵀ] in the long run; of a model without one, its mean over the steps that follow what is carried."""
    A, Q = parameters.transition, parameters.transition_covariance
    if np.abs(np.linalg.eigvals(A)).max() < 1.0:
        found = solve_discrete_lyapunov(A, Q)
    else:
        start = first_moment(parameters) if span.moment is None else span.moment
        steps = max(span.longest, ROLLED)
        found = rolled(A, Q, start, np.ones(steps))[0] / steps
    return np.asarray(0.5 * (found + found.T))


def lds_from(arrays: Mapping[str, Any], states: int) -> LDSParameters:
    """Return the parameters that `arrays` hold under the names of `LDSParameters`.

    Raises
    ------
    SnapshotError
        They are not finite numbers for so many states.
    """
    found = {field.name: np.asarray(arrays.get(field.name, ()), float) for field in fields(LDSParameters)}
    n, m = states, len(found["observation"])
    shapes = [(n, n), (m, n), (n, n), (m, m), (n,), (n, n), (n + m,)]
    for (name, array), shape in zip(found.items(), shapes, strict=True):
        if array.shape != shape or not np.isfinite(array).all():
            raise refused("lds", f"{name} of shape {array.shape}", f"finite numbers, {shape}")
    if not (found["scale"] > 0.0).all():
        raise refused("lds", "a scale that is not positive", "variances > 0")
    return LDSParameters(**found)

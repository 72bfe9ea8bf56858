"""Linear-Gaussian state spaces: h_{t+1} = A h_t + w, w ~ N(0, Q); v_t = C h_t + e, e ~ N(0, R).

What a model with given matrices (`lds`) and a tracker (`kalman`) have in common: passes over the segments of a batch,
spans, and what is asked of covariances.

References
----------
Amid and Warmuth (2020), section 3.3; Shumway and Stoffer (1982).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtrc, chdtri

from streamem.em.kernels import kalman, smoothing
from streamem.em.model import Carried, check_finite
from streamem.em.observations import Array, Labels, Observations, Segments
from streamem.em.posterior import Kind
from streamem.errors import ModelError, SnapshotError, tell

__all__ = [
    "FLOOR",
    "Backward",
    "Forward",
    "Space",
    "StateSpan",
    "carried_moment",
    "check_finite_part",
    "divergence",
    "drawn_from",
    "floored",
    "floors",
    "forward",
    "gates",
    "refused",
    "tells",
    "told",
    "typical",
    "unfit",
]

FLOOR = 1e-9
"""No eigenvalue of a learned covariance, in units of its scale, falls below this."""

ROUNDED = 1e-9
"""What is written in decimals may miss symmetry, and a singular covariance zero, by so much in units of its rows."""


@dataclass(frozen=True, eq=False)
class Space:
    """A state space as the kernels take it, for the rows of one batch.

    Parameters
    ----------
    A, Q : ndarray, shape (U, n, n)
        Different transitions, and the covariances of their noise.
    which : ndarray of int, shape (N,)
        The number of the transition into each row.
    C, R : ndarray, shapes (m, n) and (m, m)
    m1, V1 : ndarray, shapes (n,) and (n, n)
        Of the first state, or of the one before the first row.
    before_first : bool
    gate : ndarray, shape (m + 1,)
        Of `gates`.
    """

    A: Array
    Q: Array
    which: Labels
    C: Array
    R: Array
    m1: Array
    V1: Array
    before_first: bool
    gate: Array

    @property
    def matrices(self) -> tuple[Any, ...]:
        """What both kernels take, in their order."""
        return self.A, self.Q, self.C, self.R, self.m1, self.V1, self.before_first


@dataclass(frozen=True, eq=False)
class Backward:
    """What the smoother adds up, each row by the weight of its sequence; see `kernels.smoothing.smoothed`."""

    noise: Array
    S00: Array
    Swh: Array
    See: Array
    Seh: Array
    Shh: Array
    shift: Array
    scatter: Array
    steps: Array
    rows: float
    begun: float
    mean: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class Forward:
    """What the filter finds of rows in the order of their segments.

    Parameters
    ----------
    space : Space
    segments : Segments
    known, carried_mean, carried_covariance : ndarray, shapes (S,), (S, n) and (S, n, n)
        Whether a segment goes on, and what it goes on from.
    mean, covariance, innovation, log_likelihood, distance : ndarray, shapes (N, n), (N, n, n), (N, m), (N,) and (N,)
        The distance is the squared one of Mahalanobis, of a row from its prediction.
    used : ndarray of int8, shape (N,)
        3 and 2 all values, 1 some, 0 none, -1 beyond the gate.
    kept : tuple of ndarray
        Gain, F⁻¹, and F⁻¹ times the innovation, for the smoother.
    """

    space: Space
    segments: Segments
    known: Array
    carried_mean: Array
    carried_covariance: Array
    mean: Array
    covariance: Array
    innovation: Array
    log_likelihood: Array
    distance: Array
    used: Any
    kept: tuple[Array, Array, Array]

    def left(self) -> Carried:
        """Return what the segments leave to the next batch."""
        last = self.segments.bounds[1:] - 1
        return {"known": np.ones(len(last)), "mean": self.mean[last], "covariance": self.covariance[last]}

    def backward(self, weight: Array, *, second: bool, rows: bool = False) -> Backward:
        """Return the sums of the smoother.

        Parameters
        ----------
        weight : ndarray, shape (S,)
            Of each segment.
        second : bool
            Whether the second moments of states are wanted.
        rows : bool
            Whether smoothed means and covariances are, shapes (N, n) and (N, n, n).
        """
        space = self.space
        count, (m, n) = len(self.mean) if rows else 0, space.C.shape
        shapes = [space.Q.shape, (n, n), (n, n), (m, m), (m, n), (n, n), (n,), (n, n), (len(space.Q),)]
        sums: list[Any] = [np.zeros(shape) for shape in shapes]
        counts = np.zeros(2)
        each = [np.empty((count, n)), np.empty((count, n, n))]
        smoothing.smoothed(
            space.which, self.segments.bounds, self.known, self.carried_mean, self.carried_covariance, weight,
            *space.matrices, self.mean, self.covariance, self.used, *self.kept, second, *sums, counts, *each,
        )  # fmt: skip
        return Backward(*sums, *counts.tolist(), *each)


def forward(space: Space, values: Array, segments: Segments, carried: Carried | None, *, keep: bool) -> Forward:
    """Return what the filter finds; without `carried` every segment begins here. `keep` what the smoother needs.

    Raises
    ------
    ModelError
        A log-likelihood is not finite.
    """
    rows, (m, n) = len(values), space.C.shape
    known, mean0, covariance0 = np.zeros(len(segments)), np.zeros((len(segments), n)), np.zeros((len(segments), n, n))
    if carried is not None:
        known, mean0, covariance0 = carried["known"], carried["mean"], carried["covariance"]
    mean, covariance, innovation = np.empty((rows, n)), np.empty((rows, n, n)), np.empty((rows, m))
    log_likelihood, distance = np.empty(rows), np.empty(rows)
    used, kept = np.empty(rows, np.int8), rows if keep else 0
    left = (np.empty((kept, n, m)), np.empty((kept, m, m)), np.empty((kept, m)))
    A, Q, C, R, m1, V1, before_first = space.matrices
    kalman.filtered(
        values, space.which, segments.bounds, known, mean0, covariance0, A, Q, C, R, m1, V1, before_first, space.gate,
        mean, covariance, innovation, log_likelihood, distance, used, *left,
    )  # fmt: skip
    check_finite(log_likelihood)
    return Forward(
        space, segments, known, mean0, covariance0, mean, covariance, innovation, log_likelihood, distance, used, left
    )


def told(passed: Forward, *, gated: bool, ahead: tuple[Array, Array] | None) -> dict[str, Array]:
    """Return the columns of the posteriors of the rows as they came; `ahead` is A and Q from each row to the horizon.

    The arrays of `ahead` have the shapes (n, n), or (N, n, n).
    """
    columns = {"mean": passed.mean, "covariance": passed.covariance, "innovation": passed.innovation}
    if gated:
        columns["outlier"] = passed.used < 0
    if ahead is not None:
        A, Q = ahead
        C = passed.space.C
        columns["forecast"] = (passed.mean @ A.T) @ C.T
        covariance = A @ passed.covariance @ A.T + Q
        columns["forecast_covariance"] = C @ covariance @ C.T + passed.space.R
    return {name: passed.segments.restored(column) for name, column in columns.items()}


def tells(*, gated: bool, ahead: bool) -> Mapping[str, Kind]:
    """Return the columns of `told`."""
    columns: dict[str, Kind] = {"mean": "vector", "covariance": "matrix", "innovation": "vector"}
    if gated:
        columns["outlier"] = "flag"
    if ahead:
        columns |= {"forecast": "vector", "forecast_covariance": "matrix"}
    return columns


def gates(sigma: float | None, columns: int) -> Array:
    """Return the squared distance beyond which a row with 0, 1, ... values is an outlier, shape (m + 1,).

    As likely to be exceeded, whatever the number of values, as `sigma` by one normal number.

    Examples
    --------
    >>> gates(3.0, 2).round(3).tolist()
    [inf, 9.0, 11.829]
    """
    if sigma is None:
        return np.full(columns + 1, np.inf)
    return np.array([np.inf, *(chdtri(k, chdtrc(1, sigma**2)) for k in range(1, columns + 1))])


@dataclass(frozen=True, eq=False)
class StateSpan:
    """How much data a batch of sequences was.

    Parameters
    ----------
    weight : float
        Rows, by the weight of their sequences.
    begun : float
        Sequences that begin in it.
    steps : float
        Transitions with noise.
    alive : ndarray, shape (T,), or None
        How many sequences have at least 1, 2, ... T rows; None: sequences that go on.
    moment : ndarray, shape (n, n), or None
        E[h hᵀ] of what the segments go on from, where some do.
    longest : int
        Rows of the longest segment, where they go on.
    """

    weight: float
    begun: float
    steps: float
    alive: Array | None = None
    moment: Array | None = None
    longest: int = 0

    def and_rows(self, count: float) -> "StateSpan":
        """Return the span with `count` more rows of sequences that go on."""
        return replace(self, weight=self.weight + count, steps=self.steps + count)


def carried_moment(carried: Carried | None, weight: Array) -> Array | None:
    """Return the mean of h hᵀ over the segments that go on, or None where none does."""
    if carried is None:
        return None
    share = weight * carried["known"]
    if not share.sum() > 0.0:
        return None
    mean, share = carried["mean"], share / share.sum()
    return np.asarray((mean * share[:, None]).T @ mean + np.tensordot(share, carried["covariance"], 1))


def typical(observations: Observations) -> tuple[Array, Array, Array]:
    """Return mean, variance and half the mean squared difference of neighbours of each column, shapes (D,).

    The last is the variance of white noise, and knows no level. A constant column has the variance 1.
    """
    segments = observations.segments()
    values = segments.sorted(observations.values)
    inside = np.ones(len(values), bool)
    inside[segments.bounds[:-1]] = False
    mean = np.array([column[~np.isnan(column)].mean() if (~np.isnan(column)).any() else 0.0 for column in values.T])
    filled = np.where(np.isnan(values), mean, values)
    variance = ((filled - mean) ** 2).mean(axis=0)
    apart = np.diff(values, axis=0)[inside[1:]]
    known = ~np.isnan(apart)
    half = 0.5 * np.where(known, apart, 0.0) ** 2
    noise = half.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    variance = np.where(variance > 0.0, variance, 1.0)
    return mean, variance, np.where(noise > 0.0, noise, variance)


def drawn_from(space: Space, rng: np.random.Generator, lengths: Labels) -> tuple[Observations, Array]:
    """Return sequences of so many rows drawn from a state space, and the state of each row, shape (N, n)."""
    count, (m, n) = len(lengths), space.C.shape
    bounds = np.append(0, np.cumsum(lengths))
    states = np.empty((bounds[-1], n))
    roots = np.array([root(Q) for Q in space.Q])
    now = space.m1 + rng.normal(size=(count, n)) @ root(space.V1).T
    for step in range(int(lengths.max(initial=0))):
        alive = np.flatnonzero(lengths > step)
        rows = bounds[alive] + step
        if step or space.before_first:
            u = space.which[rows]
            noise = np.einsum("tij,tj->ti", roots[u], rng.normal(size=(len(rows), n)))
            now[alive] = np.einsum("tij,tj->ti", space.A[u], now[alive]) + noise
        states[rows] = now[alive]
    values = states @ space.C.T + rng.normal(size=(len(states), m)) @ root(space.R).T
    return Observations(values, sequence=np.repeat(np.arange(count), lengths)), states


def root(covariance: Array) -> Array:
    """Return X with X Xᵀ = covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def floored(covariance: Array, scale: Array) -> Array:
    """Return the covariance symmetrised and held open: no eigenvalue, in two units, is below its floor.

    In units of `scale` (variances, shape (n,)) the floor is `FLOOR`; in those of its own rows what numbers of 53 bits
    tell from zero, `least_of`.

    Raises
    ------
    ModelError
        It is not finite.
    """
    check_finite_part("a covariance", covariance)
    covariance = 0.5 * (covariance + covariance.T)
    deviation = np.sqrt(scale)
    values, vectors = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    if values[0] < FLOOR:
        held = (vectors * np.maximum(values, FLOOR)) @ vectors.T
        covariance = 0.5 * (held + held.T) * np.outer(deviation, deviation)
    # an eigenvalue in units of the rows is at least this ratio
    if max(values[0], FLOOR) >= least_of(len(scale)) * values[-1]:
        return np.asarray(covariance)
    deviation = np.sqrt(np.diagonal(covariance))
    values, vectors = np.linalg.eigh(in_units(covariance))
    if values[0] >= least_of(len(scale)):
        return np.asarray(covariance)
    held = (vectors * np.maximum(values, 2.0 * least_of(len(scale)))) @ vectors.T
    return np.asarray(0.5 * (held + held.T) * np.outer(deviation, deviation))


def least_of(size: int) -> float:
    """Return what an eigenvalue of a matrix with ones on its diagonal must be to be told from zero."""
    return 1e-13 * size


def floors(covariance: Array, scale: Array) -> bool:
    """Return whether `floored` holds the covariance up."""
    deviation = np.sqrt(scale)
    smallest = np.linalg.eigvalsh(covariance / np.outer(deviation, deviation))[0]
    nearest = np.linalg.eigvalsh(in_units(covariance))[0]
    return bool(smallest <= 1.000001 * FLOOR or nearest <= 2.1 * least_of(len(scale)))


def check_finite_part(name: str, matrix: Array) -> None:
    """Refuse what an M-step found if it is not finite, with a ModelError."""
    if np.isfinite(matrix).all():
        return
    wanted = "finite numbers"
    do = "use a smaller state_size, more warmup_records or smaller steps"
    raise ModelError(tell("the update of the state space", found=f"{name} that is not finite", wanted=wanted, do=do))


def divergence(old: Array, new: Array) -> float:
    """Return the relative entropy between normals of equal means: (tr(new⁻¹ old) - log det(new⁻¹ old) - n) / 2."""
    ratio = np.linalg.solve(new, old)
    return 0.5 * float(np.trace(ratio) - np.linalg.slogdet(ratio)[1] - len(old))


def unfit(covariance: Array, *, sure: bool, diagonal: bool = False) -> tuple[str, str] | None:
    """Return what a covariance has, and must not, and what it must be; None if it is one.

    Units may differ between its rows. Singular ones are covariances too: those of noise that moves a part of the state.

    Parameters
    ----------
    covariance : ndarray, shape (n, n)
    sure : bool
        Whether it must be positive definite.
    diagonal : bool
        Whether it must be diagonal.

    Examples
    --------
    >>> unfit(np.array([[1.0, 2.0], [2.0, 1.0]]), sure=False)
    ('the smallest eigenvalue -1', 'a symmetric, positive semi-definite matrix')
    >>> unfit(np.array([[1.0, 0.2], [0.3, 1.0]]), sure=False)[0]
    'asymmetric: [0, 1] is 0.2 and [1, 0] is 0.3'
    >>> unfit(np.ones((2, 2)), sure=False)
    """
    wanted = f"a symmetric, positive {'definite' if sure else 'semi-definite'} matrix"
    if not (finite := np.isfinite(covariance)).all():
        i, j = np.argwhere(~finite)[0]
        return f"[{i}, {j}] is {covariance[i, j]:g}", wanted
    aside = covariance - np.diag(np.diagonal(covariance))
    if diagonal and aside.any():
        i, j = np.argwhere(aside)[0]
        return f"[{i}, {j}] is {covariance[i, j]:g}", "a diagonal matrix, as it is held"
    unit = in_units(covariance)
    apart = np.abs(unit - unit.T)
    if apart.max() > ROUNDED:
        i, j = np.unravel_index(apart.argmax(), apart.shape)
        return f"asymmetric: [{i}, {j}] is {covariance[i, j]:g} and [{j}, {i}] is {covariance[j, i]:g}", wanted
    smallest = np.linalg.eigvalsh(unit)[0]
    if smallest > 0.0 or (not sure and smallest > -ROUNDED):
        return None
    return f"the smallest eigenvalue {np.linalg.eigvalsh(covariance)[0]:.3g}", wanted


def in_units(covariance: Array) -> Array:
    """Return the covariance in the units of its own rows: 1 on its diagonal, where that is positive."""
    diagonal = np.diagonal(covariance)
    deviation = np.sqrt(np.where(diagonal > 0.0, diagonal, np.abs(covariance).max() or 1.0))
    return np.asarray(covariance / deviation / deviation[:, None])


def refused(model: str, found: str, wanted: str) -> SnapshotError:
    """Return the error for parameters that no such model can have."""
    do = "use a snapshot as streamem wrote it"
    return SnapshotError(tell(f"parameters of the {model}", found=found, wanted=wanted, do=do))

"""Markov chains of hidden states: their parameters, their statistics, and how often a chain is where.

References
----------
Amid and Warmuth (2020), section 3.2. Its printed normaliser of the transitions is wrong for sequences of fixed length.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamem.em.families import Parameters
from streamem.em.kernels import compiled
from streamem.em.observations import Array, Flags, Labels
from streamem.errors import SnapshotError, tell

__all__ = [
    "RESTART",
    "ChainParameters",
    "ChainSpan",
    "ChainStatistics",
    "Usage",
    "absorbed",
    "chain_from",
    "divergences",
    "repeated",
    "stationary",
    "still_alive",
    "walked",
]

RESTART = 1e-4
"""An endless chain is taken to start anew this often: its usage is then defined whatever its transitions."""


@dataclass(frozen=True, eq=False)
class ChainParameters:
    """A chain of K states.

    Parameters
    ----------
    initial : ndarray, shape (K,)
        Probabilities of the first state.
    transition : ndarray, shape (K, K)
        ``transition[i, j]`` is the probability of j after i.
    leaving : ndarray, shape (K,)
        Of the end after i, for chains that absorb; else 0. ``transition[i].sum() + leaving[i]`` is 1.
    states : Parameters
        What each state gives rise to.
    share : ndarray, shape (K,) or (0,)
        Of the rows of complete sequences that each state had in learning: how long sequences are is no part of the
        chain, so it cannot tell. Of length 0 for other chains, and where nothing was learned.
    """

    initial: Array
    transition: Array
    leaving: Array
    states: Parameters
    share: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def columns(self) -> int:
        """D."""
        return self.states.columns

    def take(self, order: Labels) -> "ChainParameters":
        """Return the chain with state ``order[k]`` as number k."""
        return ChainParameters(
            self.initial[order],
            np.ascontiguousarray(self.transition[np.ix_(order, order)]),
            self.leaving[order],
            self.states.take(order),
            self.share[order] if self.share.size else self.share,
        )


@dataclass(frozen=True, eq=False)
class ChainStatistics:
    """Expected sums over sequences: first states (K,), transitions (K, K), ends (K,), and what the states gave.

    `share` are the rows in each state of complete sequences, (K,), as `ChainParameters.share` keeps them; else (0,).
    """

    initial: Array
    transition: Array
    leaving: Array
    states: Any
    share: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def weight(self) -> Any:
        """How many rows belong to each state, shape (K,)."""
        return self.states.weight

    def __add__(self, other: "ChainStatistics") -> "ChainStatistics":
        return ChainStatistics(
            self.initial + other.initial,
            self.transition + other.transition,
            self.leaving + other.leaving,
            self.states + other.states,
            self.share + other.share,
        )

    def scale(self, factor: float) -> "ChainStatistics":
        """Return the statistics with every sequence counted `factor` times."""
        return ChainStatistics(
            factor * self.initial,
            factor * self.transition,
            factor * self.leaving,
            self.states.scale(factor),
            factor * self.share,
        )

    def blend(self, new: "ChainStatistics", step: float) -> "ChainStatistics":
        """Return (1 - step) self + step new."""
        rest = 1.0 - step
        return ChainStatistics(
            rest * self.initial + step * new.initial,
            rest * self.transition + step * new.transition,
            rest * self.leaving + step * new.leaving,
            self.states.blend(new.states, step),
            rest * self.share + step * new.share,
        )


@dataclass(frozen=True, eq=False)
class ChainSpan:
    """How much data a batch of sequences was.

    Parameters
    ----------
    weight : float
        Rows, by the weight of their sequences.
    begun : float
        Sequences that begin in it.
    exposure : float
        Mean exposure of a row.
    alive : ndarray, shape (T,), or None
        How many sequences have at least 1, 2, ... T rows; None: chains that go on.
    """

    weight: float
    begun: float
    exposure: float = 1.0
    alive: Array | None = None

    def and_rows(self, count: float) -> "ChainSpan":
        """Return the span with `count` more sequences of one row, of exposure 1, that go on."""
        weight = self.weight + count
        exposure = (self.weight * self.exposure + count) / weight
        return replace(self, weight=weight, begun=self.begun + count, exposure=exposure)


@dataclass(frozen=True, eq=False)
class Usage:
    """How often a chain is in each state: first (K,), at all (K,), and with a next state or an end after it (K,)."""

    initial: Array
    visits: Array
    departures: Array


def stationary(parameters: ChainParameters) -> Array:
    """Return p = ε (I - (1-ε) Aᵀ)⁻¹ π: the shares of the states in a chain that now and then starts anew."""
    identity = np.eye(len(parameters.initial))
    shares = np.linalg.solve(identity - (1.0 - RESTART) * parameters.transition.T, RESTART * parameters.initial)
    shares = np.maximum(shares, 0.0)
    return np.asarray(shares / shares.sum())


def absorbed(parameters: ChainParameters) -> Array:
    """Return u = (I - Qᵀ)⁻¹ π: how often a sequence is in each state before it ends."""
    identity = np.eye(len(parameters.initial))
    return np.asarray(np.maximum(np.linalg.solve(identity - parameters.transition.T, parameters.initial), 0.0))


def repeated(parameters: ChainParameters, alive: Array) -> tuple[Array, Array]:
    """Return visits and departures of sequences of which ``alive[t]`` have more than t rows, shapes (K,)."""
    visits: tuple[Array, Array] = rolled(parameters.initial, parameters.transition, alive)
    return visits


@compiled
def rolled(initial, transition, alive):  # type: ignore[no-untyped-def]
    """Return Σ_t alive_t δ^t and Σ_t alive_{t+1} δ^t, δ^{t+1} = δ^t A."""
    states = len(initial)
    now = initial.copy()
    visits = np.zeros(states)
    departures = np.zeros(states)
    for t in range(len(alive)):
        following = np.zeros(states)
        after = alive[t + 1] if t + 1 < len(alive) else 0.0
        for i in range(states):
            visits[i] += alive[t] * now[i]
            departures[i] += after * now[i]
            for j in range(states):
                following[j] += now[i] * transition[i, j]
        now = following
    return visits, departures


def still_alive(lengths: Labels, weight: Array) -> Array:
    """Return how many sequences have at least 1, 2, ... rows, by their weight; shape (longest,)."""
    if not len(lengths):
        return np.zeros(0)
    ending = np.bincount(lengths, weights=weight)[1:]
    return np.asarray(np.cumsum(ending[::-1])[::-1], float)


def divergences(old: Array, new: Array) -> Array:
    """Return old log(old / new), 0 where old is 0; finite, but very large, where only new is 0."""
    tiny = np.finfo(float).tiny
    return np.asarray(old * (np.log(np.maximum(old, tiny)) - np.log(np.maximum(new, tiny))))


def walked(
    parameters: ChainParameters, sequences: int, rng: np.random.Generator, lengths: Labels | None = None
) -> tuple[Labels, Labels]:
    """Return states drawn from the chain: which sequence each row is of, ascending, and its state; shapes (N,).

    Parameters
    ----------
    parameters : ChainParameters
    sequences : int
    rng : numpy.random.Generator
    lengths : ndarray of int, shape (sequences,), optional
        Rows of each; left out for chains that absorb.
    """
    after = np.cumsum(np.column_stack([parameters.transition, parameters.leaving]), axis=1)
    alive: Labels = np.arange(sequences) if lengths is None else np.flatnonzero(lengths > 0)
    state: Labels = drawn(np.cumsum(parameters.initial)[None], rng.random(len(alive)))
    of, found = [alive], [state]
    while alive.size:
        if lengths is not None:
            going_on = lengths[alive] > len(of)
            alive, state = alive[going_on], state[going_on]
        state = drawn(after[state], rng.random(len(alive)))
        going_on = state < len(parameters.initial)
        alive, state = alive[going_on], state[going_on]
        of.append(alive)
        found.append(state)
    sequence = np.concatenate(of)
    order = np.argsort(sequence, kind="stable")
    return sequence[order], np.concatenate(found)[order]


def drawn(cumulative: Array, uniform: Array) -> Labels:
    """Return for each uniform number the first index of its row of `cumulative` that exceeds it."""
    scaled = uniform[:, None] * cumulative[:, -1:]
    return np.asarray((cumulative <= scaled).sum(axis=1), np.intp)


def chain_from(arrays: Mapping[str, Any], states: Parameters, allowed: Flags, *, absorbing: bool) -> ChainParameters:
    """Return the parameters that `arrays` hold under the names of `ChainParameters`.

    Raises
    ------
    SnapshotError
        They are not those of a chain with these `states`, the `allowed` transitions (K, K), and an end if `absorbing`.
    """
    k = len(allowed)
    initial, transition, leaving = (np.asarray(arrays.get(n, ()), float) for n in ("initial", "transition", "leaving"))
    if (initial.shape, transition.shape, leaving.shape, states.components) != ((k,), (k, k), (k,), k):
        raise refused(f"transitions of shape {transition.shape} and {states.components} states", f"{k} states")
    for name, rows in (("initial", initial[None]), ("transition", np.column_stack([transition, leaving]))):
        sums = rows.sum(axis=1)
        if (rows < 0.0).any():
            row = int(np.argwhere(rows < 0.0)[0, 0])
            found = f"{name}: row {row} with {rows[row].min():g} in it"
            raise refused(found, "probabilities >= 0 with the sum 1")
        if (np.abs(sums - 1.0) > 1e-9).any():
            worst = int(np.abs(sums - 1.0).argmax())
            raise refused(f"{name}: row {worst} with the sum {sums[worst]:g}", "probabilities >= 0 with the sum 1")
    if (transition[~allowed] > 0.0).any():
        raise refused("a transition that the mask forbids", "0 where the mask is 0")
    if leaving.any() and not absorbing:
        raise refused("a chain that ends", "leaving: 0 for chains that do not absorb")
    if absorbing and not np.linalg.cond(np.eye(k) - transition) < 1.0 / np.finfo(float).eps:
        raise refused("a chain that cannot end from some state", "a way out of every state")
    share = np.asarray(arrays.get("share", ()), float)
    if share.size and (share.shape != (k,) or (share < 0.0).any() or not abs(share.sum() - 1.0) <= 1e-9):
        raise refused(f"share: {share.size} numbers with the sum {share.sum():g}", f"{k} shares >= 0 with the sum 1")
    return ChainParameters(initial, transition, leaving, states, share)


def refused(found: str, wanted: str) -> SnapshotError:
    """Return the error for parameters that no chain can have."""
    do = "use a snapshot as streamem wrote it"
    return SnapshotError(tell("parameters of the hmm", found=found, wanted=wanted, do=do))

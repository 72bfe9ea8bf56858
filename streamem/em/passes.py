"""Forward and backward over the segments of a batch: filtered and smoothed probabilities of a chain's states."""

from dataclasses import dataclass

import numpy as np

from streamem.em.chain import ChainParameters
from streamem.em.kernels import chain
from streamem.em.model import Carried, check_finite
from streamem.em.observations import Array, Labels, Segments

__all__ = ["Passes", "forward"]


@dataclass(frozen=True, eq=False)
class Passes:
    """What the forward pass finds, and from it the backward pass.

    Parameters
    ----------
    parameters : ChainParameters
    segments : Segments
    ending : ndarray, shape (K,)
        How likely a segment is to end after each state; 1 where nobody knows how it goes on.
    log_density : ndarray, shape (K, N)
        Of every row in the order of the segments.
    alpha, ahead : ndarray, shape (N, K)
        Probabilities of the states given the rows of the segment up to this one, and up to the one before it.
    log_likelihood : ndarray, shape (N,)
        Of each row given those before it.
    known, state : ndarray, shapes (S,) and (S, K)
        Whether a segment goes on, and the filtered probabilities that it goes on from.
    """

    parameters: ChainParameters
    segments: Segments
    ending: Array
    log_density: Array
    alpha: Array
    ahead: Array
    log_likelihood: Array
    known: Array
    state: Array

    def left(self) -> Carried:
        """Return what the segments leave to the next batch."""
        return {"known": np.ones(len(self.segments)), "state": self.alpha[self.segments.bounds[1:] - 1]}

    def backward(self, weight: Array | None = None) -> tuple[Array, Array, Array, Array]:
        """Return smoothed probabilities (K, N), and the sums of first states (K,), transitions (K, K) and ends (K,).

        `weight` is how much each segment counts in the sums, shape (S,).
        """
        states = len(self.ending)
        gamma = np.empty((states, len(self.alpha)))
        first, ends, pairs = np.zeros(states), np.zeros(states), np.zeros((states, states))
        each = np.ones(len(self.segments)) if weight is None else weight
        chain.smoothed(
            self.parameters.transition, self.parameters.initial, self.ending, self.segments.bounds, self.known,
            self.state, each, self.alpha, self.ahead, gamma, first, pairs, ends,
        )  # fmt: skip
        return gamma, first, pairs, ends

    def likeliest(self) -> tuple[Labels, Array]:
        """Return the likeliest path of every segment (Viterbi), shape (N,), and their log probabilities, shape (S,)."""
        path, log_probability = np.empty(len(self.alpha), np.intp), np.empty(len(self.segments))
        with np.errstate(divide="ignore"):
            logs = [np.log(one) for one in (self.parameters.initial, self.parameters.transition, self.ending)]
        chain.likeliest(self.log_density, *logs, self.segments.bounds, self.known, self.state, path, log_probability)
        return path, log_probability


def forward(
    parameters: ChainParameters, ending: Array, log_density: Array, segments: Segments, carried: Carried | None
) -> Passes:
    """Return what the forward pass finds; without `carried` every segment begins here.

    Raises
    ------
    ModelError
        A log-likelihood is not finite.
    """
    states, rows = log_density.shape
    density, alpha = np.empty((rows, states)), np.empty((rows, states))
    log_likelihood, scale = np.empty(rows), np.empty(rows)
    chain.relative_densities(log_density, density, log_likelihood)
    known, state = np.zeros(len(segments)), np.zeros((len(segments), states))
    if carried is not None:
        known, state = carried["known"], carried["state"]
    chain.filtered(
        log_density, density, parameters.initial, parameters.transition, ending, segments.bounds,
        known, state, alpha, log_likelihood, scale,
    )  # fmt: skip
    with np.errstate(divide="ignore"):
        log_likelihood += np.log(scale)
    check_finite(log_likelihood)
    return Passes(parameters, segments, ending, log_density, alpha, density, log_likelihood, known, state)

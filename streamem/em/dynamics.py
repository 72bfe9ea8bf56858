"""How what a tracker follows moves: exact transitions over any time, and the noise that they gather on the way.

All are stochastic differential equations, solved: a step of 2 s is two steps of 1 s. Every observed column moves alone,
in the same way; its state is position (level), then velocity (slope), then acceleration, or the harmonics of a season.
With D columns the states of all are interleaved: the positions of all columns come first.
"""

from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Literal

import numpy as np

from streamem.em.kernels import motion as kernel
from streamem.em.observations import Array

__all__ = ["Dynamics", "Motion", "motion", "noise_ranks", "noise_start", "noise_sums", "over_columns"]

Dynamics = Literal[
    "constant_position", "constant_velocity", "constant_acceleration", "local_level", "local_trend", "seasonal"
]

ORDERS = {
    "constant_position": 1,
    "constant_velocity": 2,
    "constant_acceleration": 3,
    "local_level": 1,
    "local_trend": 2,
    "seasonal": 1,
}
"""How many integrals lie between the noise and what is observed."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How one column moves over U different times.

    Parameters
    ----------
    seconds : ndarray, shape (U,)
    transition : ndarray, shape (U, p, p)
    noise : ndarray, shape (B, U, p, p)
        The covariance that each of B independent noises of size 1 gathers.
    ranks : ndarray, shape (B,)
        Of these covariances.
    observed : ndarray, shape (p,)
        What of the state is seen.
    """

    seconds: Array
    transition: Array
    noise: Array
    ranks: Array
    observed: Array


def motion(dynamics: Dynamics, seconds: Array, period: int = 0, harmonics: int = 0) -> Motion:
    """Return how a column moves over each of `seconds`, shape (U,), all >= 0.

    Examples
    --------
    >>> cv = motion("constant_velocity", np.array([2.0]))
    >>> cv.transition[0].tolist()
    [[1.0, 2.0], [0.0, 1.0]]
    """
    if dynamics == "seasonal":
        return turning(seconds, period, harmonics)
    order = ORDERS[dynamics]
    transition, noise = integrated(seconds, order)
    if dynamics != "local_trend":
        return Motion(seconds, transition, noise[None], np.array([float(order)]), np.eye(order)[0])
    level = np.zeros_like(noise)
    level[:, 0, 0] = seconds
    return Motion(seconds, transition, np.stack([level, noise]), np.array([1.0, 2.0]), np.eye(order)[0])


@cache
def noise_ranks(dynamics: Dynamics, period: int, harmonics: int) -> Array:
    """Return the rank of each noise, shape (B,), read-only: every update asks for it five times."""
    ranks = motion(dynamics, np.ones(1), period, harmonics).ranks
    ranks.setflags(write=False)
    return ranks


def integrated(seconds: Array, order: int) -> tuple[Array, Array]:
    """Return transitions and noise of white noise integrated `order` times, shapes (U, p, p)."""
    transition, noise = np.empty((2, len(seconds), order, order))
    kernel.integrated(seconds, transition, noise)
    return transition, noise


def turning(seconds: Array, period: int, harmonics: int) -> Motion:
    """Return a level and `harmonics` of a season, each a pair that turns once in its share of the period."""
    size = 1 + 2 * harmonics
    transition, noise = np.zeros((len(seconds), size, size)), np.zeros((2, len(seconds), size, size))
    transition[:, 0, 0] = 1.0
    noise[0, :, 0, 0] = seconds
    for number in range(1, harmonics + 1):
        angle = 2.0 * np.pi * np.remainder(number * seconds / period, 1.0)
        i, j = 2 * number - 1, 2 * number
        transition[:, i, i] = transition[:, j, j] = np.cos(angle)
        transition[:, i, j] = np.sin(angle)
        transition[:, j, i] = -np.sin(angle)
        noise[1, :, i, i] = noise[1, :, j, j] = seconds
    observed = np.zeros(size)
    observed[0] = 1.0
    observed[1::2] = 1.0
    return Motion(seconds, transition, noise, np.array([1.0, 2.0 * harmonics]), observed)


def over_columns(moved: Motion, size: Array) -> tuple[Array, Array, Array]:
    """Return A (U, n, n), Q (U, n, n) and C (D, n) of D columns, `size` (B, D) their noises; n = p D."""
    count, p, _ = moved.transition.shape
    D = size.shape[1]
    A, Q = np.zeros((2, count, p * D, p * D))
    kernel.interleaved(moved.transition, moved.noise, size, A, Q)
    C = np.zeros((D, p, D))
    for j in range(D):
        C[j, :, j] = moved.observed
    return A, Q, C.reshape(D, p * D)


def noise_sums(moved: Motion, size: Array, found: Array, steps: Array) -> Array:
    """Return what each noise is expected to have done, in units of its covariance and added up; shape (B, D).

    Where several noises move the same states, each takes of the movement what it is expected to have done of it.

    Parameters
    ----------
    moved : Motion
    size : ndarray, shape (B, D)
        Of the noises, before.
    found : ndarray, shape (U, n, n)
        Expected w wᵀ, added up for each time.
    steps : ndarray, shape (U,)
        How many there were. Times of zero have no noise and are left out.
    """
    count, p, _ = moved.transition.shape
    noises, D = size.shape
    each = found.reshape(count, p, D, p, D)
    goes = moved.seconds > 0.0
    out = np.zeros((noises, D))
    if noises == 1:
        # b(s) = S b(1) S, S diagonal with powers of s: one small inverse for all times
        unit = np.linalg.inv(integrated(np.ones(1), p)[1][0])
        power = moved.seconds[goes, None] ** -(p - 0.5 - np.arange(p))
        for j in range(D):
            one = each[goes, :, j, :, j] * power[:, :, None] * power[:, None, :]
            out[0, j] = (unit * one.sum(axis=0)).sum()
        return out
    noise, steps = moved.noise[:, goes], steps[goes]
    for j in range(D):
        Q = np.tensordot(size[:, j], noise, 1)
        deviation = np.sqrt(np.diagonal(Q, axis1=1, axis2=2))
        units = deviation[:, :, None] * deviation[:, None, :]
        inverse = np.linalg.inv(Q / units) / units
        weighed = inverse @ each[goes, :, j, :, j] @ inverse
        for b in range(noises):
            q = size[b, j]
            unseen = steps @ (q * moved.ranks[b] - q * q * np.einsum("uij,uji->u", inverse, noise[b]))
            out[b, j] = unseen + q * q * np.einsum("uij,uji->", weighed, noise[b])
    return out


def noise_start(dynamics: Dynamics, differences: Array, seconds: float, harmonics: int) -> tuple[Array, Array]:
    """Return noises (B, D) and observation variances (D,) that explain half of the mean squared differences each.

    `differences` (D,) are of the order of the dynamics, between rows `seconds` apart.
    """
    order = ORDERS[dynamics]
    # the variance of the p-th difference of white noise integrated p times, over a unit of time
    gathered = (1.0, 2.0 / 3.0, 11.0 / 20.0)[order - 1] * seconds ** (2 * order - 1)
    noise = 0.5 * differences / gathered
    observation = 0.5 * differences / comb(2 * order, order)
    if dynamics == "local_trend":
        return np.stack([0.25 * differences / seconds, 0.5 * noise]), observation
    if dynamics == "seasonal":
        return np.stack([0.5 * noise, 0.25 * noise / harmonics]), observation
    return noise[None], observation

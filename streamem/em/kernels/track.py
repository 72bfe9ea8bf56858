"""One record of one track through the filter: what it takes up and the matrices of its step are few arrays.

Every array that a compiled function is called with costs a tenth of a microsecond, and `filtered` takes 22.
"""

import numpy as np

from streamem.em.kernels import compiled
from streamem.em.kernels.kalman import filtered
from streamem.em.observations import Array

__all__ = ["packed", "seen"]


def packed(*matrices: Array) -> Array:
    """Return matrices one after another in one array: A, Q, C, R, m1, V1 and gate are what `seen` takes."""
    return np.concatenate([np.ravel(matrix) for matrix in matrices])


@compiled
def seen(values, known, carried_mean, carried_covariance, matrices, mean, covariance):  # type: ignore[no-untyped-def]
    """Filter one record; return its log-likelihood and its squared distance from its prediction.

    Parameters
    ----------
    values : ndarray, shape (1, m)
        NaN where missing.
    known, carried_mean, carried_covariance : ndarray, shapes (1,), (1, n) and (1, n, n)
        Whether the sequence goes on, and what it goes on from.
    matrices : ndarray, shape (3 n n + n m + n + m m + m + 1,)
        Of `packed`.
    mean, covariance : ndarray, shapes (1, n) and (1, n, n)
        Written: of the state given the record too.
    """
    m, n = values.shape[1], mean.shape[1]
    A, Q = matrices[: n * n].reshape(1, n, n), matrices[n * n : 2 * n * n].reshape(1, n, n)
    start = 2 * n * n
    C = matrices[start : start + m * n].reshape(m, n)
    start += m * n
    R = matrices[start : start + m * m].reshape(m, m)
    start += m * m
    m1 = matrices[start : start + n]
    start += n
    V1 = matrices[start : start + n * n].reshape(n, n)
    gate = matrices[start + n * n :]
    innovation, log_likelihood, distance = np.empty((1, m)), np.empty(1), np.empty(1)
    filtered(
        values, np.zeros(1, np.int64), np.array([0, 1]), known, carried_mean, carried_covariance,
        A, Q, C, R, m1, V1, False, gate, mean, covariance, innovation, log_likelihood, distance, np.empty(1, np.int8),
        np.empty((0, n, m)), np.empty((0, m, m)), np.empty((0, m)),
    )  # fmt: skip
    return log_likelihood[0], distance[0]

"""Cholesky factors of many small matrices, inverted, in one call."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtri

from streamem.em.kernels import compiled

__all__ = ["largest_trace", "log_determinants", "whitening"]

WIDE = 48
"""Columns from which LAPACK, called a matrix at a time, is faster than the loop here."""


@compiled
def invert_factors(covariance, inverse):  # type: ignore[no-untyped-def]
    """Write L⁻¹ of every covariance LLᵀ; return the index of the first that is not positive definite, or -1."""
    count, columns, _ = covariance.shape
    factor = np.zeros((columns, columns))
    for k in range(count):
        for i in range(columns):
            for j in range(i + 1):
                total = covariance[k, i, j]
                for m in range(j):
                    total -= factor[i, m] * factor[j, m]
                if i == j:
                    if not total > 0.0:
                        return k
                    factor[i, i] = np.sqrt(total)
                else:
                    factor[i, j] = total / factor[j, j]
        for j in range(columns):
            inverse[k, j, j] = 1.0 / factor[j, j]
            for i in range(j + 1, columns):
                total = 0.0
                for m in range(j, i):
                    total -= factor[i, m] * inverse[k, m, j]
                inverse[k, i, j] = total / factor[i, i]
    return -1


def whitening(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the lower triangular inverse Cholesky factors, shape (K, D, D), and which matrix has none (-1: all have).

    Parameters
    ----------
    covariance : ndarray, shape (K, D, D)
        Only the lower triangles are read.
    """
    inverse = np.zeros(covariance.shape)
    if covariance.shape[1] < WIDE:
        return inverse, int(invert_factors(covariance, inverse))
    for k, matrix in enumerate(covariance):
        # matrix.T is Fortran-ordered: its upper triangle is the lower one of `matrix`
        factor, failed = dpotrf(matrix.T, lower=0, clean=1)
        if failed:
            return inverse, k
        inverse[k] = dtrtri(factor, lower=0, overwrite_c=1)[0].T
    return inverse, -1


@compiled
def log_determinants(inverse):  # type: ignore[no-untyped-def]
    """Return log det L⁻¹ of every factor, shape (K,)."""
    out = np.empty(len(inverse))
    for k in range(len(inverse)):
        total = 0.0
        for i in range(inverse.shape[1]):
            total += np.log(inverse[k, i, i])
        out[k] = total
    return out


@compiled
def largest_trace(inverse, scale):  # type: ignore[no-untyped-def]
    """Return the largest trace of an inverse covariance of scaled columns: Σ_ij (L⁻¹)²_ij s_j, s of shape (D,)."""
    largest = 0.0
    for k in range(len(inverse)):
        total = 0.0
        for i in range(inverse.shape[1]):
            for j in range(i + 1):
                total += inverse[k, i, j] * inverse[k, i, j] * scale[j]
        largest = max(largest, total)
    return largest

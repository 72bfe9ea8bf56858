"""One row under all components: log-likelihood and shares in one call, without the blocks that many rows need."""

import numpy as np

from streamem.em.kernels import compiled

__all__ = ["diagonal_row", "full_row", "natural_row"]

LOG_TWO_PI = 1.8378770664093453


@compiled
def full_row(values, mean, whitening, constant, weights, share):  # type: ignore[no-untyped-def]
    """Return the log-likelihood of a row and the place of its largest share; NaN where a value is missing.

    Parameters
    ----------
    values : ndarray, shape (D,)
    mean : ndarray, shape (K, D)
    whitening, constant : ndarray, shapes (K, D, D) and (K,)
        As `full.log_density` takes them.
    weights : ndarray, shape (K,)
        π_k, 0 allowed.
    share : ndarray, shape (K,)
        Written: p(k | v).
    """
    components, columns = mean.shape
    for k in range(components):
        square = 0.0
        for i in range(columns):
            white = 0.0
            for j in range(i + 1):
                white += whitening[k, i, j] * (values[j] - mean[k, j])
            square += white * white
        share[k] = constant[k] - 0.5 * square + np.log(weights[k])
    return shared(share)


@compiled
def diagonal_row(values, mean, variance, weights, share):  # type: ignore[no-untyped-def]
    """Return the same for independent columns, `variance` of shape (K, D); a missing value is left out."""
    components, columns = mean.shape
    for k in range(components):
        total = np.log(weights[k])
        for j in range(columns):
            apart = values[j] - mean[k, j]
            if apart == apart:
                total -= 0.5 * (apart * apart / variance[k, j] + np.log(variance[k, j]) + LOG_TWO_PI)
        share[k] = total
    return shared(share)


@compiled
def natural_row(values, exposure, natural, partition, base, weights, share):  # type: ignore[no-untyped-def]
    """Return the same for independent columns in their natural form; a missing value is left out.

    Parameters
    ----------
    values : ndarray, shape (D,)
    exposure : float
    natural, partition : ndarray, shape (K, D)
        θ and A(θ), for an exposure of 1.
    base : ndarray, shape (D,)
        log h of every value.
    weights, share : ndarray, shape (K,)
        As in `full_row`.
    """
    components, columns = natural.shape
    for k in range(components):
        total = np.log(weights[k])
        for j in range(columns):
            if values[j] == values[j]:
                total += values[j] * natural[k, j] - exposure * partition[k, j] + base[j]
        share[k] = total
    return shared(share)


@compiled
def shared(share):  # type: ignore[no-untyped-def]
    """Turn logarithms into shares in place; return the logarithm of their sum, and the place of the largest."""
    best = 0
    for k in range(1, len(share)):
        if share[k] > share[best]:
            best = k
    highest = share[best]
    total = 0.0
    for k in range(len(share)):
        share[k] = np.exp(share[k] - highest)
        total += share[k]
    for k in range(len(share)):
        share[k] /= total
    return highest + np.log(total), best

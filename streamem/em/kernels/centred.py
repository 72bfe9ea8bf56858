"""Centred statistics: weights, means, and scatters about those means."""

import numpy as np

from streamem.em.kernels import compiled

__all__ = ["add", "normalise", "settle"]


@compiled
def add(weight, mean, scatter, times, weight_b, mean_b, scatter_b, times_b):  # type: ignore[no-untyped-def]
    """Return the statistics of both sets of rows together (Chan, Golub and LeVeque 1979).

    Parameters
    ----------
    weight, mean, scatter : ndarray, shapes (K,), (K, D) and (K, D, C)
        C = D for matrices, 1 for diagonals. Those of `b` likewise.
    times, times_b : float
        How often each row counts.
    """
    components, columns = mean.shape
    weight_sum = np.empty_like(weight)
    mean_sum = np.empty_like(mean)
    scatter_sum = np.empty_like(scatter)
    gap = np.empty(columns)
    for k in range(components):
        total = times * weight[k] + times_b * weight_b[k]
        share = times_b * weight_b[k] / total if total > 0.0 else 0.0
        both = times * weight[k] * share
        for i in range(columns):
            gap[i] = mean_b[k, i] - mean[k, i]
            mean_sum[k, i] = mean[k, i] + share * gap[i]
        for i in range(columns):
            for j in range(scatter.shape[2]):
                other = gap[i] if scatter.shape[2] == 1 else gap[j]
                scatters = times * scatter[k, i, j] + times_b * scatter_b[k, i, j]
                scatter_sum[k, i, j] = scatters + both * (gap[i] * other)
        weight_sum[k] = total
    return weight_sum, mean_sum, scatter_sum


@compiled
def settle(weight, shift, mean, scatter):  # type: ignore[no-untyped-def]
    """Move sums about an old mean to their own mean, in place; return that mean.

    Parameters
    ----------
    weight, shift, mean : ndarray, shapes (K,), (K, D), (K, D)
        Weight of the rows, weighted sum of v - μ, and the μ that they were taken about.
    scatter : ndarray, shape (K, D, D) or (K, D, 1)
        Weighted sum of squares of v - μ, of matrices the lower triangle; on return about the new mean, and symmetric.
    """
    components, columns = mean.shape
    moved = mean.copy()
    delta = np.empty(columns)
    for k in range(components):
        for i in range(columns):
            delta[i] = shift[k, i] / weight[k] if weight[k] > 0.0 else 0.0
            moved[k, i] += delta[i]
        if scatter.shape[2] == 1:
            for i in range(columns):
                scatter[k, i, 0] -= weight[k] * delta[i] * delta[i]
        else:
            for i in range(columns):
                for j in range(i + 1):
                    scatter[k, i, j] -= weight[k] * delta[i] * delta[j]
                    scatter[k, j, i] = scatter[k, i, j]
    return moved


@compiled
def normalise(weight, mean, scatter, old_mean, old_covariance, pooled, spherical):  # type: ignore[no-untyped-def]
    """Return means and covariances of components; one without any weight keeps the old ones.

    Parameters
    ----------
    weight, mean, scatter : ndarray, shapes (K,), (K, D) and (K, D, D) or (K, D, 1)
    old_mean, old_covariance : ndarray, shapes of `mean` and `scatter`
    pooled : bool
        One covariance for all components: scatters add up.
    spherical : bool
        One variance for all columns, of diagonals.
    """
    new_mean = np.empty_like(mean)
    covariance = np.empty_like(scatter)
    components, columns, width = scatter.shape
    for k in range(components):
        alive = weight[k] > np.finfo(np.float64).tiny
        for i in range(columns):
            new_mean[k, i] = mean[k, i] if alive else old_mean[k, i]
            for j in range(width):
                covariance[k, i, j] = scatter[k, i, j] / weight[k] if alive else old_covariance[k, i, j]
        if spherical and alive:
            total = 0.0
            for i in range(columns):
                total += covariance[k, i, 0]
            for i in range(columns):
                covariance[k, i, 0] = total / columns
    if pooled:
        total = weight.sum()
        for i in range(columns):
            for j in range(width):
                both = 0.0
                for k in range(components):
                    both += scatter[k, i, j]
                for k in range(components):
                    covariance[k, i, j] = both / total
    return new_mean, covariance

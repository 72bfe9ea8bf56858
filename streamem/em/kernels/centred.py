"""Addition of centred statistics: weights, means, and scatters about those means."""

import numpy as np

from streamem.em.kernels import compiled

__all__ = ["add"]


@compiled
def add(weight, mean, scatter, weight_b, mean_b, scatter_b):  # type: ignore[no-untyped-def]
    """Return the statistics of both sets of rows together (Chan, Golub and LeVeque 1979).

    Parameters
    ----------
    weight, mean, scatter : ndarray, shapes (K,), (K, D) and (K, D, C)
        C = D for matrices, 1 for diagonals. Those of `b` likewise.
    """
    components, columns = mean.shape
    weight_sum = np.empty_like(weight)
    mean_sum = np.empty_like(mean)
    scatter_sum = np.empty_like(scatter)
    gap = np.empty(columns)
    for k in range(components):
        total = weight[k] + weight_b[k]
        share = weight_b[k] / total if total > 0.0 else 0.0
        both = weight[k] * share
        for i in range(columns):
            gap[i] = mean_b[k, i] - mean[k, i]
            mean_sum[k, i] = mean[k, i] + share * gap[i]
        for i in range(columns):
            for j in range(scatter.shape[2]):
                other = gap[i] if scatter.shape[2] == 1 else gap[j]
                scatter_sum[k, i, j] = scatter[k, i, j] + scatter_b[k, i, j] + both * (gap[i] * other)
        weight_sum[k] = total
    return weight_sum, mean_sum, scatter_sum

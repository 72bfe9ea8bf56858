"""Gaussian components with independent columns; a missing value (NaN) is taken as its expectation."""

import numpy as np

from streamem.em.kernels import BLOCK, compiled
from streamem.em.kernels.full import load

__all__ = ["accumulate", "log_density"]


@compiled
def log_density(values, mean, variance, out):  # type: ignore[no-untyped-def]
    """Write log N(v_n; μ_k, diag σ²_k) of the observed columns for every component and row.

    Parameters
    ----------
    values : ndarray, shape (N, D)
        NaN where missing.
    mean, variance : ndarray, shape (K, D)
    out : ndarray, shape (K, N)
        Written.
    """
    rows, columns = values.shape
    block = np.empty((columns, BLOCK))
    square = np.empty(BLOCK)
    logarithm = np.log(2.0 * np.pi * variance)
    precision = 1.0 / variance
    complete = not np.isnan(values).any()
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        load(values, start, n, block)
        for k in range(mean.shape[0]):
            constant = logarithm[k].sum() if complete else 0.0
            for b in range(n):
                square[b] = constant
            j = 0
            while complete and j + 4 <= columns:
                # four columns at once: one load and store of `square` for four of them
                m0, m1, m2, m3 = mean[k, j], mean[k, j + 1], mean[k, j + 2], mean[k, j + 3]
                p0, p1, p2, p3 = precision[k, j], precision[k, j + 1], precision[k, j + 2], precision[k, j + 3]
                for b in range(n):
                    d0, d1, d2, d3 = block[j, b] - m0, block[j + 1, b] - m1, block[j + 2, b] - m2, block[j + 3, b] - m3
                    square[b] += d0 * d0 * p0 + d1 * d1 * p1 + d2 * d2 * p2 + d3 * d3 * p3
                j += 4
            while j < columns:
                m0, p0, added = mean[k, j], precision[k, j], 0.0 if complete else logarithm[k, j]
                for b in range(n):
                    d0 = block[j, b] - m0
                    square[b] += 0.0 if np.isnan(d0) else d0 * d0 * p0 + added
                j += 1
            for b in range(n):
                out[k, start + b] = -0.5 * square[b]


@compiled
def accumulate(values, responsibility, mean, variance, weight, shift, scatter):  # type: ignore[no-untyped-def]
    """Add the weighted sums of v_n - μ_k over the rows, and of its square by column, to the last three arguments.

    Where a value is missing it counts as μ_k, and σ²_k is its square: what the component expects of it.

    Parameters
    ----------
    values : ndarray, shape (N, D)
    responsibility : ndarray, shape (K, N)
    mean, variance : ndarray, shape (K, D)
    weight, shift, scatter : ndarray, shapes (K,), (K, D), (K, D)
        Added to.
    """
    rows, columns = values.shape
    block = np.empty((columns, BLOCK))
    complete = not np.isnan(values).any()
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        load(values, start, n, block)
        for k in range(mean.shape[0]):
            share = responsibility[k, start : start + n]
            total = 0.0
            for b in range(n):
                total += share[b]
            weight[k] += total
            j = 0
            while complete and j + 2 <= columns:
                m0, m1 = mean[k, j], mean[k, j + 1]
                f0 = f1 = s0 = s1 = 0.0
                for b in range(n):
                    r, d0, d1 = share[b], block[j, b] - m0, block[j + 1, b] - m1
                    f0 += r * d0
                    f1 += r * d1
                    s0 += r * d0 * d0
                    s1 += r * d1 * d1
                shift[k, j] += f0
                shift[k, j + 1] += f1
                scatter[k, j] += s0
                scatter[k, j + 1] += s1
                j += 2
            while j < columns:
                m0, expected = mean[k, j], variance[k, j]
                f0 = s0 = 0.0
                for b in range(n):
                    d0 = block[j, b] - m0
                    f0 += 0.0 if np.isnan(d0) else share[b] * d0
                    s0 += share[b] * (expected if np.isnan(d0) else d0 * d0)
                shift[k, j] += f0
                scatter[k, j] += s0
                j += 1

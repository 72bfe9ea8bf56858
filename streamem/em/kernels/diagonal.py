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
    complete = not np.isnan(values).any()
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        load(values, start, n, block)
        for k in range(mean.shape[0]):
            constant = 0.0
            for b in range(n):
                square[b] = 0.0
            for j in range(columns):
                centre = mean[k, j]
                precision = 1.0 / variance[k, j]
                logarithm = np.log(2.0 * np.pi * variance[k, j])
                if complete:
                    constant += logarithm
                    for b in range(n):
                        apart = block[j, b] - centre
                        square[b] += apart * apart * precision
                else:
                    for b in range(n):
                        apart = block[j, b] - centre
                        square[b] += 0.0 if np.isnan(apart) else apart * apart * precision + logarithm
            for b in range(n):
                out[k, start + b] = -0.5 * (constant + square[b])


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
            for j in range(columns):
                centre = mean[k, j]
                first = 0.0
                second = 0.0
                if complete:
                    for b in range(n):
                        apart = block[j, b] - centre
                        first += share[b] * apart
                        second += share[b] * apart * apart
                else:
                    expected = variance[k, j]
                    for b in range(n):
                        apart = block[j, b] - centre
                        first += 0.0 if np.isnan(apart) else share[b] * apart
                        second += share[b] * (expected if np.isnan(apart) else apart * apart)
                shift[k, j] += first
                scatter[k, j] += second

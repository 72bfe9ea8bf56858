"""Rows with missing values (NaN) under Gaussian components with full covariance.

The missing part of a row is marginalised: its density is that of the observed part, and in the statistics it counts
as its conditional expectation given the observed part, with its conditional covariance added to the scatter. Rows of
one pattern of missing values follow each other, so that each pattern is factorised once a component.
"""

import numpy as np

from streamem.em.kernels import compiled

__all__ = ["accumulate", "log_density"]


@compiled
def same_pattern(values, first, row):  # type: ignore[no-untyped-def]
    """Return whether two rows miss the same columns."""
    for j in range(values.shape[1]):
        if np.isnan(values[first, j]) != np.isnan(values[row, j]):
            return False
    return True


@compiled
def split(values, row, observed, missing):  # type: ignore[no-untyped-def]
    """Write the observed and the missing columns of a row; return how many are observed."""
    seen = 0
    hidden = 0
    for j in range(values.shape[1]):
        if np.isnan(values[row, j]):
            missing[hidden] = j
            hidden += 1
        else:
            observed[seen] = j
            seen += 1
    return seen


@compiled
def factorise(covariance, observed, seen, factor):  # type: ignore[no-untyped-def]
    """Write the Cholesky factor of the observed block of a covariance."""
    for i in range(seen):
        for j in range(i + 1):
            total = covariance[observed[i], observed[j]]
            for m in range(j):
                total -= factor[i, m] * factor[j, m]
            factor[i, j] = np.sqrt(total) if i == j else total / factor[j, j]


@compiled
def whiten(factor, seen, vector):  # type: ignore[no-untyped-def]
    """Solve factor · x = vector in place."""
    for i in range(seen):
        total = vector[i]
        for m in range(i):
            total -= factor[i, m] * vector[m]
        vector[i] = total / factor[i, i]


@compiled
def log_density(values, mean, covariance, out):  # type: ignore[no-untyped-def]
    """Write the log density of the observed part of every row under every component.

    Parameters
    ----------
    values : ndarray, shape (N, D)
        Sorted so that rows of one pattern follow each other.
    mean, covariance : ndarray, shapes (K, D) and (K, D, D)
    out : ndarray, shape (K, N)
        Written; 0 for a row that is missing altogether.
    """
    rows, columns = values.shape
    observed = np.empty(columns, np.int64)
    missing = np.empty(columns, np.int64)
    factor = np.empty((columns, columns))
    apart = np.empty(columns)
    first = 0
    while first < rows:
        last = first + 1
        while last < rows and same_pattern(values, first, last):
            last += 1
        seen = split(values, first, observed, missing)
        for k in range(mean.shape[0]):
            factorise(covariance[k], observed, seen, factor)
            constant = seen * np.log(2.0 * np.pi)
            for i in range(seen):
                constant += 2.0 * np.log(factor[i, i])
            for n in range(first, last):
                for i in range(seen):
                    apart[i] = values[n, observed[i]] - mean[k, observed[i]]
                whiten(factor, seen, apart)
                square = 0.0
                for i in range(seen):
                    square += apart[i] * apart[i]
                out[k, n] = -0.5 * (constant + square)
        first = last


@compiled
def accumulate(values, responsibility, mean, covariance, weight, shift, scatter):  # type: ignore[no-untyped-def]
    """Add the expected weighted sums of v_n - μ_k, and of its square, to the last three arguments.

    Parameters
    ----------
    values : ndarray, shape (N, D)
        Sorted so that rows of one pattern follow each other.
    responsibility : ndarray, shape (K, N)
    mean, covariance : ndarray, shapes (K, D) and (K, D, D)
    weight, shift, scatter : ndarray, shapes (K,), (K, D), (K, D, D)
        Added to; of the scatter the lower triangle only.
    """
    rows, columns = values.shape
    observed = np.empty(columns, np.int64)
    missing = np.empty(columns, np.int64)
    factor = np.empty((columns, columns))
    # rows of `regression`: L⁻¹ Σ_om, one for each missing column
    regression = np.empty((columns, columns))
    white = np.empty(columns)
    apart = np.empty(columns)
    first = 0
    while first < rows:
        last = first + 1
        while last < rows and same_pattern(values, first, last):
            last += 1
        seen = split(values, first, observed, missing)
        hidden = columns - seen
        for k in range(mean.shape[0]):
            factorise(covariance[k], observed, seen, factor)
            for h in range(hidden):
                for i in range(seen):
                    regression[h, i] = covariance[k, observed[i], missing[h]]
                whiten(factor, seen, regression[h])
            total = 0.0
            for n in range(first, last):
                share = responsibility[k, n]
                if share == 0.0:
                    continue
                total += share
                for i in range(seen):
                    white[i] = values[n, observed[i]] - mean[k, observed[i]]
                    apart[observed[i]] = white[i]
                whiten(factor, seen, white)
                for h in range(hidden):
                    expected = 0.0
                    for i in range(seen):
                        expected += regression[h, i] * white[i]
                    apart[missing[h]] = expected
                for i in range(columns):
                    shift[k, i] += share * apart[i]
                    for j in range(i + 1):
                        scatter[k, i, j] += share * apart[i] * apart[j]
            weight[k] += total
            for h in range(hidden):
                for g in range(h + 1):
                    remains = covariance[k, missing[h], missing[g]]
                    for i in range(seen):
                        remains -= regression[h, i] * regression[g, i]
                    # missing columns are in ascending order, so (h, g) is in the lower triangle
                    scatter[k, missing[h], missing[g]] += total * remains
        first = last

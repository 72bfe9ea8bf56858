"""Gaussian components with full covariance, for rows of up to about a hundred columns."""

import numpy as np

from streamem.em.kernels import BLOCK, compiled

__all__ = ["accumulate", "log_density"]


@compiled
def load(values, start, n, block):  # type: ignore[no-untyped-def]
    """Copy rows `start` to `start + n` into `block`, columns first."""
    for b in range(n):
        for j in range(values.shape[1]):
            block[j, b] = values[start + b, j]


@compiled
def log_density(values, mean, whitening, constant, out):  # type: ignore[no-untyped-def]
    """Write log N(v_n; μ_k, Σ_k) for every component and row.

    Parameters
    ----------
    values : ndarray, shape (N, D)
    mean : ndarray, shape (K, D)
    whitening : ndarray, shape (K, D, D)
        Lower triangular inverse of the Cholesky factor of Σ_k; what is above the diagonal is not read.
    constant : ndarray, shape (K,)
        -D/2 log 2π - log det(Σ_k)/2.
    out : ndarray, shape (K, N)
        Written.
    """
    rows, columns = values.shape
    block = np.empty((columns, BLOCK))
    apart = np.empty((columns, BLOCK))
    white = np.empty(BLOCK)
    square = np.empty(BLOCK)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        load(values, start, n, block)
        for k in range(mean.shape[0]):
            for j in range(columns):
                centre = mean[k, j]
                for b in range(n):
                    apart[j, b] = block[j, b] - centre
            for b in range(n):
                square[b] = 0.0
            for i in range(columns):
                factor = whitening[k, i]
                j = multiply_first(factor, apart, i + 1, white, n)
                while j < i + 1:
                    # four columns at once: one load and store of `white` for four multiplications
                    f0, f1, f2, f3 = factor[j], factor[j + 1], factor[j + 2], factor[j + 3]
                    for b in range(n):
                        white[b] += (
                            f0 * apart[j, b] + f1 * apart[j + 1, b] + f2 * apart[j + 2, b] + f3 * apart[j + 3, b]
                        )
                    j += 4
                for b in range(n):
                    square[b] += white[b] * white[b]
            for b in range(n):
                out[k, start + b] = constant[k] - 0.5 * square[b]


@compiled
def multiply_first(factor, apart, count, white, n):  # type: ignore[no-untyped-def]
    """Begin a product over `count` columns with so many that a multiple of four is left; return how many."""
    first = (count - 1) % 4 + 1
    if first == 1:
        f0 = factor[0]
        for b in range(n):
            white[b] = f0 * apart[0, b]
    elif first == 2:
        f0, f1 = factor[0], factor[1]
        for b in range(n):
            white[b] = f0 * apart[0, b] + f1 * apart[1, b]
    elif first == 3:
        f0, f1, f2 = factor[0], factor[1], factor[2]
        for b in range(n):
            white[b] = f0 * apart[0, b] + f1 * apart[1, b] + f2 * apart[2, b]
    else:
        f0, f1, f2, f3 = factor[0], factor[1], factor[2], factor[3]
        for b in range(n):
            white[b] = f0 * apart[0, b] + f1 * apart[1, b] + f2 * apart[2, b] + f3 * apart[3, b]
    return first


@compiled
def accumulate(values, responsibility, mean, weight, shift, scatter):  # type: ignore[no-untyped-def]
    """Add the weighted sums of v_n - μ_k over the rows, and of its square, to the last three arguments.

    Parameters
    ----------
    values : ndarray, shape (N, D)
    responsibility : ndarray, shape (K, N)
        Row weights are in it.
    mean : ndarray, shape (K, D)
        The old means: every component is accumulated about its own.
    weight, shift, scatter : ndarray, shapes (K,), (K, D), (K, D, D)
        Added to; of the scatter the lower triangle only.
    """
    rows, columns = values.shape
    block = np.empty((columns, BLOCK))
    apart = np.empty((columns, BLOCK))
    weighted = np.empty(BLOCK)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        load(values, start, n, block)
        for k in range(mean.shape[0]):
            share = responsibility[k, start : start + n]
            total = 0.0
            for b in range(n):
                total += share[b]
            weight[k] += total
            for i in range(columns):
                centre = mean[k, i]
                for b in range(n):
                    apart[i, b] = block[i, b] - centre
                    weighted[b] = share[b] * apart[i, b]
                # a loop of its own: beside stores, LLVM falls back to another order of this sum where arrays lie close
                total = 0.0
                for b in range(n):
                    total += weighted[b]
                shift[k, i] += total
                j = 0
                while j + 4 <= i + 1:
                    # four sums at once: one load of `weighted` for four multiplications
                    s0 = s1 = s2 = s3 = 0.0
                    for b in range(n):
                        s0 += weighted[b] * apart[j, b]
                        s1 += weighted[b] * apart[j + 1, b]
                        s2 += weighted[b] * apart[j + 2, b]
                        s3 += weighted[b] * apart[j + 3, b]
                    scatter[k, i, j] += s0
                    scatter[k, i, j + 1] += s1
                    scatter[k, i, j + 2] += s2
                    scatter[k, i, j + 3] += s3
                    j += 4
                while j < i + 1:
                    total = 0.0
                    for b in range(n):
                        total += weighted[b] * apart[j, b]
                    scatter[k, i, j] += total
                    j += 1

"""Gaussian components with full covariance, for rows of up to 160 columns."""

import numpy as np

from streamem.em.kernels import BLOCK, compiled, inlined

__all__ = ["accumulate", "log_density"]


@inlined
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
    one = np.empty(BLOCK)
    two = np.empty(BLOCK)
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
            i = 0
            while i + 2 <= columns:
                whiten_two(whitening[k, i], whitening[k, i + 1], apart, i, one, two, n)
                for b in range(n):
                    square[b] += one[b] * one[b] + two[b] * two[b]
                i += 2
            if i < columns:
                whiten_last(whitening[k, i], apart, i, one, n)
                for b in range(n):
                    square[b] += one[b] * one[b]
            for b in range(n):
                out[k, start + b] = constant[k] - 0.5 * square[b]


@inlined
def whiten_two(f, g, apart, i, one, two, n):  # type: ignore[no-untyped-def]
    """Write columns i and i + 1 of the whitened block: rows f and g of the inverse factor times the columns before.

    Two by four at once: each value loaded from `apart` serves two products, each of `one` and `two` four.
    """
    f0, g0, g1 = f[i], g[i], g[i + 1]
    for b in range(n):
        x0 = apart[i, b]
        one[b] = f0 * x0
        two[b] = g0 * x0 + g1 * apart[i + 1, b]
    j = 0
    while j + 4 <= i:
        f0, f1, f2, f3 = f[j], f[j + 1], f[j + 2], f[j + 3]
        g0, g1, g2, g3 = g[j], g[j + 1], g[j + 2], g[j + 3]
        for b in range(n):
            x0, x1, x2, x3 = apart[j, b], apart[j + 1, b], apart[j + 2, b], apart[j + 3, b]
            one[b] += f0 * x0 + f1 * x1 + f2 * x2 + f3 * x3
            two[b] += g0 * x0 + g1 * x1 + g2 * x2 + g3 * x3
        j += 4
    if j < i:
        f0, f1, g0, g1 = f[j], f[j + 1], g[j], g[j + 1]
        for b in range(n):
            x0, x1 = apart[j, b], apart[j + 1, b]
            one[b] += f0 * x0 + f1 * x1
            two[b] += g0 * x0 + g1 * x1


@inlined
def whiten_last(f, apart, i, one, n):  # type: ignore[no-untyped-def]
    """Write the last column of a whitened block with an odd number of columns."""
    for b in range(n):
        one[b] = 0.0
    for j in range(i + 1):
        f0 = f[j]
        for b in range(n):
            one[b] += f0 * apart[j, b]


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
    one = np.empty(BLOCK)
    two = np.empty(BLOCK)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        load(values, start, n, block)
        for k in range(mean.shape[0]):
            share = responsibility[k, start : start + n]
            weight[k] += add_up(share, n)
            for j in range(columns):
                centre = mean[k, j]
                for b in range(n):
                    apart[j, b] = block[j, b] - centre
            i = 0
            while i + 2 <= columns:
                for b in range(n):
                    one[b] = share[b] * apart[i, b]
                    two[b] = share[b] * apart[i + 1, b]
                multiply_two(one, two, apart, i, shift[k], scatter[k, i], scatter[k, i + 1], n)
                i += 2
            if i < columns:
                for b in range(n):
                    one[b] = share[b] * apart[i, b]
                shift[k, i] += add_up(one, n)
                for j in range(i + 1):
                    scatter[k, i, j] += multiply(one, apart[j], n)


@inlined
def add_up(numbers, n):  # type: ignore[no-untyped-def]
    """Return the sum of the first n numbers.

    Sums have loops without stores: beside them LLVM checks whether arrays lie close, and adds in another order where
    they do, so that the bits would depend on where arrays are in memory.
    """
    total = 0.0
    for b in range(n):
        total += numbers[b]
    return total


@inlined
def multiply(one, other, n):  # type: ignore[no-untyped-def]
    """Return the sum of products of the first n numbers."""
    total = 0.0
    for b in range(n):
        total += one[b] * other[b]
    return total


@inlined
def multiply_two(one, two, apart, i, shift, scatter_one, scatter_two, n):  # type: ignore[no-untyped-def]
    """Add the sums of `one` and `two`, the weighted columns i and i + 1, and of their products with columns up to them.

    Two by four at once, as in `whiten_two`.
    """
    t0 = t1 = a0 = b0 = b1 = 0.0
    for b in range(n):
        u, v, x0 = one[b], two[b], apart[i, b]
        t0 += u
        t1 += v
        a0 += u * x0
        b0 += v * x0
        b1 += v * apart[i + 1, b]
    shift[i] += t0
    shift[i + 1] += t1
    scatter_one[i] += a0
    scatter_two[i] += b0
    scatter_two[i + 1] += b1
    j = 0
    while j + 4 <= i:
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = 0.0
        for b in range(n):
            u, v = one[b], two[b]
            x0, x1, x2, x3 = apart[j, b], apart[j + 1, b], apart[j + 2, b], apart[j + 3, b]
            a0 += u * x0
            a1 += u * x1
            a2 += u * x2
            a3 += u * x3
            b0 += v * x0
            b1 += v * x1
            b2 += v * x2
            b3 += v * x3
        scatter_one[j] += a0
        scatter_one[j + 1] += a1
        scatter_one[j + 2] += a2
        scatter_one[j + 3] += a3
        scatter_two[j] += b0
        scatter_two[j + 1] += b1
        scatter_two[j + 2] += b2
        scatter_two[j + 3] += b3
        j += 4
    if j < i:
        a0 = a1 = b0 = b1 = 0.0
        for b in range(n):
            u, v, x0, x1 = one[b], two[b], apart[j, b], apart[j + 1, b]
            a0 += u * x0
            a1 += u * x1
            b0 += v * x0
            b1 += v * x1
        scatter_one[j] += a0
        scatter_one[j + 1] += a1
        scatter_two[j] += b0
        scatter_two[j + 1] += b1

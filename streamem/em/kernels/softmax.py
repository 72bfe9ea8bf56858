"""Responsibilities from log densities: the log-sum-exp of every row, and its terms as shares."""

import numpy as np

from streamem.em.kernels import BLOCK, compiled, compiled_in_order

__all__ = ["softmax"]

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10


@compiled_in_order
def exp_of_negative(x, exponent_bits, exponent, out, n):  # type: ignore[no-untyped-def]
    """Write exp(x) for x <= 0 to `out`; below -700 it is zero.

    The C library's exp is a call a value and stops vectorisation. This one (range reduction by ln 2 in two parts,
    Taylor to the 12th power on [-0.35, 0.35]) is within two units in the last place.
    """
    for b in range(n):
        v = max(x[b], -708.0)
        m = np.floor(v * LOG2_E + 0.5)
        r = (v - m * LN2_HIGH) - m * LN2_LOW
        p = 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        out[b] = p
        exponent_bits[b] = (np.int64(m) + 1023) << 52
    for b in range(n):
        out[b] = out[b] * exponent[b] if x[b] > -700.0 else 0.0


@compiled
def softmax(log_density, shares, log_likelihood):  # type: ignore[no-untyped-def]
    """Turn `log_density` into responsibilities in place and write each row's log-likelihood.

    Parameters
    ----------
    log_density : ndarray, shape (K, N)
        log p(v_n | k); on return p(k | v_n).
    shares : ndarray, shape (K,)
        π_k, 0 allowed.
    log_likelihood : ndarray, shape (N,)
        Written: log Σ_k π_k p(v_n | k).
    """
    components, rows = log_density.shape
    highest = np.empty(BLOCK)
    total = np.empty(BLOCK)
    bits = np.empty(BLOCK, np.int64)
    exponent = bits.view(np.float64)
    below = np.empty(BLOCK)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        for b in range(n):
            highest[b] = -np.inf
            total[b] = 0.0
        for k in range(components):
            row = log_density[k, start : start + n]
            share = np.log(shares[k])
            for b in range(n):
                row[b] += share
                highest[b] = max(highest[b], row[b])
        for k in range(components):
            row = log_density[k, start : start + n]
            for b in range(n):
                below[b] = row[b] - highest[b]
            exp_of_negative(below, bits, exponent, row, n)
            for b in range(n):
                total[b] += row[b]
        for b in range(n):
            log_likelihood[start + b] = highest[b] + np.log(total[b])
            total[b] = 1.0 / total[b]
        for k in range(components):
            row = log_density[k, start : start + n]
            for b in range(n):
                row[b] *= total[b]

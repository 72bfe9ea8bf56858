"""Slow, obvious twins of everything compiled: one row at a time, as a textbook writes it."""

import numpy as np
from scipy.stats import multivariate_normal


def log_density(values, mean, covariance):
    """log N(observed part of v_n; μ_k, Σ_k), shape (K, N)."""
    out = np.zeros((len(mean), len(values)))
    for k in range(len(mean)):
        matrix = covariance[k] if covariance.ndim == 3 else np.diag(covariance[k])
        for n, row in enumerate(values):
            seen = ~np.isnan(row)
            if seen.any():
                out[k, n] = multivariate_normal(mean[k][seen], matrix[np.ix_(seen, seen)]).logpdf(row[seen])
    return out


def uncounted(values, highest):
    """How many values are neither missing nor 0, 1, 2 and so on up to `highest`."""
    return sum(not (np.isnan(v) or (v >= 0.0 and v <= highest and v == int(v))) for v in values.ravel())


def completed(row, mean, covariance):
    """The conditional mean of a row given what is observed of it, and the conditional covariance of the rest."""
    seen = ~np.isnan(row)
    hidden = ~seen
    full = row.copy()
    uncertain = np.zeros_like(covariance)
    if hidden.any():
        gain = covariance[np.ix_(hidden, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        full[hidden] = mean[hidden] + gain @ (row[seen] - mean[seen])
        uncertain[np.ix_(hidden, hidden)] = covariance[np.ix_(hidden, hidden)] - gain @ covariance[np.ix_(seen, hidden)]
    return full, uncertain


def statistics(values, responsibility, mean, covariance):
    """Weight, mean and scatter about that mean of each component, from completed rows."""
    components, columns = mean.shape
    weight = responsibility.sum(axis=1)
    means, scatters = np.zeros((components, columns)), np.zeros((components, columns, columns))
    for k in range(components):
        matrix = covariance[k] if covariance.ndim == 3 else np.diag(covariance[k])
        rows = [completed(row, mean[k], matrix) for row in values]
        means[k] = sum(r * full for r, (full, _) in zip(responsibility[k], rows, strict=True)) / weight[k]
        scatters[k] = sum(
            r * (np.outer(full - means[k], full - means[k]) + uncertain)
            for r, (full, uncertain) in zip(responsibility[k], rows, strict=True)
        )
    return weight, means, scatters if covariance.ndim == 3 else np.stack([np.diag(s) for s in scatters])


def responsibilities(log_density, weights):
    """p(k | v_n), shape (K, N), and the log-likelihood of each row."""
    joint = np.log(weights)[:, None] + log_density
    highest = joint.max(axis=0)
    total = np.exp(joint - highest).sum(axis=0)
    return np.exp(joint - highest) / total, highest + np.log(total)


def mid_ranks(numbers, window, least):
    """Share of up to `window` numbers before each that is greater, ties counted half."""
    out = []
    for n, x in enumerate(numbers):
        before = numbers[max(0, n - window) : n]
        greater, equal = sum(b > x for b in before), sum(b == x for b in before)
        out.append((greater + 0.5 * equal) / len(before) if len(before) >= least else np.nan)
    return np.array(out)


def window_integral(begin, end, first, exponent, half_life, steps=200_000):
    """∫ max(1/W, ln 2/H) dx by the midpoint rule."""
    x = begin + (np.arange(steps) + 0.5) * (end - begin) / steps
    rate = 1.0 / (first * (1.0 + x / first) ** exponent)
    if half_life is not None:
        rate = np.maximum(rate, np.log(2.0) / half_life)
    return rate.sum() * (end - begin) / steps

"""Filtering and smoothing of hidden Markov chains, segment by segment.

Probabilities are scaled at every step, not kept as logarithms. Smoothing goes back over the filtered and predicted
probabilities alone: γ_t(i) = α_t(i) Σ_j a_ij γ_{t+1}(j) / π_{t+1}(j), π the prediction. No term of it can overflow,
and no density is needed twice. Paths less likely than 1e-300 of the others are dropped.

References
----------
Rabiner (1989) for the scaling; Cappé, Moulines and Rydén (2005), section 3.3, for the backward form.
"""

import numpy as np

from streamem.em.kernels import BLOCK, compiled, inlined
from streamem.em.kernels.softmax import exp_of_negative

__all__ = ["filtered", "likeliest", "relative_densities", "smoothed"]

LEAST = 1e-300
"""Predictions below this count as zero: their inverse would overflow."""

SMALL = 1e-200
"""A step whose scaled density is below this is taken again in logarithms."""


@compiled
def relative_densities(log_density, density, highest):  # type: ignore[no-untyped-def]
    """Write exp(log_density - its maximum over the states) to `density` (N, K), and that maximum to `highest` (N,)."""
    states, rows = log_density.shape
    below = np.empty(BLOCK)
    out = np.empty(BLOCK)
    bits = np.empty(BLOCK, np.int64)
    exponent = bits.view(np.float64)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        top = highest[start : start + n]
        for b in range(n):
            top[b] = -np.inf
        for k in range(states):
            row = log_density[k, start : start + n]
            for b in range(n):
                top[b] = max(top[b], row[b])
        for k in range(states):
            row = log_density[k, start : start + n]
            for b in range(n):
                below[b] = row[b] - top[b]
            exp_of_negative(below, bits, exponent, out, n)
            for b in range(n):
                density[start + b, k] = out[b]


@inlined
def by_fours(matrix):  # type: ignore[no-untyped-def]
    """Return a square matrix as blocks of four columns, (K / 4, K, 4), with zeros where there are fewer."""
    states = matrix.shape[0]
    blocks = np.zeros(((states + 3) // 4, states, 4))
    for i in range(states):
        for j in range(states):
            blocks[j // 4, i, j % 4] = matrix[i, j]
    return blocks


@inlined
def times(vector, blocks, out):  # type: ignore[no-untyped-def]
    """Write vector @ matrix to `out` (K / 4, 4); four sums at a time stay in registers, one vector instruction each."""
    for block in range(blocks.shape[0]):
        a = b = c = d = 0.0
        rows = blocks[block]
        for i in range(rows.shape[0]):
            v = vector[i]
            row = rows[i]
            a += v * row[0]
            b += v * row[1]
            c += v * row[2]
            d += v * row[3]
        four = out[block]
        four[0] = a
        four[1] = b
        four[2] = c
        four[3] = d


@compiled
def filtered(  # type: ignore[no-untyped-def]
    log_density, density, initial, transition, leaving, bounds, known, state, alpha, log_likelihood, scale
):
    """Filter every segment.

    Parameters
    ----------
    log_density : ndarray, shape (K, N)
    density : ndarray, shape (N, K)
        In: of `relative_densities`. Out: probabilities of the states given the rows before this one.
    initial, leaving : ndarray, shape (K,)
        Of the first state; of the end after each state, all 1 where nobody knows how a segment goes on.
    transition : ndarray, shape (K, K)
    bounds : ndarray of int, shape (S + 1,)
    known, state : ndarray, shapes (S,) and (S, K)
        Whether a segment goes on, and the filtered probabilities that it goes on from.
    alpha : ndarray, shape (N, K)
        Written: probabilities of the states given the rows up to this one.
    log_likelihood : ndarray, shape (N,)
        In: the maxima of `relative_densities`. Out, but for the logarithm of `scale` that is still to be added: log
        p(row | rows before it), that of the end in the last row.
    scale : ndarray, shape (N,)
        Written. Its logarithms are taken together: one by one they cost a tenth of it all.
    """
    states = len(initial)
    forwards = by_fours(transition)
    before = np.zeros(states)
    fours = np.zeros((len(forwards), 4))
    into = fours.ravel()
    for s in range(len(bounds) - 1):
        for t in range(bounds[s], bounds[s + 1]):
            if t == bounds[s] and known[s] == 0.0:
                for j in range(states):
                    into[j] = initial[j]
            else:
                if t == bounds[s]:
                    for i in range(states):
                        before[i] = state[s, i]
                times(before, forwards, fours)
            for j in range(states):
                before[j] = into[j] * density[t, j]
            total = 0.0
            for j in range(states):
                total += before[j]
            if total > SMALL:
                scale[t] = total
            else:
                log_likelihood[t] = in_logarithms(log_density[:, t], into, before)
                scale[t] = total = 1.0
            inverse = 1.0 / total
            for j in range(states):
                before[j] *= inverse
                alpha[t, j] = before[j]
                density[t, j] = into[j]
        if bounds[s + 1] > bounds[s]:
            end = 0.0
            for j in range(states):
                end += before[j] * leaving[j]
            scale[bounds[s + 1] - 1] *= end


@compiled
def in_logarithms(log_density, into, alpha):  # type: ignore[no-untyped-def]
    """Write the filtered probabilities of one row to `alpha` and return its log-likelihood."""
    states = len(log_density)
    highest = -np.inf
    for j in range(states):
        alpha[j] = np.log(into[j]) + log_density[j]
        highest = max(highest, alpha[j])
    for j in range(states):
        alpha[j] = np.exp(alpha[j] - highest) if alpha[j] > -np.inf else 0.0
    total = 0.0
    for j in range(states):
        total += alpha[j]
    for j in range(states):
        alpha[j] /= total
    return highest + np.log(total)


@compiled
def smoothed(transition, initial, leaving, bounds, known, state, weight, alpha, ahead, gamma, first, pairs, ends):  # type: ignore[no-untyped-def]
    """Smooth every segment, and add up its expected first states, transitions and last states.

    Parameters
    ----------
    transition, initial, leaving, bounds, known, state, alpha, ahead
        Of `filtered`; `ahead` is what it leaves in `density`.
    weight : ndarray, shape (S,)
        How much each segment counts.
    gamma : ndarray, shape (K, N)
        Written: probabilities of the states given all rows of the segment; not weighted.
    first, ends : ndarray, shape (K,)
        Added to: first states of the sequences that begin here, last states of all segments.
    pairs : ndarray, shape (K, K)
        Added to: transitions, the one into a segment that goes on among them.
    """
    states = len(initial)
    backwards = by_fours(transition.T)
    now = np.zeros(states)
    ratio = np.zeros(states)
    fours = np.zeros((len(backwards), 4))
    back = fours.ravel()
    outer = np.zeros((states, states))
    for s in range(len(bounds) - 1):
        start, stop = bounds[s], bounds[s + 1]
        if stop == start:
            continue
        w = weight[s]
        for j in range(states):
            now[j] = alpha[stop - 1, j] * leaving[j]
        total = 0.0
        for j in range(states):
            total += now[j]
        for j in range(states):
            now[j] /= total
            ends[j] += w * now[j]
        for t in range(stop - 1, start - 1, -1):
            for j in range(states):
                gamma[j, t] = now[j]
            if t == start and known[s] == 0.0:
                for j in range(states):
                    first[j] += w * now[j]
                continue
            for j in range(states):
                into = ahead[t, j]
                ratio[j] = now[j] / into if into > LEAST else 0.0
            times(ratio, backwards, fours)
            for i in range(states):
                share = alpha[t - 1, i] if t > start else state[s, i]
                now[i] = share * back[i]
                share *= w
                for j in range(states):
                    outer[i, j] += share * ratio[j]
    for i in range(states):
        for j in range(states):
            pairs[i, j] += transition[i, j] * outer[i, j]


@compiled
def likeliest(log_density, log_initial, log_transition, log_leaving, bounds, known, state, path, log_probability):  # type: ignore[no-untyped-def]
    """Write the likeliest path of every segment (Viterbi) to `path` (N,) and its log probability to (S,)."""
    states, rows = log_density.shape
    came_from = np.empty((rows, states), np.int64)
    best = np.empty(states)
    score = np.empty(states)
    for s in range(len(bounds) - 1):
        start, stop = bounds[s], bounds[s + 1]
        if stop == start:
            log_probability[s] = 0.0
            continue
        for t in range(start, stop):
            for j in range(states):
                came_from[t, j] = -1
                if t == start and known[s] == 0.0:
                    score[j] = log_initial[j] + log_density[j, t]
                    continue
                highest = -np.inf
                for i in range(states):
                    before = np.log(state[s, i]) if t == start else best[i]
                    value = before + log_transition[i, j]
                    if value > highest:
                        highest = value
                        came_from[t, j] = i
                score[j] = highest + log_density[j, t]
            for j in range(states):
                best[j] = score[j]
        last = 0
        for j in range(1, states):
            if best[j] + log_leaving[j] > best[last] + log_leaving[last]:
                last = j
        log_probability[s] = best[last] + log_leaving[last]
        for t in range(stop - 1, start - 1, -1):
            path[t] = last
            last = came_from[t, last]

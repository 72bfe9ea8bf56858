"""Smoothing of linear-Gaussian state spaces, segment by segment.

It goes back over adjoints r and N of the predictions (Bryson and Frazier): no covariance is inverted, and the residuals
w = h_{t+1} - A h_t and e = v_t - C h_t come without the level of h, so none of their digits is lost to it.

References
----------
de Jong (1989) and Koopman (1993).
"""

import numpy as np

from streamem.em.kernels import compiled
from streamem.em.kernels.kalman import cholesky, sandwich, solve

__all__ = ["smoothed"]


@compiled
def smoothed(which, bounds, known, carried_mean, carried_covariance, weight, A, Q, C, R, m1, V1, before_first,
             mean, covariance, used, gain, precision, scaled, second,
             noise, S00, Swh, See, Seh, Shh, shift, scatter, steps, counts, smooth_mean, smooth_covariance):  # type: ignore[no-untyped-def]  # fmt: skip
    """Smooth every segment, and add up its expected residuals and what the M-step needs besides.

    Parameters
    ----------
    which, bounds, known, carried_mean, carried_covariance, A, Q, C, R, m1, V1, before_first
        As `filtered`.
    weight : ndarray, shape (S,)
        How much each segment counts.
    mean, covariance, used, gain, precision, scaled
        Of `filtered`.
    second : bool
        Whether second moments of the states, and with the states, are wanted.
    noise : ndarray, shape (U, n, n)
        Added to: w wᵀ for each transition, w = h_{t+1} - A h_t, the one into a segment that goes on among them.
    S00, Swh : ndarray, shape (n, n)
        Added to: h_t h_tᵀ and w h_tᵀ over transitions.
    See, Seh, Shh : ndarray, shapes (m, m), (m, n) and (n, n)
        Added to: e eᵀ, e hᵀ and h hᵀ over rows within the gate, e = v - C h; missing values as R has them.
    shift, scatter : ndarray, shapes (n,) and (n, n)
        Added to: h - m1 and its square, h the first state of the sequences that begin here.
    steps, counts : ndarray, shapes (U,) and (2,)
        Added to: how many transitions of each kind; rows within the gate, and sequences that begin here.
    smooth_mean, smooth_covariance : ndarray, shapes (N, n) and (N, n, n)
        Written, unless of no rows: of each state given all rows of the segment.
    """
    n, m = len(m1), len(C)
    write = len(smooth_mean) > 0
    r, rho, w, h = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    N, M, X, Y = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    half, P = np.empty((n, n)), np.empty((n, n))
    D, DP, E = np.empty((m, n)), np.empty((m, n)), np.empty((m, m))
    part, L, G = np.empty(n), np.empty((m, m)), np.empty((m, m))
    e, column = np.empty(m), np.empty(m)
    seen = np.empty(m, np.int64)
    for s in range(len(bounds) - 1):
        start, stop = bounds[s], bounds[s + 1]
        if stop == start:
            continue
        g = weight[s]
        begins = known[s] == 0.0
        before = 1 if not begins or before_first else 0
        for i in range(n):
            r[i] = 0.0
            for j in range(n):
                N[i, j] = 0.0
        for t in range(stop - 1, start - 1 - before, -1):
            row = t >= start
            for i in range(n):
                if row:
                    h[i] = mean[t, i]
                else:
                    h[i] = m1[i] if begins else carried_mean[s, i]
                for j in range(n):
                    if row:
                        P[i, j] = covariance[t, i, j]
                    else:
                        P[i, j] = V1[i, j] if begins else carried_covariance[s, i, j]
            last = t == stop - 1
            if last:
                for i in range(n):
                    rho[i] = 0.0
                    for j in range(n):
                        M[i, j] = 0.0
            else:
                u = which[t + 1]
                steps[u] += g
                for i in range(n):
                    total = 0.0
                    for j in range(n):
                        total += Q[u, i, j] * r[j]
                    w[i] = total
                sandwich(Q[u], N, X, Y)  # X is Q N
                for i in range(n):
                    for j in range(n):
                        noise[u, i, j] += g * (Q[u, i, j] - Y[i, j] + w[i] * w[j])
                for i in range(n):
                    rho[i] = 0.0
                    for j in range(n):
                        Y[i, j] = A[u, j, i]
                for j in range(n):
                    for i in range(n):
                        rho[i] += A[u, j, i] * r[j]
                sandwich(Y, N, half, M)
            for i in range(n):
                total = 0.0
                for j in range(n):
                    total += P[i, j] * rho[j]
                part[i] = total
            if not row and begins:
                counts[1] += g
                sandwich(P, M, half, Y)
                for i in range(n):
                    shift[i] += g * part[i]
                    for j in range(n):
                        scatter[i, j] += g * (P[i, j] - Y[i, j] + part[i] * part[j])
            if second and not last:
                # E[w hᵀ] = w hᵀ - Q N A P
                for i in range(n):
                    for j in range(n):
                        total = 0.0
                        for d in range(n):
                            total += X[i, d] * A[u, l, j]
                        half[i, j] = total
                for i in range(n):
                    for j in range(n):
                        total = w[i] * (h[j] + part[j])
                        for d in range(n):
                            total -= half[i, d] * P[d, j]
                        Swh[i, j] += g * total
            if row or second:
                sandwich(P, M, half, Y)
                for i in range(n):
                    h[i] += part[i]
                for i in range(n):
                    for j in range(n):
                        P[i, j] -= Y[i, j]
            if second:
                for i in range(n):
                    for j in range(n):
                        total = g * (P[i, j] + h[i] * h[j])
                        if not last:
                            S00[i, j] += total
                        if row and used[t] >= 0:
                            Shh[i, j] += total
            if not row:
                continue
            if write:
                for i in range(n):
                    smooth_mean[t, i] = h[i]
                    for j in range(n):
                        smooth_covariance[t, i, j] = P[i, j]
            if used[t] >= 0:
                counts[0] += g
            if used[t] == 0:
                for i in range(m):
                    for j in range(m):
                        See[i, j] += g * R[i, j]
            elif used[t] > 0:
                for i in range(m):
                    for j in range(m):
                        E[i, j] = 0.0
                if used[t] == 2:
                    for i in range(m):
                        for j in range(n):
                            D[i, j] = C[i, j]
                else:
                    # what is missing is as R has it given the rest: e = G e_o with the covariance R - G R_o.
                    k = 0
                    for i in range(m):
                        if precision[t, i, i] > 0.0:
                            seen[k] = i
                            k += 1
                    for a in range(k):
                        for b in range(a + 1):
                            L[a, b] = R[seen[a], seen[b]]
                    cholesky(L, k)
                    for i in range(m):
                        for a in range(k):
                            column[a] = R[i, seen[a]]
                        solve(L, column, k)
                        for a in range(k):
                            G[i, a] = column[a]
                    for a in range(k):
                        for b in range(k):
                            G[seen[a], b] = 1.0 if a == b else 0.0
                    for i in range(m):
                        for j in range(n):
                            total = 0.0
                            for a in range(k):
                                total += G[i, a] * C[seen[a], j]
                            D[i, j] = total
                        if precision[t, i, i] == 0.0:
                            for j in range(m):
                                if precision[t, j, j] == 0.0:
                                    total = R[i, j]
                                    for a in range(k):
                                        total -= G[i, a] * R[seen[a], j]
                                    E[i, j] = total
                for i in range(m):
                    total = 0.0
                    for j in range(m):
                        total += R[i, j] * scaled[t, j]
                    for j in range(n):
                        total -= D[i, j] * part[j]
                    e[i] = total
                for i in range(m):
                    for j in range(n):
                        total = 0.0
                        for d in range(n):
                            total += D[i, d] * P[d, j]
                        DP[i, j] = total
                for i in range(m):
                    for j in range(i + 1):
                        total = E[i, j] + e[i] * e[j]
                        for d in range(n):
                            total += DP[i, d] * D[j, d]
                        See[i, j] += g * total
                        if j < i:
                            See[j, i] += g * total
                    if second:
                        for j in range(n):
                            Seh[i, j] += g * (e[i] * h[j] - DP[i, j])
            if used[t] > 0:
                for i in range(n):
                    for j in range(n):
                        total = 1.0 if i == j else 0.0
                        for a in range(m):
                            total -= gain[t, j, a] * C[a, i]
                        Y[i, j] = total  # (I - K C)ᵀ
                sandwich(Y, M, half, N)
                for i in range(n):
                    total = 0.0
                    for a in range(m):
                        total += C[a, i] * scaled[t, a]
                    for j in range(n):
                        total += Y[i, j] * rho[j]
                    r[i] = total
                for i in range(n):
                    for a in range(m):
                        total = 0.0
                        for b in range(m):
                            total += C[b, i] * precision[t, b, a]
                        column[a] = total
                    for j in range(i + 1):
                        total = N[i, j]
                        for a in range(m):
                            total += column[a] * C[a, j]
                        N[i, j] = total
                        N[j, i] = total
            else:
                for i in range(n):
                    r[i] = rho[i]
                    for j in range(n):
                        N[i, j] = M[i, j]
        if begins and not before_first:
            counts[1] += g
            sandwich(V1, N, half, Y)
            for i in range(n):
                total = 0.0
                for j in range(n):
                    total += V1[i, j] * r[j]
                part[i] = total
            for i in range(n):
                shift[i] += g * part[i]
                for j in range(n):
                    scatter[i, j] += g * (V1[i, j] - Y[i, j] + part[i] * part[j])

"""Smoothing of linear-Gaussian state spaces, segment by segment.

It goes back over adjoints r and N of the predictions (Bryson and Frazier): no covariance is inverted, and the residuals
w = h_{t+1} - A h_t and e = v_t - C h_t come without the level of h, so none of their digits is lost to it.

References
----------
de Jong (1989) and Koopman (1993).
"""

import numpy as np

from streamem.em.kernels import compiled, inlined
from streamem.em.kernels.kalman import LAST_BITS, STEPS, cholesky, sandwich, solve

__all__ = ["smoothed"]


@inlined
def imputed(C, R, precision, D, rest):  # type: ignore[no-untyped-def]
    """Write G C_o to D, shape (m, n), and R - G R_o to `rest`, where e = G e_o is what R says of all given some.

    What is seen has a positive precision.
    """
    m, n = D.shape
    L, G, column, seen = np.empty((m, m)), np.zeros((m, m)), np.empty(m), np.empty(m, np.int64)
    k = 0
    for i in range(m):
        if precision[i, i] > 0.0:
            seen[k] = i
            k += 1
    for a in range(k):
        for b in range(a + 1):
            L[a, b] = R[seen[a], seen[b]]
    cholesky(L, R, seen, k)
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
        for j in range(m):
            total = R[i, j]
            for a in range(k):
                total -= G[i, a] * R[seen[a], j]
            rest[i, j] = total if precision[i, i] == 0.0 and precision[j, j] == 0.0 else 0.0


@compiled
def smoothed(  # type: ignore[no-untyped-def]
    which, bounds, known, carried_mean, carried_covariance, weight, A, Q, C, R, m1, V1, before_first, mean,
    covariance, used, gain, precision, scaled, second, noise, S00, Swh, See, Seh, Shh, shift, scatter, steps,
    counts, smooth_mean, smooth_covariance,
):  # fmt: skip
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
    r, rho, w, h, part, column = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    N, M, after, past = np.zeros((n, n)), np.zeros((n, n)), np.empty((n, n)), np.zeros((n, n))
    QN, AT, of_w, of_wh = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    P, of_h, back, half = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    D, of_eh, of_e, e = np.empty((m, n)), np.empty((m, n)), np.empty((m, m)), np.empty(m)
    for s in range(len(bounds) - 1):
        start, stop = bounds[s], bounds[s + 1]
        if stop == start:
            continue
        g = weight[s]
        begins = known[s] == 0.0
        before = 1 if not begins or before_first else 0
        r[:] = 0.0
        N[:] = 0.0
        alike = 0
        settled = False
        for t in range(stop - 1, start - 1 - before, -1):
            row = t >= start
            last = t == stop - 1
            u = -1 if last else which[t + 1]
            # this row has the covariances and transitions of the row after it, and N has come to rest
            settled = settled and row and used[t + 1] == 3
            if not settled:
                for i in range(n):
                    for j in range(n):
                        if row:
                            P[i, j] = covariance[t, i, j]
                        else:
                            P[i, j] = V1[i, j] if begins else carried_covariance[s, i, j]
                if last:
                    M[:] = 0.0
                    for i in range(n):
                        for j in range(n):
                            of_h[i, j] = P[i, j]
                else:
                    sandwich(Q[u], N, QN, of_w)
                    for i in range(n):
                        for j in range(n):
                            of_w[i, j] = Q[u, i, j] - of_w[i, j]
                            AT[i, j] = A[u, j, i]
                    sandwich(AT, N, half, M)
                    sandwich(P, M, half, of_h)
                    for i in range(n):
                        for j in range(n):
                            of_h[i, j] = P[i, j] - of_h[i, j]
                    if second:  # the covariance of w and h is -Q N A P
                        for i in range(n):
                            for j in range(n):
                                total = 0.0
                                for d in range(n):
                                    total += QN[i, d] * A[u, d, j]
                                half[i, j] = total
                        for i in range(n):
                            for j in range(n):
                                total = 0.0
                                for d in range(n):
                                    total -= half[i, d] * P[d, j]
                                of_wh[i, j] = total
            for i in range(n):
                rho[i] = 0.0
                if row:
                    h[i] = mean[t, i]
                else:
                    h[i] = m1[i] if begins else carried_mean[s, i]
            if not last:
                steps[u] += g
                for i in range(n):
                    total = 0.0
                    for j in range(n):
                        total += Q[u, i, j] * r[j]
                    w[i] = total
                for j in range(n):
                    for i in range(n):
                        rho[i] += A[u, j, i] * r[j]
                for i in range(n):
                    for j in range(n):
                        noise[u, i, j] += g * (of_w[i, j] + w[i] * w[j])
            for i in range(n):
                total = 0.0
                for j in range(n):
                    total += P[i, j] * rho[j]
                part[i] = total
                h[i] += total
            if second:
                for i in range(n):
                    for j in range(n):
                        total = g * (of_h[i, j] + h[i] * h[j])
                        if not last:
                            S00[i, j] += total
                            Swh[i, j] += g * (of_wh[i, j] + w[i] * h[j])
                        if row and used[t] >= 0:
                            Shh[i, j] += total
            if not row:
                if begins:
                    counts[1] += g
                    for i in range(n):
                        shift[i] += g * part[i]
                        for j in range(n):
                            scatter[i, j] += g * (of_h[i, j] + part[i] * part[j])
                continue
            if write:
                for i in range(n):
                    smooth_mean[t, i] = h[i]
                    for j in range(n):
                        smooth_covariance[t, i, j] = of_h[i, j]
            if used[t] >= 0:
                counts[0] += g
            if used[t] <= 0:
                if used[t] == 0:
                    for i in range(m):
                        for j in range(m):
                            See[i, j] += g * R[i, j]
                for i in range(n):
                    r[i] = rho[i]
                    for j in range(n):
                        N[i, j] = M[i, j]
                alike = 0
                continue
            if not settled:
                if used[t] == 1:
                    imputed(C, R, precision[t], D, of_e)
                else:
                    for i in range(m):
                        for j in range(n):
                            D[i, j] = C[i, j]
                        for j in range(m):
                            of_e[i, j] = 0.0
                for i in range(m):
                    for j in range(n):
                        total = 0.0
                        for d in range(n):
                            total += D[i, d] * of_h[d, j]
                        of_eh[i, j] = total
                for i in range(m):
                    for j in range(i + 1):
                        total = of_e[i, j]
                        for d in range(n):
                            total += of_eh[i, d] * D[j, d]
                        of_e[i, j] = total
                        of_e[j, i] = total
                for i in range(n):
                    for j in range(n):
                        total = 1.0 if i == j else 0.0
                        for a in range(m):
                            total -= gain[t, j, a] * C[a, i]
                        back[i, j] = total  # (I - K C)ᵀ
                sandwich(back, M, half, after)
                for a in range(m):
                    for j in range(n):
                        total = 0.0
                        for b in range(m):
                            total += precision[t, a, b] * C[b, j]
                        column[j] = total
                    for i in range(n):
                        for j in range(n):
                            after[i, j] += C[a, i] * column[j]
                alike = alike + 1 if used[t] == 3 else 0
                if alike % STEPS == 1:
                    for i in range(n):
                        for j in range(n):
                            past[i, j] = after[i, j]
                elif alike and alike % STEPS == 0:
                    settled = True
                    for i in range(n):
                        for j in range(i + 1):
                            change = after[i, j] - past[i, j]
                            settled &= change * change <= LAST_BITS * LAST_BITS * after[i, i] * after[j, j]
                for i in range(n):
                    for j in range(n):
                        N[i, j] = after[i, j]
            for i in range(m):
                total = 0.0
                for j in range(m):
                    total += R[i, j] * scaled[t, j]
                for j in range(n):
                    total -= D[i, j] * part[j]
                e[i] = total
            for i in range(m):
                for j in range(m):
                    See[i, j] += g * (of_e[i, j] + e[i] * e[j])
                if second:
                    for j in range(n):
                        Seh[i, j] += g * (e[i] * h[j] - of_eh[i, j])
            for i in range(n):
                total = 0.0
                for a in range(m):
                    total += C[a, i] * scaled[t, a]
                for j in range(n):
                    total += back[i, j] * rho[j]
                r[i] = total
        if begins and not before_first:
            counts[1] += g
            sandwich(V1, N, half, of_h)
            for i in range(n):
                total = 0.0
                for j in range(n):
                    total += V1[i, j] * r[j]
                part[i] = total
            for i in range(n):
                shift[i] += g * part[i]
                for j in range(n):
                    scatter[i, j] += g * (V1[i, j] - of_h[i, j] + part[i] * part[j])

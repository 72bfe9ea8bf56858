"""Filtering of linear-Gaussian state spaces, segment by segment.

Covariances are in Joseph's form: they stay positive definite however long a stream is. Once equal steps leave the
covariance as it was, but for its last bits, the next of their kind would too, and are not computed again.

References
----------
Bierman (1977) for Joseph's form.
"""

import numpy as np

from streamem.em.kernels import compiled, inlined

__all__ = ["cholesky", "filtered", "rolled", "sandwich", "solve"]

STEPS = 8
"""Covariances are compared over so many steps."""

LAST_BITS = 1e-15
"""A covariance that moves by less over `STEPS` steps, relative to its variances, has only rounding left."""

LOG_2_PI = np.log(2.0 * np.pi)


@inlined
def cholesky(F, R, seen, k):  # type: ignore[no-untyped-def]
    """Overwrite the lower half of the leading k x k of F by its factor, the diagonal inverted; return log det.

    F is R, of the rows `seen`, and more. After a first state as wide as 1e16 R, rounding can say otherwise: where a
    pivot is not above 0 that of R takes its place.
    """
    log_det = 0.0
    for i in range(k):
        for j in range(i + 1):
            total = F[i, j]
            for d in range(j):
                total -= F[i, d] * F[j, d]
            if i == j:
                if not total > 0.0:
                    total = R[seen[i], seen[i]]
                log_det += np.log(total)
                F[i, i] = 1.0 / np.sqrt(total)
            else:
                F[i, j] = total * F[j, j]
    return log_det


@inlined
def solve(L, b, k):  # type: ignore[no-untyped-def]
    """Overwrite b by the solution of L Lᵀ x = b, L of `cholesky`."""
    for i in range(k):
        total = b[i]
        for j in range(i):
            total -= L[i, j] * b[j]
        b[i] = total * L[i, i]
    for i in range(k - 1, -1, -1):
        total = b[i]
        for j in range(i + 1, k):
            total -= L[j, i] * b[j]
        b[i] = total * L[i, i]


@inlined
def sandwich_of(X, P, half, out, n):  # type: ignore[no-untyped-def]
    """Do the work of `sandwich`; where n is a number, its loops are unrolled."""
    for i in range(n):
        for j in range(n):
            total = 0.0
            for d in range(n):
                total += X[i, d] * P[d, j]
            half[i, j] = total
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for d in range(n):
                total += half[i, d] * X[j, d]
            out[i, j] = total
            out[j, i] = total


@compiled
def sandwich(X, P, half, out):  # type: ignore[no-untyped-def]
    """Write X P Xᵀ to `out`, which may be P, exactly symmetric; `half` becomes X P."""
    n = len(P)
    if n == 4:
        sandwich_of(X, P, half, out, 4)
    elif n == 2:
        sandwich_of(X, P, half, out, 2)
    else:
        sandwich_of(X, P, half, out, n)


@compiled
def filtered(  # type: ignore[no-untyped-def]
    values, which, bounds, known, carried_mean, carried_covariance, A, Q, C, R, m1, V1, before_first, gate,
    mean, covariance, innovation, log_likelihood, distance, used, gain, precision, scaled,
):  # fmt: skip
    """Filter every segment.

    Parameters
    ----------
    values : ndarray, shape (N, m)
        NaN where missing.
    which : ndarray of int, shape (N,)
        The number of the transition into each row.
    bounds : ndarray of int, shape (S + 1,)
    known, carried_mean, carried_covariance : ndarray, shapes (S,), (S, n) and (S, n, n)
        Whether a segment goes on, and what it goes on from.
    A, Q : ndarray, shape (U, n, n)
        Transitions and the covariances of their noise.
    C, R : ndarray, shapes (m, n) and (m, m)
    m1, V1 : ndarray, shapes (n,) and (n, n)
        Of the first state, or of the one before it (`before_first`).
    before_first : bool
    gate : ndarray, shape (m + 1,)
        The squared Mahalanobis distance beyond which a row with so many values is not used; the first never is.
    mean, covariance, innovation, log_likelihood, distance : ndarray, shapes (N, n), (N, n, n), (N, m), (N,) and (N,)
        Written: of the state given the rows up to this one; of each row given those before it, the last one squared
        and in standard deviations (Mahalanobis).
    used : ndarray of int8, shape (N,)
        Written: 3 all values, with the covariances and the gain of the row before; 2 all, 1 some, 0 none; -1 beyond the
        gate.
    gain, precision, scaled : ndarray, shapes (N, n, m), (N, m, m) and (N, m)
        Written, unless of no rows: K, F⁻¹ and F⁻¹ times the innovation, 0 where not used.
    """
    n, m = len(m1), len(C)
    keep = len(gain) > 0
    x, ahead = np.empty(n), np.empty(n)
    P, half, ahead_P, rest, past = (
        np.empty((n, n)),
        np.empty((n, n)),
        np.empty((n, n)),
        np.empty((n, n)),
        np.empty((n, n)),
    )
    cross, K = np.empty((m, n)), np.empty((n, m))
    L, inverse = np.empty((m, m)), np.zeros((m, m))
    error, solved, column = np.empty(m), np.empty(m), np.empty(m)
    seen = np.empty(m, np.int64)
    for s in range(len(bounds) - 1):
        start = bounds[s]
        begins = known[s] == 0.0
        for i in range(n):
            x[i] = m1[i] if begins else carried_mean[s, i]
            for j in range(n):
                P[i, j] = V1[i, j] if begins else carried_covariance[s, i, j]
        steady = -1
        alike = 0
        log_det = 0.0
        for t in range(start, bounds[s + 1]):
            u = which[t]
            moves = t > start or not begins or before_first
            if moves:
                for i in range(n):
                    total = 0.0
                    for j in range(n):
                        total += A[u, i, j] * x[j]
                    ahead[i] = total
            else:
                for i in range(n):
                    ahead[i] = x[i]
            k = 0
            for i in range(m):
                value = values[t, i]
                if np.isnan(value):
                    innovation[t, i] = np.nan
                    continue
                for j in range(n):
                    value -= C[i, j] * ahead[j]
                innovation[t, i] = value
                error[k] = value
                seen[k] = i
                k += 1
            again = steady == u and k == m and moves
            if not again:
                steady = -1
                if moves:
                    sandwich(A[u], P, half, ahead_P)
                    for i in range(n):
                        for j in range(n):
                            ahead_P[i, j] += Q[u, i, j]
                else:
                    for i in range(n):
                        for j in range(n):
                            ahead_P[i, j] = P[i, j]
                for a in range(k):
                    for j in range(n):
                        total = 0.0
                        for i in range(n):
                            total += C[seen[a], i] * ahead_P[i, j]
                        cross[a, j] = total
                for a in range(k):
                    for b in range(a + 1):
                        total = R[seen[a], seen[b]]
                        for j in range(n):
                            total += cross[a, j] * C[seen[b], j]
                        L[a, b] = total
                log_det = cholesky(L, R, seen, k)
            for a in range(k):
                solved[a] = error[a]
            solve(L, solved, k)
            apart = 0.0
            for a in range(k):
                apart += error[a] * solved[a]
            distance[t] = apart
            log_likelihood[t] = -0.5 * (apart + log_det + k * LOG_2_PI)
            beyond = k > 0 and apart > gate[k] and not (begins and t == start)
            used[t] = -1 if beyond else (3 if again else (2 if k == m else (1 if k > 0 else 0)))
            if beyond or k == 0:
                for i in range(n):
                    x[i] = ahead[i]
                if again:  # the prediction was not computed again
                    sandwich(A[u], P, half, ahead_P)
                    for i in range(n):
                        for j in range(n):
                            ahead_P[i, j] += Q[u, i, j]
                for i in range(n):
                    for j in range(n):
                        P[i, j] = ahead_P[i, j]
                steady = -1
                alike = 0
                if keep:
                    gain[t] = 0.0
                    precision[t] = 0.0
                    scaled[t] = 0.0
            else:
                if not again:
                    for j in range(n):
                        for a in range(k):
                            column[a] = cross[a, j]
                        solve(L, column, k)
                        for a in range(k):
                            K[j, a] = column[a]
                    for i in range(n):
                        for j in range(n):
                            total = 1.0 if i == j else 0.0
                            for a in range(k):
                                total -= K[i, a] * C[seen[a], j]
                            rest[i, j] = total
                    sandwich(rest, ahead_P, half, ahead_P)
                    for i in range(n):
                        for a in range(k):
                            total = 0.0
                            for b in range(k):
                                total += K[i, b] * R[seen[b], seen[a]]
                            column[a] = total
                        for j in range(i + 1):
                            total = ahead_P[i, j]
                            for a in range(k):
                                total += column[a] * K[j, a]
                            ahead_P[i, j] = total
                            ahead_P[j, i] = total
                    same = True
                    for i in range(n):
                        for j in range(n):
                            same &= P[i, j] == ahead_P[i, j]
                            P[i, j] = ahead_P[i, j]
                    alike = alike + 1 if k == m and t > start and which[t - 1] == u else 0
                    if alike % STEPS == 1:
                        for i in range(n):
                            for j in range(n):
                                past[i, j] = P[i, j]
                    elif alike and alike % STEPS == 0:
                        same = True
                        for i in range(n):
                            for j in range(i + 1):
                                change = P[i, j] - past[i, j]
                                same &= change * change <= LAST_BITS * LAST_BITS * P[i, i] * P[j, j]
                    if same and alike:
                        steady = u
                    if keep:
                        for a in range(k):
                            for b in range(k):
                                column[b] = 1.0 if a == b else 0.0
                            solve(L, column, k)
                            for b in range(k):
                                inverse[a, b] = column[b]
                for i in range(n):
                    total = ahead[i]
                    for a in range(k):
                        total += K[i, a] * error[a]
                    x[i] = total
                if keep:
                    if k < m:
                        gain[t] = 0.0
                        precision[t] = 0.0
                        scaled[t] = 0.0
                    for a in range(k):
                        scaled[t, seen[a]] = solved[a]
                        for i in range(n):
                            gain[t, i, seen[a]] = K[i, a]
                        for b in range(k):
                            precision[t, seen[a], seen[b]] = inverse[a, b]
            for i in range(n):
                mean[t, i] = x[i]
                for j in range(n):
                    covariance[t, i, j] = P[i, j]


@compiled
def rolled(A, Q, moment, alive):  # type: ignore[no-untyped-def]
    """Return Σ_t alive_t P_t and Σ_t alive_{t+1} P_t, P_1 = `moment`, P_{t+1} = A P_t Aᵀ + Q; shapes (n, n)."""
    n = len(A)
    P, half, after = moment.copy(), np.empty((n, n)), np.empty((n, n))
    visits, departures = np.zeros((n, n)), np.zeros((n, n))
    for t in range(len(alive)):
        following = alive[t + 1] if t + 1 < len(alive) else 0.0
        sandwich(A, P, half, after)
        for i in range(n):
            for j in range(n):
                visits[i, j] += alive[t] * P[i, j]
                departures[i, j] += following * P[i, j]
                P[i, j] = after[i, j] + Q[i, j]
    return visits, departures

"""How trackers move over a time: integrals of white noise, and the matrices of several columns that move so.

A stream of irregular times has another step with every record: these matrices are made as often as it is filtered.
"""

from streamem.em.kernels import compiled

__all__ = ["integrated", "interleaved"]

FACTORIALS = (1.0, 1.0, 2.0)
"""Of the integrals there are at most, less one."""


@compiled
def integrated(seconds, transition, noise):  # type: ignore[no-untyped-def]
    """Write the motion of white noise that is integrated p times.

    Parameters
    ----------
    seconds : ndarray, shape (U,)
    transition, noise : ndarray, shape (U, p, p)
        Written: transitions over each of `seconds`, and the covariances that a noise of size 1 gathers.
    """
    count, order, _ = transition.shape
    for u in range(count):
        for i in range(order):
            for j in range(order):
                transition[u, i, j] = seconds[u] ** (j - i) / FACTORIALS[j - i] if j >= i else 0.0
                a, b = order - 1 - i, order - 1 - j
                noise[u, i, j] = seconds[u] ** (a + b + 1) / ((a + b + 1) * FACTORIALS[a] * FACTORIALS[b])


@compiled
def interleaved(transition, noise, size, A, Q):  # type: ignore[no-untyped-def]
    """Write the matrices of D columns that move alike, each with its own noises.

    Parameters
    ----------
    transition : ndarray, shape (U, p, p)
    noise : ndarray, shape (B, U, p, p)
        The covariance that each of B noises of size 1 gathers.
    size : ndarray, shape (B, D)
        Of the noises.
    A, Q : ndarray, shape (U, p D, p D)
        Zeros; written: transitions and covariances, the first of p states of all columns first.
    """
    count, p, _ = transition.shape
    noises, columns = size.shape
    for u in range(count):
        for i in range(p):
            for k in range(p):
                for j in range(columns):
                    total = 0.0
                    for b in range(noises):
                        total += size[b, j] * noise[b, u, i, k]
                    A[u, i * columns + j, k * columns + j] = transition[u, i, k]
                    Q[u, i * columns + j, k * columns + j] = total

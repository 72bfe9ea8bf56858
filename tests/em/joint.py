"""The joint normal distribution of a short linear dynamical system: the oracle of its filter and its statistics."""

from dataclasses import dataclass

import numpy as np

from streamem.em.linear import LDSParameters

ALL = ("A", "C", "Q", "R", "m1", "V1")
IDENTITY = ((1.0, 0.0), (0.0, 1.0))


def covariance(rng, size):
    x = rng.normal(size=(size, size))
    return x @ x.T + 0.5 * np.eye(size)


def parameters(n=3, m=2, seed=0, radius=0.8):
    rng = np.random.default_rng([seed, n, m])
    A = rng.normal(size=(n, n))
    A *= radius / np.abs(np.linalg.eigvals(A)).max()
    C, Q, R, V1 = rng.normal(size=(m, n)), covariance(rng, n), covariance(rng, m), covariance(rng, n)
    return LDSParameters(A, C, Q, R, rng.normal(size=n), V1, np.ones(n + m))


def carried(mean, covariance):
    return {"known": np.ones(1), "mean": mean[None], "covariance": covariance[None]}


@dataclass
class Joint:
    """The normal distribution of all states, then all observed values, of one segment."""

    mean: np.ndarray
    covariance: np.ndarray
    states: int
    columns: int
    steps: int  # states, one more than rows where the one before the first row counts
    rows: int

    def state(self, t):
        return slice(t * self.states, (t + 1) * self.states)

    def row(self, t):
        start = self.steps * self.states + t * self.columns
        return slice(start, start + self.columns)

    def given(self, values):
        """Return mean and covariance of everything given the values that are not NaN, and their log-likelihood."""
        seen = np.concatenate([np.zeros(self.steps * self.states, bool), ~np.isnan(values).ravel()])
        S = self.covariance[np.ix_(seen, seen)]
        error = values.ravel()[seen[self.steps * self.states :]] - self.mean[seen]
        gain = np.linalg.solve(S, self.covariance[seen]).T
        log_likelihood = -0.5 * (error @ np.linalg.solve(S, error) + np.linalg.slogdet(2.0 * np.pi * S)[1])
        return self.mean + gain @ error, self.covariance - gain @ self.covariance[seen], log_likelihood

    def cross_entropy(self, mean, covariance):
        """Return -E log p under a normal distribution of this mean and covariance, a constant apart."""
        error = mean - self.mean
        spread = covariance + np.outer(error, error)
        return 0.5 * (np.trace(np.linalg.solve(self.covariance, spread)) + np.linalg.slogdet(self.covariance)[1])


def joint(C, R, m1, V1, moves, extra):
    """Return the joint of a segment; `moves` are A and Q between its states, `extra` of them before row 1."""
    (m, n), steps = C.shape, len(moves) + 1
    rows = steps - extra
    mean, P = np.zeros((steps, n)), np.zeros((steps * n, steps * n))
    mean[0], P[:n, :n] = m1, V1
    for t, (A, Q) in enumerate(moves, start=1):
        now, before, past = slice(t * n, (t + 1) * n), slice((t - 1) * n, t * n), slice(0, t * n)
        mean[t] = A @ mean[t - 1]
        P[now, past] = A @ P[before, past]
        P[past, now] = P[now, past].T
        P[now, now] = A @ P[before, before] @ A.T + Q
    H = np.kron(np.eye(steps)[extra:], C)
    covariance = np.block([[P, P @ H.T], [H @ P, H @ P @ H.T + np.kron(np.eye(rows), R)]])
    return Joint(np.concatenate([mean.ravel(), H @ mean.ravel()]), covariance, n, m, steps, rows)


def joint_of(theta, rows, before_first=False, carry=None):
    extra = int(before_first or carry is not None)
    m1, V1 = (theta.initial_mean, theta.initial_covariance) if carry is None else carry
    moves = [(theta.transition, theta.transition_covariance)] * (rows - 1 + extra)
    return joint(theta.observation, theta.observation_covariance, m1, V1, moves, extra)


def rows_of(m, count=5, missing=True, seed=0):
    values = np.random.default_rng([seed, m]).normal(size=(count, m)) * 2.0
    if missing:
        values[1, 0] = np.nan
        values[3] = np.nan
    return values

"""Kalman filter, and smoother with EM step, against statsmodels, filterpy and simdkalman; n = 4, m = 2."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from streamem.em import Observations
from streamem.em.lds import LDS
from streamem.em.linear import LDSParameters
from tests.bench.side_by_side import Comparison, in_turn

A = np.kron(np.array([[0.99, 0.99], [0.0, 0.99]]), np.eye(2))
C = np.kron(np.array([[1.0, 0.0]]), np.eye(2))
Q = np.kron(np.array([[1.0 / 3.0, 0.5], [0.5, 1.0]]), np.eye(2))
R = 3.0 * np.eye(2)
THETA = LDSParameters(A, C, Q, R, np.zeros(4), np.eye(4), np.ones(6))

ROWS = 20_000
FILTERPY_ROWS = 2_000
"""A loop in Python is as slow a row over fewer of them."""
SERIES, LENGTH = 1_000, 200


def matrix(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


MODEL = LDS(transition=matrix(A), observation=matrix(C), sequences="complete")


def drawn(lengths: np.ndarray, missing: float) -> Observations:
    rng = np.random.default_rng(0)
    rows, _ = MODEL.sample(THETA, rng, lengths)
    rows.values[rng.random(rows.values.shape) < missing] = np.nan
    return rows


def statsmodels_peer(values: np.ndarray, smoother: bool) -> Callable[[], object]:
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    peer = (KalmanSmoother if smoother else KalmanFilter)(2, 4, 4)
    peer.bind(values.copy())
    peer["transition"], peer["design"], peer["state_cov"], peer["obs_cov"] = A, C, Q, R
    peer["selection"] = np.eye(4)
    peer.initialize_known(THETA.initial_mean, THETA.initial_covariance)
    return peer.smooth if smoother else peer.filter


def filterpy_filter() -> Any:
    """Return filterpy's filter before the first row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from filterpy.kalman import KalmanFilter

    peer = KalmanFilter(dim_x=4, dim_z=2)
    peer.x, peer.P, peer.F, peer.H, peer.Q, peer.R = np.zeros((4, 1)), np.eye(4), A, C, Q, R
    return peer


def filterpy_peer(values: np.ndarray) -> Callable[[], object]:
    def run() -> object:
        peer = filterpy_filter()
        for value in values:
            peer.predict()
            peer.update(value)
        return peer.x

    return run


def simdkalman_peer(values: np.ndarray) -> Callable[[], object]:
    import simdkalman

    peer = simdkalman.KalmanFilter(A, Q, C, R)
    start = np.zeros((SERIES, 4, 1)), np.tile(np.eye(4), (SERIES, 1, 1))
    return lambda: peer.em(values, n_iter=1, initial_value=start[0], initial_covariance=start[1])


def step(rows: Observations) -> Callable[[], object]:
    return lambda: MODEL.maximize(MODEL.expect(THETA, rows).statistics, THETA)


def filtering(rows: Observations) -> Callable[[], object]:
    return lambda: MODEL.posterior(THETA, rows)


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield one comparison for each peer, in microseconds a row."""
    one, holed = drawn(np.array([ROWS]), 0.0), drawn(np.array([ROWS]), 0.1)
    many = drawn(np.full(SERIES, LENGTH), 0.0)
    cases = [
        ("filter, statsmodels", filtering(one), statsmodels_peer(one.values, False), 8.0, ROWS, ROWS),
        ("the same, a tenth missing", filtering(holed), statsmodels_peer(holed.values, False), 3.0, ROWS, ROWS),
        ("filter, filterpy", filtering(one), filterpy_peer(one.values[:FILTERPY_ROWS]), 100.0, ROWS, FILTERPY_ROWS),
        ("smoother and EM step, statsmodels' smoother", step(one), statsmodels_peer(one.values, True), 8.0, ROWS, ROWS),
        ("the same, a tenth missing", step(holed), statsmodels_peer(holed.values, True), 3.0, ROWS, ROWS),
        ("smoother and EM step, simdkalman, 1,000 series", step(many),
         simdkalman_peer(many.values.reshape(SERIES, LENGTH, 2)), 5.0, SERIES * LENGTH, SERIES * LENGTH),
    ]  # fmt: skip
    for name, ours, theirs, floor, count, peer_count in cases:
        seconds = in_turn(ours, theirs, rounds)
        yield Comparison(name, seconds[0] / count * 1e6, seconds[1] / peer_count * 1e6, "us/row", floor)

"""River estimators against river's own, filterpy, and the mathematics called directly; d = 4, K = 3."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import polars as pl

from streamem.em import Mixture, Observations, OnlineEM
from streamem.estimators import GaussianMixture, KalmanTracker
from tests.bench.kalman import FILTERPY_ROWS, drawn, filterpy_filter, filterpy_peer
from tests.bench.side_by_side import Comparison, in_turn

ROWS = 5_000
"""Records a round: fifty micro-batches of the default size."""

CALLS = 50
"""Calls a round of a method that takes a frame."""

FLOOR = 8.0
"""Microseconds that a record may cost at most."""


def records() -> list[dict[str, float]]:
    """Return records of three clusters of four features, as river takes them."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, 4)) + rng.choice([-4.0, 0.0, 4.0], size=(ROWS, 1))
    return [dict(zip("abcd", row, strict=True)) for row in rows.tolist()]


def over(method: Callable[[dict[str, float]], object], rows: list[dict[str, float]]) -> Callable[[], object]:
    """Return a run that calls a method with every record."""

    def run() -> None:
        for row in rows:
            method(row)

    return run


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield one comparison for each call, in microseconds a record, and one for frames, in microseconds."""
    from river import cluster, proba

    rows = records()
    ours, means, normal = GaussianMixture(3), cluster.KMeans(n_clusters=3, seed=1), proba.MultivariateGaussian()
    for row in rows:
        ours.learn_one(row)
        means.learn_one(row)
        normal.update(row)
    few = rows[:200]  # the density of river's normal distribution inverts its matrix anew for every record
    cases = [
        ("learn_one, river's KMeans", ours.learn_one, means.learn_one, rows),
        ("predict_one, river's KMeans", ours.predict_one, means.predict_one, rows),
        ("score_one, river's KMeans.predict_one", ours.score_one, means.predict_one, rows),
        ("learn_one, river's MultivariateGaussian", ours.learn_one, normal.update, rows),
        ("score_one, river's MultivariateGaussian", ours.score_one, normal, few),
    ]
    for name, mine, theirs, peer_rows in cases:
        seconds = in_turn(over(mine, rows), over(theirs, peer_rows), rounds)
        yield Comparison(name, seconds[0] / ROWS * 1e6, seconds[1] / len(peer_rows) * 1e6, "us/record", 1.0)
    for name, method in (
        ("learn_one", ours.learn_one),
        ("predict_one", ours.predict_one),
        ("score_one", ours.score_one),
    ):
        seconds = in_turn(over(method, rows), lambda: None, rounds)
        yield Comparison(f"{name}, at most {FLOOR:g} us", seconds[0] / ROWS * 1e6, FLOOR, "us/record", 1.0)
    yield from tracker(rounds)
    yield from frames(rounds, rows)


def tracker(rounds: int) -> Iterator[Comparison]:
    """Yield comparisons of a tracker with filterpy's predict and update, two positions and their speeds.

    A score takes a prediction, an update and a rank; learning and predicting in turn follows every record at once, and
    learns the noise too, which filterpy is told. Its predict is a few products of matrices, without keys or names.
    """
    values = drawn(np.array([ROWS]), 0.0).values
    rows = [{"x": x, "y": y} for x, y in values.tolist()]
    ours = KalmanTracker()
    for row in rows:
        ours.learn_one(row)
    peer, few = filterpy_filter(), values[:FILTERPY_ROWS]

    def predict_only() -> None:
        for _ in few:
            peer.predict()

    def learn_and_predict(row: dict[str, float]) -> None:
        ours.learn_one(row)
        ours.predict_one()

    cases = [
        ("learn_one, filterpy", ours.learn_one, filterpy_peer(few), 10.0),
        ("predict_one, its predict", lambda _: ours.predict_one(), predict_only, 0.3),
        ("score_one, filterpy", ours.score_one, filterpy_peer(few), 1.5),
        ("learn_one, predict_one, filterpy", learn_and_predict, filterpy_peer(few), 0.5),
    ]
    for name, mine, theirs, floor in cases:
        seconds = in_turn(over(mine, rows), theirs, rounds)
        ratio = seconds[0] / ROWS * 1e6, seconds[1] / FILTERPY_ROWS * 1e6
        yield Comparison(f"KalmanTracker.{name}", *ratio, "us/record", floor)


def frames(rounds: int, rows: list[dict[str, float]]) -> Iterator[Comparison]:
    """Yield comparisons of learn_many of 1,000 rows with the mathematics called directly; at most 1.5 times as long."""
    for name, frame in (("pandas", pd.DataFrame(rows)), ("polars", pl.DataFrame(rows))):
        estimator, learner = GaussianMixture(3), OnlineEM(Mixture(components=3))
        estimator.learn_many(frame)
        learner.update(Observations(np.ascontiguousarray(frame.to_numpy())))
        thousand = frame[:1000]
        values = np.ascontiguousarray(thousand.to_numpy())

        def direct(learner: OnlineEM = learner, values: np.ndarray = values) -> None:
            learner.update(Observations(values))

        def ours(estimator: GaussianMixture = estimator, thousand: object = thousand) -> None:
            estimator.learn_many(thousand)

        # single calls in turn, for what else the machine does comes and goes within some of them
        seconds = in_turn(ours, direct, CALLS * rounds)
        yield Comparison(f"learn_many of 1,000 rows, {name}", seconds[0] * 1e6, seconds[1] * 1e6, "us", 1 / 1.5)

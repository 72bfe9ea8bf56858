"""A constant-velocity tracker at irregular times: what it learns in one pass, against batch EM over all of it.

Its noises are about as large as those of the observations, so that records a second apart tell of both. EM creeps where
they are far smaller: with q = R / 50 one pass from a start 30 times too large still ends up to 40 % off.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from streamem.em import Kalman, Observations, OnlineEM, Snapshot
from streamem.em.start import batch_em
from streamem.em.tracker import TrackerParameters
from tests.reproduce.figure import Figure

RECORDS = 50_000
BATCH = 100
OFF = 30.0
"""How many times too large the noise of a given start is, and R too small."""


def simulated(seed: int) -> tuple[TrackerParameters, Observations]:
    """Return a tracker, and what it saw."""
    rng = np.random.default_rng(seed)
    noise, variances = rng.uniform(0.5, 2.0, size=(1, 2)), rng.uniform(0.5, 2.0, size=2)
    truth = TrackerParameters(noise, np.diag(variances), np.zeros(4), np.eye(4), np.ones(4))
    time = np.cumsum(rng.exponential(size=RECORDS))
    rows, _ = Kalman().sample(truth, rng, np.array([RECORDS]), time)
    return truth, replace(rows, sequence=None)


def learned(rows: Observations, start: TrackerParameters | None) -> TrackerParameters:
    """Return the averaged parameters after one pass with the default settings."""
    given = None if start is None else Snapshot(Kalman(), start, start, 0, 0.0, 0, 0.0, 0.0)
    learner = OnlineEM(Kalman(), start=given)
    for begin in range(0, len(rows), BATCH):
        learner.update(rows[begin : begin + BATCH])
    return learner.snapshot.averaged


def numbers(theta: TrackerParameters) -> np.ndarray:
    """Return all that is learned: q and the variances of R."""
    return np.concatenate([theta.noise.ravel(), np.diagonal(theta.observation_covariance)])


def figures(seeds: int) -> Iterator[Figure]:
    """Yield the largest relative difference of q and R to batch EM's over all seeds, for either start."""
    model, gaps = Kalman(), {"its own start": [], "a start 30 times off": []}
    for seed in range(seeds):
        truth, rows = simulated(seed)
        batch = numbers(batch_em(model, truth, rows, iterations=300, tolerance=1e-9)[0])
        off = replace(truth, noise=truth.noise * OFF, observation_covariance=truth.observation_covariance / OFF)
        for name, start in zip(gaps, (None, off), strict=True):
            gaps[name].append(np.abs(numbers(learned(rows, start)) / batch - 1.0).max())
    for name, found in gaps.items():
        note = f"median {np.median(found):.4f}, of {seeds} seeds"
        yield Figure(f"tracker from {name}: off by at most", max(found), 0.0, 0.05, note=note)

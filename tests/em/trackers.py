"""Trackers of every dynamics, with parameters drawn at random."""

import numpy as np
import pytest

from streamem.em.kalman import Kalman
from streamem.em.tracker import TrackerParameters

DYNAMICS = ["constant_position", "constant_velocity", "constant_acceleration", "local_level", "local_trend", "seasonal"]
each_dynamics = pytest.mark.parametrize("dynamics", DYNAMICS)


def tracker(dynamics, **settings):
    season = {"period": 6, "harmonics": 2} if dynamics == "seasonal" else {}
    return Kalman(dynamics=dynamics, **season, **settings)


def parameters(model, columns=2, seed=0):
    rng = np.random.default_rng([seed, columns])
    moved = model.moved(np.ones(1))
    n = len(moved.observed) * columns
    R = np.diag(rng.uniform(0.5, 2.0, columns))
    if model.observation_covariance == "full":
        R += 0.3
    noise = rng.uniform(0.3, 1.5, (len(moved.ranks), columns))
    return TrackerParameters(noise, R, rng.normal(size=n), 4.0 * np.eye(n), np.ones(noise.size + columns))

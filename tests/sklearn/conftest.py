"""The rows that the estimators for scikit-learn learn from in these tests."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    state = np.repeat(rng.choice(3, size=75), 20)
    return np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 7.0]])[state] + rng.normal(size=(1500, 2))


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(6)
    return rng.poisson(np.repeat(rng.choice([2.0, 20.0], size=60), 20)[:, None] * [1.0, 3.0])

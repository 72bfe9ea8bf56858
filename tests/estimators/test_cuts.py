"""Records in whatever micro-batches and frames: their times, and what is kept of them."""

import random

import numpy as np
import pandas as pd
import pytest

from streamem.errors import DataError
from streamem.estimators import GaussianMixture, KalmanTracker


def first_that_goes_back(keys, times, last):
    for row, (key, time) in enumerate(zip(keys, times, strict=True)):
        if time < last.get(key, -np.inf):
            return row
        last[key] = time
    return None


@pytest.mark.parametrize("seed", range(100))
def test_the_row_that_goes_back_is_the_one_found_row_by_row(seed):
    rng = np.random.default_rng(seed)
    model, last = KalmanTracker(key="k", time="t", warmup_records=50), {}
    for key, time in zip(rng.integers(0, 3, 3).tolist(), np.sort(rng.integers(0, 4, 3)).tolist(), strict=True):
        model.learn_one({"k": key, "t": time, "x": 1.0})
        last[key] = time
    count = int(rng.integers(1, 7))
    keys, times = rng.integers(0, 3, count).tolist(), rng.integers(0, 8, count).astype(float).tolist()
    wanted, before = first_that_goes_back(keys, times, last), model.to_json()
    frame = pd.DataFrame({"k": keys, "t": times, "x": 1.0})
    if wanted is None:
        model.learn_many(frame)
        return
    with pytest.raises(DataError, match=f"time 't', row {wanted}: "):
        model.learn_many(frame)
    assert model.to_json() == before


@pytest.mark.parametrize(("keys", "batch_size"), [(1, 1), (1, 7), (20, 20)])
def test_a_forecast_is_as_far_ahead_as_records_were_apart_whatever_the_micro_batches(keys, batch_size):
    rng = random.Random(1)
    model = KalmanTracker(key="k", time="t", warmup_records=100, batch_size=batch_size)
    for step in range(400 // keys):
        for key in range(keys):
            model.learn_one({"k": key, "t": 30.0 * step, "x": 60.0 * step + rng.gauss(0, 0.1)})
    last = 60.0 * (400 // keys - 1)
    assert model.predict_one({"k": 0})["x"] == pytest.approx(last + 60.0, abs=5.0)
    both = KalmanTracker.combine([model, model])
    assert both._lately() == model._lately() == 30.0


def test_trackers_of_numbers_combine_to_one_of_numbers():
    models = [KalmanTracker(warmup_records=20, batch_size=20) for _ in range(2)]
    for model in models:
        for step in range(40):
            model.learn_one(float(step))
    assert isinstance(KalmanTracker.combine(models).predict_one(), float)


def test_a_frame_whose_memory_is_used_again_was_learned_as_it_was():
    rng = np.random.default_rng(0)
    buffer, model = np.empty((20, 2)), GaussianMixture(1, warmup_records=60)
    for level in (0.0, 5.0, 10.0):
        buffer[:] = rng.normal(level, 1.0, size=(20, 2))
        model.learn_many(pd.DataFrame(buffer, columns=["a", "b"], copy=False))
    assert model.means_[0] == pytest.approx([5.0, 5.0], abs=0.5)

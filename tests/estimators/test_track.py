"""Trackers record by record: the same numbers as in batches, whatever was asked in between."""

import json
import pickle
import random
import sys
from contextlib import suppress
from itertools import product

import numpy as np
import pandas as pd
import pytest
from river import evaluate
from river.metrics import MAE
from scipy.stats import chi2

from streamem.em import Observations
from streamem.em.dynamics import over_columns
from streamem.errors import DataError, ModelError
from streamem.estimators import KalmanTracker
from streamem.estimators.following import FEW
from streamem.estimators.gathered import Gathered
from streamem.estimators.track import STEPS, Track
from tests.em.test_kalman import drawn, each_dynamics, parameters, tracker

ONE_ROW = 1e-13
"""The same kernel; the compiler may add up in another order where it is called from another."""

ROUNDING = {"rtol": 1e-9, "atol": 1e-10}
"""A sequence in one pass skips what equal steps leave as it is but for its last bits."""


def textbook(model, theta, values, seconds, carried):
    """Return log-likelihood and squared distance of a record by the formulas of any book, with an inverse."""
    A, Q, C = over_columns(model.moved(np.array([seconds])), theta.noise)
    mean, P = theta.initial_mean, theta.initial_covariance
    if carried is not None:
        mean = A[0] @ carried["mean"][0]
        P = A[0] @ carried["covariance"][0] @ A[0].T + Q[0]
    seen = ~np.isnan(values)
    C, R = C[seen], theta.observation_covariance[np.ix_(seen, seen)]
    F, error = C @ P @ C.T + R, values[seen] - C @ mean
    distance = float(error @ np.linalg.inv(F) @ error)
    return -0.5 * (distance + np.linalg.slogdet(2.0 * np.pi * F)[1]), distance


@each_dynamics
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("gate_sigma", [None, 1.5])
@pytest.mark.parametrize(("columns", "timed"), [(1, True), (2, True), (2, False), (3, True)])
def test_record_by_record_is_the_pass_over_all(dynamics, covariance, gate_sigma, columns, timed):
    model = tracker(dynamics, observation_covariance=covariance, gate_sigma=gate_sigma)
    theta = parameters(model, columns, seed=columns)
    rows, _ = drawn(model, theta, 60, seed=columns, missing=0.3)
    rows.values[7] = np.nan
    rows.values[30] = 1e6
    when = rows.time if timed else None
    whole, left = model.posterior(theta, Observations(rows.values, time=when))
    track, carried = Track(model, theta, timed=timed), None
    for place, values in enumerate(rows.values):
        time = rows.time[place] if timed else 0.0
        one = Observations(values[None], time=None if when is None else when[place : place + 1])
        expected, goes_on = model.posterior(theta, one, carried)
        apart = time - carried["time"][0] if timed and place else float(place > 0)
        seen = track.see(values, time, carried)
        assert seen.log_likelihood == pytest.approx(expected.log_likelihood[0], rel=ONE_ROW)
        np.testing.assert_allclose(seen.covariance, expected.columns["covariance"], rtol=ONE_ROW, atol=ONE_ROW)
        np.testing.assert_allclose(seen.mean, expected.columns["mean"], rtol=ONE_ROW, atol=ONE_ROW)
        np.testing.assert_allclose(
            (seen.log_likelihood, seen.distance), textbook(model, theta, values, apart, carried), **ROUNDING
        )
        carried = seen.left(time)
        assert {name: (array.shape, array.dtype) for name, array in carried.items()} == {
            name: (array.shape, array.dtype) for name, array in goes_on.items()
        }
        assert (carried["known"][0], carried["time"][0]) == (goes_on["known"][0], goes_on["time"][0])
        np.testing.assert_allclose(seen.mean[0], whole.columns["mean"][place], **ROUNDING)
        np.testing.assert_allclose(seen.covariance[0], whole.columns["covariance"][place], **ROUNDING)
    np.testing.assert_allclose(carried["mean"], left["mean"], **ROUNDING)
    if gate_sigma is not None:
        assert whole.columns["outlier"][30]


def test_matrices_of_more_time_steps_than_are_kept_are_made_anew():
    model = tracker("constant_velocity")
    theta = parameters(model)
    track = Track(model, theta, timed=True)
    steps = [1.0 + 0.01 * place for place in range(2 * STEPS)]
    for seconds in (*steps, *steps):
        (A,), (Q,), _ = over_columns(model.moved(np.array([seconds])), theta.noise)
        np.testing.assert_array_equal(track.over(seconds).transition, A)
        np.testing.assert_array_equal(track.over(seconds).noise, Q)
    copied = pickle.loads(pickle.dumps(track))
    assert len(pickle.dumps(track)) < 10_000
    np.testing.assert_array_equal(copied.over(seconds).transition, A)


def moving(count, keys=1, seed=1, missing=0.0):
    """Return records of things that move at irregular times, each key in its own direction."""
    rng, when, out = random.Random(seed), 0.0, []
    for place in range(count):
        when += rng.choice([0.5, 1.0, rng.expovariate(1.0)])
        key = place % keys
        x = {"a": (key + 1) * when + rng.gauss(0.0, 1.0), "b": rng.gauss(0.0, 2.0) - when}
        if rng.random() < missing:
            del x[rng.choice("ab")]
        out.append({**x, "t": when, "k": key})
    return out


def begun(keys=3, count=700, missing=0.0, **settings):
    model = KalmanTracker(time="t", key="k", **{"warmup_records": 300, "batch_size": 200, **settings})
    rows = moving(count + 200, keys, missing=missing)
    for x in rows[:count]:
        model.learn_one(x)
    return model, rows[count:]


@pytest.mark.parametrize("every", [1, FEW, FEW + 1, 97])
def test_what_is_asked_in_between_does_not_change_where_a_track_is(every):
    """One by one, several one by one, in blocks."""
    asked, rows = begun(missing=0.2)
    silent, _ = begun(missing=0.2)
    for place, x in enumerate(rows[:150]):
        for model in (asked, silent):
            model.learn_one(x)
        if place % every == 0:
            asked.predict_one({"k": 0, "t": x["t"]})
    for x in rows[150:]:
        assert asked.predict_one(x) == pytest.approx(silent.predict_one(x), rel=1e-9)
        assert asked.log_likelihood_one(x) == pytest.approx(silent.log_likelihood_one(x), rel=1e-9)
        assert asked.score_one(x) == pytest.approx(silent.score_one(x), rel=1e-9)


def test_many_steps_ahead_are_each_as_if_asked_alone():
    model, rows = begun()
    steps = [{"k": 1, "t": x["t"]} for x in rows[:40]]
    for found, step in zip(model.forecast(40, steps), steps, strict=True):
        assert found == pytest.approx(model.predict_one(step), rel=1e-12)
    regular = model.forecast(5, [{"k": 2}] * 5)
    apart = np.diff([one["a"] for one in regular])
    assert apart == pytest.approx([apart[0]] * 4)
    assert model.forecast(0, [{"k": 2}]) == []


def test_tracks_that_learned_others_go_on_from_these():
    """Matrices laid out for single records are those of the parameters of now."""
    model, rows = begun(batch_size=10)
    for x in rows[:50]:
        model.learn_one(x)
        model.predict_one(x)
        fresh = KalmanTracker.from_json(model.to_json())
        assert model.log_likelihood_one(x) == fresh.log_likelihood_one(x)


@each_dynamics
@pytest.mark.parametrize("seconds", [1e100, 1e160, 1e300])
def test_a_time_too_far_ahead_is_an_error_or_a_number_and_no_warning(dynamics, seconds):
    period = 4 if dynamics == "seasonal" else 0
    model = KalmanTracker(dynamics, period=period, time="t", warmup_records=50, batch_size=20)
    for x in moving(75):
        model.learn_one({"a": x["a"], "b": x["b"], "t": x["t"]})
    far = {"a": 1.0, "b": 2.0, "t": seconds}
    assert 0.0 <= model.score_one(far) <= 1.0  # after so long whatever comes may be expected
    for ask in (lambda: [model.predict_one(far)], lambda: model.forecast(2, [far, far])):
        with suppress(ModelError):
            assert np.isfinite([value for one in ask() for value in one.values()]).all()
    if dynamics == "constant_acceleration" and seconds > 1e150:
        with pytest.raises(ModelError, match=r"forecast: found a time 1e.* after the last record; wanted one at which"):
            model.predict_one(far)


# ----------------------------------------------------------------------------------------------------- strange records


def test_what_was_learned_too_seldom_is_compared_with_what_the_model_expects():
    model, rows = begun(keys=1)
    model.flush()
    last = model.snapshot.averaged
    kalman = model.snapshot.model
    carried = model._carried(0)
    time = rows[0]["t"]
    found = []
    for away in (0.0, 1.0, 3.0, 30.0):
        x = {"a": time + away, "t": time, "k": 0}
        _, distance = textbook(kalman, last, np.array([x["a"], np.nan]), time - carried["time"][0], carried)
        found.append(model.score_one(x))
        assert found[-1] == pytest.approx(chi2.cdf(distance, 1), abs=1e-9)
        assert 0.0 < found[-1] <= 1.0
        assert model.score_many(pd.DataFrame([x])).iloc[0] == pytest.approx(found[-1], abs=1e-12)
    assert found == sorted(found)
    assert found[-1] > 0.999
    assert model.score_one({"a": None, "t": time, "k": 0}) == 0.0
    # one that was learned often keeps its rank
    both = {**rows[0], "a": time + 1e3}
    assert 1.0 > model.score_one(both) > 0.998


def test_a_frame_of_all_patterns_is_scored_as_its_records_are():
    model, rows = begun(keys=1)
    time = rows[0]["t"]
    for a, b in product([None, time, time + 50.0], [None, -time, 50.0]):
        x = {"a": a, "b": b, "t": time, "k": 0}
        frame = pd.DataFrame([x]).astype({"a": float, "b": float})
        assert model.score_many(frame).iloc[0] == pytest.approx(model.score_one(x), abs=1e-12)
    rows = [{"a": time + 50.0, "b": None}, {"a": time, "b": -time}, {"a": None, "b": None}, {"a": None, "b": 9.0}]
    frame = pd.DataFrame([{**x, "t": time, "k": place} for place, x in enumerate(rows)]).astype({"a": float})
    alone = [model.score_one({**x, "t": time, "k": place}) for place, x in enumerate(rows)]
    assert model.score_many(frame).tolist() == pytest.approx(alone, abs=1e-12)
    assert alone[2] == 0.0


def test_before_the_start_a_record_is_not_strange():
    model = KalmanTracker()
    model.learn_one({"a": 1.0})
    assert model.score_one({"a": 1e6}) == 0.0


# ----------------------------------------------------------------------------------------------------- times of keys


class Counted:
    """A key that counts how often it is compared or hashed."""

    asked = 0

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        Counted.asked += 1
        return hash(self.number)

    def __eq__(self, other):
        Counted.asked += 1
        return self.number == other.number


def test_with_thousands_of_keys_a_record_is_compared_with_none_of_the_others():
    model = KalmanTracker(time="t", key="k", batch_size=20_000, warmup_records=20_000)
    keys = [Counted(number) for number in range(5000)]
    for key in keys:
        model.learn_one({"a": 1.0, "t": 0.0, "k": key})
    Counted.asked = 0
    for key in keys[:100]:  # the ones that were gathered first
        model.learn_one({"a": 2.0, "t": 1.0, "k": key})
    assert 0 < Counted.asked <= 100 * 10


def calls(work):
    """Return how many functions are called in a piece of work."""
    count = 0

    def see(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_records_held_for_the_start_are_not_looked_through_for_every_record():
    model = KalmanTracker(time="t", key="k", batch_size=100, warmup_records=10_000)
    counts = []
    for place in range(5000):
        x = {"a": 1.0, "t": float(place), "k": place}  # every key is new
        if place % 100 == 50:
            counts.append(calls(lambda x=x: model.learn_one(x)))
        else:
            model.learn_one(x)
    assert len(counts) == 50
    assert counts[-1] == counts[1]


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("count", [50, 150, 330, 700])
def test_the_latest_time_of_a_key_is_known_while_gathered_held_and_learned(key, count):
    """At 50 records are gathered, at 150 held and gathered, at 330 and 700 learned and gathered."""
    model = KalmanTracker(time="t", key=key, warmup_records=300, batch_size=100, features=["a", "b"])
    rows = moving(count, 7)
    latest = {}
    for x in rows:
        model.learn_one(x)
        latest[None if key is None else x["k"]] = x["t"]
    for one in (model, KalmanTracker.from_json(model.to_json())):
        assert {name: one._latest(name) for name in latest} == pytest.approx(latest)
    assert key is None or model._latest("unheard") == -np.inf


def test_a_record_that_is_taken_back_takes_its_time_with_it():
    waiting = Gathered(("a",), 3)
    for row, key, time in (((1.0,), "x", 1.0), ((2.0,), "y", 2.0), ((3.0,), "x", 3.0)):
        waiting.put(row)
        waiting.keys.append(key)
        waiting.times.append(time)
        waiting.latest[key] = time
    assert waiting.only(np.array([0, 1])).latest == {"x": 1.0, "y": 2.0}
    waiting.take_back()
    assert waiting.latest == {"x": 1.0, "y": 2.0}
    waiting.clear()
    assert waiting.latest == {}


def test_a_forecast_is_of_one_key_and_takes_records_that_are_none():
    model = KalmanTracker(key="id", warmup_records=8, batch_size=8)
    for n in range(20):
        model.learn_one({"id": np.int64(n % 2), "x": float(n)})
    assert len(model.forecast(2, [{"id": 0}, {"id": np.int64(0)}])) == 2
    with pytest.raises(DataError, match="found the keys 0, 1; wanted one key in all records"):
        model.forecast(2, [{"id": 0}, {"id": 1}])
    assert KalmanTracker.from_json(json.loads(json.dumps(model.to_json()))).to_json() == model.to_json()
    found = evaluate.evaluate([(None, 3.0 * n) for n in range(40)], KalmanTracker(warmup_records=8), MAE(), horizon=2)
    assert found.metrics[0].get() < 40.0

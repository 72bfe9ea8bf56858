"""Records too far from everything: named once, left out, and nothing else suffers from them."""

import random

import pandas as pd
import pytest

from streamem import estimators
from streamem.errors import ModelError
from tests.estimators.streams import records, small

KINDS = [estimators.GaussianMixture, estimators.GaussianHMM, estimators.KalmanTracker]
each = pytest.mark.parametrize("kind", KINDS)
FAR = {"a": 1e200, "b": 0.0, "c": 0.0}


def learn(model, rows):
    """Learn record by record; return what was raised."""
    said = []
    for x in rows:
        try:
            model.learn_one(x)
        except ModelError as error:
            said.append(str(error))
    return said


@each
@pytest.mark.parametrize("place", [0, 30, 55, 59])
@pytest.mark.parametrize("value", [1e160, 1e200, 1e308])
def test_a_far_record_in_the_warm_up_is_named_once_and_left_out(kind, place, value):
    model, rows = small(kind), records(kind, 200)
    rows[place] = {**rows[place], "a": value}
    said = learn(model, rows)
    assert len(said) == 1
    assert f"'a': {value:g}" in said[0]
    model.flush()
    assert model.snapshot.records_seen == 199


@each
def test_a_full_micro_batch_after_a_far_record_that_is_held_is_kept(kind):
    model, rows = small(kind, batch_size=10), records(kind, 200)
    rows[3] = {**rows[3], "a": 1e200}
    assert len(learn(model, rows)) == 1
    model.flush()
    assert model.snapshot.records_seen == 199


@each
@pytest.mark.parametrize("library", ["frame", "with gaps"])
def test_a_far_record_in_a_frame_of_the_warm_up_is_named_and_left_out(kind, library):
    model, rows = small(kind), records(kind, 200)
    rows[3] = {**rows[3], "a": 1e200}
    frames = [pd.DataFrame(rows[start : start + 20]) for start in range(0, 200, 20)]
    if library == "frame":
        frames = [frame.fillna(0.0) for frame in frames]
    said = []
    for frame in frames:
        try:
            model.learn_many(frame)
        except ModelError as error:
            said.append(str(error))
    assert len(said) == 1
    assert "record 3 of the warm-up" in said[0]
    assert model.snapshot.records_seen == 179


@each
def test_a_far_record_that_is_gathered_stops_flush_once_and_combine_never(kind):
    rows = records(kind, 60)
    for method in (lambda model: model.flush(), lambda model: model.learn_many(pd.DataFrame(rows[:20]))):
        model = small(kind, batch_size=10)
        learn(model, rows)
        seen = model.snapshot.records_seen
        assert not learn(model, [rows[-1], FAR, rows[-1]])
        assert kind.combine([model, model]).snapshot.records_seen == 2 * (seen + 2)
        with pytest.raises(ModelError):
            method(model)
        model.flush()
        assert model.snapshot.records_seen == seen + 2


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("at_once", [True, False])
def test_predictions_go_on_past_a_far_record_that_is_gathered(kind, at_once):
    rows = records(kind, 60, keys=2)
    model, apart = (small(kind, key="device", batch_size=10) for _ in range(2))
    learn(model, rows)
    learn(apart, rows)
    for x in (rows[0], {**FAR, "device": "d0"}, rows[1], rows[2]):
        model.learn_one(x)
        if x["a"] != 1e200 if "a" in x else True:
            apart.learn_one(x)
        if not at_once:
            model.log_likelihood_one(rows[3])
    for key in ("d0", "d1"):
        x = {**rows[3], "device": key}
        assert model.log_likelihood_one(x) == pytest.approx(apart.log_likelihood_one(x), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_feature_joins_without_its_far_values(kind):
    model = small(kind)
    learn(model, records(kind, 100))
    rows = [{**x, "new": x.get("a", 0.0) + place % 7} for place, x in enumerate(records(kind, 300))]
    for place in range(7, 60, 10):
        rows[place] = {**rows[place], "new": 1e300}
    assert not learn(model, rows)
    model.flush()
    assert model.feature_names_in_ == ["a", "b", "c", "new"]
    assert abs(model.means_).max() < 100.0
    assert model.snapshot.records_seen == 400


def test_a_feature_whose_width_rounding_leaves_none_goes_on_waiting():
    model = estimators.GaussianMixture(1, warmup_records=20, batch_size=10)
    rng = random.Random(1)
    for n in range(200):
        model.learn_one({"a": rng.gauss(0, 1)} | ({"b": 1e-200 * (1 + n % 2)} if n >= 20 else {}))
    assert model.snapshot.records_seen == 200
    assert model.feature_names_in_ == ["a"]


def test_a_far_value_of_a_new_feature_is_named():
    model = estimators.GaussianMixture(1, warmup_records=50)
    rng = random.Random(1)
    model.learn_many(pd.DataFrame({"a": [rng.gauss(0, 1) for _ in range(30)]}))
    frame = pd.DataFrame({"a": [rng.gauss(0, 1) for _ in range(30)], "b": [float(n) for n in range(30)]})
    frame.loc[3, "b"] = 1e300
    with pytest.raises(ModelError, match=r"record 33 of the warm-up: found \{'a': .*, 'b': 1e\+300\}"):
        model.learn_many(frame)

"""What records may look like: features by name, keys, frames of two libraries, and what is refused."""

import math
import random
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest

from streamem import estimators
from streamem.em import Categorical, Gaussian, Part, Poisson, Product
from streamem.errors import ConfigError, DataError, ModelError
from tests.estimators.streams import CLASSES, LABELLED, records, small

each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
each_labelled = pytest.mark.parametrize("kind", LABELLED, ids=lambda kind: kind.__name__)

ONE_ROW = 1e-12
"""A record alone goes through another kernel than many: sums in another order."""


def learn(model, rows):
    for x in rows:
        model.learn_one(x)


def learned(kind, count=200, **settings):
    model = small(kind, **settings)
    for x in records(kind, count, keys=3 if settings.get("key") else 0):
        model.learn_one(x)
    return model


@each
def test_the_order_of_features_in_a_record_changes_no_bit(kind):
    one, other = small(kind), small(kind)
    rng = random.Random(5)
    for x in records(kind, 200):
        one.learn_one(x)
        names = list(x)
        rng.shuffle(names)
        other.learn_one({name: x[name] for name in names})
    assert one.to_json() == other.to_json()


@each_labelled
def test_records_and_a_frame_of_them_are_told_the_same(kind):
    model = learned(kind)
    model.flush()
    rows = records(kind, 50, seed=2)
    frame = pd.DataFrame(rows, columns=["a", "b", "c"], index=range(100, 150))
    whole = model.predict_proba_many(frame)
    assert list(whole.index) == list(range(100, 150))
    if not kind.__name__.endswith("HMM"):  # of which each row goes on from the one before
        for place, x in enumerate(rows):
            assert list(model.predict_proba_one(x).values()) == pytest.approx(whole.iloc[place].tolist(), abs=ONE_ROW)
            assert model.predict_one(x) == model.predict_many(frame).iloc[place]
            assert model.score_one(x) == pytest.approx(model.score_many(frame).iloc[place], abs=1e-9)
    first = model.predict_proba_one(rows[0])
    assert list(first.values()) == pytest.approx(whole.iloc[0].tolist(), abs=ONE_ROW)


@each
def test_pandas_and_polars_are_learned_and_told_to_the_same_bits(kind):
    rows = records(kind, 200)
    one, other = small(kind), small(kind)
    one.learn_many(pd.DataFrame(rows))
    other.learn_many(pl.DataFrame(rows, infer_schema_length=None))
    assert one.to_json() == other.to_json()
    found, theirs = one.predict_many(pd.DataFrame(rows)), other.predict_many(pl.DataFrame(rows))
    assert isinstance(theirs, pl.Series | pl.DataFrame)
    assert np.array_equal(found.to_numpy(), theirs.to_numpy())
    assert np.array_equal(
        one.score_many(pd.DataFrame(rows)).to_numpy(), other.score_many(pl.DataFrame(rows)).to_numpy()
    )


@each
def test_a_frame_is_the_micro_batch_that_its_records_are(kind):
    rows = [{name: x.get(name) for name in "abc"} for x in records(kind, 120)]
    one, other = small(kind, batch_size=120, warmup_records=120), small(kind, warmup_records=120)
    for x in rows:
        one.learn_one(x)
    other.learn_many(pd.DataFrame(rows))
    assert one.to_json()["state"] == other.to_json()["state"]


@pytest.mark.parametrize("kind", [estimators.GaussianMixture, estimators.GaussianHMM], ids=lambda kind: kind.__name__)
def test_a_feature_that_appears_starts_from_its_own_data(kind):
    rng = random.Random(1)
    model = small(kind, n_components=2)
    for _ in range(400):
        model.learn_one({"a": rng.gauss(6.0 * rng.randrange(2), 1.0)})
    assert model.feature_names_in_ == ["a"]
    for _ in range(2000):
        busy = rng.randrange(2)
        model.learn_one({"a": rng.gauss(6.0 * busy, 1.0), "new": rng.gauss(100.0 + 6.0 * busy, 1.0)})
    assert model.feature_names_in_ == ["a", "new"]
    low, high = np.argsort(model.means_[:, 0])
    assert model.means_[[low, high]].ravel() == pytest.approx([0.0, 100.0, 6.0, 106.0], abs=0.6)
    assert model.predict_one({"new": 106.0}) == high
    assert model.predict_one({"new": 100.0, "unheard": 3.0}) == low


def test_a_feature_that_never_changes_waits_until_it_does():
    model = small(estimators.GaussianMixture)
    rng = random.Random(1)
    for _ in range(300):
        model.learn_one({"a": rng.gauss(0.0, 1.0), "still": 5})
    assert model.feature_names_in_ == ["a"]
    for _ in range(300):
        model.learn_one({"a": rng.gauss(0.0, 1.0), "still": rng.gauss(5.0, 1.0)})
    assert model.feature_names_in_ == ["a", "still"]
    assert model.learn_one({"still": 4.0}) is None


@pytest.mark.parametrize(
    "kind", [estimators.KalmanTracker, estimators.CompoundDirichlet], ids=lambda kind: kind.__name__
)
def test_a_new_feature_is_refused_where_it_cannot_join(kind):
    model = learned(kind)
    before = model.to_json()
    with pytest.raises(DataError, match=r"feature 'new': found a new one; wanted a, b, c"):
        model.learn_one({"a": 1, "new": 2})
    assert model.to_json() == before


@pytest.mark.parametrize("kind", [estimators.GaussianMixture, estimators.GaussianHMM])
@pytest.mark.parametrize("frames", [False, True])
def test_features_that_change_late_shorten_the_warm_up_and_join_after_it(kind, frames):
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(5000, 9)), columns=list("abcdefghi"))
    rows.loc[:2499, list("cdefghi")] = 1.0
    model = kind(4, batch_size=100)  # nine features need 1,300 records or more, two need 1,000
    if frames:
        for start in range(0, 5000, 2500):
            model.learn_many(rows[start : start + 2500])
    else:
        learn(model, rows.to_dict("records"))
    model.flush()
    assert model.feature_names_in_ == list("abcdefghi")
    assert model.snapshot.records_seen == 5000
    model.learn_many(rows[-500:])  # with a feature more likelihoods are no longer comparable: the scores begin anew
    assert model.score_one(dict.fromkeys("abcdefghi", 9.0)) > 0.99


def test_features_that_are_named_are_the_only_ones():
    model = small(estimators.GaussianMixture, features=["b", "a"])
    for x in records(estimators.GaussianMixture, 100):
        model.learn_one({**x, "label": "text", "inf": math.inf})
    assert model.feature_names_in_ == ["b", "a"]
    assert set(model.predict_proba_one({"a": 1.0, "label": "text"})) == {0, 1}
    before = model.to_json()
    for method in (model.learn_one, model.predict_one, model.score_one):
        with pytest.raises(DataError, match="one of 'b', 'a'"):
            method({"label": 3})
    assert model.to_json() == before


WRONG = {
    "text": ({"a": "1.5", "b": 1}, "feature 'a': found '1.5'; wanted a finite number"),
    "infinity": ({"a": 1, "b": math.inf}, "feature 'b': found inf; wanted a finite number"),
    "a list": ({"a": [1, 2]}, "feature 'a': found"),
    "a complex number": ({"a": 1j, "b": 1, "c": 1}, "feature 'a': found 1j; wanted a finite number"),
    "a list for a record": ([1.0, 2.0], "a record: found a list; wanted a mapping"),
    "nothing for a record": (None, "a record: found a NoneType"),
    "an enormous integer": ({"a": 10**400, "b": 1, "c": 1}, "feature 'a'"),
}


@each_labelled
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("count", [0, 200])
def test_what_is_no_record_is_refused_and_nothing_changes(kind, wrong, count):
    model = learned(kind, count)
    before = model.to_json()
    x, told = WRONG[wrong]
    for method in (model.learn_one, model.predict_one, model.predict_proba_one, model.score_one):
        with pytest.raises(DataError) as caught:
            method(x)
        assert told in str(caught.value)
        assert "To do:" in str(caught.value)
    assert model.to_json() == before


@each
def test_an_empty_record_is_refused_by_learning(kind):
    for count in (0, 200):
        model = learned(kind, count)
        before = model.to_json()
        with pytest.raises(DataError, match="the features of a record: found nothing"):
            model.learn_one({})
        assert model.to_json() == before


@each_labelled
def test_a_record_without_any_known_feature_tells_nothing_of_the_component(kind):
    model = learned(kind)
    found = model.predict_proba_one({"unheard": 1.0})
    if hasattr(model, "weights_") and kind is not estimators.CompoundDirichlet:
        assert list(found.values()) == pytest.approx(model.weights_.tolist())
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [estimators.PoissonMixture, estimators.PoissonHMM], ids=lambda kind: kind.__name__)
def test_what_is_no_count_is_refused_by_counts(kind):
    model = learned(kind)
    before = model.to_json()
    for x in ({"a": -1.0, "b": 1, "c": 1}, {"a": 1.5, "b": 1, "c": 1}, {"a": -1}):
        for method in (model.learn_one, model.predict_one, model.score_one):
            with pytest.raises(DataError, match=r"feature 'a': found -?1.*; wanted a whole number of at least 0"):
                method(x)
    with pytest.raises(DataError, match="column 'b', row 1: found -3"):
        model.learn_many(pd.DataFrame({"a": [1, 2], "b": [3, -3], "c": [1, 1]}))
    assert model.to_json() == before


@each_labelled
def test_before_the_start_all_components_are_equally_probable(kind):
    model = small(kind, n_components=4)
    x = records(kind, 1)[0]
    assert model.predict_proba_one(x) == dict.fromkeys(range(4), 0.25)
    assert (model.predict_one(x), model.score_one(x)) == (0, 0.0)
    assert math.isnan(model.log_likelihood_one(x))
    assert model.predict_proba_many(pd.DataFrame([x])).to_numpy().tolist() == [[0.25] * 4]
    with pytest.raises(AttributeError, match="the start is not made yet"):
        model.weights_  # noqa: B018
    with pytest.raises(ModelError, match="no parameters yet"):
        model.sample(3)


@each
def test_frames_that_are_wrong_are_refused_and_nothing_changes(kind):
    model = learned(kind)
    before = model.to_json()
    model.learn_many(pd.DataFrame())
    model.learn_many(pd.DataFrame({"a": [], "b": []}))
    assert len(model.predict_many(pd.DataFrame({"a": [], "b": [], "c": []}))) == 0
    with pytest.raises(DataError, match="X: found a list; wanted a frame"):
        model.learn_many([[1.0]])
    for library in (pd, pl):
        with pytest.raises(DataError, match=r"column 'a'.*wanted numbers"):
            model.learn_many(library.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]}))
        with pytest.raises(DataError, match="column 'b', row 1: found inf"):
            model.learn_many(library.DataFrame({"a": [1.0, 2.0], "b": [1.0, math.inf], "c": [1.0, 1.0]}))
    assert model.to_json() == before


def test_a_frame_of_other_columns_is_refused_where_features_are_named():
    model = small(estimators.GaussianMixture, features=["a", "b"])
    model.learn_many(pd.DataFrame(records(estimators.GaussianMixture, 100)))
    before = model.to_json()
    with pytest.raises(DataError, match="the features of a record: found 'x', 'y'; wanted one of 'a', 'b'"):
        model.learn_many(pd.DataFrame({"x": [1.0], "y": [2.0]}))
    assert model.to_json() == before


@pytest.mark.parametrize("kind", [estimators.GaussianMixture, estimators.GaussianHMM])
def test_a_record_too_far_away_to_tell_is_left_out_and_said(kind):
    model = learned(kind, 60)
    far = {"a": 1e300, "b": 1e300, "c": 1e300}
    assert model.score_one(far) == 1.0
    with pytest.raises(ModelError):
        model.predict_one(far)
    model.learn_one(far)
    before = model.snapshot
    rows = records(kind, 50, seed=4)
    with pytest.raises(ModelError):
        learn(model, rows)
    assert model.snapshot is before
    for x in rows:
        model.learn_one(x)
    assert model.snapshot.update > before.update


def test_a_setting_out_of_its_limits_is_refused():
    for settings in ({"n_components": 0}, {"batch_size": 0}, {"covariance_type": "fulll"}, {"features": "ab"},
                     {"features": []}, {"warmup_records": 0}, {"seed": -1}, {"max_keys": 0}):  # fmt: skip
        with pytest.raises(ConfigError):
            estimators.GaussianMixture(**settings)
    with pytest.raises(ConfigError, match="did you mean 'poisson'"):
        estimators.Mixture(family="poison")


def test_each_key_has_its_own_state():
    rng = random.Random(1)
    busy = {"one": False, "two": False}
    model = estimators.GaussianHMM(2, key="device", warmup_records=300, batch_size=10)
    for _ in range(3000):
        for device in busy:
            busy[device] ^= rng.random() < 0.03
            model.learn_one({"device": device, "load": rng.gauss(2.0 * busy[device], 1.0)})
    for level, device in ((0.0, "one"), (2.0, "two")):
        for _ in range(7):
            model.learn_one({"device": device, "load": level})
    high = int(model.means_[:, 0].argmax())
    between = {"load": 1.0}
    assert model.predict_proba_one({"device": "two", **between})[high] > 0.9
    assert model.predict_proba_one({"device": "one", **between})[high] < 0.1
    frame = pd.DataFrame({"device": ["one", "two"], "load": [1.0, 1.0]})
    together = model.predict_proba_many(frame)[high].tolist()
    apart = [model.predict_proba_one({"device": device, **between})[high] for device in ("one", "two")]
    assert together == pytest.approx(apart, abs=ONE_ROW)
    before = model.to_json()
    for method in (model.learn_one, model.predict_one):
        for x in ({"load": 1.0}, {"load": 1.0, "device": None}, {"load": 1.0, "device": ["a"]}):
            with pytest.raises(DataError, match="key 'device'"):
                method(x)
    assert model.to_json() == before


def test_keys_beyond_the_most_are_forgotten():
    model = small(estimators.GaussianHMM, key="device", max_keys=5)
    for place, x in enumerate(records(estimators.GaussianHMM, 2000)):
        model.learn_one({**x, "device": place // 10})
    assert len(model.to_json()["state"]["keys"]["table"]) <= 5
    assert len(model.to_json()["state"]["carry"]["known"]) < 40


def test_families_side_by_side_and_categories():
    both = Product(parts=(Part(Gaussian()), Part(Poisson())))
    with pytest.raises(ConfigError):
        estimators.Mixture(2, both)
    model = estimators.Mixture(2, both, features=["real", "count"], **{"warmup_records": 50, "batch_size": 10})
    rng = random.Random(1)
    for _ in range(200):
        model.learn_one({"real": rng.gauss(0.0, 1.0), "count": rng.randrange(5)})
    with pytest.raises(DataError, match="feature 'count': found -1"):
        model.learn_one({"real": -1.0, "count": -1})
    assert set(model.sample(1, seed=3)[0]) == {"real", "count"}
    states = estimators.HMM(2, Categorical(), warmup_records=50, batch_size=10)
    for _ in range(200):
        states.learn_one({"valve": rng.randrange(3)})
    assert states.emissionprob_.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_tracker_follows_irregular_times_one_track_a_key():
    rng = random.Random(1)
    model = estimators.KalmanTracker(time="when", key="bus", warmup_records=200, batch_size=50)
    begin, when = datetime(2026, 1, 1), 0.0
    for _ in range(1000):
        when += rng.expovariate(1.0)
        bus = rng.choice(["east", "west"])
        x = (1.0 if bus == "east" else -1.0) * 10.0 * when + rng.gauss(0.0, 1.0)
        model.learn_one({"x": x, "bus": bus, "when": begin + timedelta(seconds=when)})
    later = [{"bus": "west", "when": begin + timedelta(seconds=when + ahead)} for ahead in (5.0, 10.0)]
    found = [one["x"] for one in model.forecast(2, later)]
    assert found == pytest.approx([-10.0 * (when + 5.0), -10.0 * (when + 10.0)], abs=10.0)
    there = {"bus": "east", "when": begin + timedelta(seconds=when + 1.0), "x": 10.0 * (when + 1.0)}
    assert model.predict_one(there)["x"] == pytest.approx(there["x"], abs=5.0)
    assert model.filter_one(there)["x"] == pytest.approx(there["x"], abs=3.0)
    assert model.score_one({**there, "x": 0.0}) > 0.99 > model.score_one(there)
    before = model.to_json()
    with pytest.raises(DataError, match=r"time 'when': found .* s before the record before it"):
        model.learn_one({"x": 0.0, "bus": "east", "when": begin})
    with pytest.raises(DataError, match="time 'when': found 'noon'; wanted a time"):
        model.learn_one({"x": 0.0, "bus": "east", "when": "noon"})
    with pytest.raises(DataError, match="time 'when'"):
        model.learn_one({"x": 0.0, "bus": "east"})
    assert model.to_json() == before
    frame = pd.DataFrame([there, {**there, "when": there["when"] + timedelta(seconds=1)}])
    assert model.predict_many(frame)["x"].iloc[0] == pytest.approx(model.filter_one(there)["x"], abs=1e-6)
    model.learn_many(pl.DataFrame(frame.to_dict("list")))


def test_a_tracker_tells_the_matrices_that_it_learned():
    model = estimators.KalmanTracker("constant_velocity", warmup_records=100)
    rng, place, speed = random.Random(1), 0.0, 0.0
    for _ in range(5000):
        place, speed = place + speed, speed + rng.gauss(0.0, 0.5)
        model.learn_one(place + rng.gauss(0.0, 2.0))
    assert model.transition_matrix.tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert model.observation_matrix.tolist() == [[1.0, 0.0]]
    assert model.observation_covariance[0, 0] == pytest.approx(4.0, rel=0.25)
    assert model.transition_covariance[1, 1] == pytest.approx(0.25, rel=0.5)
    assert all(isinstance(ahead, float) for ahead in model.forecast(3))


@pytest.mark.parametrize(
    "name", ["transition_matrix", "transition_covariance", "observation_matrix", "observation_covariance"]
)
def test_writing_into_a_matrix_of_a_tracker_changes_nothing_of_it(name):
    model = estimators.KalmanTracker(warmup_records=20, batch_size=20)
    for second in range(20):
        model.learn_one(3.0 * second + (-1) ** second)
    told, ahead = getattr(model, name), model.forecast(2)
    before = told.copy()
    told[:] = 1e6
    assert getattr(model, name).tolist() == before.tolist()
    assert model.forecast(2) == ahead


@each
def test_a_refused_record_or_frame_leaves_no_feature_behind(kind):
    settings = {"key": "device"} | ({"time": "when"} if kind is estimators.KalmanTracker else {})
    model = small(kind, **settings)
    for place, x in enumerate(records(kind, 30)):
        model.learn_one({**x, "device": "d", "when": place})
    if kind is not estimators.KalmanTracker:
        model = small(kind, key="device")
        learn(model, records(kind, 100, keys=2))
    before = model.to_json()
    for wrong in ({"phantom": 1.0}, {"phantom": 1.0, "device": None}, {"phantom": 1.0, "device": "d", "when": "noon"}):
        if "when" in wrong and model.time is None:
            continue
        with pytest.raises(DataError):
            model.learn_one(wrong)
        with pytest.raises(DataError):
            model.learn_many(pd.DataFrame([wrong]))
    after = model.to_json()
    assert after["state"]["names"] == before["state"]["names"]


def test_asking_a_tracker_about_a_number_changes_nothing():
    model = small(estimators.KalmanTracker)
    assert model.filter_one(3.0) == 3.0
    assert model.filter_one({"x": 3.0}) == {"x": 3.0}
    before = model.to_json()
    for method in (model.score_one, model.log_likelihood_one, model.filter_one):
        method(3.0)
    with pytest.raises(DataError):
        model.learn_one("text")
    assert model.to_json() == before
    model.learn_one({"y": 1.0})
    assert model.predict_one() == {"y": 1.0}


@pytest.mark.parametrize("settings", [{"batch_size": 1.5}, {"features": 5}, {"n_components": 2.0}, {"features": "ab"},
                                      {"features": ["a", "a"]}, {"features": ["a", "k"], "key": "k"},
                                      {"batch_size": None}, {"features": [["a"]]}])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_at_once(settings):
    with pytest.raises(ConfigError):
        estimators.GaussianHMM(**settings)


def test_key_and_time_are_two_fields_and_combine_takes_a_list():
    with pytest.raises(ConfigError, match="key and time"):
        estimators.KalmanTracker(key="t", time="t")
    with pytest.raises(ConfigError, match="combine: models"):
        estimators.GaussianMixture.combine(learned(estimators.GaussianMixture))


@each
def test_no_records_are_drawn_where_none_are_asked_for(kind):
    assert learned(kind).sample(0) == []

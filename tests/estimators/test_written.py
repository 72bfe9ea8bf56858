"""Going on with the same bits: after a pickle, a clone, JSON; from snapshots, from other libraries; combining."""

import copy
import json
import os
import pickle
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import psutil
import pytest
from hmmlearn.hmm import CategoricalHMM
from hmmlearn.hmm import GaussianHMM as TheirGaussianHMM
from hmmlearn.hmm import PoissonHMM as TheirPoissonHMM
from sklearn.mixture import GaussianMixture as TheirMixture

from streamem import estimators
from streamem.em import HMM, Gaussian, Mixture, Power
from streamem.errors import ConfigError, ModelError, SnapshotError
from streamem.stream.operators import Learn, Score
from streamem.stream.outputs import Output
from streamem.stream.protocol import Cuts
from tests.estimators.streams import CLASSES, records, small
from tests.stream.pipelines import FRAME, Place

each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)

WAYS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "clone": lambda model: model.clone(include_attributes=True),
    "deepcopy": copy.deepcopy,
    "json": lambda model: type(model).from_json(json.loads(json.dumps(model.to_json()))),
    "json text": lambda model: type(model).from_json(json.dumps(model.to_json())),
}


def told(model, x):
    """Return all that a model says of a record."""
    found = [model.predict_one(x), model.score_one(x), model.log_likelihood_one(x)]
    return (
        [*found, model.predict_proba_one(x)]
        if hasattr(model, "predict_proba_one")
        else [*found, model.forecast(2, [x, x])]
    )


@each
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("count", "keys"), [(0, 0), (30, 3), (205, 0), (207, 3)])
def test_it_goes_on_with_the_same_bits(kind, way, count, keys):
    settings = {"schedule": Power(rate=0.7), "max_keys": 2, "key": "device"} if keys else {}
    model = small(kind, **settings)
    rows = records(kind, count + 80, keys=keys)
    for place, x in enumerate(rows[:count]):
        model.learn_one(x)
        if place % 5 == 0:
            told(model, x)  # which works something out ahead
    again = WAYS[way](model)
    for x in rows[count:]:
        assert repr(told(again, x)) == repr(told(model, x))
        model.learn_one(x)
        again.learn_one(x)
    assert again.to_json() == model.to_json()
    if count:
        assert again.snapshot.update > 2


@each
def test_a_clone_without_attributes_knows_nothing(kind):
    model = small(kind)
    for x in records(kind, 100):
        model.learn_one(x)
    assert model.clone().to_json() == small(kind).to_json()


@each
def test_json_of_another_class_or_version_is_refused(kind):
    record = small(kind).to_json()
    other = next(one for one in CLASSES if one is not kind)
    with pytest.raises(SnapshotError, match=rf"class: found '{kind.__name__}'; wanted '{other.__name__}'"):
        other.from_json(record)
    for wrong in ({**record, "format": "streamem.estimator/2"}, {}, [], "{", "null", 3):
        with pytest.raises(SnapshotError, match="from_json"):
            kind.from_json(wrong)


def test_json_that_was_tampered_with_is_refused():
    model = small(estimators.GaussianHMM, key="device")
    for x in records(estimators.GaussianHMM, 150, keys=3):
        model.learn_one(x)
    record = model.to_json()
    tried = 0
    for part in ("settings", "state"):
        for name in record[part]:
            for wrong in ("text", -1, [[1]], {"a": 1}):
                broken = copy.deepcopy(record)
                broken[part][name] = wrong
                try:
                    estimators.GaussianHMM.from_json(broken)
                except SnapshotError:
                    tried += 1
            broken = copy.deepcopy(record)
            del broken[part][name]
            if part == "state":
                with pytest.raises(SnapshotError):
                    estimators.GaussianHMM.from_json(broken)
    assert tried > 60


def test_names_that_json_would_change_are_refused_by_to_json():
    model = small(estimators.GaussianMixture)
    model.learn_one({("a", 1): 1.0})
    with pytest.raises(ConfigError, match="names that JSON changes"):
        model.to_json()


def test_a_million_records_need_no_more_memory():
    model = estimators.GaussianMixture(3)
    rng = np.random.default_rng(1)
    rows = [dict(zip("abcd", row, strict=True)) for row in rng.normal(size=(10_000, 4)).tolist()]
    process, used = psutil.Process(os.getpid()), []
    for turn in range(100):
        for x in rows:
            model.learn_one(x)
        if turn >= 9:
            used.append(process.memory_info().rss)
    assert model.snapshot.records_seen == 1_000_000
    print(f"{used[0] / 2**20:.1f} MiB after 100,000 records, {used[-1] / 2**20:.1f} after 1,000,000")
    assert max(used) < 1.05 * used[0]


# what the pipelines learn: the family of `Place`, over its features and cuts of 100
PIPELINES = {
    "mixture": (estimators.GaussianMixture, Mixture(components=2)),
    "hmm": (estimators.GaussianHMM, HMM(states=2)),
    "diagonal": (estimators.GaussianMixture, Mixture(components=2, family=Gaussian(covariance="diagonal"))),
}


@pytest.fixture(params=PIPELINES)
def ran(request, tmp_path):
    """A class, and the snapshots of a pipeline that learned its model."""
    kind, model = PIPELINES[request.param]
    place = Place(tmp_path / "p")
    learn = Learn(name="r", features=["x", "y"], model=model, warmup_records=250)
    place.pipeline(operators=(learn,)).run()
    return kind, model, place


def test_learn_many_over_the_same_cuts_is_the_pipeline_to_the_bit(ran):
    kind, model, place = ran
    settings = {"covariance_type": "diag"} if model == PIPELINES["diagonal"][1] else {}
    ours = kind(2, features=["x", "y"], warmup_records=250, key="device", **settings)
    for start in range(0, 1000, 100):
        ours.learn_many(FRAME[start : start + 100])
    record = place.records("snapshots")[-1]
    assert record["records_seen"] == 1000
    for name in (
        "parameters",
        "averaged",
        "records_seen",
        "update",
        "step_size",
        "log_likelihood",
        "model",
        "features",
    ):
        assert ours.to_snapshot()[name] == record[name]


def test_a_snapshot_of_a_pipeline_predicts_as_the_pipeline_does_and_goes_back(ran, tmp_path):
    kind, model, place = ran
    file = tmp_path / "snapshot.json"
    file.write_text(json.dumps(place.records("snapshots")[-1]))
    for source in (file, str(file), place.records("snapshots")[-1]):
        ours = kind.from_snapshot(source, batch_size=10)
        assert ours.feature_names_in_ == ["x", "y"]
    scored = Place(tmp_path / "scored")
    output = Output(what="posteriors", sink=scored.sink("posteriors"))
    scored.pipeline(operators=(Score(name="r", snapshot=str(file)),), outputs=(output,), cuts=Cuts(1000)).run()
    theirs = [record["r.probabilities"] for record in scored.records("posteriors")]
    frame = FRAME.select("device", "x", "y")
    assert ours.predict_proba_many(frame).to_numpy().tolist() == theirs

    back = tmp_path / "back.json"
    back.write_text(json.dumps(ours.to_snapshot()))
    again = Place(tmp_path / "again")
    learn = Learn(name="r", features=["x", "y"], model=model, start_from=str(back))
    again.pipeline(operators=(learn,)).run()
    ours.learn_many(FRAME[:100])
    for start in range(100, 1000, 100):
        ours.learn_many(FRAME[start : start + 100])
    assert ours.to_snapshot()["averaged"] == again.records("snapshots")[-1]["averaged"]


def drive(count, unit=1.0, first=0):
    """Return records of a car and a bus, ten seconds apart each."""
    rng = np.random.default_rng(first)
    return [
        {"vehicle": vehicle, "at": unit * 10.0 * second, "metres": 20.0 * second + rng.normal()}
        for second in range(first, first + count)
        for vehicle in ("car", "bus")
    ]


def test_a_tracker_from_a_snapshot_knows_key_and_time(tmp_path):
    model = estimators.KalmanTracker(time="at", key="vehicle", warmup_records=200, batch_size=50, gate_sigma=8.0)
    for x in drive(200):
        model.learn_one(x)
    file = tmp_path / "snapshot.json"
    file.write_text(json.dumps(model.to_snapshot()))
    for source in (model.to_snapshot(), file):
        again = estimators.KalmanTracker.from_snapshot(source, batch_size=1000)
        assert (again.time, again.key, again.features, again.gate_sigma) == ("at", "vehicle", ["metres"], 8.0)
        for x in drive(30, first=200):
            again.learn_one(x)
        # none is learned yet, but records are known to be ten seconds apart
        ahead = again.forecast(3, [{"vehicle": "bus"}] * 3)
        assert [one["metres"] for one in ahead] == pytest.approx([4600.0, 4620.0, 4640.0], abs=5.0)
        assert again.to_snapshot() == model.to_snapshot()
    renamed = estimators.KalmanTracker.from_snapshot(file, time="seconds", key=None)
    assert (renamed.time, renamed.key) == ("seconds", None)


def test_times_of_a_snapshot_that_count_something_else_are_refused():
    model = estimators.KalmanTracker(time="at", warmup_records=50)
    for x in drive(100)[::2]:
        model.learn_one({"at": x["at"], "metres": x["metres"]})
    record = model.to_snapshot() | {"time_unit": "ms"}
    with pytest.raises(
        ConfigError, match=r"from_snapshot: time: found 'at', counted in ms; wanted seconds.*time=\.\.\."
    ):
        estimators.KalmanTracker.from_snapshot(record)
    assert estimators.KalmanTracker.from_snapshot(record, time="seconds").time == "seconds"


def test_a_tracker_goes_to_a_pipeline_and_back(tmp_path):
    model = estimators.KalmanTracker(time="time", key="device", features=["x", "y"], warmup_records=200)
    for row in FRAME.iter_rows(named=True):
        model.learn_one(row | {"time": datetime.fromisoformat(row["time"])})
    file = tmp_path / "snapshot.json"
    file.write_text(json.dumps(model.to_snapshot()))
    place = Place(tmp_path)
    learn = Learn(name="r", features=["x", "y"], model=model._model(), start_from=str(file))
    place.pipeline(operators=(learn,)).run()
    record = place.records("snapshots")[-1]
    back = estimators.KalmanTracker.from_snapshot(record)
    assert (back.key, back.time, back.features) == ("device", "time", ["x", "y"])
    assert back.to_snapshot()["parameters"] == record["parameters"]


def test_a_snapshot_of_another_model_or_without_features_is_refused(ran):
    _, _, place = ran
    record = place.records("snapshots")[-1]
    with pytest.raises(SnapshotError, match=r"PoissonMixture: found a snapshot of .*; wanted a Mixture of the family"):
        estimators.PoissonMixture.from_snapshot(record)
    with pytest.raises(SnapshotError):
        estimators.KalmanTracker.from_snapshot(record)
    kind = ran[0]
    del record["features"]
    with pytest.raises(ConfigError, match="names none"):
        kind.from_snapshot(record)
    with pytest.raises(ConfigError, match="1 names; wanted 2"):
        kind.from_snapshot(record, features=["x"])
    with pytest.raises(ConfigError, match="no such file"):
        kind.from_snapshot("nowhere.json")
    with pytest.raises(ModelError):
        kind().to_snapshot()


def test_models_trained_apart_are_combined():
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(4000, 2)) + 6.0 * rng.integers(2, size=(4000, 1)), columns=["a", "b"])
    apart = []
    for start in range(0, 4000, 1000):
        one = estimators.GaussianMixture(2, warmup_records=200, seed=start)
        for x in rows[start : start + 1000].to_dict("records")[:-5]:
            one.learn_one(x)
        apart.append(one)
    before = [one.to_json() for one in apart]
    together = estimators.GaussianMixture.combine(apart)
    assert [one.to_json() for one in apart] == before
    assert together.snapshot.records_seen == 4 * 995
    assert sorted(together.means_[:, 0]) == pytest.approx([0.0, 6.0], abs=0.15)
    together.learn_one({"a": 1.0, "b": 2.0})
    only = estimators.GaussianMixture.combine(apart, weights=[1, 0, 0, 0])
    first = copy.deepcopy(apart[0])
    first.flush()
    assert np.allclose(np.sort(only.means_, axis=0), np.sort(first.means_, axis=0), rtol=1e-9)
    for models in ([], [apart[0], estimators.GaussianMixture(2)], [apart[0], estimators.GaussianHMM(2)]):
        with pytest.raises(ConfigError, match="combine"):
            estimators.GaussianMixture.combine(models)
    other = estimators.GaussianMixture(2, warmup_records=100)
    other.learn_many(rows[:200].rename(columns={"a": "z"}))
    with pytest.raises(SnapshotError, match="combine: model 2: found b, z; wanted a, b"):
        estimators.GaussianMixture.combine([apart[0], other])


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_it_goes_on_from_a_fit_of_scikit_learn(covariance):
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(1000, 2)) + 5.0 * rng.integers(2, size=(1000, 1)), columns=["u", "v"])
    theirs = TheirMixture(2, covariance_type=covariance, random_state=1).fit(rows)
    ours = estimators.GaussianMixture.from_sklearn(theirs, batch_size=10)
    assert ours.feature_names_in_ == ["u", "v"]
    assert ours.covariance_type == covariance
    assert np.allclose(ours.predict_proba_many(rows).to_numpy(), theirs.predict_proba(rows), rtol=0.0, atol=1e-9)
    for name in ("weights_", "means_", "covariances_"):
        assert np.allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)
    for x in rows[:20].to_dict("records"):
        ours.learn_one(x)
    assert ours.snapshot.update == 2
    with pytest.raises(ConfigError):
        estimators.GaussianMixture.from_sklearn(TheirMixture(2))


def test_it_goes_on_from_a_fit_of_hmmlearn():
    rng = np.random.default_rng(1)
    state = np.repeat(rng.integers(2, size=100), 10)
    cases = [
        (estimators.GaussianHMM, TheirGaussianHMM(2, covariance_type="diag", random_state=1),
         rng.normal(size=(1000, 2)) + 4.0 * state[:, None]),
        (estimators.PoissonHMM, TheirPoissonHMM(2, random_state=1), rng.poisson(3.0 + 20.0 * state)[:, None]),
        (estimators.HMM, CategoricalHMM(2, random_state=1), rng.integers(3, size=1000)[:, None]),
    ]  # fmt: skip
    for kind, theirs, rows in cases:
        theirs.fit(rows)
        ours = kind.from_hmmlearn(theirs)
        assert ours.feature_names_in_ == list(range(rows.shape[1]))
        assert np.allclose(ours.transmat_, theirs.transmat_, rtol=1e-6)
        found = ours.log_likelihood_one(dict(enumerate(rows[0].tolist())))
        assert found == pytest.approx(theirs.score(rows[:1]), abs=1e-6)


@each
def test_drawn_records_are_like_those_that_were_learned(kind):
    model = small(kind)
    for x in records(kind, 300):
        model.learn_one(x)
    drawn = model.sample(50, seed=2, exposure=20.0 if kind is estimators.CompoundDirichlet else 1.0)
    assert drawn == model.sample(50, seed=2, exposure=20.0 if kind is estimators.CompoundDirichlet else 1.0)
    assert len(drawn) == 50
    assert set(drawn[0]) == {"a", "b", "c"}
    assert np.isfinite(pl.DataFrame(drawn).to_numpy()).all()
    assert model.predict_many(pd.DataFrame(drawn)) is not None


@pytest.mark.parametrize("family", ["gaussian", "multinomial"])
@pytest.mark.parametrize(
    "wrong",
    [{"n": 1.5}, {"n": "3"}, {"n": True}, {"n": -1}, {"seed": -1}, {"seed": 0.5}, {"seed": "a"}]
    + [{"exposure": wrong} for wrong in (0.0, -1.0, float("nan"), float("inf"), "a", None)],
    ids=str,
)
def test_a_draw_that_cannot_be_is_refused(family, wrong):
    model = estimators.Mixture(2, family, warmup_records=60, batch_size=10)
    for x in records(estimators.PoissonMixture, 60):
        model.learn_one(x)
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"sample: {name}: found "):
        model.sample(**wrong)


@each
def test_a_notebook_shows_a_table(kind):
    model = small(kind)
    assert "nothing learned yet: 0 records gathered" in model._repr_html_()
    for x in records(kind, 100):
        model.learn_one(x)
    page = model._repr_html_()
    assert "<th>a</th><th>b</th><th>c</th>" in page
    assert "after 95 records" in page

"""Wrong input gets one answer: in records and frames, before the start and after it; and nothing changes by it."""

import math
from datetime import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from streamem import estimators
from streamem.errors import ConfigError, DataError, ModelError
from tests.estimators.streams import CLASSES, LABELLED, records, small

each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
each_labelled = pytest.mark.parametrize("kind", LABELLED, ids=lambda kind: kind.__name__)
before_and_after = pytest.mark.parametrize("count", [0, 20, 100])


def learned(kind, count=100, **settings):
    model = small(kind, **settings)
    for x in records(kind, count, keys=3 if settings.get("key") else 0):
        model.learn_one(x)
    return model


def tracker(count=100, **settings):
    """Return a tracker of one bus, a metre a second."""
    model = small(estimators.KalmanTracker, time="when", key="bus", **settings)
    for second in range(count):
        model.learn_one({"x": second + (second % 7) / 3, "bus": "east", "when": float(second)})
    return model


def asked(model):
    names = ("learn_many", "predict_many", "score_many", "predict_proba_many")
    return [getattr(model, name) for name in names if hasattr(model, name)]


def refused(model, frame, told):
    """Check that every method for frames refuses one in the same words, and nothing changes."""
    before, said = model.to_json(), set()
    for method in asked(model):
        with pytest.raises(DataError, match=told) as caught:
            method(frame)
        said.add(str(caught.value))
    assert len(said) == 1
    assert model.to_json() == before


def taken(kind, count, frame):
    """Check that every method for frames takes one, and learning takes it as its numbers."""
    model, other = learned(kind, count), learned(kind, count)
    plain = pd.DataFrame({"a": [1.0, math.nan], "b": [2.0, 2.0], "c": [3.0, 3.0]})
    for method in asked(model)[1:]:
        assert len(method(frame)) == 2
    model.learn_many(frame)
    other.learn_many(plain)
    assert model.to_json()["state"]["names"] == ["a", "b", "c"]
    assert repr(model.to_json()) == repr(other.to_json())


FRAMES = {
    "text": (pd.DataFrame({"a": ["x"], "b": [1.0]}), "column 'a', row 0: found 'x'; wanted numbers"),
    "text of polars": (pl.DataFrame({"a": [None, "x"], "b": [1.0, 1.0]}), "column 'a', row 1: found 'x'"),
    "text that is no feature yet": (pd.DataFrame({"a": [1.0], "z": ["x"]}), "column 'z', row 0: found 'x'"),
    "an infinity": (pd.DataFrame({"a": [1.0, math.inf]}), "column 'a', row 1: found inf; wanted a finite number"),
    "complex numbers": (pd.DataFrame({"a": [1j], "b": [1.0]}), r"column 'a', row 0: found 1j"),
    "complex numbers alone": (pd.DataFrame({"a": [1j], "b": [1j], "c": [1j]}), "column 'a', row 0"),
    "text in categories": (pd.DataFrame({"a": pd.Categorical(["x"])}), "column 'a', row 0: found 'x'"),
    "categories of polars": (pl.DataFrame({"a": ["x"]}, schema={"a": pl.Categorical}), "column 'a', row 0: found 'x'"),
    "a mixture": (pd.DataFrame({"a": [1, None, "x"]}, dtype=object), "column 'a', row 2: found 'x'"),
    "dates": (pd.DataFrame({"a": [datetime(2026, 1, 1)]}), "column 'a', row 0: found"),
    "lists": (pl.DataFrame({"a": [[1.0]]}), "column 'a', row 0: found"),
    "a name twice": (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "the columns of X: found 'a' more than once"),
}


@pytest.mark.parametrize("kind", [estimators.GaussianMixture, estimators.PoissonHMM, estimators.KalmanTracker])
@pytest.mark.parametrize("wrong", FRAMES)
@before_and_after
def test_a_wrong_frame_is_refused_by_all_methods_alike(kind, wrong, count):
    if wrong == "text that is no feature yet" and kind is estimators.KalmanTracker and count == 100:
        return  # which learn_many refuses as a new feature
    refused(learned(kind, count), *FRAMES[wrong])


@before_and_after
def test_a_frame_of_other_columns_is_refused_where_features_are_named(count):
    model = learned(estimators.GaussianMixture, count, features=["a", "b"])
    refused(model, pd.DataFrame({"z": [1.0]}), "the features of a record: found 'z'; wanted one of 'a', 'b'")
    model.predict_many(pd.DataFrame({"a": [1.0], "z": ["text"]}))


@pytest.mark.parametrize("kind", [estimators.GaussianMixture, estimators.KalmanTracker])
@pytest.mark.parametrize("column", [
    pd.Series([1, None], dtype="Int64"), pd.Series([1, None], dtype=object), pd.Series([Decimal(1), None]),
    pd.Series([True, None], dtype="boolean"), pd.Series([1, None], dtype="category"), pd.Series([1, pd.NA]),
    pd.Series([1.0, None], dtype="Sparse[float64]"), pd.Series([1.0, pd.NaT], dtype=object),
], ids=lambda column: str(column.dtype))  # fmt: skip
@pytest.mark.parametrize("count", [0, 100])
def test_columns_of_objects_are_taken_as_the_numbers_they_hold(kind, column, count):
    taken(kind, count, pd.DataFrame({"a": column, "b": [2, 2], "c": np.array([3, 3], np.float32)}))


@pytest.mark.parametrize("kind", [pl.Decimal(10, 2), pl.Object, pl.Int128, pl.UInt8, pl.Float32], ids=str)
@pytest.mark.parametrize("count", [0, 100])
def test_columns_of_polars_are_taken_as_the_numbers_they_hold(kind, count):
    values = [Decimal(1), None] if isinstance(kind, pl.Decimal) else [1, None]
    frame = pl.DataFrame({"a": pl.Series(values, dtype=kind), "b": [2, 2], "c": [3, 3]})
    taken(estimators.GaussianMixture, count, frame)
    model = learned(estimators.GaussianMixture, count)
    for method in asked(model):
        method(frame.with_columns(pl.lit(None).alias("a")))


@each
@before_and_after
@pytest.mark.parametrize("frame", [
    pd.DataFrame(), pl.DataFrame(), pd.DataFrame({"a": []}), pl.DataFrame({"a": [], "z": []}),
    pd.DataFrame({"a": pd.Series(dtype=str)}), pl.DataFrame(schema={"a": pl.String}),
])  # fmt: skip
def test_a_frame_without_rows_is_nothing(kind, count, frame):
    model = learned(kind, count)
    before = model.to_json()
    assert model.learn_many(frame) is None
    for method in asked(model)[1:]:
        assert len(method(frame)) == 0
    assert model.to_json() == before


@each_labelled
@before_and_after
def test_text_in_a_field_that_is_no_feature_yet_is_refused_of_records_too(kind, count):
    model = learned(kind, count, key="device")
    before = model.to_json()
    for x in (records(kind, 1)[0], {"a": 1}):
        for method in (model.learn_one, model.predict_one, model.predict_proba_one, model.score_one):
            with pytest.raises(DataError, match="feature 'z': found 'text'"):
                method({**x, "z": "text", "device": "d0"})
    assert model.to_json() == before


@each_labelled
@pytest.mark.parametrize("value", [np.complex128(1 + 2j), np.timedelta64(1, "ns"), np.datetime64(1, "ns"),
                                   memoryview(b"1"), np.array([1.0])])  # fmt: skip
def test_what_only_looks_like_a_number_is_refused(kind, value):
    model = learned(kind)
    before = model.to_json()
    for x in ({"a": value, "b": 1, "c": 1}, {"a": value}):
        for method in (model.learn_one, model.predict_one, model.score_one):
            with pytest.raises(DataError, match="feature 'a': found"):
                method(x)
    assert model.to_json() == before


def test_no_mapping_is_a_record_even_where_it_can_be_asked_by_name():
    model = small(estimators.GaussianMixture)
    for x in records(estimators.GaussianMixture, 100):
        model.learn_one(dict(enumerate(x.values())))
    for x in ([1.0, 2.0, 3.0], np.float64(1.0), pd.Series([1.0, 2.0, 3.0])):
        for method in (model.learn_one, model.predict_one):
            with pytest.raises(DataError, match="a record: found a"):
                method(x)


@each
@before_and_after
@pytest.mark.parametrize("key", [math.nan, None, pd.NaT, np.datetime64("NaT"), pd.NA, np.float32("nan")], ids=repr)
def test_a_key_that_stands_for_nothing_is_none(kind, count, key):
    model = learned(kind, count, key="device")
    before, x = model.to_json(), {"a": 1, "b": 1, "c": 1, "device": key}
    for method in (model.learn_one, model.score_one, model.predict_one):
        with pytest.raises(DataError, match=r"key 'device': found .*; wanted a key"):
            method(x)
    frame = pd.DataFrame({"a": [1, 1], "b": [1, 1], "c": [1, 1], "device": pd.Series(["d0", key], dtype=object)})
    refused(model, frame, r"key 'device', row 1: found .*; wanted a key")
    if isinstance(key, float):
        refused(model, pl.DataFrame({"a": [1, 1], "device": [1.0, key]}), "key 'device', row 1: found nan")
    refused(model, pl.DataFrame({"a": [1], "device": [[1]]}), r"key 'device', row 0: found \[1\]")
    assert model.to_json() == before


# ------------------------------------------------------------------------------------------------- times and forecasts


@before_and_after
@pytest.mark.parametrize("when", [pd.NaT, np.datetime64("NaT"), math.nan, None, "noon", math.inf, 10**400, 1j, True,
                                  np.timedelta64(1, "s"), np.datetime64(10**13, "Y")], ids=repr)  # fmt: skip
def test_what_is_no_time_is_refused(count, when):
    model = tracker(count)
    before, x = model.to_json(), {"x": 1.0, "bus": "east", "when": when}
    for method in (model.learn_one, model.score_one, model.filter_one, model.log_likelihood_one):
        with pytest.raises(DataError, match=r"time 'when': found .*; wanted a time"):
            method(x)
    column = pd.Series([1e5, when], dtype=object)
    refused(model, pd.DataFrame({"x": [1.0, 1.0], "bus": "east", "when": column}), "time 'when', row 1: found")
    assert model.to_json() == before


@pytest.mark.parametrize("column", [
    pd.Series([pd.Timestamp(2026, 1, 1), pd.NaT]), pd.Series([1, None], dtype="Int64"), pd.Series([1.0, None]),
    pl.Series([datetime(2026, 1, 1), None]), pl.Series([1.0, math.nan]), pl.Series([1, None]),
    pl.Series([1.0, math.inf]),
], ids=lambda column: f"{type(column).__module__} {column.dtype}")  # fmt: skip
def test_a_column_of_times_with_one_missing_is_refused_with_its_row(column):
    library = pd if isinstance(column, pd.Series) else pl
    frame = library.DataFrame({"x": [1.0, 1.0], "bus": ["east", "east"], "when": column})
    for count in (0, 100):
        refused(tracker(count), frame, r"time 'when', row 1: found .*; wanted a time")


@before_and_after
def test_time_that_goes_back_is_refused_of_records_and_frames_with_row_key_and_times(count):
    model = tracker(count)
    if count:
        with pytest.raises(DataError, match=r"time 'when': .* before it of the key 'east': 3 after"):
            model.learn_one({"x": 1.0, "bus": "east", "when": 3.0})
        late = pd.DataFrame({"x": [1.0], "bus": ["east"], "when": [count - 3.0]})
        refused(model, late, f"row 0: found 2 s before .* 'east': {count - 3} after {count - 1};")
    within = pd.DataFrame({"x": [1.0] * 3, "bus": ["west", "east", "west"], "when": [900.0, 300.0, 800.0]})
    refused(model, within, r"time 'when', row 2: found 100 s before .* 'west': 800 after 900;")
    model.learn_many(within[:2])  # each key has a time of its own


def test_time_that_goes_back_from_what_a_frame_held_for_the_start_is_refused():
    model = small(estimators.KalmanTracker, time="when")
    model.learn_many(pd.DataFrame({"x": [1.0, 2.0], "when": [5.0, 6.0]}))
    refused(model, pd.DataFrame({"x": [1.0, 2.0], "when": [5.5, 7.0]}), "row 0: found 0.5 s before .* 5.5 after 6")
    keyed = small(estimators.KalmanTracker, time="when", key="bus")
    keyed.learn_many(pd.DataFrame({"x": [1.0, 2.0], "bus": ["a", "b"], "when": [5.0, 3.0]}))
    keyed.learn_one({"x": 1.0, "bus": "b", "when": 4.0})
    refused(keyed, pd.DataFrame({"x": [1.0], "bus": ["a"], "when": [4.5]}), "'a': 4.5 after 5;")
    refused(keyed, pd.DataFrame({"x": [1.0], "bus": ["b"], "when": [3.5]}), "'b': 3.5 after 4;")


@before_and_after
@pytest.mark.parametrize("horizon", ["abc", 1.5, True, -1, None, math.nan])
def test_a_horizon_that_is_none_is_refused(count, horizon):
    model = tracker(count)
    with pytest.raises(ConfigError, match="forecast: horizon: found"):
        model.forecast(horizon, [{"bus": "east"}])


@before_and_after
def test_what_is_no_record_of_a_forecast_is_refused(count):
    model = tracker(count)
    for xs in ([5], 5, "a", {"bus": "east"}, [None], []):
        with pytest.raises(DataError):
            model.forecast(1, xs)
    for method in (model.predict_one, model.score_one):
        with pytest.raises(DataError):
            method(x=5)


@before_and_after
def test_a_forecast_is_a_record_for_each_step(count):
    model = tracker(count)
    for bus in ("east", "unheard"):
        first, second = model.forecast(2, [{"bus": bus}] * 2)
        first["mine"] = 1.0
        assert "mine" not in second


def test_a_tracker_that_has_learned_nothing_gives_rows_back():
    for library in (pd, pl):
        frame = library.DataFrame({"device": ["d"], "a": [1.0], "b": [None]})
        found = small(estimators.KalmanTracker, key="device").predict_many(frame)
        assert list(found.columns) == ["a", "b"]
        assert found["a"].to_list() == [1.0]


# ------------------------------------------------------------------------------------------------- nothing left behind


@pytest.mark.parametrize("kind", [estimators.GaussianHMM, estimators.KalmanTracker])
@pytest.mark.parametrize("count", [40, 100])
@pytest.mark.parametrize("most", [None, 2])
def test_a_batch_that_is_not_learned_leaves_no_key_behind(kind, count, most):
    model = learned(kind, count, key="device", max_keys=most)
    model.flush()
    before = model.to_json()
    far = pd.DataFrame({"a": [1.0, 1e300] * 20, "b": 1.0, "c": 1.0, "device": [f"new{row}" for row in range(40)]})
    with pytest.raises(ModelError):
        model.learn_many(far)
    assert model.to_json() == before
    model.learn_many(far[::2])
    slots = [slot for _, slot in model.to_json()["state"]["keys"]["table"]]
    assert len(set(slots)) == len(slots) == (most or 23)


@pytest.mark.parametrize("count", [0, 100])
def test_names_that_are_no_text_are_those_of_columns_too(count):
    model = small(estimators.GaussianMixture)
    for x in records(estimators.GaussianMixture, count):
        model.learn_one({place: x.get(name) for place, name in enumerate("abc")})
    frame = pd.DataFrame({0: [1, 2], 1: pd.Series([1, None], dtype=object), 2: [1.0, 2.0], 1.5: [3.0, 3.0]})
    for columns in ([0, 1, 2], [2, 0], [0, 1.5]):
        for method in asked(model)[1:]:
            assert len(method(frame[columns])) == 2
        model.learn_many(frame[columns])
    before = model.to_json()
    with pytest.raises(DataError, match="feature nan: found NaN for a name"):
        model.learn_one({math.nan: 1.0})
    assert model.to_json() == before


@pytest.mark.parametrize("frames", [False, True])
def test_records_that_give_no_start_wait_and_none_is_lost(frames):
    model = small(estimators.GaussianMixture, features=["a", "b"], n_components=2)
    rng, said = np.random.default_rng(1), []
    rows = [{"a": value, "b": 1.0} for value in rng.normal(size=100).tolist()]
    rows += [{"a": a, "b": b} for a, b in rng.normal(size=(60, 2)).tolist()]

    def learn(chunk):
        try:
            if frames:
                model.learn_many(pd.DataFrame(chunk))
            else:
                model.learn_one(chunk[0])
        except ModelError as error:
            said.append(str(error))

    size = 10 if frames else 1
    for start in range(0, 100, size):
        learn(rows[start : start + size])
    assert len(said) == 1
    assert "The last 60 records wait" in said[0]
    assert "tried anew with 120" in said[0]
    again = estimators.GaussianMixture.from_json(model.to_json())
    for start in range(100, 160, size):
        learn(rows[start : start + size])
        (again.learn_many(pd.DataFrame(rows[start : start + size])) if frames else again.learn_one(rows[start]))
    model.flush()
    again.flush()
    assert len(said) == 1
    assert model.snapshot.records_seen == 160
    assert again.to_json() == model.to_json()


@pytest.mark.parametrize("kind", [estimators.GaussianMixture, estimators.GaussianHMM])
def test_a_stream_that_never_varies_is_said_ever_more_rarely_and_needs_no_more_memory(kind):
    model, said = small(kind, key="device"), []
    for place in range(2000):
        try:
            model.learn_one({"a": 1.0, "b": 1.0, "device": place % 3})
        except ModelError:
            said.append(place + 1)
    assert said[:3] == [60, 120, 240]
    assert len(said) < 20
    assert sum(len(batch) for batch in model._learner.held) <= 240

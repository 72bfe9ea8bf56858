"""Anything at all given to every public method: what is wrong is refused in our words, and nothing changes by it."""

import copy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streamem import estimators
from streamem.errors import ConfigError, ModelError, StreamemError
from tests.estimators.streams import CLASSES, LABELLED, records, small

ODD = [
    None, True, "1.5", "", b"1", 1j, np.complex128(2 + 1j), np.complex64(1), [], [1.0], {}, (1, 2), object(), 10**400,
    float("inf"), float("nan"), -0.0, 1e308, 5e-324, Decimal("1.5"), Decimal("NaN"), Decimal("sNaN"), Fraction(1, 3),
    np.float32(1.5), np.int64(3), np.bool_(True), np.array(1.0), np.array([1.0]), np.array([np.nan]), memoryview(b"1"),
    pd.NaT, pd.NA, pd.Timestamp(2026, 1, 1), pd.Timedelta(1), pd.Series([1.0]), pl.Series([1.0]), datetime.min,
    np.datetime64("NaT"), np.datetime64(2026, "Y"), np.datetime64(10**13, "Y"), np.timedelta64(1, "s"),
    date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime.max, timedelta(1), range(2), int, Ellipsis,
]  # fmt: skip

values = st.one_of(st.sampled_from(ODD), st.integers(-3, 40), st.floats(), st.integers(), st.text(max_size=2))
names = st.sampled_from(["a", "b", "c", "device", "when", "other", 0, 1.5, None, "", ("a", 1), float("nan")])
mappings = st.dictionaries(names, values, max_size=6)
things = st.one_of(mappings, values)

PANDAS = [None, object, "category", float, "Int64", "boolean", "string", complex, "datetime64[ns]",
          "datetime64[us, UTC]"]  # fmt: skip
POLARS = [pl.Object, pl.Float64, pl.Int64, pl.Boolean, pl.String, pl.Null, pl.Decimal(20, 3), pl.Categorical, pl.Date,
          pl.Datetime("ns"), pl.Datetime("ms", "UTC"), pl.List(pl.Float64)]  # fmt: skip


@st.composite
def frames(draw):
    """Return a frame of columns that may be anything, or something that is none."""
    rows, pandas = draw(st.integers(0, 4)), draw(st.booleans())
    cells = st.one_of(values, st.floats(0, 20), st.integers(0, 20))
    labels = draw(st.lists(names if pandas else st.sampled_from(["a", "b", "c", "device", "when", "z"]), max_size=5))
    columns = []
    for _ in labels:
        same = draw(st.one_of(st.sampled_from(ODD), st.integers(0, 9)))
        column = draw(st.lists(cells, min_size=rows, max_size=rows)) if draw(st.booleans()) else [same] * rows
        try:
            made = pd.Series(column, dtype=object) if pandas else pl.Series(column, dtype=pl.Object)
            kind = draw(st.sampled_from(PANDAS if pandas else POLARS))
            made = pd.Series(column, dtype=kind) if pandas else pl.Series(column, dtype=kind, strict=False)
        except (Exception, pl.exceptions.PanicException):  # of the libraries: such a column cannot be
            pass
        columns.append(made)
    if pandas:
        whole = pd.concat(columns, axis=1, keys=range(len(labels))) if columns else pd.DataFrame()
        return whole.set_axis(labels, axis=1)
    return pl.DataFrame([column.alias(label) for label, column in dict(zip(labels, columns, strict=True)).items()])


N = 25
PHASES = (Phase.reuse, Phase.generate)
"""Without shrinking: what a model says of each smaller example takes longer than to read the first."""

settled = {}


def begun(kind, count, **given):
    """Return a copy of an estimator that has learned so many records."""
    settings_ = {"key": "device", **({"time": "when"} if kind is estimators.KalmanTracker else {}), **given}
    place = (kind, count, tuple(settings_.items()))
    if place not in settled:
        model = settled[place] = small(kind, **{name: value for name, value in settings_.items() if value})
        for row, x in enumerate(records(kind, count, keys=2)):
            model.learn_one({**{name: x[name] for name in x if name != "device" or model.key}}
                            | ({"when": float(row)} if getattr(model, "time", None) else {}))  # fmt: skip
    return copy.deepcopy(settled[place])


def state(model):
    """Return what a refusal must not change, but what predictions work out ahead."""
    record = model.to_json()
    record["state"].pop("ahead")
    return record


def refusal(call):
    """Return in which of our words a call is refused, None where it is not; whatever else is raised is a defect."""
    try:
        call()
    except StreamemError as error:
        return error
    return None


def tried(model, method, *given):
    """Call a method; what it refuses is refused in our words, and nothing has changed."""
    before = state(model)
    error = refusal(lambda: getattr(model, method)(*given))
    assert error is None or "To do:" in str(error)
    learns = method.startswith("learn")
    # where learning gives no parameters it leaves out a record or lets all wait, as documented
    if not learns or (error is not None and not isinstance(error, ModelError)):
        assert state(model) == before


each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
counts = st.sampled_from([0, 20, 100])
ways = st.sampled_from([{}, {"key": None, "time": None}, {"features": ("a", "b", "c")}])


@each
@settings(max_examples=N, deadline=None, phases=PHASES)
@given(data=st.data())
def test_any_record_is_taken_or_refused(kind, data):
    model = begun(kind, data.draw(counts), **data.draw(ways))
    usual = data.draw(st.sampled_from(records(kind, 20, keys=2)))
    given_ = data.draw(st.one_of(things, mappings.map(lambda x: {**usual, "when": 1e5, **x})))
    ask = ["predict_one", "score_one", "log_likelihood_one"]
    for method in [*ask, "predict_proba_one"] if kind in LABELLED else [*ask, "filter_one"]:
        tried(model, method, given_)
    if kind is estimators.KalmanTracker:
        for method in ("score_one", "filter_one", "learn_one"):
            tried(model, method, given_, data.draw(things))
        tried(model, "forecast", data.draw(values), data.draw(st.one_of(things, st.lists(mappings, max_size=3))))
        tried(model, "forecast", 2, [given_, given_])
    else:
        tried(model, "learn_one", given_)


@each
@settings(max_examples=N, deadline=None, phases=PHASES)
@given(data=st.data())
def test_any_frame_is_taken_or_refused(kind, data):
    model = begun(kind, data.draw(counts), **data.draw(ways))
    frame = data.draw(st.one_of(frames(), things))
    ask = ["predict_many", "score_many"]
    for method in [*ask, "predict_proba_many"] if kind in LABELLED else ask:
        tried(model, method, frame)
    tried(model, "learn_many", frame)


@each
@settings(max_examples=N, deadline=None, phases=PHASES)
@given(data=st.data())
def test_any_argument_of_the_rest_is_taken_or_refused(kind, data):
    model = begun(kind, data.draw(counts))
    tried(model, "sample", data.draw(values.filter(lambda value: not isinstance(value, int) or value < 1000)))
    for name in ("seed", "exposure"):
        wrong = {name: data.draw(values)}
        error = refusal(lambda wrong=wrong: model.sample(**wrong))
        assert error is None or "To do:" in str(error)
    makers = ((kind.from_json, StreamemError), (kind.from_snapshot, StreamemError), (kind.combine, ConfigError))
    for make, error in makers:
        with pytest.raises(error):
            make(data.draw(things))

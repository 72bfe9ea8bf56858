"""The operator of river's transformers, against river itself record by record, and whatever comes together."""

import json
from math import inf, isnan, nan

import numpy as np
import polars as pl
import pytest
from river import preprocessing

from streamem.config import load
from streamem.errors import ConfigError, ModelError, SnapshotError
from streamem.stream.batch import ROW
from streamem.stream.operators import Learn, River
from streamem.stream.operators.scalers import SCALERS
from streamem.stream.outputs import Output
from streamem.stream.protocol import Columns
from streamem.stream.rejections import Errors
from tests.stream.pipelines import FRAME, MODEL, Place
from tests.stream.test_lag import cut, same_state, saved

CASES = [
    ("StandardScaler", {}),
    ("StandardScaler", {"with_std": False}),
    ("MinMaxScaler", {}),
    ("MaxAbsScaler", {}),
    ("AdaptiveStandardScaler", {}),
    ("AdaptiveStandardScaler", {"fading_factor": 0.02}),
]


def records(count=1500, seed=0):
    """Return rows of several kinds of numbers, with missing values of both kinds; one column begins with zeros."""
    rng = np.random.default_rng(seed)
    near = rng.normal(3.0, 5.0, count)
    near = [None if n % 11 == 3 else nan if n % 13 == 5 else float(value) for n, value in enumerate(near)]
    zeros_first = np.where(np.arange(count) < 40, 0.0, rng.normal(size=count))
    columns = {"far": rng.normal(1e9, 1e6, count), "zeros": zeros_first, "count": rng.integers(-3, 4, count)}
    return pl.DataFrame({"near": near, **columns}, strict=False)


def by_river(name, parameters, frame):
    """Return what river makes of every record: learn_one, then transform_one."""
    transformer = getattr(preprocessing, name)(**parameters)
    told = {f"{feature}.scaled": [] for feature in frame.columns}
    for record in frame.iter_rows(named=True):
        x = {feature: value for feature, value in record.items() if value is not None and not isnan(value)}
        transformer.learn_one(x)
        there = transformer.transform_one(x)
        for feature in record:
            told[f"{feature}.scaled"].append(None if feature not in there else float(there[feature]))
    return pl.DataFrame(told, schema=dict.fromkeys(told, pl.Float64))


def operator(name="StandardScaler", frame=None, **parameters):
    features = records(1).columns if frame is None else frame.columns
    return River(name="scaled", transformer=name, parameters=parameters, features=features)


def after(river, frame, size=100, together=1):
    """Return the rows that leave, and the state after them."""
    step = river.open(frame.schema, Columns())
    left = [out.frame.drop(ROW) for batch in cut(frame, size, together) for out in step.process(batch)]
    assert {out.schema == step.schema for out in left} == {True}
    return pl.concat(left), step.state()


def test_every_transformer_of_the_table_is_compared():
    assert {name for name, _ in CASES} == set(SCALERS)


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_every_record_is_scaled_to_the_same_bits_as_by_river(name, parameters, seed):
    frame = records(seed=seed)
    left, _ = after(operator(name, **parameters), frame)
    theirs = by_river(name, parameters, frame)
    assert theirs.columns == left.columns[len(frame.columns) :]
    for column in theirs.columns:
        assert left[column].to_list() == theirs[column].to_list()  # None where missing, else equal bits
        assert left[column].drop_nulls().n_unique() > 5


@pytest.mark.parametrize("name", SCALERS)
def test_where_micro_batches_end_and_which_come_together_changes_no_bit(name):
    frame = records(600)
    usual, state = after(operator(name), frame)
    for size, together in ((1, 1), (7, 3), (600, 1)):
        left, other = after(operator(name), frame, size, together)
        assert left.equals(usual)
        assert same_state(other, state)


@pytest.mark.parametrize("name", SCALERS)
def test_a_state_that_was_on_the_disk_goes_on_with_the_same_bits(name, tmp_path):
    frame = records(900)
    whole, end = after(operator(name), frame)
    first, state = after(operator(name), frame[:400])
    step = operator(name).open(frame.schema, Columns())
    step.restore(saved(tmp_path, state, frame.schema))
    rest = [out.frame.drop(ROW) for batch in cut(frame, 100, 1, start=400) for out in step.process(batch)]
    assert pl.concat([first, *rest]).equals(whole)
    assert same_state(step.state(), end)


def test_a_pipeline_in_parts_leaves_the_same_bytes(tmp_path):
    scaled = River(transformer="StandardScaler", features=["x", "y"])
    learn = Learn(name="r", features=["x.scaled", "y.scaled"], model=MODEL, warmup_records=250)
    whole, parts = Place(tmp_path / "whole"), Place(tmp_path / "parts")

    def run(place, **options):
        outputs = [Output(what="posteriors", sink=place.sink("posteriors"), include="all")]
        return place.pipeline(operators=(scaled, learn), outputs=outputs).run(**options)

    run(whole)
    for _ in range(5):
        run(parts, limit=300)
    assert parts.left() == whole.left()
    theirs = by_river("StandardScaler", {}, FRAME.select("x", "y"))
    told = pl.DataFrame(whole.records("posteriors"), infer_schema_length=None)
    assert told["x.scaled"].to_list() == theirs["x.scaled"].to_list()


def test_columns_names_what_is_added_and_may_replace_a_feature():
    frame = records(50).select("far", "zeros")
    usual, _ = after(operator(frame=frame), frame)
    named = River(transformer="StandardScaler", features=["far", "zeros"], columns=["far", "z"])
    left, _ = after(named, frame)
    assert left.columns == ["far", "zeros", "z"]
    assert left["far"].to_list() == usual["far.scaled"].to_list()
    assert left["z"].to_list() == usual["zeros.scaled"].to_list()


def test_an_infinite_number_makes_a_bad_record_that_nothing_is_learned_from(tmp_path):
    place = Place(tmp_path)
    frame = FRAME.with_columns(x=pl.when(pl.int_range(pl.len()) == 77).then(inf).otherwise(pl.col("x")))
    outputs = [Output(what="posteriors", sink=place.sink("posteriors"), include="all")]
    scaled = River(transformer="MaxAbsScaler", features=["x"])
    place.pipeline(
        frame, operators=(scaled,), outputs=outputs, errors=Errors(policy="dead_letter", sink=place.sink("dead"))
    ).run()
    told = [record["x.scaled"] for record in place.records("posteriors")]
    assert (
        told
        == by_river("MaxAbsScaler", {}, FRAME.select("x")[[n for n in range(1000) if n != 77]])["x.scaled"].to_list()
    )
    [dead] = place.records("dead")
    assert "scaled: x: found inf; wanted a finite number or a missing value" in json.dumps(dead)


def test_numbers_that_overflow_end_the_run_and_leave_the_state():
    frame = pl.DataFrame({"x": [1.0, 2.0, 1e300, -1e300]})
    step = operator(frame=frame).open(frame.schema, Columns())
    before, bad = cut(frame, 2, 1)
    step.process(before)
    state = step.state()
    with pytest.raises(ModelError, match="scaled: found numbers that overflow StandardScaler in the batch 1"):
        step.process(bad)
    assert same_state(step.state(), state)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"transformer": "StandartScaler"},
            r"'StandartScaler' \(did you mean 'StandardScaler'\?\); wanted one of river's",
        ),
        ({"transformer": "RobustScaler"}, "plain values: StandardScaler, MinMaxScaler, MaxAbsScaler, Adaptive"),
        (
            {"parameters": {"with_sdt": False}},
            r"scaled\.parameters\.with_sdt: found the unknown key with_sdt; wanted one of with_std.*mean 'with_std'",
        ),
        ({"parameters": {"with_std": "no"}}, r"scaled\.parameters\.with_std: found 'no'; wanted True or False"),
        (
            {"transformer": "MinMaxScaler", "parameters": {"window_size": 3}},
            "wanted none: MinMaxScaler has no parameters",
        ),
        ({"features": []}, "scaled.features: found no columns"),
        ({"features": ["x", "x"]}, "scaled.features: found 'x' twice"),
        ({"features": ["z"]}, "scaled.features: found the column 'z'"),
        ({"features": ["device"]}, "scaled.features: found 'device' of type String; wanted numbers"),
        ({"columns": ["a", "b"]}, "scaled.columns: found 'a', 'b'; wanted 1 different names"),
        ({"columns": [ROW]}, "scaled.columns"),
        ({"columns": [""]}, "scaled.columns"),
    ],
)
def test_wrong_settings_are_refused_by_their_place(settings, words):
    schema = pl.Schema({"device": pl.String, "x": pl.Float64})
    river = River(**({"transformer": "StandardScaler", "features": ["x"]} | settings))
    with pytest.raises(ConfigError, match=words):
        river.open(schema, Columns())


def test_the_state_of_another_transformer_is_refused():
    frame = records(20)
    _, state = after(operator("MaxAbsScaler"), frame)
    with pytest.raises(SnapshotError, match=r"scaled: found an array of the shape \(2, 4\); wanted one of \(3, 4\)"):
        operator().open(frame.schema, Columns()).restore(state)


PIPELINE = """
source: {{type: files, paths: [rows.csv]}}
operators:
  - {{type: river, transformer: {transformer}, features: [x]{more}}}
  - {{type: learn, name: r, features: [x.scaled], model: {{type: mixture, components: 2}}}}
outputs:
  - {{what: posteriors, sink: {{type: console}}}}
"""


def test_a_pipeline_file_names_it(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(transformer="AdaptiveStandardScaler", more=", parameters: {fading_factor: 0.1}"))
    river = load(str(file)).operators[0]
    assert river == River(transformer="AdaptiveStandardScaler", features=["x"], parameters={"fading_factor": 0.1})


def test_a_pipeline_file_with_another_is_refused_with_the_line(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(transformer="RobustScaler", more=""))
    with pytest.raises(ConfigError, match=r"p.yaml line 4: operators.0.transformer: found \"?'?RobustScaler"):
        load(str(file))


@pytest.mark.parametrize(
    ("transformer", "parameters", "words"),
    [
        ("StandardScaler", "{with_std: 3}", "with_std: found 3; wanted True or False"),
        (
            "AdaptiveStandardScaler",
            "{fading_factor: 2}",
            "fading_factor: found 2; wanted a finite number of at least 0",
        ),
        ("AdaptiveStandardScaler", "{fading: 0.1}", r"fading: found the unknown key fading; .*mean 'fading_factor'"),
        ("StandardScaler", "{1: 2}", "1: found the unknown key 1; wanted one of with_std"),
    ],
)
def test_a_pipeline_file_with_a_wrong_parameter_is_refused_at_its_line(tmp_path, transformer, parameters, words):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(transformer=transformer, more=f",\n     parameters:\n       {parameters}"))
    with pytest.raises(ConfigError, match=rf"p\.yaml line 6: operators\.0\.parameters\.{words}"):
        load(str(file))

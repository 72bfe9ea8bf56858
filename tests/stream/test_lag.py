"""Lag: earlier values and differences, against a loop over records and whatever comes together."""

import warnings
from collections import defaultdict
from math import isnan, nan

import numpy as np
import polars as pl
import pytest

from streamem.errors import ConfigError, SnapshotError
from streamem.stream.batch import ROW, Batch, Record
from streamem.stream.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from streamem.stream.disk import Disk
from streamem.stream.operators import Lag
from streamem.stream.protocol import Columns
from tests.stream.fakes import batch_of
from tests.stream.pipelines import FRAME, Place

KEYED = Columns(key="device")
BOTH = Lag(name="before", columns=["x", "y"], lags=[1, 3], differences=True)


def records(count=600, keys=7, seed=0):
    """Return rows of several keys in turn, with missing values of both kinds and an infinite one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count).tolist()
    x = [None if n % 11 == 3 else nan if n % 13 == 5 else value for n, value in enumerate(x)]
    y = rng.integers(-5, 5, size=count)
    device = [f"d{key}" for key in rng.integers(keys, size=count)]
    return pl.DataFrame({"device": device, "x": x, "y": y}, strict=False)


def cut(frame, size, together, start=0):
    """Yield the batches of a frame, with `together` micro-batches of `size` records in each."""
    for first in range(start, frame.height, size * together):
        part = frame[first : first + size * together]
        numbered = part.with_columns(pl.Series(ROW, range(part.height), pl.UInt32))

        def original(row, first=first):
            return Record(b"%d" % (first + row), {"record": first + row})

        position = {"record": first + part.height}
        yield Batch(numbered, first // size, position, part.height, original, (), size)


def after(operator, frame, *, columns=KEYED, size=20, together=1):
    """Return the rows that leave, and the state after them."""
    step = operator.open(frame.schema, columns)
    left = [out.frame.drop(ROW) for batch in cut(frame, size, together) for out in step.process(batch)]
    assert left
    assert {out.schema == step.schema for out in left} == {True}
    return pl.concat(left), step.state()


def saved(tmp_path, state, schema):
    """Return a state as it comes back from a checkpoint on the disk."""
    checkpoint = Checkpoint(fingerprint={}, number=1, position={}, schema=schema, records=0, steps={"s": state})
    write_checkpoint(Disk(), tmp_path, checkpoint)
    return read_checkpoint(tmp_path).steps["s"]


def same_state(one, other):
    arrays = [{name: array.tobytes() for name, array in state.arrays.items()} for state in (one, other)]
    return (one.values, arrays[0], one.blobs) == (other.values, arrays[1], other.blobs)


def naive(frame, column, lag, key="device"):
    """Return the values that a column had `lag` records of the same key earlier, by a loop over records."""
    past = defaultdict(list)
    found = []
    for record in frame.iter_rows(named=True):
        values = past[record[key]] if key else past[None]
        earlier = values[-lag] if len(values) >= lag else None
        found.append(None if earlier is None or isnan(earlier) else float(earlier))
        values.append(record[column])
    return found


def differences(now, before):
    return [None if a is None or b is None or isnan(a) else a - b for a, b in zip(now, before, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_every_record_gets_what_a_loop_over_the_records_of_its_key_finds(seed):
    frame = records(seed=seed)
    left, _ = after(BOTH, frame)
    assert left.columns == [*frame.columns, "x.lag1", "x.lag3", "x.diff1", "y.lag1", "y.lag3", "y.diff1"]
    for column in ("x", "y"):
        assert left[f"{column}.lag1"].to_list() == naive(frame, column, 1)
        assert left[f"{column}.lag3"].to_list() == naive(frame, column, 3)
        assert left[f"{column}.diff1"].to_list() == differences(frame[column].to_list(), naive(frame, column, 1))


def test_without_a_key_all_records_are_one_sequence():
    frame = records()
    left, _ = after(BOTH, frame, columns=Columns())
    assert left["y.lag3"].to_list() == naive(frame, "y", 3, key=None)


def test_the_key_of_the_operator_goes_before_that_of_the_pipeline():
    frame = records().with_columns(place=pl.Series(np.arange(600) % 5))
    left, _ = after(Lag(name="l", columns=["y"], key="place"), frame)
    assert left["y.lag1"].to_list() == naive(frame, "y", 1, key="place")


@pytest.mark.parametrize(("columns", "most"), [(KEYED, None), (KEYED, 3), (Columns(), None)])
@pytest.mark.parametrize("size", [1, 20, 130])
def test_how_many_micro_batches_come_together_changes_no_bit(size, most, columns):
    frame = records(keys=9)
    lag = Lag(name="l", columns=["x", "y"], lags=[2], differences=True, max_keys=most)
    left, state = after(lag, frame, size=size, columns=columns)
    for together in (2, 5, 1000):
        again, its_state = after(lag, frame, size=size, columns=columns, together=together)
        assert again.equals(left)
        assert same_state(its_state, state)


@pytest.mark.parametrize(("columns", "most"), [(KEYED, None), (KEYED, 3), (Columns(), None)])
def test_a_restart_after_any_batch_goes_on_as_if_nothing_had_been(tmp_path, most, columns):
    frame = records(keys=9)
    lag = Lag(name="l", columns=["x", "y"], lags=[2], differences=True, max_keys=most)
    whole, state = after(lag, frame, columns=columns)
    step = lag.open(frame.schema, columns)
    left = []
    for batch in cut(frame, 20, 1):
        state_before = saved(tmp_path, step.state(), frame.schema)
        step = lag.open(frame.schema, columns)
        step.restore(state_before)
        left += [out.frame.drop(ROW) for out in step.process(batch)]
    assert len(left) == 30
    assert pl.concat(left).equals(whole)
    assert same_state(step.state(), state)


def test_a_state_does_not_change_with_the_batches_that_come_after_it():
    frame = records()
    for columns in (KEYED, Columns()):
        step = BOTH.open(frame.schema, columns)
        first, second = cut(frame, 100, 3)
        step.process(first)
        state = step.state()
        before = {name: array.copy() for name, array in state.arrays.items()}
        step.process(second)
        assert all(np.array_equal(before[name], state.arrays[name], equal_nan=True) for name in before)


def test_keys_not_seen_for_longest_leave_at_the_end_of_a_micro_batch_and_begin_anew():
    # micro-batches of 3; after the second of them a (last seen first) leaves, so it begins anew in the third
    frame = pl.DataFrame({"device": list("abbcbcaac"), "x": [float(n) for n in range(9)]})
    lag = Lag(name="l", columns=["x"], max_keys=2)
    left, _ = after(lag, frame, size=3)
    assert left["x.lag1"].to_list() == [None, None, 1.0, None, 2.0, 3.0, None, 6.0, 5.0]
    unbounded, _ = after(Lag(name="l", columns=["x"]), frame, size=3)
    assert unbounded["x.lag1"].to_list() == [None, None, 1.0, None, 2.0, 3.0, 0.0, 6.0, 5.0]


def test_what_is_kept_does_not_grow_beyond_max_keys():
    frame = pl.DataFrame({"device": np.arange(5000), "x": np.zeros(5000)})
    _, state = after(Lag(name="l", columns=["x"], max_keys=40), frame, together=8)
    assert {len(state.arrays[name]) for name in ("past", "passed")} == {40}


def test_a_record_without_a_key_is_a_bad_record():
    batch = batch_of({"device": ["a", None, "a"], "x": [1.0, 2.0, 3.0]})
    schema = pl.Schema({"device": pl.String, "x": pl.Float64})
    [out] = Lag(name="before", columns=["x"]).open(schema, KEYED).process(batch)
    assert out.frame["x.lag1"].to_list() == [None, 1.0]
    [fallen] = out.rejected
    assert (fallen.record.value, fallen.operator) == (b"1", "before")
    assert fallen.message == (
        "before: key column device: found nothing; wanted a key that tells its sequence."
        " To do: mend the record, or drop it by where."
    )


def test_infinity_minus_infinity_is_missing_and_no_warning():
    frame = pl.DataFrame({"x": [np.inf, np.inf, 1.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        left, _ = after(Lag(name="l", columns=["x"], differences=True), frame, columns=Columns())
    assert left["x.diff1"].to_list() == [None, None, -np.inf]


def test_an_empty_batch_passes():
    frame = records()[:0]
    step = BOTH.open(frame.schema, KEYED)
    [out] = step.process(batch_of(frame.to_dict()))
    assert (out.frame.height, out.frame.drop(ROW).schema) == (0, step.schema)
    assert step.finish() == []


def test_a_later_operator_and_an_output_may_use_the_columns(tmp_path):
    frame = FRAME.with_columns(pl.col("x").fill_null(0.0))
    whole, parts = Place(tmp_path / "whole"), Place(tmp_path / "parts")
    lags = (Lag(name="first", columns=["x"]), Lag(name="first.second", columns=["x.lag1"], differences=True))
    settings = {"operators": lags, "fingerprint": {}}

    def run(place, **options):
        [posteriors, _] = place.pipeline().outputs
        outputs = [type(posteriors)(what="posteriors", sink=posteriors.sink, include="all")]
        return place.pipeline(frame, outputs=outputs, **settings).run(**options)

    run(whole)
    for _ in range(4):
        run(parts, limit=300)
    assert parts.left() == whole.left()
    left = pl.DataFrame(whole.records("posteriors"), infer_schema_length=None)
    assert left["x.lag1.lag1"].to_list() == naive(frame, "x", 2)


SCHEMA = pl.Schema({"device": pl.String, "x": pl.Float64, "y": pl.Int64, "y.lag1": pl.Float64})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"columns": ["z"]}, r"before.columns: found the column 'z'"),
        ({"columns": ["device"]}, "before.columns: found 'device' of type String; wanted numbers"),
        ({"columns": []}, "before.columns: found no columns"),
        ({"columns": ["x", "x"]}, "before.columns: found 'x' twice"),
        ({"columns": ["y"]}, "before: found a column 'y.lag1' before it"),
        ({"lags": []}, "before.columns: found nothing to add"),
        ({"lags": [1, 2, 1]}, "before.lags: found 1 twice"),
        ({"lags": [0]}, "before.lags: found 0; wanted at least 1"),
        ({"lags": [10_001]}, "before.lags: found 10001; wanted at most 10000"),
        ({"key": "devise"}, r"before: key: found the column 'devise' \(did you mean 'device'\?\)"),
        ({"max_keys": 0, "key": "device"}, "before.max_keys: found 0; wanted at least 1"),
        ({"max_keys": 5}, "before.max_keys: found no key to count; wanted a key"),
    ],
)
def test_wrong_settings_are_refused_by_their_place(settings, words):
    with pytest.raises(ConfigError, match=words):
        Lag(**({"name": "before", "columns": ["x"]} | settings)).open(SCHEMA, Columns())


def test_the_state_of_other_lags_is_refused():
    _, state = after(BOTH, records())
    with pytest.raises(SnapshotError, match=r"before: found 3 earlier values of 2 columns; wanted 2 of 2"):
        Lag(name="before", columns=["x", "y"], lags=[2]).open(records().schema, KEYED).restore(state)

"""Transform and where: columns from columns, rows dropped, and rows that cannot be computed."""

import polars as pl
import pytest

from streamem.errors import ConfigError
from streamem.stream.batch import ROW
from streamem.stream.operators import Transform, Where
from streamem.stream.protocol import Columns
from tests.stream.fakes import batch_of


def opened(operator, batch):
    schema = pl.Schema({name: dtype for name, dtype in batch.frame.schema.items() if name != ROW})
    return operator.open(schema, Columns())


def processed(operator, batch):
    [out] = opened(operator, batch).process(batch)
    return out


def test_a_transform_may_use_columns_before_it_and_replace_one():
    batch = batch_of({"a": [1.0, 2.0], "b": ["1", "2"]})
    transform = Transform(columns={"c": "a * 10", "d": "c + 1", "b": "cast(b as double)", "e": "b + d", "f": "a"})
    out = processed(transform, batch)
    assert out.frame.drop(ROW).to_dict(as_series=False) == {
        "a": [1.0, 2.0],
        "b": [1.0, 2.0],
        "c": [10.0, 20.0],
        "d": [11.0, 21.0],
        "e": [12.0, 23.0],
        "f": [1.0, 2.0],
    }
    assert opened(transform, batch).schema == out.frame.drop(ROW).schema


def test_a_column_that_replaces_one_is_seen_only_by_those_behind_it():
    out = processed(Transform(columns={"b": "a", "a": "a + 1", "c": "a"}), batch_of({"a": [1.0]}))
    assert out.frame.select("a", "b", "c").row(0) == (2.0, 1.0, 2.0)


def test_a_row_that_does_not_cast_is_rejected_and_the_others_go_on():
    batch = batch_of({"b": ["1", "two", "3", "", None]})
    out = processed(Transform(name="speed", columns={"x": "cast(b as double)"}), batch)
    assert out.frame["x"].to_list() == [1.0, 3.0, None]
    assert [(fallen.record.value, fallen.operator) for fallen in out.rejected] == [(b"1", "speed"), (b"3", "speed")]
    assert "two" in out.rejected[0].message


def test_a_row_for_which_a_condition_does_not_cast_is_rejected_not_dropped():
    out = processed(Where(condition="cast(b as double) > 1"), batch_of({"b": ["1", "two", "3"]}))
    assert out.frame["b"].to_list() == ["3"]
    assert [fallen.record.value for fallen in out.rejected] == [b"1"]


def test_where_drops_false_and_null():
    out = processed(Where(condition="a > 1"), batch_of({"a": [1.0, 2.0, None]}))
    assert out.frame["a"].to_list() == [2.0]
    assert out.records == 3
    assert out.rejected == ()


def test_an_empty_batch_passes():
    batch = batch_of({"b": ["1"]})
    empty = batch.with_frame(batch.frame.clear())
    assert processed(Transform(columns={"x": "cast(b as double)"}), empty).frame.height == 0
    assert processed(Where(condition="b > 'a'"), empty).frame.height == 0


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        (Transform(columns={}), "transform.columns: found no columns"),
        (Transform(columns={ROW: "1"}), "wanted another name"),
        (Transform(columns={"x": "sum(a)"}), "transform.columns.x: found"),
        (Transform(columns={"x": "y", "y": "1"}), "transform.columns.x: found the column 'y'"),
        (Where(condition="a + 1"), r"where.condition: found 'a \+ 1', which gives Float64"),
        (Where(name="fast", condition="b > 1 and"), "fast.condition: found"),
    ],
)
def test_wrong_settings_are_refused_by_their_place(operator, words):
    with pytest.raises(ConfigError, match=words):
        opened(operator, batch_of({"a": [1.0]}))

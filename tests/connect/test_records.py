"""What a record becomes: its types, its missing values, and why it is a bad one."""

import polars as pl
import pytest

from streamem.errors import ConfigError
from streamem.stream.batch import ROW
from streamem.stream.protocol import Columns
from tests.connect.reading import batches, opened


@pytest.fixture
def read(tmp_path):
    """Return rows, and the rejected records with their messages, of a file with this content."""

    def read(name, content, order=None, **settings):
        (tmp_path / name).write_bytes(content)
        found = batches([tmp_path / name], size=10_000, **settings)
        names = order or [name for name in found[0].frame.columns if name != ROW]
        rows = [row for batch in found for row in batch.frame.select(names).rows()]
        return rows, [(bad.record.value, bad.message) for batch in found for bad in batch.rejected]

    return read


@pytest.fixture
def schema(tmp_path):
    def schema(name, content, **settings):
        (tmp_path / name).write_bytes(content)
        reader = opened([tmp_path / name], **settings)
        return dict(reader.schema)

    return schema


BAD_JSON = [
    b"null", b"[]", b"5", b'"x"', b'{"x": 1}{"x": 2}', b'{"x": 1', b"{'x': 1}", b'{"x": "1.5"}', b'{"x": "high"}',
    b'{"x": 1e400}', b'{"x": Infinity}', b'{"x": -Infinity, "s": "NaN"}', b'{"x": true}', b'{"x": [1]}',
    b'{"s": "\xff"}', b"\xff\xfe", b'{"x": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"n": 1.5}', b'{"n": 1' + b"0" * 30 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_JSON)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_line_of_json_is_one_bad_record(read, bad, first):
    good = [b'{"x": 1, "n": 1, "s": "a"}', b'{"x": 2.5, "n": 2, "s": "b"}'] * 3
    lines = [bad, *good] if first else [*good[:3], bad, *good[3:]]
    rows, rejected = read("a.ndjson", b"\n".join(lines), ["x", "n", "s"], schema={"n": "integer"})
    assert [record for record, _ in rejected] == [bad]
    assert "wanted a record that fits the schema. To do:" in rejected[0][1]
    assert rows == [(1.0, 1, "a"), (2.5, 2, "b")] * 3


def test_all_lines_bad_but_those_of_the_sample(read):
    rows, rejected = read("a.ndjson", b'{"x": 1}\n' * 10_000 + b"[]\n" * 300)
    assert (len(rows), len(rejected)) == (10_000, 300)


def test_the_token_nan_an_absent_key_and_null_are_missing(read):
    rows, rejected = read("a.ndjson", b'{"x": NaN, "s": "a"}\n{"s": "NaN"}\n{"x": null}\n{"x": 3, "more": 1}\n')
    assert rejected == []
    assert [row[:2] for row in rows] == [(None, "a"), (None, "NaN"), (None, None), (3.0, None)]


def test_csv_fields_that_are_missing_or_infinite(read):
    rows, rejected = read("a.csv", b"x,s\n1,a\n,\nNaN,NaN\nNA,b\ninf,c\n1e400,d\n", null_values=["NA"])
    assert rejected == []
    assert str(rows) == "[(1.0, 'a'), (None, None), (nan, 'NaN'), (None, 'b'), (inf, 'c'), (inf, 'd')]"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"1", "found 1 fields; wanted 2 as in the header"),
        (b"1,2,3", "found 3 fields; wanted 2"),
        (b'1,"a', "found 2 fields and an open quote"),
        (b"high,a", "could not parse `high`"),
        (b"1,\xff", "invalid utf-8"),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_bad_line_of_csv_is_one_bad_record(read, bad, message, place):
    lines = [b"1,a", b"2,b", b"3,c", b"4,d"]
    lines.insert(place, bad)
    rows, rejected = read("a.csv", b"x,s\n" + b"\n".join(lines))
    assert [record for record, _ in rejected] == [bad]
    assert message in rejected[0][1]
    assert rows == [(1.0, "a"), (2.0, "b"), (3.0, "c"), (4.0, "d")]


def test_stray_quotes_are_part_of_the_text(read):
    rows, rejected = read("a.csv", b'x,s\n1,5" pipe\n2,"a"b\n3,c"\n4,d\n')
    assert rejected == []
    assert rows == [(1.0, '5" pipe'), (2.0, "ab"), (3.0, 'c"'), (4.0, "d")]


@pytest.mark.parametrize("bad", [b"high", b"???"])
@pytest.mark.parametrize("at", [0, 500, 9_999])
def test_a_text_among_numbers_is_a_bad_record_and_not_a_column_of_text(read, bad, at):
    lines = [b"%d,1" % n for n in range(10_000)]
    lines[at] = bad + b",1"
    rows, rejected = read("a.csv", b"x,n\n" + b"\n".join(lines))
    assert (len(rows), [record for record, _ in rejected]) == (9_999, [bad + b",1"])


def test_types_are_inferred_and_features_become_numbers(schema):
    columns = Columns(numbers=frozenset({"x", "empty"}))
    content = (
        b'{"x": 1, "n": 1, "f": 1.5, "b": true, "s": "a", "empty": null, "none": null, "mix": 1}\n{"mix": {"a": 1}}\n'
    )
    text = pl.String()
    assert schema("a.ndjson", content, columns=columns) == {
        "x": pl.Float64(), "n": pl.Int64(), "f": pl.Float64(), "b": pl.Boolean(), "s": text,
        "empty": pl.Float64(), "none": text, "mix": text,
    }  # fmt: skip
    content = b"x,n,f,b,s,empty,none\n1,1,1.5,true,a,,\n2,2,2,false,b,,\n"
    assert schema("a.csv", content, columns=columns) == {
        "x": pl.Float64(), "n": pl.Int64(), "f": pl.Float64(), "b": pl.Boolean(), "s": text,
        "empty": pl.Float64(), "none": text,
    }  # fmt: skip


def test_a_feature_of_text_stays_text(schema):
    assert schema("a.csv", b"x,y\nred,1\ngreen,2\n")["x"] == pl.String()


def test_a_single_column_with_missing_values(schema):
    assert schema("a.csv", b'x\n1\n""\n2\n')["x"] == pl.Float64()


@pytest.mark.parametrize(("declared", "value"), [("string", "007"), ("integer", 7), ("float", 7.0)])
def test_a_declared_type_holds(read, declared, value):
    assert read("a.csv", b"id,y\n007,1\n", schema={"id": declared})[0] == [(value, 1)]


def test_a_declared_column_that_is_not_there_is_told(schema):
    with pytest.raises(ConfigError, match=r"source\.schema\.sped: .*did you mean 'speed'"):
        schema("a.csv", b"speed\n1\n", schema={"sped": "float"})


def test_a_header_that_names_a_column_twice_is_told(schema):
    with pytest.raises(ValueError, match="a name of its own for each column"):
        schema("a.csv", b"x,x\n1,2\n")


def test_tabs_and_other_separators(read):
    assert read("a.tsv", b"x\ts\n1\ta,b\n\t\n")[0] == [(1.0, "a,b"), (None, None)]
    assert read("a.csv", b"x;s\n1;a,b\n", separator=";")[0] == [(1.0, "a,b")]

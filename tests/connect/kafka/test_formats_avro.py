"""Avro: what fastavro writes is read whatever the schema, damage is told, and what no column can be is refused."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamem.connect.kafka.formats import Format, avro_schema, encode_avro, open_decoder
from streamem.connect.kafka.formats.avro import AvroMessages
from streamem.connect.kafka.formats.avro.schema import read_schema
from streamem.errors import ConfigError

PLACE = "car.avsc"


def decoder_of(schema: Any, **wanted: pl.DataType) -> AvroMessages:
    parsed = read_schema(json.dumps(schema), PLACE)
    return AvroMessages(pl.Schema(wanted) if wanted else parsed.columns, 0, lambda _: parsed)


def record(*types: Any, name: str = "r") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": kind} for n, kind in enumerate(types)]}


def written(schema: Any, rows: list[dict[str, Any]]) -> list[bytes]:
    parsed = fastavro.parse_schema(schema)
    values = []
    for row in rows:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, parsed, row)
        values.append(buffer.getvalue())
    return values


def read_by_fastavro(schema: Any, value: bytes) -> Any:
    """Return the record, or raise; bytes left over are an error too."""
    stream = io.BytesIO(value)
    row = fastavro.schemaless_reader(stream, fastavro.parse_schema(schema), None)
    if stream.read(1):
        raise ValueError("more")
    return row


# any schema


def named(kind: str, count: list[int], **more: Any) -> dict[str, Any]:
    count[0] += 1
    return {"type": kind, "name": f"n{count[0]}", **more}


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schema of a record."""
    count = [0]

    def kind(depth: int) -> Any:
        simple = ["null", "boolean", "int", "long", "float", "double", "bytes", "string", "enum", "fixed"]
        chosen = draw(st.sampled_from(simple + ["array", "map", "record", "optional", "optional"] * (depth < 3)))
        match chosen:
            case "enum":
                return named("enum", count, symbols=["A", "B", "C"])
            case "fixed":
                return named("fixed", count, size=draw(st.integers(1, 3)))
            case "array":
                items = kind(depth + 1)
                return {"type": "array", "items": "int" if empty(items) else items}
            case "map":
                return {"type": "map", "values": kind(depth + 1)}
            case "record":
                return record(*(kind(depth + 1) for _ in range(draw(st.integers(1, 3)))), name=named("", count)["name"])
            case "optional":
                inner = kind(depth + 1)
                while isinstance(inner, list) or inner == "null":
                    inner = "long"
                return draw(st.sampled_from([["null", inner], [inner, "null"], [inner]]))
        return chosen

    return record(*(kind(0) for _ in range(draw(st.integers(1, 4)))), name="top")


def empty(kind: Any) -> bool:
    """Return whether values of a type tell nothing."""
    if isinstance(kind, dict) and kind["type"] == "record":
        return all(empty(one["type"]) for one in kind["fields"])
    return kind == "null" or (isinstance(kind, list) and all(empty(one) for one in kind))


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type as fastavro takes them."""
    if isinstance(kind, list):
        return st.one_of(*(values_of(branch) for branch in kind))
    name = kind if isinstance(kind, str) else kind["type"]
    match name:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(1 << 31), (1 << 31) - 1)
        case "long":
            return st.integers(-(1 << 63), (1 << 63) - 1)
        case "float":
            return st.floats(width=32, allow_nan=False)
        case "double":
            return st.floats(allow_nan=False)
        case "bytes":
            return st.binary(max_size=5)
        case "string":
            return st.text(max_size=5)
        case "enum":
            return st.sampled_from(kind["symbols"])
        case "fixed":
            return st.binary(min_size=kind["size"], max_size=kind["size"])
        case "array":
            return st.lists(values_of(kind["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=2), values_of(kind["values"]), max_size=2)
    return st.fixed_dictionaries({one["name"]: values_of(one["type"]) for one in kind["fields"]})


def as_column(kind: Any, value: Any) -> Any:
    """Return what a value is in a frame."""
    if isinstance(kind, list):
        return None if value is None else as_column(next(one for one in kind if one != "null"), value)
    if isinstance(kind, str) or value is None:
        return value
    match kind["type"]:
        case "array":
            return [as_column(kind["items"], one) for one in value]
        case "map":
            return [{"key": key, "value": as_column(kind["values"], one)} for key, one in value.items()]
        case "record":
            return {one["name"]: as_column(one["type"], value[one["name"]]) for one in kind["fields"]}
    return value


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_fastavro_writes_is_read_whatever_the_schema(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    rows = data.draw(st.lists(values_of(schema), max_size=4))
    result = decoder_of(schema).decode(written(schema, rows))
    present = [n for n, value in enumerate(written(schema, rows)) if value]
    assert result.frame.to_dicts() == [as_column(schema, rows[n]) for n in present]
    assert [n for n, _ in result.bad] == [n for n in range(len(rows)) if n not in present]


FLAT = record("int", "string", ["null", "double"], {"type": "array", "items": "string"}, "boolean", "long")


@given(st.lists(st.binary(min_size=1, max_size=24), max_size=3))
@settings(max_examples=300, deadline=None)
def test_bytes_are_a_record_exactly_where_they_are_one_for_fastavro(values: list[bytes]) -> None:
    result = decoder_of(FLAT).decode(values)
    expected = {}
    for n, value in enumerate(values):
        try:
            row = read_by_fastavro(FLAT, value)
        except Exception:
            continue
        if -(1 << 31) <= row["f0"] < 1 << 31:  # fastavro gives whole numbers that are too large
            expected[n] = row
    assert repr(result.frame.to_dicts()) == repr(list(expected.values()))
    assert [n for n, _ in result.bad] == [n for n in range(len(values)) if n not in expected]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_record_cut_short_or_with_more_behind_it_is_bad(data: st.DataObject) -> None:
    value = written(FLAT, [data.draw(values_of(FLAT))])[0]
    decoder = decoder_of(FLAT)
    cut = [value[:end] for end in range(1, len(value))]
    result = decoder.decode([*cut, value + b"\x00", value])
    assert [n for n, _ in result.bad] == list(range(len(value)))
    assert result.frame.height == 1


def test_the_reason_tells_what_fastavro_stumbled_over() -> None:
    reasons = [why for _, why in decoder_of(record("string")).decode([b"\x06ab", b"\x02\xff", b"\x02aa", b"\x04"]).bad]
    assert [why.split("; wanted")[0] for why in reasons] == [
        "found bytes that give EOFError (Expected 3 bytes, read 2)",
        "found bytes that give UnicodeDecodeError ('utf-8' codec can't decode byte 0xff in position 0: invalid start "
        "byte)",
        "found 1 bytes behind the record",
        "found bytes that give EOFError (Expected 2 bytes, read 0)",
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "int",
        ["null", "int"],
        {"type": "array", "items": "int"},
        {"type": "int", "logicalType": "date"},
        record("int", name="inner"),
    ],
)
def test_a_whole_number_beyond_its_type_is_bad_alone(kind: Any) -> None:
    schema = record(kind)
    wide = record(*(json.loads(json.dumps(kind).replace('"int"', '"long"').replace("date", "none")),))
    inner = kind.get("type") if isinstance(kind, dict) else None
    rows = [{"f0": {"array": [n], "record": {"f0": n}}.get(inner, n)} for n in (1, 1 << 31, 2)]
    result = decoder_of(schema).decode(written(wide, rows))
    assert [n for n, _ in result.bad] == [1]
    assert result.frame.height == 2
    assert result.frame.null_count().row(0) == (0,)


# what types become


def timed(base: str, logical: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": logical, **more}


@pytest.mark.parametrize(
    ("kind", "word", "column", "expected"),
    [
        (timed("int", "date"), 1, pl.Date(), 1),
        (timed("int", "time-millis"), 3_600_001, pl.Time(), 3_600_001_000_000),
        (timed("long", "time-micros"), 1, pl.Time(), 1000),
        (timed("long", "timestamp-millis"), 1, pl.Datetime("ms", "UTC"), 1),
        (timed("long", "timestamp-micros"), -1, pl.Datetime("us", "UTC"), -1),
        (timed("long", "timestamp-nanos"), 1, pl.Datetime("ns", "UTC"), 1),
        (timed("long", "local-timestamp-millis"), 1, pl.Datetime("ms"), 1),
        (timed("long", "local-timestamp-micros"), 1, pl.Datetime("us"), 1),
        (timed("long", "no such"), 1, pl.Int64(), 1),
        (timed("int", "timestamp-millis"), 1, pl.Int32(), 1),
    ],
)
def test_times_are_times(kind: Any, word: int, column: pl.DataType, expected: int) -> None:
    decoder = decoder_of(record(kind))
    frame = decoder.decode(written(record(kind["type"]), [{"f0": word}])).frame
    assert frame.schema == decoder.schema == {"f0": column}
    assert frame["f0"].to_physical().to_list() == [expected]


def test_a_time_of_day_that_no_day_has_is_bad() -> None:
    schema = record(timed("int", "time-millis"))
    values = written(record("int"), [{"f0": word} for word in (86_400_000, 86_399_999)])
    assert [n for n, _ in decoder_of(schema).decode(values).bad] == [0]


@pytest.mark.parametrize("base", ["bytes", {"type": "fixed", "name": "d", "size": 9}])
def test_decimals_are_exactly_rounded_numbers(base: Any) -> None:
    numbers = [0, 1, -1, 12345, -(10**17) - 1, 2**62]
    kind = {
        **({"type": base} if isinstance(base, str) else base),
        "logicalType": "decimal",
        "precision": 20,
        "scale": 2,
    }
    size = 9
    values = [number.to_bytes(size, "big", signed=True) for number in numbers]
    plain = record(base)
    frame = decoder_of(record(kind)).decode(written(plain, [{"f0": value} for value in values])).frame
    assert frame["f0"].to_list() == [number / 100 for number in numbers]


def test_a_decimal_of_too_many_digits_is_bad_alone() -> None:
    kind = timed("bytes", "decimal", precision=100)
    values = written(record("bytes"), [{"f0": b"\x01"}, {"f0": b"\x01" * 30}, {"f0": b"\x02"}])
    result = decoder_of(record(kind)).decode(values)
    assert (result.frame["f0"].to_list(), [n for n, _ in result.bad]) == ([1.0, 2.0], [1])


def test_a_uuid_is_text() -> None:
    assert decoder_of(record(timed("string", "uuid"))).schema == {"f0": pl.String()}


def test_a_union_of_numbers_is_a_number() -> None:
    mixed = ["int", "double", "null"]
    schema = record(["null", "int", "long"], mixed, {"type": "array", "items": mixed}, record(mixed, name="inner"))
    rows = [
        {"f0": 1, "f1": 2, "f2": [1, 2.5], "f3": {"f0": 1}},
        {"f0": None, "f1": 2.5, "f2": [2.5, None, 1], "f3": {"f0": 2.5}},
        {"f0": 2**40, "f1": None, "f2": [], "f3": {"f0": None}},
    ]
    decoder = decoder_of(schema)
    number = pl.Float64()
    assert decoder.schema == {"f0": pl.Int64(), "f1": number, "f2": pl.List(number), "f3": pl.Struct({"f0": number})}
    assert decoder.decode(written(schema, rows)).frame.to_dicts() == rows


def test_types_are_found_by_their_names_in_their_namespaces() -> None:
    colour = {"type": "enum", "name": "colour", "symbols": ["RED"]}
    part = {"type": "record", "name": "other.part", "fields": [{"name": "a", "type": colour}]}
    schema = {
        "type": "record",
        "name": "car",
        "namespace": "org.road",
        "fields": [
            {"name": "p", "type": part},
            {"name": "q", "type": ["null", "other.part"]},
            {"name": "c", "type": "other.colour"},
            {"name": "d", "type": {"type": "enum", "name": "colour", "symbols": ["BLUE"]}},
            {"name": "e", "type": "colour"},
        ],
    }
    row = {"p": {"a": "RED"}, "q": {"a": "RED"}, "c": "RED", "d": "BLUE", "e": "BLUE"}
    assert decoder_of(schema).decode(written(schema, [row])).frame.to_dicts() == [row]


def test_names_within_a_map_are_of_the_namespace_around_it() -> None:
    colour = {"type": "enum", "name": "colour", "symbols": ["RED"]}
    schema = {**record(colour, {"type": "map", "values": "colour"}), "namespace": "org.road"}
    row = {"f0": "RED", "f1": {"a": "RED"}}
    expected = {"f0": "RED", "f1": [{"key": "a", "value": "RED"}]}
    assert decoder_of(schema).decode(written(schema, [row])).frame.to_dicts() == [expected]


def test_blocks_with_their_size_are_read() -> None:
    # Avro's specification: a block of -n elements is followed by its size in bytes
    value = b"\x03\x04\x02\x04" + b"\x02\x06" + b"\x00"
    result = decoder_of(record({"type": "array", "items": "int"})).decode([value, value[:1]])
    assert (result.frame["f0"].to_list(), [n for n, _ in result.bad]) == ([[1, 2, 3]], [1])


def nested(depth: int) -> Any:
    return "int" if depth == 0 else {"type": "array", "items": nested(depth - 1)}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "record", "name": "n", "fields": [{"name": "next", "type": ["null", "n"]}]}, "n within itself"),
        ({"type": "record", "name": "n", "fields": [{"name": "next", "type": "n"}]}, "n within itself"),
        (
            {"type": "record", "name": "n", "fields": [{"name": "m", "type": {"type": "map", "values": "n"}}]},
            "n within",
        ),
        (record("nonsense"), "a schema with UnknownType"),
        (record({"type": "array"}), "a schema with KeyError"),
        (record({"type": "fixed", "name": "f", "size": -1}), "f of -1 bytes"),
        (record({"type": "array", "items": "null"}), "a list of nothing"),
        (record({"type": "map", "values": ["int", "string"]}), "a union of Int32, String"),
        (record(["null", "string", record("int", name="p")]), "a union of String, Struct"),
        (record({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": -1}), "a schema with Schema"),
        ({"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}] * 2}, "a record r without"),
        ({"type": "record", "name": "r", "fields": []}, "a record r without fields"),
        (["null", record("int")], "a schema of something else"),
        ("string", "a schema of something else"),
        (record(nested(40)), "33 types within one another"),
    ],
)
def test_a_schema_that_cannot_be_read_is_refused_when_it_is_opened(schema: Any, found: str, tmp_path: Path) -> None:
    path = tmp_path / "car.avsc"
    path.write_text(json.dumps(schema))
    with pytest.raises(ConfigError, match=rf"^source\.avro_schema: {path}: found {found}.*; wanted .*\. To do: "):
        open_decoder(Format(format="avro", avro_schema=str(path)), [], frozenset(), place="topic cars")


def test_fastavro_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(ConfigError, match=r"^format: found .*no fastavro.* pip install 'streamem\[avro\]'"):
        open_decoder(Format(format="avro", avro_schema="car.avsc"), [], frozenset(), place="topic cars")


# writing


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "n": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
                "x": st.none() | st.floats(),
                "s": st.none() | st.text(max_size=4),
                "b": st.none() | st.binary(max_size=4),
                "f": st.none() | st.booleans(),
                "l": st.none()
                | st.lists(st.none() | st.lists(st.none() | st.text(max_size=2), max_size=2), max_size=3),
                "r": st.none() | st.fixed_dictionaries({"l": st.none() | st.lists(st.floats(), max_size=2)}),
            }
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_by_fastavro_and_by_us(rows: list[dict[str, Any]]) -> None:
    columns_of = {
        "n": pl.Int64(),
        "x": pl.Float64(),
        "s": pl.String(),
        "b": pl.Binary(),
        "f": pl.Boolean(),
        "l": pl.List(pl.List(pl.String())),
        "r": pl.Struct({"l": pl.List(pl.Float64())}),
    }
    frame = pl.DataFrame(rows, schema=columns_of)
    schema, values = json.loads(avro_schema(frame.schema)), encode_avro(frame)
    expected = repr(frame.to_dicts())
    assert repr([read_by_fastavro(schema, value) for value in values]) == expected
    assert encode_avro(frame, b"mark") == [b"mark" + value for value in values]
    assert repr(decoder_of(schema).decode(values).frame.to_dicts()) == expected


def test_every_type_of_a_frame_has_its_type_of_avro_or_is_refused() -> None:
    frame = pl.DataFrame(
        {
            "i8": pl.Series([-1, None], dtype=pl.Int8()),
            "u32": pl.Series([2**32 - 1, None], dtype=pl.UInt32()),
            "f32": pl.Series([1.5, float("nan")], dtype=pl.Float32()),
            "c": pl.Series(["u", None], dtype=pl.Categorical()),
            "a": pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float64(), 2)),
            "d": pl.Series(["1.25", None], dtype=pl.String()).cast(pl.Decimal(10, 2)),
            "ns": pl.Series([1, None]).cast(pl.Datetime("ns", "UTC")),
            "time": pl.Series([1_000, None]).cast(pl.Time()),
            "null": [None, None],
            "1 odd.näme": [1.0, 2.0],
        }
    )
    schema = json.loads(avro_schema(frame.schema, "org.road.car"))
    fastavro.parse_schema(schema)
    frame_read = decoder_of(schema).decode(encode_avro(frame)).frame
    assert frame_read.columns == frame.columns
    assert frame_read.rows()[0] == (-1, 2**32 - 1, 1.5, "u", [1.0, 2.0], 1.25, *frame.row(0)[6:])
    assert frame_read.drop("f32", "1 odd.näme").rows()[1] == (None,) * 8
    assert np.isnan(frame_read["f32"][1])
    with pytest.raises(ConfigError, match=r"^column n: found UInt64; wanted a type that Avro has"):
        avro_schema(pl.Schema({"n": pl.UInt64()}))


def test_names_that_avro_does_not_allow_are_spelled_otherwise_and_kept() -> None:
    fields = json.loads(avro_schema(pl.Schema({"a.b": pl.Int64(), "a_b": pl.Int64(), "": pl.Int64()})))["fields"]
    assert [one["name"] for one in fields] == ["a_b", "a_b_", "_"]
    assert [one["streamem.name"] for one in fields] == ["a.b", "a_b", ""]

"""Avro against fastavro: what it writes is read, what we write it reads, and damage is seen where it sees it."""

import io
import json
import struct
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamem.connect.kafka.formats import avro_schema, encode_avro
from streamem.connect.kafka.formats.avro import AvroMessages
from streamem.connect.kafka.formats.avro.messages import columns
from streamem.connect.kafka.formats.avro.schema import compile_schema
from streamem.errors import ConfigError, DataError

PLACE = "car.avsc"


def decoder_of(schema: Any, **wanted: pl.DataType) -> AvroMessages:
    program = compile_schema(json.dumps(schema), PLACE)
    return AvroMessages(pl.Schema(wanted) if wanted else columns(program), 0, lambda _: program)


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
                return record(*(kind(depth + 1) for _ in range(draw(st.integers(0, 3)))), name=named("", count)["name"])
            case "optional":
                inner = kind(depth + 1)
                while isinstance(inner, list) or inner == "null":
                    inner = "long"
                return draw(st.sampled_from([["null", inner], [inner, "null"], [inner]]))
        return chosen

    return record(*(kind(0) for _ in range(draw(st.integers(1, 4)))), name="top")


def empty(kind: Any) -> bool:
    """Return whether values of a type may need no bytes."""
    return kind == "null" or (isinstance(kind, dict) and all(empty(one["type"]) for one in kind.get("fields", [0][:0])
                              ) and kind["type"] == "record")  # fmt: skip


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
            made = {one["name"]: as_column(one["type"], value[one["name"]]) for one in kind["fields"]}
            return made or None
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


FIXED = {"type": "fixed", "name": "f", "size": 2}
FLAT = record("int", "string", ["null", "double"], {"type": "array", "items": "string"}, "boolean", FIXED, "long")


@given(st.binary(min_size=1, max_size=24))
@settings(max_examples=400, deadline=None)
def test_bytes_are_a_record_exactly_where_they_are_one_for_fastavro(value: bytes) -> None:
    result = decoder_of(FLAT).decode([value])
    try:
        row = read_by_fastavro(FLAT, value)
    except Exception:
        assert result.bad
        return
    # fastavro takes any byte for a truth value, and whole numbers that are too large
    if result.bad:
        assert "a number out of its bounds" in result.bad[0][1]
    else:
        assert repr(result.frame.row(0, named=True)) == repr(row)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_record_cut_short_or_with_more_behind_it_is_bad(data: st.DataObject) -> None:
    value = written(FLAT, [data.draw(values_of(FLAT))])[0]
    decoder = decoder_of(FLAT)
    cut = [value[:end] for end in range(1, len(value))]
    assert [n for n, _ in decoder.decode([*cut, value + b"\x00"]).bad] == list(range(len(value)))


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
    values = written(record("int"), [{"f0": word} for word in (-1, 86_400_000, 86_399_999)])
    assert [n for n, _ in decoder_of(schema).decode(values).bad] == [0, 1]


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


def test_a_decimal_beyond_all_numbers_is_bad_or_stays_bytes() -> None:
    kind = timed("bytes", "decimal", precision=1000)
    assert decoder_of(record(kind)).decode(written(record("bytes"), [{"f0": b"\x01" * 129}])).bad
    fixed = {"type": "fixed", "name": "d", "size": 129}
    wide = decoder_of(record({**fixed, "logicalType": "decimal", "precision": 300}))
    assert wide.schema == {"f0": pl.Binary()}
    assert decoder_of(record(timed("bytes", "decimal", precision=4, scale=-1))).schema == {"f0": pl.Binary()}


def test_a_uuid_is_text() -> None:
    assert decoder_of(record(timed("string", "uuid"))).schema == {"f0": pl.String()}


def test_unions_become_numbers_or_records_of_members() -> None:
    point = record("double", name="point")
    schema = record(["null", "int", "long"], ["int", "double", "null"], ["null", "string", "long", point])
    rows = [
        {"f0": 1, "f1": 2, "f2": "a"},
        {"f0": None, "f1": 2.5, "f2": 7},
        {"f0": 2**40, "f1": None, "f2": {"f0": 1.5}},
        {"f0": 0, "f1": 0.0, "f2": None},
    ]
    decoder = decoder_of(schema)
    member = pl.Struct({"member0": pl.String(), "member1": pl.Int64(), "member2": pl.Struct({"f0": pl.Float64()})})
    assert decoder.schema == {"f0": pl.Int64(), "f1": pl.Float64(), "f2": member}
    frame = decoder.decode(written(schema, rows)).frame
    assert frame["f0"].to_list() == [1, None, 2**40, 0]
    assert frame["f1"].to_list() == [2.0, 2.5, None, 0.0]
    assert frame["f2"].to_list() == [
        {"member0": "a", "member1": None, "member2": None},
        {"member0": None, "member1": 7, "member2": None},
        {"member0": None, "member1": None, "member2": {"f0": 1.5}},
        None,
    ]


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


def test_a_type_within_a_type_is_that_type() -> None:
    schema = record({"type": {"type": "array", "items": {"type": {"type": "long"}}}})
    assert decoder_of(schema).schema == {"f0": pl.List(pl.Int64())}


def test_whole_numbers_have_ten_bytes_at_most() -> None:
    decoder = decoder_of(record("long"))
    longest = b"\xff" * 9
    result = decoder.decode([longest + b"\x01", longest + b"\x02", longest + b"\xff\x01"])
    assert (result.frame["f0"].to_list(), [n for n, _ in result.bad]) == ([-(2**63)], [1, 2])


def test_blocks_with_their_size_are_read() -> None:
    # Avro's specification: a block of -n elements is followed by its size in bytes
    value = b"\x03\x04\x02\x04" + b"\x02\x06" + b"\x00"
    result = decoder_of(record({"type": "array", "items": "int"})).decode([value, value[:1]])
    assert (result.frame["f0"].to_list(), [n for n, _ in result.bad]) == ([[1, 2, 3]], [1])


def test_elements_without_bytes_cannot_make_a_list_without_end() -> None:
    schema = record({"type": "array", "items": "null"})
    endless = struct.pack("B", 0xFE) + b"\xff" * 8 + b"\x01\x00"
    result = decoder_of(schema).decode([endless])
    assert "a length that is none" in result.bad[0][1]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "n", "fields": [{"name": "next", "type": ["null", "n"]}]},
        record("nonsense"),
        record({"type": "array"}),
        record({"type": "fixed", "name": "f", "size": -1}),
        {"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]},
        {"type": "record", "name": "r", "fields": []},
        ["null", record("int")],
        "string",
    ],
)
def test_a_schema_that_cannot_be_read_is_refused(schema: Any) -> None:
    with pytest.raises(DataError, match=r"^car\.avsc: found .*; wanted .*\. To do: "):
        compile_schema(json.dumps(schema), PLACE)


def test_lists_within_lists_have_an_end() -> None:
    kind: Any = "int"
    for _ in range(17):
        kind = {"type": "array", "items": kind}
    with pytest.raises(DataError, match="17 lists within one another"):
        compile_schema(json.dumps(record(kind)), PLACE)


def test_the_reason_tells_the_field() -> None:
    schema = record("string", record("boolean", name="inner"))
    decoder = decoder_of(schema)
    reasons = [
        why for _, why in decoder.decode([b"\x06ab", b"\x02\xff\x01", b"\x02a\x07", b"\x02a\x01\x00", b"\x01"]).bad
    ]
    assert [why.split("; wanted")[0] for why in reasons] == [
        "found the end of the message at f0",
        "found text that is not UTF-8 at f0",
        "found a number out of its bounds at f1.f0",
        "found more bytes behind the record",
        "found a length that is none at f0",
    ]


@given(st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_text_is_text_where_python_says_so(value: bytes) -> None:
    bad = decoder_of(record("string")).decode(written(record("bytes"), [{"f0": value}])).bad
    try:
        value.decode()
        assert not bad
    except UnicodeDecodeError:
        assert bad


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

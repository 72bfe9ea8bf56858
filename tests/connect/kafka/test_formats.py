"""Message values to frames and back."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamem.connect.files.lines import Lines
from streamem.connect.kafka.formats import (
    Decoder,
    Format,
    RegistrySettings,
    avro_schema,
    encode_arrow,
    encode_avro,
    encode_csv,
    encode_json,
    open_decoder,
)
from streamem.errors import ConfigError, DataError, ModelError

PLACE = "topic cars"

REGISTRY = RegistrySettings(url="http://127.0.0.1:1")

ROWS = [
    {"id": "a", "x": 1.5},
    {"id": "é\n\t\"'", "x": None},
    {"id": None, "x": -0.25},
    {"id": "NaN, null", "x": 1e300},
    {"id": "", "x": 0.0},
]
COLUMNS = pl.Schema({"id": pl.String(), "x": pl.Float64()})

JSON = {
    b'{"id": "a", "x": 1.5}': ROWS[0],
    b'{\n  "x": null,\r\n  "id": "\\u00e9\\n\\t\\"\'"\n}\n': ROWS[1],
    b'{"x": -0.25, "more": {"y": [1]}}': ROWS[2],
    b'{"id": "NaN, null", "x": 1e300}': ROWS[3],
    b' {"id": "", "x": 0}': ROWS[4],
    b'{"id": "a", "x": 1.5, "y": NaN}': ROWS[0],
    b'{"id": null, "x": NaN}': {"id": None, "x": None},
    b"{}": {"id": None, "x": None},
}
NO_JSON = [
    *(b" ", b"\n", b"{", b"[]", b"1", b"null", b'"text"', b"[{}]", b"nonsense", b"\x00", b"\xef\xbb\xbf{}"),
    *(b'{"x": "1"}', b'{"x": true}', b'{"x": Infinity}', b'{"x": 1e999}', b'{"id": "\xff"}', b'{"id": "a\nb"}'),
    *(b"{}\n{}", b"{} {}", b"{},", b"{}{", b'{"x": NaN', b'{"x": NaN}\n{"x": NaN}', b'{"x": NaN, "id": {"y": Na}}'),
]

CSV = {
    b"a,1.5": ROWS[0],
    b'"\xc3\xa9\n\t""\'",\n': ROWS[1],
    b",-0.25\r\n": ROWS[2],
    b'"NaN, null",1e300': ROWS[3],
    b'"",0': ROWS[4],
    b"NA,NA": {"id": None, "x": None},
    b'a "quoted" word,1': {"id": 'a "quoted" word', "x": 1.0},
}
NO_CSV = [
    b"\n",
    b"a",
    b"a,1,2",
    b"a,b",
    b'"a,1',
    b"a,1\nb,2",
    b"a,1\n\nb,2",
    b"\xff,1",
    b"a\nb",
    b"a,1.5.2",
    b'a,"',
    b"\x00",
]


def avro(rows: Sequence[dict[str, object]]) -> list[bytes]:
    return encode_avro(pl.DataFrame(rows, schema=COLUMNS))


AVRO = dict(zip(avro(ROWS), ROWS, strict=True))
NO_AVRO = [b"\x02", b"\x02\x02", b"\x02\x02\xff\x00", b"\x00\x00\x00", b"\x04", b"\x01", b"\xff" * 12, b"\x02\x01\x00"]


def open_any(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    match kind:
        case "csv":
            declared = Format(format="csv", schema={"id": "string", "x": "float"}, null_values=["NA"])
        case "avro":
            path = tmp_path_factory.mktemp("avro") / "cars.avsc"
            path.write_text(avro_schema(COLUMNS))
            declared = Format(format="avro", avro_schema=str(path))
        case _:
            declared = Format()
    return open_decoder(declared, list(JSON), frozenset("x"), place=PLACE, schema=COLUMNS)


@pytest.fixture(scope="module", params=["json", "csv", "avro"])
def kind_and_decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Decoder]:
    return request.param, open_any(request.param, tmp_path_factory)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_mixture_of_messages_gives_its_rows_in_order_and_tells_the_bad_ones(
    kind_and_decoder: tuple[str, Decoder], data: st.DataObject
) -> None:
    kind, decoder = kind_and_decoder
    good, bad = {"json": (JSON, NO_JSON), "csv": (CSV, NO_CSV), "avro": (AVRO, NO_AVRO)}[kind]
    values = data.draw(st.lists(st.sampled_from([*good, *good, *bad, b"", None]), max_size=20))
    result = decoder.decode(values)
    expected = [n for n, value in enumerate(values) if value in good]
    assert_frame_equal(result.frame, pl.DataFrame([good[values[n]] for n in expected], schema=COLUMNS))
    assert [n for n, _ in result.bad] == [n for n in range(len(values)) if n not in expected]
    assert (list(range(len(values))) if result.messages is None else result.messages.tolist()) == expected
    assert (result.messages is None) == (len(expected) == len(values))
    for n, why in result.bad:
        assert why.startswith("found ")
        assert "; wanted " in why
        assert why.endswith("set errors.policy")
        assert ("tombstone" in why) == (values[n] is None)


@pytest.mark.parametrize(("kind", "bad"), [("json", NO_JSON), ("csv", NO_CSV), ("avro", NO_AVRO)])
def test_each_bad_message_is_bad_alone_and_between_good_ones(
    kind: str, bad: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    decoder = open_any(kind, tmp_path_factory)
    good = next(iter({"json": JSON, "csv": CSV, "avro": AVRO}[kind]))
    for value in bad:
        assert [n for n, _ in decoder.decode([value]).bad] == [0], value
        assert decoder.decode([good, value, good]).messages.tolist() == [0, 2], value


@pytest.mark.parametrize("kind", ["json", "csv", "avro", "arrow"])
def test_no_messages_give_no_rows(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if kind == "arrow":
        decoder = open_decoder(Format(format="arrow"), [], frozenset(), place=PLACE, schema=COLUMNS)
    else:
        decoder = open_any(kind, tmp_path_factory)
    result = decoder.decode([])
    assert (result.frame.schema, result.frame.height, result.messages, list(result.bad)) == (COLUMNS, 0, None, [])


@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([*JSON, *CSV, *AVRO]), st.none()), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_row_or_are_bad(kind_and_decoder: tuple[str, Decoder], values: list[bytes | None]) -> None:
    result = kind_and_decoder[1].decode(values)
    rows = range(len(values)) if result.messages is None else result.messages.tolist()
    assert sorted([*rows, *(n for n, _ in result.bad)]) == list(range(len(values)))
    assert result.frame.height == len(rows)


def test_good_json_is_parsed_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    read = pl.read_ndjson
    monkeypatch.setattr(pl, "read_ndjson", lambda content, **options: calls.append(content) or read(content, **options))
    decoder = open_decoder(Format(), [], frozenset(), place=PLACE, schema=COLUMNS)
    assert decoder.decode([b'{"x": 1}', b'{"x": 2}', b'{"x":\n3}']).frame["x"].to_list() == [1, 2, 3]
    assert calls == [b'{"x": 1}\n{"x": 2}\n{"x":\t3}\n']


# columns


def test_json_columns_are_declared_first_then_inferred_and_numbers_are_floats() -> None:
    sample = [b"", None, b"nonsense", b'{"id": 1, "x": 1, "n": 2,\n "s": "a", "l": [1.5], "e": null}']
    declared = Format(schema={"id": "string", "late": "integer"})
    decoder = open_decoder(declared, sample, frozenset(["x", "e"]), place=PLACE)
    assert decoder.schema == pl.Schema(
        {
            "id": pl.String(),
            "x": pl.Float64(),
            "n": pl.Int64(),
            "s": pl.String(),
            "l": pl.List(pl.Float64()),
            "e": pl.Float64(),
            "late": pl.Int64(),
        }
    )
    assert decoder.decode(sample[3:]).frame.row(0) == ("1", 1.0, 2, "a", [1.5], None, None)


def test_json_of_an_empty_topic_has_the_columns_that_are_declared() -> None:
    decoder = open_decoder(Format(schema={"x": "float"}), [], frozenset("x"), place=PLACE)
    assert decoder.schema == pl.Schema({"x": pl.Float64()})


@pytest.mark.parametrize("declared", [Format(), Format(format="arrow")])
def test_a_sample_without_a_record_is_refused(declared: Format) -> None:
    with pytest.raises(DataError, match=r"^topic cars: found no .*; wanted at least one\. To do: look at the topic"):
        open_decoder(declared, [None, b"", b"nonsense"], frozenset(), place=PLACE)


def test_the_columns_of_an_earlier_run_are_taken_whatever_the_sample_is() -> None:
    decoder = open_decoder(Format(), [b'{"x": "text"}'], frozenset(), place=PLACE, schema=COLUMNS)
    assert decoder.schema == COLUMNS


# settings


@pytest.mark.parametrize(
    ("declared", "setting"),
    [
        (Format(format="csv"), "schema"),
        (Format(format="arrow", schema={"x": "float"}), "schema"),
        (Format(format="avro", avro_schema="a.avsc", schema={"x": "float"}), "schema"),
        (Format(separator=";"), "separator"),
        (Format(null_values=["NA"]), "null_values"),
        (Format(avro_schema="a.avsc"), "avro_schema"),
        (Format(schema_registry=REGISTRY), "schema_registry"),
        (Format(format="avro"), "avro_schema"),
        (
            Format(format="avro", avro_schema="a", schema_registry=RegistrySettings(url="http://localhost")),
            "avro_schema",
        ),
        (Format(format="csv", schema={"x": "float"}, separator='"'), "separator"),
        (Format(format="csv", schema={"x": "float"}, separator="ab"), "separator"),
        (Format(format="avro", avro_schema="/no/such.avsc"), "avro_schema"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(declared: Format, setting: str) -> None:
    with pytest.raises(ConfigError, match=rf"^source\.{setting}: found .*; wanted .*\. To do: "):
        open_decoder(declared, [b"{}"], frozenset(), place=PLACE)


@pytest.mark.parametrize("text", ["", "[]", '"string"', '{"type": "enum", "name": "e", "symbols": []}', "{}", "5"])
def test_a_file_that_is_no_schema_of_a_record_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.avsc"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"^source\.avro_schema: {path}: found "):
        open_decoder(Format(format="avro", avro_schema=str(path)), [], frozenset(), place=PLACE)


def test_separator_and_null_values_of_csv_are_used() -> None:
    schema = {"id": "string", "x": "float", "n": "integer", "b": "boolean"}
    declared = Format(format="csv", schema=schema, separator=";", null_values=["-"])
    decoder = open_decoder(declared, [], frozenset(), place=PLACE)
    assert decoder.decode([b"a,b;-;3;true"]).frame.row(0) == ("a,b", None, 3, True)
    tabs = open_decoder(Format(format="csv", schema=schema, separator="\t"), [], frozenset(), place=PLACE)
    assert tabs.decode([b"\t\t\t"]).frame.row(0) == (None, None, None, None)


# what flows out comes back


WIDE = pl.DataFrame(
    {
        "id": ["a", None, 'é "\n,', ""],
        "regime.state": pl.Series([0, 1, None, 2**32 - 1], dtype=pl.UInt32),
        "x": [1.5, None, -1e-300, 0.1],
        "flag": [True, None, False, True],
        "p": [[0.25, 0.75], None, [], [None, 1.0]],
        "m": [[[1.0], [2.0, 3.0]], None, [[]], [None]],
        "t": [dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC), None, dt.datetime(1969, 1, 1, tzinfo=dt.UTC), None],
        "naive": pl.Series([dt.datetime(2024, 1, 1), None, None, None], dtype=pl.Datetime("ms")),
        "day": [dt.date(2024, 2, 29), None, dt.date(1, 1, 1), None],
        "s": [{"a": 1, "b": "q"}, None, {"a": None, "b": None}, {"a": -(2**63), "b": ""}],
    }
)


@pytest.mark.parametrize("kind", ["json", "avro", "arrow"])
def test_what_is_encoded_decodes_to_itself(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("avro") / "wide.avsc"
    path.write_text(avro_schema(WIDE.schema))
    encoded, declared = {
        "json": (encode_json(WIDE), Format()),
        "avro": (encode_avro(WIDE), Format(format="avro", avro_schema=str(path))),
        "arrow": (encode_arrow(WIDE, 3), Format(format="arrow")),
    }[kind]
    schema = WIDE.schema if kind == "json" else None
    result = open_decoder(declared, encoded, frozenset(), place=PLACE, schema=schema).decode(encoded)
    assert not result.bad
    expected = WIDE.cast({"regime.state": pl.Int64()}) if kind == "avro" else WIDE
    assert_frame_equal(result.frame, expected)


def test_csv_flattens_lists_and_keeps_its_columns_from_the_first_frame_on() -> None:
    frame = pl.DataFrame({"id": ["a", 'é, "\n'], "p": [[0.5, 0.25], None], "x": [None, float("nan")]})
    lines = Lines("csv")
    values = encode_csv(frame, lines)
    assert lines.columns == ["id", "p.0", "p.1", "x"]
    schema = {"id": "string", "p.0": "float", "p.1": "float", "x": "float"}
    result = open_decoder(Format(format="csv", schema=schema), [], frozenset(), place=PLACE).decode(values)
    assert result.frame.rows()[0] == ("a", 0.5, 0.25, None)
    assert result.frame.rows()[1][:3] == ('é, "\n', None, None)
    assert encode_csv(frame[1:], lines) == values[1:]
    assert encode_csv(frame[:0], lines) == []
    with pytest.raises(ConfigError, match="column p: found a list of 3; wanted 2 values, as before"):
        encode_csv(frame.with_columns(p=pl.lit([1.0, 2.0, 3.0])), lines)
    with pytest.raises(ConfigError, match="the columns of a CSV output"):
        encode_csv(frame.drop("x"), lines)


def test_nan_is_null_in_json_and_itself_elsewhere_and_an_infinite_number_only_stops_json() -> None:
    frame = pl.DataFrame({"x": [float("nan")]})
    assert encode_json(frame) == [b'{"x":null}']
    assert np.isnan(pl.read_ipc_stream(encode_arrow(frame, 1)[0])["x"][0])
    assert encode_avro(frame) == [b"\x02" + np.float64("nan").tobytes()]
    infinite = pl.DataFrame({"x": [[float("inf")]]})
    with pytest.raises(ModelError, match="column x: found an infinite number"):
        encode_json(infinite)
    assert encode_avro(infinite) == [b"\x02\x02\x02" + np.float64("inf").tobytes() + b"\x00"]


def test_no_rows_are_no_messages() -> None:
    assert encode_json(WIDE[:0]) == encode_avro(WIDE[:0]) == encode_arrow(WIDE[:0], 5) == []

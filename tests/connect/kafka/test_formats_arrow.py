"""Messages of Arrow: many rows each, of any writer, whole or damaged."""

import base64
import io
import random
import zlib
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamem.connect.kafka.formats import Format, open_decoder
from streamem.connect.kafka.formats.conform import conform, fits, usable
from streamem.errors import DataError
from tests.connect.kafka.test_formats import PLACE, WIDE


def streamed(frame: pl.DataFrame, *, file: bool = False, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (frame.write_ipc if file else frame.write_ipc_stream)(buffer, **options)
    return buffer.getvalue()


MIXED = WIDE.with_columns(kind=pl.Series(["u", None, "v", "u"], dtype=pl.Categorical), nothing=pl.lit(None))
MIXED_MESSAGES = [
    streamed(MIXED, file=file, compression=compression, compat_level=level)
    for file in (False, True)
    for compression in ("uncompressed", "zstd", "lz4")
    for level in (None, pl.CompatLevel.oldest())
]


@pytest.mark.parametrize("value", MIXED_MESSAGES, ids=range(12))
def test_arrow_streams_and_files_are_read_compressed_or_not(value: bytes) -> None:
    decoder = open_decoder(Format(format="arrow"), [None, value], frozenset(["regime.state"]), place=PLACE)
    assert decoder.schema == {**WIDE.schema, "regime.state": pl.Float64(), "kind": pl.String(), "nothing": pl.String()}
    result = decoder.decode([value])
    assert_frame_equal(result.frame, MIXED.cast(dict(decoder.schema)))
    assert result.messages is not None
    assert result.messages.tolist() == [0] * 4


ANOTHER_WRITER = (
    "c-qxdD-HrN5S=XrHl(70kO~A6i^Jj&BqSINjtgKQ90`d;AUFa?;3n|qv%ogX0hrC~wDYE~^S0gDYPDQXh@P-"
    "J5k+F_QJ@aBsl*6Yc=8Ar)Npk09lS5~2~{2HVnswo*B5QZrtl%$lUf1a!b?1yEe*SZm*J7jbuZ?sczI^LE;eu;g)_jr!pUiiqU&V"
    "6vIUG(SrBG&Ua(}iD%RerZ;?>x4Ov*;(Z^c!+k(Yt@q1m7&71Q3!$-%Zrejdo(ek1py;<sgZyNgc*`BJu-"
    "e=5ui&<S&>oOkKpy@kS<ENgz@aox=a+88}ILCWzy>k7@2yVuaGQNk6&l&!2cQ*o@$-nsm;<q!m"
)


def test_a_file_of_pyarrow_is_read() -> None:
    # pyarrow 26: pa.table({"x": pa.array([1, None], pa.int8()), "c": pa.array(["u", "v"]).dictionary_encode()})
    value = zlib.decompress(base64.b85decode(ANOTHER_WRITER))
    decoder = open_decoder(Format(format="arrow"), [value], frozenset("x"), place=PLACE)
    assert decoder.schema == {"x": pl.Float64(), "c": pl.String()}
    assert decoder.decode([value]).frame.rows() == [(1.0, "u"), (None, "v")]


@pytest.mark.parametrize("file", [False, True])
def test_an_arrow_message_may_have_no_rows(file: bool) -> None:
    value = streamed(MIXED[:0], file=file)
    result = open_decoder(Format(format="arrow"), [value], frozenset(), place=PLACE).decode([value, value])
    assert (result.frame.height, list(result.bad)) == (0, [])
    assert result.messages is not None


def test_arrow_messages_of_any_length_keep_their_order() -> None:
    frames = [pl.DataFrame({"x": [float(n)] * n}, schema={"x": pl.Float64()}) for n in (2, 0, 1, 3)]
    values = [streamed(frame) for frame in frames]
    decoder = open_decoder(Format(format="arrow"), values, frozenset(), place=PLACE)
    result = decoder.decode([values[0], None, values[1], b"nonsense", values[2], values[3][:-100]])
    assert result.frame["x"].to_list() == [2.0, 2.0, 1.0]
    assert result.messages is not None
    assert result.messages.tolist() == [0, 0, 4]
    assert [n for n, _ in result.bad] == [1, 3, 5]
    assert decoder.decode([values[2], values[2]]).messages is None


@pytest.mark.parametrize("value", MIXED_MESSAGES, ids=range(12))
def test_arrow_that_is_cut_short_anywhere_is_bad(value: bytes) -> None:
    decoder = open_decoder(Format(format="arrow"), [value], frozenset(), place=PLACE)
    ends = [*range(1, 400), *range(400, len(value), 97), len(value) - 9]
    whole = open_decoder(Format(format="arrow"), [value], frozenset(), place=PLACE).decode([value]).frame.height
    for end in ends:
        result = decoder.decode([value[:end]])
        # a stream may end behind any batch of rows: that is not damage
        assert [n for n, _ in result.bad] == [0] or result.frame.height in (0, whole), end
    assert len(ends) > 100


def test_damaged_arrow_is_bad_and_never_ends_the_process() -> None:
    chance = random.Random(7)
    decoder = open_decoder(Format(format="arrow"), MIXED_MESSAGES[:1], frozenset(), place=PLACE)
    bad = 0
    for _ in range(600):
        value = bytearray(chance.choice(MIXED_MESSAGES))
        for _ in range(chance.randrange(1, 4)):
            value[chance.randrange(len(value))] = chance.choice([0, 128, 255, chance.randrange(256)])
        bad += len(decoder.decode([bytes(value)]).bad)
    assert bad > 200


def test_an_arrow_message_of_other_columns_is_cast_where_nothing_is_lost_and_else_bad() -> None:
    wanted = pl.Schema({"x": pl.Float64(), "n": pl.Int32(), "s": pl.String()})
    decoder = open_decoder(Format(format="arrow"), [], frozenset(), place=PLACE, schema=wanted)
    values = [
        streamed(pl.DataFrame({"n": [7], "x": [1], "more": ["m"]})),
        streamed(pl.DataFrame({"x": ["1.5"]})),
        streamed(pl.DataFrame({"n": [1, 2**40]})),
        streamed(pl.DataFrame({"y": [1.0]})),
    ]
    result = decoder.decode(values)
    assert result.frame.rows() == [(1.0, 7, None)]
    assert [(n, why.split(". To do")[0]) for n, why in result.bad] == [
        (1, "found x of type String; wanted Float64"),
        (2, "found n: 1099511627776; wanted Int32"),
        (3, "found the columns y; wanted one at least of x, n, s"),
    ]


@pytest.mark.parametrize(
    ("found", "wanted", "good"),
    [
        (pl.Null(), pl.List(pl.String()), True),
        (pl.Int8(), pl.Float64(), True),
        (pl.Float32(), pl.Float64(), True),
        (pl.Float64(), pl.Float32(), False),
        (pl.Boolean(), pl.Float64(), False),
        (pl.Decimal(10, 2), pl.Float64(), True),
        (pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Berlin"), True),
        (pl.Datetime("ms"), pl.Datetime("us", "UTC"), False),
        (pl.Array(pl.Int16(), 3), pl.List(pl.Float64()), True),
        (pl.List(pl.String()), pl.List(pl.Float64()), False),
        (pl.List(pl.UInt64()), pl.List(pl.Int64()), False),
        (pl.Struct({"a": pl.Int8()}), pl.Struct({"a": pl.Int64(), "b": pl.String()}), True),
        (pl.Struct({"a": pl.String()}), pl.Struct({"a": pl.Int64()}), False),
        (pl.Struct({"b": pl.Int64()}), pl.Struct({"a": pl.Int64()}), False),
        (pl.Categorical(), pl.String(), True),
        (pl.String(), pl.Date(), False),
    ],
)
def test_types_fit_where_values_are_kept(found: pl.DataType, wanted: pl.DataType, good: bool) -> None:
    assert fits(found, wanted) is good
    frame = pl.DataFrame({"x": pl.Series([None, None], dtype=found)})
    if good:
        assert conform(frame, pl.Schema({"x": wanted}))[0].schema == {"x": wanted}
    else:
        with pytest.raises(DataError, match="found x of type"):
            conform(frame, pl.Schema({"x": wanted}))


def test_columns_used_as_numbers_stay_what_they_are_where_they_are_none() -> None:
    found = pl.Schema({"a": pl.String(), "b": pl.Null(), "c": pl.Decimal(5, 2), "d": pl.Null()})
    assert usable(found, frozenset("abc")) == {
        "a": pl.String(),
        "b": pl.Float64(),
        "c": pl.Float64(),
        "d": pl.String(),
    }

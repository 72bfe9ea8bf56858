"""Reading files: the same batches whatever the reads, resumed anywhere, over every format."""

import gzip
import io
import json
import os

import polars as pl
import pytest
import zstandard

from streamem.connect.files import FilesSource, bytestream, parquet
from streamem.errors import ConfigError, ConnectError, DataError
from streamem.stream.batch import ROW
from streamem.stream.protocol import Columns, Cuts, Resume, World
from tests.connect.reading import Clock, batches, opened, plain, resumed, values

ROWS = [{"x": n / 4, "n": n, "s": f"t{n}", "q": 'say "a, b"\nagain'} for n in range(57)]


def ndjson(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def with_bad_lines(content):
    lines = content.split(b"\n")
    return b"\n".join([*lines[:5], b"[]", b"", *lines[5:30], b'{"x": ', b"\xff", *lines[30:]])


def members(content, compress):
    return b"".join(compress(content[at : at + 700]) for at in range(0, len(content), 700))


TEXT = ndjson(ROWS)
CSV = pl.DataFrame(ROWS).write_csv().encode()
INPUTS = {
    "plain.ndjson": TEXT,
    "bad.ndjson": with_bad_lines(TEXT),
    "mark.ndjson": b"\xef\xbb\xbf" + TEXT,
    "open.ndjson": TEXT[:-1],
    "plain.csv": CSV,
    "mark.csv": b"\xef\xbb\xbf" + CSV,
    "bad.csv": CSV + b'1.5,7,"open,z\n1,2,3\nq,1,a,b\n1,2,a"b,c\n',
    "members.ndjson.gz": members(TEXT, gzip.compress),
    "frames.csv.zst": members(CSV, zstandard.ZstdCompressor().compress),
}


@pytest.fixture(params=INPUTS)
def path(request, tmp_path):
    path = tmp_path / request.param
    path.write_bytes(INPUTS[request.param])
    return path


def test_the_same_batches_whatever_the_size_of_the_reads(path, monkeypatch):
    expected = [plain(batch) for batch in batches([path], size=10)]
    assert len(expected) >= 6
    for chunk in (1, 7, 100, 1000):
        monkeypatch.setattr(bytestream, "CHUNK", chunk)
        assert [plain(batch) for batch in batches([path], size=10)] == expected


def test_every_good_record_comes_once_and_in_order(path):
    found = batches([path], size=10)
    assert values(found)[:57] == [row["x"] for row in ROWS]
    assert values(found, "q")[:57] == [row["q"] for row in ROWS]
    assert [batch.number for batch in found] == list(range(len(found)))
    assert all(batch.records == 10 for batch in found[:-1])


def test_a_reader_goes_on_after_any_batch(path):
    found = batches([path, path.with_name(path.name)], size=7)
    schema = opened([path]).schema
    for at, batch in enumerate(found):
        assert [plain(b)[:1] + plain(b)[1:3] for b in resumed([path], batch, schema, size=7)] == [
            plain(b)[:1] + plain(b)[1:3] for b in found[at + 1 :]
        ]


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "csv.gz", "parquet"])
def test_several_files_are_one_stream(tmp_path, suffix):
    for part, start in enumerate((0, 20, 40)):
        frame = pl.DataFrame(ROWS[start : start + 20])
        path = tmp_path / f"{part}.{suffix}"
        if suffix == "parquet":
            frame.write_parquet(path)
        elif suffix == "ndjson":
            frame.write_ndjson(path)
        else:
            content = frame.write_csv().encode()
            path.write_bytes(gzip.compress(content) if suffix == "csv.gz" else content)
    glob = tmp_path / f"*.{suffix}"
    found = batches([glob], size=9)
    assert values(found) == [row["x"] for row in ROWS]
    assert [batch.records for batch in found] == [9] * 6 + [3]
    schema = opened([glob]).schema
    for at, batch in enumerate(found):
        assert values(resumed([glob], batch, schema, size=9)) == values(found[at + 1 :])


def test_parquet_comes_in_pieces_that_do_not_show(tmp_path, monkeypatch):
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")
    expected = [plain(batch) for batch in batches([tmp_path / "a.parquet"], size=10)]
    assert len(expected) == 6
    monkeypatch.setattr(parquet, "ROWS", 4)
    assert [plain(batch) for batch in batches([tmp_path / "a.parquet"], size=10)] == expected


def test_a_parquet_file_of_another_schema_is_refused_after_the_records_before_it(tmp_path):
    pl.DataFrame({"x": [1.0, 2.0]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"y": [1.0]}).write_parquet(tmp_path / "b.parquet")
    reader = iter(opened([tmp_path / "*.parquet"]))
    assert next(reader).frame["x"].to_list() == [1.0, 2.0]
    with pytest.raises(DataError, match=r"b\.parquet: found no column x"):
        next(reader)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"not at all")
    with pytest.raises(DataError, match="a whole Parquet file"):
        opened([tmp_path / "a.parquet"])


@pytest.mark.parametrize("content", [CSV, TEXT])
def test_standard_input_is_read_as_it_comes(content, monkeypatch):
    class Input:
        buffer = io.BufferedReader(io.BytesIO(content))

    monkeypatch.setattr("sys.stdin", Input)
    reader = opened(["-"], format="csv" if content is CSV else "ndjson")
    assert values(list(reader)) == [row["x"] for row in ROWS]
    assert reader.done is None


def test_a_header_in_another_order_names_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text("x,s\n1,a\n")
    (tmp_path / "b.csv").write_text("more,s,x\n0,b,2\n")
    (found,) = batches([tmp_path / "*.csv"])
    assert found.frame.drop(ROW).rows() == [(1.0, "a"), (2.0, "b")]


def test_a_column_that_a_later_header_lacks_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("x,speed\n1,a\n")
    (tmp_path / "b.csv").write_text("x,sped\n1,a\n")
    with pytest.raises(DataError, match=r"b\.csv: found no column speed \(did you mean 'sped'\?\)"):
        batches([tmp_path / "*.csv"])


def resume_after_first(tmp_path, change):
    for name in "bc":
        (tmp_path / f"{name}.ndjson").write_bytes(ndjson(ROWS[:20]))
    reader = opened([tmp_path / "*.ndjson"], size=30)
    first = next(iter(reader))
    reader.close()
    change()
    return values(resumed([tmp_path / "*.ndjson"], first, reader.schema, size=30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "b.ndjson").unlink(), "no such file any more"),
        (lambda folder: (folder / "b.ndjson").write_bytes(b"{}\n"), "3 bytes where"),
        (lambda folder: (folder / "c.ndjson").write_bytes(b"{}\n"), "3 bytes where"),
        (lambda folder: (folder / "c.ndjson").write_bytes(ndjson(ROWS[20:50])), "another beginning"),
        (lambda folder: (folder / "a.ndjson").write_bytes(TEXT), "a.ndjson before it, which was not read"),
        (lambda folder: (folder / "b.ndjson").write_bytes(TEXT), "bytes where"),
    ],
)
def test_files_that_are_not_those_read_before_are_refused(tmp_path, change, message):
    with pytest.raises(ConnectError, match=message):
        resume_after_first(tmp_path, lambda: change(tmp_path))


def test_a_file_that_grew_and_a_new_one_are_read_on(tmp_path):
    def grow():
        (tmp_path / "c.ndjson").write_bytes(ndjson(ROWS[:25]))
        (tmp_path / "d.ndjson").write_bytes(ndjson(ROWS[:2]))

    assert resume_after_first(tmp_path, grow) == [row["x"] for row in [*ROWS[10:25], *ROWS[:2]]]


def test_a_limit_ends_a_run_and_the_next_goes_on_there(tmp_path):
    (tmp_path / "a.ndjson").write_bytes(TEXT)
    found = batches([tmp_path / "a.ndjson"], size=10, limit=25)
    assert [batch.records for batch in found] == [10, 10, 5]
    rest = resumed([tmp_path / "a.ndjson"], found[-1], opened([tmp_path / "a.ndjson"]).schema, size=10)
    assert values(found) + values(rest) == [row["x"] for row in ROWS]


def test_the_share_read_ends_at_one(path):
    reader = opened([path])
    list(reader)
    assert reader.done == 1.0
    reader.close()


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("size", [5, 1000])
def test_damage_is_told_after_every_whole_record_before_it(tmp_path, suffix, size):
    rows = [{"x": float(n), "s": str(hash((n, "a", 0.1)))} for n in range(5000)]
    content = ndjson(rows)
    squeezed = gzip.compress(content) if suffix == "gz" else zstandard.ZstdCompressor().compress(content)
    cut = squeezed[: len(squeezed) * 3 // 4]
    path = tmp_path / f"a.ndjson.{suffix}"
    path.write_bytes(cut)
    unpack = bytestream.zlib.decompressobj(31) if suffix == "gz" else bytestream.zstd_decompressor()
    there = unpack.decompress(cut).count(b"\n")
    found = []
    reader = opened([path], size=size)
    with pytest.raises(DataError, match=rf"a\.ndjson\.{suffix}, byte \d+ of its content: found its end"):
        found.extend(reader)  # a list keeps what came before the error
    reader.close()
    assert there > 1000
    assert values(found) == [row["x"] for row in rows[:there]]


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.csv.gz", "a.ndjson.zst"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_input_without_records_is_refused(tmp_path, name, content):
    pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}.get(name.split(".")[-1], bytes)
    (tmp_path / name).write_bytes(pack(content))
    with pytest.raises(DataError, match="found no records"):
        opened([tmp_path / name])


def test_empty_files_between_others_are_passed_over(tmp_path):
    for name, content in {"a": b"", "b": b"x\n", "c": b"x\n1\n", "d": b"", "e": b"x\n2\n"}.items():
        (tmp_path / f"{name}.csv").write_bytes(content)
    assert values(batches([tmp_path / "*.csv"])) == [1.0, 2.0]


def test_paths_without_a_file_are_told_with_the_nearest_name(tmp_path):
    (tmp_path / "traffic.csv").write_text("x\n1\n")
    with pytest.raises(ConfigError, match=r"did you mean 'traffic\.csv'"):
        opened([tmp_path / "trafic.csv"])
    with pytest.raises(ConfigError, match="found a folder"):
        opened([tmp_path])
    with pytest.raises(ConfigError, match=r"\*\.parquet: found no file of such a name"):
        opened([tmp_path / "*.parquet"])
    with pytest.raises(ConfigError, match="found no folder"):
        opened([tmp_path / "no" / "a.csv"])


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_a_file_that_may_not_be_read_is_told(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("x\n1\n")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bytestream, "open", refuse, raising=False)
    monkeypatch.setattr(pl, "read_parquet_schema", refuse)
    with pytest.raises(ConnectError, match=rf"{name}: found Permission denied"):
        opened([tmp_path / name])


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"wait": 5}, "batch.max_wait_ms"),
        ({"speed": 2.0}, "source.speed"),
        ({"speed": 0.0, "columns": Columns(time="x")}, "source.speed"),
        ({"separator": ";;"}, "source.separator"),
        ({"separator": "é"}, "source.separator"),
        ({"separator": '"'}, "source.separator"),
        ({"format": "ndjson", "separator": ";"}, "source.separator"),
        ({"format": "ndjson", "null_values": ["NA"]}, "source.null_values"),
        ({"format": "parquet", "schema": {"x": "float"}}, "source.schema"),
        ({"schema": {"y": "float"}}, "source.schema.y"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, settings, place):
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(ConfigError, match=place):
        opened([tmp_path / "a.csv"], **settings)


def test_standard_input_cannot_be_resumed_or_followed_or_be_parquet():
    for settings, place in (({"follow": True}, "follow"), ({"resume": Resume({}, pl.Schema(), 1)}, "paths")):
        with pytest.raises(ConfigError, match=place):
            opened(["-"], format="csv", **settings)
    with pytest.raises(ConfigError, match="paths"):
        opened(["-"], format="parquet")
    with pytest.raises(ConfigError, match="format of -"):
        opened(["-"])


def test_files_of_two_formats_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.ndjson").write_text("{}\n")
    with pytest.raises(ConfigError, match="csv, ndjson"):
        opened([tmp_path / "*"])


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_noise_behind_a_whole_member_is_damage_after_its_records(tmp_path, suffix):
    pack = gzip.compress if suffix == "gz" else zstandard.ZstdCompressor().compress
    path = tmp_path / f"a.ndjson.{suffix}"
    path.write_bytes(pack(TEXT) + b"noise" * 100)
    found = []
    reader = opened([path], size=10)
    with pytest.raises(DataError, match=rf"a\.ndjson\.{suffix}, byte {len(TEXT)} of its content"):
        found.extend(reader)
    reader.close()
    assert values(found) == [row["x"] for row in ROWS]


def test_a_compressed_file_without_a_whole_record_is_told_as_damage(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(CSV)[:15])
    with pytest.raises(DataError, match="wanted a whole compressed file"):
        opened([path])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(("more", "rest"), [("45\n6\n", None), ("\n6\n", [6.0]), ("\r\n6\n", [6.0])])
def test_a_last_record_without_an_end_that_went_on_is_refused(tmp_path, name, more, rest):
    path = tmp_path / name
    pack = gzip.compress if name.endswith("gz") else bytes
    path.write_bytes(pack(b"x\n1\n2\n3"))
    reader = opened([path])
    (found,) = reader
    reader.close()
    assert values([found]) == [1.0, 2.0, 3.0]
    with path.open("ab") as file:
        file.write(pack(more.encode()))
    if rest is None:
        with pytest.raises(ConnectError, match=rf"{name}, record 3: found more of a record that was read as the last"):
            resumed([path], found, reader.schema)
    else:
        assert values(resumed([path], found, reader.schema)) == rest


def test_zeros_behind_a_gzip_member_are_padding(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x\n1\n") + bytes(600) + gzip.compress(b"2\n") + bytes(600))
    assert values(batches([path])) == [1.0, 2.0]


def test_a_pipe_among_the_paths_is_told(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match=r"a\.csv: found a pipe or a device; wanted a file"):
        opened([tmp_path / "a.csv"])


def test_a_source_without_paths_is_told():
    with pytest.raises(ConfigError, match=r"source\.paths: found no path; wanted at least one"):
        opened([])


def test_standard_input_that_gives_nothing_is_left_when_the_run_is_asked_to_stop(monkeypatch):
    monkeypatch.setattr(bytestream, "POLL_SECONDS", 0)
    reading, writing = os.pipe()
    os.write(writing, b"x\n" + b"1\n" * 10_000 + b"2")
    world = Clock()  # asks to stop at the first wait
    with open(reading, "rb") as pipe:
        monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": pipe}))
        reader = opened(["-"], format="csv", size=10_001, world=world)
        assert [batch for batch in reader if batch] == []  # the 2 is not whole
    os.close(writing)
    assert world.stopping.is_set()


@pytest.mark.parametrize(("good", "kind"), [("{}", pl.Int64()), ("{}.5", pl.Float64())])
def test_a_time_column_of_numbers_stays_one_when_a_text_stands_in_it(tmp_path, good, kind):
    path = tmp_path / "t.csv"
    path.write_text("t,x\n" + "".join(f"{'noon' if n == 7 else good.format(n)},{n}\n" for n in range(20)))
    reader = FilesSource(paths=[str(path)]).open(World(), Cuts(100), Columns(time="t"), None)
    [batch] = list(reader)
    reader.close()
    assert reader.schema["t"] == kind
    assert batch.frame.height == 19
    assert "`noon`" in batch.rejected[0].message


def test_a_time_column_of_whole_and_fractional_numbers_is_of_fractional_ones(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("t,x\n0,1\n1,2\n1.5,3\n2,4\n3,5\n")
    reader = FilesSource(paths=[str(path)]).open(World(), Cuts(100), Columns(time="t"), None)
    [batch] = list(reader)
    reader.close()
    assert batch.frame["t"].to_list() == [0.0, 1.0, 1.5, 2.0, 3.0]
    assert not batch.rejected


def test_a_time_column_of_texts_stays_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("t,x\n2026-01-01,1\n17,2\n2026-01-03,3\n")
    reader = FilesSource(paths=[str(path)]).open(World(), Cuts(100), Columns(time="t"), None)
    reader.close()
    assert reader.schema["t"] == pl.String()

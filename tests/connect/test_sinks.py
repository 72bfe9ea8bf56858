"""Sinks: whole lines whatever happens, cut back on a restart, and never over somebody else's output."""

import errno
import json
from pathlib import Path

import polars as pl
import pytest

from streamem.connect import ConsoleSink, FilesSink, MemorySink
from streamem.connect.files import lines
from streamem.errors import ConfigError, ConnectError, ModelError
from streamem.stream.disk import Disk
from streamem.stream.protocol import State, World

FRAME = pl.DataFrame({"n": [1, 2, 3], "p": [[0.5, 0.25], [0.125, 1.0], None], "s": ["a", 'b"\n', None]})
FORMATS = ["a.ndjson", "a.csv", "parts.parquet"]


def write(sink, frames, *, state=None, flush=True, final=False, world=None):
    """Write frames through a sink that goes on after `state`; return the state after a flush."""
    writer = sink.open(world or World(), state)
    try:
        for frame in frames:
            writer.write(frame)
        return writer.flush(final) if flush else None
    finally:
        writer.close()


def read(path):
    if path.suffix == ".ndjson":
        return pl.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)


def content(path):
    """Return everything that stands under a path."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(params=FORMATS)
def sink(request, tmp_path):
    return FilesSink(path=str(tmp_path / "new" / "folder" / request.param), part_records=4)


@pytest.fixture
def path(sink):
    return Path(sink.path)


def test_what_was_written_is_read_again(sink, path):
    write(sink, [FRAME, FRAME], final=True)
    frame = read(path)
    assert frame["n"].to_list() == [1, 2, 3] * 2
    if path.suffix == ".csv":
        assert frame.columns == ["n", "p.0", "p.1", "s"]
        assert frame["p.1"].to_list() == [0.25, 1.0, None] * 2
    else:
        assert frame["p"].to_list() == FRAME["p"].to_list() * 2


@pytest.mark.parametrize("pieces", [1, 4, 8192])
def test_a_restart_cuts_back_to_the_checkpoint_and_ends_with_the_same_bytes(sink, path, tmp_path, pieces, monkeypatch):
    monkeypatch.setattr(lines, "RECORDS", pieces)
    straight = FilesSink(path=str(tmp_path / "straight" / path.name), part_records=4)
    state = write(straight, [FRAME])
    write(straight, [FRAME, FRAME], state=state, final=True)
    state = write(sink, [FRAME])
    write(sink, [FRAME, FRAME], state=state, flush=False)  # a crash: written, and in no checkpoint
    write(sink, [FRAME, FRAME[:1]], state=state)
    if path.is_file():
        path.write_bytes(path.read_bytes() + b'{"half')
    else:
        (path / ".part-000009.parquet").write_bytes(b"half")
        (path / "my-part-1.parquet").write_bytes(b"not ours")
    write(sink, [FRAME, FRAME], state=state, final=True)
    found = content(path)
    if path.is_dir():
        assert found.pop("my-part-1.parquet") == b"not ours"
    assert found == content(tmp_path / "straight" / path.name)


def test_a_checkpoint_before_the_first_row_begins_anew(sink, path):
    zero = write(sink, [])
    write(sink, [FRAME], state=zero)
    write(sink, [FRAME], state=zero, final=True)
    assert read(path).height == 3


def test_output_that_no_checkpoint_speaks_of_is_refused(sink, path):
    write(sink, [FRAME], final=True)
    before = content(path)
    with pytest.raises(ConfigError, match=r"no checkpoint that speaks of it.*--fresh"):
        sink.open(World(), None)
    assert content(path) == before


def test_output_shorter_than_the_checkpoint_says_is_refused(sink, path):
    state = write(sink, [FRAME, FRAME], final=True)
    if path.is_dir():
        (path / "part-000000.parquet").unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConnectError, match="as the checkpoint says"):
        sink.open(World(), state)


def test_earlier_output_is_moved_aside_and_numbered(sink, path):
    assert sink.move_aside(World()) == []
    for number in (1, 2):
        write(sink, [FRAME], final=True)
        assert sink.move_aside(World()) == [f"{path}.{number}"]
    assert not path.exists()


class Full(Disk):
    """A disk that takes so many more bytes, and fails at the calls named."""

    def __init__(self, room, fails=()):
        self.room = room
        self.fails = fails

    def write(self, descriptor, content):
        super().write(descriptor, content[: self.room])
        if len(content) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(content)

    def truncate(self, descriptor, length):
        self.answer("truncate")
        super().truncate(descriptor, length)

    def sync(self, descriptor):
        self.answer("sync")
        super().sync(descriptor)

    def answer(self, call):
        if call in self.fails:
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("pieces", [1, 8192])
def test_a_full_disk_leaves_whole_lines_and_the_next_run_goes_on(sink, path, pieces, monkeypatch):
    monkeypatch.setattr(lines, "RECORDS", pieces)
    state = write(sink, [FRAME])
    before = content(path)
    with pytest.raises(ConnectError, match="No space left on device") as error:
        write(sink, [FRAME, FRAME], state=state, world=World(disk=Full(20)))
    assert not error.value.retry
    assert content(path) == before
    write(sink, [FRAME], state=state, final=True)
    assert read(path)["n"].to_list() == [1, 2, 3] * 2


def test_a_disk_that_fails_altogether_is_told(sink, path):
    state = write(sink, [FRAME])
    for fails in (["sync"], ["truncate"]):
        with pytest.raises(ConnectError, match=r"(Input/output error|No space left)"):
            write(sink, [FRAME], state=state, final=True, world=World(disk=Full(20, fails)))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in FORMATS:
        with pytest.raises(ConnectError, match=r"found (Not a directory|File exists); wanted an output"):
            FilesSink(path=str(tmp_path / "file" / name)).open(World(), None)


def test_a_folder_without_rights_is_told(sink):
    class Locked(Disk):
        def make_folder(self, path):
            raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(ConnectError, match="found Permission denied"):
        sink.open(World(disk=Locked()), None)


@pytest.mark.parametrize("column", [[float("inf")], [[1.0, float("-inf")]], [{"a": [{"b": float("inf")}]}]])
def test_an_infinite_number_is_never_a_silent_null_in_json(tmp_path, column):
    with pytest.raises(ModelError, match="column x: found an infinite number"):
        write(FilesSink(path=str(tmp_path / "a.ndjson")), [pl.DataFrame({"x": column})])


def test_a_record_in_a_field_of_csv_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a record in a field of CSV"):
        write(FilesSink(path=str(tmp_path / "a.csv")), [pl.DataFrame({"x": [{"a": 1}]})])


def test_a_list_longer_than_the_header_has_columns_is_refused(tmp_path):
    sink = FilesSink(path=str(tmp_path / "a.csv"))
    state = write(sink, [pl.DataFrame({"x": [[1]]})])
    with pytest.raises(ConfigError, match="found a list of 2; wanted 1 values"):
        write(sink, [pl.DataFrame({"x": [[1, 2]]})], state=state)


def test_a_matrix_is_flattened_row_by_row_in_csv(tmp_path):
    writer = FilesSink(path=str(tmp_path / "out.csv")).open(World(), None)
    writer.write(pl.DataFrame({"n": [1, 2], "m": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]}))
    writer.flush(final=True)
    writer.close()
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["n,m.0.0,m.0.1,m.1.0,m.1.1", "1,1.0,2.0,3.0,4.0", "2,5.0,6.0,7.0,8.0"]


def test_an_array_is_flattened_in_csv(tmp_path):
    sink = FilesSink(path=str(tmp_path / "a.csv"))
    write(sink, [pl.DataFrame({"x": [[1, 2]]}, schema={"x": pl.Array(pl.Int64, 2)})])
    assert (tmp_path / "a.csv").read_text() == "x.0,x.1\n1,2\n"


def test_other_columns_after_a_restart(tmp_path):
    other = pl.DataFrame({"m": [1]})
    csv = FilesSink(path=str(tmp_path / "a.csv"))
    state = write(csv, [FRAME])
    with pytest.raises(ConfigError, match=r"found m; wanted n, p\.0, p\.1, s"):
        write(csv, [other], state=state)
    parts = FilesSink(path=str(tmp_path / "parts.parquet"))
    write(parts, [other], state=write(parts, [FRAME]), final=True)
    assert [read(part).columns for part in sorted((tmp_path / "parts.parquet").iterdir())] == [FRAME.columns, ["m"]]


def test_an_unfinished_part_travels_in_the_checkpoint(tmp_path):
    sink = FilesSink(path=str(tmp_path / "parts.parquet"), part_records=5)
    state = write(sink, [FRAME])
    assert state.values["parts"] == 0
    assert content(tmp_path / "parts.parquet") == {}
    state = write(sink, [FRAME], state=state)
    assert (state.values["parts"], dict(state.blobs)) == (1, {})
    assert read(tmp_path / "parts.parquet" / "part-000000.parquet").height == 6


@pytest.mark.parametrize("settings", [{"path": "a.ndjson.gz"}, {"path": "-", "format": "parquet"}, {"path": "a.txt"}])
def test_outputs_that_cannot_be_are_refused(settings):
    with pytest.raises(ConfigError):
        FilesSink(**settings).open(World(), None)


@pytest.mark.parametrize(("kind", "first"), [(None, b'{"n":1,'), ("csv", b"n,p.0,p.1,s\n1,")])
def test_standard_output_gets_lines(capfdbinary, kind, first):
    sink = FilesSink(path="-", format=kind)
    write(sink, [FRAME])
    assert capfdbinary.readouterr().out.startswith(first)
    assert sink.move_aside(World()) == []


@pytest.mark.parametrize("sink", [FilesSink(path="-"), ConsoleSink()])
def test_a_closed_pipe_is_told(sink, monkeypatch):
    class Closed:
        def write(self, content):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        flush = lambda self: self.write("")  # noqa: E731
        buffer = property(lambda self: self)

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(ConnectError, match="standard output: found Broken pipe"):
        write(sink, [FRAME])


def test_the_console_shows_the_last_rows(capsys):
    assert write(ConsoleSink(rows=1), [FRAME]) == State()
    shown = capsys.readouterr().out
    assert "│ 3 " in shown
    assert "│ 1 " not in shown
    assert ConsoleSink().move_aside(World()) == []


def test_memory_gathers_frames():
    sink = MemorySink()
    assert sink.frame.height == 0
    write(sink, [FRAME, FRAME])
    assert sink.frame["n"].to_list() == [1, 2, 3] * 2


@pytest.mark.parametrize(("path", "kind"), [("mine", "ndjson"), ("mine", "csv"), (".", "ndjson"), (".", "parquet")])
def test_somebody_elses_folder_is_neither_written_nor_moved(tmp_path, monkeypatch, path, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "part-000000.parquet").write_bytes(b"")
    sink = FilesSink(path=path, format=kind)
    for refused in (lambda: sink.open(World(), None), lambda: sink.move_aside(World())):
        with pytest.raises(ConfigError, match=r": found a folder; wanted a name of its own for the output"):
            refused()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine", "part-000000.parquet"]


def test_lines_of_several_shapes_follow_each_other_in_one_file(tmp_path):
    writer = FilesSink(path=str(tmp_path / "out.ndjson")).open(World(), None)
    frames = [pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), pl.DataFrame({"b": ["x"]}), pl.DataFrame({"a": [3]})]
    for frame in frames:
        writer.write(frame)
    writer.flush(True)
    writer.close()
    lines = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert lines == [{"a": 1}, {"a": 2}, {"b": "x"}, {"a": 3}]

"""Checkpoints: the same bits back, refusals of what is damaged or foreign, and the lock."""

import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streamem.errors import ConfigError, ConnectError, SnapshotError
from streamem.stream.checkpoint import Checkpoint, check_fingerprint, locked, read_checkpoint, write_checkpoint
from streamem.stream.disk import Disk
from streamem.stream.protocol import State
from tests.stream.fakes import Watched

SCHEMA = pl.Schema(
    {
        "a": pl.Float64,
        "t": pl.Datetime("us", "UTC"),
        "l": pl.List(pl.Int64),
        "c": pl.Categorical(),
        "d": pl.Decimal(10, 2),
    }
)
STATE = State({"update": 3, "deep": {"x": [1, None]}}, {"m": np.arange(6.0).reshape(2, 3)}, {"part": b"\x00arrow"})
CHECKPOINT = Checkpoint(
    fingerprint={"seed": 1},
    number=7,
    position={"file": 0, "offset": 1234, "of": ["a", "b"]},
    schema=SCHEMA,
    records=700,
    rejected={"source": 2},
    finished=True,
    time="2026-01-01",
    last_snapshots={"snapshots": 5},
    steps={"learn": STATE, "where": State()},
    sinks={"posteriors": State({"length": 12}, {}, {"part": b"a remainder"})},
)


def same(one, other):
    plain = [replace(c, steps={}, sinks={}) for c in (one, other)]
    assert plain[0] == plain[1]
    for ours, theirs in ((one.steps, other.steps), (one.sinks, other.sinks)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name].values == theirs[name].values
            assert ours[name].blobs == theirs[name].blobs
            assert ours[name].arrays.keys() == theirs[name].arrays.keys()
            for key, array in ours[name].arrays.items():
                back = theirs[name].arrays[key]
                assert (array.dtype, array.shape, array.tobytes()) == (back.dtype, back.shape, back.tobytes())


def written(folder, checkpoint=CHECKPOINT):
    folder.mkdir(exist_ok=True)
    write_checkpoint(Disk(), folder, checkpoint)
    return folder / "checkpoint.zip"


def test_a_checkpoint_reads_back_as_it_was(tmp_path):
    written(tmp_path)
    same(read_checkpoint(tmp_path), CHECKPOINT)


def test_there_is_none_in_an_empty_folder(tmp_path):
    assert read_checkpoint(tmp_path) is None


numeric = st.one_of(*(arrays.arrays(dtype, arrays.array_shapes(min_side=0)) for dtype in ("f8", "f4", "i8", "u4", "?")))


@settings(max_examples=40, deadline=None)
@given(
    steps=st.dictionaries(
        st.text(max_size=5),
        st.builds(
            State,
            st.dictionaries(st.text(), st.one_of(st.none(), st.floats(allow_nan=False), st.integers(), st.text())),
            st.dictionaries(st.text(max_size=5), numeric, max_size=3),
            st.dictionaries(st.text(max_size=5), st.binary(max_size=50), max_size=3),
        ),
        max_size=3,
    )
)
def test_any_state_reads_back_bit_for_bit(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("state")
    checkpoint = replace(CHECKPOINT, steps=steps)
    written(folder, checkpoint)
    same(read_checkpoint(folder), checkpoint)


def test_arrays_that_were_read_can_be_written_to(tmp_path):
    written(tmp_path)
    array = read_checkpoint(tmp_path).steps["learn"].arrays["m"]
    array[0, 0] = 5.0
    assert array.flags.c_contiguous


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_noticed_or_harmless_and_never_a_traceback(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("flip"))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    refusal = str(path)
    try:
        same(read_checkpoint(path.parent), CHECKPOINT)  # a date in the zip's headers, say
    except SnapshotError as error:
        refusal = str(error)
    assert str(path) in refusal


def test_every_truncation_is_noticed(tmp_path):
    path = written(tmp_path)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(SnapshotError, match="found a damaged file"):
            read_checkpoint(tmp_path)


def rewritten(path, change):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(members).items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: m | {"checkpoint.json": m["checkpoint.json"].replace(b"checkpoint/1", b"checkpoint/2")},
            "checkpoint/2",
        ),
        (lambda m: m | {"checkpoint.json": b"{}"}, "damaged"),
        (lambda m: m | {"checkpoint.json": b"[1]"}, "damaged"),
        (lambda m: m | {"arrays.bin": b""}, "damaged"),
        (lambda m: m | {"blobs.bin": b""}, "damaged"),
        (lambda m: {"other": b""}, "damaged"),
        (lambda m: m | {"checkpoint.json": m["checkpoint.json"].replace(b'"<f8"', b'"|O8"')}, "damaged"),
        (lambda m: m | {"checkpoint.json": m["checkpoint.json"].replace(b"[2, 3]", b"[-2, 3]")}, "damaged"),
    ],
)
def test_what_is_not_our_checkpoint_is_refused(tmp_path, change, words):
    path = written(tmp_path)
    rewritten(path, change)
    with pytest.raises(SnapshotError, match=words) as caught:
        read_checkpoint(tmp_path)
    assert "--fresh" in str(caught.value)


def test_a_write_that_fails_leaves_the_one_before_and_what_it_left_does_not_matter(tmp_path):
    written(tmp_path)
    disk = Watched([], lambda call: OSError(28, "No space left on device"))
    with pytest.raises(ConnectError, match="found No space left on device"):
        write_checkpoint(disk, tmp_path, replace(CHECKPOINT, number=8, fingerprint={"long": "x" * 5000}))
    assert read_checkpoint(tmp_path).number == 7
    assert (tmp_path / "checkpoint.zip.new").exists()
    written(tmp_path, replace(CHECKPOINT, number=9))
    assert read_checkpoint(tmp_path).number == 9


def test_a_checkpoint_costs_one_sync_of_the_file_and_one_of_the_folder(tmp_path):
    class Counting(Disk):
        syncs = 0
        folder_syncs = 0

        def sync(self, descriptor):
            self.syncs += 1

        def sync_folder(self, path):
            self.folder_syncs += 1

    disk = Counting()
    write_checkpoint(disk, tmp_path, CHECKPOINT)
    assert (disk.syncs, disk.folder_syncs) == (1, 1)


def test_equal_fingerprints_pass_also_when_one_was_written_and_read(tmp_path):
    given_settings = {"features": ("x", "y"), "seed": 1, "model": {"prior": 0.1}}
    written(tmp_path, replace(CHECKPOINT, fingerprint=given_settings))
    check_fingerprint(tmp_path, read_checkpoint(tmp_path).fingerprint, given_settings)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "found a.b: 2 in place of 1;"),
        ({"a": [1, 2]}, {"a": [1, 3]}, r"found a\[1\]: 3 in place of 2;"),
        ({"a": [1, 2]}, {"a": [1]}, r"found a: \[1\] in place of \[1, 2\];"),
        ({"a": 1}, {}, "found a: nothing in place of 1;"),
        ({}, {"a": None}, "found a: null in place of nothing;"),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, "found a: 2 in place of 1; b: 3 in place of 2;"),
    ],
)
def test_every_difference_of_fingerprints_is_named(tmp_path, old, new, words):
    with pytest.raises(SnapshotError, match=words):
        check_fingerprint(tmp_path, old, new)


def test_a_folder_is_held_by_one_at_a_time_and_free_again_after(tmp_path):
    folder = tmp_path / "deep" / "state"
    with locked(folder), pytest.raises(ConfigError, match=f"found process {os.getpid()}, which"), locked(folder):
        pass
    with locked(folder):
        pass


def test_a_second_process_is_told_which_one_holds_the_folder(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from streamem.stream.checkpoint import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"found process {other.pid}, which runs on it"), locked(tmp_path):
            pass
        other.communicate()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConnectError, match=r"checkpoint.path .*: found Not a directory"),
        locked(tmp_path / "file" / "state"),
    ):
        pass

"""Snapshot files: what a pipeline writes reads back as the same bits, and everything else is refused by its place."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamem.em import Mixture, Observations, OnlineEM
from streamem.errors import ConfigError, ConnectError, SnapshotError
from streamem.stream.snapshots import read_snapshot, snapshot_frame


def learned(seed=0, scale=1.0):
    learner = OnlineEM(Mixture(components=2), warmup_records=50)
    rng = np.random.default_rng(seed)
    learner.update(Observations(rng.normal(size=(80, 2)) * scale))
    return learner.snapshot


SNAPSHOT = learned()


def line(snapshot=SNAPSHOT, operator="r", time="2026-01-01"):
    position = {"file": 1, "files": [{"path": "a", "size": 3}]}
    frame = snapshot_frame(
        snapshot, name="p", operator=operator, inputs={"features": ["x", "y"]}, position=position, time=time
    )
    assert frame.height == 1
    return frame.write_ndjson()


def same(one, other):
    (values, arrays), (others, their_arrays) = one.to_arrays(), other.to_arrays()
    assert values == others
    assert arrays.keys() == their_arrays.keys()
    assert all(np.array_equal(arrays[key], their_arrays[key]) for key in arrays)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), scale=st.floats(1e-6, 1e6))
def test_a_snapshot_reads_back_bit_for_bit_through_a_frame_and_ndjson(tmp_path_factory, seed, scale):
    path = tmp_path_factory.mktemp("s") / "s.ndjson"
    snapshot = learned(seed, scale)
    path.write_text(line(snapshot))
    back, record = read_snapshot(path)
    same(back, snapshot)
    assert record["position"] == {"file": 1, "files": [{"path": "a", "size": 3}]}
    assert (record["name"], record["operator"], record["features"], record["time"]) == (
        "p",
        "r",
        ["x", "y"],
        "2026-01-01",
    )


def test_frames_of_one_learner_have_one_schema_with_and_without_a_time(tmp_path):
    kwargs = {"name": "p", "operator": "r", "inputs": {"features": ["x", "y"]}}
    one = snapshot_frame(SNAPSHOT, **kwargs, position={}, time=None)
    other = snapshot_frame(learned(1), **kwargs, position={"a": 1}, time="2026-01-01")
    assert one.schema == other.schema


def test_the_last_line_counts_and_a_json_file_may_be_spread_over_lines(tmp_path):
    path = tmp_path / "s.ndjson"
    path.write_text(line(learned(1)) + line(learned(2)) + line() + "\n")
    same(read_snapshot(path)[0], SNAPSHOT)
    path.write_text(json.dumps(SNAPSHOT.to_json(), indent=2))
    same(read_snapshot(path, operator="any")[0], SNAPSHOT)


def test_of_several_operators_one_is_named(tmp_path):
    path = tmp_path / "s.ndjson"
    path.write_text(
        line(learned(1), "fast") + line(learned(2), "slow") + line(learned(3), "fast") + line(operator="slow")
    )
    same(read_snapshot(path, operator="slow")[0], SNAPSHOT)
    same(read_snapshot(path, operator="fast")[0], learned(3))
    with pytest.raises(ConfigError, match="found snapshots of several operators, 'fast' and 'slow'"):
        read_snapshot(path)
    with pytest.raises(ConfigError, match=r"no snapshot of the operator 'slo' \(did you mean 'slow'\?\)"):
        read_snapshot(path, operator="slo")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("", SnapshotError, "found an empty file"),
        ("\n \n", SnapshotError, "found an empty file"),
        ("hello", SnapshotError, "line 1: found 'hello', which is no JSON object"),
        ("[1, 2]", SnapshotError, "which is no JSON object"),
        ("{}", SnapshotError, "found JSON without a format"),
        ('{"format": "streamem.snapshot/2"}', SnapshotError, "found the format 'streamem.snapshot/2'"),
        ('{"format": "streamem.snapshot/1"}', SnapshotError, "s.json: "),
        (line() + line()[:200], SnapshotError, "line 2: found .* or a part of one"),
        (line() + '{"a": 1}', SnapshotError, "line 2: found JSON without a format"),
        (line()[:200], SnapshotError, "line 1: found"),
        ("[" * 100_000, SnapshotError, "which is no JSON object"),
        (line().replace('"{\\"file', '"{file'), SnapshotError, "position"),
    ],
)
def test_what_is_no_snapshot_is_refused_by_its_place(tmp_path, content, error, words):
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(error, match=words) as caught:
        read_snapshot(path)
    assert str(caught.value).startswith(str(path))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "s.json"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SnapshotError, match="which is no JSON object"):
        read_snapshot(path)


def test_a_path_that_is_not_there_or_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path / 'none'}: found no such file")):
        read_snapshot(tmp_path / "none")
    with pytest.raises(ConfigError, match="no such file"):
        read_snapshot(tmp_path)
    with pytest.raises(ConnectError, match="File name too long"):
        read_snapshot(tmp_path / ("x" * 300))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_is_noticed_or_harmless_and_never_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damage") / "s.json"
    content = bytearray(line().encode())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    refusal = str(path)
    try:
        read_snapshot(path)
    except SnapshotError as error:
        refusal = str(error)
    assert refusal.startswith(str(path))

"""From topic to topic, file to topic and topic to file: every record once, with its key, offsets and state."""

import json
from dataclasses import replace

import polars as pl
import pytest

from streamem.connect import FilesSink
from streamem.connect.kafka import Workers, checkpoints
from streamem.errors import SnapshotError
from streamem.stream.outputs import Output
from streamem.stream.protocol import Cuts
from tests.broker import reading
from tests.broker.reading import committed, produce, read
from tests.connect.kafka.running import LEARN, Place, fill, left, numbers, values


def halves(pipeline, first):
    """Run a pipeline in two goes."""
    pipeline.run(limit=first)
    return pipeline.run()


@pytest.fixture
def place(broker, client, tmp_path):
    return Place(broker.bootstrap, client, tmp_path)


@pytest.mark.parametrize("home", ["folder", "topic"])
def test_every_record_goes_from_topic_to_topic_once(broker, topic, place, home):
    entry, out, shots = topic(), topic(), topic()
    fill(broker, entry, 1000)
    state = place.state(topic(cleanup_policy="compact") if home == "topic" else None)
    outputs = [
        Output(what="posteriors", sink=place.sink(out), include="all"),
        Output(what="snapshots", sink=place.sink(shots), every_batches=4),
    ]
    pipeline = place.pipeline(place.source(entry), None, outputs=outputs, checkpoint=state)
    done = halves(pipeline, 300)
    assert done.progress.total_records == 1000
    assert numbers(broker, out) == list(range(1000))
    # keys: of the record, and of the learner
    found = read(broker.bootstrap, out)
    assert all(json.loads(one.value)["device"] == one.key.decode() for one in found)
    snapshots = read(broker.bootstrap, shots)
    assert {one.key for one in snapshots} == {f"{place.name}/m".encode()}
    assert [json.loads(one.value)["update"] for one in snapshots][-1] == 10
    # the offsets went with them: those of the source's group, and the number of the commit
    assert committed(broker.bootstrap, place.name) == {(entry, 0): 1000}
    assert list(committed(broker.bootstrap, f"streamem.{place.name}-0")) == [(out, 0)]
    assert pipeline.run().nothing_new
    assert len(read(broker.bootstrap, out)) == 1000


def test_a_run_in_two_goes_leaves_the_bytes_of_one(broker, topic, place, tmp_path):
    entry, once, twice = topic(), topic(), topic()
    fill(broker, entry, 1000)
    place.pipeline(place.source(entry), place.sink(once), checkpoint=place.state(topic())).run()
    place.name += "-again"
    halves(place.pipeline(place.source(entry), place.sink(twice), checkpoint=place.state(topic())), 500)
    assert [one.value for one in read(broker.bootstrap, once)] == [one.value for one in read(broker.bootstrap, twice)]


def test_from_files_to_a_topic(broker, topic, place, tmp_path):
    out = topic(partitions=3)
    (tmp_path / "in.ndjson").write_bytes(b"\n".join([*values(1000), b""]))
    halves(place.pipeline(place.files([tmp_path / "in.ndjson"]), place.sink(out)), 300)
    assert numbers(broker, out) == list(range(1000))
    found = read(broker.bootstrap, out)
    where = {(one.key, one.partition) for one in found}
    assert len(where) == 5, "a key is in one partition"
    assert len({one.partition for one in found}) > 1


def test_from_a_topic_to_files(broker, topic, place, tmp_path):
    entry = topic()
    fill(broker, entry, 1000)
    halves(place.pipeline(place.source(entry), FilesSink(path=str(tmp_path / "out.ndjson"))), 300)
    lines = (tmp_path / "out.ndjson").read_bytes().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(1000))
    assert committed(broker.bootstrap, place.name) == {(entry, 0): 1000}


def test_both_clients_give_a_key_the_same_partition(broker, topic, tmp_path):
    (tmp_path / "in.ndjson").write_bytes(b"\n".join([*values(200), b""]))
    found = []
    for client in ("kafka-python", "confluent-kafka"):
        out, place = topic(partitions=7), Place(broker.bootstrap, client, tmp_path / client)
        place.pipeline(place.files([tmp_path / "in.ndjson"]), place.sink(out)).run()
        found.append({(one.key, one.partition) for one in read(broker.bootstrap, out)})
    assert len(found[0]) == 5
    assert found[0] == found[1]


def test_a_checkpoint_of_several_chunks(broker, topic, place, monkeypatch):
    entry, out, state = topic(), topic(), topic(cleanup_policy="compact")
    fill(broker, entry, 500)
    monkeypatch.setattr(checkpoints, "CHUNK", 1000)
    pipeline = place.pipeline(place.source(entry), place.sink(out), checkpoint=place.state(state))
    pipeline.run(limit=300)
    chunks = read(broker.bootstrap, state)
    last = [one for one in chunks if one.headers == chunks[-1].headers]
    assert len(last) > 3
    assert [one.key for one in last] == [f"{place.name}-0/{n}".encode() for n in range(len(last))]
    pipeline.run()
    assert numbers(broker, out) == list(range(500))


@pytest.mark.parametrize("damage", ["other bytes", "gone", "the first gone"])
def test_a_broken_chunk_is_refused(broker, topic, place, monkeypatch, damage):
    entry, out, state = topic(), topic(), topic(cleanup_policy="compact")
    fill(broker, entry, 300)
    monkeypatch.setattr(checkpoints, "CHUNK", 1000)
    pipeline = place.pipeline(place.source(entry), place.sink(out), checkpoint=place.state(state))
    pipeline.run(limit=200)
    found = read(broker.bootstrap, state)[-2]
    key = f"{place.name}-0/0".encode() if damage == "the first gone" else found.key
    value = b"x" * len(found.value) if damage == "other bytes" else None
    produce(broker.bootstrap, state, [{"key": key, "value": value, "headers": list(found.headers)}])
    with pytest.raises(SnapshotError) as caught:
        pipeline.run()
    assert str(caught.value) == (
        f"topic {state}, key {place.name}-0: found a broken chunk; wanted a whole checkpoint. "
        "To do: restore the topic, or start afresh with --fresh."
    )
    pipeline.run(fresh=True)
    assert numbers(broker, out) == sorted([*range(200), *range(300)])


def test_several_pipelines_share_a_topic_of_checkpoints(broker, topic, tmp_path, client):
    entry, state = topic(), topic(cleanup_policy="compact")
    fill(broker, entry, 400)
    outs = []
    for name in ("a", "a-0", "b"):
        place = Place(broker.bootstrap, client, tmp_path)
        place.name = f"{entry}-{name}"
        outs.append(topic())
        pipeline = place.pipeline(place.source(entry), place.sink(outs[-1]), checkpoint=place.state(state))
        pipeline.run(limit=100 * len(outs))
    for out, name in zip(outs, ("a", "a-0", "b"), strict=True):
        place.name = f"{entry}-{name}"
        place.pipeline(place.source(entry), place.sink(out), checkpoint=place.state(state)).run()
        assert numbers(broker, out) == list(range(400))


def test_workers_own_every_partition_once(broker, topic, place):
    first, second, out = topic(partitions=3), topic(partitions=2), topic()
    fill(broker, first, 300, partitions=3)
    fill(broker, second, 200, first=300, partitions=2)
    state = topic(cleanup_policy="compact")
    owned = []
    for index in range(3):
        source = place.source(first, second, workers=Workers(index=index, count=3), metadata=["topic", "partition"])
        place.pipeline(source, place.sink(out), checkpoint=place.state(state)).run()
        owned.append({(one["kafka.topic"], one["kafka.partition"]) for one in left(broker, out)})
    assert [len(one) for one in owned] == [2, 4, 5]
    assert numbers(broker, out) == list(range(500))
    assert committed(broker.bootstrap, place.name) == {(first, n): 100 for n in range(3)} | {
        (second, n): 100 for n in range(2)
    }


def test_posteriors_of_a_live_run_are_those_of_a_replay_of_its_dump(broker, topic, place, tmp_path):
    """One partition, batches cut by count."""
    entry, live, again = topic(), topic(), topic()
    fill(broker, entry, 1003)
    halves(place.pipeline(place.source(entry, metadata=["partition", "offset"]), place.sink(live)), 300)
    dump = [one.value for one in reading.read(broker.bootstrap, entry)]
    (tmp_path / "dump.ndjson").write_bytes(b"\n".join([*dump, b""]))
    place.name, place.folder = f"{place.name}-again", tmp_path / "again"
    place.pipeline(place.files([tmp_path / "dump.ndjson"]), place.sink(again)).run()
    there, here = (read(broker.bootstrap, name) for name in (live, again))
    metadata = [f',"kafka.partition":0,"kafka.offset":{n}'.encode() for n in range(1003)]
    assert all(text in one.value for text, one in zip(metadata, there, strict=True))
    assert [one.value.replace(text, b"") for text, one in zip(metadata, there, strict=True)] == [
        one.value for one in here
    ]
    assert [one.key for one in there] == [one.key for one in here]


def test_a_sink_with_a_key_of_its_own(broker, topic, place):
    entry, out = topic(), topic()
    fill(broker, entry, 100)
    pipeline = place.pipeline(place.source(entry), place.sink(out, key="n"))
    pipeline.run()
    assert [one.key for one in read(broker.bootstrap, out)] == [str(n).encode() for n in range(100)]


def test_arrow_out_and_in(broker, topic, place):
    entry, between, out = topic(), topic(partitions=2), topic()
    fill(broker, entry, 1000)
    place.pipeline(place.source(entry), place.sink(between, format="arrow", rows_per_message=70)).run()
    messages = read(broker.bootstrap, between)
    frames = [pl.read_ipc_stream(one.value) for one in messages]
    assert sum(frame.height for frame in frames) == 1000
    assert max(frame.height for frame in frames) == 70
    assert len({one.partition for one in messages}) == 2
    place.name, place.folder = f"{place.name}-2", place.folder / "2"
    operators = [replace(LEARN, name="second")]
    source = place.source(between, format="arrow", metadata=["partition", "offset"])
    halves(place.pipeline(source, place.sink(out), operators=operators, cuts=Cuts(90)), 333)
    assert numbers(broker, out) == list(range(1000))
    assert len({(one["kafka.partition"], one["kafka.offset"]) for one in left(broker, out)}) == len(messages)


def test_csv_in(broker, topic, place):
    entry, out = topic(), topic()
    rows = [json.loads(value) for value in values(300)]
    produce(broker.bootstrap, entry, [f'{one["n"]};"{one["device"]}";{one["x"]}'.encode() for one in rows])
    source = place.source(entry, format="csv", separator=";", schema={"n": "integer", "device": "string", "x": "float"})
    place.pipeline(source, place.sink(out)).run()
    found = left(broker, out)
    assert [{name: one[name] for name in ("n", "device", "x")} for one in found] == rows

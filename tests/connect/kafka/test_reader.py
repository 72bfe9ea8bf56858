"""What is read, from where on, and what counts as a message."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from streamem.connect.kafka import reader
from streamem.connect.kafka.source import Workers
from streamem.errors import ConfigError, DataError
from streamem.stream.protocol import Cuts, World
from streamem.stream.rejections import Errors
from tests.broker.reading import client as quiet
from tests.broker.reading import committed, produce, read
from tests.connect.kafka.running import Place, fill, left, numbers, values


@pytest.fixture
def place(broker, client, tmp_path):
    return Place(broker.bootstrap, client, tmp_path)


def record(n, **message):
    return {"value": json.dumps({"n": n, "device": "d", "x": 0.5 * n}).encode(), **message}


def passed(place, source, **changes):
    """A pipeline without operators."""
    from streamem.connect import FilesSink

    settings = {"operators": [], "cuts": Cuts(10), **changes}
    return place.pipeline(source, FilesSink(path=str(place.folder / "out.ndjson")), **settings)


def rows(place):
    return [json.loads(line) for line in (place.folder / "out.ndjson").read_bytes().splitlines()]


START = datetime(2020, 1, 1, tzinfo=UTC)


def commit(place, positions):
    consumer = place.cluster.consumer(place.name)
    consumer.commit(positions)
    consumer.close()


@pytest.mark.parametrize(
    ("start", "first"), [("earliest", 0), ("committed", 7), ("2020-01-01T00:00:10Z", 10), ("2020-01-01T00:00:10.5", 11)]
)
def test_where_reading_starts(broker, topic, place, start, first):
    entry = topic()
    since = int(START.timestamp() * 1000)
    produce(broker.bootstrap, entry, [record(n, timestamp=since + 1000 * n) for n in range(20)])
    commit(place, {(entry, 0): 7})
    passed(place, place.source(entry, start=start)).run()
    assert [one["n"] for one in rows(place)] == list(range(first, 20))


@pytest.mark.parametrize("start", ["latest", "2100-01-01T00:00:00Z"])
def test_reading_starts_at_the_end(broker, topic, place, start, monkeypatch):
    entry = topic()
    produce(broker.bootstrap, entry, [record(n) for n in range(20)])
    decode_with = reader.KafkaReader.decode_with

    def then_some_come(self, *arguments):
        produce(broker.bootstrap, entry, [record(n) for n in range(20, 25)])
        return decode_with(self, *arguments)

    monkeypatch.setattr(reader.KafkaReader, "decode_with", then_some_come)
    passed(place, place.source(entry, start=start, stop="never"), cuts=Cuts(5)).run(limit=5)
    assert [one["n"] for one in rows(place)] == list(range(20, 25))


def test_a_group_that_has_committed_nothing_is_a_choice(broker, topic, place):
    with pytest.raises(ConfigError) as caught:
        passed(place, place.source(topic(), start="committed")).run()
    assert str(caught.value) == (
        f"source.start: found no offsets of the group {place.name}; wanted offsets to begin at. "
        "To do: write earliest, latest or a time, or correct it."
    )


@pytest.mark.parametrize(("begin", "read"), [("earliest", 20), ("2020-01-01T00:00:15Z", 5), ("committed", 0)])
def test_a_run_may_begin_elsewhere_and_keep_what_was_learned(broker, topic, place, begin, read):
    entry, out = topic(), topic()
    since = int(START.timestamp() * 1000)
    produce(broker.bootstrap, entry, [record(n, timestamp=since + 1000 * n) for n in range(20)])
    pipeline = place.pipeline(place.source(entry), place.sink(out), operators=[], cuts=Cuts(10))
    pipeline.run()
    done = pipeline.run(begin=begin)
    assert done.progress.records == read
    assert done.progress.total_records == 20 + read
    assert numbers(broker, out) == sorted([*range(20), *range(20 - read, 20)])


def test_reading_stops_at_what_is_there_when_it_begins(broker, topic, place, monkeypatch):
    entry = topic(partitions=2)
    produce(broker.bootstrap, entry, [record(n, partition=n % 2) for n in range(20)])
    decode_with = reader.KafkaReader.decode_with

    def then_more_come(self, *arguments):
        produce(broker.bootstrap, entry, [record(n, partition=n % 2) for n in range(20, 25)])
        return decode_with(self, *arguments)

    monkeypatch.setattr(reader.KafkaReader, "decode_with", then_more_come)
    pipeline = passed(place, place.source(entry))
    assert pipeline.run().ended == "input"
    assert sorted(one["n"] for one in rows(place)) == list(range(20))
    assert committed(broker.bootstrap, place.name) == {(entry, 0): 10, (entry, 1): 10}
    monkeypatch.undo()
    pipeline.run()
    assert sorted(one["n"] for one in rows(place)) == list(range(25))


def test_an_empty_topic_has_no_records(broker, topic, place):
    entry = topic()
    with pytest.raises(DataError, match=f"^topic {entry}: found no records, or none that can be read; wanted"):
        passed(place, place.source(entry)).run()


def test_columns_of_metadata(broker, topic, place):
    entry = topic()
    since = int(START.timestamp() * 1000) + 1
    headers = [("a", b"1"), ("b", None), ("b", bytes([255])), ("ü", "é".encode())]
    produce(
        broker.bootstrap,
        entry,
        [record(0, key=bytes([0xE9]), headers=headers, timestamp=since), record(1, key="é".encode()), record(2)],
    )
    metadata = ["key", "headers", "timestamp", "topic", "partition", "offset"]
    passed(place, place.source(entry, metadata=metadata)).run()
    found = [{name.removeprefix("kafka."): one[name] for name in one if "kafka" in name} for one in rows(place)]
    assert found[0] == {
        "key": "\\xe9",
        "headers": [
            {"key": "a", "value": "1"},
            {"key": "b", "value": None},
            {"key": "b", "value": "\\xff"},
            {"key": "ü", "value": "é"},
        ],
        "timestamp": "2020-01-01T00:00:00.001+00:00",
        "topic": entry,
        "partition": 0,
        "offset": 0,
    }
    assert [one["key"] for one in found[1:]] == ["é", None]
    assert [one["headers"] for one in found[1:]] == [[], []]
    assert [one["offset"] for one in found] == [0, 1, 2]


def test_metadata_may_be_the_key_and_the_time(broker, topic, place):
    from streamem.stream.protocol import Columns

    entry, out = topic(), topic()
    produce(broker.bootstrap, entry, [record(n, key=b"k%d" % n) for n in range(10)])
    source = place.source(entry, metadata=["key", "timestamp"])
    columns = Columns(key="kafka.key", time="kafka.timestamp")
    place.pipeline(source, place.sink(out), operators=[], columns=columns).run()
    assert [one.key for one in read(broker.bootstrap, out)] == [b"k%d" % n for n in range(10)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches(broker, topic, place, codec):
    entry = topic()
    producer = Producer(quiet(broker.bootstrap) | {"compression.type": codec, "linger.ms": 50})
    for value in values(500):
        producer.produce(entry, value)
    assert producer.flush(30) == 0
    passed(place, place.source(entry)).run()
    assert [one["n"] for one in rows(place)] == list(range(500))


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_outputs(broker, topic, tmp_path, client, codec):
    out = topic(compression_type="producer")
    place = Place(broker.bootstrap, client, tmp_path, **{"compression.type": codec})
    (tmp_path / "in.ndjson").write_bytes(b"\n".join([*values(500), b""]))
    place.pipeline(place.files([tmp_path / "in.ndjson"]), place.sink(out)).run()
    assert numbers(broker, out) == list(range(500))


def transaction(broker, entry, found, *, commit):
    producer = Producer(quiet(broker.bootstrap) | {"transactional.id": entry})
    producer.init_transactions(30)
    producer.begin_transaction()
    for one in found:
        producer.produce(entry, **one)
    producer.flush(30)
    (producer.commit_transaction if commit else producer.abort_transaction)(30)


@pytest.mark.parametrize("last", ["committed", "aborted", "plain"])
def test_aborted_transactions_are_not_read_and_nothing_waits_for_them(broker, topic, place, last):
    entry = topic()
    produce(broker.bootstrap, entry, [record(n) for n in range(5)])
    transaction(broker, entry, [record(n) for n in range(100, 110)], commit=False)
    transaction(broker, entry, [record(n) for n in range(5, 10)], commit=True)
    if last == "aborted":
        transaction(broker, entry, [record(n) for n in range(100, 110)], commit=False)
    elif last == "plain":
        produce(broker.bootstrap, entry, [record(10)])
    count = 11 if last == "plain" else 10
    read(broker.bootstrap, entry)  # waits until the marks are written
    pipeline = passed(place, place.source(entry), cuts=Cuts(3))
    assert pipeline.run().ended == "input"
    assert [one["n"] for one in rows(place)] == list(range(count))
    assert pipeline.run().nothing_new


def test_an_open_transaction_is_not_read(broker, topic, place):
    entry = topic()
    produce(broker.bootstrap, entry, [record(n) for n in range(5)])
    producer = Producer(quiet(broker.bootstrap) | {"transactional.id": entry})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(entry, **record(5))
    producer.flush(30)
    pipeline = passed(place, place.source(entry))
    pipeline.run()
    assert [one["n"] for one in rows(place)] == list(range(5))
    producer.commit_transaction(30)
    read(broker.bootstrap, entry)
    pipeline.run()
    assert [one["n"] for one in rows(place)] == list(range(6))


def test_what_cannot_be_a_record_is_refused_in_its_place(broker, topic, place):
    entry = topic()
    bad = {3: None, 5: b"", 6: bytes([0xFF, 0xFE]), 7: b'{"n": "\xff"}', 9: b"[1]"}
    produce(broker.bootstrap, entry, [{"value": bad[n]} if n in bad else record(n) for n in range(12)])
    done = passed(place, place.source(entry), errors=Errors(policy="skip")).run()
    assert [one["n"] for one in rows(place)] == [n for n in range(12) if n not in bad]
    assert done.progress.rejected == {"source": len(bad)}


def test_a_bad_record_is_named_by_topic_partition_and_offset(broker, topic, place):
    entry = topic()
    produce(broker.bootstrap, entry, [record(0), {"value": None}])
    with pytest.raises(DataError) as caught:
        passed(place, place.source(entry)).run()
    assert str(caught.value) == (
        f"topic {entry}, partition 0, offset 1: found no value (a tombstone); wanted a record. To do: leave "
        "tombstones out, or set errors.policy (refused by source; errors.policy is stop)"
    )


def test_a_live_topic_may_begin_with_what_is_no_record(broker, topic, place):
    """Columns are told by the first record; what came before it is rejected, not the end of a run."""
    entry = topic()
    produce(broker.bootstrap, entry, [{"value": None}, {"value": b"no record"}])
    later = threading.Timer(1.5, produce, [broker.bootstrap, entry, [record(0)]])
    later.start()
    source = place.source(entry, stop="never")
    done = passed(place, source, errors=Errors(policy="skip"), cuts=Cuts(1)).run(limit=3)
    later.join()
    assert [one["n"] for one in rows(place)] == [0]
    assert done.progress.rejected == {"source": 2}


@pytest.mark.parametrize("busy", [False, True])
def test_a_partition_that_a_topic_gains_is_read_from_its_beginning(broker, topic, place, monkeypatch, busy):
    entry = topic()
    fill(broker, entry, 100)
    monkeypatch.setattr(reader, "GROWN_SECONDS", 0.2)
    place.options = {"metadata.max.age.ms": 200}
    world = World()
    grown = threading.Event()

    def grow():
        admin = AdminClient(quiet(broker.bootstrap))
        admin.create_partitions([NewPartitions(entry, 3)])[entry].result(30)
        seen = 100
        produce(broker.bootstrap, entry, [record(n, partition=1 + n % 2) for n in range(seen, seen + 100)])
        grown.set()

    def listen(progress):
        if progress.total_records == 100:
            threading.Thread(target=grow).start()
        if progress.total_records >= 100 and busy and not grown.is_set():
            produce(broker.bootstrap, entry, [record(progress.total_records, partition=0)])

    pipeline = passed(place, place.source(entry, stop="never"), cuts=Cuts(10, max_wait_ms=20), world=world)
    watch = threading.Timer(20, world.stopping.set)
    watch.start()
    pipeline = replace(pipeline, listener=listen)
    done = pipeline.run(limit=200)
    watch.cancel()
    assert done.ended == "limit"


@pytest.mark.parametrize(
    ("topics", "found"),
    [
        (["a.*[0-9]+"], "source.topics: found 'a.*[0-9]+'; wanted names of topics, no patterns. To do: name each"),
        (["^a"], "source.topics: found '^a'; wanted names of topics, no patterns."),
        ([], "source.topics: found no topic; wanted at least one."),
        (["a", "a"], "source.topics: found a topic twice; wanted each topic once."),
    ],
)
def test_patterns_and_topics_twice_are_refused_before_anything_connects(tmp_path, topics, found):
    place = Place("127.0.0.1:9", "auto", tmp_path)
    with pytest.raises(ConfigError) as caught:
        passed(place, place.source(*topics)).run()
    assert str(caught.value).startswith(found)


def test_a_topic_that_is_missing_is_named(broker, topic, place):
    entry = topic()
    for source, sink in (("nowhere", entry), (entry, "nowhere")):
        produce(broker.bootstrap, entry, [record(0)])
        pipeline = place.pipeline(place.source(source), place.sink(sink))
        with pytest.raises(ConfigError) as caught:
            pipeline.run()
        assert str(caught.value) == (
            "topic nowhere: found no such topic; wanted a topic that is there. "
            "To do: make it with streamem topics FILE, or correct the name."
        )


def test_a_worker_without_partitions_is_refused(broker, topic, place):
    with pytest.raises(ConfigError, match=r"^source\.workers: found no partition for worker 2 of 3; wanted"):
        passed(place, place.source(topic(partitions=2), workers=Workers(index=2, count=3))).run()


def test_a_message_of_many_rows_is_gone_on_with_inside(broker, topic, place):
    """The position tells rows of a message that are done; the offset that tools see stays at the message."""
    entry, between, out = topic(), topic(), topic()
    fill(broker, entry, 100)
    place.pipeline(place.source(entry), place.sink(between, format="arrow"), operators=[]).run()
    place.name, place.folder = f"{place.name}-2", place.folder / "2"
    source = place.source(between, format="arrow")
    pipeline = place.pipeline(source, place.sink(out), operators=[], cuts=Cuts(30))
    pipeline.run(limit=30)
    assert committed(broker.bootstrap, place.name) == {(between, 0): 0}
    pipeline.run()
    assert [one["n"] for one in left(broker, out)] == list(range(100))

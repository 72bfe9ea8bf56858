"""What lies in a topic, told by clients that are not the one under test; and records to put there."""

import io
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

TIMEOUT_SECONDS = 30


class Record(NamedTuple):
    """One record of a topic; `timestamp` in milliseconds."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


def client(bootstrap: str) -> dict[str, Any]:
    """Return what all of the clients here have in common: errors are raised, not told on stderr."""
    return {"bootstrap.servers": bootstrap, "log_level": 0}


def read(bootstrap: str, topic: str, *, pending: bool = False) -> list[Record]:
    """Return all committed records of a topic, by partition and offset.

    Parameters
    ----------
    bootstrap, topic : str
        From where.
    pending : bool
        Whether a transaction may stay open: what lies before it is returned. Otherwise its end is waited for, since
        the marks of a transaction are written after its commit has returned.

    Raises
    ------
    TimeoutError
        A transaction stayed open.
    """
    alone = {"group.id": "tests.broker.reading", "enable.auto.commit": False}  # a consumer must have a group
    quick = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
    consumer = Consumer(client(bootstrap) | alone | quick | {"isolation.level": "read_committed"})
    try:
        # asked before the assignment, which otherwise waits half a second for the same answer
        known = consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
        if known.error:
            raise KafkaException(known.error)
        starts = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in known.partitions]
        limits = ends(bootstrap, starts, "READ_COMMITTED" if pending else "READ_UNCOMMITTED")
        consumer.assign(starts)
        return sorted(up_to(consumer, limits))
    finally:
        consumer.close()


def ends(bootstrap: str, places: Iterable[TopicPartition], isolation: str) -> dict[int, int]:
    """Return the offset that the next record of each partition will have; or the first that is not yet decided."""
    admin = AdminClient(client(bootstrap))
    asked = dict.fromkeys(places, OffsetSpec.latest())
    told = admin.list_offsets(asked, isolation_level=IsolationLevel[isolation])
    return {place.partition: future.result().offset for place, future in told.items()}


def up_to(consumer: Consumer, limits: Mapping[int, int]) -> list[Record]:
    """Return what a consumer reads before the limits of its partitions."""
    found = []
    left = dict(limits)
    until = time.monotonic() + TIMEOUT_SECONDS
    while left:
        for message in consumer.consume(10_000, timeout=0.05):
            partition, position, error = message.partition(), message.offset(), message.error()
            if error is None:
                if position < limits[partition]:
                    found.append(record(message))
                position += 1
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if position >= limits[partition]:
                left.pop(partition, None)
        if time.monotonic() > until:
            raise TimeoutError(f"No end after {TIMEOUT_SECONDS} s, partitions and offsets {left}: an open transaction?")
    return found


def record(message: Message) -> Record:
    headers = tuple(message.headers() or ())
    return Record(
        message.partition(), message.offset(), message.key(), message.value(), headers, message.timestamp()[1]
    )


def read_by_kcat(bootstrap: str, topic: str) -> list[Record]:
    """Return what `read` with `pending` does, without headers, told by kcat; which need not be installed."""
    command = ["kcat", "-C", "-q", "-e", "-b", bootstrap, "-t", topic, "-o", "beginning"]
    command += ["-X", "isolation.level=read_committed", "-f", r"%p %o %T %K %S\n%k%s"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
    text = io.BytesIO(done.stdout)
    found = []
    for head in text:
        partition, offset, timestamp, *lengths = map(int, head.split())
        key, value = (text.read(length) if length >= 0 else None for length in lengths)
        found.append(Record(partition, offset, key, value, (), timestamp))
    return sorted(found)


def has_kcat() -> bool:
    return shutil.which("kcat") is not None


def produce(bootstrap: str, topic: str, records: Iterable[bytes | Mapping[str, Any]]) -> None:
    """Write records, in their order within a partition, and return when the broker has them.

    Parameters
    ----------
    bootstrap, topic : str
        Where.
    records : iterable of bytes or of mapping
        A value, or any of `value`, `key`, `headers`, `partition` and `timestamp`.

    Raises
    ------
    KafkaException
        One of them was refused.
    """
    refused: list[KafkaError] = []
    unlimited = {"queue.buffering.max.messages": 0, "queue.buffering.max.kbytes": 2**31 - 1}
    told = {"delivery.report.only.error": True, "on_delivery": lambda error, _: refused.append(error)}
    producer = Producer(client(bootstrap) | unlimited | told | {"enable.idempotence": True})
    producer.list_topics(topic, timeout=TIMEOUT_SECONDS)  # half a second, as above
    for one in records:
        producer.produce(topic, **({"value": one} if isinstance(one, bytes) else one))
    if producer.flush(TIMEOUT_SECONDS):
        raise TimeoutError(f"{topic} did not take all records in {TIMEOUT_SECONDS} s")
    if refused:
        raise KafkaException(refused[0])


def committed(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """Return the committed offsets of a group by topic and partition; an open transaction's end is waited for.

    Raises
    ------
    TimeoutError
        A transaction stayed open.
    """
    admin = AdminClient(client(bootstrap))
    topics = admin.list_topics(timeout=TIMEOUT_SECONDS).topics.values()
    # named one by one: asked for all it has, the broker leaves out a first offset that is not yet decided
    places = [TopicPartition(topic.topic, partition) for topic in topics for partition in topic.partitions]
    asked = [ConsumerGroupTopicPartitions(group, places)]
    until = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < until:
        told = admin.list_consumer_group_offsets(asked, require_stable=True)[group].result().topic_partitions
        if not any(place.error for place in told):
            return {(place.topic, place.partition): place.offset for place in told if place.offset >= 0}
        time.sleep(0.01)
    raise TimeoutError(f"The offsets of {group} are not decided after {TIMEOUT_SECONDS} s: is a transaction open?")

"""The topics that a pipeline needs, and how far its group is behind in those that it reads."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from streamem.connect.kafka.checkpoints import TopicCheckpoints
from streamem.connect.kafka.client import Consumer, NewTopic, Partition
from streamem.connect.kafka.cluster import Cluster
from streamem.connect.kafka.sink import KafkaSink
from streamem.connect.kafka.source import KafkaSource
from streamem.connect.kafka.transaction import check_topic

__all__ = ["Lag", "Planned", "lag_of", "make", "plan"]

COMPACT = {"cleanup.policy": "compact"}

SMALL_SEGMENTS = COMPACT | {"segment.bytes": str(16 << 20), "min.cleanable.dirty.ratio": "0.1"}
"""Of checkpoints: only what is in a closed segment is compacted, and a start reads all that is there."""

MARKS = 10
"""The end of a transaction takes an offset too: so few of them may be all that is left."""

LOOKS, LOOK_SECONDS = 10, 0.1


@dataclass(frozen=True)
class Planned:
    """A topic that a pipeline needs.

    Parameters
    ----------
    cluster : Cluster
    topic : NewTopic
        How it would be made.
    there : int
        Partitions that it has; 0 where it is not there.
    """

    cluster: Cluster
    topic: NewTopic
    there: int


def plan(
    source: Any, outputs: Sequence[tuple[str, Any]], checkpoint: Any, partitions: int, copies: int = 0
) -> list[Planned]:
    """Return the topics of a pipeline; those of posteriors have as many partitions as the first that is read.

    Parameters
    ----------
    source : Source
    outputs : sequence of (str, Sink)
        What each is of: ``posteriors``, ``snapshots``, ``dead_letters``.
    checkpoint : Keeping or None
    partitions : int
        Of topics that are read and not there.
    copies : int
        Of every partition; 0 leaves it to the brokers.

    Raises
    ------
    ConnectError
        The brokers cannot be reached.
    """
    planned: dict[str, Planned] = {}
    for cluster, topic in _topics(source, outputs, checkpoint, partitions):
        consumer = cluster.consumer(None)
        try:
            there = len(consumer.partitions(topic.name))
        finally:
            consumer.close()
        if not planned and isinstance(source, KafkaSource):
            partitions = there or partitions
        topic = replace(topic, partitions=topic.partitions or partitions, copies=copies)
        planned.setdefault(topic.name, Planned(cluster, topic, there))
    return list(planned.values())


def _topics(
    source: Any, outputs: Sequence[tuple[str, Any]], checkpoint: Any, partitions: int
) -> Iterator[tuple[Cluster, NewTopic]]:
    """Yield topics; one with 0 partitions gets as many as what is read."""
    if isinstance(source, KafkaSource):
        for name in source.topics:
            yield source.cluster, NewTopic(name, partitions)
    for what, sink in outputs:
        if isinstance(sink, KafkaSink):
            many = NewTopic(sink.topic, 0)
            yield sink.ledger, NewTopic(sink.topic, settings=COMPACT) if what == "snapshots" else many
    if isinstance(checkpoint, TopicCheckpoints):
        yield checkpoint.cluster, NewTopic(checkpoint.topic, settings=SMALL_SEGMENTS)


def make(planned: Sequence[Planned]) -> None:
    """Make the topics that are not there, and wait until the brokers know them.

    Raises
    ------
    ConnectError
        The brokers do not make one, or cannot be reached.
    """
    for one in planned:
        if not one.there:
            admin = one.cluster.admin()
            try:
                admin.create([one.topic])
            finally:
                admin.close()
            consumer = one.cluster.consumer(None)
            try:
                for _ in range(LOOKS):
                    if len(consumer.partitions(one.topic.name)) == one.topic.partitions:
                        break
                    time.sleep(LOOK_SECONDS)
            finally:
                consumer.close()


class Lag(NamedTuple):
    """How far a group is in a partition: `committed` and `behind` are None before its first commit."""

    topic: str
    partition: int
    committed: int | None
    end: int
    behind: int | None


def lag_of(source: KafkaSource) -> list[Lag]:
    """Return how far the source's group is in every partition of its topics.

    Raises
    ------
    ConfigError
        A topic is not there.
    ConnectError
        The brokers cannot be reached.
    """
    consumer = source.cluster.consumer(source.group_id)
    try:
        partitions = []
        for topic in source.topics:
            there = consumer.partitions(topic)
            check_topic(there, topic)
            partitions += [(topic, number) for number in there]
        committed, ends = consumer.committed(partitions), consumer.latest(partitions)
        done = _done(consumer, {one: at for one in partitions if (at := committed[one]) is not None}, ends)
    finally:
        consumer.close()
    lags = []
    for one in partitions:
        at, end = committed[one], ends[one]
        lags.append(Lag(*one, at, end, None if at is None else 0 if one in done else max(0, end - at)))
    return lags


def _done(consumer: Consumer, committed: Mapping[Partition, int], ends: Mapping[Partition, int]) -> set[Partition]:
    """Return the partitions in which nothing but the marks of transactions is left, for a second or so looked at."""
    left = {one: at for one, at in committed.items() if 0 < ends[one] - at <= MARKS}
    done = {one for one, at in committed.items() if at >= ends[one]}
    consumer.assign(left)
    for _ in range(LOOKS if left else 0):
        for run in consumer.poll(LOOK_SECONDS):
            left.pop(run.partition, None)
        done |= {one for one in left if consumer.position(one) >= ends[one]}
        if done >= left.keys():
            break
    return done

"""Everything that a pipeline writes to a cluster, committed at once: records, offsets, and the number of the commit.

The number is committed as an offset, in a group of the pipeline's own, of partition 0 of a topic that it writes to:
it is in the same transaction as all the rest, survives everything that the offsets survive, and tells after a crash
which of the last checkpoints counts.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamem.connect.kafka.causes import FencedError
from streamem.connect.kafka.client import Header, Partition, Producer
from streamem.connect.kafka.cluster import Cluster
from streamem.errors import ConfigError, ConnectError, tell

__all__ = ["KafkaTransaction", "begin"]

TIMEOUT_MS = 60_000
"""After so long the brokers abort a transaction, unless the options say otherwise."""


def begin(cluster: Cluster, name: str, worker: int, topic: str) -> "KafkaTransaction":
    """Return the transactions of a pipeline's worker, whose predecessors can commit no more.

    Raises
    ------
    ConfigError
        There is no such topic.
    ConnectError
        The brokers cannot be reached, or do not allow it.
    """
    identity = f"{name}-{worker}"
    group = f"streamem.{identity}"
    consumer = cluster.consumer(group)
    try:
        check_topic(consumer.partitions(topic), topic)
        producer = cluster.producer(f"streamem-{identity}")  # ends what a predecessor left, so ask only then
        committed = consumer.committed([(topic, 0)])[topic, 0]
    finally:
        consumer.close()
    seconds = float(cluster.options.get("transaction.timeout.ms", TIMEOUT_MS)) / 1000
    return KafkaTransaction(cluster, producer, (topic, 0), group, committed, seconds)


def check_topic(partitions: Sequence[int], topic: str) -> None:
    """Raise ConfigError for a topic without partitions: it is not there."""
    if not partitions:
        do = "make it with streamem topics FILE, or correct the name"
        raise ConfigError(tell(f"topic {topic}", found="no such topic", wanted="a topic that is there", do=do))


@dataclass
class KafkaTransaction:
    """One transaction after the other: it begins with what is first sent, and ends by `commit`."""

    cluster: Cluster
    producer: Producer
    marker: Partition
    group: str
    committed: int | None
    seconds: float
    begun: bool = False
    since: float = 0.0

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Sequence[Header]] | None = None,
        partition: int | None = None,
    ) -> None:
        """Send messages."""
        if len(values):
            self._begin()
            self.producer.send(topic, values, keys, headers, partition)

    def check(self, topic: str) -> None:
        """Raise ConfigError for a topic that is not there."""
        check_topic(self.producer.partitions(topic), topic)

    def offsets(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Commit offsets of a consumer's group with the rest."""
        if positions:
            self._begin()
            self.producer.offsets(group, positions)

    def commit(self, number: int) -> None:
        """Make everything since the last commit seen, and `number` with it."""
        self._begin()
        try:
            self.producer.offsets(self.group, {self.marker: number})
            self.producer.commit()
        except FencedError as error:
            if time.monotonic() - self.since < self.seconds:
                raise
            # the brokers tell a transaction that took too long in the same words as another process
            found, do = f"a transaction of more than {self.seconds:.0f} s", "look whether the brokers are overloaded"
            message = tell(str(self.cluster), found=found, wanted="one that ends before", do=do)
            raise ConnectError(message, retry=True) from error
        self.committed, self.begun = number, False

    def _begin(self) -> None:
        if not self.begun:
            self.producer.begin()
            self.begun, self.since = True, time.monotonic()

    def close(self) -> None:
        """Give the producer back; what was not committed is aborted."""
        try:
            if self.begun:
                self.begun = False
                self.producer.abort()
        except ConnectError:
            pass  # the brokers abort it after its time, or when the next one begins
        finally:
            self.producer.close()

"""Checkpoints in a compacted topic, written inside the transaction: a worker can go on on another machine."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamem.connect.kafka.client import Header, Partition
from streamem.connect.kafka.cluster import Cluster
from streamem.connect.kafka.transaction import KafkaTransaction, check_topic
from streamem.errors import SnapshotError, tell
from streamem.stream.checkpoint import Checkpoint, decode, encode
from streamem.stream.home import Home
from streamem.stream.protocol import Transaction, World

__all__ = ["TopicCheckpoints"]

CHUNK = 900_000
"""Bytes of a message, below the 1 MiB that brokers take by default."""

POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class TopicCheckpoints:
    """A compacted topic for the state, and how often it is put down.

    Parameters
    ----------
    topic : str
        Its partition 0 is used, also by several pipelines.
    every_batches : int
        After every so many batches; besides when the input ends or is idle, and when the run is asked to stop.
    cluster : Cluster
        Where the topic is; by default where the pipeline's topics are.

    Examples
    --------
    >>> TopicCheckpoints(topic="states", every_batches=100).place
    'states'
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    topic: str
    every_batches: int = 10
    cluster: Cluster = field(default_factory=lambda: Cluster(()))

    @property
    def ledger(self) -> Cluster:
        """The brokers."""
        return self.cluster

    @property
    def place(self) -> str:
        """The topic."""
        return self.topic

    @contextmanager
    def open(self, world: World, name: str, worker: int) -> Iterator[Home]:  # noqa: ARG002
        """Return where the checkpoints of a worker are; other processes are kept off by the transaction."""
        yield _Topic(self, f"{name}-{worker}")


@dataclass
class _Topic:
    declared: TopicCheckpoints
    identity: str
    inside: ClassVar[bool] = True

    @property
    def place(self) -> str:
        """The topic, and whose checkpoint it is."""
        return f"topic {self.declared.topic}, key {self.identity}"

    def read(self) -> Sequence[Checkpoint]:
        """Return the last checkpoint that was committed."""
        chunks = self.chunks()
        if not chunks:
            return []
        first = chunks.get(0)
        if first is not None:
            _, headers = first
            count, digest = int(headers["chunks"]), headers["sha256"]
            parts = [chunks.get(n) for n in range(count)]
            content = b"".join(part[0] for part in parts if part is not None and part[1]["sha256"] == digest)
            if hashlib.sha256(content).hexdigest() == digest:
                return [decode(self.place, content)]
        do = "restore the topic, or start afresh with --fresh"
        raise SnapshotError(tell(self.place, found="a broken chunk", wanted="a whole checkpoint", do=do))

    def chunks(self) -> dict[int, tuple[bytes, Mapping[str, str]]]:
        """Return the last message of every chunk."""
        where: Partition = (self.declared.topic, 0)
        consumer = self.declared.cluster.consumer(None)
        found: dict[int, tuple[bytes, Mapping[str, str]]] = {}
        prefix = f"{self.identity}/".encode()
        try:
            check_topic(consumer.partitions(self.declared.topic), self.declared.topic)
            end = consumer.latest([where])[where]
            consumer.assign(consumer.earliest([where]))
            while consumer.position(where) < end:
                for run in consumer.poll(POLL_SECONDS):
                    for index, value in enumerate(run.values):
                        key, headers, _ = run.rest(index)
                        if key is None or not key.startswith(prefix):
                            continue
                        number = int(key.removeprefix(prefix))
                        if value is None:  # a tombstone: it will be compacted away
                            found.pop(number, None)
                        else:
                            found[number] = value, _texts(headers)
        finally:
            consumer.close()
        return found

    def settle(self, checkpoint: Checkpoint) -> None:
        """Do nothing: what was not committed is not seen."""

    def write(self, checkpoint: Checkpoint, transaction: Transaction | None) -> None:
        """Send a checkpoint in chunks."""
        assert isinstance(transaction, KafkaTransaction)  # noqa: S101  the pipeline began it for this topic
        content = encode(checkpoint)
        chunks: list[bytes | None] = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
        told = {
            "chunks": str(len(chunks)),
            "sha256": hashlib.sha256(content).hexdigest(),
            "serial": str(checkpoint.serial),
        }
        headers: list[Header] = [(name, value.encode()) for name, value in told.items()]
        keys: list[bytes | None] = [f"{self.identity}/{n}".encode() for n in range(len(chunks))]
        transaction.send(self.declared.topic, chunks, keys, [headers] * len(chunks), partition=0)

    def move_aside(self) -> list[str]:
        """Leave it there: the next one takes its place."""
        return []


def _texts(headers: Sequence[Header]) -> dict[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}

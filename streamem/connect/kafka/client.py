"""What streamem asks of a Kafka client, whichever it is: one adapter for each keeps to these contracts.

Every method that talks to a broker raises ConnectError; its `retry` says whether the same may succeed later.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

__all__ = ["Admin", "Client", "Consumer", "Header", "Messages", "NewTopic", "Partition", "Producer", "Rest"]

Partition = tuple[str, int]
"""A topic, and one of its partitions."""

Header = tuple[str, bytes | None]

Rest = tuple[bytes | None, Sequence[Header], int]
"""Key, headers and timestamp (milliseconds since the epoch) of a message."""


@dataclass(frozen=True)
class Messages:
    """Consecutive messages of one partition.

    Parameters
    ----------
    partition : Partition
    offsets : sequence of int
    values : sequence of bytes or None
    rest : callable
        Gives key, headers and timestamp of message n.
    """

    partition: Partition
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    rest: Callable[[int], Rest]

    def before(self, offset: int) -> "Messages":
        """Return the messages before an offset."""
        count = bisect_left(self.offsets, offset)
        return (
            self
            if count == len(self.offsets)
            else replace(self, offsets=self.offsets[:count], values=self.values[:count])
        )


@dataclass(frozen=True)
class NewTopic:
    """A topic to be made.

    Parameters
    ----------
    name : str
    partitions : int
    copies : int
        Of each partition, on as many brokers; 0 leaves it to the brokers.
    settings : mapping of str to str
        Of the topic, such as ``cleanup.policy``.
    """

    name: str
    partitions: int = 1
    copies: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


class Consumer(Protocol):
    """Reads committed messages of partitions that are assigned to it; it belongs to one thread."""

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic; none where there is no such topic."""

    def earliest(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the first offset that is there."""

    def latest(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset behind the last committed message."""

    def at(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int]:
        """Return the offset of the first message of a time or later; the latest where there is none."""

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Return what was committed in the group; waits for the end of a transaction under way."""

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from now on, each from an offset."""

    def trouble(self) -> str:
        """Return what the client goes on to say of brokers that are away; "" where nothing is wrong."""

    def poll(self, seconds: float) -> list[Messages]:
        """Return what has come, waiting no longer than `seconds`.

        Raises ConnectError with `retry` False where a position is no longer there.
        """

    def position(self, partition: Partition) -> int:
        """Return the offset where reading goes on: behind what was polled, and behind markers of transactions."""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Commit offsets of the group outside a transaction."""

    def close(self) -> None:
        """Give everything back."""


class Producer(Protocol):
    """Writes in transactions, one after the other; opening it fences every earlier producer of the same id."""

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic; none where there is no such topic."""

    def begin(self) -> None:
        """Begin a transaction."""

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Sequence[Header]] | None = None,
        partition: int | None = None,
    ) -> None:
        """Send messages, as many as there are values; what fails is raised here or by `commit`."""

    def offsets(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Commit offsets of a group with the transaction."""

    def commit(self) -> None:
        """End the transaction: everything in it is there at once."""

    def abort(self) -> None:
        """End the transaction: nothing of it will be seen."""

    def close(self) -> None:
        """Give everything back, what is under way aborted."""


class Admin(Protocol):
    """Makes topics."""

    def create(self, topics: Sequence[NewTopic]) -> None:
        """Make topics that are not there."""

    def close(self) -> None:
        """Give everything back."""


class Client(Protocol):
    """One of the two libraries, and how it is opened.

    `options` are in the library's own form: see `options.py`.
    """

    def consumer(self, servers: str, options: Mapping[str, Any], group: str | None) -> Consumer:
        """Return a consumer that has reached the brokers."""

    def producer(self, servers: str, options: Mapping[str, Any], transactional_id: str) -> Producer:
        """Return a producer that has fenced its predecessors and ended their transactions."""

    def admin(self, servers: str, options: Mapping[str, Any]) -> Admin:
        """Return what makes topics."""

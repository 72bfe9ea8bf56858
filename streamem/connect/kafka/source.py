"""The Kafka source as it is declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from streamem.connect.kafka.cluster import ClientName, Cluster
from streamem.connect.kafka.formats.declared import Format
from streamem.connect.kafka.options import check_options
from streamem.connect.kafka.reader import KafkaReader
from streamem.errors import ConfigError, tell
from streamem.stream.protocol import Columns, Cuts, Resume, World

__all__ = ["KafkaSource", "Workers"]

Metadata = Literal["key", "headers", "timestamp", "topic", "partition", "offset"]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Which share of the partitions a process reads.

    Parameters
    ----------
    index : int
        Of this process, from 0. It reads partition p where p mod `count` is `index`.
    count : int
        Of all processes.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    index: int = 0
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class KafkaSource(Format):
    """Topics of Kafka, read as committed; partitions are assigned, never rebalanced.

    A null value (a tombstone) and a value that does not fit the schema are bad records; the errors policy of the
    pipeline decides what becomes of them. A partition that a topic gains is read from its beginning.

    Parameters
    ----------
    bootstrap_servers : str or sequence of str
        Some of the brokers, each ``host:port``.
    topics : sequence of str
        Their names; patterns are refused, since a topic that joins would change what was learned.
    group_id : str
        Where offsets are committed, so that tools see how far it is; nobody joins it.
    client : str
        ``kafka-python``, ``confluent-kafka``, or ``auto``: the second where it is installed.
    options : mapping of str to value
        Dotted Kafka names for TLS, logins and limits, such as ``security.protocol``.
    start : str
        Where reading begins without a checkpoint: ``earliest``, ``latest``, ``committed`` (by the group), or a time in
        ISO 8601.
    stop : str
        ``never``, or ``latest``: at what is there when the run begins.
    workers : Workers
        Shares the partitions between several processes, each with a model of its own.
    metadata : sequence of str
        Columns to add of a message's ``key``, ``headers``, ``timestamp``, ``topic``, ``partition`` and ``offset``;
        named ``kafka.key`` and so on.

    Examples
    --------
    >>> source = KafkaSource(bootstrap_servers="localhost:9092", topics=["trips"], group_id="learner", stop="latest")
    >>> source.start, source.resumable
    ('earliest', True)
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["kafka"] = "kafka"
    bootstrap_servers: str | Sequence[str]
    topics: Sequence[str]
    group_id: str
    client: ClientName = "auto"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    start: str = "earliest"
    stop: Literal["never", "latest"] = "never"
    workers: Workers = field(default_factory=Workers)
    metadata: Sequence[Metadata] = ()

    live: ClassVar[bool] = True
    resumable: ClassVar[bool] = True

    @property
    def cluster(self) -> Cluster:
        """Where the topics are."""
        return Cluster(self.bootstrap_servers, self.client, self.options)

    @property
    def worker(self) -> int:
        """Which of the pipeline's processes this is."""
        return self.workers.index

    def open(self, world: World, cuts: Cuts, columns: Columns, resume: Resume | None) -> KafkaReader:
        """Return a reader at `resume`, or where `start` says.

        Raises
        ------
        ConfigError
            Settings that do not fit each other, or a topic that is not there.
        ConnectError
            The brokers cannot be reached, or offsets are no longer there.
        DataError
            There is no message whose columns could be seen.
        """
        self.check(cuts, columns, resume)
        return KafkaReader(self, world, cuts, columns, resume)

    def milliseconds(self) -> int | None:
        """Return the time to begin at, since the epoch; None where `start` is a word.

        Raises
        ------
        ConfigError
            It is neither.
        """
        if self.start in ("earliest", "latest", "committed"):
            return None
        try:
            time = datetime.fromisoformat(self.start)
        except ValueError as error:
            wanted, do = "earliest, latest, committed or a time", "write a time like 2026-11-23T08:00:00Z"
            raise ConfigError(tell("source.start", found=self.start, wanted=wanted, do=do)) from error
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)

    def check(self, cuts: Cuts, columns: Columns, resume: Resume | None) -> None:  # noqa: ARG002
        """Raise ConfigError for settings that contradict each other."""
        self.check_format()
        self.milliseconds()
        check_options(self.options, "source.options")
        pattern = next((name for name in self.topics if set(name) - LEGAL or len(name) > LONGEST), None)
        index, count = self.workers.index, self.workers.count
        problems = [
            (not self.topics, "source.topics", "no topic", "at least one", "name the topics to read"),
            (pattern is not None, "source.topics", repr(pattern), "names of topics, no patterns",
             "name each topic: one that joined by itself would change what was learned"),
            (len(set(self.topics)) < len(self.topics), "source.topics", "a topic twice", "each topic once",
             "take one of them out"),
            (not self.group_id, "source.group_id", "no name", "a name of the pipeline's own", "write one"),
            (not 0 <= index < count, "source.workers", f"index {index} of {count}",
             "an index from 0 to below count", "count the processes from 0"),
        ]  # fmt: skip
        for wrong, place, found, wanted, do in problems:
            if wrong:
                raise ConfigError(tell(place, found=found, wanted=wanted, do=do))


LEGAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
"""Characters of topics."""

LONGEST = 249
"""Characters of a topic's name, at most."""

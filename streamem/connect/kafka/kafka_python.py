"""The adapter for kafka-python: pure Python, with transactions; the default."""

import itertools
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic as KafkaNewTopic
from kafka.errors import (
    BrokerResponseError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    RetriableError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)
from kafka.net.compat import KafkaNetClient
from kafka.structs import OffsetAndMetadata

from streamem.connect.kafka.causes import Recent, failed
from streamem.connect.kafka.client import Header, Messages, NewTopic, Partition, Rest
from streamem.errors import ConfigError, tell

__all__ = ["KafkaPython"]

BOOTSTRAP_MS, ATTEMPTS = 3_000, 3
"""How long the brokers may be silent at the start, and how often."""

RECONNECT_MS = 500
"""Between two attempts to connect, at most: the cause of a failure is not in each answer."""

POLL_RECORDS = 10_000

ANSWER_MS = 10_000
"""How long offsets are asked for."""

METADATA_MS = 30_000
"""How old the known partitions of a topic may be; the library asks anew by itself, and only then."""

HEARD_SECONDS = 0.1
"""After so long is looked anew whether the brokers refused something: it need not be the first that is waited for."""

NUMBER = re.compile(r"\[Error (\d+)\]")


class _Log(logging.Handler):
    """Keeps what the library logs: it says the cause of a failed connection nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.recent = Recent()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a record; that its own loop was slow for once says nothing of the brokers."""
        if record.name != "kafka.net.selector":
            self.recent.add(record.getMessage().partition(" (backoff")[0])


def _listen() -> Recent:
    """Return what the library says of its connections; it no longer goes to standard error, where errors say it."""
    logger = logging.getLogger("kafka")
    for handler in logger.handlers:
        if isinstance(handler, _Log):
            return handler.recent
    handler = _Log()
    logger.addHandler(handler)
    logger.propagate = False
    return handler.recent


@contextmanager
def told(place: str) -> Iterator[None]:
    """Raise ConnectError for what the library raises."""
    recent = _listen()
    try:
        yield
    except KafkaError as error:
        retry = isinstance(error, RetriableError)
        raise failed(place, _number(error), str(error) or type(error).__name__, retry=retry, recent=recent) from error


def _number(error: KafkaError) -> int | None:
    """Return Kafka's number of an error; some are told only within another, as an argument or in its text."""
    for one in (error, *error.args):
        if isinstance(one, BrokerResponseError):
            return int(one.errno)
    named = NUMBER.search(str(error))
    return int(named[1]) if named else None


def reached(make: Callable[..., Any], servers: str, settings: Mapping[str, Any]) -> Any:
    """Return a client that has reached the brokers; what they refuse once and for all is not tried again."""
    recent = _listen()
    recent.said.clear()  # what was said of other clients
    for left in reversed(range(ATTEMPTS)):
        try:
            return make(
                bootstrap_servers=servers,
                **{"bootstrap_timeout_ms": BOOTSTRAP_MS, "reconnect_backoff_max_ms": RECONNECT_MS, **settings},
            )
        except (KafkaTimeoutError, KafkaConnectionError):
            if not left or recent.final:
                raise
        except (TypeError, ValueError, AssertionError) as error:  # of values that it does not know
            found, wanted = f"what kafka-python does not take ({error})", "values that it takes"
            raise ConfigError(tell("options", found=found, wanted=wanted, do="correct them")) from error
    raise AssertionError("unreachable")


class _Patient(KafkaNetClient):  # type: ignore[misc]
    """Waits for a broker that has gone.

    By itself the library lets a question about a transaction fall that is due while its broker is away, and whoever
    asked waits without end.
    """

    def await_ready(self, *arguments: Any, **named: Any) -> Any:
        """Return False, which is asked again, in place of the error that is not."""
        try:
            return super().await_ready(*arguments, **named)
        except KafkaConnectionError:
            return False


class KafkaPython:
    """Opens kafka-python's consumers and producers."""

    def consumer(self, servers: str, options: Mapping[str, Any], group: str | None) -> "_Consumer":
        """Return a consumer that has reached the brokers."""
        with told(f"brokers {servers}"):
            settings: dict[str, Any] = {
                "max_poll_records": POLL_RECORDS,
                "retry_backoff_ms": 20,
                "fetch_max_wait_ms": 100,
                "metadata_max_age_ms": METADATA_MS,
                "metrics_enabled": False,
                **options,
                "group_id": group,
                "enable_auto_commit": False,
                "auto_offset_reset": "none",
                "isolation_level": "read_committed",
            }
            return _Consumer(reached(KafkaConsumer, servers, settings), servers, lambda: self.admin(servers, options))

    def producer(self, servers: str, options: Mapping[str, Any], transactional_id: str) -> "_Producer":
        """Return a producer that has fenced its predecessors and ended their transactions."""
        with told(f"brokers {servers}, transactional id {transactional_id}"):
            settings: dict[str, Any] = {
                "retry_backoff_ms": 10,
                "linger_ms": 1,
                "batch_size": 524_288,
                "metrics_enabled": False,
                **options,
                "kafka_client": _Patient,
                "enable_idempotence": True,
                "transactional_id": transactional_id,
            }
            producer = reached(KafkaProducer, servers, settings)
            try:
                producer.init_transactions()
            except BaseException:
                producer.close(timeout=0)
                raise
            return _Producer(producer, servers)

    def admin(self, servers: str, options: Mapping[str, Any]) -> "_Admin":
        """Return what makes topics."""
        with told(f"brokers {servers}"):
            return _Admin(reached(KafkaAdminClient, servers, options), servers)


class _Consumer:
    def __init__(self, consumer: KafkaConsumer, servers: str, admin: Callable[[], "_Admin"]) -> None:
        self._consumer, self._place, self._admin = consumer, f"brokers {servers}", admin

    def partitions(self, topic: str) -> list[int]:
        with told(f"topic {topic}"):
            found = sorted(self._consumer.partitions_for_topic(topic) or [])
        if not found:  # what one has no right to see looks the same
            admin = self._admin()
            try:
                admin.see(topic)
            finally:
                admin.close()
        return found

    def earliest(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return self._offsets(self._consumer.beginning_offsets, partitions)

    def latest(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return self._offsets(self._consumer.end_offsets, partitions)

    def _offsets(self, ask: Callable[[list[TopicPartition]], Any], wanted: Iterable[Partition]) -> dict[Partition, int]:
        with told(self._place):
            found = ask([TopicPartition(*partition) for partition in wanted])
        return {(one.topic, one.partition): offset for one, offset in found.items()}

    def at(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int]:
        with told(self._place):
            times = {TopicPartition(*partition): milliseconds for partition in partitions}
            found = self._consumer.offsets_for_times(times)
        latest = self.latest((one.topic, one.partition) for one, offset in found.items() if offset is None)
        first = {(one.topic, one.partition): offset.offset for one, offset in found.items() if offset is not None}
        return first | latest

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        with told(self._place):
            wanted = [(one, TopicPartition(*one)) for one in partitions]
            return {one: self._consumer.committed(known, timeout_ms=ANSWER_MS) for one, known in wanted}

    def assign(self, positions: Mapping[Partition, int]) -> None:
        with told(self._place):
            self._consumer.assign([TopicPartition(*partition) for partition in positions])
            for partition, offset in positions.items():
                self._consumer.seek(TopicPartition(*partition), offset)

    def trouble(self) -> str:
        return _listen().trouble

    def poll(self, seconds: float) -> list[Messages]:
        with told(self._place):
            try:
                found = self._consumer.poll(timeout_ms=int(seconds * 1000))
            except OffsetOutOfRangeError as error:
                raise failed(self._place, 1, f"offsets {error.args[0]} out of range", retry=False) from error
        if found:
            _listen().said.clear()  # the brokers answer
        return [_messages(partition, records) for partition, records in found.items() if records]

    def position(self, partition: Partition) -> int:
        with told(self._place):
            return int(self._consumer.position(TopicPartition(*partition)))

    def commit(self, positions: Mapping[Partition, int]) -> None:
        with told(self._place):
            self._consumer.commit(_plain(positions))

    def close(self) -> None:
        self._consumer.close(autocommit=False)


def _messages(partition: TopicPartition, records: Sequence[Any]) -> Messages:
    def rest(index: int) -> Rest:
        one = records[index]
        return one.key, one.headers, one.timestamp

    offsets = [one.offset for one in records]
    values = [one.value for one in records]
    return Messages((partition.topic, partition.partition), offsets, values, rest)


def _plain(positions: Mapping[Partition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(*one): OffsetAndMetadata(offset, "", -1) for one, offset in positions.items()}


class _Producer:
    def __init__(self, producer: KafkaProducer, servers: str) -> None:
        self._producer, self._place = producer, f"brokers {servers}"
        self._turn = itertools.count()
        self._sent: deque[Any] = deque()

    def partitions(self, topic: str) -> list[int]:
        with told(f"topic {topic}"):
            return sorted(self._producer.partitions_for(topic) or [])

    def begin(self) -> None:
        self._sent.clear()
        with told(self._place):
            self._producer.begin_transaction()

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Sequence[Header]] | None = None,
        partition: int | None = None,
    ) -> None:
        with told(f"topic {topic}"):
            if partition is None and keys is None:  # by itself the library chooses anew for every message
                known = sorted(self._producer.partitions_for(topic))
                partition = known[next(self._turn) % len(known)]
            send, sent, none = self._producer.send, self._sent.append, itertools.repeat(None)
            # the library has no headers without a value
            filled = [[(name, one or b"") for name, one in header] for header in headers] if headers else none
            for value, key, header in zip(values, keys or none, filled, strict=False):
                sent(send(topic, value, key, header, partition))
            self._taken()

    def _taken(self) -> bool:
        """Forget what the brokers took, and return whether that is all; raises for what they refused."""
        for one in self._sent:
            if one.exception is not None:
                raise one.exception
        while self._sent and self._sent[0].is_done:
            self._sent.popleft()
        return not self._sent

    def offsets(self, group: str, positions: Mapping[Partition, int]) -> None:
        with told(f"{self._place}, group {group}"):
            self._producer.send_offsets_to_transaction(_plain(positions), group)

    def commit(self) -> None:
        with told(self._place):
            # the end of a transaction with a message that is refused would be waited for without end
            while not self._taken():
                with suppress(KafkaTimeoutError):
                    self._sent[0].get(HEARD_SECONDS)
            self._producer.commit_transaction()

    def abort(self) -> None:
        with told(self._place):
            self._producer.abort_transaction()

    def close(self) -> None:
        self._producer.close(timeout=5)


class _Admin:
    def __init__(self, admin: KafkaAdminClient, servers: str) -> None:
        self._admin, self._place = admin, f"brokers {servers}"

    def create(self, topics: Sequence[NewTopic]) -> None:
        for topic in topics:
            with told(f"topic {topic.name}"):
                try:
                    wanted = KafkaNewTopic(
                        topic.name, topic.partitions, topic.copies or -1, topic_configs=dict(topic.settings)
                    )
                    self._admin.create_topics([wanted])
                except TopicAlreadyExistsError:
                    continue

    def see(self, topic: str) -> None:
        """Raise ConnectError for a topic that one has no right to see."""
        with told(f"topic {topic}"):
            for one in self._admin.describe_topics([topic]):
                if one["error_code"] == TopicAuthorizationFailedError.errno:
                    raise TopicAuthorizationFailedError(topic)

    def close(self) -> None:
        self._admin.close()

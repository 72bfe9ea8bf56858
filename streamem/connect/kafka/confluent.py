"""The adapter for confluent-kafka: librdkafka underneath, several times cheaper a message."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer as KafkaProducer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import NewTopic as KafkaNewTopic
from kafka.errors import RetriableError, for_code

from streamem.connect.kafka.causes import UNSTABLE, Recent, failed
from streamem.connect.kafka.client import Header, Messages, NewTopic, Partition, Rest
from streamem.errors import ConfigError, tell

__all__ = ["Confluent"]

SECONDS = 10.0
"""How long a question to the brokers may take."""

TRANSACTION_SECONDS = 60.0
"""How long the end of a transaction may take; librdkafka tries again meanwhile."""

ANSWER_SECONDS = 2.0
"""After so long the brokers are asked anew."""

STUCK_SECONDS = 10.0
"""After so long a call that was to end after `ANSWER_SECONDS` is given up, and its producer with it."""

RECONNECT_MS = 500
"""Between two attempts to connect, at most."""

MOST = 10_000
"""Messages of one poll."""

WAITING = 100_000
"""Messages that may wait for the brokers."""

SILENT = logging.getLogger("streamem.connect.kafka.librdkafka")
"""Takes librdkafka's log, which else goes to standard error; errors say what matters of it."""
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


class _Told:
    """Raises ConnectError for what the library raises, with what it said of its connections lately."""

    def __init__(self, place: str) -> None:
        self.place, self.recent = place, Recent()

    def heard(self, error: KafkaError) -> None:
        """Take note of an error of a connection; its text says why where others say only that there is none."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.recent.add(error.str())

    def reach(self, client: Any) -> None:
        """Wait until a client has reached the brokers; what they refuse once and for all is not tried again."""
        until = time.monotonic() + SECONDS
        while True:
            try:
                client.list_topics(timeout=ANSWER_SECONDS)
            except KafkaException as error:
                client.poll(0)  # which calls `heard`
                if self.recent.final or time.monotonic() > until:
                    raise self.failure(error.args[0]) from error
            else:
                return

    @contextmanager
    def __call__(self, place: str | None = None) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self.failure(error.args[0], place) from error

    def failure(self, error: KafkaError, place: str | None = None) -> Exception:
        """Return the error of the house."""
        number = error.code()
        if number == KafkaError._INVALID_ARG:
            wanted, do = "options that librdkafka takes", "correct the name or the value"
            return ConfigError(tell("options", found=error.str(), wanted=wanted, do=do))
        retry = error.retriable() or error.txn_requires_abort() or number in _TRANSPORT
        # librdkafka says it of transactions alone
        retry = retry or (number > 0 and issubclass(for_code(number), RetriableError))
        return failed(place or self.place, number, error.str(), retry=retry, recent=self.recent)


_TRANSPORT = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT})


class Confluent:
    """Opens confluent-kafka's consumers and producers."""

    def consumer(self, servers: str, options: Mapping[str, Any], group: str | None) -> "_Consumer":
        """Return a consumer that has reached the brokers."""
        told = _Told(f"brokers {servers}")
        settings = {
            "fetch.wait.max.ms": 100,
            "reconnect.backoff.max.ms": RECONNECT_MS,
            "queued.max.messages.kbytes": 65_536,
            "log_level": 3,
            **options,
            "bootstrap.servers": servers,
            "group.id": group or "streamem",  # librdkafka wants one, also where nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "error_cb": told.heard,
        }
        with told():
            consumer = KafkaConsumer(settings, logger=SILENT)
        try:
            told.reach(consumer)
        except BaseException:
            consumer.close()
            raise
        return _Consumer(consumer, told)

    def producer(self, servers: str, options: Mapping[str, Any], transactional_id: str) -> "_Producer":
        """Return a producer that has fenced its predecessors and ended their transactions."""
        told = _Told(f"brokers {servers}, transactional id {transactional_id}")
        settings = {
            "linger.ms": 1,
            "reconnect.backoff.max.ms": RECONNECT_MS,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 2 * WAITING,
            "partitioner": "murmur2_random",  # as Java's and kafka-python's
            "log_level": 3,
            **options,
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "transactional.id": transactional_id,
            "error_cb": told.heard,
        }
        with told():
            producer = KafkaProducer(settings, logger=SILENT)
            told.reach(producer)
            producer.init_transactions(2 * SECONDS)
        return _Producer(producer, settings, told)

    def admin(self, servers: str, options: Mapping[str, Any]) -> "_Admin":
        """Return what makes topics."""
        told = _Told(f"brokers {servers}")
        with told():
            admin = AdminClient({**options, "bootstrap.servers": servers, "error_cb": told.heard}, logger=SILENT)
            told.reach(admin)
        return _Admin(admin, told)


class _Consumer:
    def __init__(self, consumer: KafkaConsumer, told: _Told) -> None:
        self._consumer, self._told = consumer, told
        self._positions: dict[Partition, int] = {}

    def partitions(self, topic: str) -> list[int]:
        return _partitions(self._consumer, topic, self._told)

    def earliest(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, OFFSET_BEGINNING)

    def latest(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, OFFSET_END)

    def at(self, partitions: Iterable[Partition], milliseconds: int) -> dict[Partition, int]:
        found = self._offsets(partitions, milliseconds)
        return found | self.latest(partition for partition, offset in found.items() if offset < 0)

    def _offsets(self, partitions: Iterable[Partition], time: int) -> dict[Partition, int]:
        """Return the offsets of a time; of the end, which counts as one for brokers, that of what is committed."""
        wanted = [TopicPartition(*partition, time) for partition in partitions]
        with self._told():
            found = self._consumer.offsets_for_times(wanted, SECONDS) if wanted else []
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
        return {(one.topic, one.partition): one.offset for one in found}

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        with self._told():
            try:
                found = self._consumer.committed([TopicPartition(*one) for one in partitions], timeout=SECONDS)
            except KafkaException as error:
                if not self._positions:
                    self._consumer.poll(0)  # nothing is assigned: it gives no message, and calls `heard`
                if error.args[0].code() == KafkaError._TIMED_OUT and not self._told.recent.cause()[0]:
                    # librdkafka asks anew as long as they are held, and does not say so
                    found = "offsets that a transaction holds"
                    raise failed(self._told.place, UNSTABLE, found, retry=True) from error
                raise
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
        return {(one.topic, one.partition): None if one.offset == OFFSET_INVALID else one.offset for one in found}

    def assign(self, positions: Mapping[Partition, int]) -> None:
        with self._told():
            self._consumer.assign([TopicPartition(*partition, offset) for partition, offset in positions.items()])
        self._positions = dict(positions)

    def trouble(self) -> str:
        return self._told.recent.trouble

    def poll(self, seconds: float) -> list[Messages]:
        with self._told():
            found = self._consumer.consume(1, seconds)
            found += self._consumer.consume(MOST, 0) if found else []
        good = []
        for one in found:
            error = one.error()
            if error is None:
                good.append(one)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._positions[one.topic(), one.partition()] = one.offset()
            elif error.fatal() or not error.retriable():
                raise self._told.failure(error, f"topic {one.topic()}" if one.topic() else None)
        if good:
            self._told.recent.said.clear()  # the brokers answer
        runs = [_messages(partition, list(run)) for partition, run in groupby(good, key=_partition)]
        for run in runs:
            # an end that came with the messages may lie behind them: the mark of a transaction takes an offset too
            self._positions[run.partition] = max(self._positions[run.partition], run.offsets[-1] + 1)
        return runs

    def position(self, partition: Partition) -> int:
        return self._positions[partition]

    def commit(self, positions: Mapping[Partition, int]) -> None:
        with self._told():
            offsets = [TopicPartition(*partition, offset) for partition, offset in positions.items()]
            self._consumer.commit(offsets=offsets, asynchronous=False)

    def close(self) -> None:
        self._consumer.close()


def _partitions(client: KafkaConsumer | KafkaProducer, topic: str, told: _Told) -> list[int]:
    with told(f"topic {topic}"):
        found = client.list_topics(topic, timeout=SECONDS).topics[topic]
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(found.error)
    return sorted(found.partitions)


def _partition(message: Any) -> Partition:
    return message.topic(), message.partition()


def _messages(partition: Partition, records: Sequence[Any]) -> Messages:
    def rest(index: int) -> Rest:
        one = records[index]
        return one.key(), one.headers() or [], one.timestamp()[1]

    return Messages(partition, [one.offset() for one in records], [one.value() for one in records], rest)


def _patiently(call: Callable[[float], Any]) -> None:
    """Call until it is answered, at most for `TRANSACTION_SECONDS`.

    librdkafka may wait in vain, for as long as it is let, for the answer of a broker that has gone; asked anew it goes
    on where it was. Of a transaction that fails while the call is under way it tells its state alone, and the cause
    (a message that is refused) when asked anew.

    Raises
    ------
    TimeoutError
        The call did not come back.
    """
    until = time.monotonic() + TRANSACTION_SECONDS
    while True:
        try:
            _in_time(call)
            return
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError._STATE:
                _in_time(call)  # which raises the cause
            if code != KafkaError._TIMED_OUT or time.monotonic() > until:
                raise


def _in_time(call: Callable[[float], Any]) -> None:
    """Call in a thread of its own, which is left to itself where it does not come back.

    `send_offsets_to_transaction` may wait for ever for a coordinator that has gone, whatever time it is given
    (librdkafka's issues 5456 and 5511).

    Raises
    ------
    TimeoutError
        It did not come back within `STUCK_SECONDS`.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            call(ANSWER_SECONDS)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    done.result(STUCK_SECONDS)


class _Producer:
    def __init__(self, producer: KafkaProducer, settings: Mapping[str, Any], told: _Told) -> None:
        self._producer, self._settings, self._told = producer, settings, told
        self._turn = itertools.count()
        self._partitions: dict[str, list[int]] = {}
        self._groups: dict[str, Any] = {}
        self._stuck = False

    def partitions(self, topic: str) -> list[int]:
        return _partitions(self._producer, topic, self._told)

    def begin(self) -> None:
        with self._told():
            self._producer.begin_transaction()

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        headers: Sequence[Sequence[Header]] | None = None,
        partition: int | None = None,
    ) -> None:
        with self._told(f"topic {topic}"):
            try:
                self._send(topic, values, keys, headers, partition)
            except KafkaException as error:
                if error.args[0].code() == KafkaError._FATAL:
                    self._producer.commit_transaction(0)  # which can do no more than say what the fatal error was
                raise

    def _send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None,
        headers: Sequence[Sequence[Header]] | None,
        partition: int | None,
    ) -> None:
        if headers is not None:
            for index, value in enumerate(values):
                key = keys[index] if keys is not None else None
                where = {} if partition is None else {"partition": partition}
                self._room(1)
                self._producer.produce(topic, value, key, headers=list(headers[index]), **where)
            return
        if partition is None and keys is None:
            partition = self._next(topic)
        for start in range(0, len(values), MOST):
            part = values[start : start + MOST]
            if keys is None:
                messages = [{"value": value} for value in part]
            else:
                these = keys[start : start + MOST]
                messages = [{"value": value, "key": key} for value, key in zip(part, these, strict=True)]
            self._room(len(part))
            where = {} if partition is None else {"partition": partition}
            if self._producer.produce_batch(topic, messages, **where) != len(part):
                raise KafkaException(next(one["_error"] for one in messages if "_error" in one))

    def _next(self, topic: str) -> int:
        """Return the partitions of a topic in turn."""
        if topic not in self._partitions:
            self._partitions[topic] = self.partitions(topic) or [0]
        known = self._partitions[topic]
        return known[next(self._turn) % len(known)]

    def _room(self, count: int) -> None:
        """Wait until so many more messages find place in the queue."""
        self._producer.poll(0)
        while len(self._producer) + count > WAITING:
            self._producer.poll(0.01)

    def offsets(self, group: str, positions: Mapping[Partition, int]) -> None:
        with self._told(f"{self._told.place}, group {group}"):
            if group not in self._groups:
                theirs = ("transactional.id", "linger.ms", "batch.size", "queue.", "partitioner", "enable.idempotence")
                plain = {name: value for name, value in self._settings.items() if not name.startswith(theirs)}
                # the metadata of a group that nobody has joined; only a consumer can make it, and it need not connect
                self._groups[group] = KafkaConsumer({**plain, "group.id": group}, logger=SILENT)
            metadata = self._groups[group].consumer_group_metadata()
            offsets = [TopicPartition(*partition, offset) for partition, offset in positions.items()]
            self._ask(lambda seconds: self._producer.send_offsets_to_transaction(offsets, metadata, seconds))

    def commit(self) -> None:
        with self._told():
            self._ask(self._producer.commit_transaction)

    def _ask(self, call: Callable[[float], Any]) -> None:
        """Ask the brokers; a producer that gets stuck is left behind, and the next one ends its transaction."""
        try:
            _patiently(call)
        except TimeoutError as error:
            self._stuck = True  # what was said of connections is not the cause
            raise failed(self._told.place, None, "librdkafka does not come back", retry=True) from error

    def abort(self) -> None:
        if self._stuck:
            return
        with self._told():
            self._producer.purge()
            self._producer.abort_transaction(SECONDS)

    def close(self) -> None:
        if self._stuck:
            return
        for consumer in self._groups.values():
            consumer.close()
        with suppress(KafkaException):  # a producer that was fenced says so once more
            self._producer.purge()
            self._producer.flush(0)


class _Admin:
    def __init__(self, admin: AdminClient, told: _Told) -> None:
        self._admin, self._told = admin, told

    def create(self, topics: Sequence[NewTopic]) -> None:
        wanted = [
            KafkaNewTopic(one.name, one.partitions, one.copies or -1, config=dict(one.settings)) for one in topics
        ]
        for name, done in (self._admin.create_topics(wanted, request_timeout=SECONDS) if wanted else {}).items():
            with self._told(f"topic {name}"):
                try:
                    done.result()
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise

    def close(self) -> None:
        """Nothing is held: librdkafka's client goes with its last user."""

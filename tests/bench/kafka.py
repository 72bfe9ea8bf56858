"""Topic to topic, exactly once, with a mixture; against the bare loop of the same client, which does not even parse.

The bare loop polls, counts, and writes for each message one of as many bytes as a posterior has, with the offsets, in
transactions of as many messages. Both use all cores, as the broker beside them does. The garbage collector is as
`streamem run` has it, and for the bare loop as Python has it in a process that loads no more than a client.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from streamem.cli.pipelines import collect_seldom
from streamem.connect import KafkaSink, KafkaSource
from streamem.em import Mixture
from streamem.stream.operators import Learn
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.protocol import Columns, Cuts
from tests.bench.side_by_side import Comparison, in_turn
from tests.broker import reading
from tests.broker.server import Broker
from tests.broker.topics import create, delete

RECORDS = 500_000
BATCH = 1000
EVERY_BATCHES = 10
ROWS = 1000
"""Of an Arrow message."""

FLOORS = {"kafka-python": 0.8, "confluent-kafka": 0.7}
AIM = 0.9

PER_SECOND = 2000
SECONDS = 20
MEDIAN_MS, LATE_MS = 60.0, 250.0
ARROW_ROWS_PER_SECOND = 0.7e6


def values(count: int) -> list[bytes]:
    """Return records of JSON with three regimes."""
    rng = np.random.default_rng(0)
    x = rng.normal(np.arange(count) // 50 % 3 * 5.0).round(6).tolist()
    y = rng.normal(size=count).round(6).tolist()
    return [b'{"id":%d,"device":"d%d","x":%r,"y":%r}' % (n, n % 7, x[n], y[n]) for n in range(count)]


def ours(broker: Broker, client: str, entry: str, out: str, folder: Path, **changes: object) -> Pipeline:
    """Return a pipeline from topic to topic."""
    servers, name = broker.bootstrap, f"bench-{uuid.uuid4().hex[:8]}"
    columns = {"format": changes.pop("format", "json"), "stop": changes.pop("stop", "latest")}
    sink = KafkaSink(bootstrap_servers=servers, client=client, topic=out, format=columns["format"])
    settings = {
        "name": name,
        "source": KafkaSource(bootstrap_servers=servers, client=client, topics=[entry], group_id=name, **columns),
        "cuts": Cuts(BATCH),
        "columns": Columns(),
        "operators": [
            Learn(name="regime", features=["x", "y"], model=Mixture(components=3), warmup_records=1000),
        ],
        "outputs": [Output(what="posteriors", include=["id"], sink=sink)],
        "checkpoint": Checkpoints(path=str(folder / name), every_batches=EVERY_BATCHES),
    }
    return Pipeline(**(settings | changes))


def bare_kafka_python(servers: str, entry: str, out: str, value: bytes) -> None:
    """Do as much as can be left of the work with kafka-python."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    place = TopicPartition(entry, 0)
    reading_as = {"isolation_level": "read_committed", "enable_auto_commit": False, "max_poll_records": 10_000}
    consumer = KafkaConsumer(bootstrap_servers=servers, fetch_max_wait_ms=100, **reading_as)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id=out, linger_ms=1, batch_size=524_288)
    producer.init_transactions()
    producer.begin_transaction()

    def commit(offset: int) -> None:
        producer.send_offsets_to_transaction({place: OffsetAndMetadata(offset, "", -1)}, f"group-{out}")
        producer.commit_transaction()

    def poll() -> int:
        records = consumer.poll(timeout_ms=50).get(place, [])
        for _ in records:
            producer.send(out, value, partition=0)
        return len(records)

    _loop(poll, commit, producer.begin_transaction)
    consumer.close()
    producer.close()


def bare_confluent(servers: str, entry: str, out: str, value: bytes) -> None:
    """Do as much as can be left of the work with confluent-kafka."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

    known = {"bootstrap.servers": servers, "log_level": 0}
    group = {"group.id": f"group-{out}", "enable.auto.commit": False, "isolation.level": "read_committed"}
    consumer = Consumer(known | group | {"fetch.wait.max.ms": 100})
    consumer.assign([TopicPartition(entry, 0, OFFSET_BEGINNING)])
    batches = {"linger.ms": 5, "batch.size": 262_144, "queue.buffering.max.messages": 200_000}
    producer = Producer(known | batches | {"transactional.id": out})
    producer.init_transactions(30)
    producer.begin_transaction()

    def commit(offset: int) -> None:
        places = [TopicPartition(entry, 0, offset)]
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)

    def poll() -> int:
        found = consumer.consume(BATCH, 0.05)
        assert not any(one.error() for one in found)
        producer.produce_batch(out, [{"value": value} for _ in found], partition=0)
        return len(found)

    _loop(poll, commit, producer.begin_transaction)
    consumer.close()


def _loop(poll: Callable[[], int], commit: Callable[[int], None], begin: Callable[[], None]) -> None:
    done = last = 0
    while done < RECORDS:
        done += poll()
        if done - last >= BATCH * EVERY_BATCHES or done >= RECORDS:
            commit(done)
            last = done
            if done < RECORDS:
                begin()


BARE = {"kafka-python": bare_kafka_python, "confluent-kafka": bare_confluent}


def rate(broker: Broker, client: str, entry: str, folder: Path, rounds: int) -> Comparison:
    """Return microseconds a record, ours and those of the bare loop."""
    out = create(broker.bootstrap, 1)
    ours(broker, client, entry, out, folder).run(limit=20_000)
    found = reading.read(broker.bootstrap, out)
    value = b"x" * (sum(len(one.value or b"") for one in found) // len(found))
    topics = [out]

    def fresh() -> None:
        delete(broker.bootstrap, topics.pop())
        topics.append(create(broker.bootstrap, 1))

    def run() -> None:
        collect_seldom()
        ours(broker, client, entry, topics[0], folder).run()

    def bare() -> None:
        gc.set_threshold(*usual)
        BARE[client](broker.bootstrap, entry, topics[0], value)

    usual = gc.get_threshold()
    best = in_turn(run, bare, min(rounds, 3), before=fresh)
    scaled = [seconds / RECORDS * 1e6 for seconds in best]
    return Comparison(f"topic to topic, {client} (peer: bare loop)", *scaled, "us/record", FLOORS[client], AIM)


def latencies(broker: Broker, client: str, folder: Path) -> Iterator[Comparison]:
    """Yield milliseconds from produce to a committed posterior, against the most that it may be."""
    entry, out = create(broker.bootstrap, 1), create(broker.bootstrap, 1)
    code = f"from tests.bench import kafka; kafka.watch({broker.bootstrap!r}, {entry!r}, {out!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        checkpoint = Checkpoints(path=str(folder / entry), every_batches=1)
        cuts = Cuts(10_000, max_wait_ms=20)
        live = {"stop": "never", "cuts": cuts, "checkpoint": checkpoint}
        ours(broker, client, entry, out, folder, **live).run(limit=PER_SECOND * SECONDS)
        median, late = json.loads(other.communicate(timeout=60)[0])
    yield Comparison(f"produced to committed, {client}, median", median, MEDIAN_MS, "ms", 1.0)
    yield Comparison(f"produced to committed, {client}, 99 %", late, LATE_MS, "ms", 1.0)


def watch(servers: str, entry: str, out: str) -> None:
    """Write records at a steady pace; print the median and the last hundredth of what posteriors take, in ms.

    Those of the first quarter, with the warm-up in it, are not counted.
    """
    import threading
    import time

    from confluent_kafka import Consumer, Producer, TopicPartition

    count, known = PER_SECOND * SECONDS, {"bootstrap.servers": servers, "log_level": 0}
    records, sent, seen = values(count), np.zeros(count), np.zeros(count)
    group = {"group.id": "watch", "isolation.level": "read_committed", "fetch.wait.max.ms": 500}
    consumer = Consumer(known | group)
    consumer.assign([TopicPartition(out, 0, 0)])

    def produce() -> None:
        producer = Producer(known | {"linger.ms": 1})
        begin = time.monotonic()
        for n, value in enumerate(records):
            while (early := begin + n / PER_SECOND - time.monotonic()) > 0:
                time.sleep(early)
            sent[n] = time.monotonic()
            producer.produce(entry, value)
            producer.poll(0)
        producer.flush(30)

    thread = threading.Thread(target=produce)
    thread.start()
    while not seen.all():
        for one in consumer.consume(1, 0.5) + consumer.consume(10_000, 0):
            seen[json.loads(one.value())["id"]] = time.monotonic()
    thread.join()
    consumer.close()
    print(json.dumps([*np.quantile((seen - sent)[count // 4 :] * 1e3, [0.5, 0.99])]))


def arrow(broker: Broker, client: str, folder: Path, rounds: int) -> Comparison:
    """Return microseconds a row of Arrow messages, in and out, against the most that it may be.

    Each part is ten times as large as with JSON, and a checkpoint five times as rare: it still comes every second.
    """
    import polars as pl

    from streamem.connect.kafka.formats import encode_arrow

    count = 4 * RECORDS
    entry, out = create(broker.bootstrap, 1), create(broker.bootstrap, 1)
    rng = np.random.default_rng(0)
    x = rng.normal(np.arange(count) // 50 % 3 * 5.0)
    frame = pl.DataFrame({"id": np.arange(count), "x": x, "y": rng.normal(size=count)})
    reading.produce(broker.bootstrap, entry, encode_arrow(frame, ROWS))

    def run() -> None:
        checkpoint = Checkpoints(path=str(folder / uuid.uuid4().hex), every_batches=5 * EVERY_BATCHES)
        large = {"cuts": Cuts(10 * BATCH), "checkpoint": checkpoint}
        done = ours(broker, client, entry, out, folder, format="arrow", **large).run()
        assert done.progress.records == count

    seconds, _ = in_turn(run, lambda: None, min(rounds, 3))
    scaled = seconds / count * 1e6, 1e6 / ARROW_ROWS_PER_SECOND
    return Comparison(f"Arrow messages of {ROWS} rows, {client}", *scaled, "us/row", 1.0)


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield rates and latencies of both clients."""
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the broker needs a core beside ours
    try:
        with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "broker") as broker:
            folder, entry = Path(name), create(broker.bootstrap, 1)
            reading.produce(broker.bootstrap, entry, values(RECORDS))
            for client in FLOORS:
                yield rate(broker, client, entry, folder, rounds)
                yield from latencies(broker, client, folder)
                yield arrow(broker, client, folder, rounds)
    finally:
        os.sched_setaffinity(0, pinned)

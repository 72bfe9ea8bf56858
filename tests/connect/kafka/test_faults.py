"""What goes wrong beside the records: other processes, brokers that refuse or forget, messages that nobody can read."""

import threading
import time
from collections import Counter

import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from streamem.connect.kafka import Workers, confluent, kafka_python
from streamem.connect.kafka.causes import FencedError
from streamem.connect.kafka.transaction import KafkaTransaction, begin
from streamem.errors import ConnectError
from streamem.stream.outputs import Output
from streamem.stream.protocol import Cuts
from streamem.stream.rejections import Errors
from tests.broker.reading import client as quiet
from tests.broker.reading import committed, produce, read
from tests.connect.kafka.running import Place, fill, numbers


@pytest.fixture
def place(broker, client, tmp_path):
    return Place(broker.bootstrap, client, tmp_path)


def test_a_second_process_ends_the_first_and_goes_on_where_it_was(broker, topic, place, monkeypatch):
    """The first is held before it commits: a broker that is asked to commit and to fence at once may answer neither."""
    entry, out, state = topic(), topic(), topic(cleanup_policy="compact")
    fill(broker, entry, 1000)
    first = place.pipeline(place.source(entry, stop="never"), place.sink(out), checkpoint=place.state(state))
    ended, begun, taken_over, commit = [], [], threading.Event(), KafkaTransaction.commit

    def run():
        with pytest.raises(FencedError) as caught:
            first.run()
        ended.append(str(caught.value))

    def held(self, number):
        begun.append(self)
        if self is begun[0] and number > 2:  # with posteriors that are sent
            taken_over.wait(50)
        commit(self, number)

    older = threading.Thread(target=run)
    monkeypatch.setattr(KafkaTransaction, "commit", held)
    older.start()
    while not read(broker.bootstrap, out, pending=True):
        time.sleep(0.05)
    second = place.pipeline(place.source(entry), place.sink(out), checkpoint=place.state(state))
    second.run()
    taken_over.set()
    older.join(50)
    assert "found another one, which has taken over" in ended[0]
    assert "wanted one process of this pipeline, or of this worker of it. To do: let one of them run" in ended[0]
    produce(broker.bootstrap, entry, [b'{"n": 1000, "device": "d", "x": 1.0}'] * 200)
    second.run()
    assert numbers(broker, out) == [*range(1000), *[1000] * 200]


def test_two_workers_at_once_read_every_partition_once(broker, topic, place):
    entry, out, state = topic(partitions=4), topic(), topic(cleanup_policy="compact")
    fill(broker, entry, 2000, partitions=4)
    pipelines = []
    for index in range(2):
        source = place.source(entry, workers=Workers(index=index, count=2))
        pipelines.append(place.pipeline(source, place.sink(out), checkpoint=place.state(state)))
    threads = [threading.Thread(target=one.run) for one in pipelines]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert numbers(broker, out) == list(range(2000))
    assert committed(broker.bootstrap, place.name) == {(entry, n): 500 for n in range(4)}


def test_a_transaction_that_took_too_long_is_done_again(broker, topic, place, monkeypatch, caplog):
    """The broker looks for those every ten seconds."""
    entry, out = topic(), topic()
    fill(broker, entry, 500)
    place.options = {"transaction.timeout.ms": 1000}
    commit, slept = KafkaTransaction.commit, []

    def late(self, number):
        if number == 3 and not slept:
            slept.append(time.sleep(14))
        commit(self, number)

    monkeypatch.setattr(KafkaTransaction, "commit", late)
    done = place.pipeline(place.source(entry), place.sink(out)).run()
    assert done.ended == "input"
    assert numbers(broker, out) == list(range(500))
    assert "found a transaction of more than 1 s; wanted one that ends before" in caplog.text
    assert "Going on from the last checkpoint" in caplog.text


class Stuck:
    """A client's producer whose second `send_offsets_to_transaction` never comes back, as librdkafka's may."""

    def __init__(self, producer):
        self.producer, self.asked = producer, 0

    def __getattr__(self, name):
        return getattr(self.producer, name)

    def __len__(self):
        return len(self.producer)

    def send_offsets_to_transaction(self, *arguments):
        self.asked += 1
        if self.asked == 2:
            threading.Event().wait()
        self.producer.send_offsets_to_transaction(*arguments)


def test_a_producer_that_librdkafka_does_not_let_go_is_left_behind(broker, topic, tmp_path, monkeypatch, caplog):
    place = Place(broker.bootstrap, "confluent-kafka", tmp_path)
    entry, out = topic(), topic()
    fill(broker, entry, 500)
    make, made = confluent.Confluent.producer, []

    def producer(*arguments):
        made.append(make(*arguments))
        if len(made) == 1:
            made[0]._producer = Stuck(made[0]._producer)
        return made[-1]

    monkeypatch.setattr(confluent.Confluent, "producer", producer)
    monkeypatch.setattr(confluent, "STUCK_SECONDS", 3.0)
    assert place.pipeline(place.source(entry), place.sink(out)).run().ended == "input"
    assert len(made) == 2
    assert numbers(broker, out) == list(range(500))
    assert "librdkafka does not come back" in caplog.text
    assert "Going on from the last checkpoint" in caplog.text


def test_offsets_that_the_transaction_of_another_holds_are_named(broker, topic, place, monkeypatch):
    monkeypatch.setattr(confluent, "SECONDS", 3.0)
    monkeypatch.setattr(kafka_python, "ANSWER_MS", 3000)
    out = topic()
    other = place.cluster.producer(f"other-{out}")
    try:
        other.begin()
        other.send(out, [b"x"])
        other.offsets(f"streamem.{out}-0", {(out, 0): 1})
        with pytest.raises(ConnectError, match=r"wanted offsets that no transaction holds\. .*find-hanging") as caught:
            begin(place.cluster, out, 0, out)
        assert caught.value.retry
        other.abort()
    finally:
        other.close()


@pytest.mark.parametrize("number", [KafkaError.FENCED_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_what_kafka_says_may_succeed_later_is_tried_again(number):
    assert confluent._Told("here").failure(KafkaError(number)).retry


def test_a_message_larger_than_the_topic_takes(broker, topic, place):
    entry, out = topic(), topic(max_message_bytes=6000)
    fill(broker, entry, 300)
    sink = place.sink(out, format="arrow")
    begin = time.monotonic()
    with pytest.raises(ConnectError) as caught:
        place.pipeline(place.source(entry), sink).run()
    assert time.monotonic() - begin < 15
    assert "wanted a message no larger than the topic takes. To do: raise max.message.bytes" in str(caught.value)
    assert read(broker.bootstrap, out) == []
    place.options = {"batch.size": 3000}  # librdkafka splits no batch that is too large
    place.pipeline(place.source(entry), place.sink(out, format="arrow", rows_per_message=5)).run()
    assert len(read(broker.bootstrap, out)) == 60


def test_a_message_that_is_refused_while_offsets_are_sent_is_the_cause(broker, topic, place):
    """The coordinator of the group is new to the second transaction's producer: its answer comes after the refusal."""
    entry, out = topic(), topic(max_message_bytes=6000)
    fill(broker, entry, 10)
    producer = place.cluster.producer(f"streamem-{place.name}")

    def end():
        producer.offsets(place.name, {(entry, 0): 5})
        producer.commit()

    for _ in range(3):
        producer.begin()
        producer.send(out, [b"x" * 20_000], partition=0)
        with pytest.raises(ConnectError, match="wanted a message no larger than the topic takes"):
            end()
        producer.abort()
    producer.close()


def test_a_later_producer_is_told_by_every_call(broker, topic, place):
    out = topic()
    older = place.cluster.producer(f"streamem-{place.name}")
    older.begin()
    place.cluster.producer(f"streamem-{place.name}").close()
    older.send(out, [b"1"], partition=0)
    with pytest.raises(FencedError):
        older.commit()
    calls = [
        lambda: older.send(out, [b"2"], partition=0),
        lambda: older.send(out, [b"2"], headers=[[("n", b"1")]], partition=0),
        lambda: older.offsets("g", {(out, 0): 1}),
        older.commit,
    ]
    for call in calls:
        with pytest.raises(FencedError, match="another one, which has taken over"):
            call()
    older.close()


def test_offsets_that_retention_has_deleted_are_a_choice(broker, topic, place):
    entry, out = topic(), topic()
    fill(broker, entry, 1000)
    pipeline = place.pipeline(place.source(entry), place.sink(out))
    pipeline.run(limit=200)
    admin = AdminClient(quiet(broker.bootstrap))
    place_of = TopicPartition(entry, 0, 600)
    admin.delete_records([place_of])[place_of].result(30)
    with pytest.raises(ConnectError) as caught:
        pipeline.run()
    assert str(caught.value) == (
        f"topic {entry}, partition 0: found offsets 600 to 1000: older ones are deleted; wanted offset 200. "
        "To do: begin elsewhere with --from earliest, latest or a time: what was learned is kept."
    )
    done = pipeline.run(begin="earliest")
    assert (done.progress.records, done.progress.total_records) == (400, 600)
    assert numbers(broker, out) == [*range(200), *range(600, 1000)]


def test_offsets_that_are_deleted_while_reading_are_not_skipped(broker, topic, place):
    entry = topic()
    fill(broker, entry, 200)
    admin = AdminClient(quiet(broker.bootstrap))
    place_of = TopicPartition(entry, 0, 150)
    admin.delete_records([place_of])[place_of].result(30)
    consumer = place.cluster.consumer("any")
    try:
        consumer.assign({(entry, 0): 10})
        with pytest.raises(ConnectError, match="wanted offsets that the topic still has") as caught:
            consumer.poll(10.0)
    finally:
        consumer.close()
    assert "To do: start with --from earliest, latest or a time: what lies between is gone" in str(caught.value)
    assert not caught.value.retry


BAD = [
    None,
    b"",
    b"\xff\xfe\x00",
    b"no record",
    b"[1, 2]",
    b'"text"',
    b'{"n": 1, "device": "d", "x": ',
    b'{"n": 1, "device": "d", "x": "oops"}',
    b'{"n": 1, "device": "d", "x": 1e999}',
    b'{"n": 1, "device": "d\xff", "x": 1.0}',
]


def test_a_thousand_broken_messages_of_ten_kinds_are_letters_with_all_they_had(broker, topic, place):
    entry, out, dead = topic(), topic(), topic()
    count = 100_000
    messages = []
    for n in range(count):
        if n % 100 == 50:
            key, headers = b"k\xff%d" % n, [("h", b"\x00%d" % n), ("h", None)]
            messages.append({"value": BAD[n // 100 % 10], "key": key, "headers": headers})
        else:
            messages.append({"value": b'{"n": %d, "device": "d%d", "x": %r}' % (n, n % 5, n % 3 * 4.0 + n % 7 * 0.1)})
    produce(broker.bootstrap, entry, messages)
    errors = Errors(policy="dead_letter", sink=place.sink(dead))
    outputs = [Output(what="posteriors", include=["n"], sink=place.sink(out))]
    settings = {"errors": errors, "outputs": outputs, "cuts": Cuts(1000), "checkpoint": place.state(every=10)}
    done = place.pipeline(place.source(entry), None, **settings).run()
    assert done.progress.records == count
    assert numbers(broker, out) == [n for n in range(count) if n % 100 != 50]
    letters = read(broker.bootstrap, dead)
    assert len(letters) == 1000
    reasons = Counter()
    for n, letter in zip(range(50, count, 100), letters, strict=True):
        assert (letter.value, letter.key) == (messages[n]["value"], messages[n]["key"])
        # kafka-python writes no header without a value: it becomes an empty one
        assert [(name, value or None) for name, value in letter.headers[:2]] == messages[n]["headers"]
        told = {name.removeprefix("__streamem.errors."): value.decode() for name, value in letter.headers[2:]}
        assert (told["topic"], told["partition"], told["offset"]) == (entry, "0", str(n))
        assert told["exception"] == "DataError"
        reasons[n // 100 % 10, told["operator"], told["message"].partition(";")[0]] += 1
    assert len({kind for kind, _, _ in reasons}) == 10
    assert all("found " in message for _, _, message in reasons)

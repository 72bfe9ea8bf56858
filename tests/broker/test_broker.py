"""The broker of the tests is what it says: records stay, transactions hold, users and rights are asked for."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import confluent_kafka
import psutil
import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from tests.broker import fixture, jars
from tests.broker.reading import committed, has_kcat, produce, read, read_by_kcat
from tests.broker.server import USERS, Broker, BrokerError, token
from tests.broker.shared import shared
from tests.broker.topics import allow, create

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python calls importlib.resources.read_text
    import kafka
    from kafka.errors import TopicAuthorizationFailedError
    from kafka.net.sasl.oauth import AbstractTokenProvider

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A broker that a test may kill, with users and rights."""
    with Broker(tmp_path_factory.mktemp("own"), secure=True, authorizer=True) as broker:
        yield broker


def python_settings(broker, user="alice", mechanism="SCRAM-SHA-256"):
    return {
        "bootstrap_servers": broker.secure_bootstrap,
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(broker.ca),
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": USERS[user],
    }


def confluent_settings(broker, user="alice", mechanism="SCRAM-SHA-256"):
    return {
        "bootstrap.servers": broker.secure_bootstrap,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(broker.ca),
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": USERS[user],
        "log_level": 0,
    }


def test_records_are_read_as_they_were_written(broker, topic):
    name = topic(partitions=2)
    first = {"value": b"a\nb", "key": b"k", "headers": [("h", b"1"), ("h", None)], "partition": 1, "timestamp": 7}
    produce(broker.bootstrap, name, [first, {"value": None, "partition": 0}, {"value": b"", "partition": 1}])
    found = read(broker.bootstrap, name)
    assert [tuple(one[:5]) for one in found] == [
        (0, 0, None, None, ()),
        (1, 0, b"k", b"a\nb", (("h", b"1"), ("h", None))),
        (1, 1, None, b"", ()),
    ]
    assert found[1].timestamp == 7


@pytest.mark.skipif(not has_kcat(), reason="kcat is not installed")
def test_kcat_reads_the_same(broker, topic):
    name = topic(partitions=2)
    produce(broker.bootstrap, name, [b"a\n", {"key": b"k"}, *(b"%d" % n for n in range(1000))])
    found = read(broker.bootstrap, name)
    assert len(found) == 1002
    assert read_by_kcat(broker.bootstrap, name) == found


def test_a_topic_has_its_settings(broker, topic):
    name = topic(max_message_bytes=1000)
    with pytest.raises(confluent_kafka.KafkaException, match="MSG_SIZE_TOO_LARGE"):
        produce(broker.bootstrap, name, [b"x" * 2000])
    assert read(broker.bootstrap, name) == []


def test_a_transaction_is_all_or_nothing(broker, topic):
    name, group = topic(), "group-of-" + topic()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": broker.bootstrap, "transactional.id": name, "log_level": 0}
    )
    member = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    producer.init_transactions(30)

    def begin(value, offset):
        producer.begin_transaction()
        producer.produce(name, value)
        place = confluent_kafka.TopicPartition(name, 0, offset)
        producer.send_offsets_to_transaction([place], member.consumer_group_metadata(), 30)
        producer.flush(30)

    begin(b"committed", 1)
    producer.commit_transaction(30)
    assert [one.value for one in read(broker.bootstrap, name)] == [b"committed"]
    assert committed(broker.bootstrap, group) == {(name, 0): 1}
    begin(b"aborted", 2)
    assert [one.value for one in read(broker.bootstrap, name, pending=True)] == [b"committed"]
    producer.abort_transaction(30)
    begin(b"committed, too", 3)
    producer.commit_transaction(30)
    assert [(one.offset, one.value) for one in read(broker.bootstrap, name)] == [
        (0, b"committed"),
        (4, b"committed, too"),
    ]
    assert committed(broker.bootstrap, group) == {(name, 0): 3}
    member.close()


def test_an_open_transaction_is_waited_for_and_then_told(broker, topic, monkeypatch):
    name = topic()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": broker.bootstrap, "transactional.id": name, "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(name, b"open")
    producer.flush(30)
    monkeypatch.setattr("tests.broker.reading.TIMEOUT_SECONDS", 0.5)
    with pytest.raises(TimeoutError, match="open transaction"):
        read(broker.bootstrap, name)
    producer.abort_transaction(30)


def test_a_kill_loses_nothing(own):
    name = create(own.bootstrap, 2)
    produce(own.bootstrap, name, [b"%d" % n for n in range(1000)])
    before = read(own.bootstrap, name)
    killed = own.process.pid
    own.kill()
    assert not psutil.pid_exists(killed)
    own.start()
    assert own.process.pid != killed
    assert len(before) == 1000
    assert read(own.bootstrap, name) == before


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_both_clients_come_in_with_a_password(own, mechanism):
    name = create(own.bootstrap)
    with kafka.KafkaProducer(**python_settings(own, mechanism=mechanism)) as producer:
        producer.send(name, b"python").get(30)
    producer = confluent_kafka.Producer(confluent_settings(own, mechanism=mechanism))
    producer.produce(name, b"confluent")
    assert producer.flush(30) == 0
    assert [one.value for one in read(own.bootstrap, name)] == [b"python", b"confluent"]


def test_both_clients_come_in_with_a_token(own):
    class Tokens(AbstractTokenProvider):
        def token(self):
            return token("alice")

    name = create(own.bootstrap)
    settings = python_settings(own, mechanism="OAUTHBEARER") | {"sasl_oauth_token_provider": Tokens()}
    with kafka.KafkaProducer(**settings) as producer:
        producer.send(name, b"python").get(30)
    # librdkafka refuses a name and a password beside a token
    settings = {
        key: one for key, one in confluent_settings(own).items() if key not in ("sasl.username", "sasl.password")
    }
    settings |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": lambda _: (token("alice"), time.time() + 3600)}
    producer = confluent_kafka.Producer(settings)
    producer.produce(name, b"confluent")
    assert producer.flush(30) == 0
    assert [one.value for one in read(own.bootstrap, name)] == [b"python", b"confluent"]


def test_a_wrong_password_or_certificate_does_not(own):
    wrong_password = {"sasl.password": "wrong"}, "SASL authentication error"
    wrong_certificate = {"ssl.ca.location": str(own.other_ca)}, "certificate verify failed"
    wrong_name = (
        {"bootstrap.servers": own.secure_bootstrap.replace("127.0.0.1", "localhost")},
        "certificate verify failed",
    )
    for settings, message in (wrong_password, wrong_certificate, wrong_name):
        told = []
        client = confluent_kafka.Producer(confluent_settings(own) | settings | {"error_cb": told.append})
        with pytest.raises(confluent_kafka.KafkaException):
            client.list_topics(timeout=1)
        client.poll(1)
        assert message in " ".join(map(str, told))


def test_a_user_has_the_rights_given(own):
    name = create(own.bootstrap)
    forbidden = pytest.raises(TopicAuthorizationFailedError)
    with kafka.KafkaProducer(**python_settings(own, "bob")) as producer, forbidden:
        producer.send(name, b"forbidden").get(30)
    allow(own.bootstrap, "bob", AclOperation.WRITE, ResourceType.TOPIC, name)
    with kafka.KafkaProducer(**python_settings(own, "bob")) as producer:
        producer.send(name, b"allowed").get(30)
    assert [one.value for one in read(own.bootstrap, name)] == [b"allowed"]


def test_a_broker_that_cannot_start_says_why(tmp_path):
    broker = Broker(tmp_path, properties={"num.io.threads": "many"})
    with pytest.raises(BrokerError, match="Invalid value many"):
        broker.start()
    assert broker.process is None


def test_a_broker_dies_with_its_process(tmp_path):
    child = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tests.broker.server import Broker\n"
        "broker = Broker(Path(sys.argv[1]))\nbroker.start()\nprint(broker.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", child, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    wait_for_end(int(done.stdout))


def test_a_broker_is_shared_until_the_last_has_gone(tmp_path):
    user = (
        "import sys\nfrom pathlib import Path\nfrom tests.broker.shared import shared\n"
        "with shared(Path(sys.argv[1])) as bootstrap:\n    print(bootstrap, flush=True)\n    input()"
    )
    command = [sys.executable, "-c", user, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as first, subprocess.Popen(command, cwd=ROOT, **pipes) as second:
        address = first.stdout.readline().strip()
        assert second.stdout.readline().strip() == address
        first.kill()  # whichever of them had it started
        first.wait()
        name = create(address)
        produce(address, name, [b"still there"])
        assert len(read(address, name)) == 1
        named = ["tests.broker.shared", str(tmp_path)]
        (keeper,) = [one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [])[2:] == named]
        (broker,) = keeper.children()
        second.communicate("\n")
    wait_for_end(broker.pid)
    wait_for_end(keeper.pid)
    assert not (tmp_path / "address").exists()


def test_what_keeps_a_shared_broker_from_starting_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(jars.AbsentError, match=r"^java, which runs Kafka, is not on the PATH\."),
        shared(tmp_path / "it"),
    ):
        pass


def wait_for_end(process):
    until = time.monotonic() + 30
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, f"process {process} lives on"
        time.sleep(0.05)


@pytest.mark.parametrize("address", ["192.0.2.1:9092", "[2001:db8::1]:9092", "0.0.0.0:9092"])
def test_a_broker_elsewhere_is_refused_before_anything_connects(address, monkeypatch):
    monkeypatch.setattr(fixture, "AdminClient", lambda _: pytest.fail("a client was made"))
    with pytest.raises(ValueError, match="a loopback address only"):
        fixture.named_broker(address)


def test_a_name_is_refused_for_any_one_of_its_addresses(monkeypatch):
    here, there = ("127.0.0.1", 9092), ("192.0.2.1", 9092)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(None, None, None, "", one) for one in (here, there)])
    with pytest.raises(ValueError, match=r"STREAMEM_TEST_KAFKA='kafka:9092' is 192\.0\.2\.1"):
        fixture.named_broker("kafka:9092")


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":9092", ""])
def test_an_address_has_a_host_and_a_port(address):
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        fixture.named_broker(address)


def test_a_broker_that_sends_clients_elsewhere_is_refused(monkeypatch):
    cluster = SimpleNamespace(brokers={1: SimpleNamespace(host="192.0.2.1", port=9092)})
    monkeypatch.setattr(fixture, "AdminClient", lambda _: SimpleNamespace(list_topics=lambda timeout: cluster))
    with pytest.raises(ValueError, match=r"192\.0\.2\.1"):
        fixture.named_broker("127.0.0.1:9092")


def test_a_named_broker_on_this_machine_is_taken(broker):
    port = broker.bootstrap.rpartition(":")[2]
    assert fixture.named_broker(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_broker_tests_are_skipped_but_not_in_ci(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no Kafka: mvn is not there"):
        fixture.without(jars.AbsentError("mvn is not there"))


def test_jars_are_fetched_once_by_however_many(tmp_path):
    """A Maven that notes its calls, takes its time and leaves one jar."""
    maven = tmp_path / "mvn"
    maven.write_text(
        '#!/bin/sh\necho >> "$0.calls"\nfolder=$(printf %s "$*" | sed "s/.*-DoutputDirectory=//")\n'
        'mkdir "$folder"\nsleep 0.3\ntouch "$folder/kafka.jar"\n'
    )
    maven.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from tests.broker.jars import jars\nprint(*jars())"]
    asking = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate()[0].strip() for process in asking}
    assert told == {str(tmp_path / "cache" / "streamem-tests" / f"kafka-{jars.KAFKA}" / "kafka.jar")}
    assert (tmp_path / "mvn.calls").read_text() == "\n"


def test_a_maven_that_is_absent_or_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(jars.AbsentError, match=r"^mvn, which fetches the jars of Kafka, is not on the PATH\."):
        jars.jars()
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho no network\nexit 1\n")
    maven.chmod(0o755)
    with pytest.raises(jars.AbsentError, match=r"exit code 1\):\nno network"):
        jars.jars()
    assert not jars.cache().exists()

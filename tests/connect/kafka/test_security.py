"""TLS, logins and rights: what the right ones need, and what is said of wrong ones; secrets nowhere."""

import os
import subprocess
import sys
import time

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from streamem.errors import StreamemError
from tests.broker.fixture import without
from tests.broker.jars import AbsentError
from tests.broker.server import USERS, Broker
from tests.broker.topics import allow, create
from tests.connect.kafka.running import Place, fill, numbers

SECONDS = 15
"""After so long the cause is told, at most."""


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A broker with TLS, users and rights."""
    try:
        with Broker(tmp_path_factory.mktemp("secure"), secure=True, authorizer=True) as broker:
            yield broker
    except AbsentError as missing:
        without(missing)


@pytest.fixture(scope="module")
def entry(secure):
    """A topic with 300 records."""
    name = create(secure.bootstrap)
    fill(secure, name, 300)
    return name


def login(broker, user="alice", **changes):
    """Return options, spelled as Python can: with an underscore for a dot."""
    options = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": user,
        "sasl_password": USERS.get(user, "nobody-secret"),
        "ssl_ca_location": str(broker.ca),
    } | changes
    return {name.replace("_", "."): value for name, value in options.items()}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_the_right_password_lets_a_pipeline_in(secure, entry, client, tmp_path, mechanism):
    out = create(secure.bootstrap)
    place = Place(secure.secure_bootstrap, client, tmp_path, **login(secure, sasl_mechanism=mechanism))
    place.pipeline(place.source(entry), place.sink(out)).run()
    assert numbers(secure, out) == list(range(300))


def refused(place, entry, out):
    """Return what a pipeline says that is refused."""
    begin = time.monotonic()
    with pytest.raises(StreamemError) as caught:
        place.pipeline(place.source(entry), place.sink(out)).run()
    assert time.monotonic() - begin < SECONDS
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "cause", "wanted"),
    [
        (
            {"sasl_password": "nonsense"},
            "Authentication failed",
            "a login that the brokers accept. To do: look",
        ),
        ({"sasl_username": "carol"}, "Authentication failed", "a login that the brokers accept. To do: look"),
        ({"ssl_ca_location": "other"}, "certificate verify failed", "a certificate that the CA in options has signed"),
    ],
)
def test_what_the_brokers_refuse_is_named(secure, entry, client, tmp_path, changes, cause, wanted):
    changes = {name: str(secure.other_ca) if value == "other" else value for name, value in changes.items()}
    place = Place(secure.secure_bootstrap, client, tmp_path, **login(secure, **changes))
    said = refused(place, entry, entry)
    assert said.startswith(f"brokers {secure.secure_bootstrap}: found ")
    assert cause in said
    assert f"wanted {wanted}" in said
    assert "nonsense" not in said


def test_plain_text_to_a_port_with_tls_is_named(secure, entry, client, tmp_path):
    said = refused(Place(secure.secure_bootstrap, client, tmp_path), entry, entry)
    assert "wanted a port that speaks no TLS. To do: name one, or write security.protocol: SSL or SASL_SSL" in said


def test_tls_to_a_port_without_it_is_named(secure, entry, client, tmp_path):
    said = refused(Place(secure.bootstrap, client, tmp_path, **login(secure)), entry, entry)
    assert "wanted a port that speaks TLS. To do: name one in bootstrap_servers, or another security.protocol" in said


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        ("127.0.0.1:9", "brokers that listen there. To do: start them, or correct bootstrap_servers."),
        ("nowhere.invalid:9092", "the name of a host. To do: correct bootstrap_servers."),
    ],
)
def test_who_cannot_be_reached_is_named(client, tmp_path, server, wanted):
    said = refused(Place(server, client, tmp_path), "entry", "out")
    assert said.startswith(f"brokers {server}: found ")
    assert said.endswith(f"wanted {wanted}")


def test_whatever_right_is_missing_is_told(secure, entry, client, tmp_path):
    """Bob may do nothing, and each right alone is not enough."""
    out = create(secure.bootstrap)
    place = Place(secure.secure_bootstrap, client, tmp_path, **login(secure, "bob"))
    marks = f"streamem.{place.name}-0"
    rights = [
        (ResourceType.TOPIC, out, AclOperation.WRITE),
        (ResourceType.GROUP, marks, AclOperation.READ),
        (ResourceType.TRANSACTIONAL_ID, f"streamem-{place.name}-0", AclOperation.WRITE),
        (ResourceType.TOPIC, entry, AclOperation.READ),
        (ResourceType.TOPIC, out, AclOperation.READ),
        (ResourceType.GROUP, place.name, AclOperation.READ),
    ]
    for kind, name, operation in rights:
        said = refused(place, entry, out)
        assert "wanted the right to do so. To do: have it granted, or name another user in options." in said, name
        allow(secure.bootstrap, "bob", operation, kind, name)
        time.sleep(0.3)
    place.pipeline(place.source(entry), place.sink(out)).run()
    assert numbers(secure, out) == list(range(300))


PIPELINE = """
name: hidden
key: device
source: {{type: kafka, bootstrap_servers: "{server}", topics: [{entry}], group_id: hidden, stop: latest,
  client: {client}, options: &options {{security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-256,
  sasl.username: alice, sasl.password: "${{PASSWORD}}", ssl.ca.location: {ca}}}}}
batch: {{max_records: 100}}
operators: [{{type: learn, name: m, features: [x], model: {{type: mixture, components: 2}}, warmup_records: 50}}]
outputs:
  - {{what: posteriors, sink: {{type: kafka, bootstrap_servers: "{server}", topic: {out}, client: {client},
      options: *options}}}}
  - {{what: snapshots, sink: {{type: files, path: {folder}/snapshots.ndjson}}}}
checkpoint: {{path: {folder}/state}}
"""


@pytest.mark.parametrize("right", [True, False])
def test_a_secret_is_in_nothing_that_is_said_or_kept(secure, entry, client, tmp_path, right):
    secret = USERS["alice"] if right else "wrong-secret"
    file = tmp_path / "hidden.yaml"
    names = {"server": secure.secure_bootstrap, "entry": entry, "out": create(secure.bootstrap), "client": client}
    file.write_text(PIPELINE.format(**names, ca=secure.ca, folder=tmp_path))
    said = []
    for command in (["check"], ["run", "--debug"], ["topics"], ["lag"]) if right else (["check"], ["run", "--debug"]):
        environment = {**os.environ, "PASSWORD": secret}
        done = subprocess.run(
            [sys.executable, "-m", "streamem", *command, str(file)], env=environment, capture_output=True, timeout=60
        )
        assert (done.returncode == 0) == right, done.stderr
        said += [done.stdout, done.stderr]
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != file]
    assert kept or not right
    assert not [one for one in [*said, *kept] if secret.encode() in one]

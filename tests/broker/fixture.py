"""Fixtures for tests that need a broker; a conftest.py imports them."""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient

from tests.broker.jars import AbsentError
from tests.broker.reading import TIMEOUT_SECONDS, client
from tests.broker.shared import shared
from tests.broker.topics import create, delete

NAMED = "STREAMEM_TEST_KAFKA"


@dataclass(frozen=True)
class PlainBroker:
    """A broker without TLS or users, which tests share and must not end; a test that does has a Broker of its own."""

    bootstrap: str


def own_machine(address: str) -> str:
    """Return HOST:PORT with a number for the name.

    Raises
    ------
    ValueError
        It is, or may be, of another machine; nothing has been connected to.
    """
    parts = urlsplit(f"//{address}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{NAMED}={address!r} is not HOST:PORT.")
    found = {str(known[4][0]) for known in socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)}
    foreign = sorted(one for one in found if not ipaddress.ip_address(one).is_loopback)
    if foreign:
        raise ValueError(f"{NAMED}={address!r} is {foreign[0]}: tests write to a broker on a loopback address only.")
    host = sorted(found)[0]
    return f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"


def named_broker(address: str) -> str:
    """Return HOST:PORT of a broker that runs already, as it and those of its cluster are known to clients."""
    bootstrap = own_machine(address)
    for broker in AdminClient(client(bootstrap)).list_topics(timeout=TIMEOUT_SECONDS).brokers.values():
        own_machine(f"[{broker.host}]:{broker.port}" if ":" in broker.host else f"{broker.host}:{broker.port}")
    return bootstrap


def without(missing: AbsentError) -> None:
    """Skip a test that needs a broker, or let it fail where nothing may be left out."""
    if os.environ.get("CI"):
        pytest.fail(f"no Kafka: {missing}")
    pytest.skip(f"no Kafka: {missing}")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainBroker]:
    """The plain broker: the one named in the environment, or else one in Docker, or else one from Maven's jars."""
    if address := os.environ.get(NAMED):
        yield PlainBroker(named_broker(address))
        return
    base = tmp_path_factory.getbasetemp()
    # the workers of pytest-xdist have folders of their own in that of the run
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "broker"
    try:
        with shared(folder) as bootstrap:
            yield PlainBroker(bootstrap)
    except AbsentError as missing:
        without(missing)


@pytest.fixture
def topic(broker: PlainBroker) -> Iterator[Callable[..., str]]:
    """Make topics with names of their own, gone after the test: `topic(partitions=2, cleanup_policy="compact")`."""
    made: list[str] = []

    def make(partitions: int = 1, **config: object) -> str:
        made.append(create(broker.bootstrap, partitions, {key.replace("_", "."): one for key, one in config.items()}))
        return made[-1]

    yield make
    for name in made:
        delete(broker.bootstrap, name)

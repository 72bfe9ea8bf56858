"""Where brokers are and how they are reached: the settings that a source, a sink and a checkpoint share."""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from streamem.connect.kafka.causes import PLAIN
from streamem.connect.kafka.client import Admin, Client, Consumer, Producer
from streamem.connect.kafka.options import of_confluent, of_kafka_python
from streamem.errors import ConfigError, ConnectError, tell

if TYPE_CHECKING:
    from streamem.connect.kafka.transaction import KafkaTransaction

__all__ = ["ClientName", "Cluster"]

ClientName = Literal["auto", "kafka-python", "confluent-kafka"]


T = TypeVar("T")

LOOK_SECONDS = 2.0


def speaks_tls(server: str) -> bool:
    """Return whether who listens at ``host:port`` answers a greeting of TLS; certificates are not looked at."""
    host, _, port = server.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host.strip("[]"), int(port)), LOOK_SECONDS) as plain, context.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Cluster:
    """A Kafka cluster, and the client that speaks with it.

    Parameters
    ----------
    servers : sequence of str
        Some of the brokers, each ``host:port``.
    client : str
        ``auto`` takes confluent-kafka where it is installed, else kafka-python.
    options : mapping of str to value
        Dotted Kafka names, for TLS, logins and limits.
    """

    servers: Sequence[str]
    client: ClientName = "auto"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", (self.servers,) if isinstance(self.servers, str) else tuple(self.servers))

    @property
    def bootstrap(self) -> str:
        """The brokers as clients take them."""
        return ",".join(self.servers)

    @property
    def confluent(self) -> bool:
        """Whether the client is confluent-kafka."""
        return self.client == "confluent-kafka" or (self.client == "auto" and find_spec("confluent_kafka") is not None)

    def consumer(self, group: str | None) -> Consumer:
        """Return a consumer that has reached the brokers; raises ConnectError within 15 s where it cannot."""
        return self._reached(lambda: self._client().consumer(self.bootstrap, self._options("consumer"), group))

    def producer(self, transactional_id: str) -> Producer:
        """Return a producer that has fenced its predecessors; raises ConnectError within 30 s where it cannot."""
        return self._reached(
            lambda: self._client().producer(self.bootstrap, self._options("producer"), transactional_id)
        )

    def admin(self) -> Admin:
        """Return what makes topics."""
        return self._reached(lambda: self._client().admin(self.bootstrap, self._options("admin")))

    def _reached(self, make: Callable[[], T]) -> T:
        """Return what is made; where a port speaks TLS and the options do not, the error says so: no client does."""
        try:
            return make()
        except ConnectError as error:
            plain = "SSL" not in str(self.options.get("security.protocol", "PLAINTEXT")).split("_")
            if plain and error.retry:
                for server in self.servers:
                    if speaks_tls(server):
                        wanted, do, _ = PLAIN
                        message = tell(f"brokers {server}", found="a port that speaks TLS", wanted=wanted, do=do)
                        raise ConnectError(message) from error
            raise

    def begin(self, name: str, worker: int, place: str) -> "KafkaTransaction":
        """Return the transactions of a pipeline's worker; `place` is a topic that it writes to."""
        from streamem.connect.kafka.transaction import begin

        return begin(self, name, worker, place)

    def __str__(self) -> str:
        return self.bootstrap

    def _client(self) -> Client:
        module, name = ("confluent", "Confluent") if self.confluent else ("kafka_python", "KafkaPython")
        try:
            client: Client = getattr(import_module(f"streamem.connect.kafka.{module}"), name)()
        except ImportError as error:
            do = "pip install 'streamem[confluent]', or take client: kafka-python"
            found = f"confluent-kafka is not installed ({error})"
            raise ConfigError(tell("client", found=found, wanted="a client that is there", do=do)) from error
        return client

    def _options(self, kind: Literal["consumer", "producer", "admin"]) -> dict[str, Any]:
        return (of_confluent if self.confluent else of_kafka_python)(self.options, kind)

"""Where brokers are and how they are reached: the settings that a source, a sink and a checkpoint share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from streamem.connect.kafka.client import Admin, Client, Consumer, Producer
from streamem.connect.kafka.options import of_confluent, of_kafka_python
from streamem.errors import ConfigError, tell

if TYPE_CHECKING:
    from streamem.connect.kafka.transaction import KafkaTransaction

__all__ = ["ClientName", "Cluster"]

ClientName = Literal["auto", "kafka-python", "confluent-kafka"]


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
        return self._client().consumer(self.bootstrap, self._options("consumer"), group)

    def producer(self, transactional_id: str) -> Producer:
        """Return a producer that has fenced its predecessors; raises ConnectError within 30 s where it cannot."""
        return self._client().producer(self.bootstrap, self._options("producer"), transactional_id)

    def admin(self) -> Admin:
        """Return what makes topics."""
        return self._client().admin(self.bootstrap, self._options("admin"))

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

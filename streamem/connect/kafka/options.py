"""Dotted Kafka names, translated once to what each client takes.

librdkafka's names are those of the pipeline file, so for confluent-kafka nothing changes. For kafka-python a dot
becomes an underscore, and some names are others.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from streamem.errors import ConfigError, nearest, tell

__all__ = ["check_options", "of_confluent", "of_kafka_python"]

Kind = Literal["consumer", "producer", "admin"]

OWN = {
    "bootstrap.servers": "bootstrap_servers:",
    "group.id": "group_id:",
    "auto.offset.reset": "start:",
    "transactional.id": "the pipeline's name",
    "enable.auto.commit": "what exactly once needs",
    "enable.auto.offset.store": "what exactly once needs",
    "enable.idempotence": "what exactly once needs",
    "isolation.level": "what exactly once needs",
    "partition.assignment.strategy": "workers:",
}
"""Options that streamem sets itself, and by what."""

JAVA = {
    "sasl.jaas.config": "sasl.username and sasl.password",
    "ssl.truststore.location": "ssl.ca.location, a PEM file",
    "ssl.keystore.location": "ssl.certificate.location and ssl.key.location, PEM files",
}
"""Names of the Java client that no client here knows."""

OTHERWISE = {
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "ssl.crl.location": "ssl_crlfile",
    "ssl.cipher.suites": "ssl_ciphers",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "compression.codec": "compression_type",
    "message.max.bytes": "max_request_size",
    "fetch.wait.max.ms": "fetch_max_wait_ms",
    "fetch.message.max.bytes": "max_partition_fetch_bytes",
    "queue.buffering.max.ms": "linger_ms",
    "socket.timeout.ms": "request_timeout_ms",
}
"""librdkafka's names that are others in kafka-python."""

OAUTH = "sasl.oauthbearer."

ONLY = {
    "producer": ("compression.", "linger.ms", "batch.", "message.max.bytes", "max.request.size", "delivery.timeout.ms",
                 "transaction.timeout.ms", "queue.buffering.", "acks"),
    "consumer": ("fetch.", "max.partition.fetch.bytes", "max.poll.", "check.crcs", "queued."),
}  # fmt: skip
"""Beginnings of options that only one kind of client takes; the others leave them out."""


def check_options(options: Mapping[str, Any], place: str) -> None:
    """Refuse options that streamem sets itself, and names that only Java knows, with a ConfigError."""
    for name, value in options.items():
        if name in OWN:
            raise ConfigError(
                tell(f"{place}.{name}", found="an option of streamem's own", wanted=OWN[name], do="take it out")
            )
        if name in JAVA:
            found = "a name of the Java client"
            raise ConfigError(tell(f"{place}.{name}", found=found, wanted=JAVA[name], do="name those"))
        if isinstance(value, Mapping | list):
            found = "a list" if isinstance(value, list) else "a mapping"
            do = "write dotted names: security.protocol: SASL_SSL"
            raise ConfigError(tell(f"{place}.{name}", found=found, wanted="a value", do=do))


def of_confluent(options: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return the options for librdkafka.

    Examples
    --------
    >>> of_confluent({"security.protocol": "SSL", "linger.ms": 5}, "consumer")
    {'security.protocol': 'SSL'}
    """
    renamed = {"max.request.size": "message.max.bytes", "request.timeout.ms": "socket.timeout.ms"}
    if kind == "producer":
        renamed.pop("request.timeout.ms")
    return {renamed.get(name, name): value for name, value in _of_kind(options, kind)}


def of_kafka_python(options: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return the options for kafka-python.

    Raises
    ------
    ConfigError
        It knows no such option.

    Examples
    --------
    >>> of_kafka_python({"security.protocol": "SSL", "ssl.ca.location": "ca.pem"}, "admin")
    {'security_protocol': 'SSL', 'ssl_cafile': 'ca.pem'}
    """
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    known = {"consumer": KafkaConsumer, "producer": KafkaProducer, "admin": KafkaAdminClient}[kind].DEFAULT_CONFIG
    translated: dict[str, Any] = {}
    for name, value in _of_kind(options, kind):
        if name == "ssl.endpoint.identification.algorithm":
            translated["ssl_check_hostname"] = value not in ("none", "")
        elif name == "enable.ssl.certificate.verification":
            raise _unknown(name, "ssl.ca.location, a file with the CA")
        elif name.startswith(OAUTH):
            translated["sasl_oauth_token_provider"] = _tokens(options)
        else:
            own = OTHERWISE.get(name, name.replace(".", "_"))
            if own not in known:
                raise _unknown(
                    name, f"an option of kafka-python{nearest(name, [one.replace('_', '.') for one in known])}"
                )
            if type(known[own]) in (int, float) and not isinstance(value, int | float):
                raise ConfigError(tell(f"options.{name}", found="no number", wanted="one", do="correct it"))
            translated[own] = value
    return translated


def _unknown(name: str, wanted: str) -> ConfigError:
    do = "correct the name, or take client: confluent-kafka, which knows more"
    return ConfigError(tell(f"options.{name}", found="no such option of kafka-python", wanted=wanted, do=do))


def _of_kind(options: Mapping[str, Any], kind: Kind) -> Iterable[tuple[str, Any]]:
    others = tuple(name for other, names in ONLY.items() if other != kind for name in names)
    return [(name, value) for name, value in options.items() if not name.startswith(others)]


def _tokens(options: Mapping[str, Any]) -> Any:
    from streamem.connect.kafka.tokens import ClientCredentials

    given = {name.removeprefix(OAUTH): str(value) for name, value in options.items() if name.startswith(OAUTH)}
    for name in ("token.endpoint.url", "client.id", "client.secret"):
        if name not in given:
            do = "name the URL, the id and the secret of client credentials"
            raise ConfigError(tell(f"options.{OAUTH}{name}", found="nothing", wanted="a value", do=do))
    return ClientCredentials(
        given["token.endpoint.url"], given["client.id"], given["client.secret"], given.get("scope")
    )

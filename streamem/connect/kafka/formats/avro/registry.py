"""A schema registry with Confluent's interface, asked once for each schema."""

from dataclasses import dataclass, field
from typing import Any

from streamem.connect.kafka.formats.avro.schema import AvroSchema, read_schema
from streamem.connect.kafka.formats.declared import RegistrySettings
from streamem.connect.kafka.formats.decoder import unfit
from streamem.errors import ConfigError, ConnectError, DataError, tell

__all__ = ["MARK", "Registry", "open_registry"]

MARK = 5
"""Bytes before a record that tell its schema: a zero, and a number of four bytes, the highest first."""

UNKNOWN = (40401, 40402, 40403)
"""What the registry answers about a subject, a version or a schema that it does not have."""

FAULTS, BUSY = 500, 429
"""Answers after which trying again can help."""


@dataclass
class Registry:
    """What was asked of a registry so far."""

    url: str
    client: Any
    known: dict[bytes, AvroSchema | str] = field(default_factory=dict)
    marks: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def written(self, mark: bytes) -> AvroSchema | str:
        """Return the schema of messages that begin with a mark, or why there is none.

        Raises
        ------
        ConnectError
            The registry does not answer, or refuses to.
        """
        if len(mark) < MARK or mark[0]:
            return unfit(f"a message that begins with {mark.hex(' ')}", "00 and the number of a schema")
        if mark not in self.known:
            self.known[mark] = self.ask(int.from_bytes(mark[1:], "big"))
        return self.known[mark]

    def ask(self, number: int) -> AvroSchema | str:
        """Ask for one schema."""
        try:
            schema = self.client.get_schema(number)
            others = self.referred(schema) if schema.schema_type == "AVRO" else ()
        except Exception as error:
            if getattr(error, "error_code", None) in UNKNOWN:
                return unfit(f"schema {number}, which {self.url} does not know", "a schema of this registry")
            raise self.failed(error, "a schema from the registry") from error
        if schema.schema_type != "AVRO":
            return unfit(f"schema {number} of type {schema.schema_type}", "AVRO", "write Avro")
        try:
            return read_schema(schema.schema_str, f"schema {number} of {self.url}", others)
        except DataError as error:
            return str(error)

    def referred(self, schema: Any) -> list[str]:
        """Return the schemas whose types a schema refers to, and those that they refer to."""
        texts = []
        for reference in schema.references or ():
            other = self.client.get_version(reference.subject, reference.version).schema
            texts += [*self.referred(other), other.schema_str]
        return list(dict.fromkeys(texts))

    def register(self, subject: str, text: str) -> bytes:
        """Let the registry know a schema; return the mark of messages that are written with it.

        Raises
        ------
        ConnectError
            The registry does not answer, or refuses the schema: it fits no earlier one of this subject.
        """
        from confluent_kafka.schema_registry import Schema

        if (subject, text) not in self.marks:
            try:
                number = self.client.register_schema(subject, Schema(text, "AVRO"))
            except Exception as error:
                raise self.failed(error, f"room for a schema of {subject}") from error
            self.marks[subject, text] = b"\x00" + number.to_bytes(4, "big")
        return self.marks[subject, text]

    def failed(self, error: Exception, wanted: str) -> ConnectError:
        """Return the error for a registry that does not do what it is asked for."""
        status = getattr(error, "http_status_code", None)
        retry = status is None or status >= FAULTS or status == BUSY
        found, do = str(error) or type(error).__name__, "look whether it runs, and at schema_registry:"
        return ConnectError(tell(self.url, found=found, wanted=wanted, do=do), retry=retry)


def open_registry(settings: RegistrySettings, place: str = "source") -> Registry:
    """Return a registry, which is not asked yet.

    Raises
    ------
    ConfigError
        Its client is not installed, or does not take the settings.
    """
    setting = f"{place}.schema_registry"
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        do = "run pip install 'streamem[registry]', or do without a registry"
        raise ConfigError(tell(setting, found=f"no client: {error}", wanted="its client", do=do)) from error
    try:
        client = SchemaRegistryClient({"url": settings.url, **settings.options})
    except (ValueError, TypeError, OSError) as error:
        wanted, do = "settings of the registry's client", "correct the setting"
        raise ConfigError(tell(setting, found=str(error), wanted=wanted, do=do)) from error
    return Registry(settings.url, client)

"""A schema registry with Confluent's interface, asked once for each schema."""

from dataclasses import dataclass, field
from typing import Any

from streamem.connect.kafka.formats.avro.schema import Program, compile_schema
from streamem.connect.kafka.formats.declared import RegistrySettings
from streamem.connect.kafka.formats.decoder import unfit
from streamem.errors import ConfigError, ConnectError, DataError, tell

__all__ = ["Registry", "open_registry"]

UNKNOWN = (40401, 40402, 40403)
"""What the registry answers about a subject, a version or a schema that it does not have."""

FAULTS, BUSY = 500, 429
"""Answers after which trying again can help."""


@dataclass
class Registry:
    """What was asked of a registry so far."""

    url: str
    client: Any
    known: dict[int, Program | str] = field(default_factory=dict)

    def program(self, number: int) -> Program | str:
        """Return what reads messages of a schema, or why nothing does.

        Raises
        ------
        ConnectError
            The registry does not answer, or refuses to.
        """
        if number not in self.known:
            self.known[number] = self.ask(number)
        return self.known[number]

    def ask(self, number: int) -> Program | str:
        """Ask for one schema."""
        try:
            schema = self.client.get_schema(number)
            others = self.referred(schema) if schema.schema_type == "AVRO" else ()
        except Exception as error:
            if getattr(error, "error_code", None) in UNKNOWN:
                return unfit(f"schema {number}, which {self.url} does not know", "a schema of this registry")
            raise self.failed(error) from error
        if schema.schema_type != "AVRO":
            return unfit(f"schema {number} of type {schema.schema_type}", "AVRO", "write Avro")
        try:
            return compile_schema(schema.schema_str, f"schema {number} of {self.url}", others)
        except DataError as error:
            return str(error)

    def referred(self, schema: Any) -> list[str]:
        """Return the schemas whose types a schema refers to, and those that they refer to."""
        texts = []
        for reference in schema.references or ():
            other = self.client.get_version(reference.subject, reference.version).schema
            texts += [*self.referred(other), other.schema_str]
        return texts

    def failed(self, error: Exception) -> ConnectError:
        """Return the error for a registry that gave no schema."""
        status = getattr(error, "http_status_code", None)
        retry = status is None or status >= FAULTS or status == BUSY
        do = "look whether it runs, and at source.schema_registry"
        found = str(error) or type(error).__name__
        return ConnectError(tell(self.url, found=found, wanted="a schema from the registry", do=do), retry=retry)


def open_registry(settings: RegistrySettings) -> Registry:
    """Return a registry, which is not asked yet.

    Raises
    ------
    ConfigError
        Its client is not installed, or does not take the settings.
    """
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        do = 'run pip install "confluent-kafka[schemaregistry]", or name a file in source.avro_schema'
        found = f"no client: {error}"
        raise ConfigError(tell("source.schema_registry", found=found, wanted="its client", do=do)) from error
    try:
        client = SchemaRegistryClient({"url": settings.url, **settings.options})
    except (ValueError, TypeError, OSError) as error:
        do = "correct the setting"
        wanted = "settings of the registry's client"
        raise ConfigError(tell("source.schema_registry", found=str(error), wanted=wanted, do=do)) from error
    return Registry(settings.url, client)

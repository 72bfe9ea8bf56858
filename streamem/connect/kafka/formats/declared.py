"""How message values are written, as it is declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from streamem.errors import ConfigError, tell

__all__ = ["Format", "RegistrySettings", "Type"]

Type = Literal["string", "integer", "float", "boolean"]


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """Where the Avro schemas of messages are kept.

    Parameters
    ----------
    url : str
        Of a schema registry with Confluent's interface.
    options : mapping
        Further settings of its client, such as ``basic.auth.user.info`` or ``ssl.ca.location``.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    url: str
    options: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Format:
    """How message values are written.

    Parameters
    ----------
    format : str
        ``json`` (an object a message), ``csv`` (a record a message, without a header), ``avro`` (a datum a message),
        or ``arrow`` (an IPC stream or file a message, of many rows).
    schema : mapping of str to str
        Types of columns (string, integer, float, boolean). Of CSV all columns in order; of JSON those not named are
        inferred from the first messages.
    separator : str
        Between the fields of CSV, by default a comma.
    null_values : sequence of str
        What else is a missing value in CSV, such as NA.
    avro_schema : str
        Path of the schema (``.avsc``) that all messages of Avro were written with.
    schema_registry : RegistrySettings
        Where the schemas are of messages of Avro that begin with the number of theirs.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    format: Literal["json", "csv", "avro", "arrow"] = "json"
    schema: Mapping[str, Type] = field(default_factory=dict)
    separator: str | None = None
    null_values: Sequence[str] = ()
    avro_schema: str | None = None
    schema_registry: RegistrySettings | None = None

    def check_format(self) -> None:
        """Raise ConfigError for settings that do not fit each other."""
        kind = self.format
        homes = (self.avro_schema is not None) + (self.schema_registry is not None)
        problems = [
            (kind in ("avro", "arrow") and bool(self.schema), "schema", f"the format {kind}",
             "json or csv: Avro and Arrow have their own types", "take it out"),
            (kind != "csv" and self.separator is not None, "separator", f"the format {kind}", "csv", "take it out"),
            (kind != "csv" and bool(self.null_values), "null_values", f"the format {kind}", "csv", "take it out"),
            (kind != "avro" and self.avro_schema is not None, "avro_schema", f"the format {kind}", "avro",
             "take it out"),
            (kind != "avro" and self.schema_registry is not None, "schema_registry", f"the format {kind}", "avro",
             "take it out"),
            (kind == "csv" and not self.schema, "schema", "no columns", "all columns of the messages in order",
             "write for example schema: {id: string, speed: float}"),
            (kind == "avro" and homes != 1, "avro_schema", "both it and schema_registry" if homes else "nothing",
             "the path of a schema, or schema_registry: {url: ...}", "name one of them"),
            (len((self.separator or ",").encode()) != 1 or self.separator in ('"', "\n", "\r"),
             "separator", repr(self.separator), "one ASCII character, no quote", 'write for example ";"'),
        ]  # fmt: skip
        for wrong, setting, found, wanted, do in problems:
            if wrong:
                raise ConfigError(tell(f"source.{setting}", found=found, wanted=wanted, do=do))

"""Avro schemas and the columns of frames: what each becomes as the other.

A union of null and one type is that type, a union of numbers one number, a map a list of key and value.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from streamem.connect.kafka.formats.conform import columns, inner
from streamem.errors import ConfigError, DataError, tell

__all__ = ["AvroSchema", "avro_schema", "library", "read_schema", "wire"]

DEEPEST = 32
"""Records and lists within one another that are read."""

OURS = ("decimal", "time-millis", "time-micros")
"""Logical types that fastavro reads. Of others it gives the number, which polars takes for a time, nanoseconds too."""

HIDDEN, COLUMN = "streamem.logicalType", "streamem.name"

PRIMITIVES: dict[str, pl.DataType] = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "string": pl.String(),
}

LOGICAL: dict[tuple[str, str], pl.DataType] = {
    ("bytes", "decimal"): pl.Float64(),
    ("fixed", "decimal"): pl.Float64(),
    ("int", "date"): pl.Date(),
    ("int", "time-millis"): pl.Time(),
    ("long", "time-micros"): pl.Time(),
    ("long", "timestamp-millis"): pl.Datetime("ms", "UTC"),
    ("long", "timestamp-micros"): pl.Datetime("us", "UTC"),
    ("long", "timestamp-nanos"): pl.Datetime("ns", "UTC"),
    ("long", "local-timestamp-millis"): pl.Datetime("ms"),
    ("long", "local-timestamp-micros"): pl.Datetime("us"),
    ("long", "local-timestamp-nanos"): pl.Datetime("ns"),
}
"""Any other logical type is read as what it is made of."""


@dataclass(frozen=True)
class AvroSchema:
    """A schema as fastavro takes it, and the columns that its records become."""

    parsed: Any
    columns: pl.Schema


def library() -> Any:
    """Return fastavro.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        import fastavro
    except ImportError as error:
        do = "run pip install 'streamem[avro]', or take another format"
        found = f"the format avro, and no fastavro ({error})"
        raise ConfigError(tell("format", found=found, wanted="fastavro, which reads Avro", do=do)) from error
    return fastavro


def read_schema(text: str | bytes, place: str, others: Sequence[str] = ()) -> AvroSchema:
    """Return the schema of a record.

    Parameters
    ----------
    text : str or bytes
        The schema as JSON.
    place : str
        Where it is from, for errors.
    others : sequence of str, optional
        Schemas whose types this one refers to.

    Raises
    ------
    DataError
        It is no schema of a record, or of one that streamem does not read.

    Examples
    --------
    >>> text = '''{"type": "record", "name": "car", "fields": [
    ...     {"name": "id", "type": "string"}, {"name": "speed", "type": ["null", "float"]}]}'''
    >>> read_schema(text, "car.avsc").columns
    Schema([('id', String), ('speed', Float32)])
    """
    parse_schema = library().parse_schema
    numbers = itertools.count()

    def adapted(kind: dict[str, Any]) -> dict[str, Any]:
        if kind.get("logicalType", "decimal") not in OURS:
            kind[HIDDEN] = kind.pop("logicalType")
        if kind.get("type") == "map":  # the same bytes, and no dict whose keys would become columns
            fields = [{"name": "key", "type": "string"}, {"name": "value", "type": kind["values"]}]
            return {
                "type": "array",
                "items": {"type": "record", "name": f"streamem_map_{next(numbers)}", "fields": fields},
            }
        return kind

    named: dict[str, Any] = {}
    try:
        for other in others:
            parse_schema(json.loads(other, object_hook=adapted), named)
        parsed = parse_schema(json.loads(text, object_hook=adapted), named)
        kind = column(parsed, named, ())
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    except Exception as error:  # fastavro checks little, so that anything may fail
        raise DataError(f"{place}: {wrong(f'a schema with {error!r}', 'an Avro schema')}") from error
    if not isinstance(kind, pl.Struct) or not isinstance(parsed, dict):
        raise DataError(f"{place}: {wrong('a schema of something else', 'a record with fields at the top')}")
    return AvroSchema(parsed, columns(kind))


def wrong(found: str, wanted: str) -> DataError:
    """Return the error for a schema that cannot be used."""
    return DataError(f"found {found}; wanted {wanted}. To do: change the schema")


def column(kind: Any, named: Mapping[str, Any], within: tuple[str, ...]) -> pl.DataType:
    """Return the type of the column that a parsed type becomes; its fields get the names of their columns.

    A record within itself is refused here: fastavro would read it until its stack ends, and the process with it.
    """
    if len(within) > DEEPEST:
        raise wrong(f"{len(within)} types within one another", f"{DEEPEST} at most")
    if isinstance(kind, list):
        return union([column(branch, named, within) for branch in kind])
    if isinstance(kind, str):
        return PRIMITIVES[kind] if kind in PRIMITIVES else column(named[kind], named, within)
    base, name = kind["type"], kind.get("name", "")
    match base:
        case "record" | "error":
            if name in within:
                raise wrong(f"{name} within itself", "records that do not hold themselves")
            for one in kind["fields"]:  # the bytes know no names, so those that Avro forbids do no harm
                one["name"] = one.pop(COLUMN, one["name"])
            fields = {one["name"]: column(one["type"], named, (*within, name)) for one in kind["fields"]}
            if not 0 < len(fields) == len(kind["fields"]):
                raise wrong(f"a record {name} without fields, or with two of one name", "fields with names")
            return pl.Struct(fields)
        case "enum":
            return pl.String()
        case "array":
            items = column(kind["items"], named, (*within, "a list"))
            if is_nothing(items):
                raise wrong("a list of nothing", "elements that take bytes, so that each list has an end")
            return pl.List(items)
        case "fixed" if kind["size"] < 1:
            raise wrong(f"{name} of {kind['size']} bytes", "one at least")
    return LOGICAL.get((base, kind.get("logicalType", kind.get(HIDDEN))), PRIMITIVES.get(base, pl.Binary()))


def union(branches: Sequence[pl.DataType]) -> pl.DataType:
    """Return the type of the column for a union.

    Examples
    --------
    >>> union([pl.Null(), pl.String()]), union([pl.Int32(), pl.Int64()]), union([pl.Int32(), pl.Null(), pl.Float32()])
    (String, Int64, Float64)
    """
    kinds = [kind for kind in branches if kind != pl.Null()]
    if len(kinds) < 2:
        return kinds[0] if kinds else pl.Null()
    if not all(kind.is_numeric() for kind in kinds):
        raise wrong(f"a union of {', '.join(map(str, kinds))}", "one type, or null and one type, or numbers")
    return pl.Int64() if all(kind.is_integer() for kind in kinds) else pl.Float64()


def is_nothing(kind: pl.DataType) -> bool:
    """Return whether values of a type may take no bytes."""
    return kind == pl.Null() or (isinstance(kind, pl.Struct) and all(map(is_nothing, columns(kind).values())))


def wire(kind: pl.DataType) -> pl.DataType:
    """Return the type of column whose values fastavro takes and gives for another: whole numbers for times of days.

    Examples
    --------
    >>> wire(pl.List(pl.Date())), wire(pl.Int32()), wire(pl.Categorical()), wire(pl.Time())
    (List(Int64), Int64, String, Time)
    """
    if isinstance(kind, (pl.List, pl.Array)):
        return pl.List(wire(inner(kind)))
    if isinstance(kind, pl.Struct):
        return pl.Struct({name: wire(field) for name, field in columns(kind).items()})
    if isinstance(kind, (pl.Categorical, pl.Enum, pl.Null)):
        return pl.String()
    if kind.is_integer() or isinstance(kind, (pl.Date, pl.Datetime)):
        return pl.Int64()
    return pl.Float64() if kind.is_decimal() else kind


WRITTEN: dict[type[pl.DataType], Any] = {
    pl.Boolean: "boolean",
    **dict.fromkeys((pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16), "int"),
    **dict.fromkeys((pl.Int64, pl.UInt32), "long"),
    pl.Float32: "float",
    **dict.fromkeys((pl.Float64, pl.Decimal), "double"),
    **dict.fromkeys((pl.String, pl.Categorical, pl.Enum, pl.Null), "string"),
    pl.Binary: "bytes",
    pl.Date: {"type": "int", "logicalType": "date"},
    pl.Time: {"type": "long", "logicalType": "time-micros"},
}

UNITS = {"ms": "millis", "us": "micros", "ns": "nanos"}


def avro_schema(schema: pl.Schema, name: str = "streamem.record") -> str:
    """Return the Avro schema of the messages of a frame with these columns: every field may be null.

    Avro allows letters, digits and the underscore in names; others become underscores, and the field's property
    ``streamem.name`` keeps the name.

    Raises
    ------
    ConfigError
        A column of a type that Avro does not have.

    Examples
    --------
    >>> text = avro_schema(pl.Schema({"id": pl.String(), "regime.state": pl.UInt32()}))
    >>> json.loads(text)["fields"][1]
    {'name': 'regime_state', 'type': ['null', 'long'], 'default': None, 'streamem.name': 'regime.state'}
    """
    return json.dumps(record(schema, name))


def record(schema: pl.Schema, full: str) -> dict[str, Any]:
    """Return the type of a record; those within it have its name for a namespace."""
    space, _, name = full.rpartition(".")
    fields: dict[str, dict[str, Any]] = {}
    for title, kind in schema.items():
        spelled = re.sub("[^A-Za-z0-9_]", "_", title)
        spelled = spelled if re.match("[A-Za-z_]", spelled) else f"_{spelled}"
        while spelled in fields:
            spelled += "_"
        one = {"name": spelled, "type": optional(kind, f"{full}.{spelled}", title), "default": None}
        fields[spelled] = one | ({COLUMN: title} if spelled != title else {})
    return {"type": "record", "name": name, "namespace": space, "fields": list(fields.values())}


def optional(kind: pl.DataType, full: str, title: str) -> Any:
    """Return the union of null and the type of a column."""
    if isinstance(kind, (pl.List, pl.Array)):
        return ["null", {"type": "array", "items": optional(inner(kind), full, title)}]
    if isinstance(kind, pl.Struct) and columns(kind):
        return ["null", record(columns(kind), full)]
    if isinstance(kind, pl.Datetime):
        prefix = "timestamp" if kind.time_zone else "local-timestamp"
        return ["null", {"type": "long", "logicalType": f"{prefix}-{UNITS[kind.time_unit]}"}]
    if type(kind) not in WRITTEN:
        do = "leave the column out with include:, or write json or arrow"
        raise ConfigError(tell(f"column {title}", found=str(kind), wanted="a type that Avro has", do=do))
    return ["null", WRITTEN[type(kind)]]

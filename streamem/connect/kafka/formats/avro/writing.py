"""Frames as messages of Avro, and the schema that their readers need."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamem.connect.kafka.formats.avro import write_kernel as kernel
from streamem.connect.kafka.formats.avro.schema import DEEPEST, compile_schema
from streamem.connect.kafka.formats.avro.types import Node
from streamem.connect.kafka.formats.conform import columns, inner
from streamem.errors import ConfigError, tell

__all__ = ["avro_schema", "encode_avro"]

TYPES: dict[type[pl.DataType], Any] = {
    pl.Boolean: "boolean",
    pl.Int8: "int",
    pl.Int16: "int",
    pl.Int32: "int",
    pl.UInt8: "int",
    pl.UInt16: "int",
    pl.Int64: "long",
    pl.UInt32: "long",
    pl.Float32: "float",
    pl.Float64: "double",
    pl.Decimal: "double",
    pl.String: "string",
    pl.Categorical: "string",
    pl.Enum: "string",
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
    fields: list[dict[str, Any]] = []
    used: set[str] = set()
    for column, kind in schema.items():
        spelled = re.sub("[^A-Za-z0-9_]", "_", column)
        spelled = spelled if re.match("[A-Za-z_]", spelled) else f"_{spelled}"
        while spelled in used:
            spelled += "_"
        used.add(spelled)
        one: dict[str, Any] = {"name": spelled, "type": optional(kind, f"{full}.{spelled}", column), "default": None}
        fields.append(one | ({"streamem.name": column} if spelled != column else {}))
    return {"type": "record", "name": name, "namespace": space, "fields": fields}


def optional(kind: pl.DataType, full: str, column: str) -> Any:
    """Return the union of null and the type of a column."""
    if isinstance(kind, pl.Null):
        return "null"
    if isinstance(kind, (pl.List, pl.Array)):
        return ["null", {"type": "array", "items": optional(inner(kind), full, column)}]
    if isinstance(kind, pl.Struct):
        return ["null", record(columns(kind), full)]
    if isinstance(kind, pl.Datetime):
        prefix = "timestamp" if kind.time_zone else "local-timestamp"
        return ["null", {"type": "long", "logicalType": f"{prefix}-{UNITS[kind.time_unit]}"}]
    if type(kind) not in TYPES:
        do = "leave the column out with include:, or write json or arrow"
        raise ConfigError(tell(f"column {column}", found=str(kind), wanted="a type that Avro has", do=do))
    return ["null", TYPES[type(kind)]]


def encode_avro(frame: pl.DataFrame) -> list[bytes]:
    r"""Return each row as a message of Avro, by the schema that `avro_schema` gives.

    Examples
    --------
    >>> encode_avro(pl.DataFrame({"n": [1, None], "s": ["a", "é"]}))
    [b'\x02\x02\x02\x02a', b'\x00\x02\x04\xc3\xa9']
    """
    program = compile_schema(avro_schema(frame.schema), "the columns of an output")
    parts = Parts(len(program.owners))
    parts.take(frame.to_struct(), program.root)
    sizes = np.concatenate(parts.sizes)
    lengths = np.array([len(part) for part in parts.sizes], np.int64)
    text = np.frombuffer(b"".join(parts.text), np.uint8)
    # a branch, a value or a length, and an end of a list
    out = np.empty(3 * kernel.LONGEST * len(sizes) + len(text), np.uint8)
    ends = np.empty(frame.height, np.int64)
    at = np.cumsum(lengths) - lengths
    kernel.write(program.code, at, np.concatenate(parts.words), sizes, text, out, ends, np.empty(DEEPEST, np.int64))
    content, stops = out[: ends[-1] if len(ends) else 0].tobytes(), ends.tolist()
    return [content[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


@dataclass
class Parts:
    """Columns on the way to words."""

    columns: int
    words: list[NDArray[np.int64]] = field(init=False)
    sizes: list[NDArray[np.int64]] = field(init=False)
    text: list[bytes] = field(default_factory=list)
    length: int = 0

    def __post_init__(self) -> None:
        """Begin with columns without entries."""
        self.words = [np.empty(0, np.int64)] * self.columns
        self.sizes = [np.empty(0, np.int64)] * self.columns

    def take(self, series: pl.Series, node: Node) -> None:
        """Take in a column and what it is made of."""
        words, sizes = np.zeros(len(series), np.int64), np.zeros(len(series), np.int64)
        kind = series.dtype
        if isinstance(kind, pl.Array):
            series = series.arr.to_list()
        if node.kind == "list":
            sizes = whole(series.list.len())
            self.take(series.filter(pl.Series(sizes > 0)).explode(), node.children[0][1])
        elif node.kind == "record":
            for name, child in node.children:
                self.take(series.struct.field(name), child)
        elif isinstance(node.type, (pl.String, pl.Binary)):
            sizes, words = self.put(series.cast(node.type))
        elif node.type.is_float():
            values = series.cast(node.type).fill_null(0.0).to_numpy()
            words = values.view(np.int64 if node.type == pl.Float64() else np.uint32).astype(np.int64)
        else:
            words = whole(series.to_physical()) // (node.unit if isinstance(kind, pl.Time) else 1)
        sizes[series.is_null().to_numpy()] = -1
        self.words[node.column], self.sizes[node.column] = words, sizes

    def put(self, series: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Take in bytes or texts; return their lengths, and where they are."""
        if isinstance(series.dtype, pl.String):
            sizes, content = whole(series.str.len_bytes()), series.str.join("").item().encode()
        else:
            sizes, content = whole(series.bin.size()), b"".join(series.drop_nulls().to_list())
        places = self.length + np.cumsum(sizes) - sizes
        self.text.append(content)
        self.length += len(content)
        return sizes, places


def whole(series: pl.Series) -> NDArray[np.int64]:
    """Return whole numbers, 0 where they are missing."""
    return series.cast(pl.Int64()).fill_null(0).to_numpy(writable=True)

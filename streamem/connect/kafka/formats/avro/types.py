"""What the types of Avro become: the instruction that reads each, and its column."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from streamem.connect.kafka.formats.avro import kernel

__all__ = ["INT", "LOGICAL", "LONGEST_DECIMAL", "PRIMITIVES", "Node", "decimal", "is_decimal"]

INT, LONG = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)

DAY_MS = 86_400_000

LONGEST_DECIMAL = 128
"""Bytes of a decimal number that is read: 2**1023 is still a floating-point number."""

MOST_DIGITS = 300
"""Digits behind the point of a decimal number that is read."""

PRIMITIVES: dict[str, tuple[int, pl.DataType, tuple[int, int]]] = {
    "null": (kernel.NULL, pl.Null(), LONG),
    "boolean": (kernel.BOOLEAN, pl.Boolean(), LONG),
    "int": (kernel.WHOLE, pl.Int32(), INT),
    "long": (kernel.WHOLE, pl.Int64(), LONG),
    "float": (kernel.FLOAT, pl.Float32(), LONG),
    "double": (kernel.DOUBLE, pl.Float64(), LONG),
    "bytes": (kernel.BYTES, pl.Binary(), LONG),
    "string": (kernel.STRING, pl.String(), LONG),
}
"""For each primitive type its instruction, its column, and the bounds of a whole number."""

LOGICAL: dict[tuple[str, str], tuple[pl.DataType, tuple[int, int]]] = {
    ("int", "date"): (pl.Date(), INT),
    ("int", "time-millis"): (pl.Time(), (0, DAY_MS - 1)),
    ("long", "time-micros"): (pl.Time(), (0, DAY_MS * 1000 - 1)),
    ("long", "timestamp-millis"): (pl.Datetime("ms", "UTC"), LONG),
    ("long", "timestamp-micros"): (pl.Datetime("us", "UTC"), LONG),
    ("long", "timestamp-nanos"): (pl.Datetime("ns", "UTC"), LONG),
    ("long", "local-timestamp-millis"): (pl.Datetime("ms"), LONG),
    ("long", "local-timestamp-micros"): (pl.Datetime("us"), LONG),
    ("long", "local-timestamp-nanos"): (pl.Datetime("ns"), LONG),
}
"""Logical types of which whole numbers are kept; any other but decimal is read as what it is made of."""


@dataclass(frozen=True)
class Node:
    """One column, or what it is made of.

    Parameters
    ----------
    kind : str
        ``words``, ``decimal``, ``enum``, ``list``, ``record``, ``union`` or ``numbers`` (a union of nothing else).
    type : polars.DataType
    column : int
        Where the kernel writes it; of unions nowhere.
    children : tuple of (str, Node)
        Fields, the elements of a list, or branches.
    symbols : tuple of str
        Of an enum.
    unit : int
        Nanoseconds of a time of day, or the scale of a decimal.
    """

    kind: str
    type: pl.DataType
    column: int
    children: tuple[tuple[str, "Node"], ...] = ()
    symbols: tuple[str, ...] = ()
    unit: int = 0


def is_decimal(schema: Any) -> bool:
    """Return whether bytes mean a decimal number that streamem reads; Avro says to take others for bytes."""
    return schema.get("logicalType") == "decimal" and 0 <= int(schema.get("scale", 0)) <= MOST_DIGITS


def decimal(schema: Any, column: int) -> Node:
    """Return the column of decimal numbers."""
    return Node("decimal", pl.Float64(), column, unit=int(schema.get("scale", 0)))

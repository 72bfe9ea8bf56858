"""The columns of a source: declared, or inferred once from the first records, then fixed."""

import io
import json
from collections.abc import Mapping, Sequence

import polars as pl

from streamem.errors import ConfigError, DataError, nearest, tell

__all__ = ["infer_csv", "infer_ndjson", "settle"]

RECORDS = 10_000
"""Records that types are inferred from."""


TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
}


def infer_csv(content: bytes, names: Sequence[str], separator: str, null_values: Sequence[str]) -> pl.DataFrame:
    """Return records of CSV as text columns: what types are inferred from."""
    return pl.read_csv(
        content,
        has_header=False,
        schema=dict.fromkeys(names, pl.String()),
        separator=separator,
        null_values=list(null_values) or None,
        encoding="utf8-lossy",
    )


def csv_types(frame: pl.DataFrame) -> dict[str, pl.DataType]:
    """Return the types that polars infers for text columns of CSV."""
    buffer = io.BytesIO()
    frame.write_csv(buffer)
    return dict(pl.read_csv(buffer.getvalue(), infer_schema_length=None).schema) if frame.height else {}


def infer_ndjson(records: Sequence[bytes]) -> tuple[pl.DataFrame, dict[str, pl.DataType]]:
    """Return the frame and the types of those lines that are JSON objects."""
    try:
        frame = pl.read_ndjson(b"".join(records), infer_schema_length=None)
        return frame, dict(frame.schema)
    except pl.exceptions.PolarsError:
        pass  # a line among them is none; ten times slower below
    good = []
    for record in records:
        try:
            value = json.loads(record, parse_constant=lambda _: None)
            if isinstance(value, dict):
                json.dumps(value, allow_nan=False)
                good.append(value)
        except (ValueError, RecursionError):
            continue
    names = dict.fromkeys(name for value in good for name in value)
    columns = [of_values(name, [value.get(name) for value in good]) for name in names]
    frame = pl.DataFrame(columns)
    return frame, dict(frame.schema)


def of_values(name: str, values: Sequence[object]) -> pl.Series:
    """Return the column of some JSON values; text where their types do not go together."""
    content = b"\n".join(json.dumps({name: value}).encode() for value in values)
    try:
        return pl.read_ndjson(content, infer_schema_length=None)[name]
    except pl.exceptions.PolarsError:
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pl.Series(name, texts, pl.String())


def settle(
    sample: pl.DataFrame,
    inferred: Mapping[str, pl.DataType],
    declared: Mapping[str, str],
    numbers: frozenset[str],
    place: str,
    time: str | None = None,
) -> pl.Schema:
    """Return the schema: declared types first, then what is used as numbers, then what was inferred.

    A column that is used as a number becomes Float64 also where the sample holds whole numbers only, none at all, or
    now and then a text that is none: that record is a bad record then, not the column. So it is with a time column of
    numbers, whose integers stay what they are.

    Raises
    ------
    ConfigError
        A declared column is not there.
    DataError
        There is no column at all.
    """
    if not inferred:
        found = "no records, or none that can be read"
        raise DataError(tell(place, found=found, wanted="at least one", do="look at the file, and at format:"))
    for name in declared:
        if name not in inferred:
            raise ConfigError(
                tell(
                    f"source.schema.{name}",
                    found=f"no such column in {place}{nearest(name, inferred)}",
                    wanted="one of " + ", ".join(inferred),
                    do="correct the name",
                )
            )
    types: dict[str, pl.DataType] = {}
    for name, kind in inferred.items():
        if name in declared:
            types[name] = TYPES[declared[name]]
        elif name in numbers and (kind.is_numeric() or mostly_numbers(sample[name])):
            types[name] = pl.Float64()
        elif name == time and mostly_numbers(sample[name]):
            types[name] = pl.Int64() if whole(sample[name]) else pl.Float64()
        else:
            types[name] = pl.String() if kind == pl.Null() else kind
    return pl.Schema(types)


def mostly_numbers(column: pl.Series) -> bool:
    """Return whether at least half of what is in a column of text can be read as numbers."""
    if column.dtype == pl.Null():
        return True
    if column.dtype != pl.String():
        return False
    present = column.drop_nulls()
    return int(present.cast(pl.Float64(), strict=False).is_not_null().sum()) * 2 >= len(present)


def whole(column: pl.Series) -> bool:
    """Return whether every number in a column of text is a whole one."""
    if column.dtype != pl.String():
        return False
    read = column.cast(pl.Float64(), strict=False).is_not_null()
    return bool((column.cast(pl.Int64(), strict=False).is_not_null() | ~read).all())

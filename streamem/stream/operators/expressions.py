"""SQL expressions over one record, and the refusal of everything else.

polars parses the text; what it understood is read back as a tree of nodes, and every kind of node must be among those
known to give each row a value from that row alone. A kind that a later polars adds is refused until it is listed here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from streamem.errors import ConfigError, tell
from streamem.stream.checks import columns_exist

__all__ = ["failing_rows", "row_wise"]

_NODES = frozenset({"Alias", "BinaryExpr", "Cast", "Column", "Function", "Literal", "Ternary"})

# Functions that look at one row only: as polars names them, those of a namespace behind its name.
_NAMES = """
Abs Atan2 Ceil Clip Coalesce Exp FillNull Floor Log Log1p MaxHorizontal MinHorizontal Sign Truncate
Bitwise.CountOnes Bitwise.CountZeros Boolean.AllHorizontal Boolean.AnyHorizontal Boolean.IsBetween Boolean.IsFinite
Boolean.IsIn Boolean.IsInfinite Boolean.IsNan Boolean.IsNotNan Boolean.IsNotNull Boolean.IsNull Boolean.Not
ListExpr.Contains ListExpr.Get ListExpr.Length ListExpr.Max ListExpr.Mean ListExpr.Min ListExpr.Sum
Sql.Binary Sql.IsIn Sql.Round Sql.ToFloat StructExpr.FieldByName
"""
_FUNCTIONS = frozenset(_NAMES.split())
_NAMESPACES = frozenset({"Pow", "StringExpr", "TemporalExpr", "Trigonometry"})  # all of them do, but for
_EXCEPTIONS = frozenset({"StringExpr.ConcatVertical"})
_CLOCK = re.compile(r"\b(now|current_date|current_time|current_timestamp|localtime|localtimestamp)\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


def row_wise(sql: str, schema: pl.Schema, place: str) -> tuple[pl.Expr, pl.DataType]:
    """Return an SQL expression that gives each row a value from that row alone, and the type of its values.

    Parameters
    ----------
    sql : str
        One expression, as in a SELECT list.
    schema : polars.Schema
        The columns that it may name.
    place : str
        Where it stands in the settings, for messages.

    Raises
    ------
    ConfigError
        It does not parse, names an unknown column, has the wrong types, reads a clock, or looks at other rows: an
        aggregate, a window, a selection of several columns.

    Examples
    --------
    >>> expression, dtype = row_wise("speed * 1.609", pl.Schema({"speed": pl.Int64}), "transform.kmh")
    >>> dtype
    Float64
    """
    wanted = "an SQL expression over the columns of one record"
    try:
        expression = pl.sql_expr(sql)
    except PolarsError as error:
        raise ConfigError(
            tell(place, found=f"{sql!r}, which does not parse ({_first_line(error)})", wanted=wanted, do="mend it")
        ) from error
    clock = _CLOCK.search(_QUOTED.sub("", sql))
    if clock:
        raise ConfigError(
            tell(
                place,
                found=f"{clock.group()!r} in {sql!r}, which reads a clock",
                wanted="a value that a replay gives again",
                do="use a time column of the records",
            )
        )
    for node in _nodes(json.loads(expression.meta.serialize(format="json"))):
        raise ConfigError(
            tell(
                place,
                found=f"{node!r} in {sql!r}, which is not known to look at one record only",
                wanted=f"{wanted}, without aggregates and windows",
                do="compute it before, or write it with other functions",
            )
        )
    columns_exist(place, expression.meta.root_names(), schema.names())
    try:
        dtype = pl.DataFrame(schema=schema).select(expression).dtypes[0]
    except PolarsError as error:
        raise ConfigError(
            tell(
                place,
                found=f"{sql!r}, which does not fit its columns ({_first_line(error)})",
                wanted="operations that the types of the columns allow",
                do="cast the columns, for example CAST(x AS DOUBLE)",
            )
        ) from error
    if isinstance(dtype, pl.Decimal):  # what polars makes of a whole number times 1.6; JSON has no such numbers
        return expression.cast(pl.Float64), pl.Float64()
    return expression, dtype


def _nodes(tree: Any) -> Iterator[str]:
    """Yield every node kind of a serialised expression that is not known to be row-wise."""
    if isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)
        return
    if isinstance(tree, str):  # a node without fields, such as Len
        if tree not in _NODES:
            yield tree
        return
    for kind, fields in tree.items():
        if kind not in _NODES:
            yield kind
        elif kind == "Function":
            if not _is_known(fields["function"]):
                yield _split(fields["function"])[0]
            yield from _nodes(fields["input"])
        elif kind == "Alias":
            yield from _nodes(fields[0])
        elif kind == "BinaryExpr":
            yield from _nodes([fields["left"], fields["right"]])
        elif kind == "Cast":
            yield from _nodes(fields["expr"])
        elif kind == "Ternary":
            yield from _nodes([fields["predicate"], fields["truthy"], fields["falsy"]])


def _is_known(function: Any) -> bool:
    name, inner = _split(function)
    full = f"{name}.{_split(inner)[0]}"
    return name in _FUNCTIONS or full in _FUNCTIONS or (name in _NAMESPACES and full not in _EXCEPTIONS)


def _split(function: Any) -> tuple[str, Any]:
    """Return the name of a serialised function and what it holds: ``"Abs"`` or ``{"Pow": "Sqrt"}``."""
    if isinstance(function, dict) and len(function) == 1:
        [(name, inner)] = function.items()
        return name, inner
    return str(function), None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def failing_rows(frame: pl.DataFrame, expressions: list[pl.Expr]) -> dict[int, str]:
    """Return why each row fails for which polars cannot evaluate the expressions (a text that is no number).

    Only called after an evaluation of the whole frame failed; it halves the frame until single rows are left.
    """
    try:
        frame.select(expressions)
    except PolarsError as error:
        if frame.height == 1:
            return {0: _first_line(error)}
        half = frame.height // 2
        below = failing_rows(frame[half:], expressions)
        return failing_rows(frame[:half], expressions) | {half + row: why for row, why in below.items()}
    return {}

"""New columns from old ones, by SQL expressions that polars evaluates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from streamem.errors import ConfigError, tell
from streamem.stream.batch import ROW, Batch
from streamem.stream.operators.expressions import failing_rows, row_wise
from streamem.stream.protocol import Columns, State

__all__ = ["Transform"]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Add columns computed from the others of the same record by SQL expressions.

    Parameters
    ----------
    name : str
        Unique in the pipeline; it appears in messages and in the counts of bad records.
    columns : mapping of str to str
        New column: expression. A column may use those before it, and may replace one that was there.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import Columns
    >>> transform = Transform(columns={"kmh": "3.6 * speed"})
    >>> transform.open(pl.Schema({"speed": pl.Float64}), Columns()).schema.names()
    ['speed', 'kmh']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["transform"] = "transform"
    name: str = "transform"
    columns: Mapping[str, str]

    @property
    def numbers(self) -> frozenset[str]:
        """None: the expressions say themselves what they want."""
        return frozenset()

    def open(self, schema: pl.Schema, columns: Columns) -> "_TransformStep":  # noqa: ARG002
        """Return the running operator. Raises ConfigError for an expression that is wrong or not row-wise."""
        if not self.columns:
            raise ConfigError(tell(f"{self.name}.columns", found="no columns", wanted="at least one", do="add one"))
        after = pl.Schema(schema)
        groups: list[dict[str, pl.Expr]] = [{}]
        for column, sql in self.columns.items():
            place = f"{self.name}.columns.{column}"
            if column == ROW or not column:
                raise ConfigError(tell(place, found=repr(column), wanted="another name", do="rename the column"))
            expression, dtype = row_wise(sql, after, place)
            if groups[-1].keys() & {column, *expression.meta.root_names()}:
                groups.append({})  # it uses a column of this group, so it is evaluated after it
            groups[-1][column] = expression
            after[column] = dtype
        return _TransformStep(self.name, after, [[e.alias(c) for c, e in group.items()] for group in groups])


class _TransformStep:
    """Evaluates groups of expressions, one group after the other."""

    holding = False

    def __init__(self, name: str, schema: pl.Schema, groups: list[list[pl.Expr]]) -> None:
        self.schema = schema
        self._name = name
        self._groups = groups

    def process(self, batch: Batch) -> list[Batch]:
        for expressions in self._groups:
            try:
                frame = batch.frame.with_columns(expressions)
            except PolarsError:
                batch = reject_failing(batch, expressions, self._name)
                frame = batch.frame.with_columns(expressions)
            batch = batch.with_frame(frame)
        return [batch]

    def finish(self) -> list[Batch]:
        return []

    def state(self) -> State:
        return State()

    def restore(self, state: State) -> None:
        """Nothing to do: every row stands for itself."""


def reject_failing(batch: Batch, expressions: list[pl.Expr], operator: str) -> Batch:
    """Return the batch without the rows for which polars cannot evaluate the expressions."""
    failing = failing_rows(batch.frame, expressions)
    bad = np.zeros(batch.frame.height, dtype=np.bool_)
    bad[list(failing)] = True

    def reason(row: int) -> str:
        wanted = "values that the expressions can be computed from"
        return tell(operator, found=failing[row], wanted=wanted, do="mend the record, or write TRY_CAST to get nulls")

    return batch.reject(bad, operator, reason)

"""Records that go on and records that do not, by an SQL condition."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
from polars.exceptions import PolarsError

from streamem.errors import ConfigError, tell
from streamem.stream.batch import Batch
from streamem.stream.operators.expressions import row_wise
from streamem.stream.operators.transform import reject_failing
from streamem.stream.protocol import Columns, State

__all__ = ["Where"]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Keep the records for which an SQL condition is true; the others get no posterior.

    Parameters
    ----------
    name : str
        Unique in the pipeline; it appears in messages and in the counts of bad records.
    condition : str
        Expression over the columns of one record. False and null both drop it.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import Columns
    >>> where = Where(condition="speed > 0")
    >>> where.open(pl.Schema({"speed": pl.Float64}), Columns()).schema.names()
    ['speed']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["where"] = "where"
    name: str = "where"
    condition: str

    @property
    def numbers(self) -> frozenset[str]:
        """None: the condition says itself what it wants."""
        return frozenset()

    def open(self, schema: pl.Schema, columns: Columns) -> "_WhereStep":  # noqa: ARG002
        """Return the running operator. Raises ConfigError for a condition that is wrong or not row-wise."""
        place = f"{self.name}.condition"
        expression, dtype = row_wise(self.condition, schema, place)
        if dtype != pl.Boolean:
            raise ConfigError(
                tell(
                    place,
                    found=f"{self.condition!r}, which gives {dtype}",
                    wanted="true or false",
                    do="compare it with something, for example speed > 0",
                )
            )
        return _WhereStep(self.name, schema, expression)


class _WhereStep:
    """Filters every batch; a batch with no rows left still goes on, since its position counts."""

    holding = False

    def __init__(self, name: str, schema: pl.Schema, condition: pl.Expr) -> None:
        self.schema = schema
        self._name = name
        self._condition = condition

    def process(self, batch: Batch) -> list[Batch]:
        try:
            kept = batch.frame.filter(self._condition)
        except PolarsError:
            batch = reject_failing(batch, [self._condition], self._name)
            kept = batch.frame.filter(self._condition)
        return [batch.with_frame(kept)]

    def finish(self) -> list[Batch]:
        return []

    def state(self) -> State:
        return State()

    def restore(self, state: State) -> None:
        """Nothing to do: every row stands for itself."""

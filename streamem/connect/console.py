"""The console sink: for a look at what comes out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from streamem.errors import ConnectError, tell
from streamem.stream.protocol import State, World

__all__ = ["ConsoleSink", "told"]


@contextmanager
def told() -> Iterator[None]:
    """Raise ConnectError where standard output cannot be written, such as a pipe whose reader has gone."""
    try:
        yield
    except OSError as error:
        do = "look at the program that reads it"
        found = error.strerror or str(error)
        raise ConnectError(tell("standard output", found=found, wanted="an open output", do=do)) from error


@dataclass(frozen=True, kw_only=True)
class ConsoleSink:
    """A table of the last rows of every batch on standard output, for a look; at least once.

    Parameters
    ----------
    rows : int
        Of each batch, at most.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.stream.protocol import World
    >>> ConsoleSink(rows=2).open(World(), None).write(pl.DataFrame({"x": [1, 2, 3]}))
    ┌─────┐
    │ x   │
    │ --- │
    │ i64 │
    ╞═════╡
    │ 2   │
    │ 3   │
    └─────┘
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["console"] = "console"
    rows: int = 5

    def open(self, world: World, state: State | None) -> "ConsoleWriter":  # noqa: ARG002
        """Return a writer to standard output."""
        return ConsoleWriter(self.rows)

    def move_aside(self, world: World) -> list[str]:  # noqa: ARG002
        """Nothing stands on a console."""
        return []


class ConsoleWriter:
    """An open console."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def write(self, frame: pl.DataFrame) -> None:
        """Print the last rows."""
        shown = pl.Config(tbl_hide_dataframe_shape=True, tbl_cols=-1, tbl_rows=self.rows, fmt_table_cell_list_len=-1)
        with shown, told():
            print(frame.tail(self.rows), file=sys.stdout)

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Make it seen."""
        with told():
            sys.stdout.flush()
        return State()

    def sync(self) -> None:
        """Do nothing: a console keeps nothing."""

    def close(self) -> None:
        """Leave standard output open."""

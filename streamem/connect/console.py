"""The console sink: for a look at what comes out."""

import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from streamem.stream.protocol import State, World

__all__ = ["ConsoleSink"]


@dataclass(frozen=True, kw_only=True)
class ConsoleSink:
    """A table of the last rows of every batch on standard output, for a look; at least once.

    Parameters
    ----------
    rows : int
        Of each batch, at most.
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
        with pl.Config(tbl_hide_dataframe_shape=True, tbl_cols=-1, tbl_rows=self.rows, fmt_table_cell_list_len=-1):
            print(frame.tail(self.rows), file=sys.stdout)

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Make it seen."""
        sys.stdout.flush()
        return State()

    def close(self) -> None:
        """Leave standard output open."""

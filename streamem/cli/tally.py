"""A sink that keeps nothing but a mean: what `score` prints."""

from dataclasses import dataclass
from math import fsum, nan

import polars as pl

from streamem.stream.protocol import State, World

__all__ = ["Tally"]


@dataclass
class Tally:
    """Count records and average one of their columns. Sink and writer at once: it has nothing to open."""

    column: str
    records: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """The mean of the column, NaN without records."""
        return self.total / self.records if self.records else nan

    def open(self, world: World, state: State | None) -> "Tally":  # noqa: ARG002 (the protocol of sinks)
        """Return the tally itself."""
        return self

    def move_aside(self, world: World) -> list[str]:  # noqa: ARG002
        """Return nothing: nothing stands anywhere."""
        return []

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        values = frame[self.column].to_numpy()
        self.records += len(values)
        self.total += fsum(values)

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Return an empty state: a tally does not survive its run."""
        return State()

    def sync(self) -> None:
        """Do nothing: a tally is kept nowhere."""

    def close(self) -> None:
        """Do nothing."""

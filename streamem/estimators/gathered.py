"""Records that wait for their micro-batch: numbers in one block of memory, keys and times beside it."""

import struct
from dataclasses import dataclass, field
from struct import pack_into
from typing import Any

import numpy as np

from streamem.em.observations import Array, Labels
from streamem.errors import DataError, tell

__all__ = ["Gathered"]


@dataclass(eq=False)
class Gathered:
    """The records that wait, and room for the rest of the micro-batch.

    `latest` is the time of the last one of each key.

    Parameters
    ----------
    names : tuple
        Of the columns.
    room : int
        Records of a micro-batch.

    Examples
    --------
    >>> waiting = Gathered(("a", "b"), room=3)
    >>> waiting.put((1.0, 2.0))
    >>> waiting.widened(("a", "b", "c")).values.tolist()
    [[1.0, 2.0, nan]]
    """

    names: tuple[Any, ...]
    room: int
    count: int = 0
    keys: list[Any] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    latest: dict[Any, float] = field(init=False)
    form: str = field(init=False)
    stride: int = field(init=False)
    memory: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.form = f"{len(self.names)}d"
        self.stride = 8 * len(self.names)
        self.memory = bytearray(self.stride * self.room)
        self.latest = dict(zip(self.keys, self.times, strict=True))

    def put(self, row: Any) -> None:
        """Add the numbers of a record; they are packed, which takes a third of what an assignment to an array does."""
        try:
            pack_into(self.form, self.memory, self.count * self.stride, *row)
        except (OverflowError, struct.error) as error:
            do, wanted = "make numbers of them", "finite numbers"
            raise DataError(tell("a record", found=repr(row)[:60], wanted=wanted, do=do)) from error
        self.count += 1

    def take_back(self) -> None:
        """Forget the last record."""
        self.count -= 1
        del self.keys[self.count :], self.times[self.count :]
        self.latest = dict(zip(self.keys, self.times, strict=True))

    @property
    def values(self) -> Array:
        """The numbers, shape (count, D): a copy."""
        flat = np.frombuffer(self.memory, count=self.count * len(self.names))
        return flat.reshape(self.count, len(self.names)).copy()

    def widened(self, names: tuple[Any, ...], empty: float = np.nan) -> "Gathered":
        """Return the same records with the columns `names`, `empty` where they had none."""
        made = Gathered(names, self.room, 0, list(self.keys), list(self.times))
        values = np.full((self.count, len(names)), empty)
        old = self.values
        for place, name in enumerate(self.names):
            if name in names:
                values[:, names.index(name)] = old[:, place]
        made.fill(values)
        return made

    def only(self, rows: Labels) -> "Gathered":
        """Return these records alone."""
        keys, times = ([one[row] for row in rows] if one else [] for one in (self.keys, self.times))
        made = Gathered(self.names, self.room, 0, keys, times)
        made.fill(self.values[rows])
        return made

    def fill(self, values: Array) -> None:
        """Set the numbers of all records, shape (count, D)."""
        self.memory[: values.nbytes] = np.ascontiguousarray(values).tobytes()
        self.count = len(values)

    def clear(self) -> None:
        """Let all records go."""
        self.count = 0
        self.keys.clear()
        self.times.clear()
        self.latest.clear()

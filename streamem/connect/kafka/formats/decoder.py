"""What every format of message values gives: a frame, which message each row came from, and the bad messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["EMPTY", "Decoded", "Decoder", "Indices", "decoded", "present", "unfit"]

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """The values of some messages, decoded.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows of the good messages in order.
    messages : ndarray of int, or None
        Which message each row of the frame came from; None where row n is message n.
    bad : sequence of (int, str)
        Which messages cannot be used, ascending, and why: found, wanted, what to do.
    """

    frame: pl.DataFrame
    messages: Indices | None
    bad: Sequence[tuple[int, str]]


class Decoder(Protocol):
    """One format of message values with a fixed schema."""

    @property
    def schema(self) -> pl.Schema:
        """The columns of every frame."""

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the rows of messages, of which those that cannot be used are told apart.

        A bad message never raises, whatever is in it. ConnectError is for what can be tried again with the same
        messages: a schema registry that does not answer.
        """


def present(values: Sequence[bytes | None]) -> tuple[list[bytes], Indices | None, dict[int, str]]:
    """Return the values that hold something, which messages they are (None: all of them), and the others with why.

    Examples
    --------
    >>> kept, indices, bad = present([b"{}", None, b""])
    >>> kept, indices.tolist(), bad[1]
    ([b'{}'], [0], 'found no value (a tombstone); wanted a record. To do: leave tombstones out, or set errors.policy')
    """
    kept = [value for value in values if value]
    if len(kept) == len(values):
        return kept, None, {}
    indices = [n for n, value in enumerate(values) if value]
    bad = {n: TOMBSTONE if value is None else EMPTY for n, value in enumerate(values) if not value}
    return kept, np.array(indices, np.int64), bad


def decoded(frame: pl.DataFrame, indices: Indices, count: int, bad: Mapping[int, str]) -> Decoded:
    """Return what became of `count` messages, with the message that each row of the frame came from."""
    whole = not bad and len(indices) == count
    return Decoded(frame, None if whole else indices, sorted(bad.items()))


def unfit(found: str, wanted: str = "a record that fits the schema", do: str = "mend it") -> str:
    """Return why a message cannot be used; its place is told by who read it.

    Examples
    --------
    >>> unfit("3 fields", "2")
    'found 3 fields; wanted 2. To do: mend it, or set errors.policy'
    """
    return f"found {found}; wanted {wanted}. To do: {do}, or set errors.policy"


EMPTY = unfit("an empty value", "a record", "mend what writes it")
TOMBSTONE = unfit("no value (a tombstone)", "a record", "leave tombstones out")

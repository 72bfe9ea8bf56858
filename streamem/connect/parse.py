"""Records of text to frames: all at once by polars, and only where that fails in halves, to find the bad ones."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

__all__ = ["Csv", "Ndjson", "Parser", "parse"]


class Parser(Protocol):
    """One text format with a fixed schema."""

    @property
    def schema(self) -> pl.Schema:
        """The columns of every frame."""

    def read(self, content: bytes) -> pl.DataFrame:
        """Return the frame of whole records, or raise a polars error."""

    def mend(self, record: bytes) -> bytes:
        """Return the record as `read` takes it, where a harmless difference can be put right."""


@dataclass(frozen=True)
class Ndjson:
    """One JSON object a line."""

    schema: pl.Schema

    def read(self, content: bytes) -> pl.DataFrame:
        """Return the frame of whole lines."""
        return pl.read_ndjson(content, schema=self.schema)

    def mend(self, record: bytes) -> bytes:
        """Return the record with null for the token NaN, which Python's json writes though JSON has no such number."""
        if b"NaN" not in record:
            return record
        try:
            value = json.loads(record, parse_constant=lambda token: None if token == "NaN" else float(token))  # noqa: S105
            return json.dumps(value, allow_nan=False).encode() + b"\n"
        except (ValueError, RecursionError):
            return record


@dataclass(frozen=True)
class Csv:
    """Comma-separated values without the header.

    Parameters
    ----------
    names : sequence of str
        The columns as they stand in this file.
    schema : polars.Schema
        The columns wanted, in order.
    """

    names: Sequence[str]
    schema: pl.Schema
    separator: str
    null_values: Sequence[str]

    def read(self, content: bytes) -> pl.DataFrame:
        """Return the frame of whole records, whose fields were counted."""
        types = {name: self.schema.get(name, pl.String()) for name in self.names}
        frame = pl.read_csv(
            content,
            has_header=False,
            schema=types,
            separator=self.separator,
            null_values=list(self.null_values) or None,
        )
        return frame if list(self.schema) == list(self.names) else frame.select(self.schema.names())

    def mend(self, record: bytes) -> bytes:
        """Return the record as it is."""
        return record


def parse(
    parser: Parser, records: Callable[[int, int], bytes], count: int
) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Return the frame of the records that can be parsed, and the others with the reason.

    Parameters
    ----------
    parser : Parser
    records : callable
        Gives the bytes of records `start` to before `stop`.
    count : int
        How many there are.

    Notes
    -----
    A piece with b bad records of n costs about b log2(n/b) further calls, not n.
    """
    frames: list[pl.DataFrame] = []
    bad: list[tuple[int, str]] = []
    waiting = [(0, count, False)] if count else []
    while waiting:
        start, stop, mended = waiting.pop()
        content = records(start, stop)
        try:
            if mended:
                content = b"".join(parser.mend(records(n, n + 1)) for n in range(start, stop))
            frame = parser.read(content)
            if frame.height != stop - start:
                raise pl.exceptions.ComputeError(f"{frame.height} records where {stop - start} should be")
            frames.append(frame)
        except pl.exceptions.PolarsError as error:
            if not mended and b"NaN" in content:
                waiting.append((start, stop, True))
            elif stop - start == 1:
                bad.append((start, reason(error)))
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop, mended), (start, middle, mended)]
    frame = pl.concat(frames) if frames else pl.DataFrame(schema=parser.schema)
    return frame, bad


def reason(error: Exception) -> str:
    """Return polars' words for a bad record: the first line, without advice on polars' own settings."""
    found = str(error).strip().split("\n")[0].removesuffix(".")
    return f"found {found}; wanted a record that fits the schema. To do: mend it, or set errors.policy"

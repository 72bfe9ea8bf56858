"""Bad records: what becomes of them, and when a run gives up over them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl

from streamem.errors import ConfigError, DataError, tell
from streamem.stream.batch import Rejected
from streamem.stream.protocol import Sink

__all__ = ["Errors", "dead_letters", "refusal"]

_SHARE_FROM_RECORDS = 1000


@dataclass(frozen=True, kw_only=True)
class Errors:
    """What becomes of records that cannot be used.

    Parameters
    ----------
    policy : str
        ``stop`` ends the run at the first one; ``skip`` counts and goes on; ``dead_letter`` also writes the original,
        and why, to `sink`.
    max_errors : int, float or None
        The run gives up with more than this many bad records (int), or with more than this share of all records
        (float, judged once 1,000 records were read, and at the end). None never gives up.
    sink : Sink or None
        Of ``dead_letter``, and needed there.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    policy: Literal["stop", "skip", "dead_letter"] = "stop"
    max_errors: int | float | None = None
    sink: Sink | None = None

    def check(self) -> None:
        """Refuse settings that contradict each other, with a ConfigError."""
        if (self.policy == "dead_letter") != (self.sink is not None):
            found = f"policy {self.policy} {'with' if self.sink is not None else 'without'} a sink"
            raise ConfigError(
                tell("errors", found=found, wanted="a sink for dead_letter, and only there", do="add it or take it out")
            )
        if self.max_errors is not None and (
            self.max_errors < 0 or (isinstance(self.max_errors, float) and self.max_errors > 1)
        ):
            raise ConfigError(
                tell(
                    "errors.max_errors",
                    found=repr(self.max_errors),
                    wanted="a count of at least 0, or a share between 0.0 and 1.0",
                    do="write for example 100, or 0.01",
                )
            )

    def judge(self, rejected: Mapping[str, int], records: int, *, final: bool) -> None:
        """Give up, with a DataError, when more records are bad than `max_errors` allows."""
        if self.max_errors is None:
            return
        bad = sum(rejected.values())
        if isinstance(self.max_errors, int):
            exceeded = bad > self.max_errors
        else:
            exceeded = (final or records >= _SHARE_FROM_RECORDS) and bad > self.max_errors * records
        if exceeded:
            by = ", ".join(f"{operator} {count}" for operator, count in rejected.items())
            raise DataError(
                tell(
                    "errors.max_errors",
                    found=f"{bad} bad records of {records} ({by})",
                    wanted=f"at most {self.max_errors}",
                    do="look at the records, or raise max_errors and start again: what was done is kept",
                )
            )


def refusal(rejected: Rejected) -> DataError:
    """Return the error that a bad record is under the policy ``stop``."""
    where = ", ".join(f"{key} {value}" for key, value in rejected.record.where.items())
    return DataError(f"{where}: {rejected.message} (refused by {rejected.operator}; errors.policy is stop)")


def dead_letters(rejected: Sequence[Rejected]) -> pl.DataFrame:
    """Return bad records as a frame: the original, where it was, who refused it and why.

    ``value`` is the original as text, or in base64 where it is not UTF-8; ``encoding`` says which.
    """
    columns: dict[str, list[Any]] = {column: [] for column in _DEAD_LETTER}
    for fallen in rejected:
        value, encoding = _readable(fallen.record.value)
        row = {
            "value": value,
            "encoding": encoding,
            "path": fallen.record.where.get("path"),
            "record": fallen.record.where.get("record"),
            "operator": fallen.operator,
            "exception": DataError.__name__,
            "message": fallen.message,
        }
        for column, cell in row.items():
            columns[column].append(cell)
    return pl.DataFrame(columns, schema=_DEAD_LETTER)


_DEAD_LETTER: dict[str, Any] = {
    "value": pl.String,
    "encoding": pl.String,
    "path": pl.String,
    "record": pl.Int64,
    "operator": pl.String,
    "exception": pl.String,
    "message": pl.String,
}


def _readable(value: bytes) -> tuple[str, str]:
    try:
        return value.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii"), "base64"

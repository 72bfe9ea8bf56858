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
    retry_timeout_ms : int
        How long a connection that fails is tried again, with a checkpoint to go on from, before the run gives up.

    Examples
    --------
    >>> from streamem.connect import FilesSink
    >>> Errors(policy="dead_letter", sink=FilesSink(path="bad.ndjson"), max_errors=0.01).check()
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    policy: Literal["stop", "skip", "dead_letter"] = "stop"
    max_errors: int | float | None = None
    sink: Sink | None = None
    retry_timeout_ms: int = 300_000

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

    ``value`` is the original as text, or in base64 where it is not UTF-8; ``encoding`` says which. The columns of where
    it was are those of its source: ``path`` and ``record``, or ``topic``, ``partition`` and ``offset``.
    """
    texts = [_readable(fallen.record.value) for fallen in rejected]
    columns = {
        "value": pl.Series([text for text, _ in texts], dtype=pl.String),
        "encoding": pl.Series([encoding for _, encoding in texts], dtype=pl.String),
    }
    for name in next((fallen.record.where for fallen in rejected), ()):
        columns[name] = pl.Series([fallen.record.where[name] for fallen in rejected])
    columns |= {
        "operator": pl.Series([fallen.operator for fallen in rejected], dtype=pl.String),
        "exception": pl.Series([DataError.__name__] * len(rejected), dtype=pl.String),
        "message": pl.Series([fallen.message for fallen in rejected], dtype=pl.String),
    }
    return pl.DataFrame(columns)


def _readable(value: bytes | None) -> tuple[str | None, str | None]:
    if value is None:
        return None, None
    try:
        return value.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii"), "base64"

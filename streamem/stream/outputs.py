"""What leaves a pipeline: which columns of a posterior record, and when a snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from streamem.errors import ConfigError, nearest, tell
from streamem.stream.checks import at_least, columns_exist
from streamem.stream.protocol import Sink

__all__ = ["Output", "ends_one", "posterior_columns"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """One stream that leaves the pipeline, and the sink that it goes to.

    Parameters
    ----------
    what : str
        ``posteriors``: a record for each that came in. ``snapshots``: the parameters of the learners.
    sink : Sink
        Where it goes. Snapshots are nested, so their sink writes NDJSON.
    name : str or None
        The output's name in the checkpoint, unique; None takes `what`.
    every_batches : int or None
        Snapshots only: one after every so many batches. None writes only the last, at the end of the input.
    operator : str or None
        Snapshots only: of this learner; None takes every learner.
    include : str or list of str
        Posteriors only, the columns beside those of the operators: ``keys`` (key and time; all, when neither is
        named), ``all``, or a list of names.

    Examples
    --------
    >>> from streamem.connect import ConsoleSink, FilesSink
    >>> outputs = [
    ...     Output(what="posteriors", sink=ConsoleSink()),
    ...     Output(what="snapshots", sink=FilesSink(path="snapshots.ndjson"), every_batches=100, name="history"),
    ... ]
    >>> [output.called for output in outputs]
    ['posteriors', 'history']
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    what: Literal["posteriors", "snapshots"]
    sink: Sink
    name: str | None = None
    every_batches: int | None = None
    operator: str | None = None
    include: Literal["keys", "all"] | list[str] = "keys"

    @property
    def called(self) -> str:
        """Its name in the checkpoint and in messages."""
        return self.name or self.what

    def check(self, learners: Sequence[str]) -> None:
        """Refuse settings that do nothing or name a learner that is not there, with a ConfigError."""
        place = f"outputs.{self.called}"
        other = self.what == "posteriors" and [
            key for key in ("every_batches", "operator") if getattr(self, key) is not None
        ]
        if other or (self.what == "snapshots" and self.include != "keys"):
            found = f"{(other or ['include'])[0]} of {self.what}"
            wanted = "every_batches and operator for snapshots, include for posteriors"
            raise ConfigError(tell(place, found=found, wanted=wanted, do="take it out"))
        at_least(f"{place}.every_batches", self.every_batches, 1)
        if self.what == "snapshots" and not learners:
            raise ConfigError(
                tell(
                    place,
                    found="no operator that learns",
                    wanted="a learner to take snapshots of",
                    do="add a learn operator",
                )
            )
        if self.operator is not None and self.operator not in learners:
            raise ConfigError(
                tell(
                    f"{place}.operator",
                    found=f"{self.operator!r}{nearest(self.operator, learners)}",
                    wanted=f"one of {', '.join(learners)}",
                    do="name a learner",
                )
            )

    def is_due(self, number: int) -> bool:
        """Return whether a snapshot comes before the micro-batch of this number."""
        return self.every_batches is not None and number % self.every_batches == 0


def ends_one(numbers: range, every: int) -> bool:
    """Return whether one of these micro-batches is the last of `every`.

    Examples
    --------
    >>> ends_one(range(3, 5), every=5), ends_one(range(5, 9), every=5)
    (True, False)
    """
    return numbers.stop // every > numbers.start // every


def posterior_columns(
    output: Output, records: Sequence[str], operators: Sequence[str], *, keys: Sequence[str]
) -> list[str]:
    """Return the columns of an output's posterior records, in order.

    Parameters
    ----------
    output : Output
        Its `include` chooses.
    records : sequence of str
        Columns of the source and of transforms.
    operators : sequence of str
        Columns that operators added under their own name.
    keys : sequence of str
        The key and time columns, as far as they are named.

    Raises
    ------
    ConfigError
        `include` names a column that is not there, or nothing is left to write.
    """
    place = f"outputs.{output.called}.include"
    if output.include == "all" or (output.include == "keys" and not keys):
        included = list(records)
    elif output.include == "keys":
        included = list(keys)
    else:
        included = [column for column in output.include if column not in operators]
    columns_exist(place, included, records)
    if not included and not operators:
        raise ConfigError(tell(place, found="no columns", wanted="at least one", do="name some, or write all"))
    return [*dict.fromkeys(included), *operators]

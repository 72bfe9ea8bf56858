"""What can go wrong, as one tree.

::

    StreamemError
    ├── ConfigError(ValueError)      the file or an argument is wrong; nothing has started
    ├── DataError(ValueError)        a record cannot be used; the errors policy decides
    ├── ModelError(ArithmeticError)  the numbers degenerated
    ├── ConnectError(OSError)        the outside world failed; .retry says whether trying again can help
    └── SnapshotError(ValueError)    a snapshot or checkpoint of another model or format

Every message has four parts in this order: the place, what was found, what was wanted, and what to do.
`tell` puts them together.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "ConnectError",
    "DataError",
    "ModelError",
    "SnapshotError",
    "StreamemError",
    "nearest",
    "tell",
]


class StreamemError(Exception):
    """Anything that streamem refuses or gives up on."""


class ConfigError(StreamemError, ValueError):
    """The pipeline file or an argument is wrong; nothing has started."""


class DataError(StreamemError, ValueError):
    """A record cannot be used; the errors policy of the pipeline decides what follows."""


class ModelError(StreamemError, ArithmeticError):
    """The numbers degenerated."""


class ConnectError(StreamemError, OSError):
    """The outside world failed.

    Parameters
    ----------
    message : str
        Place, found, wanted, what to do.
    retry : bool
        Whether trying again, without changing anything, can help.
    """

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


class SnapshotError(StreamemError, ValueError):
    """A snapshot or a checkpoint of another model, another pipeline or an unknown format."""


def tell(place: str, *, found: str, wanted: str, do: str) -> str:
    """Return an error message with its four parts in the order of the house.

    Examples
    --------
    >>> tell("batch.max_records", found="-5", wanted="at least 1", do="write for example 100")
    'batch.max_records: found -5; wanted at least 1. To do: write for example 100.'
    """
    return f"{place}: found {found}; wanted {wanted}. To do: {do}."


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the name most like `name`, or nothing.

    Examples
    --------
    >>> nearest("spede", ["speed", "occupancy"])
    " (did you mean 'speed'?)"
    >>> nearest("zzz", ["speed"])
    ''
    """
    close = get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

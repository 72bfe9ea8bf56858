"""Two questions that several parts ask of their settings: is the number large enough, are the columns there."""

from collections.abc import Iterable

from streamem.errors import ConfigError, nearest, tell

__all__ = ["at_least", "columns_exist"]


def at_least(place: str, value: int | None, least: int) -> None:
    """Refuse a number below `least` with a ConfigError; None is a setting that was left out, and passes."""
    if value is not None and value < least:
        raise ConfigError(tell(place, found=str(value), wanted=f"at least {least}", do="write a larger number"))


def columns_exist(place: str, columns: Iterable[str], there: Iterable[str]) -> None:
    """Refuse columns that are not there with a ConfigError, which gives the nearest right name."""
    names = list(there)
    for column in columns:
        if column not in names:
            raise ConfigError(
                tell(
                    place,
                    found=f"the column {column!r}{nearest(column, names)}",
                    wanted=f"one of {', '.join(names)}",
                    do="write the name as it is in the records",
                )
            )

"""What is wrong with a pipeline file: gathered, put in the order of the file, told at once."""

from dataclasses import dataclass

from streamem.errors import ConfigError, tell

__all__ = ["AT_MOST", "Place", "Problem", "dotted", "refuse"]

Place = tuple[str | int, ...]
"""Keys and list indices from the top of the file down to a value."""

AT_MOST = 5
"""So many problems are told in full; more would hide the first."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the four parts of a message, the place already in words."""

    place: str
    found: str
    wanted: str
    do: str
    line: int = 0


def dotted(place: Place) -> str:
    """Return a place as it is written for ``--set``.

    Examples
    --------
    >>> dotted(("operators", 0, "model", "components"))
    'operators.0.model.components'
    """
    return ".".join(map(str, place))


def refuse(problems: list[Problem]) -> None:
    """Raise one ConfigError that tells the first problems in the order of the file; return if there are none."""
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: problem.line)
    lines = [tell(p.place, found=p.found, wanted=p.wanted, do=p.do) for p in ordered[:AT_MOST]]
    if len(ordered) > AT_MOST:
        lines.append(f"... and {len(ordered) - AT_MOST} more.")
    raise ConfigError("\n".join(lines))

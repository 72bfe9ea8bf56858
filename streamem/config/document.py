"""A pipeline file as plain values, with the line of each and the variables that are in it."""

import json
from dataclasses import dataclass, field
from typing import Any

from streamem.config.problems import Place, Problem, dotted

__all__ = ["Document", "shown"]

LONGEST = 60
"""Characters of a value that a message shows."""


@dataclass
class Document:
    """Plain values, and where each of them stands.

    Parameters
    ----------
    name : str
        The path as the user wrote it.
    values : dict
        What the file says, after variables and ``--set``.
    lines : dict of Place to int
        Line of each value, from 1.
    variables : dict of Place to str
        Names of the variables inside a value; such a value is never shown.
    given : set of Place
        Values that came by ``--set``.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)
    given: set[Place] = field(default_factory=set)

    def line(self, place: Place) -> int:
        """Return the line of a value, or of the nearest one around it; 0 for what came by ``--set``."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.given:
                return 0
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return 1

    def where(self, place: Place) -> str:
        """Return a place in words: the file and line, or the option, and the dotted name."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.given:
                return f"--set {dotted(place)}"
        return f"{self.name} line {self.line(place)}" + (f": {dotted(place)}" if place else "")

    def problem(self, place: Place, *, found: str | None = None, wanted: str, do: str) -> Problem:
        """Return a problem at `place`; what was found is the value there unless `found` says it better."""
        if found is None:
            found = f"the value of {self.variables[place]}" if place in self.variables else shown(self.at(place))
        return Problem(self.where(place), found, wanted, do, self.line(place))

    def at(self, place: Place) -> Any:
        """Return the value at a place, None where there is none."""
        value: Any = self.values
        for step in place:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def shown(value: Any) -> str:
    """Return a value as an error message shows it: short, and never what is inside a mapping.

    Examples
    --------
    >>> shown("3"), shown(True), shown([1, 2]), shown({"a": 1})
    ('"3"', 'true', 'a list of 2', 'a mapping')
    """
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"

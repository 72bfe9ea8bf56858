"""What a declaration may hold: types, choices and limits, each said once, at its field, and checked when it is made.

A pipeline file is checked by the same limits: `streamem.config` reads them from the fields.
"""

import operator
from collections.abc import Mapping
from dataclasses import field, fields
from difflib import get_close_matches
from functools import cache
from math import isfinite
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from streamem.errors import ConfigError, nearest, tell

__all__ = ["Declaration", "check_instance", "limited"]

WORDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}


def limited(default: Any, **limits: float) -> Any:
    """Return the field of a number within `limits`: ``gt``, ``ge``, ``lt`` and ``le``; None stays allowed."""
    return field(default=default, metadata=limits)


class Declaration:
    """A dataclass of settings that refuses what its fields do not allow.

    Arrays and lists become the tuples that are declared, numbers of numpy those of Python.

    Raises
    ------
    ConfigError
        A setting of another type, none of the choices, or beyond its limits.

    Examples
    --------
    >>> from streamem.em import Mixture
    >>> Mixture(components=0)
    Traceback (most recent call last):
    ...
    streamem.errors.ConfigError: mixture: components: found 0; wanted a whole number of at least 1. To do: write 2.
    """

    def __post_init__(self) -> None:
        declared: Any = type(self)
        hints = hints_of(declared)
        name = getattr(self, "type", None)
        place = name if isinstance(name, str) and name in get_args(hints.get("type")) else declared.__name__
        for one in (one for one in fields(declared) if one.init):
            found = getattr(self, one.name)
            right = read(found, hints[one.name], one.metadata)
            if right is WRONG:
                usual = one.default if isinstance(one.default, int | float | str) else None
                near = nearest(found, map(str, get_args(hints[one.name]))) if isinstance(found, str) else ""
                do = "correct it" if usual is None or near else f"write {usual!r}"
                wanted = wanting(hints[one.name], one.metadata)
                raise ConfigError(tell(f"{place}: {one.name}", found=f"{found!r}{near}", wanted=wanted, do=do))
            if right is not found:
                object.__setattr__(self, one.name, right)


WRONG = object()
"""What `read` returns for a value that a field does not allow."""


@cache
def hints_of(declared: Any) -> dict[str, Any]:
    """Return the types of the fields of a declaration."""
    return get_type_hints(declared)


def read(value: Any, hint: Any, limits: Mapping[str, float]) -> Any:
    """Return a setting as its field declares it, or `WRONG`; what is neither number, choice nor tuple is as it is."""
    options = get_args(hint)
    if NoneType in options:
        return None if value is None else read(value, options[0], limits)
    if get_origin(hint) is Literal:
        return value if isinstance(value, str) and value in options else WRONG
    if get_origin(hint) is tuple:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, list | tuple):
            return WRONG
        # a mask of True and False is one of 1 and 0
        flags = options[0] is int
        parts = tuple(read(int(one) if flags and isinstance(one, bool) else one, options[0], {}) for one in value)
        if any(part is WRONG for part in parts):
            return WRONG
        return parts
    if hint is str:
        return value if isinstance(value, str) else WRONG
    if hint is bool:
        return bool(value) if isinstance(value, bool | np.bool_) else WRONG
    if hint not in (int, float):
        return value
    return number(value, hint, limits)


def number(value: Any, kind: type, limits: Mapping[str, float]) -> Any:
    """Return a number of a kind within limits, or `WRONG`."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        return WRONG
    if kind is int and value != int(value):
        return WRONG
    within = all(getattr(operator, name)(value, limit) for name, limit in limits.items())
    return (int(value) if kind is int else value) if within else WRONG


def wanting(hint: Any, limits: Mapping[str, float]) -> str:
    """Return what a setting must be, in words."""
    options = get_args(hint)
    if NoneType in options:
        return f"{wanting(options[0], limits)}, or None"
    if get_origin(hint) is Literal:
        return ("one of " if len(options) > 1 else "") + ", ".join(map(repr, options))
    if get_origin(hint) is tuple:
        inner = {int: "whole numbers", float: "numbers", str: "texts"}.get(options[0]) or wanting(options[0], {})
        return f"a list, each {inner}" if get_origin(options[0]) is not None else f"a list of {inner}"
    words = {int: "a whole number", float: "a finite number", str: "text", bool: "True or False"}
    return " ".join([words[hint], " and ".join(f"{WORDS[name]} {limit:g}" for name, limit in limits.items())]).strip()


def check_instance(place: str, value: Any, table: Mapping[str, type[Any]], needed: str) -> None:
    """Refuse what is no instance of a class of `table`, or of one like them: one that has the method `needed`.

    Raises
    ------
    ConfigError
        With how an instance is written: a name and a class are near misses.
    """
    if hasattr(value, needed) and not isinstance(value, type):
        return
    found, names = repr(value), [kind.__name__ for kind in table.values()]
    do = f"write for example {names[0]}()"
    if isinstance(value, type):
        found, do = f"the class {value.__name__}", f"write {value.__name__}()" if value in table.values() else do
    elif isinstance(value, str):
        close = get_close_matches(value, list(table), n=1)
        do = f"write {table[close[0]].__name__}()" if close else do
    elif not isinstance(value, int | float | None):
        found = f"a {type(value).__name__}"
    raise ConfigError(tell(place, found=found, wanted="one of " + ", ".join(f"{name}()" for name in names), do=do))

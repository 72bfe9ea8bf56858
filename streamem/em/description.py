"""Models and families as plain values and back: what a snapshot says of the model it is of."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from streamem.em.families import FAMILIES, Family
from streamem.errors import ConfigError, SnapshotError, nearest, tell

__all__ = ["build", "describe", "unreadable"]


def describe(value: Any) -> Any:
    """Return a model or family as the plain mapping of its settings."""
    if is_dataclass(value):
        return {field.name: describe(getattr(value, field.name)) for field in fields(value)}
    if not isinstance(value, tuple):
        return value
    parts = [describe(part) for part in value]
    # a snapshot goes through a frame, where the mappings of a list all get the same keys
    return {str(place): part for place, part in enumerate(parts)} if any(map(is_dataclass, value)) else parts


def build(description: Any, table: Mapping[str, type[Any]]) -> Any:
    """Return the model or family that `description` is of.

    Raises
    ------
    SnapshotError
        A type or setting that this version does not know, or one of a wrong type.
    """
    if not isinstance(description, Mapping):
        raise unreadable(f"{description!r} as a model", "a mapping with a type")
    kind = table.get(str(description.get("type")))
    if kind is None:
        name = str(description.get("type"))
        raise unreadable(f"type {name!r}{nearest(name, table)}", "one of " + ", ".join(sorted(table)))
    return constructed(kind, description)


def constructed(kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass with plain `settings`."""
    hints = {field.name: hint for field in fields(kind) for hint in [get_type_hints(kind)[field.name]]}
    for name in settings:
        if name not in hints:
            raise unreadable(f"setting {name!r} of {kind.__name__}", "one of " + ", ".join(sorted(hints)))
    right = {name: read(name, value, hints[name]) for name, value in settings.items()}
    try:
        return kind(**right)
    except ConfigError as error:
        raise SnapshotError(f"snapshot: {error}") from error


def read(name: str, value: Any, hint: Any) -> Any:
    """Return a plain value as a setting of type `hint`."""
    if hint is Family:
        return build(value, FAMILIES)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return constructed(hint, value)
    options = get_args(hint)
    if get_origin(hint) is Literal and isinstance(value, str) and value in options:
        return value
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(read(name, part, options[0]) for part in value)
    if get_origin(hint) is tuple and isinstance(value, Mapping):
        return tuple(read(name, value[str(place)], options[0]) for place in range(len(value)))
    if NoneType in options:
        return None if value is None else read(name, value, options[0])
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if hint in (int, str, bool) and type(value) is hint:
        return value
    wanted = ", ".join(map(str, options)) if get_origin(hint) is Literal else getattr(hint, "__name__", str(hint))
    raise unreadable(f"{name}: {value!r}", wanted)


def unreadable(found: str, wanted: str) -> SnapshotError:
    """Return the error for a snapshot that says what it cannot."""
    return SnapshotError(tell("snapshot", found=found, wanted=wanted, do="use a snapshot as streamem wrote it"))

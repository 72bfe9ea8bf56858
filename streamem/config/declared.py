"""Declared dataclasses as pydantic reads them: narrowed where a field is of a general kind, documented from docstrings.

A component is declared once, where it lives. Two things only this floor knows: which variants a general field such as
`model` may hold (those of a table, told apart by ``type``), and the bounds of numbers that a declaration leaves open.
`narrowed` adds them for reading; what comes out is an instance of the declared class itself.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, field
from types import NoneType
from typing import Annotated, Any, ClassVar, Union, get_args, get_type_hints

from pydantic import AfterValidator, Field

__all__ = ["TAGS", "described", "narrowed", "one_of", "within"]

TAGS = ("type", "detector")
"""The settings that tell the variants of a general one apart."""


def narrowed(declared: type, **fields: Any) -> Any:
    """Return the type by which pydantic reads `declared`, the types of `fields` in place of its own.

    What tells variants apart, mostly a ``type``, must be written in a pipeline file although in Python it has a
    default. A field narrowed to None is not a setting: it cannot be written at all, and keeps its default.

    Examples
    --------
    >>> from pydantic import TypeAdapter
    >>> from streamem.em import Constant
    >>> share = Annotated[float, Field(gt=0, le=1)]
    >>> TypeAdapter(narrowed(Constant, step_size=share)).validate_python({"type": "constant", "step_size": 0.5})
    Constant(type='constant', step_size=0.5, half_life_records=None)
    """
    inner: list[tuple[str, Any, Any]] = []
    for one in dataclasses.fields(declared):
        if one.name in TAGS:
            inner.append((one.name, get_type_hints(declared)[one.name], field()))
        elif one.name in fields:
            default: Any = {"default": one.default} if one.default is not MISSING else {}
            if one.default_factory is not MISSING:
                default = {"default_factory": one.default_factory}
            unwritten = fields[one.name] is None
            inner.append(
                (one.name, ClassVar[Any], one.default) if unwritten else (one.name, fields[one.name], field(**default))
            )
    missing = fields.keys() - {name for name, _, _ in inner}
    if missing:
        raise TypeError(f"{declared.__name__} has no field {', '.join(sorted(missing))}")
    # frozen must match the base; hash and equality do not matter, no instance lives on.
    frozen = declared.__dataclass_params__.frozen  # type: ignore[attr-defined]
    read = dataclasses.make_dataclass(declared.__name__, inner, bases=(declared,), frozen=frozen, kw_only=True)
    read.__doc__ = declared.__doc__
    read.__module__ = declared.__module__
    read.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]

    def as_declared(value: Any) -> Any:
        return declared(**{one.name: getattr(value, one.name) for one in dataclasses.fields(read)})

    return Annotated[read, AfterValidator(as_declared)]


def within(declared: type) -> dict[str, Any]:
    """Return the types of those fields of a declaration that have limits, as pydantic reads them.

    Examples
    --------
    >>> from streamem.em import Power
    >>> sorted(within(Power))
    ['exponent', 'half_life_records', 'rate']
    """
    hints = get_type_hints(declared)
    return {one.name: _within(hints[one.name], one.metadata) for one in dataclasses.fields(declared) if one.metadata}


def _within(hint: Any, limits: Mapping[str, Any]) -> Any:
    if NoneType in get_args(hint):
        return _within(get_args(hint)[0], limits) | None
    return Annotated[hint, Field(**limits, allow_inf_nan=False if hint is float else None)]


def one_of(types: Iterable[Any], by: str = "type") -> Any:
    """Return the union of `types`, told apart by their ``type``, or another setting of each."""
    choices = tuple(types)
    return choices[0] if len(choices) == 1 else Annotated[Union[choices], Field(discriminator=by)]  # noqa: UP007


def described(schema: dict[str, Any], declared: Iterable[type]) -> dict[str, Any]:
    """Return a JSON Schema with the docstrings of `declared` as descriptions of classes and fields."""
    documents = {cls.__name__: cls for cls in declared}
    for name, node in [*schema.get("$defs", {}).items(), (schema.get("title"), schema)]:
        if name not in documents or "properties" not in node:
            continue
        texts = [inspect.getdoc(one) or "" for one in reversed(documents[name].__mro__) if one.__doc__]
        node["description"] = texts[-1].split("\n\n")[0].replace("\n", " ")
        for parameter, meaning in (told for text in texts for told in _parameters(text)):
            if parameter in node["properties"]:
                node["properties"][parameter]["description"] = meaning
    for node in _mappings(schema):
        if isinstance(node.get("title"), str) and "properties" not in node:
            del node["title"]
    return schema


def _parameters(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield name and meaning of each entry in a numpydoc section ``Parameters``."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n\S+\n-+\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    for entry in re.findall(
        r"^(\S[^\n]*) : [^\n]*\n((?:[ \t]+[^\n]*\n?|\n)+)", (section[1] if section else "") + "\n", re.M
    ):
        for name in entry[0].split(", "):
            yield name, " ".join(entry[1].split())


def _mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema inside a schema."""
    if isinstance(node, Mapping):
        yield node  # type: ignore[misc]
        for inner in list(node.values()):
            yield from _mappings(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _mappings(inner)

"""YAML as plain values: types, variables, anchors.

Read by PyYAML's safe loader under the core schema of YAML 1.2: ``no`` is a word, ``1e-6`` a number, ``010`` ten and a
date a text. ``${NAME}`` and ``${NAME:-default}`` are replaced inside values; a value without quotes gets its type after
that.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from streamem.config.document import Document
from streamem.config.problems import Place, Problem, dotted
from streamem.errors import ConfigError, tell

__all__ = ["Walk", "compose"]

VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{[^}]*\}?")
TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core schema, and merge keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own way)


for _name, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
    ("merge", r"^(?:<<)$", ["<"]),
):
    _Loader.add_implicit_resolver(TAG + _name, re.compile(_pattern), _first)


def compose(name: str, text: str) -> yaml.Node | None:
    """Return the tree of `text`, or raise a ConfigError that names the line."""
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line + 1 if mark else 1
        place, found = f"{name} line {number}", ", ".join(filter(None, (error.context, error.problem)))
        line = text.splitlines()[number - 1] if number <= len(text.splitlines()) else ""
        do = (
            'put quotes around a "${...}" inside {...} or [...]' if "${" in line else "check brackets and indents there"
        )
    except yaml.YAMLError as error:
        place, found, do = name, " ".join(str(error).split()), "remove that character"
    except RecursionError:
        place, found, do = name, "brackets nested too deep", "write it flatter"
    raise ConfigError(tell(place, found=found, wanted="YAML", do=do))


class Walk:
    """One walk over a tree: nodes in, plain values out; lines, variables and problems on the side."""

    def __init__(self, document: Document, environment: Mapping[str, str], problems: list[Problem]) -> None:
        self.document, self.environment, self.problems = document, environment, problems
        self.resolver = _Loader("")
        self.above: list[yaml.Node] = []

    def value(self, node: yaml.Node, place: Place) -> Any:
        """Return the plain value of any node."""
        self.document.lines[place] = node.start_mark.line + 1
        if node in self.above:
            self.refuse(
                place, f"{dotted(place)} inside itself", "a tree", "write the part out instead of using an alias"
            )
            return None
        self.above.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, i)) for i, item in enumerate(node.value)]
            return self.scalar(node, place) if isinstance(node, yaml.ScalarNode) else None
        finally:
            self.above.pop()

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        """Return the plain value of a mapping; what it merges in by ``<<`` gives way to its own keys."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == TAG + "merge":
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    found = self.value(part, place)
                    merged = {**(found if isinstance(found, dict) else {}), **merged}
                continue
            if not isinstance(key, yaml.ScalarNode):
                self.refuse(
                    place, "a key that is a list or a mapping", "keys that are words", "write a name before the colon"
                )
                continue
            inside = (*place, key.value)
            if key.value in own:
                self.document.lines[inside] = key.start_mark.line + 1
                self.refuse(inside, "the same key twice", "each key once", "remove one of them")
            own[key.value] = self.value(value, inside)
            self.document.lines[inside] = key.start_mark.line + 1
        return {**merged, **own}

    def scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        """Return the plain value of a scalar, typed after its variables were replaced."""
        text, tag = self.replaced(node.value, place), node.tag
        if "\0" in text:  # of no file can this be the name
            self.refuse(place, f"{text!r}, with a null character", "text without one", "remove it")
            return None
        if place in self.document.variables and node.style is None:
            tag = self.resolver.resolve(  # type: ignore[no-untyped-call]
                yaml.ScalarNode, text, (True, False)
            )
        try:
            return _typed(tag.removeprefix(TAG), text)
        except (KeyError, ValueError):
            self.refuse(
                place,
                f"a value tagged {tag.removeprefix(TAG)}",
                "text, a number, true, false or null",
                "remove the tag",
            )
            return None

    def replaced(self, text: str, place: Place) -> str:
        """Return `text` with its variables replaced; note their names."""
        names = []

        def replace(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            if match[0] == "$${":
                return "${"
            if name is None:
                do = "write $${ where no variable is meant"
                self.refuse(place, match[0], "${NAME} or ${NAME:-default}", do)
                return ""
            names.append("${" + name + "}")
            found = self.environment.get(name)
            if default is not None:
                return found or default
            if found is None:
                do = f"set {name}, or give a default: ${{{name}:-default}}"
                self.refuse(place, f"${{{name}}}, which is not set", f"the environment variable {name}", do)
            return found or ""

        result = VARIABLE.sub(replace, text)
        if names:
            self.document.variables[place] = ", ".join(names)
        return result

    def refuse(self, place: Place, found: str, wanted: str, do: str) -> None:
        """Note a problem and go on, so that all are told at once."""
        self.problems.append(self.document.problem(place, found=found, wanted=wanted, do=do))


def _typed(tag: str, text: str) -> Any:
    """Return `text` as the type that its tag says; KeyError for a tag that is not of the core schema."""
    if tag == "float":
        special = text.lower().lstrip("+-")
        if special in (".inf", ".nan"):
            return math.nan if special == ".nan" else math.copysign(math.inf, -1.0 if text[0] == "-" else 1.0)
    read_as: dict[str, Callable[[str], Any]] = {
        "str": str,
        "null": lambda _: None,
        "bool": lambda t: t.lower() == "true",
        "int": lambda t: int(t, 0) if t[:2] in ("0x", "0o") else int(t),
        "float": float,
    }
    return read_as[tag](text)

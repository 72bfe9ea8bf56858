"""What pydantic found, in the words of the house: place with line, found, wanted, to do, and the nearest right name."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from streamem.config.declared import TAGS
from streamem.config.document import Document
from streamem.config.problems import Place, Problem
from streamem.errors import nearest

__all__ = ["explain", "restated"]

Schema = Mapping[str, Any]

WANTED = {
    "bool_type": "true or false",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "none_required": "nothing",
    "path_type": "a path",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What each of pydantic's errors without a context means. The others tell their bounds in `ctx`."""

BOUNDS = {
    "greater_than": ("a number above {}", "gt"),
    "greater_than_equal": ("a number of at least {}", "ge"),
    "less_than": ("a number below {}", "lt"),
    "less_than_equal": ("a number of at most {}", "le"),
    "literal_error": ("one of {}", "expected"),
    "string_too_short": ("text of at least {} characters", "min_length"),
    "too_short": ("at least {} entries", "min_length"),
    "union_tag_invalid": ("one of {}", "expected_tags"),
}


def explain(error: ValidationError, document: Document, schema: Schema) -> list[Problem]:
    """Return one problem for each place that `error` speaks of.

    Parameters
    ----------
    error : pydantic.ValidationError
        From the values of `document`.
    document : Document
        Knows lines, variables, and what was found.
    schema : mapping
        The JSON Schema that belongs to the same classes; it knows the right names.
    """
    at: dict[Place, list[Mapping[str, Any]]] = {}
    for one in error.errors(include_url=False):
        at.setdefault(_place(one, document), []).append(dict(one))
    return [_problem(place, found, document, schema) for place, found in at.items()]


def _place(one: Mapping[str, Any], document: Document) -> Place:
    """Return the place of an error without the tags of unions that pydantic puts in between."""
    place: Place = ()
    inside: Any = document.values
    for step in one["loc"]:
        is_index = isinstance(inside, list) and isinstance(step, int) and step < len(inside)
        if is_index or (isinstance(inside, dict) and step in inside):
            place, inside = (*place, step), inside[step]
        elif one["type"] == "missing" and step == one["loc"][-1]:
            return (*place, step)
    return (*place, one["ctx"]["discriminator"].strip("'")) if one["type"].startswith("union_tag") else place


def _problem(place: Place, errors: list[Mapping[str, Any]], document: Document, schema: Schema) -> Problem:
    """Return what all errors at one place say together."""
    first = errors[0]
    kind, name = first["type"], str(place[-1]) if place else ""
    if kind in ("missing", "union_tag_not_found"):
        names = _right_names(schema, document, place[:-1]) if kind == "missing" else []
        meaning = _meaning(schema, document, place)
        return document.problem(
            place, found="no such key", wanted=meaning, do=f"add {name}:{_misspelt(name, names, document, place)}"
        )
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        names = _right_names(schema, document, place[:-1])
        do = f"remove or rename it{nearest(name, names)}"
        return document.problem(place, found=f"the unknown key {name}", wanted=f"one of {', '.join(names)}", do=do)
    if kind == "value_error":
        return restated(first["ctx"]["error"], document, place)
    kinds = dict.fromkeys(_wanted(one) for one in errors)
    wanted = " or ".join(one for one in kinds if not (one == "a whole number" and "a number" in kinds))
    found = document.at(place)
    near = ""
    if isinstance(found, str) and place not in document.variables and kind in ("literal_error", "union_tag_invalid"):
        near = nearest(found, _choices(first))
    do = "remove the quotes" if isinstance(found, str) and _is_number(found) and "number" in wanted else "correct it"
    return document.problem(place, wanted=wanted, do=do + near)


def restated(error: Exception, document: Document, place: Place) -> Problem:
    """Return what a component refused by itself, at its place in the file."""
    head, separator, rest = str(error).partition(": found ")
    if not separator:
        return document.problem(place, wanted=str(error), do="correct it")
    found, _, rest = rest.partition("; wanted ")
    wanted, _, do = rest.partition(". To do: ")
    inside = _named(head, document, place)
    hidden = None if inside in document.variables else found
    return document.problem(inside, found=hidden, wanted=wanted, do=do.rstrip("."))


def _named(head: str, document: Document, place: Place) -> Place:
    """Return the place that a component means when its message begins with the name of a setting.

    It may be one inside a setting, as in ``scaled.parameters.with_std``, or one that is not written, as in
    ``kalman: period``.
    """
    dotted = tuple(head.split("."))
    if document.at(dotted) is not None:
        return dotted
    names = head.rpartition(": ")[2].split(" ")[0].split(".")
    for stop in range(len(names), 0, -1):
        for start in range(stop):
            around = document.at((*place, *names[start : stop - 1]))
            if isinstance(around, dict) and names[stop - 1] in around:
                return (*place, *names[start:stop])
    unwritten = re.fullmatch(r"\w+: (\w+)", head) if isinstance(document.at(place), dict) else None
    return (*place, unwritten[1]) if unwritten else place


def _wanted(one: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors wants."""
    kind = one["type"]
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        text = str(one["ctx"][key]).replace("'", "").replace(" or ", ", ")
        return words.format(text) if ", " in text else words.format(text).removeprefix("one of ")
    return WANTED.get(kind) or str(one["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _choices(one: Mapping[str, Any]) -> list[str]:
    """Return the words that an error offers."""
    text = str(one["ctx"].get("expected") or one["ctx"].get("expected_tags"))
    return [word for word in text.replace(" or ", ", ").replace("'", "").split(", ") if word]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _misspelt(name: str, names: list[str], document: Document, place: Place) -> str:
    """Return a hint when a key that nobody knows stands where `name` is missing."""
    around = document.at(place[:-1])
    unknown = [key for key in around if key not in names] if isinstance(around, dict) else []
    return f", or rename {unknown[0]}" if unknown and nearest(name, unknown) else ""


def _variants(schema: Schema, node: Schema) -> Iterator[Schema]:
    """Yield the plain schemas that a node stands for: references followed, unions opened."""
    if "$ref" in node:
        yield from _variants(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    elif "oneOf" in node or "anyOf" in node:
        for choice in node.get("oneOf") or node["anyOf"]:
            yield from _variants(schema, choice)
    else:
        yield node


def _nodes(schema: Schema, document: Document, place: Place) -> list[Schema]:
    """Return the schemas that may hold for a place, by the `type` of everything around it."""
    nodes = list(_variants(schema, schema))
    for length, step in enumerate(place):
        inner: list[Schema] = []
        for node in nodes:
            child = node.get("properties", {}).get(step) if isinstance(step, str) else node.get("items")
            child = child or node.get("additionalProperties")
            if isinstance(child, Mapping):
                inner += _variants(schema, child)
        value = document.at(place[: length + 1])
        told = value if isinstance(value, dict) else {}
        nodes = [n for n in inner if all(_tag(n, by) in (told[by], None) for by in TAGS if by in told)] or inner
    return nodes


def _tag(node: Schema, by: str) -> Any:
    """Return what a mapping of this schema has for a setting that tells variants apart; None for anything."""
    return node.get("properties", {}).get(by, {}).get("const")


def _right_names(schema: Schema, document: Document, place: Place) -> list[str]:
    """Return the keys that a mapping may have."""
    return sorted({name for node in _nodes(schema, document, place) for name in node.get("properties", {})})


def _meaning(schema: Schema, document: Document, place: Place) -> str:
    """Return what belongs at a place where nothing is."""
    kinds = [str(n["const"]) for n in _nodes(schema, document, place) if "const" in n]
    if kinds:
        return ("one of " if len(kinds) > 1 else "") + ", ".join(sorted(kinds))
    words = {
        "array": "a list",
        "object": "a mapping",
        "string": "text",
        "integer": "a whole number",
        "number": "a number",
    }
    found = [words[n["type"]] for n in _nodes(schema, document, place) if n.get("type") in words]
    return " or ".join(dict.fromkeys(found)) or "a value"

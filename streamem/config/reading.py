"""From a path and ``--set`` options to a document."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from streamem.config.document import Document, shown
from streamem.config.problems import Problem, refuse
from streamem.config.tree import Walk, compose
from streamem.errors import ConfigError, nearest, tell

__all__ = ["read"]


def read(path: str, environment: Mapping[str, str], settings: Sequence[str] = ()) -> Document:
    """Return the document at `path` with variables replaced and every ``a.b=c`` of `settings` put in.

    Raises
    ------
    ConfigError
        The file cannot be read, is not YAML, has a key twice, or names a variable that is not set.
    """
    document = Document(path)
    problems: list[Problem] = []
    root = compose(path, _text(path))
    if not isinstance(root, yaml.MappingNode):
        wanted = "a mapping with at least source:, operators: and outputs:"
        raise ConfigError(tell(path, found=_kind(root), wanted=wanted, do="see `streamem schema`"))
    document.values = Walk(document, environment, problems).mapping(root, ())
    refuse(problems)
    for setting in settings:
        _put(document, setting, environment)
    return document


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        folder = Path(path).parent
        near = nearest(Path(path).name, [p.name for p in folder.iterdir()]) if folder.is_dir() else ""
        found = f"no such file{near}"
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at offset {error.start}"
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
    raise ConfigError(tell(path, found=found, wanted="a pipeline file in YAML", do="check the path and the file"))


def _kind(node: yaml.Node | None) -> str:
    if node is None:
        return "an empty file"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _put(document: Document, setting: str, environment: Mapping[str, str]) -> None:
    """Put one ``a.b=c`` into the document."""
    name, equals, text = setting.partition("=")
    if not equals or not all(name.split(".")):
        do = "write it like --set operators.0.model.components=4"
        raise ConfigError(tell("--set", found=setting, wanted="NAME=VALUE with a dotted name", do=do))
    place = tuple(_steps(document, name))
    document.given.add(place)
    document.variables = {k: v for k, v in document.variables.items() if k[: len(place)] != place}
    problems: list[Problem] = []
    node = compose(f"--set {name}", text)
    value = None if node is None else Walk(document, environment, problems).value(node, place)
    refuse(problems)
    inside: Any = document.values
    for step in place[:-1]:
        if isinstance(inside, dict) and inside.get(step) is None:
            inside[step] = {}
        inside = inside[step]
    inside[place[-1]] = value


def _steps(document: Document, name: str) -> Iterator[str | int]:
    """Yield the keys and indices of a dotted name, which must fit the lists that are there."""
    inside: Any = document.values
    for step in name.split("."):
        if isinstance(inside, list):
            if not step.isdecimal() or int(step) >= len(inside):
                wanted = f"an index from 0 to {len(inside) - 1}" if inside else "a list that is not empty"
                raise ConfigError(tell(f"--set {name}", found=step, wanted=wanted, do="count the list from 0"))
            yield int(step)
            inside = inside[int(step)]
        elif isinstance(inside, dict) or inside is None:
            yield step
            inside = (inside or {}).get(step)
        else:
            found = f"{shown(inside)} where {step} should be inside"
            raise ConfigError(
                tell(f"--set {name}", found=found, wanted="a mapping or a list", do="set the part around it")
            )

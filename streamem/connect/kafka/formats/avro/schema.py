"""An Avro schema as instructions for the kernel that reads its messages, and as columns.

Types become columns as in Spark's `from_avro`: a union of null and one type is that type; a union of numbers is a
number; any other union a record of which one field, ``member0``, ``member1`` and so on, is there. A map is a list of
key and value.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamem.connect.kafka.formats.avro import kernel
from streamem.connect.kafka.formats.avro.types import (
    INT,
    LOGICAL,
    LONGEST_DECIMAL,
    PRIMITIVES,
    Node,
    decimal,
    is_decimal,
)
from streamem.errors import DataError, tell

__all__ = ["DEEPEST", "Program", "compile_schema"]

TOP = -1
"""The owner of columns with one entry a message."""

DEEPEST = 16
"""Lists within lists that are read."""

NAMED = frozenset(("record", "error", "enum", "fixed"))


@dataclass
class Program:
    """Instructions in the making; see `kernel` for what each does."""

    place: str
    rows: list[tuple[int, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    depth: int = 0
    node: Node | None = None

    @property
    def code(self) -> NDArray[np.int64]:
        """The instructions as the kernel takes them."""
        return np.array(self.rows, np.int64)

    @property
    def root(self) -> Node:
        """The record of a message."""
        assert self.node is not None  # noqa: S101  set by compile_schema
        return self.node

    def emit(self, operation: int, column: int, name: str, *more: int) -> int:
        """Add an instruction; return where it is."""
        owner = self.owners[column] if column >= 0 else TOP
        self.rows.append((operation, column, owner, *more, *([0] * (3 - len(more)))))
        self.names.append(name)
        return len(self.rows) - 1

    def column(self, owner: int) -> int:
        """Return a new column with as many entries as its owner has elements."""
        self.owners.append(owner)
        return len(self.owners) - 1


def compile_schema(text: str | bytes, place: str, others: Sequence[str] = ()) -> Program:
    """Return the program that reads messages of an Avro schema.

    Parameters
    ----------
    text : str or bytes
        The schema as JSON.
    place : str
        Where it is from, for errors.
    others : sequence of str, optional
        Schemas whose types this one refers to.

    Raises
    ------
    DataError
        It is no schema of a record, or of a record within itself.

    Examples
    --------
    >>> text = '''{"type": "record", "name": "car", "fields": [
    ...     {"name": "id", "type": "string"}, {"name": "speed", "type": ["null", "float"]}]}'''
    >>> compile_schema(text, "car.avsc").root.type
    Struct({'id': String, 'speed': Float32})
    """
    program = Program(place)
    compiler = Compiler(program, {})
    try:
        for other in others:
            compiler.learn(json.loads(other), "")
        schema = json.loads(text)
        compiler.learn(schema, "")
        program.node = compiler.node(schema, "", TOP, "")
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise wrong(place, f"a schema with {error!r}") from error
    if program.node.kind != "record" or not isinstance(schema, dict):
        raise wrong(place, "a schema of something else", "a record with fields at the top")
    return program


def wrong(place: str, found: str, wanted: str = "an Avro schema") -> DataError:
    """Return the error for a schema that cannot be used."""
    return DataError(tell(place, found=found, wanted=wanted, do="mend the schema"))


@dataclass
class Compiler:
    """Walks a schema once; nothing of it is kept."""

    program: Program
    named: dict[str, Any]
    open: list[str] = field(default_factory=list)

    def learn(self, schema: Any, space: str) -> None:
        """Take in the types that have names, by their full names."""
        if isinstance(schema, list):
            for branch in schema:
                self.learn(branch, space)
        elif isinstance(schema, dict):
            kind = schema["type"]
            if isinstance(kind, str) and kind in NAMED:
                name = full_name(schema["name"], schema.get("namespace", space))
                self.named[name] = schema
                space = name.rpartition(".")[0]
                for one in schema.get("fields", ()):
                    self.learn(one["type"], space)
            elif not isinstance(kind, str):
                self.learn(kind, space)
            else:
                self.learn(schema.get("items", schema.get("values", "null")), space)

    def node(self, schema: Any, name: str, owner: int, space: str) -> Node:
        """Add the instructions for a type; return the column that it becomes."""
        if isinstance(schema, list):
            return self.union(schema, name, owner, space)
        if isinstance(schema, str):
            if schema in PRIMITIVES:
                return self.primitive({"type": schema}, name, owner)
            full = full_name(schema, space)
            full = full if full in self.named else schema
            if full not in self.named:
                raise wrong(self.program.place, f"the type {schema!r}", "one that the schema defines")
            return self.node({**self.named[full], "name": full}, name, owner, "")
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.node(kind, name, owner, space)
        if kind in PRIMITIVES:
            return self.primitive(schema, name, owner)
        match kind:
            case "record" | "error":
                return self.record(schema, name, owner, space)
            case "enum":
                symbols = tuple(str(symbol) for symbol in schema["symbols"])
                column = self.program.column(owner)
                self.program.emit(kernel.WHOLE, column, name, 0, len(symbols) - 1)
                return Node("enum", pl.String(), column, symbols=symbols)
            case "fixed":
                size = int(schema["size"])
                if not 0 <= size <= INT[1]:
                    raise wrong(self.program.place, f"{name} of {size} bytes")
                column = self.program.column(owner)
                self.program.emit(kernel.FIXED, column, name, size)
                number = is_decimal(schema) and size <= LONGEST_DECIMAL
                return decimal(schema, column) if number else Node("words", pl.Binary(), column)
            case "array":
                return self.list(schema["items"], name, owner, space)
            case "map":
                fields = [{"name": "key", "type": "string"}, {"name": "value", "type": schema["values"]}]
                return self.list({"type": "record", "name": "", "fields": fields}, name, owner, space)
        return self.node(kind, name, owner, space)

    def primitive(self, schema: Any, name: str, owner: int) -> Node:
        """Add the instruction for a type without parts."""
        base, logical = schema["type"], schema.get("logicalType", "")
        operation, kind, bounds = PRIMITIVES[base]
        kind, bounds = LOGICAL.get((base, logical), (kind, bounds))
        column = self.program.column(owner)
        if base == "bytes" and is_decimal(schema):
            self.program.emit(operation, column, name, 0, LONGEST_DECIMAL)
            return decimal(schema, column)
        self.program.emit(operation, column, name, *bounds)
        return Node("words", kind, column, unit=1_000_000 if logical == "time-millis" else 1000)

    def record(self, schema: Any, name: str, owner: int, space: str) -> Node:
        """Add the instructions for a record."""
        full = full_name(schema["name"], schema.get("namespace", space))
        if full and full in self.open:
            raise wrong(self.program.place, f"{full} within itself", "records that do not hold themselves")
        self.open.append(full)
        column = self.program.column(owner)
        self.program.emit(kernel.RECORD, column, name)
        children: dict[str, Node] = {}
        for one in schema["fields"]:
            title = str(one.get("streamem.name", one["name"]))
            if title in children:
                raise wrong(self.program.place, f"two fields {title!r}")
            path = f"{name}.{title}" if name else title
            children[title] = self.node(one["type"], path, owner, full.rpartition(".")[0] if full else space)
        self.open.pop()
        if not children:  # polars has no records without fields
            return Node("words", pl.Null(), column)
        return Node(
            "record", pl.Struct({name: node.type for name, node in children.items()}), column, tuple(children.items())
        )

    def list(self, items: Any, name: str, owner: int, space: str) -> Node:
        """Add the instructions for an array or a map."""
        program = self.program
        column = program.column(owner)
        begin = program.emit(kernel.LIST, column, name)
        program.depth += 1
        if program.depth > DEEPEST:
            raise wrong(program.place, f"{program.depth} lists within one another", f"{DEEPEST} at most")
        element = self.node(items, name, column, space)
        program.depth -= 1
        program.emit(kernel.END, column, name, begin)
        program.rows[begin] = (*program.rows[begin][:3], len(program.rows), 0, 0)
        return Node("list", pl.List(element.type), column, (("", element),))

    def union(self, branches: Any, name: str, owner: int, space: str) -> Node:
        """Add the instructions for a union: a table of its branches, then what each does."""
        program = self.program
        column = program.column(owner)
        program.emit(kernel.UNION, column, name, len(branches))
        table = len(program.rows)
        for _ in branches:
            program.emit(kernel.UNION, column, name)
        nodes, bodies = [], []
        for branch in branches:
            begin = len(program.rows)
            if not is_null(branch) or len(branches) == 1:
                nodes.append(self.node(branch, name, owner, space))
                program.emit(kernel.JUMP, column, name)
            bodies.append((begin, len(program.rows)))
        end = len(program.rows)
        for n, (begin, stop) in enumerate(bodies):
            program.rows[table + n] = (*program.rows[table + n][:3], begin, stop, 0)
            if stop > begin:
                program.rows[stop - 1] = (*program.rows[stop - 1][:3], end, 0, 0)
        program.rows[table - 1] = (*program.rows[table - 1][:4], end, 0)
        if len(nodes) == 1:
            return nodes[0]
        members = tuple((f"member{n}", node) for n, node in enumerate(nodes))
        if all(node.type.is_numeric() and node.kind == "words" for node in nodes):
            whole = all(node.type.is_integer() for node in nodes)
            return Node("numbers", pl.Int64() if whole else pl.Float64(), column, members)
        return Node("union", pl.Struct({name: node.type for name, node in members}), column, members)


def is_null(branch: Any) -> bool:
    """Return whether a branch of a union is the type of nothing."""
    return branch == "null" or (isinstance(branch, dict) and branch.get("type") == "null")


def full_name(name: str, space: str | None) -> str:
    """Return a name with its namespace.

    Examples
    --------
    >>> full_name("car", "org.road"), full_name("org.road.car", "else"), full_name("car", "")
    ('org.road.car', 'org.road.car', 'car')
    """
    return name if "." in name or not space or not name else f"{space}.{name}"

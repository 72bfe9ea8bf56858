"""Messages of Avro: a record each, with or without the number of its schema before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from streamem.connect.kafka.formats.avro import columns as read_columns
from streamem.connect.kafka.formats.avro.registry import Registry, open_registry
from streamem.connect.kafka.formats.avro.schema import Program, compile_schema
from streamem.connect.kafka.formats.conform import conform, usable
from streamem.connect.kafka.formats.declared import Format
from streamem.connect.kafka.formats.decoder import Decoded, Indices, decoded, present, unfit
from streamem.errors import ConfigError, DataError, tell

__all__ = ["AvroMessages", "open_avro"]

MARK = 5
"""Bytes before a record that tell its schema: a zero, and a number of four bytes, the highest first."""


@dataclass(frozen=True)
class AvroMessages:
    r"""One record a message.

    Parameters
    ----------
    schema : polars.Schema
    mark : int
        How many bytes before each record tell which schema it was written with.
    program : callable
        Gives for those bytes what reads the record, or why nothing does.

    Examples
    --------
    >>> text = '{"type": "record", "name": "car", "fields": [{"name": "x", "type": "int"}]}'
    >>> program = compile_schema(text, "car.avsc")
    >>> messages = AvroMessages(pl.Schema({"x": pl.Float64()}), 0, lambda mark: program)
    >>> result = messages.decode([b"\x02", b"\x80", b"\x03"])
    >>> result.frame["x"].to_list(), result.messages.tolist(), [n for n, _ in result.bad]
    ([1.0, -2.0], [0, 2], [1])
    """

    schema: pl.Schema
    mark: int
    program: Callable[[bytes], Program | str]

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the rows of messages.

        Raises
        ------
        ConnectError
            The registry of the schemas does not answer.
        """
        kept, indices, bad = present(values)
        indices = np.arange(len(values)) if indices is None else indices
        data = b"".join(kept)
        stops = np.cumsum(np.fromiter(map(len, kept), np.int64, len(kept)))
        starts = np.concatenate([np.zeros(min(1, len(stops)), np.int64), stops[:-1]]) + self.mark
        frames: list[pl.DataFrame] = []
        places: list[Indices] = []
        for mark, rows in self.marks(kept):
            try:
                program = self.program(mark)
                if isinstance(program, str):
                    raise DataError(program)
                frame, unread = read_columns.read(program, data, starts[rows], stops[rows])
                frame, lost = conform(frame, self.schema)
            except DataError as error:
                bad |= dict.fromkeys(indices[rows].tolist(), str(error))
                continue
            bad |= {int(indices[rows[n]]): why for n, why in unread.items()}
            read = np.delete(indices[rows], list(unread))
            bad |= {int(read[n]): why for n, why in lost.items()}
            frames.append(frame)
            places.append(np.delete(read, list(lost)))
        if len(frames) == 1:
            return decoded(frames[0], places[0], len(values), bad)
        # several schemas: back into the order of the messages
        messages = np.concatenate([np.empty(0, np.int64), *places])
        order = np.argsort(messages)
        frame = pl.concat([pl.DataFrame(schema=self.schema), *frames], rechunk=True)[order]
        return decoded(frame, messages[order], len(values), bad)

    def marks(self, values: Sequence[bytes]) -> list[tuple[bytes, Indices]]:
        """Return what stands before records, and before which."""
        heads = [value[: self.mark] for value in values] if self.mark else [b""] * len(values)
        codes = {head: n for n, head in enumerate(dict.fromkeys(heads))}
        if len(codes) == 1:
            return [(heads[0], np.arange(len(values)))]
        coded = np.fromiter(map(codes.__getitem__, heads), np.int64, len(heads))
        return [(head, np.flatnonzero(coded == code)) for head, code in codes.items()]


def open_avro(
    declared: Format, sample: Sequence[bytes | None], numbers: frozenset[str], place: str, schema: pl.Schema | None
) -> AvroMessages:
    """Return the decoder of messages of Avro; with a registry the first message that can be read gives the columns.

    Raises
    ------
    ConfigError
        The schema cannot be read or is none; the registry's client is not installed.
    ConnectError
        The registry does not answer.
    DataError
        No message of the sample has a schema of the registry.
    """
    if declared.schema_registry is not None:
        programs = by_number(open_registry(declared.schema_registry))
        return AvroMessages(schema or usable(first(programs, sample, place), numbers), MARK, programs)
    program = read_schema(declared.avro_schema or "")
    return AvroMessages(schema or usable(columns(program), numbers), 0, lambda _: program)


def read_schema(path: str) -> Program:
    """Return the program for a schema in a file."""
    try:
        return compile_schema(Path(path).read_bytes(), path)
    except OSError as error:
        found, do = f"{path}: {error.strerror or error}", "name a file of an Avro schema"
        raise ConfigError(tell("source.avro_schema", found=found, wanted="a file that can be read", do=do)) from error
    except DataError as error:
        raise ConfigError(f"source.avro_schema: {error}") from error


def by_number(registry: Registry) -> Callable[[bytes], Program | str]:
    """Return what gives programs for the marks of messages."""

    def program(mark: bytes) -> Program | str:
        if len(mark) < MARK or mark[0]:
            return unfit(f"a message that begins with {mark.hex(' ')}", "00 and the number of a schema")
        return registry.program(int.from_bytes(mark[1:], "big"))

    return program


def first(programs: Callable[[bytes], Program | str], sample: Sequence[bytes | None], place: str) -> pl.Schema:
    """Return the columns of the first message that has a schema."""
    for mark in dict.fromkeys(value[:MARK] for value in sample if value):
        program = programs(mark)
        if isinstance(program, Program):
            return columns(program)
    do = "look at the topic, at format: and at schema_registry:"
    raise DataError(tell(place, found="no message with a schema of the registry", wanted="at least one", do=do))


def columns(program: Program) -> pl.Schema:
    """Return the columns of a program as they are read."""
    return pl.Schema({name: node.type for name, node in program.root.children})

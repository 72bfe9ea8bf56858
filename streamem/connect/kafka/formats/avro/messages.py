"""Messages of Avro: a record each, with or without the number of its schema before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streamem.connect.kafka.formats.avro.registry import MARK, Registry, open_registry
from streamem.connect.kafka.formats.avro.schema import AvroSchema, avro_schema, library, read_schema, wire
from streamem.connect.kafka.formats.conform import conform, usable
from streamem.connect.kafka.formats.declared import Format
from streamem.connect.kafka.formats.decoder import Decoded, Indices, decoded, present, unfit
from streamem.errors import ConfigError, DataError, tell

__all__ = ["AvroMessages", "encode_avro", "open_avro"]


@dataclass(frozen=True)
class AvroMessages:
    r"""One record a message.

    Parameters
    ----------
    schema : polars.Schema
    mark : int
        How many bytes before each record tell which schema it was written with.
    written : callable
        Gives for those bytes the schema, or why there is none.

    Examples
    --------
    >>> text = '{"type": "record", "name": "car", "fields": [{"name": "x", "type": "int"}]}'
    >>> car = read_schema(text, "car.avsc")
    >>> result = AvroMessages(pl.Schema({"x": pl.Float64()}), 0, lambda mark: car).decode([b"\x02", b"\x80", b"\x03"])
    >>> result.frame["x"].to_list(), result.messages.tolist(), [n for n, _ in result.bad]
    ([1.0, -2.0], [0, 2], [1])
    """

    schema: pl.Schema
    mark: int
    written: Callable[[bytes], AvroSchema | str]

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the rows of messages.

        Raises
        ------
        ConnectError
            The registry of the schemas does not answer.
        """
        _, _, bad = present(values)
        marks: dict[bytes, list[int]] = {}
        for n, value in enumerate(values):
            if value:
                marks.setdefault(value[: self.mark], []).append(n)
        frames, places = [pl.DataFrame(schema=self.schema)], [np.empty(0, np.int64)]
        for mark, alike in marks.items():
            numbers = np.array(alike)
            try:
                written = self.written(mark)
                if isinstance(written, str):
                    raise DataError(written)
                rows, why = read(written, [values[n] or b"" for n in alike], self.mark)
                numbers = left(numbers, why, bad)
                frame, why = framed(rows, written.columns)
                numbers = left(numbers, why, bad)
                frame, why = conform(frame, self.schema)
                numbers = left(numbers, why, bad)
            except DataError as error:
                bad |= dict.fromkeys(numbers.tolist(), str(error))
                continue
            frames.append(frame)
            places.append(numbers)
        frame, messages = pl.concat(frames, rechunk=True), np.concatenate(places)
        if len(frames) > 2:  # several schemas: back into the order of the messages
            order = np.argsort(messages)
            frame, messages = frame[order], messages[order]
        return decoded(frame, messages, len(values), bad)


def read(written: AvroSchema, values: Sequence[bytes], mark: int) -> tuple[list[Any], dict[int, str]]:
    """Return the records behind the marks of messages, and which messages cannot be read, and why."""
    reader, parsed = library().schemaless_reader, written.parsed
    rows, bad = [], {}
    for n, value in enumerate(values):
        stream = BytesIO(value)
        stream.seek(mark)
        try:
            row = reader(stream, parsed, None)
        except Exception as error:  # fastavro raises whatever it stumbles over
            bad[n] = unread(error)
            continue
        if stream.tell() < len(value):
            bad[n] = unfit(f"{len(value) - stream.tell()} bytes behind the record", "a record of the Avro schema")
        else:
            rows.append(row)
    return rows, bad


def unread(error: Exception) -> str:
    """Return why a message cannot be read."""
    said = str(error).partition("\n")[0]
    return unfit(f"bytes that give {type(error).__name__}{f' ({said})' if said else ''}", "a record of the Avro schema")


def framed(rows: Sequence[Any], schema: pl.Schema) -> tuple[pl.DataFrame, dict[int, str]]:
    """Return records as a frame, and which of them no frame can hold, such as decimals of forty digits, and why."""
    kinds = {name: wire(kind) for name, kind in schema.items()}
    try:
        # not strict: polars takes a list whose first number is whole for one of whole numbers
        return pl.DataFrame(rows, schema=kinds, strict=False).cast(schema), {}
    except Exception as error:  # of polars, or of its bindings
        if len(rows) == 1:
            return pl.DataFrame(schema=schema), {0: unread(error)}
    parts = [framed([row], schema) for row in rows]
    return pl.concat([frame for frame, _ in parts]), {n: why[0] for n, (_, why) in enumerate(parts) if why}


def left(numbers: Indices, why: Mapping[int, str], bad: dict[int, str]) -> Indices:
    """Return the numbers of the messages that are left when some of them turn out to be bad."""
    bad.update({int(numbers[n]): reason for n, reason in why.items()})
    return np.delete(numbers, list(why)) if why else numbers


def open_avro(
    declared: Format, sample: Sequence[bytes | None], numbers: frozenset[str], place: str, schema: pl.Schema | None
) -> AvroMessages:
    """Return the decoder of messages of Avro; with a registry the first message that can be read gives the columns.

    Raises
    ------
    ConfigError
        The schema cannot be read or is none; fastavro or the registry's client is not installed.
    ConnectError
        The registry does not answer.
    DataError
        No message of the sample has a schema of the registry.
    """
    library()
    if declared.schema_registry is not None:
        registry = open_registry(declared.schema_registry)
        return AvroMessages(schema or usable(first(registry, sample, place), numbers), MARK, registry.written)
    path = declared.avro_schema or ""
    try:
        written = read_schema(Path(path).read_bytes(), path)
    except OSError as error:
        found, do = f"{path}: {error.strerror or error}", "name a file of an Avro schema"
        raise ConfigError(tell("source.avro_schema", found=found, wanted="a file that can be read", do=do)) from error
    except DataError as error:
        raise ConfigError(f"source.avro_schema: {error}") from error
    return AvroMessages(schema or usable(written.columns, numbers), 0, lambda _: written)


def first(registry: Registry, sample: Sequence[bytes | None], place: str) -> pl.Schema:
    """Return the columns of the first message that has a schema."""
    for mark in dict.fromkeys(value[:MARK] for value in sample if value):
        written = registry.written(mark)
        if isinstance(written, AvroSchema):
            return written.columns
    do = "look at the topic, at format: and at schema_registry:"
    raise DataError(tell(place, found="no message with a schema of the registry", wanted="at least one", do=do))


def encode_avro(frame: pl.DataFrame, mark: bytes = b"") -> list[bytes]:
    r"""Return each row as a message of Avro, by the schema that `avro_schema` gives, behind a mark.

    Examples
    --------
    >>> encode_avro(pl.DataFrame({"n": [1, None], "s": ["a", "é"]}))
    [b'\x02\x02\x02\x02a', b'\x00\x02\x04\xc3\xa9']
    """
    parsed = read_schema(avro_schema(frame.schema), "the columns of an output").parsed
    writer, values = library().schemaless_writer, []
    for row in frame.cast({name: wire(kind) for name, kind in frame.schema.items()}).iter_rows(named=True):
        stream = BytesIO()
        stream.write(mark)
        writer(stream, parsed, row)
        values.append(stream.getvalue())
    return values

"""The decoder for the messages of a source."""

from collections.abc import Sequence

import polars as pl

from streamem.connect.kafka.formats.arrow import ArrowMessages, arrow_schema
from streamem.connect.kafka.formats.avro import open_avro
from streamem.connect.kafka.formats.declared import Format
from streamem.connect.kafka.formats.decoder import Decoder
from streamem.connect.kafka.formats.text import CsvMessages, JsonMessages, json_schema
from streamem.connect.schema import TYPES

__all__ = ["open_decoder"]


def open_decoder(
    declared: Format,
    sample: Sequence[bytes | None],
    numbers: frozenset[str],
    *,
    place: str,
    schema: pl.Schema | None = None,
) -> Decoder:
    """Return the decoder for messages as they are declared.

    Parameters
    ----------
    declared : Format
    sample : sequence of bytes or None
        The first messages, from which types are inferred that nothing declares.
    numbers : frozenset of str
        Columns used as numbers; they become Float64.
    place : str
        The topic, for errors.
    schema : polars.Schema, optional
        The columns of an earlier run, which are then kept.

    Raises
    ------
    ConfigError
        Settings that do not fit each other; a schema that is none; the client of the registry is not installed.
    ConnectError
        The schema or the registry cannot be read.
    DataError
        The sample tells nothing, and nothing is declared.

    Examples
    --------
    >>> sample = [b'{"id": "a", "x": 1}', None, b'{"id": "b", "n": 2}']
    >>> decoder = open_decoder(Format(schema={"n": "integer"}), sample, frozenset("x"), place="topic t")
    >>> decoder.schema
    Schema([('id', String), ('x', Float64), ('n', Int64)])
    >>> decoder.decode(sample[:1]).frame.rows()
    [('a', 1.0, None)]
    """
    declared.check_format()
    match declared.format:
        case "json":
            return JsonMessages(schema or json_schema(sample, declared.schema, numbers, place))
        case "csv":
            columns = schema or pl.Schema({name: TYPES[kind] for name, kind in declared.schema.items()})
            return CsvMessages(columns, declared.separator or ",", declared.null_values)
        case "arrow":
            return ArrowMessages(schema or arrow_schema(sample, numbers, place))
        case "avro":
            return open_avro(declared, sample, numbers, place, schema)

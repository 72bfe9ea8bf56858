"""Messages of JSON and CSV: a record each, joined and parsed at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import polars as pl

from streamem.connect import schema
from streamem.connect.files import framing
from streamem.connect.files.lines import Lines
from streamem.connect.files.written import whole
from streamem.connect.kafka.formats.decoder import EMPTY, Decoded, Indices, decoded, present, unfit
from streamem.connect.parse import Csv, Ndjson, parse
from streamem.errors import DataError, tell

__all__ = ["CsvMessages", "JsonMessages", "encode_csv", "encode_json", "json_schema"]


@dataclass(frozen=True)
class JsonMessages:
    """One JSON object a message, on one line or several.

    Examples
    --------
    >>> messages = JsonMessages(pl.Schema({"x": pl.Float64()}))
    >>> result = messages.decode([b'{"x": 1}', b"{", b'{"x": NaN}'])
    >>> result.frame["x"].to_list(), result.messages.tolist(), [n for n, _ in result.bad]
    ([1.0, None], [0, 2], [1])
    """

    schema: pl.Schema

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the rows of messages."""
        kept, indices, bad = present(values)
        lines = on_lines(kept)

        def records(start: int, stop: int) -> bytes:
            return b"\n".join([*lines[start:stop], b""])

        frame, unparsed = parse(Ndjson(self.schema), records, len(lines))
        return numbered(frame, unparsed, indices, len(values), bad)


def on_lines(values: Sequence[bytes]) -> Sequence[bytes]:
    """Return JSON values without newlines.

    In JSON a newline stands only where a tab may stand too, and where neither may, in a string, it stays an error.
    """
    return [value.replace(b"\n", b"\t") for value in values] if b"\n" in b"".join(values) else values


def json_schema(
    sample: Sequence[bytes | None], declared: Mapping[str, str], numbers: frozenset[str], place: str
) -> pl.Schema:
    """Return the columns of messages of JSON: declared types first, then those of the sample.

    A declared column need not be in the sample: messages may have it now and then, or later.

    Raises
    ------
    DataError
        Nothing is declared, and there is no record in the sample.
    """
    kept, _, _ = present(sample)
    frame, inferred = schema.infer_ndjson([line + b"\n" for line in on_lines(kept)]) if kept else (pl.DataFrame(), {})
    if not inferred and not declared:
        do = "look at the topic, and at format:, or declare the columns in source.schema"
        raise DataError(tell(place, found="no records, or none that can be read", wanted="at least one", do=do))
    absent = {name: pl.Null() for name in declared if name not in inferred}
    return schema.settle(frame, {**inferred, **absent}, declared, numbers, place)


def numbered(
    frame: pl.DataFrame, unparsed: Sequence[tuple[int, str]], indices: Indices | None, count: int, bad: dict[int, str]
) -> Decoded:
    """Return what became of `count` messages, of which those of `indices` were parsed."""
    if indices is None and not unparsed:
        return Decoded(frame, None, ())
    indices = np.arange(count) if indices is None else indices
    bad |= {int(indices[n]): message for n, message in unparsed}
    return decoded(frame, np.delete(indices, [n for n, _ in unparsed]), count, bad)


@dataclass(frozen=True)
class CsvMessages:
    """One record of CSV a message, without a header; a field in quotes may hold newlines.

    Examples
    --------
    >>> messages = CsvMessages(pl.Schema({"name": pl.String(), "x": pl.Float64()}), ",", ["NA"])
    >>> result = messages.decode([b'"a, b",1', b"c,NA", b"d,2,3"])
    >>> result.frame.rows(), result.bad
    ([('a, b', 1.0), ('c', None)], [(2, 'found 3 fields; wanted 2. To do: mend it, or set errors.policy')])
    """

    schema: pl.Schema
    separator: str
    null_values: Sequence[str]

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the rows of messages."""
        kept, indices, bad = present(values)
        indices = np.arange(len(values)) if indices is None else indices
        data, frames, counts = framed(kept, self.separator)
        assert frames.fields is not None  # noqa: S101  framed sets it
        ragged = np.flatnonzero((counts != 1) | (frames.fields != len(self.schema)))
        for n in ragged.tolist():
            bad[int(indices[n])] = self.why(int(counts[n]), int(frames.fields[n]))
        rows = np.delete(np.arange(len(kept)), ragged)
        plain = len(rows) == len(kept) and frames.stray is not None and not frames.stray.any()

        def records(start: int, stop: int) -> bytes:
            if plain:
                return data[frames.starts[start] : frames.ends[stop - 1]]
            return b"".join(whole(data, frames, n, self.separator) for n in rows[start:stop])

        parser = Csv(self.schema.names(), self.schema, self.separator, self.null_values)
        frame, unparsed = parse(parser, records, len(rows))
        return numbered(frame, unparsed, indices[rows], len(values), bad)

    def why(self, records: int, fields: int) -> str:
        """Return why a message is no record of these columns."""
        if not records:
            return EMPTY
        if records > 1 and fields > 0:
            return unfit(f"{records} records", "one a message", "write a message for each")
        quote = "" if fields > 0 else " and an open quote"
        return unfit(f"{abs(fields)} fields{quote}", str(len(self.schema)))


def framed(values: Sequence[bytes], separator: str) -> tuple[bytes, framing.Frames, Indices]:
    """Return records of CSV as one run of bytes with a newline behind each, where they are, and how many in each."""
    data = b"\n".join([*values, b""])
    if b"\n\n" in data or b"\r\n" in data:
        values = [value.rstrip(b"\r\n") for value in values]
        data = b"\n".join([*values, b""])
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)) + 1)
    starts = np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
    counts, fields, stray = np.empty_like(ends), np.empty_like(ends), np.empty(len(ends), np.bool_)
    inspect(np.frombuffer(data, np.uint8), ord(separator), starts, ends, counts, fields, stray)
    return data, framing.Frames(starts, ends, fields, stray, len(data)), counts


@numba.njit(cache=True, nogil=True)
def inspect(data, separator, starts, ends, counts, fields, stray):  # type: ignore[no-untyped-def]
    """Write for each value alone how many records it has, and the fields and the stray quotes of the first."""
    most = 1
    for n in range(len(ends)):
        most = max(most, ends[n] - starts[n])
    places = np.empty(most, np.int64)
    widths = np.empty(most, np.int64)
    quotes = np.empty(most, np.bool_)
    for n in range(len(ends)):
        value = data[starts[n] : ends[n] - 1]
        counts[n] = framing.scan(value, separator, True, framing.LONGEST, places, widths, quotes)
        fields[n] = widths[0] if counts[n] else 0
        stray[n] = counts[n] > 0 and quotes[0]


def encode_json(frame: pl.DataFrame) -> list[bytes]:
    r"""Return each row as a JSON object; a missing value and NaN are null.

    Raises
    ------
    ModelError
        A number is infinite: JSON has none.

    Examples
    --------
    >>> encode_json(pl.DataFrame({"x": [1.5, None], "s": ["a", "é"]}))
    [b'{"x":1.5,"s":"a"}', b'{"x":null,"s":"\xc3\xa9"}']
    """
    return bytes(Lines("ndjson").text([frame])).split(b"\n")[:-1] if frame.height else []


def encode_csv(frame: pl.DataFrame, lines: Lines) -> list[bytes]:
    """Return each row as a record of CSV without a header.

    Parameters
    ----------
    frame : polars.DataFrame
        Lists become columns, as many as the longest first had.
    lines : Lines
        ``Lines("csv")``, the same for all frames of a topic: it knows the columns and the widths of the lists.

    Raises
    ------
    ConfigError
        Other columns or longer lists than before.

    Examples
    --------
    >>> lines = Lines("csv")
    >>> encode_csv(pl.DataFrame({"s": ["a, b", "c"], "p": [[0.25, 0.75], None]}), lines)
    [b'"a, b",0.25,0.75', b'c,,']
    >>> lines.columns
    ['s', 'p.0', 'p.1']
    """
    if not frame.height:
        return []
    titled = lines.columns is None
    data = bytes(lines.text([frame]))
    count = frame.height + titled
    ends, fields, stray = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.bool_)
    framing.scan(np.frombuffer(data, np.uint8), ord(","), True, len(data), ends, fields, stray)
    starts = [0, *ends.tolist()]
    return [data[start : stop - 1] for start, stop in zip(starts, ends.tolist(), strict=False)][titled:]

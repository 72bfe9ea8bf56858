"""How CSV and NDJSON files are written: their header, their records, and the types in them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streamem.connect import schema
from streamem.connect.files import framing
from streamem.connect.files.bytestream import ByteStream
from streamem.errors import DataError, tell

__all__ = ["ENCODING_MARK", "TextFormat", "header", "whole"]

ENCODING_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextFormat:
    """How the records of all files of a source are written."""

    kind: str
    separator: str
    null_values: Sequence[str]

    def frames(self, data: bytes, *, final: bool) -> framing.Frames:
        """Return where the records of `data` are."""
        if self.kind == "csv":
            return framing.csv_records(data, self.separator, final=final)
        return framing.lines(data, final=final)

    def sample(self, stream: ByteStream, *, final: bool) -> tuple[pl.DataFrame, dict[str, pl.DataType]]:
        """Return the first 10,000 records of a stream and the types in them, and leave the stream at its beginning.

        An unterminated last line counts only if it is `final`. Damage is left to be met again, behind the records
        before it; only where there are none it is raised.
        """
        data, at, names = b"", 0, [""]
        records: list[bytes] = []
        begun = self.kind != "csv"
        damage: DataError | None = None
        ended = False
        while not ended and len(records) < schema.RECORDS:
            try:
                more = stream.read()
            except DataError as error:
                more, damage = b"", error
            data += more
            ended = not more
            last = ended and final and damage is None
            if not at and data.startswith(ENCODING_MARK):
                at = len(ENCODING_MARK)
            if not begun:
                names, length = header(stream.path, data[at:], self.separator, final=last)
                at, begun = at + length, length > 0
            if begun:
                body = data[at:]
                frames = self.frames(body, final=last)
                records += (whole(body, frames, n, self.separator) for n in self.sound(frames, len(names)))
                at += frames.consumed
        stream.give_back(data)
        if damage is not None and not records:
            raise damage
        records = records[: schema.RECORDS]
        if self.kind == "ndjson":
            return schema.infer_ndjson(records)
        if not records:
            return pl.DataFrame(), {}
        frame = schema.infer_csv(b"".join(records), names, self.separator, self.null_values)
        return frame, schema.csv_types(frame)

    def sound(self, frames: framing.Frames, width: int) -> list[int]:
        """Return which records have as many fields as there are columns."""
        return (
            np.arange(len(frames.ends)) if frames.fields is None else np.flatnonzero(frames.fields == width)
        ).tolist()


def whole(data: bytes, frames: framing.Frames, index: int, separator: str) -> bytes:
    """Return a record, stray quotes in it quoted, and its newline, which may be missing at the end of a file."""
    record = data[frames.starts[index] : frames.ends[index]]
    if frames.stray is not None and frames.stray[index]:
        text = io.StringIO()
        fields = next(csv.reader(io.StringIO(record.decode(errors="surrogateescape"), ""), delimiter=separator))
        csv.writer(text, delimiter=separator, lineterminator="\n").writerow(fields)
        return text.getvalue().encode(errors="surrogateescape")
    return record if record.endswith(b"\n") else record + b"\n"


def header(path: str, data: bytes, separator: str, *, final: bool) -> tuple[list[str], int]:
    """Return the names in the first record of CSV data, and where it ends; none while it is not there as a whole.

    Raises
    ------
    DataError
        It names a column twice, or not at all.
    """
    frames = framing.csv_records(data, separator, final=final)
    if not len(frames.ends):
        return [], 0
    line = data[frames.starts[0] : frames.ends[0]].decode("utf-8", errors="replace")
    names = next(csv.reader(io.StringIO(line, ""), delimiter=separator))
    if len(set(names)) < len(names) or "" in names:
        wanted, do = "a name of its own for each column", "mend the header"
        raise DataError(tell(f"header of {path}", found=line.strip(), wanted=wanted, do=do))
    return names, int(frames.ends[0])

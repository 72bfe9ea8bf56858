"""Where records end in a run of bytes.

Exact and compiled: a line of NDJSON ends at its newline, a record of CSV at the first newline outside quotes, and a
quote opens only at the start of a field (RFC 4180), so that a stray one inside a field swallows nothing.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST", "NONE", "Frames", "csv_records", "lines"]

LONGEST = 1 << 20
"""A CSV record does not run over more bytes than this: a quote that is still open then was never meant to be one."""

Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Frames:
    """The records in a run of bytes, blank lines left out.

    Parameters
    ----------
    starts, ends : ndarray, shape (N,)
        Record n is ``data[starts[n]:ends[n]]``, its newline included.
    fields : ndarray, shape (N,), or None
        How many fields each has, negative where a quote stays open; of CSV only.
    stray : ndarray of bool, shape (N,), or None
        Which have a quote where RFC 4180 allows none; of CSV only.
    consumed : int
        The bytes up to here are whole lines.
    """

    starts: Offsets
    ends: Offsets
    fields: Offsets | None
    stray: NDArray[np.bool_] | None
    consumed: int


NONE = Frames(np.empty(0, np.int64), np.empty(0, np.int64), None, None, 0)
"""No records."""


def lines(data: bytes, *, final: bool) -> Frames:
    """Return the lines of `data`; an unterminated last one counts only if it is `final`."""
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10) + 1
    if final and len(data) and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    return without_blanks(data, array, ends, None, None, b" \t\r\n")


def csv_records(data: bytes, separator: str, *, final: bool) -> Frames:
    """Return the CSV records of `data`; an unterminated last one counts only if it is `final`."""
    array = np.frombuffer(data, np.uint8)
    most = data.count(b"\n") + 1
    ends, fields, stray = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_)
    count = scan(array, ord(separator), final, LONGEST, ends, fields, stray)
    blank = b" \t\r\n".replace(separator.encode(), b"")
    return without_blanks(data, array, ends[:count], fields[:count], stray[:count], blank)


def without_blanks(
    data: bytes,
    array: NDArray[np.uint8],
    ends: Offsets,
    fields: Offsets | None,
    stray: NDArray[np.bool_] | None,
    white: bytes,
) -> Frames:
    """Return the records between `ends`, lines of nothing but white space left out."""
    starts = np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
    consumed = int(ends[-1]) if len(ends) else 0
    suspect = np.flatnonzero(array[starts] <= 32)
    blank = [n for n in suspect if not data[starts[n] : ends[n]].strip(white)]
    if blank:
        starts, ends = np.delete(starts, blank), np.delete(ends, blank)
        fields = None if fields is None else np.delete(fields, blank)
        stray = None if stray is None else np.delete(stray, blank)
    return Frames(starts, ends, fields, stray, consumed)


@numba.njit(cache=True, nogil=True)
def scan(data, separator, final, longest, ends, fields, stray):  # type: ignore[no-untyped-def]
    """Write the end, the number of fields and the stray quotes of every record; return how many records there are.

    A record that is still inside quotes after `longest` bytes ends at its first newline instead.
    """
    count = 0
    start = 0
    at = 0
    size = len(data)
    while start < size:
        quoted = False
        field_start = True
        closed = False  # behind a closing quote, where only a separator or the end of the line may stand
        odd = False
        found = 1
        first_newline = -1
        first_found = 1
        ended = -1
        at = start
        while at < size:
            byte = data[at]
            if quoted:
                if byte == 34:
                    if at + 1 < size and data[at + 1] == 34:
                        at += 1
                    else:
                        quoted = False
                        closed = True
                elif byte == 10 and first_newline < 0:
                    first_newline = at + 1
                    first_found = found
                    first_found = found
                if quoted and at - start > longest and first_newline >= 0:
                    ended = first_newline
                    found = -first_found
                    break
            elif byte == 34 and field_start:
                quoted = True
                field_start = False
            elif byte == separator:
                found += 1
                field_start = True
                closed = False
            elif byte == 10:
                ended = at + 1
                break
            else:
                odd |= byte == 34 or (closed and byte != 13)
                field_start = False
            at += 1
        if ended < 0:
            if not final:
                break
            # the end of the input inside quotes: the first line alone is the bad record
            if quoted and first_newline >= 0:
                ended = first_newline
                found = -first_found
            else:
                ended = size
                if quoted:
                    found = -found
        ends[count] = ended
        fields[count] = found
        stray[count] = odd
        count += 1
        start = ended
    return count

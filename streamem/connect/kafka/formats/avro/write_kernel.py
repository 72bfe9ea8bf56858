"""Columns of words to messages of Avro, compiled: `kernel` backwards, for schemas of our own.

Those have every field as a union of null and one type. Bytes and texts stand one after the other in `text`.
"""

import numba
import numpy as np

from streamem.connect.kafka.formats.avro.kernel import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    END,
    FLOAT,
    JUMP,
    LIST,
    STRING,
    UNION,
    WHOLE,
    missing,
)

__all__ = ["LONGEST", "write"]

LONGEST = 10
"""Bytes of a whole number."""


@numba.njit(cache=True, nogil=True)
def put(out, place, value):  # type: ignore[no-untyped-def]
    """Write a whole number; return where it ends."""
    word = np.uint64((value << np.int64(1)) ^ (value >> np.int64(63)))
    while word > np.uint64(127):
        out[place] = (word & np.uint64(127)) | np.uint64(128)
        word >>= np.uint64(7)
        place += 1
    out[place] = word
    return place + 1


@numba.njit(cache=True, nogil=True)
def message(code, at, words, sizes, text, out, place, loops):  # type: ignore[no-untyped-def]
    """Write one message; return where it ends."""
    n = 0
    depth = 0
    while n < len(code):
        operation, column = code[n, 0], code[n, 1]
        entry = at[column]
        if operation == UNION:
            begin, stop = code[n + 2, 3], code[n + 2, 4]
            there = sizes[at[code[begin, 1]]] >= 0
            place = put(out, place, np.int64(there))
            if not there:
                missing(code, begin, stop, code[n, 2], False, at, words, sizes)
            n = begin if there else code[n, 4]
            continue
        if operation == JUMP:
            n = code[n, 3]
            continue
        if operation == END:
            begin = code[n, 3]
            loops[depth - 1] -= 1
            if loops[depth - 1]:
                n = begin + 1
                continue
            place = put(out, place, np.int64(0))
            depth -= 1
            n = code[begin, 3]
            continue
        at[column] += 1
        word, size = words[entry], sizes[entry]
        if operation == LIST:
            place = put(out, place, size)
            if size:
                loops[depth] = size
                depth += 1
                n += 1
            else:
                n = code[n, 3]
            continue
        if operation == WHOLE:
            place = put(out, place, word)
        elif operation in (STRING, BYTES):
            place = put(out, place, size)
            out[place : place + size] = text[word : word + size]
            place += size
        elif operation in (DOUBLE, FLOAT, BOOLEAN):
            width = 8 if operation == DOUBLE else 4 if operation == FLOAT else 1
            for k in range(width):
                out[place + k] = (word >> np.int64(8 * k)) & np.int64(255)
            place += width
        n += 1
    return place


@numba.njit(cache=True, nogil=True)
def write(code, at, words, sizes, text, out, ends, loops):  # type: ignore[no-untyped-def]
    """Write messages one after the other, and where each ends.

    Parameters
    ----------
    code : ndarray of int, shape (I, 6)
    at : ndarray of int, shape (C,)
        Where each column begins; moved on.
    words, sizes : ndarray of int
        See `kernel`.
    text, out : ndarray of uint8
    ends : ndarray of int, shape (N,)
    loops : ndarray of int, shape (depth,)
        Room for the elements left of the lists that are open.
    """
    place = 0
    for n in range(len(ends)):
        place = message(code, at, words, sizes, text, out, place, loops)
        ends[n] = place

"""Messages of Avro to columns of words, compiled.

A schema is a list of instructions, a row of six numbers each: operation, column, owner (the list whose elements the
column has an entry for, -1 for the message), and three that depend on the operation:

========  ======================  =====================  =====================================================
WHOLE     least                   most                   a whole number, of variable length
BYTES                             longest                a length, and so many bytes
STRING                            longest                the same, and they must be UTF-8
BOOLEAN, FLOAT, DOUBLE                                   as Avro writes them
NULL                                                     nothing is read: it is missing
FIXED     bytes
RECORD                                                   nothing is read: it is there
LIST      after its END                                  blocks of elements, which the instructions up to END read
END       its LIST
UNION     branches                end                    a table follows: begin and end of each branch
JUMP      to
========  ======================  =====================  =====================================================

A column is a run of words of 64 bits: numbers as they are, floating-point numbers as their bits, for bytes and texts
where they begin. `sizes` has the length of bytes, texts and lists, and -1 for what is missing.
"""

import numba
import numpy as np

__all__ = [
    "BOOLEAN",
    "BYTES",
    "DOUBLE",
    "END",
    "FIXED",
    "FLOAT",
    "JUMP",
    "LIST",
    "NULL",
    "REASONS",
    "RECORD",
    "STRING",
    "UNION",
    "WHOLE",
    "count",
    "fill",
]

NULL, BOOLEAN, WHOLE, FLOAT, DOUBLE, BYTES, STRING, FIXED, RECORD, LIST, END, UNION, JUMP = range(13)

CUT, NUMBER, TEXT, LENGTH, BRANCH, REST = range(1, 7)

REASONS = {
    CUT: "the end of the message",
    NUMBER: "a number out of its bounds",
    TEXT: "text that is not UTF-8",
    LENGTH: "a length that is none",
    BRANCH: "a branch that the union does not have",
    REST: "more bytes behind the record",
}


@numba.njit(cache=True, nogil=True)
def varint(data, at, stop):  # type: ignore[no-untyped-def]
    """Return the whole number that begins at `at`, and where it ends; -1 where it does not."""
    word = np.uint64(0)
    for n in range(10):
        if at + n >= stop:
            return np.int64(0), -1
        byte = np.uint64(data[at + n])
        word |= (byte & np.uint64(127)) << np.uint64(7 * n)
        if byte < np.uint64(128):
            if n == 9 and byte > np.uint64(1):
                return np.int64(0), -1
            half = np.int64(word >> np.uint64(1))
            return (half if word & np.uint64(1) == np.uint64(0) else ~half), at + n + 1
    return np.int64(0), -1


@numba.njit(cache=True, nogil=True)
def is_text(data, at, stop):  # type: ignore[no-untyped-def]
    """Return whether bytes are UTF-8 (RFC 3629: no surrogates, nothing overlong, nothing above U+10FFFF)."""
    while at < stop:
        first = data[at]
        at += 1
        if first < 0x80:
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        if at + more > stop:
            return False
        least = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        most = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if data[at] < least or data[at] > most:
            return False
        for n in range(1, more):
            if data[at + n] < 0x80 or data[at + n] > 0xBF:
                return False
        at += more
    return True


@numba.njit(cache=True, nogil=True)
def missing(code, begin, stop, owner, write, at, words, sizes):  # type: ignore[no-untyped-def]
    """Write that the columns of some instructions have nothing."""
    for n in range(begin, stop):
        operation, column = code[n, 0], code[n, 1]
        if code[n, 2] == owner and operation != END and operation != UNION and operation != JUMP:
            if write:
                words[at[column]] = 0
                sizes[at[column]] = -1
            at[column] += 1


@numba.njit(cache=True, nogil=True)
def message(code, data, place, stop, write, at, words, sizes, loops):  # type: ignore[no-untyped-def]
    """Read one message; return 0, or why it cannot be, and at which instruction.

    Parameters
    ----------
    at : ndarray of int, shape (C,)
        Where the next entry of each column goes; moved on.
    loops : ndarray of int, shape (depth, 2)
        Room for the lists that are open: elements left in the block, and where the size of the list goes.
    """
    n = 0
    depth = 0
    while n < len(code):
        operation, column, owner = code[n, 0], code[n, 1], code[n, 2]
        word = size = np.int64(0)
        if operation == UNION:
            branch, place = varint(data, place, stop)
            if place < 0:
                return CUT, n
            if branch < 0 or branch >= code[n, 3]:
                return BRANCH, n
            table = n + 1
            for other in range(code[n, 3]):
                if other != branch:
                    missing(code, code[table + other, 3], code[table + other, 4], owner, write, at, words, sizes)
            begin = code[table + branch, 3]
            n = begin if code[table + branch, 4] > begin else code[n, 4]
            continue
        if operation == JUMP:
            n = code[n, 3]
            continue
        if operation in (LIST, END):
            if operation == LIST:
                depth += 1
                loops[depth - 1, 0] = 0
                loops[depth - 1, 1] = at[column]
                if write:
                    sizes[at[column]] = 0
                at[column] += 1
            begin = n + 1 if operation == LIST else code[n, 3] + 1
            after = code[begin - 1, 3]
            if loops[depth - 1, 0] == 0:
                count, place = varint(data, place, stop)
                if place < 0:
                    return CUT, n
                if count < 0:
                    _, place = varint(data, place, stop)
                    if place < 0:
                        return CUT, n
                    count = -count
                # each element has a byte at least, so that nothing is read for ever
                if count < 0 or count > stop - place:
                    return LENGTH, n
                loops[depth - 1, 0] = count
                if write:
                    sizes[loops[depth - 1, 1]] += count
                if count == 0:
                    depth -= 1
                    n = after
                    continue
            loops[depth - 1, 0] -= 1
            n = begin
            continue
        if operation == WHOLE:
            word, place = varint(data, place, stop)
            if place < 0:
                return CUT, n
            if word < code[n, 3] or word > code[n, 4]:
                return NUMBER, n
        elif operation in (STRING, BYTES):
            size, word = varint(data, place, stop)
            if word < 0:
                return CUT, n
            if size < 0 or size > code[n, 4]:
                return LENGTH, n
            if size > stop - word:
                return CUT, n
            place = word + size
            if operation == STRING and not is_text(data, word, place):
                return TEXT, n
        elif operation in (DOUBLE, FLOAT, BOOLEAN):
            width = 8 if operation == DOUBLE else 4 if operation == FLOAT else 1
            if place + width > stop:
                return CUT, n
            for k in range(width):
                word |= np.int64(data[place + k]) << np.int64(8 * k)
            if operation == BOOLEAN and word > 1:
                return NUMBER, n
            place += width
        elif operation == FIXED:
            word, size = place, code[n, 3]
            if size > stop - place:
                return CUT, n
            place += size
        elif operation == NULL:
            size = np.int64(-1)
        if write:
            words[at[column]] = word
            sizes[at[column]] = size
        at[column] += 1
        n += 1
    return (REST if place < stop else 0), 0


@numba.njit(cache=True, nogil=True)
def count(code, data, starts, stops, at, loops, why, where):  # type: ignore[no-untyped-def]
    """Write how many entries each column gets from the good messages, and what is wrong with the others."""
    none = np.empty(0, np.int64)
    before = at.copy()
    for n in range(len(starts)):
        before[:] = at
        why[n], where[n] = message(code, data, starts[n], stops[n], False, at, none, none, loops)
        if why[n]:
            at[:] = before


@numba.njit(cache=True, nogil=True)
def fill(code, data, starts, stops, at, loops, words, sizes):  # type: ignore[no-untyped-def]
    """Write the columns of good messages."""
    for n in range(len(starts)):
        message(code, data, starts[n], stops[n], True, at, words, sizes, loops)

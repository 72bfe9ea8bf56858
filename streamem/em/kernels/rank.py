"""The rank of each number among those before it, in a sliding window."""

import numpy as np

from streamem.em.kernels import compiled, inlined
from streamem.em.observations import Array

__all__ = ["mid_ranks"]


def mid_ranks(numbers: Array, count: int, *, window: int, least: int) -> Array:
    """Return for each of the last `count` numbers the share of the window before it that is greater, ties counted half.

    All numbers are sorted together once. The window that slides over them is then a set of places in that order, one
    bit each: what is greater is counted a word of 64 at a time. At a window of 1,000 that takes half the time of a
    sorted window, whose insertions move a third of it, or of a comparison with each number in it.

    Parameters
    ----------
    numbers : ndarray, shape (N,)
        In order of arrival, none of them NaN.
    count : int
    window : int
        How many numbers before it each is ranked among.
    least : int
        Where there are fewer than this, NaN is returned.
    """
    out = np.empty(count)
    slide(numbers, np.argsort(numbers), window, least, out)
    return out


@compiled
def slide(numbers, order, window, least, out):  # type: ignore[no-untyped-def]
    """Write the ranks of the last ``len(out)`` numbers, which `order` sorts."""
    count = len(numbers)
    before = count - len(out)
    place = np.empty(count, np.int64)
    first = np.empty(count, np.int64)  # of the places of equal numbers
    behind = np.empty(count, np.int64)
    start = 0
    for at in range(count):
        if at > 0 and numbers[order[at]] != numbers[order[at - 1]]:
            start = at
        place[order[at]] = at
        first[order[at]] = start
    stop = count
    for at in range(count - 1, -1, -1):
        if at + 1 < count and numbers[order[at]] != numbers[order[at + 1]]:
            stop = at + 1
        behind[order[at]] = stop
    bits = np.zeros(count // 64 + 1, np.uint64)
    sums = np.zeros(len(bits), np.int64)
    for n in range(count):
        filled = min(n, window)
        if n >= before and filled >= least:
            greater = set_from(bits, sums, behind[n])
            equal = set_from(bits, sums, first[n]) - greater if behind[n] > first[n] + 1 else 0
            out[n - before] = (greater + 0.5 * equal) / filled
        elif n >= before:
            out[n - before] = np.nan
        word = place[n] >> 6
        bits[word] |= np.uint64(1) << np.uint64(place[n] & 63)
        sums[word] += 1
        if n >= window:
            gone = place[n - window] >> 6
            bits[gone] &= ~(np.uint64(1) << np.uint64(place[n - window] & 63))
            sums[gone] -= 1


@inlined
def set_from(bits, sums, place):  # type: ignore[no-untyped-def]
    """Return how many bits are set from `place` on; `sums` has those of every word."""
    word = place >> 6
    x = bits[word] >> np.uint64(place & 63)
    # the bits of one word counted in parallel: in pairs, in fours, in bytes, then all bytes added by one product
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    total = np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
    for later in range(word + 1, len(sums)):
        total += sums[later]
    return total

"""The rank of each number among those before it, in a sliding window."""

import numpy as np

from streamem.em.kernels import compiled

__all__ = ["mid_ranks"]


@compiled
def mid_ranks(numbers, least, ring, filled, oldest, out):  # type: ignore[no-untyped-def]
    """Write for each number the share of the window before it that is greater, ties counted half.

    The window is counted through for every number: vector instructions make that three times faster at 1,000 numbers
    than a sorted window, whose insertions move a third of it.

    Parameters
    ----------
    numbers : ndarray, shape (N,)
    least : int
        With fewer numbers than this in the window, NaN is written.
    ring : ndarray, shape (W,)
        The window, changed.
    filled, oldest : int
        How many of the W places are taken, and where the oldest number is.
    out : ndarray, shape (N,)
        Written.

    Returns
    -------
    tuple of int
        `filled` and `oldest` after the last number.
    """
    size = len(ring)
    for n in range(len(numbers)):
        x = numbers[n]
        if filled >= least:
            greater = 0
            equal = 0
            for i in range(filled):
                greater += ring[i] > x
                equal += ring[i] == x
            out[n] = (greater + 0.5 * equal) / filled
        else:
            out[n] = np.nan
        if filled < size:
            ring[filled] = x
            filled += 1
        else:
            ring[oldest] = x
            oldest = (oldest + 1) % size
    return filled, oldest

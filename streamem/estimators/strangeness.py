"""How strange a record is, in [0, 1]: its rank among the records learned before it, and beyond them how far.

The rank is that of `streamem.em.AnomalyRank`, so a score has no units, and records with missing values are compared
with their like. Whatever is less likely than all of them would be 1; how far beyond they are tells these apart. Where
hardly any like it were learned, what the model expects of them takes their place.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping

import numpy as np

from streamem.em import AnomalyRank
from streamem.em.anomaly import LEAST
from streamem.em.observations import Array, Flags

__all__ = ["UNKNOWN", "Ranks", "among", "astray", "strangeness"]

UNKNOWN = 0.0
"""The score before the start, and of a record that has no feature: as river's HalfSpaceTrees say it.

River's filters rely on that: they keep what is scored higher than usual from being learned.
"""

LOST = 1e8
"""So many times as far as others are, a value squared leaves nothing of theirs squared in a sum of doubles."""

HUGE = 1e150
"""Beyond it a square overflows."""

CLOSE = 1e-9
"""Log-likelihoods no further apart are equal: sums in another order, of counts of which many are alike."""

Ranks = dict[bytes, list[float]]
"""The log-likelihoods of the windows, sorted, by the pattern of missing values."""


def ordered(rank: AnomalyRank) -> Ranks:
    """Return the windows of log-likelihoods, sorted."""
    return {pattern: np.sort(window).tolist() for pattern, window in rank.windows.items() if len(window) >= LEAST}


def strangeness(windows: Mapping[bytes, list[float]], pattern: bytes, log_likelihood: float) -> float:
    """Return the score of one record.

    Examples
    --------
    >>> windows = {b"": [float(n) for n in range(-100, 0)]}
    >>> strangeness(windows, b"", 1.0), round(strangeness(windows, b"", -50.0), 2)
    (0.0, 0.49)
    >>> strangeness(windows, b"", -101.0) < strangeness(windows, b"", -102.0) < 1.0
    True
    """
    if log_likelihood - log_likelihood != 0.0:
        return 1.0  # too far from everything to tell how far
    window = windows.get(pattern)
    if window is None:
        return UNKNOWN
    count = len(window)
    below = window[0] - log_likelihood
    if below > 0.0:
        return (count + below / (1.0 + below)) / (count + 1.0)
    low = high = bisect_left(window, log_likelihood - CLOSE)
    if low < count and window[low] <= log_likelihood + CLOSE:
        high = bisect_right(window, log_likelihood + CLOSE)
    likelier = count - 0.5 * (low + high)
    return likelier / (count + 1.0)


def among(window: Array, log_likelihood: Array) -> Array:
    """Return the scores of records, shape (N,), among the log-likelihoods of others, sorted: as `strangeness`.

    Examples
    --------
    >>> among(np.arange(-100.0, 0.0), np.array([1.0, -50.0])).round(2).tolist()
    [0.0, 0.49]
    """
    count = len(window)
    low = np.searchsorted(window, log_likelihood - CLOSE, "left")
    high = np.searchsorted(window, log_likelihood + CLOSE, "right")
    below = np.maximum(window[0] - log_likelihood, 0.0)
    likelier = np.where(below > 0.0, count + below / (1.0 + below), count - 0.5 * (low + high))
    return np.asarray(likelier / (count + 1.0))


def astray(values: Array) -> Flags:
    """Return which rows, shape (N,), have a value so far from the others that no variance tells these apart any more.

    Examples
    --------
    >>> astray(np.array([[1.0], [2.0], [1e200], [np.nan], [3.0]])).tolist()
    [False, False, True, False, False]
    """
    out = np.zeros(len(values), bool)
    for column in values.T:
        there = ~np.isnan(column)
        if there.any():
            # halves, as a difference of two doubles can overflow
            apart = np.abs(0.5 * column - np.median(0.5 * column[there]))
            near = apart[there & (apart > 0.0)]
            usual = min(float(np.median(near)) if len(near) else HUGE, HUGE)
            least = min(LOST * usual, HUGE)
            out |= there & (apart > least)
    return out

"""How strange a record is: the rank of its log-likelihood among the records before it.

A log-likelihood alone says little: densities have units, and a row with missing values has fewer factors. A rank among
recent records with the same pattern of missing values has neither trouble, and needs no threshold to be tuned.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamem.em.kernels.rank import mid_ranks
from streamem.em.observations import Array, Flags
from streamem.errors import SnapshotError, tell

__all__ = ["AnomalyRank"]

LEAST = 100
"""Records needed before a rank says anything."""

ROWS = 4096
"""Rows ranked at once: with more, the set of places outgrows the cache."""

PATTERNS = 64
"""Patterns of missing values that are told apart; the one not seen for longest leaves first."""


@dataclass
class AnomalyRank:
    """Ranks log-likelihoods among the `window` before them, record by record.

    Parameters
    ----------
    window : int
        At least 100.

    Examples
    --------
    >>> rank = AnomalyRank(window=1000)
    >>> usual = rank.rank(np.linspace(-3.0, -2.0, 200), np.zeros((200, 1), bool))
    >>> rank.rank(np.array([-50.0, -1.0]), np.zeros((2, 1), bool)).tolist()
    [1.0, 0.0]
    """

    window: int = 1000
    windows: dict[bytes, Array] = field(init=False, default_factory=dict)

    def rank(self, log_likelihood: Array, missing: Flags) -> Array:
        """Return the share of the records before each that were likelier, in [0, 1]; high is strange.

        Parameters
        ----------
        log_likelihood : ndarray, shape (N,)
        missing : ndarray of bool, shape (N, D)
            Which values were missing: only equal patterns are compared.

        Returns
        -------
        ndarray, shape (N,)
            NaN while fewer than 100 were seen.
        """
        out = np.empty(len(log_likelihood))
        for pattern, rows in self.patterns(missing):
            out[rows] = self.rank_pattern(pattern, log_likelihood[rows])
        return out

    def see(self, log_likelihood: Array, missing: Flags) -> None:
        """Let records join the windows without ranking them; shapes as in `rank`."""
        for pattern, rows in self.patterns(missing):
            window, new = self.windows.pop(pattern, np.empty(0)), log_likelihood[rows][-self.window :]
            self.keep(pattern, np.concatenate([window[max(0, len(window) + len(new) - self.window) :], new]))

    @staticmethod
    def patterns(missing: Flags) -> Iterator[tuple[bytes, Any]]:
        """Yield each pattern of missing values with the places of its rows, in their order."""
        if not missing.any():
            yield np.packbits(np.zeros(missing.shape[1], bool)).tobytes(), slice(None)
            return
        patterns, which = np.unique(np.packbits(missing, axis=1), axis=0, return_inverse=True)
        order = np.argsort(which, kind="stable")
        ends = np.searchsorted(which[order], np.arange(len(patterns) + 1))
        for index, pattern in enumerate(patterns):
            yield pattern.tobytes(), order[ends[index] : ends[index + 1]]

    def keep(self, pattern: bytes, window: Array) -> None:
        """Keep the window of a pattern as the one that was seen last."""
        self.windows[pattern] = window
        if len(self.windows) > PATTERNS:
            del self.windows[next(iter(self.windows))]

    def rank_pattern(self, pattern: bytes, numbers: Array) -> Array:
        """Return the ranks of rows of one pattern of missing values."""
        window = self.windows.pop(pattern, np.empty(0))
        ranks = [np.empty(0)]
        for start in range(0, len(numbers), ROWS):
            part = numbers[start : start + ROWS]
            both = np.concatenate([window, part])
            ranks.append(mid_ranks(both, len(part), window=self.window, least=LEAST))
            window = both[-self.window :]
        self.keep(pattern, window)
        return np.concatenate(ranks)

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the plain values and the named arrays that a checkpoint holds."""
        values = {"window": self.window, "patterns": [pattern.hex() for pattern in self.windows]}
        return values, {
            "lengths": np.array([len(window) for window in self.windows.values()], float),
            "log_likelihoods": np.concatenate([np.empty(0), *self.windows.values()]),
        }

    @classmethod
    def from_arrays(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "AnomalyRank":
        """Return the ranks that `to_arrays` took apart.

        Raises
        ------
        SnapshotError
            The parts do not fit each other.
        """
        try:
            rank = cls(int(values["window"]))
            patterns = [bytes.fromhex(pattern) for pattern in values["patterns"]]
            lengths = arrays["lengths"].astype(int)
            numbers = arrays["log_likelihoods"]
            if len(lengths) != len(patterns) or lengths.sum() != len(numbers) or (lengths > rank.window).any():
                raise ValueError("lengths do not fit")
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(
                tell(
                    "checkpoint: the window of log-likelihoods",
                    found=str(error),
                    wanted="a window as streamem wrote it",
                    do="start afresh",
                )
            ) from error
        start = 0
        for pattern, length in zip(patterns, lengths, strict=True):
            rank.windows[pattern] = numbers[start : start + length]
            start += length
        return rank

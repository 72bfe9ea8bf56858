"""What sequences carry from batch to batch: filtered states in arrays, one slot a sequence.

A carry is apart from statistics and parameters: those are averaged between learners, a carry never is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamem.em.model import Carried, Model
from streamem.em.observations import Array, Labels, Observations
from streamem.em.posterior import Posterior
from streamem.errors import DataError, tell

__all__ = ["Carry"]

FREE_SLOTS, GAPS = 1_000_000, 100
"""Slots that any sequence may have, and how many more for each sequence that there is."""


@dataclass(eq=False)
class Carry:
    """The filtered states of all sequences.

    Parameters
    ----------
    arrays : dict of str to ndarray
        As a model leaves them, each of shape (slots, ...); empty before the first batch.

    Examples
    --------
    >>> carry = Carry()
    >>> carry.put(np.array([3]), {"known": np.ones(1), "state": np.array([[0.25, 0.75]])})
    >>> carry.take(np.array([3, 9]))["known"].tolist()
    [1.0, 0.0]
    """

    arrays: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrays["known"]) if self.arrays else 0

    def take(self, sequence: Labels) -> Carried | None:
        """Return what these sequences take up; `known` is 0 for those never put."""
        if not self.arrays:
            return None
        inside = sequence < len(self)
        rows = np.where(inside, sequence, 0)
        taken = {name: array[rows] for name, array in self.arrays.items()}
        taken["known"] = np.where(inside, taken["known"], 0.0)
        return taken

    def check(self, observations: Observations) -> None:
        """Refuse numbers of sequences that would need far more slots than there are sequences, with a DataError."""
        if observations.sequence is None or not len(observations):
            return
        largest = int(observations.segments().sequence[-1])
        if largest >= FREE_SLOTS + GAPS * (len(self) + len(observations)):
            wanted, do = "sequences numbered from 0 on", "number them as they come: each has a slot by its number"
            raise DataError(tell("sequence", found=f"the number {largest}", wanted=wanted, do=do))

    def put(self, sequence: Labels, carried: Carried | None) -> None:
        """Keep what these sequences leave."""
        if carried is None or not len(sequence):
            return
        slots = int(sequence.max()) + 1
        arrays = dict(self.arrays)
        for name, rows in carried.items():
            array = arrays.get(name)
            if array is None or slots > len(array):
                arrays[name] = np.zeros((max(slots, 2 * len(self)), *rows.shape[1:]))
                if array is not None:
                    arrays[name][: len(array)] = array
        self.arrays = arrays
        for name, rows in carried.items():
            arrays[name][sequence] = rows

    def forget(self, sequence: Labels) -> None:
        """Let these sequences begin anew when they come again."""
        if self.arrays:
            self.arrays["known"][sequence[sequence < len(self)]] = 0.0

    def follow(self, model: Model, parameters: Any, observations: Observations) -> Posterior:
        """Return the posteriors of rows, and keep what they leave; nothing is learned."""
        if not model.carries:
            return model.posterior(parameters, observations)[0]
        sequence = observations.segments().sequence
        posterior, left = model.posterior(parameters, observations, self.take(sequence))
        self.put(sequence, left)
        return posterior

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the plain values and the named arrays that a checkpoint holds."""
        return {}, {name: array.copy() for name, array in self.arrays.items()}  # it is written while we go on

    @classmethod
    def from_arrays(cls, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> "Carry":  # noqa: ARG003
        """Return the carry that `to_arrays` took apart."""
        return cls({name: array.copy() for name, array in arrays.items()})

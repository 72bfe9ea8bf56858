"""Sequences between micro-batches: predictions know the gathered records too, though nothing is learned of them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from streamem.em import Observations, Posterior
from streamem.em.model import Carried
from streamem.em.observations import Array
from streamem.errors import ModelError
from streamem.estimators.learner import Learner
from streamem.estimators.named import ALONE
from streamem.estimators.strangeness import Ranks, ordered
from streamem.estimators.values import (
    Frame,
)

__all__ = ["Following"]

FEW = 10
"""So many gathered records go on one by one in less time than a block of them takes."""


class Following(Learner):
    """An estimator that takes its sequences along the gathered records, when somebody asks for a prediction."""

    def _carried(self, key: Any) -> Carried | None:
        """Return what the sequence of a key takes up after all its records, gathered ones too; None at its begin."""
        if not self._learner.model.carries:
            return None
        if self._followed < self._gathered.count:
            self._follow(self._followed, self._gathered.count)
        return self._left(key)

    def _left(self, key: Any) -> Carried | None:
        if key in self._live:
            return self._live[key]
        slot = self._keys.table.get(key) if self.key is not None else 0
        arrays = self._learner.carry.arrays
        if slot is None or not arrays or slot >= len(arrays["known"]):
            return None
        return {name: array[slot : slot + 1] for name, array in arrays.items()}

    def _follow(self, start: int, stop: int) -> None:
        """Let the sequences of gathered records go on; nothing is learned."""
        gathered = self._gathered
        keys, times = gathered.keys[start:stop] if self.key is not None else [], gathered.times[start:stop]
        if stop - start <= FEW:
            memory, stride = gathered.memory, gathered.stride
            rows = [np.frombuffer(memory, count=self._columns, offset=place * stride) for place in range(start, stop)]
            self._follow_each(rows, keys, times)
        else:
            self._follow_several(gathered.values[start:stop, : self._columns], keys, times)
        self._followed = stop

    def _follow_several(self, values: Array, keys: list[Any], times: list[float]) -> None:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                left, several = self._passed(np.ascontiguousarray(values), keys, np.array(times))[1:]
        except ModelError:  # a record is too far from everything: the others go on one by one
            self._follow_each(values, keys, times)
            return
        for name, array in (left or {}).items():
            for place, key in enumerate(several):
                self._live.setdefault(key, {})[name] = array[place : place + 1]

    def _follow_each(self, rows: Iterable[Array], keys: list[Any], times: list[float]) -> None:
        """Let sequences go on past records one by one; not past one too far away to tell anything of."""
        for place, row in enumerate(rows):
            key, time = keys[place] if keys else ALONE, times[place] if times else 0.0
            with suppress(ModelError):
                self._live[key] = dict(self._step(row, time, self._left(key)))

    def _step(self, values: Array, time: float, carried: Carried | None) -> Carried:
        """Return what a record leaves to the next of its sequence."""
        raise NotImplementedError

    def _passed(self, values: Array, keys: list[Any], times: Array) -> tuple[Posterior, Carried | None, Sequence[Any]]:
        """Return what the model says of rows, what their sequences leave, and the key of each."""
        begun = self._learner.begun()
        rows, carried, several = self._laid_out(values, keys, times)
        posterior, left = begun.model.posterior(begun.averaged, rows, carried)
        return posterior, left, several

    def _laid_out(
        self, values: Array, keys: list[Any], times: Array
    ) -> tuple[Observations, Carried | None, Sequence[Any]]:
        """Return rows as the model takes them, what their sequences take up, and the key of each."""
        several: Sequence[Any] = [ALONE]
        sequence = None
        if self.key is not None:
            numbered = {key: place for place, key in enumerate(dict.fromkeys(keys))}
            sequence = np.fromiter(map(numbered.__getitem__, keys), np.intp, len(keys))
            several = list(numbered)
        time = times if self.time is not None else None
        rows = Observations.trusted(values, None, None, sequence, time, checked=True)
        return rows, self._taken(several) if self._learner.model.carries else None, several

    def _posterior_of(self, frame: Frame) -> tuple[Posterior, Array]:
        """Return what the model says of the rows of a frame, each key's after one another, and their numbers."""
        begun = self._learner.begun()
        rows, carried = self._after_gathered(frame)
        return begun.model.posterior(begun.averaged, rows, carried)[0], rows.values

    def _after_gathered(self, frame: Frame) -> tuple[Observations, Carried | None]:
        """Return the rows of a frame as the model takes them, and what their sequences take up."""
        values, keys, times = self._look_at(frame, self._modelled)
        if self._learner.model.carries and self._followed < self._gathered.count:
            self._follow(self._followed, self._gathered.count)
        return self._laid_out(values, keys, times)[:2]

    def _taken(self, keys: Sequence[Any]) -> Carried | None:
        """Return what the sequences of several keys take up, one row each."""
        none, table = np.iinfo(np.intp).max, self._keys.table
        slots = [table.get(key, none) for key in keys] if self.key is not None else [0]
        taken: dict[str, Array] = dict(self._learner.carry.take(np.array(slots, np.intp)) or {})
        ahead = {place: self._live[key] for place, key in enumerate(keys) if key in self._live} if self._live else {}
        for place, one in ahead.items():
            for name, array in one.items():
                if name not in taken:
                    taken[name] = np.zeros((len(keys), *array.shape[1:]))
                taken[name][place] = array[0]
        return taken or None

    def _ranked(self) -> Ranks:
        """Return the windows that scores are ranks among."""
        if self._windows is None:
            self._windows = ordered(self._rank)
        return self._windows

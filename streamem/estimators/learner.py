"""What all estimators do: gather records, learn micro-batch by micro-batch, and know features and keys by name.

An estimator is an `OnlineEM` with a memory for names. Nothing of the mathematics is here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from river import base

from streamem.em import AnomalyRank, GrowingWindow, Observations, OnlineEM, Posterior, Snapshot
from streamem.em.growth import growable, grown
from streamem.em.model import Carried, Model
from streamem.em.observations import Array
from streamem.errors import ConfigError, DataError, ModelError, StreamemError, tell
from streamem.estimators.display import html_table
from streamem.estimators.gathered import Gathered
from streamem.estimators.strangeness import Ranks, ordered
from streamem.estimators.values import (
    MISSING,
    Frame,
    frame_columns,
    frame_keys,
    frame_of,
    frame_times,
    in_order,
    number,
    plain_rows,
    seconds,
)
from streamem.stream.checks import at_least
from streamem.stream.keys import Keys

__all__ = ["Learner"]

KEPT = 1000
"""Records kept at most for a feature that waits to join the model."""

JOINING = 10
"""Values a component that a new feature must have shown before it joins, and at least 50."""

ALONE: Any = None
"""The key of records without one."""


class Learner(base.Estimator):
    """Behaviour that every estimator shares; a class adds its constructor and its model."""

    batch_size: int
    features: Sequence[Any] | None
    key: Any
    time: Any = None
    max_keys: int | None
    anomaly_window_records: int
    seed: int
    schedule: Any
    warmup_records: int | None
    _noted: ClassVar[tuple[str, ...]] = ()
    """What an estimator notes besides, for JSON."""

    def _begin(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings as river wants them, and begin with nothing learned.

        Raises
        ------
        ConfigError
            A setting that the model, the schedule or the learner refuses.
        """
        for name, value in settings.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)
        for name, least in (("batch_size", 1), ("max_keys", 1), ("anomaly_window_records", 100)):
            at_least(f"{type(self).__name__}: {name}", getattr(self, name), least)
        if self.features is not None and (isinstance(self.features, str) or not list(self.features)):
            found, do = repr(self.features), "write a list of names, or leave it out"
            raise ConfigError(tell("features", found=found, wanted="names of features", do=do))
        self._restart(self._model(), None)

    def _model(self) -> Model:
        """Return the model that the settings describe."""
        raise NotImplementedError

    def _restart(self, model: Model, start: Snapshot | None, names: Sequence[Any] = ()) -> None:
        """Begin from a snapshot over the features `names`, or from nothing."""
        self._learner = OnlineEM(
            model,
            schedule=GrowingWindow() if self.schedule is None else self.schedule,
            warmup_records=self.warmup_records,
            seed=self.seed,
            start=start,
        )
        self._fixed = self.features is not None
        self._keys = Keys(self.max_keys)
        self._batches = 0
        self._rank = AnomalyRank(self.anomaly_window_records)
        self._waiting: Array | None = None
        self._columns = 0
        self._named(tuple(names or self.features or ()))
        if start is not None:
            self._begun(start.columns)

    # ------------------------------------------------------------------------------------------------- names

    def _named(self, names: tuple[Any, ...], gathered: Gathered | None = None) -> None:
        """Take `names` for the columns of records, those of the model first."""
        self._gathered = Gathered(names, self.batch_size) if gathered is None else gathered
        self._width = len(names) + (self.key is not None) + (self.time is not None)
        self._modelled = names[: self._columns]
        self._complete = np.packbits(np.zeros(self._columns, bool)).tobytes()
        wrong = self._learner.model.wrong
        columns = max(len(names), 1)
        trial = np.full((1, columns), -1.5) if not self._fixed or names else np.empty((1, 0))
        self._real = not wrong(trial).any()
        self._empty = 0.0 if wrong(np.full_like(trial, np.nan)).any() else MISSING
        self._full_at = self._room()
        self._plain = bool(names) and self._real and self.key is None and self.time is None
        self._forget_ahead()

    def _room(self) -> int:
        """Return how many records are gathered at once: those of a micro-batch, or what the warm-up still needs."""
        learner = self._learner
        if learner.snapshot is not None:
            return self.batch_size
        missing = learner.warmup(max(len(self._names), 1)) - sum(len(batch) for batch in learner.held)
        return max(1, min(self.batch_size, missing))

    def _begun(self, columns: int) -> None:
        """Note that the model has so many columns: the first ones."""
        self._columns = columns
        self._named(self._gathered.names, self._gathered)

    def _forget_ahead(self) -> None:
        """Forget what was worked out for predictions; it follows from the rest."""
        self._live: dict[Any, dict[str, Array]] = {}
        self._followed = 0
        self._windows: Ranks | None = None

    @property
    def _names(self) -> tuple[Any, ...]:
        return self._gathered.names

    @property
    def _open(self) -> bool:
        """Whether features may still join."""
        return not self._fixed and (self._learner.snapshot is None or growable(self._learner.model))

    def _known(self, present: Sequence[Any]) -> None:
        """Make the names of new features columns of records.

        Raises
        ------
        DataError
            The features are settled and none of them is there, or a feature comes that the model cannot take up.
        """
        names = self._names
        new = [] if self._fixed else in_order(set(present) - set(names) - {self.key, self.time})
        if new and not self._open:
            wanted = ", ".join(map(str, names))
            do = f"leave it out: what a {self._learner.model.type} follows is settled once it has begun"
            raise DataError(tell(f"feature {new[0]!r}", found="a new one", wanted=wanted, do=do))
        if not new:
            if not set(names) & set(present):
                found = ", ".join(map(repr, present)) or "nothing"
                do = "give at least one of them" if names else "give records of named numbers"
                wanted = "one of " + ", ".join(map(repr, names)) if names else "features"
                raise DataError(tell("the features of a record", found=found, wanted=wanted, do=do))
            return
        widened = self._gathered.widened((*names, *new), self._empty)
        self._learner.held = [held_over(batch, len(names) + len(new), self._empty) for batch in self._learner.held]
        if self._waiting is not None:
            self._waiting = padded(self._waiting, len(names) + len(new))
        live, followed, windows = self._live, self._followed, self._windows
        self._named(widened.names, widened)
        self._live, self._followed, self._windows = live, followed, windows

    # ------------------------------------------------------------------------------------------------- learning

    def _take(self, x: Mapping[Any, Any]) -> None:
        """Learn from a record, or keep it until its micro-batch is full."""
        names = self._gathered.names
        try:
            row: Sequence[float] = tuple(map(x.__getitem__, names))
            total = float(sum(row))
            # a sum that is finite has neither text in it, nor what is missing or infinite
            even = total - total == 0.0 and (self._fixed or len(x) == self._width) and (self._real or self._fits(row))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            even = False
        if not even or not row:
            row = self._uneven(x)
        gathered = self._gathered
        if self.key is not None or self.time is not None:
            key = self._key_of(x)
            time = self._time_of(x, key)
            gathered.put(row)
            gathered.keys.append(key)
            gathered.times.append(time)
        else:
            gathered.put(row)
        if gathered.count >= self._full_at:
            self._full()

    def _fits(self, row: Sequence[float]) -> bool:
        """Return whether the model can give rise to the numbers of a record."""
        return not self._learner.model.wrong(np.array((row,), np.float64)).any()

    def _full(self) -> None:
        try:
            self.flush()
        except ModelError:
            self._mend()
            raise

    def _mend(self) -> None:
        """Forget gathered records that no parameters can explain; where there is none, the last."""
        bad = [row for row in range(self._gathered.count) if not self._possible(row)]
        if not bad:
            self._gathered.take_back()
            return
        keep = np.setdiff1d(np.arange(self._gathered.count), bad)
        values = self._gathered.values[keep]
        old = self._gathered
        made = Gathered(old.names, old.room)
        made.keys = [old.keys[row] for row in keep] if old.keys else []
        made.times = [old.times[row] for row in keep] if old.times else []
        made.fill(values)
        self._gathered = made
        self._forget_ahead()

    def _possible(self, row: int) -> bool:
        """Return whether a gathered record has a finite log-likelihood."""
        if self._learner.snapshot is None:
            return True
        values = self._gathered.values[row : row + 1, : self._columns]
        try:
            self._learner.model.posterior(self._learner.snapshot.parameters, Observations(values), None)
        except ModelError:
            return False
        return True

    def _uneven(self, x: Any) -> Sequence[float]:
        """Return the numbers of a record that is not just floats for all features; new features become known.

        Raises
        ------
        DataError
            It is no mapping, has none of the features, or a value that is no number or impossible.
        """
        if not isinstance(x, Mapping):
            do = "write for example {'speed': 1.5}"
            found = f"a {type(x).__name__}"
            raise DataError(tell("a record", found=found, wanted="a mapping of names to numbers", do=do))
        for name in x if not self._fixed else ():
            if name not in (self.key, self.time):
                self._checked(name, x[name])
        for name in self._names if self._fixed else ():
            self._checked(name, x.get(name))
        self._known(list(x))
        return [self._checked(name, x.get(name)) for name in self._names]

    def _checked(self, name: Any, value: Any) -> float:
        """Return one value of a record as a number that the model can give rise to."""
        found = number(name, value)
        if found != found:
            return self._empty
        if not self._real:
            place = self._names.index(name) if self._fixed and name in self._names else 0
            trial = np.full((1, len(self._names) if self._fixed else 1), self._empty)
            trial[0, place] = found
            if self._learner.model.wrong(trial)[0, place]:
                do = "mend it, or leave the feature out of the record"
                raise DataError(
                    tell(f"feature {name!r}", found=f"{found:g}", wanted=self._learner.model.support, do=do)
                )
        return found

    def _key_of(self, x: Mapping[Any, Any]) -> Any:
        if self.key is None:
            return ALONE
        key = x.get(self.key)
        if key is None:
            found = ", ".join(map(repr, x)) or "nothing"
            raise DataError(tell(f"key {self.key!r}", found=found, wanted="it among them", do="give the record a key"))
        try:
            hash(key)
        except TypeError as error:
            found = repr(key)[:60]
            raise DataError(tell(f"key {self.key!r}", found=found, wanted="text or a number", do="mend it")) from error
        return key

    def _time_of(self, x: Mapping[Any, Any], key: Any) -> float:
        """Return the time of a record, 0 where none is told.

        Raises
        ------
        DataError
            It has none, or one before that of the record before it.
        """
        if self.time is None:
            return 0.0
        if self.time not in x:
            found = ", ".join(map(repr, x)) or "nothing"
            raise DataError(
                tell(f"time {self.time!r}", found=found, wanted="it among them", do="give the record a time")
            )
        time = seconds(self.time, x[self.time])
        latest = self._latest(key)
        if time < latest:
            found, wanted = f"{latest - time:g} s before the record before it", "times that do not go back within a key"
            raise DataError(tell(f"time {self.time!r}", found=found, wanted=wanted, do="leave the record out"))
        return time

    def _latest(self, key: Any) -> float:
        """Return the time of the last record of a key, -inf where there is none."""
        gathered = self._gathered
        if self.key is None and gathered.times:
            return gathered.times[-1]
        for place in range(len(gathered.times) - 1, -1, -1) if gathered.times else ():
            if gathered.keys[place] == key:
                return gathered.times[place]
        held = self._learner.held
        if held:
            return self._latest_held(key)
        arrays = self._learner.carry.arrays
        slot = self._keys.table.get(key) if self.key is not None else 0
        if slot is None or not arrays or slot >= len(arrays["known"]) or not arrays["known"][slot]:
            return -np.inf
        return float(arrays["time"][slot])

    def _latest_held(self, key: Any) -> float:
        slot = self._keys.table.get(key) if self.key is not None else 0
        for batch in reversed(self._learner.held):
            mine = np.ones(len(batch), bool) if batch.sequence is None else batch.sequence == slot
            if batch.time is not None and mine.any():
                return float(batch.time[mine][-1])
        return -np.inf

    def flush(self) -> None:
        """Learn from the records that are gathered, without waiting for the rest of their micro-batch.

        Raises
        ------
        ModelError
            The start or the update degenerates. The estimator is as it was, its records still gathered.
        """
        gathered = self._gathered
        if gathered.count:
            self._learn(gathered.values, list(gathered.keys), np.array(gathered.times))
            if self._gathered is gathered:
                gathered.clear()
            self._full_at = self._room()

    def learn_many(self, X: Any) -> None:
        """Learn from a frame as one micro-batch; records that are gathered are learned before it.

        Parameters
        ----------
        X : frame
            Of pandas, polars, or another library that narwhals knows. Features are taken by the names of its columns.

        Raises
        ------
        DataError
            A column that is no numbers, a value that the model cannot give rise to, none of the features, or a row
            without a key or time. Nothing is learned.
        ModelError
            The update degenerates. The frame is not learned.
        """
        plain = self._plain and not self._gathered.count
        values = plain_rows(X, self._names) if plain else None
        if values is not None and len(values):
            self._learn(values, [], np.empty(0))
            self._full_at = self._room()
            return
        frame = frame_of(X)
        if not len(frame):
            return
        present = frame.columns
        if len(present) != self._width or present != list(self._names):
            self._known(present)
        values, keys, times = self._read_frame(frame, self._names)
        if self._gathered.count:
            names = self._names
            self.flush()
            if self._names != names:
                values = frame_columns(frame, self._names)
                values[np.isnan(values)] = self._empty
        self._learn(values, keys, times)
        self._full_at = self._room()

    def _read_frame(self, frame: Frame, names: Sequence[Any]) -> tuple[Array, list[Any], Array]:
        """Return the numbers of a frame, its keys and its times, checked."""
        values = frame_columns(frame, names)
        if self._empty == 0.0:
            values[np.isnan(values)] = 0.0
        if not self._real and len(names):
            wrong = self._learner.model.wrong(values)
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                place, found = f"column {names[column]!r}, row {row}", f"{values[row, column]:g}"
                raise DataError(tell(place, found=found, wanted=self._learner.model.support, do="mend it"))
        keys = frame_keys(frame, self.key) if self.key is not None else []
        times = frame_times(frame, self.time) if self.time is not None else np.empty(0)
        return values, keys, times

    def _learn(self, values: Array, keys: list[Any], times: Array) -> None:
        """Learn from records, columns as named, as one micro-batch; an exception leaves everything as it was."""
        before, held = dict(self.__dict__), self._learner.held
        try:
            if self._learner.snapshot is None:
                values = self._settle(values)
            self._update(values, keys, times)
        except StreamemError:
            self.__dict__.update(before)
            self._learner.held = held
            raise

    def _settle(self, values: Array) -> Array:
        """Choose the features that the start is made from, where it comes with these records.

        A feature that has been constant so far, or hardly there, cannot be started from; it joins when it varies.
        Returns the records with the columns of the model first.
        """
        held = self._learner.held
        names = self._names
        rows = len(values) + sum(len(batch) for batch in held)
        if self._fixed or rows < self._learner.warmup(len(names)):
            return values
        whole = np.concatenate([batch.values for batch in held] + [values])
        usable = {name for name, varies in zip(names, varied(whole), strict=True) if varies}
        if not usable or not growable(self._learner.model):
            usable = set(names)
        settled = (*in_order(usable), *in_order(set(names) - usable))
        places = [names.index(name) for name in settled]
        count = len(usable)
        self._learner.held = [batch.with_values(batch.values[:, places[:count]]) for batch in held]
        self._columns = count
        self._named(settled)
        return np.ascontiguousarray(values[:, places])

    def _update(self, values: Array, keys: list[Any], times: Array) -> None:
        learner = self._learner
        columns = self._columns or values.shape[1]
        part = values if columns == values.shape[1] else np.ascontiguousarray(values[:, :columns])
        sequence = None
        if self.key is not None:
            self._batches += 1
            sequence = self._keys.slots(pl.Series(keys, dtype=pl.Object), self._batches)
        time = times if self.time is not None else None
        rows = Observations.trusted(part, None, None, sequence, time, checked=True)
        held = learner.held
        told = learner.update(rows)
        if learner.snapshot is None:
            return
        if self.key is not None:
            learner.carry.forget(self._keys.leave(None))
        self._rank_all(told, held, rows)
        self._note(rows)
        self._columns = columns
        if columns < values.shape[1]:
            self._wait(values)
        self._begun_or_ahead()

    def _note(self, rows: Observations) -> None:
        """Take from learned rows what an estimator wants to know of them besides."""

    def _begun_or_ahead(self) -> None:
        """Note what the model's columns are, once that is known; what was worked out for predictions is outdated."""
        if len(self._modelled) != self._columns:
            self._begun(self._columns)
        self._forget_ahead()

    def _rank_all(self, told: list[Posterior], held: list[Observations], rows: Observations) -> None:
        """Let the log-likelihoods of learned records join the windows that scores are ranks among."""
        likelihood = told[0].log_likelihood if len(told) == 1 else Posterior.concatenate(told).log_likelihood
        values = rows.values if len(told) == 1 else np.concatenate([*(batch.values for batch in held), rows.values])
        self._rank.see(likelihood[-KEPT_RANKS:], np.isnan(values[-KEPT_RANKS:]))

    def _wait(self, values: Array) -> None:
        """Keep records for features that are not in the model yet, and let those join that have shown enough."""
        kept = values if self._waiting is None else np.concatenate([self._waiting, values])
        self._waiting = kept = kept[-KEPT:]
        learner, columns, names = self._learner, self._columns, self._names
        begun = learner.begun()
        least = max(50, JOINING * learner.model.components)
        enough = ((~np.isnan(kept)).sum(axis=0) >= least) & varied(kept)
        joining = [place for place in range(columns, len(names)) if enough[place]]
        if not joining:
            return
        order = [*range(columns), *joining]
        rows = Observations.trusted(np.ascontiguousarray(kept[:, order]), checked=True)
        parameters, averaged = (grown(learner.model, theta, rows) for theta in (begun.parameters, begun.averaged))
        learner.snapshot = replace(begun, parameters=parameters, averaged=averaged)
        rest = [place for place in range(columns, len(names)) if place not in joining]
        self._waiting = np.ascontiguousarray(kept[:, order + rest]) if rest else None
        self._rank = AnomalyRank(self.anomaly_window_records)  # likelihoods of more features are no longer comparable
        self._columns = len(order)
        self._named(tuple(names[place] for place in order + rest))

    # ------------------------------------------------------------------------------------------------- sequences

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
        keys = gathered.keys[start:stop] if self.key is not None else []
        if stop - start == 1:
            row = np.frombuffer(gathered.memory, count=len(gathered.names), offset=start * gathered.stride)
            time = gathered.times[start] if gathered.times else 0.0
            key = keys[0] if keys else ALONE
            self._live[key] = dict(self._step(row[: self._columns].copy(), time, self._left(key)))
        else:
            values = np.ascontiguousarray(gathered.values[start:stop, : self._columns])
            left, several = self._passed(values, keys, np.array(gathered.times[start:stop]))[1:]
            for name, array in (left or {}).items():
                for place, key in enumerate(several):
                    self._live.setdefault(key, {})[name] = array[place : place + 1]
        self._followed = stop

    def _step(self, values: Array, time: float, carried: Carried | None) -> Carried:
        """Return what a record leaves to the next of its sequence."""
        raise NotImplementedError

    def _passed(self, values: Array, keys: list[Any], times: Array) -> tuple[Posterior, Carried | None, Sequence[Any]]:
        """Return what the model says of rows, what their sequences leave, and the key of each."""
        begun = self._learner.begun()
        model: Model = begun.model
        several: Sequence[Any] = [ALONE]
        sequence = None
        if self.key is not None:
            numbered = {key: place for place, key in enumerate(dict.fromkeys(keys))}
            sequence = np.fromiter(map(numbered.__getitem__, keys), np.intp, len(keys))
            several = list(numbered)
        time = times if self.time is not None else None
        rows = Observations.trusted(values, None, None, sequence, time, checked=True)
        carried = self._taken(several) if model.carries else None
        posterior, left = model.posterior(begun.averaged, rows, carried)
        return posterior, left, several

    def _observed(self, x: Any) -> tuple[Array, bytes]:
        """Return the numbers of a record for the columns of the model, shape (D,), and the pattern of missing ones.

        Raises
        ------
        DataError
            As in learning, but for a record without any known feature: nothing is known of it then.
        """
        try:
            names = self._modelled
            total = float(sum(map(x.__getitem__, names)))  # which text has none of
            if total - total == 0.0 and names:
                values = np.fromiter(map(x.__getitem__, names), np.float64, len(names))
                if self._real or not self._learner.model.wrong(values[None]).any():
                    return values, self._complete
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            pass
        if not isinstance(x, Mapping):
            do = "write for example {'speed': 1.5}"
            found = f"a {type(x).__name__}"
            raise DataError(tell("a record", found=found, wanted="a mapping of names to numbers", do=do))
        for name in x if not self._fixed else ():
            if name not in (self.key, self.time):
                self._checked(name, x[name])
        if self._fixed and not any(name in x for name in self._names):
            self._known(list(x))  # which says what is wrong
        values = np.array([self._checked(name, x.get(name)) for name in self._modelled])
        return values, np.packbits(np.isnan(values)).tobytes()

    def _posterior_of(self, frame: Frame) -> tuple[Posterior, Array]:
        """Return what the model says of the rows of a frame, each key's after one another, and their numbers."""
        values, keys, times = self._read_frame(frame, self._modelled)
        if self._learner.model.carries and self._followed < self._gathered.count:
            self._follow(self._followed, self._gathered.count)
        return self._passed(values, keys, times)[0], values

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

    def sample(self, n: int = 1, *, seed: int | None = None, exposure: float = 1.0) -> list[dict[Any, float]]:
        """Return `n` records drawn from the model; of states and trackers, one sequence of them.

        Parameters
        ----------
        n : int
        seed : int, optional
            The estimator's own if left out: the same records then every time.
        exposure : float
            Of every record, where the family is one of counts: how many trials, or how long.

        Raises
        ------
        ModelError
            There is nothing to draw from yet.
        """
        self._learner.begun()
        at_least("sample: n", n, 0)
        values = self._drawn(n, np.random.default_rng(self.seed if seed is None else seed), exposure)
        return [dict(zip(self._modelled, row, strict=True)) for row in values.tolist()]

    def _drawn(self, n: int, rng: np.random.Generator, exposure: float) -> Array:
        """Return drawn rows, shape (n, D)."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """Return the settings as river shows them, and a table of what was learned."""
        learner = self._learner
        gathered = self._gathered.count + sum(len(batch) for batch in learner.held)
        return str(super()._repr_html_()) + html_table(learner.snapshot, self._modelled, gathered)

    @property
    def snapshot(self) -> Snapshot | None:
        """What was learned so far, without gathered records; None before the start is made."""
        return self._learner.snapshot

    @property
    def feature_names_in_(self) -> list[Any]:
        """The features in the order of the columns of the model; empty before the start is made."""
        return list(self._modelled)


KEPT_RANKS = 4096
"""Of a large batch so many records join the windows: the last."""


def varied(values: Array) -> Any:
    """Return which columns have at least two different values, shape (D,)."""
    low, high = np.full((2, values.shape[1]), np.nan)
    some = (~np.isnan(values)).any(axis=0)
    low[some], high[some] = np.nanmin(values[:, some], axis=0), np.nanmax(values[:, some], axis=0)
    return low < high


def padded(values: Array, columns: int, empty: float = MISSING) -> Array:
    """Return rows with so many columns, the new ones empty."""
    wide = np.full((len(values), columns), empty)
    wide[:, : values.shape[1]] = values
    return wide


def held_over(batch: Observations, columns: int, empty: float) -> Observations:
    """Return held rows with so many columns."""
    return batch.with_values(padded(batch.values, columns, empty))

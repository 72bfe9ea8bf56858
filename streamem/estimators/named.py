"""What estimators know by name: settings, features, keys and times of records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from river import base

from streamem.em import AnomalyRank, GrowingWindow, Observations, OnlineEM, Snapshot
from streamem.em.growth import growable
from streamem.em.model import Model
from streamem.em.observations import Array
from streamem.em.online import default_warmup
from streamem.errors import ConfigError, DataError, tell
from streamem.estimators.gathered import Gathered
from streamem.estimators.settings import as_written, check_name, check_whole
from streamem.estimators.strangeness import Ranks
from streamem.estimators.values import (
    MISSING,
    Frame,
    check_mapping,
    check_order,
    checked_key,
    frame_columns,
    frame_keys,
    frame_times,
    in_order,
    number,
    plain_total,
    seconds,
)
from streamem.stream.checks import at_least
from streamem.stream.keys import Keys

__all__ = ["ALONE", "Named"]

ALONE: Any = None
"""The key of records without one."""


class Named(base.Estimator):
    """An `OnlineEM` whose columns have names, and the records that wait for it."""

    n_components: int
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
        with as_written(type(self).__name__, settings):
            for name, least in (("batch_size", 1), ("max_keys", 1), ("anomaly_window_records", 100)):
                value = getattr(self, name)
                if value is not None or name != "max_keys":
                    check_whole(name, value)
                at_least(name, value, least)
            if "n_components" in settings:
                check_whole("n_components", self.n_components)
            self._check_names()
            self._restart(self._model(), None)

    def _check_names(self) -> None:
        """Refuse features, a key and a time that cannot be told apart, with a ConfigError."""
        check_name("key", self.key)
        check_name("time", self.time)
        if self.key is not None and self.key == self.time:
            found, do = f"{self.key!r} for both", "name two fields"
            raise ConfigError(tell(f"{type(self).__name__}: key and time", found=found, wanted="two names", do=do))
        if self.features is None:
            return
        found, do = repr(self.features)[:60], "write a list of names, or leave it out"
        if isinstance(self.features, str | bytes) or not isinstance(self.features, Iterable):
            raise ConfigError(tell("features", found=found, wanted="names of features", do=do))
        names = list(self.features)
        try:
            apart = bool(names) and len(set(names)) == len(names)
        except TypeError:
            apart = False
        if not apart:
            raise ConfigError(tell("features", found=found, wanted="names of features, each once", do=do))
        for role, name in (("key", self.key), ("time", self.time)):
            if name is not None and name in names:
                wanted, do = f"features without the {role} {name!r}", "leave it out of them"
                raise ConfigError(tell("features", found=found, wanted=wanted, do=do))

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
        self._held_until: Observations | None = None
        self._held_latest: dict[int | None, float] = {}
        self._columns = 0
        self._named(tuple(names or self.features or ()))
        if start is not None:
            self._begun(start.columns)

    def _named(self, names: tuple[Any, ...], gathered: Gathered | None = None) -> None:
        """Take `names` for the columns of records, those of the model first."""
        self._gathered = Gathered(names, self.batch_size) if gathered is None else gathered
        self._width = len(names) + (self.key is not None) + (self.time is not None)
        self._modelled = names[: self._columns]
        self._known = self._columns + self._width - len(names)
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
        held = sum(len(batch) for batch in learner.held)
        learner.warmup_records = self._warmup_after(held)
        missing = learner.warmup(max(len(self._names), 1)) - held
        return max(1, min(self.batch_size, missing))

    def _first_warmup(self) -> int:
        """Return how many records the first start is tried from."""
        if self.warmup_records is not None:
            return self.warmup_records
        return default_warmup(self._learner.model, max(len(self._names), 1))

    def _warmup_after(self, records: int) -> int | None:
        """Return how many records the next start is tried from: the setting; where so many gave none twice as many.

        They follow from the records that are held, and so need not be written down.
        """
        wanted = first = self._first_warmup()
        while wanted <= records:
            wanted *= 2
        return self.warmup_records if wanted == first else wanted

    def _begun(self, columns: int) -> None:
        """Note that the model has so many columns: the first ones."""
        self._columns = columns
        self._held_until, self._held_latest = None, {}
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

    def _new(self, present: Sequence[Any]) -> list[Any]:
        """Return the names of new features; nothing changes.

        Raises
        ------
        DataError
            The features are settled and none of them is there, or a feature comes that the model cannot take up.
        """
        names = self._names
        new = [] if self._fixed else in_order(set(present) - set(names) - {self.key, self.time})
        for name in new:
            if name != name:
                do = "give the feature another name"
                raise DataError(tell(f"feature {name!r}", found="NaN for a name", wanted="one equal to itself", do=do))
        if new and not self._open:
            wanted = ", ".join(map(str, names))
            do = f"leave it out: what a {self._learner.model.type} follows is settled once it has begun"
            raise DataError(tell(f"feature {new[0]!r}", found="a new one", wanted=wanted, do=do))
        if not new:
            self._some_of(present)
        return new

    def _some_of(self, present: Sequence[Any]) -> None:
        """Refuse fields of which none is a feature, with a DataError."""
        names = self._names
        if set(names).isdisjoint(present):
            found = ", ".join(map(repr, present)) or "nothing"
            do = "give at least one of them" if names else "give records of named numbers"
            wanted = "one of " + ", ".join(map(repr, names)) if names else "features"
            raise DataError(tell("the features of a record", found=found, wanted=wanted, do=do))

    def _widen(self, new: Sequence[Any]) -> None:
        """Make the names of new features columns of records."""
        names = self._names
        widened = self._gathered.widened((*names, *new), self._empty)
        self._learner.held = [held_over(batch, len(names) + len(new), self._empty) for batch in self._learner.held]
        if self._waiting is not None:
            self._waiting = padded(self._waiting, len(names) + len(new))
        live, followed, windows = self._live, self._followed, self._windows
        self._named(widened.names, widened)
        self._live, self._followed, self._windows = live, followed, windows

    def _uneven(self, x: Any) -> Sequence[float]:
        """Return the numbers of a record that is not just floats for all features; new features become known.

        Raises
        ------
        DataError
            It is no mapping, has none of the features, or a value that is no number or impossible.
        """
        self._check_record(x)
        for name in self._names if self._fixed else ():
            self._checked(name, x.get(name))
        new = self._new(list(x))
        if self.key is not None or self.time is not None:
            self._time_of(x, self._key_of(x))
        if new:
            self._widen(new)
        return [self._checked(name, x.get(name)) for name in self._names]

    def _check_record(self, x: Any) -> None:
        """Refuse what is no mapping, and, where new features join, what has a value that is none, with a DataError."""
        check_mapping(x)
        for name in x if not self._fixed else ():
            if name not in (self.key, self.time):
                self._checked(name, x[name])

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
        if self.key not in x:
            found = ", ".join(map(repr, x)) or "nothing"
            raise DataError(tell(f"key {self.key!r}", found=found, wanted="it among them", do="give the record a key"))
        key = x[self.key]
        return key if type(key) is str else checked_key(self.key, key)

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
        check_order(self.time, time, self._latest(key), key)
        return time

    def _latest(self, key: Any) -> float:
        """Return the time of the last record of a key, -inf where there is none."""
        gathered = self._gathered.latest.get(key)
        if gathered is not None:
            return gathered
        slot = self._keys.table.get(key) if self.key is not None else 0
        if self._learner.held:
            return self._latest_held().get(slot, -np.inf)
        arrays = self._learner.carry.arrays
        if slot is None or not arrays or slot >= len(arrays["known"]) or not arrays["known"][slot]:
            return -np.inf
        return float(arrays["time"][slot])

    def _latest_held(self) -> dict[int | None, float]:
        """Return the time of the last record of each slot among those that are held for the start."""
        held = self._learner.held
        if self._held_until is not held[-1]:
            self._held_latest = {}
            for batch in held:
                slots = [0] * len(batch) if batch.sequence is None else batch.sequence.tolist()
                self._held_latest.update(zip(slots, () if batch.time is None else batch.time.tolist(), strict=False))
            self._held_until = held[-1]
        return self._held_latest

    def _check_times(self, times: Array, keys: Sequence[Any]) -> None:
        """Refuse rows whose time goes back, behind one another or behind earlier records, with a DataError."""
        if not len(times):
            return
        keys = keys or [ALONE] * len(times)
        numbered = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        which = np.fromiter(map(numbered.__getitem__, keys), np.intp, len(keys))
        latest = np.fromiter(map(self._latest, numbered), np.float64, len(numbered))
        order = np.argsort(which, kind="stable")
        before = np.empty(len(times))
        before[order] = np.append(-np.inf, times[order[:-1]])
        first = order[np.append(0, np.flatnonzero(np.diff(which[order])) + 1)]
        before[first] = latest[which[first]]
        back = times < before
        if back.any():
            row = int(back.argmax())
            check_order(self.time, float(times[row]), float(before[row]), keys[row], row)

    def _observed(self, x: Any) -> tuple[Array, bytes]:
        """Return the numbers of a record for the columns of the model, shape (D,), and the pattern of missing ones.

        Raises
        ------
        DataError
            As in learning, but for a record without any known feature: nothing is known of it then.
        """
        try:
            names = self._modelled
            total = sum(map(x.__getitem__, names))  # which text has none of
            if type(total) is not float:
                total = plain_total(total)
            # in fields beyond those of the model there may be text
            if total - total == 0.0 and names and (self._fixed or len(x) == self._known) and type(x) is dict:
                values = np.fromiter(map(x.__getitem__, names), np.float64, len(names))
                if self._real or not self._learner.model.wrong(values[None]).any():
                    return values, self._complete
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            pass
        self._check_record(x)
        if self._fixed:
            self._some_of(list(x))
        values = np.array([self._checked(name, x.get(name)) for name in self._modelled])
        return values, np.packbits(np.isnan(values)).tobytes()

    def _read_frame(self, frame: Frame, names: Sequence[Any]) -> tuple[Array, list[Any], Array]:
        """Return the numbers of a frame, its keys and its times, checked."""
        values = frame_columns(frame, names)
        if self._empty == 0.0:
            values = np.nan_to_num(values)
        if not self._real and len(names):
            wrong = self._learner.model.wrong(values)
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                place, found = f"column {names[column]!r}, row {row}", f"{values[row, column]:g}"
                raise DataError(tell(place, found=found, wanted=self._learner.model.support, do="mend it"))
        keys = frame_keys(frame, self.key) if self.key is not None else []
        times = frame_times(frame, self.time) if self.time is not None else np.empty(0)
        self._check_times(times, keys)
        return values, keys, times

    def _look_at(self, frame: Frame, names: Sequence[Any]) -> tuple[Array, list[Any], Array]:
        """Return the same of a frame that is not learned, which may have other features too: these are only checked.

        Raises
        ------
        DataError
            As in learning, but for new features that the model cannot take up.
        """
        present = frame.columns
        if not self._open:
            self._some_of(present)
        beyond = () if self._fixed else set(present) - set(names) - {self.key, self.time}
        if not beyond:
            return self._read_frame(frame, names)
        values, keys, times = self._read_frame(frame, (*names, *(name for name in present if name in beyond)))
        return np.ascontiguousarray(values[:, : len(names)]), keys, times


def padded(values: Array, columns: int, empty: float = MISSING) -> Array:
    """Return rows with so many columns, the new ones empty."""
    wide = np.full((len(values), columns), empty)
    wide[:, : values.shape[1]] = values
    return wide


def held_over(batch: Observations, columns: int, empty: float) -> Observations:
    """Return held rows with so many columns."""
    return batch.with_values(padded(batch.values, columns, empty))

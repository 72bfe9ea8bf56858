"""Estimators as plain values and back: JSON that goes on with the same bits, snapshots of pipelines, combining.

No pickle: JSON holds settings, snapshot, what the sequences carry, and the records that wait for their micro-batch.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from streamem.em import FAMILIES, SCHEDULES, AnomalyRank, Carry, Observations, Snapshot
from streamem.em import combine as combine_snapshots
from streamem.em.description import build, describe
from streamem.em.model import Model
from streamem.errors import ConfigError, ModelError, SnapshotError, StreamemError, tell
from streamem.estimators.following import Following
from streamem.estimators.gathered import Gathered
from streamem.stream.snapshots import read_snapshot

__all__ = ["FORMAT", "Written"]

FORMAT = "streamem.estimator/1"

TABLES = {"family": FAMILIES, "schedule": SCHEDULES}
"""Settings that are more than numbers and names, and what they may be."""

WANTED = "an estimator as its to_json wrote it"


class Written(Following):
    """What is written and read, and what is made of snapshots."""

    def to_json(self) -> dict[str, Any]:
        """Return settings and state as plain JSON values: read back, it goes on with the same bits.

        Gathered records, the states of all keys and the windows of scores are in it.

        Raises
        ------
        ConfigError
            A feature, key or setting that JSON has no name for, such as a tuple.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> record = model.to_json()
        >>> GaussianMixture.from_json(record).to_json() == record
        True
        """
        record = {
            "format": FORMAT,
            "class": type(self).__name__,
            "settings": {name: described(value) for name, value in self._get_params().items()},
            "state": self._state(),
        }
        check_plain(record)
        return record

    def _state(self) -> dict[str, Any]:
        learner, gathered, keys = self._learner, self._gathered, self._keys
        return {
            "names": list(gathered.names),
            "columns": self._columns,
            "batches": self._batches,
            "gathered": {"rows": plain(gathered.values), "keys": list(gathered.keys), "times": list(gathered.times)},
            "waiting": None if self._waiting is None else plain(self._waiting),
            "held": [held_record(batch) for batch in learner.held],
            "snapshot": None if learner.snapshot is None else learner.snapshot.to_json(),
            "carry": {name: array.tolist() for name, array in learner.carry.arrays.items()},
            "keys": {"table": [[key, slot] for key, slot in keys.table.items()], "free": list(keys.free),
                     "seen": keys.seen.tolist()},
            "ahead": {"followed": self._followed, "carried": [
                [key, {name: array.tolist() for name, array in one.items()}] for key, one in self._live.items()]},
            "ranks": [[pattern.hex(), window.tolist()] for pattern, window in self._rank.windows.items()],
            **{name: getattr(self, f"_{name}") for name in self._noted},
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | str) -> Self:
        """Return the estimator that a record is, or the text of one.

        Raises
        ------
        SnapshotError
            It is of another class or a newer version, or nothing that `to_json` wrote.

        Examples
        --------
        >>> import json
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(n_components=3)
        >>> model.learn_one({"x": 1.0})
        >>> GaussianMixture.from_json(json.dumps(model.to_json())).n_components
        3
        """
        if isinstance(record, str | bytes):
            try:
                record = json.loads(record)
            except ValueError as error:
                do = "give what json.dumps made of to_json()"
                raise SnapshotError(tell("from_json", found="text that is no JSON", wanted=WANTED, do=do)) from error
        if not isinstance(record, Mapping) or record.get("format") != FORMAT:
            found = repr(record.get("format")) if isinstance(record, Mapping) else f"a {type(record).__name__}"
            do = "use an estimator that this version of streamem wrote"
            raise SnapshotError(tell("from_json: format", found=found, wanted=repr(FORMAT), do=do))
        if record.get("class") != cls.__name__:
            do = f"write {record.get('class')}.from_json"
            raise SnapshotError(
                tell("from_json: class", found=repr(record.get("class")), wanted=repr(cls.__name__), do=do)
            )
        try:
            settings = {
                name: build(value, TABLES[name]) if name in TABLES and isinstance(value, Mapping) else value
                for name, value in record["settings"].items()
            }
            made = cls(**settings)
            made._restore(record["state"])
        except StreamemError as error:
            raise SnapshotError(f"from_json: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            do = "use it as it was written"
            found = f"{type(error).__name__}: {error}"
            raise SnapshotError(tell("from_json", found=found, wanted=WANTED, do=do)) from error
        return made

    def _restore(self, state: Mapping[str, Any]) -> None:
        snapshot = None if state["snapshot"] is None else Snapshot.from_json(state["snapshot"])
        names = tuple(state["names"])
        columns = int(state["columns"])
        if len(set(names)) != len(names) or (snapshot is not None and snapshot.columns != columns):
            raise ValueError(f"{len(names)} features of which {columns} are in the model")
        self._restart(self._model() if snapshot is None else snapshot.model, snapshot, names)
        learner, keys = self._learner, self._keys
        learner.held = [held_rows(batch, len(names)) for batch in state["held"]]
        learner.carry = Carry({name: np.array(array, float) for name, array in state["carry"].items()})
        keys.table = {key: int(slot) for key, slot in state["keys"]["table"]}
        keys.keys = {slot: key for key, slot in keys.table.items()}
        keys.free = [int(slot) for slot in state["keys"]["free"]]
        keys.seen = np.array(state["keys"]["seen"], np.intp)
        keys.time = np.full(len(keys.seen), -np.inf)
        self._batches = int(state["batches"])
        self._rank = AnomalyRank(self.anomaly_window_records)
        for pattern, window in state["ranks"]:
            self._rank.windows[bytes.fromhex(pattern)] = np.array(window, float)
        keys_of, times_of = (list(state["gathered"][name]) for name in ("keys", "times"))
        gathered = Gathered(names, self.batch_size, 0, keys_of, times_of)
        rows = rows_of(state["gathered"]["rows"], len(names))
        if len(rows) >= self.batch_size:
            raise ValueError(f"{len(rows)} gathered records at a batch_size of {self.batch_size}")
        gathered.fill(rows)
        self._waiting = None if state["waiting"] is None else rows_of(state["waiting"], len(names))
        for name in self._noted:
            setattr(self, f"_{name}", state[name])
        self._columns = columns
        self._named(names, gathered)
        self._followed = int(state["ahead"]["followed"])
        self._live = {
            key: {name: np.array(array, float) for name, array in one.items()} for key, one in state["ahead"]["carried"]
        }

    # ------------------------------------------------------------------------------------------------- snapshots

    def to_snapshot(self) -> dict[str, Any]:
        """Return what was learned as a snapshot record: as a file, a pipeline's ``start_from`` takes it.

        Records that are gathered are not in it; `flush` learns them. The names of the features, of the key and of the
        time are. Where each key is, is not: `to_json` writes that too.

        Raises
        ------
        ModelError
            There is nothing yet.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> record = model.to_snapshot()
        >>> record["features"], record["records_seen"]
        (['x'], 6)
        """
        begun = self._learner.begun()
        record: dict[str, Any] = {"features": list(self._modelled)}
        if self.key is not None:
            record["key"] = self.key
        if self.time is not None:
            record |= {"time_column": self.time, "time_unit": "s"}
        return {**record, **begun.to_json()}

    @classmethod
    def from_snapshot(
        cls, snapshot: Snapshot | Mapping[str, Any] | str | Path, *, features: Sequence[Any] | None = None,
        **settings: Any,
    ) -> Self:  # fmt: skip
        """Return an estimator that goes on from what a pipeline or another learner has learned.

        Parameters
        ----------
        snapshot : Snapshot, mapping, str or Path
            Or the record of one, or a file of them, of which the last line counts. A record names features, key and
            time; a `Snapshot` by itself names none of them, and holds no track.
        features : sequence of names, optional
            In the order of the model's columns, where the record does not say so.
        **settings
            Of the constructor, beyond those that the model tells: `batch_size`, `schedule` and so on; and `key` and
            `time` where the record does not say so, or the fields have other names here. The features are settled.

        Raises
        ------
        ConfigError
            There is no such file, the features are not told, or the times were numbers of another unit than seconds,
            and `time` does not say which field has seconds.
        SnapshotError
            It is no snapshot, or of a model that this class is not for.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> again = GaussianMixture.from_snapshot(model.to_snapshot(), batch_size=10)
        >>> again.predict_one({"x": 1.0}) == model.predict_one({"x": 1.0})
        True
        """
        found, record = told(snapshot)
        names = record.get("features") if features is None else list(features)
        if names is None:
            do = "name them: features=[...]"
            none = "a snapshot that names none"
            raise ConfigError(tell("from_snapshot: features", found=none, wanted="the columns' names", do=do))
        if len(names) != found.columns:
            few, wanted = f"{len(names)} names", f"{found.columns}, one for each column"
            raise ConfigError(tell("from_snapshot: features", found=few, wanted=wanted, do="name the columns"))
        settings = cls._roles(record, settings) | settings
        made = cls(**{**cls._settings_of(found.model), "features": list(names), **settings})
        if made._model() != found.model:
            made._different(found.model)
        made._restart(found.model, found, tuple(names))
        return made

    @classmethod
    def _roles(cls, record: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the names of key and time in a record of a snapshot, where the class has a use for them.

        Raises
        ------
        ConfigError
            Times are numbers that do not count seconds, and no `time` is given.
        """
        names = {"key": record.get("key"), "time": record.get("time_column")}
        found = {role: name for role, name in names.items() if name is not None and role in cls._settings_known()}
        unit = record.get("time_unit") or "s"
        if "time" in found and "time" not in given and unit != "s":
            wanted, do = "seconds, a datetime or a numpy.datetime64", "say which field has them: time=..."
            time = f"{found['time']!r}, counted in {unit}"
            raise ConfigError(tell("from_snapshot: time", found=time, wanted=wanted, do=do))
        return found

    @classmethod
    def _settings_known(cls) -> frozenset[str]:
        """Return the names of the constructor's settings."""
        return frozenset(cls.__init__.__code__.co_varnames)

    @classmethod
    def _settings_of(cls, model: Model) -> dict[str, Any]:
        """Return the settings of a constructor that describe a model.

        Raises
        ------
        SnapshotError
            The class is not for such a model.
        """
        raise NotImplementedError

    def _different(self, model: Model) -> None:
        do = "load it with the class that is for this model"
        found = f"a snapshot of {model}"
        raise SnapshotError(tell(f"{type(self).__name__}.from_snapshot", found=found, wanted=f"{self._model()}", do=do))

    @classmethod
    def combine(cls, models: Sequence[Self], weights: Sequence[float] | None = None) -> Self:
        """Return one estimator from several that were trained apart: components are matched, then averaged.

        What is gathered in each is learned first, by copies: the models stay as they are. A gathered
        record that no parameters can explain is left out. The settings are those of the
        first; what sequences carry and the windows of scores are left behind.

        Parameters
        ----------
        models : sequence of estimators
            Of this class, over the same features.
        weights : sequence of float, optional
            By default the number of records that each has seen.

        Raises
        ------
        ConfigError
            No models, others than of this class, one that has not begun, or weights that are not one number >= 0 each.
        SnapshotError
            They are of different models, or over other features.

        References
        ----------
        Amid and Warmuth (2020), section 4.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> day, night = (GaussianMixture(1, warmup_records=4, batch_size=4) for _ in range(2))
        >>> for x in (1.0, 2.0, 3.0, 4.0):
        ...     day.learn_one({"x": x})
        ...     night.learn_one({"x": x - 1.0})
        >>> GaussianMixture.combine([day, night]).means_.round(2).tolist()
        [[2.0]]
        """
        try:
            models = list(models)
        except TypeError as error:
            found, do = f"a {type(models).__name__}", "write combine([one, other])"
            raise ConfigError(tell("combine: models", found=found, wanted="a list of estimators", do=do)) from error
        copies = []
        for place, one in enumerate(models, start=1):
            if not isinstance(one, cls) or one._learner.snapshot is None:
                found, do = f"a {type(one).__name__}", "leave it out"
                if isinstance(one, cls):
                    found, do = "one that has not begun", "leave it out, or let it learn more first"
                raise ConfigError(tell(f"combine: model {place}", found=found, wanted=f"a {cls.__name__}", do=do))
            copies.append(copy.deepcopy(one))
            while copies[-1]._gathered.count:
                with suppress(ModelError):  # which has left out what it is about
                    copies[-1].flush()
        if not copies:
            raise ConfigError(tell("combine", found="no models", wanted="at least one", do="name models"))
        first = copies[0]
        for place, one in enumerate(copies[1:], start=2):
            if one._modelled != first._modelled:
                found, wanted = ", ".join(map(str, one._modelled)), ", ".join(map(str, first._modelled))
                do = "combine models over the same features in the same order"
                raise SnapshotError(tell(f"combine: model {place}", found=found, wanted=wanted, do=do))
        snapshot = combine_snapshots([one._learner.begun() for one in copies], weights)
        made = first.clone()
        made._restart(snapshot.model, snapshot, first._modelled)
        for name in cls._noted:
            setattr(made, f"_{name}", getattr(first, f"_{name}"))
        return made


def told(snapshot: Any) -> tuple[Snapshot, Mapping[str, Any]]:
    """Return a snapshot, and the record that it came in."""
    if isinstance(snapshot, str | Path):
        return read_snapshot(snapshot)
    if isinstance(snapshot, Mapping):
        return Snapshot.from_json(snapshot), snapshot
    if not isinstance(snapshot, Snapshot):
        found, wanted = f"a {type(snapshot).__name__}", "a Snapshot, the record of one, or a file of them"
        raise ConfigError(tell("from_snapshot", found=found, wanted=wanted, do="give what was learned"))
    return snapshot, {}


def described(value: Any) -> Any:
    """Return a setting as a plain value."""
    if is_dataclass(value):
        return describe(value)
    return list(value) if isinstance(value, tuple) else value


def check_plain(record: Any) -> None:
    """Refuse what JSON cannot hold, or would not give back as it was, with a ConfigError."""
    try:
        text = json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        do = "name features and keys by text or numbers"
        raise ConfigError(tell("to_json", found=str(error), wanted="plain values", do=do)) from error
    if json.loads(text) != record:
        do = "name features and keys by text or numbers"
        raise ConfigError(tell("to_json", found="names that JSON changes", wanted="plain values", do=do))


def plain(values: Any) -> list[Any]:
    """Return rows as lists, None for what is missing."""
    found = values.astype(object)
    found[np.isnan(values)] = None
    rows: list[Any] = found.tolist()
    return rows


def rows_of(rows: Any, columns: int) -> Any:
    """Return the rows that `plain` wrote, shape (N, columns)."""
    values = np.array(rows, np.float64).reshape(len(rows), columns)
    if np.isinf(values).any():
        raise ValueError("an infinite number")
    return values


def held_record(batch: Observations) -> dict[str, Any]:
    """Return held rows as plain values."""
    return {
        "rows": plain(batch.values),
        "sequence": None if batch.sequence is None else batch.sequence.tolist(),
        "time": None if batch.time is None else batch.time.tolist(),
    }


def held_rows(record: Mapping[str, Any], columns: int) -> Observations:
    """Return the rows that `held_record` wrote."""
    sequence, time = record["sequence"], record["time"]
    return Observations(
        rows_of(record["rows"], columns),
        sequence=None if sequence is None else np.array(sequence, np.intp),
        time=None if time is None else np.array(time, float),
    )

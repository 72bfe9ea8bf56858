"""What all estimators do: gather records, and learn micro-batch by micro-batch.

An estimator is an `OnlineEM` with a memory for names. Nothing of the mathematics is here.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from streamem.em import AnomalyRank, Observations, Posterior, Snapshot
from streamem.em.growth import growable, grown
from streamem.em.observations import Array
from streamem.errors import ConfigError, ModelError, StreamemError, tell
from streamem.estimators.display import html_table
from streamem.estimators.named import Named, padded
from streamem.estimators.settings import check_whole
from streamem.estimators.strangeness import astray
from streamem.estimators.values import finite_number, frame_columns, frame_of, in_order, plain_rows, plain_total
from streamem.stream.checks import at_least

__all__ = ["Learner"]

Batch = tuple[Array, list[Any], Array, Sequence[Any]]
"""The numbers of records, their keys and times, and the names of new features, which are the last columns."""

KEPT = 1000
"""Records kept at most for a feature that waits to join the model."""

JOINING = 10
"""Values a component that a new feature must have shown before it joins, and at least 50."""

KEPT_RANKS = 4096
"""Of a large batch so many records join the windows: the last."""


class Learner(Named):
    """Behaviour that every estimator shares; a class adds its constructor and its model."""

    def _take(self, x: Mapping[Any, Any]) -> None:
        """Learn from a record, or keep it until its micro-batch is full."""
        names = self._gathered.names
        try:
            row: Sequence[float] = tuple(map(x.__getitem__, names))
            total = sum(row)
            if type(total) is not float:
                total = plain_total(total)
            # a sum that is finite has neither text in it, nor what is missing or infinite
            even = total - total == 0.0 and (self._fixed or len(x) == self._width) and (self._real or self._fits(row))
            even = even and (type(x) is dict or isinstance(x, Mapping))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
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
            gathered.latest[key] = time
        else:
            gathered.put(row)
        if gathered.count >= self._full_at:
            self.flush()

    def _fits(self, row: Sequence[float]) -> bool:
        """Return whether the model can give rise to the numbers of a record."""
        return not self._learner.model.wrong(np.array((row,), np.float64)).any()

    def _mend(self, error: ModelError, batch: Batch, *, gathered: bool) -> ModelError:
        """Forget records that no parameters can explain, and return what to say; of gathered ones the last, if none is.

        Before the start those that are held for it are looked through too: any of them can be what makes it impossible.
        Where none is, all of them wait for more.
        """
        learner, values = self._learner, batch[0]
        if learner.snapshot is None:
            held = [padded(rows.values, values.shape[1]) for rows in learner.held]
            whole = np.concatenate([*held, values])
            bad = astray(whole)
            if not bad.any():
                error = self._wait_for_more(error, batch, len(whole))
                if gathered:
                    self._gathered.clear()
            else:
                error = ModelError(self._too_far(whole, int(bad.argmax()), (*self._names, *batch[3])))
                *before, last = np.split(bad, np.cumsum([len(rows) for rows in held], dtype=int))
                kept = [rows[~out] for rows, out in zip(learner.held, before, strict=True)]
                learner.held = [rows for rows in kept if len(rows)]
                if gathered:
                    self._gathered = self._gathered.only(np.flatnonzero(~last))
        elif gathered:
            last = np.array([not self._possible(row) for row in range(self._gathered.count)], bool)
            if last.any():
                self._gathered = self._gathered.only(np.flatnonzero(~last))
            else:
                self._gathered.take_back()
        self._full_at = self._room()
        self._forget_ahead()
        return error

    def _wait_for_more(self, error: ModelError, batch: Batch, records: int) -> ModelError:
        """Hold a micro-batch that gives no start with those before it, and return what to say.

        Of records that give none again and again the latest are held: as many as two warm-ups need.
        """
        values, keys, times, new = batch
        learner, most = self._learner, 2 * self._first_warmup()
        if new:
            self._widen(new)
        learner.warmup_records = self._warmup_after(records)
        self._learn(values, keys, times)
        if records >= 2 * most:
            learner.held = latest(learner.held, most)
        waiting = sum(len(rows) for rows in learner.held)
        wanted = self._warmup_after(waiting)
        told = f"The last {waiting} records wait, and nothing of them is to be given again: the start is tried anew"
        return ModelError(f"{error} {told} with {wanted}.")

    def _too_far(self, values: Array, row: int, names: Sequence[Any]) -> str:
        found = ", ".join(f"{name!r}: {value:g}" for name, value in zip(names, values[row], strict=True))
        wanted = "numbers that do not make all others vanish in rounding"
        return tell(f"record {row} of the warm-up", found=f"{{{found}}}", wanted=wanted, do="mend it, or leave it out")

    def _possible(self, row: int) -> bool:
        """Return whether a gathered record has a finite log-likelihood."""
        values = self._gathered.values[row : row + 1, : self._columns]
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                self._learner.model.posterior(self._learner.begun().parameters, Observations(values), None)
        except ModelError:
            return False
        return True

    def flush(self) -> None:
        """Learn from the records that are gathered, without waiting for the rest of their micro-batch.

        Raises
        ------
        ModelError
            The start or the update degenerates. Nothing is learned. The records that no parameters can explain are left
            out; the others wait for the next call. Where none is such, an update leaves out the last; a start is tried
            again with twice as many records, among them all of these.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=4)
        >>> for x in (0.0, 1.0, 8.0, 9.0):
        ...     model.learn_one({"x": x})
        >>> model.flush()
        >>> model.snapshot.records_seen
        4
        """
        gathered = self._gathered
        if not gathered.count:
            return
        values = gathered.values
        batch: Batch = (values, list(gathered.keys), np.array(gathered.times), ())
        try:
            self._learn(*batch)
        except ModelError as error:
            told = self._mend(error, batch, gathered=True)
            if self._gathered.count == self._gathered.room:  # what was wrong was held: there is room for these now
                self.flush()
            raise told from error
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
            The start or the update degenerates. The frame is not learned, and earlier records that make the start
            impossible are left out. Where no record is to blame for a start, such as where a feature never changes, all
            of them wait, those of the frame too, and it is tried again with twice as many.

        Examples
        --------
        >>> import polars as pl
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6)
        >>> model.learn_many(pl.DataFrame({"x": [0.0, 1.0, 2.0, 8.0, 9.0, 10.0]}))
        >>> sorted(model.means_[:, 0].round(1).tolist())
        [1.0, 9.0]
        """
        plain = self._plain and not self._gathered.count
        values = plain_rows(X, self._names) if plain else None
        if values is not None and len(values):
            self._learn_frame(values, [], np.empty(0))
            return
        frame = frame_of(X)
        if not len(frame):
            return
        present = frame.columns
        new = self._new(present) if len(present) != self._width or present != list(self._names) else []
        values, keys, times = self._read_frame(frame, (*self._names, *new))
        if self._gathered.count:
            names = self._names
            self.flush()
            if self._names != names:
                values = frame_columns(frame, (*self._names, *new))
                values[np.isnan(values)] = self._empty
        self._learn_frame(values, keys, times, self._new(present) if new else [])

    def _learn_frame(self, values: Array, keys: list[Any], times: Array, new: Sequence[Any] = ()) -> None:
        if self._learner.snapshot is None or values.shape[1] > self._columns:
            values = values.copy()  # what is held may be the caller's memory
        try:
            self._learn(values, keys, times, new)
        except ModelError as error:
            raise self._mend(error, (values, keys, times, new), gathered=False) from error
        self._full_at = self._room()

    def _learn(self, values: Array, keys: list[Any], times: Array, new: Sequence[Any] = ()) -> None:
        """Learn from records, columns as named and then `new`, as one micro-batch; if it fails nothing has changed."""
        before, held = dict(self.__dict__), self._learner.held
        known = self._keys.mark()
        try:
            if new:
                self._widen(new)
            # what overflows is found out by what comes of it, which is a ModelError and no warning
            with np.errstate(over="ignore", invalid="ignore"):
                if self._learner.snapshot is None:
                    values = self._settle(values)
                self._update(values, keys, times)
        except StreamemError:
            self.__dict__.update(before)
            self._learner.held = held
            self._keys.undo(known)
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
        usable, count = set(names), 0
        while growable(self._learner.model) and len(usable) != count:
            count = len(usable)
            # fewer columns need fewer rows, in which still more may be constant
            shown = varied(whole[: self._learner.warmup(count)])
            usable &= {name for name, varies in zip(names, shown, strict=True) if varies}
        usable = usable or set(names)
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
        self._note(rows)
        told = learner.update(rows)
        if learner.snapshot is None:
            return
        if self.key is not None:
            learner.carry.forget(self._keys.leave(None))
        self._rank_all(told, held, rows)
        self._columns = columns
        if columns < values.shape[1]:
            self._wait(values)
        self._begun_or_ahead()

    def _note(self, rows: Observations) -> None:
        """Take from rows what an estimator wants to know of them besides, before they are learned."""

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
        joining = self._ready(kept)
        if joining:  # from what is not so far away that no variance would be left of the rest
            self._waiting = kept = kept[~astray(kept[:, joining])]
            joining = self._ready(kept)
        if not joining:
            return
        order = [*range(columns), *joining]
        rows = Observations.trusted(np.ascontiguousarray(kept[:, order]), checked=True)
        try:
            parameters, averaged = (grown(learner.model, theta, rows) for theta in (begun.parameters, begun.averaged))
        except ModelError:  # its values differ by nothing that a variance would show: it goes on waiting
            return
        learner.snapshot = replace(begun, parameters=parameters, averaged=averaged)
        rest = [place for place in range(columns, len(names)) if place not in joining]
        self._waiting = np.ascontiguousarray(kept[:, order + rest]) if rest else None
        self._rank = AnomalyRank(self.anomaly_window_records)  # likelihoods of more features are no longer comparable
        self._columns = len(order)
        self._named(tuple(names[place] for place in order + rest))

    def _ready(self, kept: Array) -> list[int]:
        """Return the columns of waiting features that have shown enough to join."""
        least = max(50, JOINING * self._learner.model.components)
        enough = ((~np.isnan(kept)).sum(axis=0) >= least) & varied(kept)
        return [place for place in range(self._columns, len(self._names)) if enough[place]]

    def sample(self, n: int = 1, *, seed: int | None = None, exposure: float = 1.0) -> list[dict[Any, float]]:
        """Return `n` records drawn from the model; of states and trackers, one sequence of them.

        Parameters
        ----------
        n : int
            At least 0.
        seed : int, optional
            The estimator's own if left out: the same records then every time.
        exposure : float
            Of every record, where the family is one of counts: how many trials, or how long.

        Raises
        ------
        ConfigError
            `n` or `seed` is no whole number of at least 0, `exposure` is no finite number above 0, or far too large.
        ModelError
            There is nothing to draw from yet.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> len(model.sample(3)), model.sample(3) == model.sample(3), list(model.sample()[0])
        (3, True, ['x'])
        """
        self._learner.begun()
        seed = self.seed if seed is None else seed
        for name, value in (("n", n), ("seed", seed)):
            check_whole(f"sample: {name}", value)
            at_least(f"sample: {name}", value, 0)
        rng, values = np.random.default_rng(seed), None
        if (size := finite_number(exposure) or 0.0) > 0.0:
            with suppress(ValueError, OverflowError):  # NumPy draws no counts beyond 63 bits
                values = self._drawn(n, rng, size)
        if values is None:
            wanted, do = "a finite number above 0, and no counts beyond 63 bits", "write for example 1.0"
            raise ConfigError(tell("sample: exposure", found=repr(exposure)[:60], wanted=wanted, do=do))
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
        """What was learned so far, without gathered records; None before the start is made.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=4, batch_size=2)
        >>> for x in (0.0, 1.0, 8.0, 9.0):
        ...     model.learn_one({"x": x})
        ...     print(model.snapshot and model.snapshot.records_seen)
        None
        None
        None
        4
        """
        return self._learner.snapshot

    @property
    def feature_names_in_(self) -> list[Any]:
        """The features in the order of the columns of the model; empty before the start is made.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(1, warmup_records=4, batch_size=4)
        >>> for b, a in ((0.0, 1.0), (1.0, 0.0), (3.0, 3.0), (2.0, 5.0)):
        ...     model.learn_one({"b": b, "a": a})
        >>> model.feature_names_in_
        ['a', 'b']
        """
        return list(self._modelled)


def latest(held: list[Observations], rows: int) -> list[Observations]:
    """Return the last rows of the batches that are held, so many."""
    kept: list[Observations] = []
    for batch in reversed(held):
        if rows > 0:
            kept.insert(0, batch[max(len(batch) - rows, 0) :])
        rows -= len(batch)
    return kept


def varied(values: Array) -> Any:
    """Return which columns have at least two different values, shape (D,)."""
    low, high = np.full((2, values.shape[1]), np.nan)
    some = (~np.isnan(values)).any(axis=0)
    low[some], high[some] = np.nanmin(values[:, some], axis=0), np.nanmax(values[:, some], axis=0)
    return low < high

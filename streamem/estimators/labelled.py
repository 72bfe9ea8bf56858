"""What estimators of components and states do: labels, probabilities and scores."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from river import base
from river.utils.dataframe import to_native_frame, to_native_series

from streamem.em import HMM, AnomalyRank, Gaussian, Posterior, Snapshot
from streamem.em.anomaly import PATTERNS
from streamem.em.model import Carried, Model
from streamem.em.observations import Array, Flags
from streamem.errors import ModelError, SnapshotError, tell
from streamem.estimators.expected import DRAWN, expected
from streamem.estimators.families import COVARIANCES
from streamem.estimators.fitted import fitted_attributes, snapshot_of
from streamem.estimators.row import Reading, left, read_row
from streamem.estimators.strangeness import UNKNOWN, Ranks, among, strangeness
from streamem.estimators.values import Frame, frame_of
from streamem.estimators.written import Written

__all__ = ["Labelled"]


class Labelled(Written, base.Clusterer, base.AnomalyDetector):
    """An estimator whose records come from one of several components or states.

    It is a clusterer and an anomaly detector at once. Predictions, scores and fitted attributes are of the running
    average of the parameters, which is less noisy than the current ones that learning goes on from.

    As river's `evaluate` takes `score_one` of whatever is an anomaly detector, metrics of labels, such as AdjustedRand,
    are to be updated with `predict_one` in a loop of one's own, as in the examples of `GaussianMixture`. Silhouette and
    river's other metrics without true labels are evaluated by `predict_one` and `centers`.
    """

    kind: ClassVar[type[Any]]
    """The class of the model."""
    of: ClassVar[type[Any] | None] = None
    """The family, where there is only one."""

    n_components: int
    covariance_type: Any
    covariance_floor: float
    prior_records: float
    family: Any
    transitions: Any

    def _more_tags(self) -> set[str]:
        return set() if self._real else {base.tags.POSITIVE_INPUT}

    def learn_one(self, x: Mapping[Any, Any]) -> None:
        """Learn from a record: with the others of its micro-batch, once `batch_size` are gathered.

        Parameters
        ----------
        x : mapping of names to numbers
            A feature that is absent, None or NaN is missing, and marginalised. One that was never seen before joins
            the model once it has come often enough and varied.

        Raises
        ------
        DataError
            A feature is text, infinite, or impossible for the model, or a new one that it has no place for, such as a
            further word of a `CompoundDirichlet`; or the key is missing. Nothing has changed.
        ModelError
            The start or the update degenerates. Nothing has changed, but that a record too far from all that was
            learned is left out of the micro-batch.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> sorted(model.means_[:, 0].round(1).tolist())
        [1.0, 9.0]
        """
        self._take(x)

    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[int, float]:
        """Return the probability of each component given the record; of a state, given those before it too.

        Before the start they are all equal.

        Raises
        ------
        DataError
            As in `learn_one`.
        ModelError
            The record is too far from everything learned to tell how far.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> {k: round(p, 2) for k, p in model.predict_proba_one({"x": 5.0}).items()}
        {0: 0.5, 1: 0.5}
        """
        found = self._read(x)
        if found is None:
            return dict.fromkeys(range(self.n_components), 1.0 / self.n_components)
        return dict(enumerate(found[2].tolist()))

    def predict_one(self, x: Mapping[Any, Any]) -> int:
        """Return the number of the most probable component or state; 0 before the start.

        Raises
        ------
        DataError, ModelError
            As `predict_proba_one`.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> low, high = model.predict_one({"x": 0.5}), model.predict_one({"x": 9.5})
        >>> low == high, low == model.predict_one({"x": 1.5})
        (False, True)
        """
        found = self._read(x)
        return 0 if found is None else found[1]

    def log_likelihood_one(self, x: Mapping[Any, Any]) -> float:
        """Return the log-likelihood of the record in nats, given those before it; NaN before the start.

        Raises
        ------
        DataError, ModelError
            As `predict_proba_one`.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(1, warmup_records=2, batch_size=2)
        >>> for x in (-1.0, 1.0):
        ...     model.learn_one({"x": x})
        >>> round(model.log_likelihood_one({"x": 0.0}), 3)
        -0.919
        """
        found = self._read(x)
        return float("nan") if found is None else found[0]

    def score_one(self, x: Mapping[Any, Any]) -> float:
        """Return how strange the record is, from 0 to 1.

        It is the share of the last `anomaly_window_records` learned records, with the same features missing, that were
        likelier; while there are fewer than 100 such records, the share of 1,000 that are drawn from the model, which
        takes about a millisecond for each pattern. What is less likely than all of them lies above 0.999 at a window of
        1,000, the closer to 1 the less likely. 0 before the start, and for families of shares until there are 100.

        Raises
        ------
        DataError
            As in `learn_one`.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> model.score_one({"x": 1.0}) < 0.5 < model.score_one({"x": 20.0})
        True
        """
        snapshot = self._learner.snapshot
        values, pattern = self._observed(x)
        found = self._reading(snapshot, x, values)
        if found is None:
            return UNKNOWN
        windows = self._windows
        if windows is None or pattern not in windows:
            windows = self._expect(pattern, np.isnan(values))
        return strangeness(windows, pattern, found[0])

    def _expect(self, pattern: bytes, missing: Flags) -> Ranks:
        """Return the windows with what the model expects of a pattern that has none; of no feature it expects nothing.

        They are kept until something is learned, or records lack ever something else.
        """
        if self._windows is not None and len(self._windows) >= 2 * PATTERNS:
            self._windows = None
        windows = self._ranked()
        # of families of shares the model does not tell how many a record counts in all
        if pattern not in windows and not missing.all() and self._empty != 0.0:
            begun = self._learner.begun()
            model: Any = begun.model
            drawn = self._drawn(DRAWN, np.random.default_rng(self.seed), 1.0)
            windows[pattern] = expected(model, begun.averaged, drawn, missing)
        return windows

    def _read(self, x: Mapping[Any, Any]) -> Reading | None:
        """Return what the model says of a record; None before the start.

        Raises
        ------
        ModelError
            The record is too far from everything learned to tell how far.
        """
        found = self._reading(self._learner.snapshot, x, self._observed(x)[0])
        return None if found is None else finite(found)

    def _reading(self, snapshot: Snapshot | None, x: Mapping[Any, Any], values: Array) -> Reading | None:
        """Return the same of a record with so many numbers."""
        key = None if self.key is None else self._key_of(x)
        if snapshot is None:
            return None
        model: Any = snapshot.model
        return read_row(model, snapshot.averaged, values, self._carried(key) if model.carries else None)

    def _step(self, values: Array, time: float, carried: Carried | None) -> Carried:  # noqa: ARG002
        begun = self._learner.begun()
        model: Any = begun.model
        return left(finite(read_row(model, begun.averaged, values, carried)))

    def predict_many(self, X: Any) -> Any:
        """Return the number of the most probable component of every row, as a series like the frame.

        The rows of a frame follow one another: a state is told given the records learned and the rows before it.

        Raises
        ------
        DataError, ModelError
            As `learn_many`.

        Examples
        --------
        >>> import polars as pl
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6)
        >>> model.learn_many(pl.DataFrame({"x": [0.0, 1.0, 2.0, 8.0, 9.0, 10.0]}))
        >>> labels = model.predict_many(pl.DataFrame({"x": [0.5, 1.5, 9.5]}))
        >>> (labels == labels[0]).to_list()
        [True, True, False]
        """
        frame = frame_of(X)
        posterior = self._told(frame)[0]
        labels = np.zeros(len(frame), int) if posterior is None else posterior.probabilities.argmax(axis=1)
        return to_native_series(labels, name=None if frame.implementation.is_pandas_like() else "", like=frame)

    def predict_proba_many(self, X: Any) -> Any:
        """Return the probabilities of every row as a frame like the given one, a column a component.

        Raises
        ------
        DataError, ModelError
            As `learn_many`.

        Examples
        --------
        >>> import polars as pl
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6)
        >>> model.learn_many(pl.DataFrame({"x": [0.0, 1.0, 2.0, 8.0, 9.0, 10.0]}))
        >>> shares = model.predict_proba_many(pl.DataFrame({"x": [0.5, 5.0]}))
        >>> shares.columns, [round(share, 2) for share in shares.row(1)]
        (['0', '1'], [0.5, 0.5])
        """
        frame = frame_of(X)
        posterior = self._told(frame)[0]
        equal = np.full((len(frame), self.n_components), 1.0 / self.n_components)
        shares = equal if posterior is None else posterior.probabilities
        return to_native_frame({k: np.ascontiguousarray(shares[:, k]) for k in range(self.n_components)}, like=frame)

    def score_many(self, X: Any) -> Any:
        """Return how strange every row is, as a series like the frame; see `score_one`.

        Raises
        ------
        DataError
            As `learn_many`.
        ModelError
            A row is too far from everything learned to tell how far; `score_one` gives it 1.

        Examples
        --------
        >>> import polars as pl
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6)
        >>> model.learn_many(pl.DataFrame({"x": [0.0, 1.0, 2.0, 8.0, 9.0, 10.0]}))
        >>> usual, strange = model.score_many(pl.DataFrame({"x": [1.0, 20.0]}))
        >>> usual < 0.5 < strange
        True
        """
        frame = frame_of(X)
        posterior, values = self._told(frame)
        found = np.full(len(frame), UNKNOWN)
        if posterior is not None:
            missing = np.isnan(values)
            for pattern, rows in AnomalyRank.patterns(missing):
                windows = self._ranked()
                if pattern not in windows:
                    windows = self._expect(pattern, missing[rows][0])
                if pattern in windows:
                    found[rows] = among(np.array(windows[pattern]), posterior.log_likelihood[rows])
        return to_native_series(found, name=None if frame.implementation.is_pandas_like() else "", like=frame)

    def _told(self, frame: Frame) -> tuple[Posterior | None, Array]:
        """Return what the model says of a frame, None before the start or of an empty one, and its numbers."""
        if not len(frame):
            return None, np.empty((0, 0))
        if self._learner.snapshot is None:
            return None, self._look_at(frame, self._names)[0]
        return self._posterior_of(frame)

    # ------------------------------------------------------------------------------------------------- what was learned

    @property
    def centers(self) -> dict[int, dict[Any, float]]:
        """The mean of every component by feature, as river's clusterers tell it; empty before the start.

        Of categories it is the likeliest one, of counts of which only the shares are modelled these.

        Examples
        --------
        >>> from streamem.estimators import GaussianMixture
        >>> model = GaussianMixture(warmup_records=6, batch_size=6)
        >>> for x in (0.0, 1.0, 2.0, 8.0, 9.0, 10.0):
        ...     model.learn_one({"x": x})
        >>> sorted(round(centre["x"], 1) for centre in model.centers.values())
        [1.0, 9.0]
        """
        snapshot = self._learner.snapshot
        if snapshot is None:
            return {}
        model: Any = snapshot.model
        rows = model.summary(snapshot.averaged)
        return {place: dict(zip(self._modelled, row["mean"], strict=True)) for place, row in enumerate(rows)}

    def __getattr__(self, name: str) -> Any:
        """Return a fitted attribute, such as ``means_``: of the averaged parameters, a copy.

        Raises
        ------
        AttributeError
            There is none of this name, or the start is not made yet.
        """
        if name.endswith("_") and not name.startswith("_"):
            snapshot = self._learner.snapshot
            if snapshot is not None:
                found = fitted_attributes(snapshot.model, snapshot.averaged)
                if name in found:
                    return found[name]
            why = "the start is not made yet" if snapshot is None else f"there are {', '.join(found)}"
            raise AttributeError(f"{type(self).__name__} has no {name}: {why}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _drawn(self, n: int, rng: np.random.Generator, exposure: float) -> Array:
        begun = self._learner.begun()
        model: Any = begun.model
        if isinstance(model, HMM):
            return np.asarray(model.sample(begun.averaged, 1, rng, np.array([n]), exposure)[0].values)
        return np.asarray(model.sample(begun.averaged, n, rng, exposure)[0].values)

    @classmethod
    def _settings_of(cls, model: Model) -> dict[str, Any]:
        fits = isinstance(model, cls.kind) and (cls.of is None or type(model.family) is cls.of)
        if not fits:
            wanted = f"a {cls.kind.__name__}" + ("" if cls.of is None else f" of the family {cls.of.__name__}")
            do = "load it with the class that is for this model"
            raise SnapshotError(tell(cls.__name__, found=f"a snapshot of {model}", wanted=wanted, do=do))
        told: Any = model
        settings: dict[str, Any] = {"n_components": model.components, "prior_records": model.prior_records}
        if cls.of is Gaussian:
            ours = {name: theirs for theirs, name in COVARIANCES.items()}
            settings |= {
                "covariance_type": ours[told.family.covariance],
                "covariance_floor": told.family.covariance_floor,
            }
        elif cls.of is None:
            settings["family"] = told.family
        if "transitions" in cls._settings_known():
            settings["transitions"] = told.transitions
        return settings

    @classmethod
    def _from_fitted(cls, fitted: Any, features: Sequence[Any] | None, records: int | None, settings: Any) -> Self:
        """Return an estimator that goes on from a fitted model of another library."""
        made = cls(**{**cls._settings_of(snapshot_of(fitted).model), **settings})
        model: Any = made._model()
        snapshot = snapshot_of(fitted, model=model, records=records)
        if features is None:
            features = list(getattr(fitted, "feature_names_in_", range(snapshot.columns)))
        return cls.from_snapshot(snapshot, features=features, **{**cls._settings_of(snapshot.model), **settings})


def finite(reading: Reading) -> Reading:
    """Return a reading as it is; a ModelError, where the record is too far from everything learned to tell how far."""
    if reading[0] - reading[0] != 0.0:
        place, far = "a record", f"a log-likelihood of {reading[0]:g}"
        raise ModelError(tell(place, found=far, wanted="a finite number", do="look at its values"))
    return reading

"""What the estimators for scikit-learn have in common: an `OnlineEM` under its conventions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data

from streamem.em import GrowingWindow, Observations, OnlineEM, Snapshot
from streamem.em.declaration import Declaration, limited
from streamem.em.model import Model, check_rows
from streamem.em.observations import Array, Labels
from streamem.em.start import batch_em
from streamem.errors import ConfigError, DataError, ModelError, tell
from streamem.estimators.fitted import fitted_attributes
from streamem.estimators.settings import as_written

__all__ = ["Online"]

SEEDS = 2**31 - 1

WARMUPS = 4
"""`fit` starts from so many times the rows of a warm-up: it need not be early, and fewer rows show lower optima.

Of 16 starts from 1,000 of 2,380 records of traffic 13 led to optima .002 to .011 nats a row below that of all rows.
"""


@dataclass(frozen=True, kw_only=True)
class Fit(Declaration):
    """When `fit` ends: an iteration gains less than `tol` nats a row, or it was the last of `max_iter`."""

    tol: float = limited(1e-6, ge=0)
    max_iter: int = limited(300, ge=1)


@dataclass(frozen=True, kw_only=True)
class Draw(Declaration):
    """How many rows `sample` draws."""

    n_samples: int = limited(1, ge=1)


class Online(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """Behaviour that both estimators share; each adds its constructor, its model and its signatures."""

    n_components: int
    schedule: Any
    warmup_records: int | None
    tol: float
    max_iter: int
    random_state: Any
    learner_: OnlineEM
    n_features_in_: int

    def _model(self) -> Model:
        """Return the model that the settings describe."""
        raise NotImplementedError

    @classmethod
    def _settings(cls, model: Any) -> dict[str, Any]:
        """Return the settings that describe a model, as far as they can."""
        raise NotImplementedError

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, **settings: Any) -> Self:
        """Return an estimator that has learned what a snapshot holds, and goes on from there.

        Parameters
        ----------
        snapshot : Snapshot
            Of a pipeline (``Snapshot.from_json``), of another estimator (``snapshot_``), or of a fitted model of
            scikit-learn or hmmlearn (`streamem.estimators.fitted.snapshot_of`).
        **settings
            Those that the model does not settle, such as ``schedule``.

        Raises
        ------
        ConfigError
            It is no snapshot, or of a model that this estimator cannot be.

        Examples
        --------
        >>> from streamem.sklearn import OnlineGaussianMixture
        >>> model = OnlineGaussianMixture().fit([[-1.0], [1.0]])
        >>> again = OnlineGaussianMixture.from_snapshot(model.snapshot_)
        >>> again.predict_proba([[0.5]]).tolist(), again.partial_fit([[0.5]]).snapshot_.records_seen
        ([[1.0]], 3)
        """
        model = snapshot.model if isinstance(snapshot, Snapshot) else None
        found = f"{model or type(snapshot).__name__}"
        try:
            made = cls(**cls._settings(model) | settings)
        except (AttributeError, KeyError) as error:
            do = "take the estimator of that model"
            raise ConfigError(tell("the snapshot", found=found, wanted=f"one for {cls.__name__}", do=do)) from error
        with as_written(cls.__name__, made.get_params(deep=False)):
            learner = made._learner()
        if learner.model != model:
            do = "use streamem.em.OnlineEM(model, start=snapshot)"
            raise ConfigError(tell("the snapshot", found=found, wanted=str(learner.model), do=do))
        made._learned(replace(learner, start=snapshot))
        made.n_features_in_ = snapshot.columns
        return made

    def _sequence(self, lengths: Any, rows: int, learner: OnlineEM | None = None) -> Labels | None:
        """Return which sequence each row is of, numbered so that no held batch has one of them; None: the one."""
        raise NotImplementedError

    def _spread(self, rows: Observations, wanted: int, rng: np.random.Generator) -> Observations:
        """Return about `wanted` of more rows than that, from all over them."""
        raise NotImplementedError

    def _fit(self, X: Any, lengths: Any, sample_weight: Any) -> Self:
        """Start from as many rows as some warm-ups, then do batch EM on all rows until it stands still."""
        with self._as_before():
            ends = Fit(tol=self.tol, max_iter=self.max_iter)
            values = self._values(X, reset=True, least=2)
            rows = self._rows(values, self._sequence(lengths, len(values)), sample_weight)
            learner = self._learner()
            model, rng = learner.model, learner.rng(0)
            check_rows(model, rows, None)
            wanted = WARMUPS * learner.warmup(values.shape[1])
            parameters = model.start(rows if len(rows) <= wanted else self._spread(rows, wanted, rng), rng)
            likelihood, converged, made = -np.inf, False, 0
            while made < ends.max_iter and not converged:
                before = likelihood
                parameters, likelihood = batch_em(model, parameters, rows, iterations=1)
                converged, made = bool(likelihood - before < ends.tol), made + 1
            snapshot = Snapshot(model, parameters, parameters, len(rows), rows.span().weight, 0, 0.0, likelihood)
            learner = replace(learner, start=snapshot)
            if lengths is None:
                learner.carry.follow(model, parameters, rows)  # what comes next goes on from here
            self.converged_, self.n_iter_, self.lower_bound_ = converged, made, likelihood
            self._learned(learner)
        return self

    def _partial_fit(self, X: Any, lengths: Any, sample_weight: Any) -> Self:
        """Take one step of online EM."""
        with self._as_before():
            first = not hasattr(self, "learner_")
            learner = self._learner() if first else self._going_on()
            # rows that are held for the start must stay what they are
            values = self._values(X, reset=first, copy=learner.snapshot is None)
            learner.update(self._rows(values, self._sequence(lengths, len(values), learner), sample_weight))
            if lengths is not None:
                learner.carry.forget(np.arange(1, len(learner.carry)))
            self._learned(learner)
        return self

    def _learner(self) -> OnlineEM:
        """Return a learner with the settings, and nothing learned."""
        seed = self.random_state
        if not isinstance(seed, Integral) or isinstance(seed, bool):
            seed = drawing(seed).randint(SEEDS)
        return self._of(self._model(), int(seed))

    def _of(self, model: Model, seed: int) -> OnlineEM:
        schedule = GrowingWindow() if self.schedule is None else self.schedule
        return OnlineEM(model, schedule=schedule, warmup_records=self.warmup_records, seed=seed)

    def _going_on(self) -> OnlineEM:
        """Return the learner of before, with the schedule and the warm-up that are set now.

        Raises
        ------
        ConfigError
            The settings describe another model by now, or are none.
        """
        learner, model = self.learner_, self._model()
        if model != learner.model:
            do = "set it back, or begin anew: fit, or partial_fit of a clone"
            raise ConfigError(tell("partial_fit", found=str(model), wanted=str(learner.model), do=do))
        fresh = self._of(model, learner.seed)
        learner.schedule, learner.warmup_records = fresh.schedule, fresh.warmup_records
        return learner

    def _learned(self, learner: OnlineEM) -> None:
        """Show what was learned under the names of scikit-learn and hmmlearn."""
        self.learner_ = learner
        if learner.snapshot is not None:
            for name, array in fitted_attributes(learner.model, learner.snapshot.averaged).items():
                setattr(self, name, array)

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        """Leave the estimator as it was after an error; what a model cannot learn from is a ValueError here."""
        before = dict(vars(self))
        try:
            with valued(), as_written(type(self).__name__, self.get_params(deep=False)):
                yield
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _values(self, X: Any, *, reset: bool = False, least: int = 1, copy: bool = False) -> Array:
        """Return rows as numbers, shape (N, D), NaN where missing; scikit-learn knows frames, names and what is none.

        Raises
        ------
        ValueError
            Infinite or no numbers, too few rows, or other columns than those learned.
        """
        values = validate_data(
            self, X, reset=reset, dtype=np.float64, order="C", copy=copy, ensure_all_finite="allow-nan",
            ensure_min_samples=least,
        )  # fmt: skip
        return np.require(values, requirements=["C", "W"])  # of a memory that is read-only kernels would be made anew

    def _rows(self, values: Array, sequence: Labels | None, sample_weight: Any = None) -> Observations:
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, values, dtype=np.float64, ensure_non_negative=True)
        return Observations(values, weight=weight, sequence=sequence)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "learner_") and self.learner_.snapshot is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def snapshot_(self) -> Snapshot:
        """What was learned, as a pipeline writes it: ``snapshot_.to_json()``.

        Raises
        ------
        NotFittedError
            Nothing yet: not fitted, or the rows given to `partial_fit` are still fewer than the start needs.

        Examples
        --------
        >>> from streamem.sklearn import OnlineGaussianMixture
        >>> record = OnlineGaussianMixture().fit([[-1.0], [1.0]]).snapshot_.to_json()
        >>> record["format"], record["records_seen"]
        ('streamem.snapshot/1', 2)
        """
        if not hasattr(self, "learner_"):
            found, do = "nothing learned", "fit or partial_fit first"
            raise NotFittedError(tell(type(self).__name__, found=found, wanted="a fitted one", do=do))
        learner = self.learner_
        if learner.snapshot is None:
            rows = sum(len(batch) for batch in learner.held)
            found, do = f"{rows} rows", "partial_fit more rows, or set fewer warmup_records"
            wanted = f"warmup_records: {learner.warmup(learner.held[0].values.shape[1])} to start from"
            raise NotFittedError(tell(type(self).__name__, found=found, wanted=wanted, do=do))
        return learner.snapshot

    @property
    def _n_features_out(self) -> int:
        return int(self.snapshot_.model.components)

    def _observed(self, X: Any, lengths: Any = None) -> tuple[Snapshot, Observations]:
        """Return what was learned, and rows that it can tell of.

        Raises
        ------
        NotFittedError
            Nothing was learned yet.
        ValueError
            The rows are none, of other columns, or have values that the model cannot give rise to.
        """
        snapshot = self.snapshot_
        values = self._values(X)
        rows = self._rows(values, self._sequence(lengths, len(values)))
        check_rows(snapshot.model, rows, snapshot.columns)
        return snapshot, rows

    def _drawing(self, n_samples: int, random_state: Any = None) -> tuple[Snapshot, int, np.random.Generator]:
        """Return what was learned, how many rows to draw of it, and the random numbers for that."""
        snapshot, rows = self.snapshot_, Draw(n_samples=n_samples).n_samples
        given = self.random_state if random_state is None else random_state
        return snapshot, rows, np.random.default_rng(drawing(given).randint(SEEDS))

    def _log_likelihood(self, X: Any, lengths: Any = None) -> Array:
        with valued():
            snapshot, rows = self._observed(X, lengths)
            return snapshot.posterior(rows).log_likelihood

    def _criterion(self, X: Any, lengths: Any, price: Any) -> float:
        """Return -2 log-likelihood and the price of the free parameters, which is a function of the rows."""
        each = self._log_likelihood(X, lengths)
        snapshot = self.snapshot_
        return float(-2.0 * each.sum() + snapshot.model.free_parameters(snapshot.columns) * price(len(each)))


def drawing(random_state: Any) -> np.random.RandomState:
    """Return what draws random numbers in scikit-learn. Raises ConfigError for what it can make none of."""
    try:
        made: np.random.RandomState = check_random_state(random_state)
    except ValueError as error:
        found, wanted = repr(random_state)[:60], "a whole number of at least 0, a RandomState or None"
        raise ConfigError(tell("random_state", found=found, wanted=wanted, do="write 0")) from error
    return made


@contextmanager
def valued() -> Iterator[None]:
    """Raise a ModelError as a DataError: data that cannot be learned from is a ValueError in scikit-learn."""
    try:
        yield
    except ModelError as error:
        raise DataError(str(error)) from error

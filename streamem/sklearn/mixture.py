"""A Gaussian mixture for scikit-learn that learns online."""

from typing import Any, Self

import numpy as np

from streamem.em import Gaussian, Mixture, Observations, OnlineEM
from streamem.em.model import Model
from streamem.em.observations import Array, Labels
from streamem.estimators.families import COVARIANCES, covariance_of
from streamem.sklearn.learner import Online, valued

__all__ = ["OnlineGaussianMixture"]


class OnlineGaussianMixture(Online):
    """A mixture of normal distributions, with `fit` as in scikit-learn's `GaussianMixture` and `partial_fit` besides.

    `fit` makes a start from at most four warm-ups of rows, drawn at random, and runs batch EM on all rows until it
    stands still. `partial_fit` takes one step of online EM, as a pipeline does with a micro-batch: the first calls only
    gather rows until the start can be made, and until then nothing can be predicted. After `fit` it goes on from there.
    Missing values (NaN) are marginalised everywhere.

    Parameters
    ----------
    n_components : int
        How many components.
    covariance_type : str
        ``full``, ``tied``, ``diag`` or ``spherical``.
    covariance_floor : float
        No variance falls below this share of the columns' variances in the warm-up.
    prior_records : float
        Pseudo-rows that keep a component of few rows as wide as a share of the data. 0 is maximum likelihood.
    schedule : Schedule, optional
        Step sizes of `partial_fit`, one of `streamem.em.SCHEDULES`; `GrowingWindow()` if left out.
    warmup_records : int, optional
        Rows that a start is made from; 1,000 to 4,000 by the model's size if left out.
    tol : float
        `fit` ends when an iteration gains less, in nats a row.
    max_iter : int
        Iterations of `fit` at most.
    random_state : int, RandomState or None
        Of the start. A number is the ``seed`` of a pipeline, and draws the same.

    Attributes
    ----------
    weights_, means_, covariances_ : ndarray
        As in scikit-learn: shapes (K,), (K, D), and (K, D, D), (D, D), (K, D) or (K,) by `covariance_type`. After
        `partial_fit` the running average, which is less noisy than the last step.
    converged_, n_iter_, lower_bound_ : bool, int, float
        Of the last `fit`: whether it stood still, after how many iterations, the mean log-likelihood of a row then.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Of the rows learned from.
    learner_ : OnlineEM
        Who learns.
    snapshot_ : Snapshot
        What was learned.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> model = OnlineGaussianMixture(n_components=2, warmup_records=100)
    >>> for _ in range(20):
    ...     X = rng.normal(loc=rng.choice([-4.0, 4.0], size=(50, 1)), size=(50, 2))
    ...     model = model.partial_fit(X)
    >>> sorted(model.means_[:, 0].round().tolist())
    [-4.0, 4.0]
    >>> first, second = model.predict([[4.0, 3.0], [np.nan, 5.0]])
    >>> bool(first == second)
    True
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        covariance_floor: float = 1e-6,
        prior_records: float = 0.0,
        schedule: Any = None,
        warmup_records: int | None = None,
        tol: float = 1e-6,
        max_iter: int = 300,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.covariance_floor = covariance_floor
        self.prior_records = prior_records
        self.schedule = schedule
        self.warmup_records = warmup_records
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _model(self) -> Model:
        family = Gaussian(covariance=covariance_of(self.covariance_type), covariance_floor=self.covariance_floor)
        return Mixture(components=self.n_components, family=family, prior_records=self.prior_records)

    @classmethod
    def _settings(cls, model: Any) -> dict[str, Any]:
        family = model.family
        return {
            "n_components": model.components,
            "covariance_type": next(name for name, ours in COVARIANCES.items() if ours == family.covariance),
            "covariance_floor": family.covariance_floor,
            "prior_records": model.prior_records,
        }

    def _sequence(self, lengths: Any, rows: int, learner: OnlineEM | None = None) -> Labels | None:  # noqa: ARG002
        return None

    def _spread(self, rows: Observations, wanted: int, rng: np.random.Generator) -> Observations:
        counted = np.arange(len(rows)) if rows.weight is None else np.flatnonzero(rows.weight)
        return rows[np.sort(rng.choice(counted, size=min(wanted, len(counted)), replace=False))]

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Learn from all rows, and from nothing before.

        Parameters
        ----------
        X : array or frame, shape (N, D)
            NaN where a value is missing.
        y : ignored
        sample_weight : array, shape (N,), optional
            A row of weight 2 counts as two.

        Raises
        ------
        ValueError
            No finite numbers, a setting beyond its limits (`ConfigError`), or rows that no such model can be learned
            from (`DataError`). The estimator is as it was.

        Examples
        --------
        >>> model = OnlineGaussianMixture(n_components=2).fit([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
        >>> sorted(model.means_[:, 0].round(2).tolist())
        [1.0, 9.0]
        """
        return self._fit(X, None, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Learn from a batch of rows: one step of online EM.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Raises
        ------
        ValueError
            As `fit`; or other columns than before, or settings of another model than what was learned.

        Examples
        --------
        >>> model = OnlineGaussianMixture(warmup_records=4)
        >>> for X in ([[0.0], [2.0]], [[4.0], [6.0]], [[3.0], [3.0]]):
        ...     model = model.partial_fit(X)
        >>> model.means_.round(2).tolist()
        [[3.0]]
        """
        return self._partial_fit(X, None, sample_weight)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each component for every row, shape (N, K).

        Raises
        ------
        NotFittedError
            Nothing was learned yet.
        ValueError
            No finite numbers, other columns than those learned, or a row too far from everything learned.

        Examples
        --------
        >>> model = OnlineGaussianMixture(n_components=2).fit([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
        >>> model.predict_proba([[5.0], [np.nan]]).round(2).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
        """
        with valued():
            snapshot, rows = self._observed(X)
            return np.ascontiguousarray(snapshot.posterior(rows).probabilities)

    def predict(self, X: Any) -> Labels:
        """Return the most probable component of every row, shape (N,). Raises as `predict_proba`.

        Examples
        --------
        >>> model = OnlineGaussianMixture(n_components=2).fit([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
        >>> low, same, high = model.predict([[0.5], [1.5], [9.5]]).tolist()
        >>> low == same, low == high
        (True, False)
        """
        return np.asarray(self.predict_proba(X).argmax(axis=1))

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Labels:
        """Return ``fit(X).predict(X)``. Raises as `fit`.

        Examples
        --------
        >>> labels = OnlineGaussianMixture(n_components=2).fit_predict([[0.0], [1.0], [8.0], [9.0]])
        >>> (labels == labels[0]).tolist()
        [True, True, False, False]
        """
        return self.fit(X, y, sample_weight).predict(X)

    def transform(self, X: Any) -> Array:
        """Return the same as `predict_proba`, as features for the next step of a pipeline. Raises as it.

        Examples
        --------
        >>> model = OnlineGaussianMixture(n_components=2).fit([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
        >>> model.transform([[1.0]]).max(axis=1).round(2).tolist()
        [1.0]
        >>> model.get_feature_names_out().tolist()
        ['onlinegaussianmixture0', 'onlinegaussianmixture1']
        """
        return self.predict_proba(X)

    def score_samples(self, X: Any) -> Array:
        """Return the log-likelihood of every row, shape (N,), in nats. Raises as `predict_proba`.

        Examples
        --------
        >>> OnlineGaussianMixture().fit([[-1.0], [1.0]]).score_samples([[0.0], [2.0]]).round(3).tolist()
        [-0.919, -2.919]
        """
        return self._log_likelihood(X)

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """Return the mean log-likelihood of a row. Raises as `predict_proba`.

        Examples
        --------
        >>> round(OnlineGaussianMixture().fit([[-1.0], [1.0]]).score([[0.0], [2.0]]), 3)
        -1.919
        """
        return float(self._log_likelihood(X).mean())

    def bic(self, X: Any) -> float:
        """Return Bayes's information criterion on rows: the lower the better. Raises as `predict_proba`.

        Examples
        --------
        >>> X = [[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]]
        >>> min([1, 2], key=lambda n: OnlineGaussianMixture(n).fit(X).bic(X))
        2
        """
        return self._criterion(X, None, np.log)

    def aic(self, X: Any) -> float:
        """Return Akaike's information criterion on rows: the lower the better. Raises as `predict_proba`.

        Examples
        --------
        >>> X = [[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]]
        >>> min([1, 2], key=lambda n: OnlineGaussianMixture(n).fit(X).aic(X))
        2
        """
        return self._criterion(X, None, lambda rows: 2.0)  # noqa: ARG005

    def sample(self, n_samples: int = 1) -> tuple[Array, Labels]:
        """Return rows drawn from the mixture, shape (n_samples, D), and the component of each, shape (n_samples,).

        Raises
        ------
        NotFittedError
            Nothing was learned yet.
        ConfigError
            No number of at least 1.

        Examples
        --------
        >>> model = OnlineGaussianMixture(n_components=2).fit([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
        >>> X, component = model.sample(5)
        >>> X.shape, component.shape
        ((5, 1), (5,))
        """
        snapshot, rows, rng = self._drawing(n_samples)
        model: Any = snapshot.model
        drawn, component = model.sample(snapshot.averaged, rows, rng)
        return drawn.values, component

"""A hidden Markov model for scikit-learn that learns online."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import _num_samples

from streamem.em import HMM, Gaussian, Observations, OnlineEM
from streamem.em.families import Family
from streamem.em.model import Model
from streamem.em.observations import Array, Labels
from streamem.em.online import apart
from streamem.em.rows import numbers
from streamem.errors import ConfigError, DataError, tell
from streamem.estimators.families import covariance_of, family_of
from streamem.sklearn.learner import Online, valued

__all__ = ["OnlineHMM"]

BLOCKS = 10
"""Runs of rows from all over the sequences that a start is made from, where there are more rows than it needs."""


class OnlineHMM(Online):
    """A hidden Markov model over any family, with `fit` and `lengths` as in hmmlearn and `partial_fit` besides.

    Rows follow one another. Without `lengths` they are one sequence, which goes on from call to call of `partial_fit`,
    as in a pipeline; with them, the sequences begin and end in the call. What is predicted begins with the rows given.
    `fit` makes a start from at most four warm-ups of rows and runs batch EM on all rows until it stands still;
    `partial_fit` takes one step of online EM, and its first calls only gather rows until the start can be made. Missing
    values (NaN) are marginalised everywhere.

    Parameters
    ----------
    n_components : int
        How many states.
    family : str or Family
        What a state gives rise to: the name of one of `streamem.em.FAMILIES`, or one made with settings of its own.
    covariance_type : str
        Of the family ``gaussian``: ``full``, ``tied``, ``diag`` or ``spherical``.
    transitions : str
        ``full``: from every state to every other. ``left_to_right``: to the same state or a later one.
    prior_records : float
        Pseudo-rows, spread over the states, that join the data. 0 is maximum likelihood.
    schedule, warmup_records, tol, max_iter, random_state
        As in `OnlineGaussianMixture`.

    Attributes
    ----------
    startprob_, transmat_ : ndarray, shapes (K,) and (K, K)
        As in hmmlearn, and by family ``means_`` and ``covars_`` (``covariances_`` as scikit-learn shapes them),
        ``lambdas_`` or ``emissionprob_``. After `partial_fit` the running average.
    converged_, n_iter_, lower_bound_, n_features_in_, feature_names_in_, learner_, snapshot_
        As in `OnlineGaussianMixture`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> X = np.repeat(rng.choice([1, 30], size=60), 20)[:, None] + rng.poisson(2.0, size=(1200, 1))
    >>> model = OnlineHMM(n_components=2, family="poisson").fit(X)
    >>> sorted(model.lambdas_[:, 0].round().tolist())
    [3.0, 32.0]
    >>> model.predict(X[:60], lengths=[20, 40]).shape
    (60,)
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        family: Any = "gaussian",
        covariance_type: str = "full",
        transitions: str = "full",
        prior_records: float = 0.0,
        schedule: Any = None,
        warmup_records: int | None = None,
        tol: float = 1e-6,
        max_iter: int = 300,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.family = family
        self.covariance_type = covariance_type
        self.transitions = transitions
        self.prior_records = prior_records
        self.schedule = schedule
        self.warmup_records = warmup_records
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _model(self) -> Model:
        transitions: Any = self.transitions
        return HMM(
            states=self.n_components, family=self._family(), transitions=transitions, prior_records=self.prior_records
        )

    @classmethod
    def _settings(cls, model: Any) -> dict[str, Any]:
        return {
            "n_components": model.components,
            "family": model.family,
            "transitions": model.transitions,
            "prior_records": model.prior_records,
        }

    def _family(self) -> Family:
        """Return the family of the states. Raises ConfigError for a covariance that it has no use for."""
        if isinstance(self.family, str) and self.family == "gaussian":
            return Gaussian(covariance=covariance_of(self.covariance_type))
        if self.covariance_type != "full":
            found, wanted = f"{self.covariance_type!r} beside the family {self.family!r}", "the family 'gaussian'"
            do = "leave it out, or give it to the family: Gaussian(covariance=...)"
            raise ConfigError(tell("covariance_type", found=found, wanted=wanted, do=do))
        return family_of(self.family)

    def _sequence(self, lengths: Any, rows: int, learner: OnlineEM | None = None) -> Labels | None:
        """Return which sequence each row is of: 0 is the one that goes on, so those of `lengths` are others.

        Raises
        ------
        DataError
            The lengths are no whole numbers above 0 with as many rows in all.
        """
        if lengths is None:
            return None
        each = numbers("lengths", lengths)
        if each.ndim != 1 or not ((each >= 1) & (each == np.floor(each))).all() or each.sum() != rows:
            found, do = str(lengths)[:60], "give the number of rows of each sequence, in their order"
            raise DataError(tell("lengths", found=found, wanted=f"whole numbers with the sum {rows}", do=do))
        held = [] if learner is None else learner.held
        taken = [int(batch.sequence.max()) for batch in held if batch.sequence is not None]
        return np.asarray(np.repeat(np.arange(len(each)), each.astype(np.intp)) + max(taken, default=0) + 1)

    def _spread(self, rows: Observations, wanted: int, rng: np.random.Generator) -> Observations:
        # runs, for a start needs to see what follows what; each is a sequence of its own
        size = -(-wanted // BLOCKS)
        runs = np.array_split(np.arange(len(rows)), BLOCKS)
        firsts = [run[0] + int(rng.integers(max(1, len(run) - size + 1))) for run in runs]
        parts = [rows[first : first + size] for first in firsts]
        return Observations.concatenate(apart(parts))

    def fit(self, X: Any, y: Any = None, lengths: Any = None, sample_weight: Any = None) -> Self:
        """Learn from all rows, and from nothing before.

        Parameters
        ----------
        X : array or frame, shape (N, D)
            NaN where a value is missing.
        y : ignored
        lengths : sequence of int, optional
            Rows of each sequence; by name, since scikit-learn puts `y` first.
        sample_weight : array, shape (N,), optional
            The same for all rows of a sequence; a sequence of weight 2 counts as two.

        Raises
        ------
        ValueError
            No finite numbers, a setting beyond its limits (`ConfigError`), rows that no such model can be learned from,
            lengths or weights that do not fit (`DataError`). The estimator is as it was.

        Examples
        --------
        >>> X = [[0.0], [1.0], [0.0], [9.0], [8.0], [9.0], [1.0], [0.0]]
        >>> model = OnlineHMM(n_components=2, family="poisson").fit(X, lengths=[5, 3])
        >>> sorted(model.lambdas_[:, 0].round(1).tolist())
        [0.4, 8.7]
        """
        no_lengths(X, y)
        return self._fit(X, lengths, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, lengths: Any = None, sample_weight: Any = None) -> Self:
        """Learn from a batch of rows: one step of online EM.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        lengths : sequence of int, optional
            Rows of each sequence, which begins and ends here. If left out, the rows go on where the last ones without
            lengths ended.

        Raises
        ------
        ValueError
            As `fit`; or other columns than before, or settings of another model than what was learned.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson", warmup_records=8)
        >>> model = model.partial_fit([[0.0], [1.0], [0.0], [9.0], [8.0], [9.0], [1.0], [0.0]])
        >>> model.partial_fit([[0.0], [9.0], [9.0]], lengths=[1, 2]).snapshot_.records_seen
        11
        """
        no_lengths(X, y)
        return self._partial_fit(X, lengths, sample_weight)

    def decode(self, X: Any, lengths: Any = None) -> tuple[float, Labels]:
        """Return the log probability of the likeliest path (Viterbi) and the rows, and that path: a state for each row.

        Raises
        ------
        NotFittedError
            Nothing was learned yet.
        ValueError
            No finite numbers, other columns than those learned, numbers that the family cannot give rise to, or lengths
            that do not fit.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson").fit([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> log_probability, path = model.decode([[0], [0], [9]])
        >>> log_probability < 0, (path == path[0]).tolist()
        (True, [True, True, False])
        """
        with valued():
            snapshot, rows = self._observed(X, lengths)
            model: Any = snapshot.model
            path, log_probability = model.decode(snapshot.averaged, rows)
        return float(log_probability.sum()), path

    def predict(self, X: Any, lengths: Any = None) -> Labels:
        """Return the state of each row on the likeliest path, shape (N,). Raises as `decode`.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson").fit([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> path = model.predict([[0], [9], [0]], lengths=[2, 1])
        >>> (path == path[0]).tolist()
        [True, False, True]
        """
        return self.decode(X, lengths)[1]

    def predict_proba(self, X: Any, lengths: Any = None) -> Array:
        """Return the probability of each state given all rows of its sequence, shape (N, K). Raises as `decode`.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson").fit([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> model.predict_proba([[0], [9]]).max(axis=1).round(2).tolist()
        [1.0, 1.0]
        """
        with valued():
            snapshot, rows = self._observed(X, lengths)
            model: Any = snapshot.model
            return np.asarray(model.smooth(snapshot.averaged, rows))

    def fit_predict(self, X: Any, y: Any = None, lengths: Any = None, sample_weight: Any = None) -> Labels:
        """Return ``fit(X).predict(X)``. Raises as `fit`.

        Examples
        --------
        >>> path = OnlineHMM(n_components=2, family="poisson").fit_predict([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> (path == path[0]).tolist()
        [True, True, True, False, False, False, True, True]
        """
        return self.fit(X, y, lengths, sample_weight).predict(X, lengths)

    def transform(self, X: Any, lengths: Any = None) -> Array:
        """Return the same as `predict_proba`, as features for the next step of a pipeline. Raises as `decode`.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson").fit([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> model.transform([[0], [9]]).sum(axis=1).round(2).tolist()
        [1.0, 1.0]
        """
        return self.predict_proba(X, lengths)

    def score_samples(self, X: Any, lengths: Any = None) -> Array:
        """Return the log-likelihood of every row given those before it in its sequence, shape (N,), in nats.

        As in scikit-learn. hmmlearn's method of this name returns the sum of these and `predict_proba`. Raises as
        `decode`.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson").fit([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> usual, unusual = model.score_samples([[0], [40]])
        >>> bool(usual > unusual)
        True
        """
        return self._log_likelihood(X, lengths)

    def score(self, X: Any, y: Any = None, lengths: Any = None) -> float:
        """Return the log-likelihood of all rows, as in hmmlearn: a sum, no mean. Raises as `decode`.

        Examples
        --------
        >>> X = [[0], [1], [0], [9], [8], [9], [1], [0]]
        >>> model = OnlineHMM(n_components=2, family="poisson").fit(X)
        >>> bool(np.isclose(model.score(X), model.score_samples(X).sum()))
        True
        """
        no_lengths(X, y)
        return float(self._log_likelihood(X, lengths).sum())

    def bic(self, X: Any, lengths: Any = None) -> float:
        """Return Bayes's information criterion on rows: the lower the better. Raises as `decode`.

        Examples
        --------
        >>> X = [[0], [1], [0], [9], [8], [9], [1], [0]]
        >>> min([1, 2], key=lambda n: OnlineHMM(n, family="poisson").fit(X).bic(X))
        2
        """
        return self._criterion(X, lengths, np.log)

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Return Akaike's information criterion on rows: the lower the better. Raises as `decode`.

        Examples
        --------
        >>> X = [[0], [1], [0], [9], [8], [9], [1], [0]]
        >>> min([1, 2], key=lambda n: OnlineHMM(n, family="poisson").fit(X).aic(X))
        2
        """
        return self._criterion(X, lengths, lambda rows: 2.0)  # noqa: ARG005

    def sample(self, n_samples: int = 1, random_state: Any = None) -> tuple[Array, Labels]:
        """Return a sequence drawn from the model, shape (n_samples, D), and the state of each row.

        Parameters
        ----------
        n_samples : int
            Its length.
        random_state : int, RandomState or None
            Of the draw; that of the estimator if left out.

        Raises
        ------
        NotFittedError
            Nothing was learned yet.
        ConfigError
            No number of at least 1.

        Examples
        --------
        >>> model = OnlineHMM(n_components=2, family="poisson").fit([[0], [1], [0], [9], [8], [9], [1], [0]])
        >>> X, states = model.sample(5)
        >>> X.shape, states.shape
        ((5, 1), (5,))
        """
        snapshot, rows, rng = self._drawing(n_samples, random_state)
        model: Any = snapshot.model
        drawn, states = model.sample(snapshot.averaged, 1, rng, np.array([rows]))
        return drawn.values, states


def no_lengths(X: Any, y: Any) -> None:
    """Refuse a `y` that is not one a row with a DataError: as in hmmlearn it would be the lengths."""
    if y is not None and _num_samples(y) != _num_samples(X):
        found, do = f"{_num_samples(y)} values for {_num_samples(X)} rows", "write lengths=... if that is what they are"
        raise DataError(tell("y", found=found, wanted="nothing, or one for each row", do=do))

"""Hidden Markov models as river estimators: regimes that follow one another, one sequence for each key."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from streamem.em import MODELS, Gaussian, Poisson
from streamem.em.model import Model
from streamem.estimators.families import covariance_of, family_of
from streamem.estimators.labelled import Labelled

__all__ = ["HMM", "GaussianHMM", "PoissonHMM"]

ChainModel: type[Any] = MODELS["hmm"]
"""`streamem.em.HMM`, whose name is taken here."""


class GaussianHMM(Labelled):
    """Regimes of real numbers: a hidden Markov model with normal states.

    What is predicted of a record uses the records learned before it, gathered ones too, and none after it.

    Parameters
    ----------
    n_components : int
        How many states.
    covariance_type : str
        ``full``, ``tied``, ``diag`` or ``spherical``.
    covariance_floor : float
        No variance falls below this share of the features' variances in the warm-up.
    prior_records, schedule, warmup_records, batch_size, features, anomaly_window_records, seed
        As in `GaussianMixture`.
    key : name, optional
        What tells sequences apart, such as a device: each has its own state. If left out there is one sequence.
    max_keys : int, optional
        Sequences at most; those not seen for longest are forgotten, and begin anew when they come again.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> import random
    >>> rng, busy = random.Random(1), False
    >>> model = GaussianHMM(n_components=2, warmup_records=200)
    >>> for _ in range(2000):
    ...     busy ^= rng.random() < 0.05
    ...     model.learn_one({"load": rng.gauss(3.0 if busy else 0.0, 1.0)})
    >>> (model.transmat_.diagonal() > 0.9).tolist()
    [True, True]
    """

    kind = ChainModel
    of = Gaussian

    def __init__(
        self,
        n_components: int = 2,
        covariance_type: str = "full",
        *,
        covariance_floor: float = 1e-6,
        prior_records: float = 0.0,
        schedule: Any = None,
        warmup_records: int | None = None,
        batch_size: int = 100,
        features: Sequence[Any] | None = None,
        key: Any = None,
        max_keys: int | None = None,
        anomaly_window_records: int = 1000,
        seed: int = 0,
    ) -> None:
        self._begin(locals())

    def _model(self) -> Model:
        family = Gaussian(covariance=covariance_of(self.covariance_type), covariance_floor=self.covariance_floor)
        model: Model = ChainModel(states=self.n_components, family=family, prior_records=self.prior_records)
        return model

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "warmup_records": 100, "batch_size": 10, "prior_records": 2.0}

    @classmethod
    def from_hmmlearn(
        cls, fitted: Any, *, features: Sequence[Any] | None = None, records: int | None = None, **settings: Any
    ) -> Self:
        """Return an estimator that goes on from a fitted `hmmlearn.hmm.GaussianHMM`.

        Parameters
        ----------
        fitted : GaussianHMM
            Theirs.
        features : sequence of names, optional
            Of its columns, by default their numbers from 0 on.
        records : int, optional
            How many records the fit counts for: new ones change it the less the more these are. By default as many as
            a warm-up.
        **settings
            Of the constructor.

        Raises
        ------
        ConfigError
            It is not fitted, or something else.

        Examples
        --------
        >>> from hmmlearn.hmm import GaussianHMM as Theirs
        >>> theirs = Theirs(2, random_state=1).fit([[0.0], [1.0], [0.5], [8.0], [9.0], [8.5], [0.0], [1.0]])
        >>> ours = GaussianHMM.from_hmmlearn(theirs, features=["load"])
        >>> ours.means_.round(6).tolist() == theirs.means_.round(6).tolist()
        True
        """
        return cls._from_fitted(fitted, features, records, settings)


class PoissonHMM(Labelled):
    """Regimes of counts: a hidden Markov model with Poisson states.

    Parameters
    ----------
    n_components : int
        How many states.
    prior_records, schedule, warmup_records, batch_size, features, anomaly_window_records, seed
        As in `GaussianMixture`.
    key, max_keys
        As in `GaussianHMM`.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> import random
    >>> rng, busy = random.Random(1), False
    >>> model = PoissonHMM(n_components=2, warmup_records=200)
    >>> for _ in range(2000):
    ...     busy ^= rng.random() < 0.05
    ...     model.learn_one({"calls": rng.randint(0, 2) + 20 * busy})
    >>> sorted(model.lambdas_[:, 0].round().tolist())
    [1.0, 21.0]
    """

    kind = ChainModel
    of = Poisson

    def __init__(
        self,
        n_components: int = 2,
        *,
        prior_records: float = 0.0,
        schedule: Any = None,
        warmup_records: int | None = None,
        batch_size: int = 100,
        features: Sequence[Any] | None = None,
        key: Any = None,
        max_keys: int | None = None,
        anomaly_window_records: int = 1000,
        seed: int = 0,
    ) -> None:
        self._begin(locals())

    def _model(self) -> Model:
        model: Model = ChainModel(states=self.n_components, family=Poisson(), prior_records=self.prior_records)
        return model

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "warmup_records": 100, "batch_size": 10}

    @classmethod
    def from_hmmlearn(
        cls, fitted: Any, *, features: Sequence[Any] | None = None, records: int | None = None, **settings: Any
    ) -> Self:
        """Return an estimator that goes on from a fitted `hmmlearn.hmm.PoissonHMM`.

        Parameters
        ----------
        fitted : PoissonHMM
            Theirs.
        features : sequence of names, optional
            Of its columns, by default their numbers from 0 on.
        records : int, optional
            How many records the fit counts for: new ones change it the less the more these are. By default as many as
            a warm-up.
        **settings
            Of the constructor.

        Raises
        ------
        ConfigError
            It is not fitted, or something else.

        Examples
        --------
        >>> from hmmlearn.hmm import PoissonHMM as Theirs
        >>> theirs = Theirs(2, random_state=1).fit([[0], [1], [0], [8], [9], [8], [0], [1]])
        >>> ours = PoissonHMM.from_hmmlearn(theirs, features=["calls"])
        >>> ours.lambdas_.round(6).tolist() == theirs.lambdas_.round(6).tolist()
        True
        """
        return cls._from_fitted(fitted, features, records, settings)


class HMM(Labelled):
    """Regimes of any kind of numbers: a hidden Markov model over any family.

    Parameters
    ----------
    n_components : int
        How many states.
    family : str or Family
        As in `Mixture`.
    transitions : str
        ``full``: from every state to every other. ``left_to_right``: to the same state or a later one.
    prior_records, schedule, warmup_records, batch_size, features, anomaly_window_records, seed
        As in `GaussianMixture`.
    key, max_keys
        As in `GaussianHMM`.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits, or no such family.

    Examples
    --------
    >>> import random
    >>> rng, broken = random.Random(1), False
    >>> model = HMM(n_components=2, family="exponential", warmup_records=200)
    >>> for _ in range(2000):
    ...     broken ^= rng.random() < 0.05
    ...     model.learn_one({"seconds": rng.expovariate(0.1 if broken else 10.0)})
    >>> model.predict_one({"seconds": 15.0}) != model.predict_one({"seconds": 0.01})
    True
    """

    kind = ChainModel
    of = None

    def __init__(
        self,
        n_components: int = 2,
        family: Any = "gaussian",
        *,
        transitions: str = "full",
        prior_records: float = 0.0,
        schedule: Any = None,
        warmup_records: int | None = None,
        batch_size: int = 100,
        features: Sequence[Any] | None = None,
        key: Any = None,
        max_keys: int | None = None,
        anomaly_window_records: int = 1000,
        seed: int = 0,
    ) -> None:
        self._begin(locals())

    def _model(self) -> Model:
        model: Model = ChainModel(
            states=self.n_components,
            family=family_of(self.family),
            transitions=self.transitions,
            prior_records=self.prior_records,
        )
        return model

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "family": "exponential", "warmup_records": 100, "batch_size": 10}

    @classmethod
    def from_hmmlearn(
        cls, fitted: Any, *, features: Sequence[Any] | None = None, records: int | None = None, **settings: Any
    ) -> Self:
        """Return an estimator that goes on from a fitted `hmmlearn.hmm.CategoricalHMM`.

        Parameters
        ----------
        fitted : CategoricalHMM
            Theirs.
        features : sequence of names, optional
            Of its columns, by default their numbers from 0 on.
        records : int, optional
            How many records the fit counts for: new ones change it the less the more these are. By default as many as
            a warm-up.
        **settings
            Of the constructor.

        Raises
        ------
        ConfigError
            It is not fitted, or something else.

        Examples
        --------
        >>> from hmmlearn.hmm import CategoricalHMM as Theirs
        >>> theirs = Theirs(2, random_state=1).fit([[0], [1], [0], [2], [2], [2], [0], [1]])
        >>> ours = HMM.from_hmmlearn(theirs, features=["colour"])
        >>> ours.emissionprob_.round(6).tolist() == theirs.emissionprob_.round(6).tolist()
        True
        """
        return cls._from_fitted(fitted, features, records, settings)

"""Mixtures as river estimators: clusters that are learned while the records flow."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from streamem.em import CompoundDirichlet as CompoundDirichletFamily
from streamem.em import Gaussian, Poisson
from streamem.em import Mixture as MixtureModel
from streamem.em.model import Model
from streamem.estimators.families import covariance_of, family_of
from streamem.estimators.labelled import Labelled

__all__ = ["CompoundDirichlet", "GaussianMixture", "Mixture", "PoissonMixture"]


class GaussianMixture(Labelled):
    """Clusters of real numbers: a mixture of normal distributions.

    What it predicts and tells is of the running average of the parameters: less noisy than the current ones, which
    learning goes on from, and some way behind them where the stream changes. These are ``snapshot.parameters``. Fitted
    attributes have scikit-learn's names: ``weights_``, ``means_`` and ``covariances_``.

    Parameters
    ----------
    n_components : int
        How many clusters.
    covariance_type : str
        ``full``, ``tied``, ``diag`` or ``spherical``.
    covariance_floor : float
        No variance falls below this share of the features' variances in the warm-up.
    prior_records : float
        Pseudo-records that keep a cluster of few records as wide as a share of the data. 0 is maximum likelihood.
    schedule : Schedule, optional
        Step sizes, one of `streamem.em`'s; `GrowingWindow()` if left out.
    warmup_records : int, optional
        Records that the start is made from; 1,000 to 4,000 by the model's size if left out.
    batch_size : int
        Records of a micro-batch. Measured with four features and three clusters: a record costs 14 µs at 10, 2 to 3
        at 100, and no less at 1,000; the likelihood of what comes next is the same from 5 to 300, for a stream that
        drifts too, and 0.03 nats a record lower at 1,000 for that one.
    features : sequence of names, optional
        Take these and no others, in this order. If left out, those that come; new ones join.
    key : name, optional
        What tells sequences apart. A mixture knows no sequences: it only is no feature then.
    max_keys : int, optional
        Keys at most; those not seen for longest are forgotten.
    anomaly_window_records : int
        Learned records that a score is the rank among.
    seed : int
        Of all random draws.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(1)
    >>> model = GaussianMixture(n_components=2, warmup_records=100)
    >>> for _ in range(1000):
    ...     centre = rng.choice([-4.0, 4.0])
    ...     model.learn_one({"x": rng.gauss(centre, 1), "y": rng.gauss(-centre, 1)})
    >>> sorted(model.means_[:, 0].round().tolist())
    [-4.0, 4.0]
    >>> model.predict_one({"x": 3.5, "y": -4.2}) == model.predict_one({"x": 4.1})
    True
    >>> model.score_one({"x": 0.0, "y": 15.0}) > 0.99
    True

    River's `evaluate` asks an anomaly detector for scores, and this is one; metrics of labels take a loop:

    >>> from river import metrics
    >>> model, metric = GaussianMixture(n_components=2, warmup_records=100), metrics.AdjustedRand()
    >>> for _ in range(1000):
    ...     label = rng.randrange(2)
    ...     x = {"x": rng.gauss(8 * label, 1)}
    ...     metric.update(label, model.predict_one(x))
    ...     model.learn_one(x)
    >>> metric.get() > 0.7  # until the start, 100 records, all labels are 0
    True
    """

    kind = MixtureModel
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
        return MixtureModel(components=self.n_components, family=family, prior_records=self.prior_records)

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "warmup_records": 100, "batch_size": 10, "prior_records": 2.0}

    @classmethod
    def from_sklearn(
        cls, fitted: Any, *, features: Sequence[Any] | None = None, records: int | None = None, **settings: Any
    ) -> Self:
        """Return an estimator that goes on from a fitted `sklearn.mixture.GaussianMixture`.

        Parameters
        ----------
        fitted : GaussianMixture
            Theirs.
        features : sequence of names, optional
            Of its columns. By default those that it was fitted with, or their numbers from 0 on.
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
        >>> from sklearn.mixture import GaussianMixture as Theirs
        >>> theirs = Theirs(2, random_state=1).fit([[0.0], [1.0], [0.5], [8.0], [9.0], [8.5]])
        >>> ours = GaussianMixture.from_sklearn(theirs, features=["x"])
        >>> ours.predict_one({"x": 1.0}) == theirs.predict([[1.0]])[0]
        np.True_
        """
        return cls._from_fitted(fitted, features, records, settings)


class PoissonMixture(Labelled):
    """Clusters of counts: a mixture of Poisson distributions, independent within a cluster.

    Parameters
    ----------
    n_components : int
        How many clusters.
    prior_records, schedule, warmup_records, batch_size, features, key, max_keys, anomaly_window_records, seed
        As in `GaussianMixture`.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(1)
    >>> model = PoissonMixture(n_components=2, warmup_records=100)
    >>> for _ in range(1000):
    ...     model.learn_one({"clicks": rng.choice([0, 1, 2]) + rng.choice([0, 20])})
    >>> sorted(model.lambdas_[:, 0].round().tolist())
    [1.0, 21.0]
    """

    kind = MixtureModel
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
        return MixtureModel(components=self.n_components, family=Poisson(), prior_records=self.prior_records)

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "warmup_records": 100, "batch_size": 10}


class CompoundDirichlet(Labelled):
    """Clusters of records of several counts whose shares differ from record to record, such as words of texts.

    A count that a record does not have is 0, as in a bag of words. Features are those of the warm-up: a new one would
    change what the shares are of.

    Parameters
    ----------
    n_components : int
        How many clusters.
    prior_records, schedule, warmup_records, batch_size, features, key, max_keys, anomaly_window_records, seed
        As in `GaussianMixture`.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(1)
    >>> model = CompoundDirichlet(n_components=2, warmup_records=100)
    >>> for _ in range(1000):
    ...     often, seldom = rng.choice([("goal", "vote"), ("vote", "goal")])
    ...     model.learn_one({often: rng.randint(5, 9), seldom: rng.randint(0, 2)})
    >>> model.predict_one({"goal": 7}) != model.predict_one({"vote": 7})
    True
    """

    kind = MixtureModel
    of = CompoundDirichletFamily

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
        family = CompoundDirichletFamily()
        return MixtureModel(components=self.n_components, family=family, prior_records=self.prior_records)

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "warmup_records": 100, "batch_size": 10, "prior_records": 2.0}


class Mixture(Labelled):
    """Clusters of any kind of numbers: a mixture of any family.

    Parameters
    ----------
    n_components : int
        How many clusters.
    family : str or Family
        The name of one of `streamem.em.FAMILIES`, or one made with settings of its own. A product of several families
        needs `features`, in the order of its parts. Categories come as their numbers; text is for pipelines.
    prior_records, schedule, warmup_records, batch_size, features, key, max_keys, anomaly_window_records, seed
        As in `GaussianMixture`.

    Raises
    ------
    ConfigError
        A setting of another type or beyond its limits, or no such family.

    Examples
    --------
    >>> import random
    >>> from streamem.em import Gaussian, Part, Poisson, Product
    >>> rng = random.Random(1)
    >>> both = Product(parts=(Part(Gaussian()), Part(Poisson())))
    >>> model = Mixture(2, both, features=["celsius", "calls"], warmup_records=100)
    >>> for _ in range(500):
    ...     hot = rng.random() < 0.5
    ...     model.learn_one({"celsius": rng.gauss(30 if hot else 5, 2), "calls": rng.randint(0, 3) + 9 * hot})
    >>> model.predict_one({"celsius": 31.0}) == model.predict_one({"calls": 11})
    True
    """

    kind = MixtureModel
    of = None

    def __init__(
        self,
        n_components: int = 2,
        family: Any = "gaussian",
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
        family = family_of(self.family)
        return MixtureModel(components=self.n_components, family=family, prior_records=self.prior_records)

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_components": 2, "family": "exponential", "warmup_records": 100, "batch_size": 10}

from types import SimpleNamespace

import numpy as np
import pytest
from hmmlearn.hmm import CategoricalHMM, GaussianHMM, MultinomialHMM, PoissonHMM
from sklearn.mixture import GaussianMixture

from streamem.em import (
    HMM,
    LDS,
    Bernoulli,
    Categorical,
    Gaussian,
    LogNormal,
    Mixture,
    Multinomial,
    Observations,
    OnlineEM,
    Poisson,
    Snapshot,
)
from streamem.errors import ConfigError
from streamem.estimators.fitted import fitted_attributes, snapshot_of

COVARIANCES = {"full": "full", "tied": "tied", "diag": "diagonal", "spherical": "spherical"}
THEIRS = 1e-9  # relative: the same sums in another order


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    centres = np.repeat(rng.normal(size=(20, 3)) * [[9.0, 1.0, 4.0]], 20, axis=0)
    return centres + rng.normal(size=(400, 3))


@pytest.mark.parametrize("kind", COVARIANCES)
def test_a_gaussian_mixture_of_scikit_learn_says_the_same_here(rows, kind):
    theirs = GaussianMixture(3, covariance_type=kind, random_state=0).fit(rows)
    snapshot = snapshot_of(theirs)
    posterior = snapshot.posterior(Observations(rows))
    np.testing.assert_allclose(posterior.log_likelihood, theirs.score_samples(rows), rtol=THEIRS)
    np.testing.assert_allclose(posterior.probabilities, theirs.predict_proba(rows), atol=THEIRS)
    found = fitted_attributes(snapshot.model, snapshot.parameters)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(found[name], getattr(theirs, name), rtol=THEIRS, atol=1e-15)
        assert found[name].shape == getattr(theirs, name).shape


@pytest.mark.parametrize("kind", COVARIANCES)
def test_a_gaussian_hmm_of_hmmlearn_says_the_same_here(rows, kind):
    theirs = GaussianHMM(2, covariance_type=kind, random_state=0).fit(rows)
    snapshot = snapshot_of(theirs)
    assert snapshot.posterior(Observations(rows)).log_likelihood.sum() == pytest.approx(theirs.score(rows))
    found = fitted_attributes(snapshot.model, snapshot.parameters)
    for name in ("startprob_", "transmat_", "means_"):
        np.testing.assert_allclose(found[name], getattr(theirs, name), rtol=THEIRS, atol=1e-15)
    covariances = theirs.covars_[:: len(theirs.covars_) // 2]  # spherical ones come once a column in hmmlearn 0.3.3
    np.testing.assert_allclose(found["covars_"], covariances, rtol=THEIRS, atol=1e-15)


@pytest.mark.parametrize(
    ("theirs", "rows"),
    [
        (PoissonHMM(2, random_state=0), [[1, 0], [2, 1], [20, 9], [19, 8], [0, 0], [1, 2]] * 9),
        (CategoricalHMM(2, random_state=0), [[0], [1], [0], [2], [2], [3], [2], [0], [1]] * 9),
        (MultinomialHMM(2, n_trials=4, random_state=0), [[4, 0, 0], [3, 1, 0], [0, 0, 4], [0, 1, 3], [1, 0, 3]] * 9),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.filterwarnings("ignore:MultinomialHMM has undergone")
def test_an_hmm_of_counts_of_hmmlearn_says_the_same_here(theirs, rows, caplog):
    rows = np.array(rows)
    theirs.fit(rows)
    snapshot = snapshot_of(theirs)
    assert snapshot.posterior(Observations(rows)).log_likelihood.sum() == pytest.approx(theirs.score(rows), rel=1e-6)
    found = fitted_attributes(snapshot.model, snapshot.parameters)
    names = {"startprob_", "transmat_"} | {"lambdas_" if isinstance(theirs, PoissonHMM) else "emissionprob_"}
    assert set(found) == names
    for name in names:
        np.testing.assert_allclose(found[name], getattr(theirs, name), rtol=1e-6, atol=1e-8)  # their zeros are floored


FAMILIES = [
    (Gaussian(), {"means_", "covariances_"}),
    (LogNormal(), {"means_"}),
    (Poisson(), {"lambdas_"}),
    (Bernoulli(), {"means_"}),
    (Categorical(), {"emissionprob_"}),
    (Multinomial(), {"emissionprob_"}),
]


@pytest.mark.parametrize(("family", "names"), FAMILIES, ids=lambda one: getattr(one, "type", ""))
@pytest.mark.parametrize("sequential", [False, True])
def test_every_family_shows_attributes_that_are_copies(family, names, sequential):
    model = HMM(states=2, family=family) if sequential else Mixture(components=2, family=family)
    rows = np.random.default_rng(0).integers(0, 2, size=(60, 3)).astype(float)
    if isinstance(family, Gaussian):
        rows = np.exp(rows + np.random.default_rng(1).normal(size=rows.shape))
    parameters = model.start(Observations(rows), np.random.default_rng(0))
    found = fitted_attributes(model, parameters)
    extra = {"startprob_", "transmat_"} if sequential else {"weights_"}
    assert set(found) == names | extra | ({"covars_"} if sequential and "covariances_" in names else set())
    for array in found.values():
        array[:] = np.nan
    assert all(np.isfinite(array).all() for array in fitted_attributes(model, parameters).values())


def test_a_tracker_has_other_names_and_shows_none_here():
    assert fitted_attributes(LDS(state_size=1), None) == {}


def test_attributes_read_back_as_the_same_bits(rows):
    learner = OnlineEM(Mixture(components=3), warmup_records=300)
    learner.update(Observations(rows))
    found = fitted_attributes(learner.model, learner.snapshot.parameters)
    again = snapshot_of(SimpleNamespace(covariance_type="full", **found))
    for name, array in fitted_attributes(again.model, again.parameters).items():
        assert array.tobytes() == found[name].tobytes()


def test_learning_goes_on_from_a_fit_the_slower_the_more_records_it_counts_for(rows):
    theirs = GaussianMixture(2, random_state=0).fit(rows)
    moved = []
    for records in (100, 100_000):
        start = snapshot_of(theirs, records=records)
        learner = OnlineEM(start.model, start=start)
        learner.update(Observations(rows[:100] + 5.0))
        moved.append(np.abs(learner.snapshot.parameters.components.mean - theirs.means_).max())
    assert 0.0 < moved[1] < 0.2 * moved[0]
    assert snapshot_of(theirs).records_seen == 1000


def test_settings_of_a_given_model_stay_and_it_survives_json(rows):
    theirs = GaussianHMM(2, covariance_type="diag", random_state=0).fit(rows)
    model = HMM(states=2, family=Gaussian(covariance="diagonal"), prior_records=3.0, sequences="complete")
    snapshot = snapshot_of(theirs, model=model)
    assert Snapshot.from_json(snapshot.to_json()).model == model


MIXTURE = {
    "covariance_type": "full",
    "weights_": [0.5, 0.5],
    "means_": [[0.0], [1.0]],
    "covariances_": np.ones((2, 1, 1)),
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights_": None}, "no weights_"),
        ({"means_": None}, "no means_"),
        ({"covariances_": None}, "no covars_"),
        ({"weights_": [0.5, 0.7]}, "the sum 1"),
        ({"weights_": ["a", "b"]}, "found text"),
        ({"means_": [[0.0], [np.nan]]}, "not all finite"),
        ({"means_": [0.0, 1.0]}, "means_ of the shape"),
        ({"means_": [[0.0], [1.0], [2.0]]}, "do not fit"),
        ({"covariances_": -np.ones((2, 1, 1))}, "positive definite"),
        ({"covariances_": np.ones((3, 1, 1))}, "do not fit"),
        ({"covariance_type": "ful"}, "did you mean 'full'"),
        ({"covariance_type": "diag"}, "covariances_ of the shape"),
    ],
)
def test_what_is_no_fitted_model_is_told(changes, said):
    attributes = {name: value for name, value in (MIXTURE | changes).items() if value is not None}
    with pytest.raises(ConfigError, match=said):
        snapshot_of(SimpleNamespace(**attributes))


def test_an_unfitted_model_a_model_of_another_kind_and_wrong_records_are_told(rows):
    with pytest.raises(ConfigError, match=r"GaussianMixture: found no weights_.*fit it first"):
        snapshot_of(GaussianMixture(2))
    theirs = GaussianMixture(2, random_state=0).fit(rows)
    for model in (
        HMM(states=2),
        Mixture(family=Poisson()),
        Mixture(family=Gaussian(covariance="tied")),
        Mixture(components=3),
    ):
        with pytest.raises(ConfigError):
            snapshot_of(theirs, model=model)
    for records in (-1, True, 1.5):
        with pytest.raises(ConfigError, match="records"):
            snapshot_of(theirs, records=records)

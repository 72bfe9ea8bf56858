"""Numerics of the Gaussian family: far from zero, far apart, at the floor, against scikit-learn."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from streamem.em import Cumulative, Gaussian, GrowingWindow, Mixture, Observations, OnlineEM, Snapshot
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.mixture import MixtureParameters
from streamem.em.start import batch_em
from streamem.errors import ModelError
from tests.laws.cases import COVARIANCES

PEER = {"full": "full", "diagonal": "diag", "spherical": "spherical", "tied": "tied"}


def begin(model, means, spread=1.0):
    """A snapshot with unit covariances at the given means."""
    means = np.asarray(means, float)
    columns = means.shape[1]
    one = np.eye(columns) if model.family.correlated else np.ones(columns)
    components = GaussianParameters(means, np.stack([spread * one] * len(means)), np.ones(columns))
    theta = MixtureParameters(np.full(len(means), 1.0 / len(means)), components)
    return Snapshot(model, theta, theta, 0, 0.0, 0, 0.0, 0.0)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_batch_em_takes_scikit_learns_steps(covariance):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3)) + rng.choice([-2.0, 2.0], size=(400, 1))
    model = Mixture(components=2, family=Gaussian(covariance=covariance, covariance_floor=0.0))
    ours = begin(model, [[-1.0] * 3, [1.0] * 3]).parameters
    peer = GaussianMixture(2, covariance_type=PEER[covariance], reg_covar=0.0)
    peer.weights_, peer.means_ = ours.weights, ours.components.mean
    ones = {"full": np.stack([np.eye(3)] * 2), "tied": np.eye(3), "diagonal": np.ones((2, 3)), "spherical": np.ones(2)}
    peer.covariances_, peer.precisions_cholesky_ = ones[covariance], ones[covariance]
    for _ in range(20):
        ours, likelihood = batch_em(model, ours, Observations(rows), iterations=1)
        expected, log_responsibility = peer._e_step(rows)
        peer._m_step(rows, log_responsibility)
        assert likelihood == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(ours.components.mean, peer.means_, rtol=1e-9)
    found = ours.components.covariance
    found = {"full": found, "diagonal": found, "tied": found[0], "spherical": found[:, 0]}[covariance]
    np.testing.assert_allclose(found, peer.covariances_, rtol=1e-9, atol=1e-12)


def learned(rows, model, means):
    learner = OnlineEM(model, Cumulative(), start=begin(model, means))
    for start in range(0, len(rows), 100):
        learner.update(Observations(rows[start : start + 100]))
    return learner.snapshot


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_data_a_million_standard_deviations_from_zero_lose_nothing(covariance):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(5000, 2)) + rng.choice([-3.0, 3.0], size=(5000, 1))
    model = Mixture(components=2, family=Gaussian(covariance=covariance))
    # the same doubles, centred exactly: adding 1e6 rounds, taking it away does not
    far = rows + 1e6
    near = far - 1e6
    here = learned(near, model, [[-3.0] * 2, [3.0] * 2]).parameters.components
    there = learned(far, model, [[1e6 - 3.0] * 2, [1e6 + 3.0] * 2]).parameters.components
    np.testing.assert_allclose(there.covariance, here.covariance, rtol=1e-6)
    np.testing.assert_allclose(there.mean - 1e6, here.mean, atol=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_two_clusters_a_million_apart_keep_their_covariances(covariance):
    rng = np.random.default_rng(2)
    rows, label = rng.normal(size=(5000, 2)), rng.integers(2, size=5000)[:, None]
    far = rows + 1e6 * label
    # the same doubles at forty standard deviations: far enough that no responsibility is shared there either
    near = (far - 1e6 * label) + 40.0 * label
    model = Mixture(components=2, family=Gaussian(covariance=covariance))
    there = learned(far, model, [[0.0, 0.0], [1e6, 1e6]]).parameters.components
    here = learned(near, model, [[0.0, 0.0], [40.0, 40.0]]).parameters.components
    np.testing.assert_allclose(there.covariance, here.covariance, rtol=1e-6, atol=1e-6)


def test_a_starved_component_keeps_its_parameters():
    model = Mixture(components=2)
    first = begin(model, [[0.0, 0.0], [1e3, 1e3]])
    learner = OnlineEM(model, start=first)
    rng = np.random.default_rng(0)
    for _ in range(300):
        learner.update(Observations(rng.normal(size=(50, 2))))
    parts = learner.snapshot.parameters.components
    np.testing.assert_allclose(parts.mean[1], [1e3, 1e3])
    np.testing.assert_allclose(parts.covariance[1], np.eye(2), rtol=1e-9)
    assert np.isfinite(learner.snapshot.log_likelihood)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_floor_holds_and_is_counted(covariance):
    model = Mixture(components=1, family=Gaussian(covariance=covariance, covariance_floor=0.01))
    learner = OnlineEM(model, start=begin(model, [[0.0, 0.0]]))
    for _ in range(100):
        learner.update(Observations(np.zeros((500, 2))))
    parts = learner.snapshot.parameters.components
    spread = model.family.spread(parts)
    np.testing.assert_allclose(spread, 0.1, rtol=1e-6)
    assert learner.snapshot.summary()["at_floor"] == 1


def test_without_a_floor_a_degenerate_covariance_is_an_error():
    model = Mixture(components=1, family=Gaussian(covariance_floor=0.0))
    rows = np.outer(np.linspace(-1.0, 1.0, 50), [1.0, 1.0])
    with pytest.raises(ModelError, match=r"component 0 of 1: found .*not positive definite"):
        batch_em(model, begin(model, [[0.0, 0.0]]).parameters, Observations(rows), iterations=3)


def test_a_prior_weighs_the_same_at_every_batch_size():
    rows = np.random.default_rng(0).normal(scale=0.1, size=(20_000, 1))
    spreads = []
    for size in (50, 1000):
        model = Mixture(components=1, prior_records=500.0)
        window = GrowingWindow(window_records=5000.0, exponent=0.0)
        learner = OnlineEM(model, window, start=begin(model, [[0.0]], spread=0.01))
        for begin_at in range(0, len(rows), size):
            learner.update(Observations(rows[begin_at : begin_at + size]))
        spreads.append(model.family.spread(learner.snapshot.parameters.components)[0, 0])
    # steps of .01 and .18 differ by what falls within a batch
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
    # a tenth of the window is prior of variance 1
    assert spreads[0] ** 2 == pytest.approx(0.01 + 0.1, rel=0.15)


def test_samples_and_relative_entropies_agree():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(2, 3, 3))
    parameters = GaussianParameters(rng.normal(size=(2, 3)), factor @ factor.transpose(0, 2, 1), np.ones(3))
    family = Gaussian()
    rows = family.sample(parameters, np.zeros(200_000, int), rng)
    density = family.log_density(parameters, Observations(rows))
    # the relative entropy is the mean log ratio; 200,000 draws
    divergence = family.relative_entropy(parameters, parameters)
    np.testing.assert_allclose(np.diagonal(divergence), 0.0, atol=1e-12)
    ratio = density[0] - density[1]
    assert divergence[0, 1] == pytest.approx(ratio.mean(), abs=5 * ratio.std() / 400)
    np.testing.assert_allclose(np.cov(rows.T), parameters.covariance[0], atol=0.05)

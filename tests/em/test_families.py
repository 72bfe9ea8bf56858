"""Families of independent columns against scipy, and what each does with values at the edge."""

import numpy as np
import pytest
from scipy import stats

from streamem.em import Bernoulli, Constant, Exponential, Geometric, Mixture, Observations, OnlineEM, Poisson
from streamem.em.families.independent import FLOOR, IndependentParameters
from streamem.em.observations import Span
from streamem.errors import ModelError, SnapshotError

PEERS = {
    Poisson(): lambda v, mean: stats.poisson(mean).logpmf(v),
    Bernoulli(): lambda v, mean: stats.bernoulli(mean).logpmf(v),
    Exponential(): lambda v, mean: stats.expon(scale=mean).logpdf(v),
    Geometric(): lambda v, mean: stats.geom(1.0 / (1.0 + mean)).logpmf(v + 1.0),
}
each_family = pytest.mark.parametrize("family", PEERS, ids=lambda family: family.type)


def parameters(family):
    mean = np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 3))
    return IndependentParameters(mean if isinstance(family, Bernoulli) else 20.0 * mean, np.full(3, 0.5))


@each_family
def test_densities_moments_and_draws_agree_with_scipy(family):
    theta, rng = parameters(family), np.random.default_rng(1)
    component = np.zeros(100_000, int)
    values = family.sample(theta, component, rng)
    found = family.log_density(theta, Observations(values[:500]))
    expected = [PEERS[family](values[:500], mean).sum(axis=1) for mean in theta.mean]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    error = 5.0 / np.sqrt(len(values))
    np.testing.assert_allclose(values.mean(axis=0), theta.mean[0], atol=float(error * family.spread(theta)[0].max()))
    np.testing.assert_allclose(values.std(axis=0), family.spread(theta)[0], rtol=0.05)
    assert not family.wrong(values).any()
    # the relative entropy is the mean log ratio
    density = family.log_density(theta, Observations(values))
    ratio = density[0] - density[1]
    assert family.relative_entropy(theta, theta)[0, 1] == pytest.approx(ratio.mean(), abs=5.0 * ratio.std() * error)
    np.testing.assert_allclose(np.diagonal(family.relative_entropy(theta, theta)), 0.0, atol=1e-12)


def test_an_exposure_multiplies_the_mean_of_a_count():
    theta = parameters(Poisson())
    exposure = np.array([0.5, 3.0])
    values = np.array([[1.0, 4.0, 0.0], [20.0, 30.0, 3.0]])
    found = Poisson().log_density(theta, Observations(values, exposure=exposure))
    for k in range(2):
        expected = stats.poisson(theta.mean[k] * exposure[:, None]).logpmf(values).sum(axis=1)
        np.testing.assert_allclose(found[k], expected, rtol=1e-12)


def test_rates_are_learned_from_counts_of_unequal_exposure():
    rng = np.random.default_rng(0)
    rate = np.array([2.0, 11.0])
    exposure = rng.uniform(0.2, 5.0, size=20_000)
    values = rng.poisson(rate[rng.integers(2, size=20_000)] * exposure)[:, None].astype(float)
    learner = OnlineEM(Mixture(components=2, family=Poisson()))
    for start in range(0, 20_000, 100):
        learner.update(Observations(values[start : start + 100], exposure=exposure[start : start + 100]))
    np.testing.assert_allclose(np.sort(learner.snapshot.averaged.components.mean[:, 0]), rate, rtol=0.02)


@pytest.mark.parametrize(
    ("family", "values", "wrong"),
    [
        (Poisson(), [0.0, 3.0, np.nan, -1.0, 0.5, np.inf], [False, False, False, True, True, True]),
        (Geometric(), [0.0, 3.0, np.nan, -1.0, 0.5, np.inf], [False, False, False, True, True, True]),
        (Bernoulli(), [0.0, 1.0, np.nan, 2.0, 0.5, -np.inf], [False, False, False, True, True, True]),
        (Exponential(), [0.0, 3.5, np.nan, -1e-9, 1e300, np.inf], [False, False, False, True, False, True]),
    ],
)
def test_what_no_component_can_have_given_rise_to_is_wrong(family, values, wrong):
    assert family.wrong(np.array([values]))[0].tolist() == wrong


@each_family
def test_a_component_whose_rows_are_all_zero_stays_above_zero_and_finite(family):
    theta = parameters(family)
    rows = Observations(np.zeros((50, 3)))
    model = Mixture(components=2, family=family)
    share = np.ones((2, 50))
    found = family.maximize(family.expect(theta, rows, share), theta)
    np.testing.assert_array_equal(found.mean, np.full((2, 3), FLOOR * 0.5))
    assert family.at_floor(found).all()
    assert not family.at_floor(theta).any()
    assert np.isfinite(family.log_density(found, Observations(np.ones((1, 3))))).all()
    assert model.free_parameters(3) == 7


@each_family
def test_a_prior_pulls_towards_the_means_of_the_warm_up(family):
    theta = parameters(family)
    statistics = family.moments(theta, np.zeros(2), Span(0.0)) + family.prior(theta, 5.0)
    np.testing.assert_allclose(family.maximize(statistics, theta).mean, np.full((2, 3), 0.5))


@each_family
def test_parameters_that_cannot_be_are_refused(family):
    theta = parameters(family)
    good = {"mean": theta.mean, "centre": theta.centre}
    assert np.array_equal(family.assemble(good).mean, theta.mean)
    for wrong in (
        {"mean": theta.mean[0]},
        {"centre": theta.centre[:2]},
        {"mean": -theta.mean},
        {"centre": 0 * theta.centre},
    ):
        with pytest.raises(SnapshotError, match=f"parameters of the {family.type} family: found"):
            family.assemble(good | wrong)
    with pytest.raises(SnapshotError, match="wanted"):
        family.assemble({})


@each_family
def test_a_column_that_never_varies_cannot_be_started_from(family):
    learner = OnlineEM(Mixture(components=2, family=family), Constant(step_size=0.1), warmup_records=10)
    with pytest.raises(ModelError, match=r"column 1 of the features: found 1 in all 10 warm-up records"):
        learner.update(Observations(np.column_stack([np.arange(10.0) % 2, np.ones(10)])))

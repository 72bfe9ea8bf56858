"""Families against scipy and against direct minimisation, and what each does with values at the edge."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import digamma, expit, softmax

from streamem.em import (
    Bernoulli,
    CompoundDirichlet,
    Constant,
    Exponential,
    Gamma,
    Geometric,
    LogNormal,
    Mixture,
    Multinomial,
    Observations,
    OnlineEM,
    Poisson,
)
from streamem.em.families import compound_dirichlet
from streamem.em.families.compound_dirichlet import CompoundDirichletParameters
from streamem.em.families.gamma import SHAPES, GammaParameters
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.families.independent import FLOOR, IndependentParameters
from streamem.em.mixture import MixtureParameters
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


def test_gamma_densities_moments_and_draws_agree_with_scipy():
    rng = np.random.default_rng(0)
    shape, rate = np.array([[0.3, 40.0], [2.0, 5.0]]), np.array([[0.5, 100.0], [3.0, 0.1]])
    theta, family = GammaParameters(shape, rate, np.ones(2), np.zeros(2)), Gamma()
    values = family.sample(theta, np.zeros(200_000, int), rng)
    found = family.log_density(theta, Observations(values[:500]))
    for k in range(2):
        expected = stats.gamma(shape[k], scale=1.0 / rate[k]).logpdf(values[:500]).sum(axis=1)
        np.testing.assert_allclose(found[k], expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(values.mean(axis=0), family.mean(theta)[0], rtol=0.03)
    np.testing.assert_allclose(values.std(axis=0), family.spread(theta)[0], rtol=0.03)
    density = family.log_density(theta, Observations(values))
    ratio = density[0] - density[1]
    divergence = family.relative_entropy(theta, theta)
    assert divergence[0, 1] == pytest.approx(ratio.mean(), abs=5.0 * ratio.std() / 447.0)
    np.testing.assert_allclose(np.diagonal(divergence), 0.0, atol=1e-11)


def test_a_gamma_shape_is_that_of_scipys_maximum_likelihood_and_stops_at_its_range():
    values = np.random.default_rng(0).gamma(3.0, 2.0, size=(400, 1))
    family = Gamma()
    theta = family.broad(Observations(values), 1)
    shape, _, scale = stats.gamma.fit(values, floc=0.0)
    assert theta.shape[0, 0] == pytest.approx(shape, rel=1e-6)
    assert theta.rate[0, 0] == pytest.approx(1.0 / scale, rel=1e-6)
    alike = Observations(np.full((50, 1), 7.0))
    found = family.maximize(family.expect(theta, alike, np.ones((1, 50))), theta)
    assert found.shape[0, 0] == SHAPES[1]
    assert family.at_floor(found).tolist() == [True]
    assert family.mean(found)[0, 0] == pytest.approx(7.0)


def test_log_normal_densities_and_moments_agree_with_scipy():
    rng = np.random.default_rng(0)
    theta = GaussianParameters(np.array([[0.3, -1.0]]), np.array([[0.25, 0.04]]), np.ones(2))
    family = LogNormal(covariance="diagonal")
    values = family.sample(theta, np.zeros(200_000, int), rng)
    peers = [stats.lognorm(0.5, scale=np.exp(0.3)), stats.lognorm(0.2, scale=np.exp(-1.0))]
    expected = sum(peer.logpdf(values[:500, d]) for d, peer in enumerate(peers))
    np.testing.assert_allclose(family.log_density(theta, Observations(values[:500]))[0], expected, rtol=1e-11)
    np.testing.assert_allclose(family.mean(theta)[0], [peer.mean() for peer in peers])
    np.testing.assert_allclose(family.spread(theta)[0], [peer.std() for peer in peers])
    np.testing.assert_allclose(values.mean(axis=0), family.mean(theta)[0], rtol=0.01)


def test_multinomial_probabilities_agree_with_scipy():
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(4), size=2)
    theta, family = IndependentParameters(share, np.full(4, 0.25)), Multinomial()
    trials = rng.integers(0, 60, size=200)
    values = rng.multinomial(trials, [0.1, 0.2, 0.3, 0.4]).astype(float)
    found = family.log_density(theta, Observations(values))
    for k in range(2):
        np.testing.assert_allclose(found[k], stats.multinomial.logpmf(values, trials, share[k]), rtol=1e-10, atol=1e-10)
    assert family.span(Observations(values)).exposure == trials.mean()
    drawn = family.sample(theta, np.ones(50_000, int), rng, exposure=12.0)
    assert (drawn.sum(axis=1) == 12.0).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 12.0 * share[1], rtol=0.02)
    starved = family.maximize(family.moments(theta, np.array([0.0, 3.0]), Span(3.0)), theta)
    np.testing.assert_allclose(starved.mean, share, rtol=1e-12)
    assert (family.wrong(np.array([[1.0, np.nan, -1.0, 0.5]])) == [[False, True, True, True]]).all()


def test_compound_dirichlet_probabilities_agree_with_scipy():
    rng = np.random.default_rng(0)
    alpha = np.array([[0.2, 3.0, 1.0, 0.5], [30.0, 4.0, 9.0, 200.0]])
    theta, family = CompoundDirichletParameters(alpha, np.full(4, 0.25)), CompoundDirichlet()
    trials = rng.integers(0, 60, size=200)
    values = rng.multinomial(trials, [0.1, 0.2, 0.3, 0.4]).astype(float)
    found = family.log_density(theta, Observations(values))
    for k in range(2):
        expected = stats.dirichlet_multinomial(alpha[k], trials).logpmf(values.astype(int))
        np.testing.assert_allclose(found[k], expected, rtol=1e-10, atol=1e-10)
    drawn = family.sample(theta, np.ones(50_000, int), rng, exposure=12.0)
    assert (drawn.sum(axis=1) == 12.0).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 12.0 * family.mean(theta)[1], rtol=0.02)
    dirichlet = stats.dirichlet(alpha[1])
    np.testing.assert_allclose(family.spread(theta)[1], np.sqrt(dirichlet.var()))


@pytest.mark.parametrize("total", [10.0, 1e4, 1e7])
def test_newton_comes_to_rest_whatever_the_sum_of_the_pseudo_counts(total):
    alpha = total * np.random.default_rng(1).dirichlet(np.ones(9), size=2)
    found = compound_dirichlet.fitted(compound_dirichlet.mean_logarithm(alpha), 0.8 * alpha)
    # the sum is told by differences of logarithms: at 1e7 rounding leaves about eight of its digits
    np.testing.assert_allclose(found, alpha, rtol=1e-13 * max(100.0, 10.0 * total))


def test_a_compound_dirichlet_is_learned_online():
    rng = np.random.default_rng(0)
    alpha = np.array([0.5, 2.0, 1.0, 4.0])
    values = rng.multinomial(40, rng.dirichlet(alpha, size=20_000)).astype(float)
    learner = OnlineEM(Mixture(components=1, family=CompoundDirichlet()))
    for start in range(0, len(values), 100):
        learner.update(Observations(values[start : start + 100]))
    np.testing.assert_allclose(learner.snapshot.averaged.components.alpha[0], alpha, rtol=0.05)


def positive(numbers):
    return np.exp(numbers).reshape(2, -1)


BUILDERS = {
    Poisson(): (2, lambda x: IndependentParameters(positive(x), np.ones(1))),
    Exponential(): (2, lambda x: IndependentParameters(positive(x), np.ones(1))),
    Geometric(): (2, lambda x: IndependentParameters(positive(x), np.ones(1))),
    Bernoulli(): (4, lambda x: IndependentParameters(expit(x).reshape(2, 2), np.full(2, 0.5))),
    Gamma(): (4, lambda x: GammaParameters(positive(x[:2]), positive(x[2:]), np.ones(1), np.zeros(1))),
    LogNormal(covariance="diagonal"): (
        4,
        lambda x: GaussianParameters(x[:2].reshape(2, 1), positive(x[2:]), np.full(1, 1e-3)),
    ),
    Multinomial(): (6, lambda x: IndependentParameters(softmax(x.reshape(2, 3), axis=1), np.full(3, 1.0 / 3.0))),
    CompoundDirichlet(): (6, lambda x: CompoundDirichletParameters(positive(x), np.full(3, 1.0 / 3.0))),
}


@pytest.mark.parametrize("family", BUILDERS, ids=lambda family: family.type)
def test_the_update_is_where_direct_minimisation_ends(family):
    """The minimum of U(Θ'|batch) + D_RE(Θ, Θ')/η, by a quasi-Newton method that knows nothing of EM."""
    rng = np.random.default_rng(7)
    size, build = BUILDERS[family]
    model, eta = Mixture(components=2, family=family), 0.4

    def parameters(x):
        return MixtureParameters(softmax(np.append(0.0, x[0])), build(x[1:]))

    old = parameters(0.5 * rng.normal(size=1 + size))
    rows, _ = model.sample(parameters(0.5 * rng.normal(size=1 + size)), 40, rng, 9.0 if size == 6 else 1.0)
    rows = Observations(rows.values)
    expectation = model.expect(old, rows)

    def emission(new):
        """Return the expected log density of a row with all that is hidden in it, given its component."""
        if not isinstance(family, CompoundDirichlet):
            return family.log_density(new.components, rows)
        given = rows.values + old.components.alpha[:, None]
        log_share = digamma(given) - digamma(given.sum(axis=2, keepdims=True))
        return [stats.dirichlet.logpdf([0.2, 0.3, 0.5], alpha) + (log - np.log([0.2, 0.3, 0.5])) @ (alpha - 1.0)
                for alpha, log in zip(new.components.alpha, log_share, strict=True)]  # fmt: skip

    def objective(new):
        joint = np.log(new.weights)[:, None] + emission(new)
        bound = -(expectation.posterior.probabilities * joint.T).sum(axis=1).mean()
        return bound + model.relative_entropy(old, new, model.span(rows)) / eta

    gamma = eta / (1.0 + eta)
    ours = model.maximize(model.moments(old, model.span(rows)).blend(expectation.statistics, gamma), old)
    found = minimize(lambda x: objective(parameters(x)), np.zeros(1 + size), method="BFGS", options={"gtol": 1e-9})
    theirs = parameters(found.x)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-6)
    for name in ("mean", "covariance", "shape", "rate", "alpha"):
        if hasattr(ours.components, name):
            np.testing.assert_allclose(
                getattr(ours.components, name), getattr(theirs.components, name), rtol=2e-5, atol=1e-6
            )
    assert objective(ours) == pytest.approx(found.fun, abs=1e-10)

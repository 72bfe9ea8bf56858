"""Families side by side against each of them alone, scipy and direct minimisation."""

from dataclasses import fields

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import softmax

from streamem.em import (
    Bernoulli,
    CompoundDirichlet,
    Constant,
    Exponential,
    Gaussian,
    Mixture,
    Multinomial,
    Observations,
    OnlineEM,
    Poisson,
)
from streamem.em.families import Categorical, Part, Product
from streamem.em.families.categorical import CategoricalParameters
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.families.independent import IndependentParameters
from streamem.em.families.product import ProductParameters
from streamem.em.mixture import MixtureParameters
from streamem.em.observations import Span
from streamem.errors import ConfigError, ModelError, SnapshotError

COLOURS = Categorical(categories=("red", "green", "blue"))
MIXED = Product(parts=(Part(Gaussian(), columns=2), Part(Poisson()), Part(COLOURS)))


def built(seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, 2, 2)) + 2.0 * np.eye(2)
    return ProductParameters(
        (
            GaussianParameters(rng.normal(size=(2, 2)), root @ root.transpose(0, 2, 1), np.ones(2)),
            IndependentParameters(rng.uniform(1.0, 9.0, size=(2, 1)), np.full(1, 4.0)),
            CategoricalParameters(rng.dirichlet(np.ones(3), size=(2, 1)), np.full((1, 3), 1.0 / 3.0)),
        )
    )


def drawn(count, seed=1, missing=0.0):
    rng = np.random.default_rng(seed)
    values = MIXED.sample(built(), rng.integers(0, 2, size=count), rng)
    return np.where(rng.random(values.shape) < missing, np.nan, values)


def test_one_gaussian_part_is_that_gaussian_bit_for_bit():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 3)) + 4.0 * rng.integers(0, 2, size=(600, 1))
    values = np.where(rng.random(values.shape) < 0.1, np.nan, values)
    families = Gaussian(), Product(parts=(Part(Gaussian(), columns=3),))
    alone, product = (
        OnlineEM(Mixture(components=2, family=family, prior_records=3.0), warmup_records=200, seed=1)
        for family in families
    )
    for start in range(0, 600, 100):
        rows = Observations(values[start : start + 100])
        for one, other in zip(alone.update(rows), product.update(rows), strict=True):
            np.testing.assert_array_equal(one.log_likelihood, other.log_likelihood)
            np.testing.assert_array_equal(one.probabilities, other.probabilities)
    for name in ("parameters", "averaged"):
        one, other = getattr(alone.snapshot, name), getattr(product.snapshot, name)
        np.testing.assert_array_equal(one.weights, other.weights)
        for field in fields(one.components):
            np.testing.assert_array_equal(
                getattr(one.components, field.name), getattr(other.components.parts[0], field.name)
            )


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_product_factorises(missing):
    theta, rows = built(), Observations(drawn(200, missing=missing))
    values, share = rows.values, np.random.default_rng(2).dirichlet(np.ones(2), size=200).T.copy()
    alone = [Observations(np.ascontiguousarray(part)) for part in np.split(values, [2, 3], axis=1)]
    each = list(zip(MIXED.parts, theta.parts, alone, strict=True))
    expected = sum(part.family.log_density(mine, part_rows) for part, mine, part_rows in each)
    np.testing.assert_allclose(MIXED.log_density(theta, rows), expected, rtol=1e-14)
    statistics = MIXED.expect(theta, rows, share)
    found = MIXED.maximize(statistics, theta)
    for (part, mine, part_rows), new in zip(each, found.parts, strict=True):
        lonely = part.family.maximize(part.family.expect(mine, part_rows, share), mine)
        for field in fields(lonely):
            np.testing.assert_array_equal(getattr(new, field.name), getattr(lonely, field.name))
    np.testing.assert_allclose(statistics.weight, share.sum(axis=1), rtol=1e-14)
    other = built(seed=5)
    pairs = zip(MIXED.parts, theta.parts, other.parts, strict=True)
    expected = sum(part.family.relative_entropy(mine, theirs) for part, mine, theirs in pairs)
    np.testing.assert_allclose(MIXED.relative_entropy(theta, other), expected, rtol=1e-14)


def test_densities_are_the_products_of_scipys():
    theta, values = built(), drawn(100)
    normal, poisson, categorical = theta.parts
    found = MIXED.log_density(theta, Observations(values))
    for k in range(2):
        expected = stats.multivariate_normal(normal.mean[k], normal.covariance[k]).logpdf(values[:, :2])
        expected += stats.poisson(poisson.mean[k, 0]).logpmf(values[:, 2])
        expected += np.log(categorical.probability[k, 0])[values[:, 3].astype(int)]
        np.testing.assert_allclose(found[k], expected, rtol=1e-11)


def test_a_missing_value_is_marginalised_by_its_part():
    theta, values = built(), drawn(20)
    hidden = values.copy()
    hidden[:, 3] = np.nan
    density = 0.0
    for category in range(3):
        values[:, 3] = category
        density = density + np.exp(MIXED.log_density(theta, Observations(values)))
    np.testing.assert_allclose(MIXED.log_density(theta, Observations(hidden)), np.log(density), rtol=1e-12)


def test_draws_have_the_means_of_the_parts_and_the_relative_entropy_is_the_mean_log_ratio():
    theta = built()
    values = MIXED.sample(theta, np.zeros(100_000, int), np.random.default_rng(0))
    density = MIXED.log_density(theta, Observations(values))
    ratio = density[0] - density[1]
    error = 5.0 / np.sqrt(100_000)
    divergence = MIXED.relative_entropy(theta, theta)
    assert divergence[0, 1] == pytest.approx(ratio.mean(), abs=error * ratio.std())
    spread = MIXED.spread(theta)[0, :3]
    np.testing.assert_allclose(values[:, :3].mean(axis=0), MIXED.mean(theta)[0, :3], atol=error * spread.max())
    np.testing.assert_allclose(values[:, :3].std(axis=0), spread, rtol=0.02)
    assert MIXED.mean(theta)[0, 3] == np.bincount(values[:, 3].astype(int)).argmax()
    assert MIXED.mean(theta).shape == MIXED.spread(theta).shape == (2, 4)


def test_the_update_is_where_direct_minimisation_ends():
    """The minimum of U(Θ'|batch) + D_RE(Θ, Θ')/η, by a quasi-Newton method that knows nothing of EM."""
    rng = np.random.default_rng(7)
    family = Product(parts=(Part(Gaussian(covariance="diagonal")), Part(Poisson()), Part(COLOURS)))
    model, eta = Mixture(components=2, family=family), 0.4

    def parameters(x):
        normal = GaussianParameters(x[1:3].reshape(2, 1), np.exp(x[3:5]).reshape(2, 1), np.full(1, 1e-3))
        poisson = IndependentParameters(np.exp(x[5:7]).reshape(2, 1), np.ones(1))
        share = softmax(x[7:].reshape(2, 1, 3), axis=2)
        categorical = CategoricalParameters(share, np.full((1, 3), 1.0 / 3.0))
        return MixtureParameters(softmax(np.append(0.0, x[0])), ProductParameters((normal, poisson, categorical)))

    old = parameters(0.5 * rng.normal(size=13))
    rows, _ = model.sample(parameters(0.5 * rng.normal(size=13)), 40, rng)
    rows = Observations(rows.values, exposure=rng.uniform(0.5, 3.0, size=40))
    expectation = model.expect(old, rows)

    def objective(new):
        joint = np.log(new.weights)[:, None] + family.log_density(new.components, rows)
        bound = -(expectation.posterior.probabilities * joint.T).sum(axis=1).mean()
        return bound + model.relative_entropy(old, new, model.span(rows)) / eta

    gamma = eta / (1.0 + eta)
    ours = model.maximize(model.moments(old, model.span(rows)).blend(expectation.statistics, gamma), old)
    found = minimize(lambda x: objective(parameters(x)), np.zeros(13), method="BFGS", options={"gtol": 1e-9})
    theirs = parameters(found.x)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-6)
    for one, other in zip(ours.components.parts, theirs.components.parts, strict=True):
        for field in fields(one):
            np.testing.assert_allclose(
                getattr(one, field.name), getattr(other, field.name), rtol=2e-5, atol=1e-6, err_msg=field.name
            )
    assert objective(ours) == pytest.approx(found.fun, abs=1e-10)


def test_the_exposure_goes_to_the_parts_that_have_one():
    theta = ProductParameters((IndependentParameters(np.array([[0.3]]), np.array([0.5])), built().parts[1].take([0])))
    family = Product(parts=(Part(Bernoulli()), Part(Poisson())))
    assert family.exposed
    assert not Product(parts=(Part(Bernoulli()), Part(Exponential()))).exposed
    rows = Observations(np.array([[1.0, 4.0], [0.0, 9.0]]), exposure=np.array([0.5, 4.0]))
    rate = theta.parts[1].mean[0, 0]
    expected = np.log([0.3, 0.7]) + stats.poisson(rate * rows.exposure).logpmf([4, 9])
    np.testing.assert_allclose(family.log_density(theta, rows)[0], expected, rtol=1e-12)
    assert family.span(rows) == Span(2.0, 2.25)
    moments = family.moments(theta, np.array([2.0]), family.span(rows))
    np.testing.assert_allclose(moments.parts[0].total, [[0.6]])
    np.testing.assert_allclose(moments.parts[1].total, [[4.5 * rate]])
    drawn = family.sample(theta, np.zeros(50_000, int), np.random.default_rng(0), exposure=6.0)
    np.testing.assert_allclose(drawn.mean(axis=0), [0.3, 6.0 * rate], rtol=0.02)
    apart = family.relative_entropy(theta, theta.take([0]), 6.0)
    np.testing.assert_allclose(apart, 0.0, atol=1e-12)


def test_a_multinomial_part_has_the_sum_of_its_counts_for_an_exposure():
    family = Product(parts=(Part(Gaussian()), Part(Multinomial(), columns=3)))
    rows = Observations(np.array([[0.3, 1.0, 2.0, 0.0], [0.9, 4.0, 0.0, 5.0], [0.1, 1.0, 1.0, 1.0]]))
    assert not family.exposed
    assert family.span(rows) == Span(3.0, 5.0)
    theta = family.broad(rows, 2)
    assert family.sample(theta, np.zeros(4, int), np.random.default_rng(0), 5.0)[:, 1:].sum(axis=1).tolist() == [5] * 4
    model = Mixture(components=2, family=family)
    whole = MixtureParameters(np.array([0.4, 0.6]), theta)
    again = model.maximize(model.moments(whole, model.span(rows)), whole)
    np.testing.assert_allclose(again.components.parts[1].mean, theta.parts[1].mean, rtol=1e-12)


def test_records_of_mixed_kinds_are_learned_online():
    rng = np.random.default_rng(0)
    component = (rng.random(20_000) < 0.3).astype(int)
    values = MIXED.sample(built(), component, rng)
    learner = OnlineEM(Mixture(components=2, family=MIXED), certified=True)
    for start in range(0, 20_000, 100):
        learner.update(Observations(values[start : start + 100]))
    found = learner.snapshot.averaged
    assert learner.snapshot.certificate.violations == 0
    assert learner.snapshot.certificate.updates > 100
    np.testing.assert_allclose(found.weights, [0.7, 0.3], atol=0.03)
    np.testing.assert_allclose(found.components.parts[1].mean, built().parts[1].mean, rtol=0.05)
    np.testing.assert_allclose(found.components.parts[2].probability, built().parts[2].probability, atol=0.03)


def test_values_are_judged_by_their_part_and_all_kinds_are_told():
    wrong = MIXED.wrong(np.array([[-1.0, np.inf, 3.0, 2.0], [0.5, np.nan, 0.5, 3.0]]))
    assert wrong.tolist() == [[False, True, False, False], [False, False, True, True]]
    assert MIXED.support == (
        "for the first 2 features a finite number or a missing value, for the next feature a whole number of at least "
        "0 or a missing value, for the next feature one of red, green, blue, or its number from 0 to 2, "
        "or a missing value"
    )


def test_an_error_names_the_column_by_its_place_in_the_whole_row():
    family = Product(parts=(Part(Gaussian(), columns=2), Part(Categorical())))
    rows = np.column_stack([np.arange(30.0), np.arange(30.0) ** 2, np.arange(30.0) % 3])
    with pytest.raises(ModelError, match=r"^column 2 of the features: found 1 in all 30 warm-up records"):
        family.broad(Observations(np.column_stack([rows[:, :2], np.ones(30)])), 2)
    with pytest.raises(ModelError, match=r"^column 1 of the features: found 7 in all 30 warm-up records"):
        family.broad(Observations(np.column_stack([rows[:, 0], np.full(30, 7.0), rows[:, 2]])), 2)
    learner = OnlineEM(Mixture(components=2, family=family), Constant(step_size=0.1), warmup_records=30)
    learner.update(Observations(rows))
    with pytest.raises(ModelError, match=r"^column 2 of the features: found the unknown category 5"):
        learner.update(Observations(np.array([[1.0, 1.0, 5.0]])))


def test_as_many_columns_as_the_parts_take_are_wanted():
    message = r"product: found 3 columns; wanted 4: 2 gaussian, 1 poisson, 1 categorical. To do: name as many features"
    with pytest.raises(ConfigError, match=message):
        MIXED.wrong(np.zeros((5, 3)))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "product: parts: found none; wanted at least one part"),
        ((Part(Gaussian()), Part(MIXED, columns=4)), "product: part 1: found a product; wanted any other family"),
        (
            (Part(Poisson()), Part(Multinomial(), columns=3)),
            "product: parts: found poisson and multinomial; wanted one multinomial, and then nothing with an exposure",
        ),
        ((Part(Multinomial(), columns=3), Part(Multinomial(), columns=2)), "found multinomial and multinomial"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, message):
    with pytest.raises(ConfigError, match=message):
        Product(parts=parts)


def test_two_compound_dirichlets_and_a_poisson_go_together():
    parts = (Part(CompoundDirichlet(), columns=3), Part(CompoundDirichlet(), columns=2), Part(Poisson()))
    assert Product(parts=parts).free_parameters(2, 6) == 12


def test_a_floor_under_any_part_is_told():
    theta = built()
    assert not MIXED.at_floor(theta).any()
    lacking = CategoricalParameters(theta.parts[2].probability.copy(), theta.parts[2].centre)
    lacking.probability[1, 0] = [1.0, 1e-10, 1e-10]
    assert MIXED.at_floor(ProductParameters((*theta.parts[:2], lacking))).tolist() == [False, True]


def arrays(theta):
    parts = enumerate(theta.parts)
    return {"parts": {str(n): {one.name: getattr(part, one.name) for one in fields(part)} for n, part in parts}}


def test_parameters_come_back_from_nested_arrays():
    theta = built()
    again = MIXED.assemble(arrays(theta))
    assert (again.components, again.columns) == (2, 4)
    for one, other in zip(theta.parts, again.parts, strict=True):
        for field in fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_parameters_of_other_parts_are_refused():
    good = arrays(built())["parts"]
    for wrong in ({}, {"parts": np.ones(3)}, {"parts": {"0": good["0"]}}, {"parts": good | {"3": good["2"]}}):
        with pytest.raises(
            SnapshotError, match=r"parameters of the product family: found .*parts.*; wanted parts 0, 1"
        ):
            MIXED.assemble(wrong)
    with pytest.raises(SnapshotError, match="parameters of the gaussian family"):
        MIXED.assemble({"parts": good | {"0": np.ones(3)}})
    more = arrays(built().take([0, 1, 1]))["parts"]
    wide = {name: np.hstack([array, array]) for name, array in good["1"].items()}
    for wrong in (good | {"1": more["1"]}, good | {"1": wide}):
        with pytest.raises(SnapshotError, match="parameters of the product family: found components and columns"):
            MIXED.assemble({"parts": wrong})

"""Categories against scipy, enumeration and direct minimisation, and what becomes of values that are none."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import softmax

from streamem.em import Constant, Mixture, Observations, OnlineEM
from streamem.em.families import Categorical
from streamem.em.families.categorical import FLOOR, CategoricalParameters, above_floor, learned
from streamem.em.mixture import MixtureParameters
from streamem.em.observations import Span
from streamem.errors import ConfigError, ModelError, SnapshotError

NAMES = ("free", "dense", "jam")
FAMILY = Categorical(categories=NAMES)


def parameters(components=2, columns=2, count=3, seed=0):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(count, 2.0), size=(components, columns))
    return CategoricalParameters(share, np.full((columns, count), 1.0 / count))


def test_densities_draws_and_relative_entropies_agree_with_scipy():
    theta, rng = parameters(), np.random.default_rng(1)
    values = FAMILY.sample(theta, np.zeros(100_000, int), rng)
    assert not FAMILY.wrong(values).any()
    found = FAMILY.log_density(theta, Observations(values[:200]))
    for k in range(2):
        each = [stats.rv_discrete(values=(range(3), theta.probability[k, d])) for d in range(2)]
        expected = sum(one.logpmf(values[:200, d]) for d, one in enumerate(each))
        np.testing.assert_allclose(found[k], expected, rtol=1e-12)
    counts = np.stack([np.bincount(column.astype(int), minlength=3) for column in values.T])
    # five standard errors of 100,000 draws
    np.testing.assert_allclose(counts / 100_000, theta.probability[0], atol=5.0 * 0.5 / np.sqrt(100_000))
    other = parameters(seed=1)
    expected = [
        [sum(stats.entropy(theta.probability[k, d], other.probability[m, d]) for d in range(2)) for m in range(2)]
        for k in range(2)
    ]
    np.testing.assert_allclose(FAMILY.relative_entropy(theta, other), expected, rtol=1e-12)


def test_each_component_is_drawn_from_by_its_own_probabilities():
    theta = parameters(components=3, columns=2, count=4)
    component = np.repeat(np.arange(3), 50_000)
    values = FAMILY.sample(theta, component, np.random.default_rng(0))
    for k, d in itertools.product(range(3), range(2)):
        counts = np.bincount(values[component == k, d].astype(int), minlength=4)
        np.testing.assert_allclose(counts / 50_000, theta.probability[k, d], atol=5.0 * 0.5 / np.sqrt(50_000))


def test_a_missing_value_is_the_sum_over_all_categories():
    theta = parameters(columns=3)
    rows = np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, 0.0], [np.nan, np.nan, np.nan]])
    found = FAMILY.log_density(theta, Observations(rows))
    for row, log in zip(rows, found.T, strict=True):
        choices = [range(3) if np.isnan(value) else [value] for value in row]
        whole = np.array(list(itertools.product(*choices)), float)
        expected = np.exp(FAMILY.log_density(theta, Observations(whole))).sum(axis=1)
        np.testing.assert_allclose(np.exp(log), expected, rtol=1e-12)


def test_a_missing_value_counts_as_its_components_probabilities():
    theta, rng = parameters(), np.random.default_rng(3)
    values = np.where(rng.random((50, 2)) < 0.3, np.nan, rng.integers(0, 3, size=(50, 2)))
    share = rng.dirichlet(np.ones(2), size=50).T
    found = FAMILY.expect(theta, Observations(values), share)
    expected = np.zeros((2, 2, 3))
    for n, k, d in itertools.product(range(50), range(2), range(2)):
        value = values[n, d]
        expected[k, d] += share[k, n] * (theta.probability[k, d] if np.isnan(value) else np.eye(3)[int(value)])
    np.testing.assert_allclose(found.total, expected, rtol=1e-12)
    np.testing.assert_allclose(found.weight, share.sum(axis=1))


@pytest.mark.parametrize("missing", [False, True])
def test_the_update_is_where_direct_minimisation_ends(missing):
    """The minimum of U(Θ'|batch) + D_RE(Θ, Θ')/η, by a quasi-Newton method that knows nothing of EM."""
    rng = np.random.default_rng(7)
    model, eta = Mixture(components=2, family=FAMILY), 0.4

    def built(x):
        share = softmax(x[1:].reshape(2, 2, 3), axis=2)
        return MixtureParameters(softmax(np.append(0.0, x[0])), CategoricalParameters(share, np.full((2, 3), 1 / 3)))

    old = built(0.5 * rng.normal(size=13))
    rows, _ = model.sample(built(0.5 * rng.normal(size=13)), 40, rng)
    values = np.where(rng.random((40, 2)) < 0.3, np.nan, rows.values) if missing else rows.values
    rows = Observations(values)
    expectation = model.expect(old, rows)

    def emission(new):
        """Return the expected log probability of a row with all that is hidden in it, given its component."""
        out = np.zeros((2, 40))
        for k, n, d in itertools.product(range(2), range(40), range(2)):
            log = np.log(new.components.probability[k, d])
            hidden = np.isnan(values[n, d])
            out[k, n] += old.components.probability[k, d] @ log if hidden else log[int(values[n, d])]
        return out

    def objective(new):
        joint = np.log(new.weights)[:, None] + emission(new)
        bound = -(expectation.posterior.probabilities * joint.T).sum(axis=1).mean()
        return bound + model.relative_entropy(old, new, model.span(rows)) / eta

    gamma = eta / (1.0 + eta)
    ours = model.maximize(model.moments(old, model.span(rows)).blend(expectation.statistics, gamma), old)
    found = minimize(lambda x: objective(built(x)), np.zeros(13), method="BFGS", options={"gtol": 1e-8})
    theirs = built(found.x)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-6)
    np.testing.assert_allclose(ours.components.probability, theirs.components.probability, atol=1e-6)
    assert objective(ours) == pytest.approx(found.fun, abs=1e-10)


def test_regimes_are_learned():
    rng = np.random.default_rng(0)
    truth = np.array([[[0.8, 0.15, 0.05], [0.9, 0.05, 0.05]], [[0.1, 0.2, 0.7], [0.05, 0.25, 0.7]]])
    theta = CategoricalParameters(np.concatenate([truth, truth], axis=1), np.full((4, 3), 1.0 / 3.0))
    values = FAMILY.sample(theta, (rng.random(20_000) < 0.4).astype(int), rng)
    learner = OnlineEM(Mixture(components=2, family=FAMILY))
    for start in range(0, 20_000, 100):
        learner.update(Observations(values[start : start + 100]))
    snapshot = learner.snapshot.averaged
    np.testing.assert_allclose(snapshot.weights, [0.6, 0.4], atol=0.02)
    np.testing.assert_allclose(snapshot.components.probability, theta.probability, atol=0.03)
    np.testing.assert_array_equal(FAMILY.mean(snapshot.components)[:, 0], [0.0, 2.0])


def test_mean_is_the_likeliest_category_and_spread_the_chance_of_another():
    theta = CategoricalParameters(np.array([[[0.2, 0.7, 0.1]], [[0.5, 0.2, 0.3]]]), np.full((1, 3), 1 / 3))
    assert FAMILY.mean(theta).tolist() == [[1.0], [0.0]]
    np.testing.assert_allclose(FAMILY.spread(theta), [[0.3], [0.5]])


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        (Categorical(), [False, False, False, False, True, True, True]),
        (FAMILY, [False, False, False, True, True, True, True]),
        (Categorical(categories=NAMES, other=True), [False, False, False, False, True, True, True]),
    ],
)
def test_what_is_no_number_of_a_category_is_wrong(family, wrong):
    assert family.wrong(np.array([[0.0, 2.0, np.nan, 3.0, -1.0, 0.5, np.inf]]))[0].tolist() == wrong


def test_a_category_that_the_warm_up_did_not_have_is_unknown():
    learner = OnlineEM(Mixture(components=2, family=Categorical()), warmup_records=30)
    learner.update(Observations(np.column_stack([np.arange(30.0) % 2, np.arange(30.0) % 3])))
    before = learner.snapshot
    with pytest.raises(
        ModelError,
        match=r"column 1 of the features: found the unknown category 3; wanted a category from 0 to 2. To do: set "
        r"other: true, or name all categories, or raise warmup_records",
    ):
        learner.update(Observations(np.array([[0.0, 1.0], [1.0, 3.0]])))
    assert learner.snapshot is before
    with pytest.raises(ModelError, match=r"column 0 of the features: found the unknown category -1"):
        learner.update(Observations(np.array([[-1.0, 1.0]]), checked=True))


def test_the_slot_for_others_takes_whatever_is_unknown():
    family = Categorical(other=True)
    rows = Observations(np.column_stack([np.arange(30.0) % 2, np.arange(30.0) % 3]))
    theta = family.broad(rows, 2)
    assert theta.categories == 4
    np.testing.assert_allclose(theta.probability[0, 0], [0.5, 0.5, FLOOR / 4, FLOOR / 4], rtol=1e-8)
    found = family.log_density(theta, Observations(np.array([[3.0, 0.0], [70.0, 0.0]])))
    assert np.isfinite(found).all()
    assert found[0, 0] == found[0, 1]
    learner = OnlineEM(Mixture(components=1, family=family), Constant(step_size=0.5), warmup_records=30)
    learner.update(rows)
    learner.update(Observations(np.array([[9.0, 0.0], [1.0, 0.0]])))
    # half of the rows of a batch that has half the weight
    assert learner.snapshot.parameters.components.probability[0, 0, 3] == pytest.approx(0.25)


def test_without_names_the_categories_are_counted_and_an_identifier_is_refused():
    rows = np.array([[0.0, 5.0], [1.0, 2.0], [2.0, np.nan]])
    assert Categorical().broad(Observations(rows), 1).categories == 6
    assert FAMILY.broad(Observations(np.array([[0.0], [1.0]])), 1).categories == 3
    with pytest.raises(ModelError, match=r"column 1 of the features: found category 10000; wanted categories numbered"):
        Categorical().broad(Observations(np.array([[0.0, 10_000.0], [1.0, 7.0]])), 1)


@pytest.mark.parametrize(
    ("column", "message"),
    [([1.0, 1.0], "column 1 of the features: found 1 in all 2"), ([np.nan, np.nan], "column 1 of the features: found")],
)
def test_a_column_without_two_categories_cannot_be_started_from(column, message):
    with pytest.raises(ModelError, match=message):
        FAMILY.broad(Observations(np.column_stack([[0.0, 1.0], column])), 2)


def test_a_start_sees_a_mark_for_every_category_that_is_there():
    values = np.array([[0.0, 7.0], [2.0, np.nan], [0.0, 3.0]])
    expected = [[1, 0, 0, 1], [0, 1, np.nan, np.nan], [1, 0, 1, 0]]
    np.testing.assert_array_equal(Categorical().coordinates(values), expected)


def test_a_component_that_lacks_a_category_stays_finite_and_says_so():
    theta = parameters()
    rows = Observations(np.zeros((50, 2)))
    found = FAMILY.maximize(FAMILY.expect(theta, rows, np.ones((2, 50))), theta)
    np.testing.assert_array_equal(found.probability[:, :, 1:], FLOOR / 3)
    np.testing.assert_allclose(found.probability.sum(axis=2), 1.0, rtol=1e-15)
    assert FAMILY.at_floor(found).all()
    assert not FAMILY.at_floor(theta).any()
    assert np.isfinite(FAMILY.log_density(found, Observations(np.array([[2.0, 1.0]])))).all()
    # a category that the warm-up did not have either holds no component up
    unseen = CategoricalParameters(found.probability, found.probability[0])
    assert not FAMILY.at_floor(unseen).any()


def test_the_likeliest_probabilities_above_the_floor_are_where_no_exchange_helps():
    least = FLOOR / 4
    for share in ([0.5, 0.5, 0.0, 0.0], [1.0 - 2 * least, least, least * 0.999, least * 1.001], [0.1, 0.2, 0.3, 0.4]):
        s = np.array(share) / np.sum(share)
        p = above_floor(s)
        assert p.sum() == pytest.approx(1.0, rel=1e-15)
        assert (p >= least).all()
        # the gradient s/p is the same for all above the floor, and no larger on it
        gradient = s / p
        free = p > least
        np.testing.assert_allclose(gradient[free], gradient[free].max(), rtol=1e-12)
        assert (gradient[~free] <= gradient[free].max()).all()


def test_a_starved_component_keeps_its_probabilities_and_a_prior_pulls_to_those_of_the_warm_up():
    theta = parameters()
    starved = FAMILY.maximize(FAMILY.moments(theta, np.array([0.0, 3.0]), Span(3.0)), theta)
    np.testing.assert_allclose(starved.probability, theta.probability, rtol=1e-14)
    statistics = FAMILY.moments(theta, np.zeros(2), Span(0.0)) + FAMILY.prior(theta, 5.0)
    np.testing.assert_allclose(FAMILY.maximize(statistics, theta).probability, np.full((2, 2, 3), 1.0 / 3.0))


def test_free_parameters_are_probabilities_that_sum_to_one():
    assert FAMILY.free_parameters(3, 2) == 12
    assert Categorical(categories=NAMES, other=True).free_parameters(3, 2) == 18
    assert Categorical().free_parameters(3, 2) == Categorical(other=True).free_parameters(3, 2) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"categories": ("a", "b", "a")}, "categories: found 'a' twice; wanted each category once"),
        ({"categories": ("a",)}, "categories: found only 'a'; wanted at least two categories"),
    ],
)
def test_categories_that_tell_nothing_apart_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Categorical(**settings)


def test_one_category_and_others_are_two():
    assert Categorical(categories=("a",), other=True).free_parameters(1, 1) == 1


def test_what_a_value_must_be_names_some_categories():
    assert FAMILY.support == "one of free, dense, jam, or its number from 0 to 2, or a missing value"
    assert Categorical(categories=tuple("abcdefghij")).support.startswith("one of a, b, c, d, e, f, g, h, ..., or")
    assert Categorical().support == "a category, or its number: a whole number of at least 0, or a missing value"


def test_models_that_learned_different_categories_cannot_be_compared():
    with pytest.raises(ModelError, match="categories: found 3 and 4 of them; wanted the same categories"):
        Categorical().relative_entropy(parameters(), parameters(count=4))


def test_parameters_that_cannot_be_are_refused():
    theta = parameters()
    good = {"probability": theta.probability, "centre": theta.centre}
    assert np.array_equal(FAMILY.assemble(good).probability, theta.probability)
    assert Categorical().assemble(good).categories == 3
    for wrong in (
        {"probability": theta.probability[0]},
        {"centre": theta.centre[:1]},
        {"probability": -theta.probability},
        {"centre": 0 * theta.centre},
        {"probability": 2.0 * theta.probability},
    ):
        with pytest.raises(SnapshotError, match="parameters of the categorical family: found"):
            FAMILY.assemble(good | wrong)
    with pytest.raises(SnapshotError, match="wanted"):
        FAMILY.assemble({})
    with pytest.raises(SnapshotError, match=r"found probability \(2, 2, 3\).*wanted \(K, D, 4\)"):
        Categorical(categories=NAMES, other=True).assemble(good)


def test_names_are_learned_in_order_of_their_first_appearance():
    names = learned((), ["b", None, "a", "b"])
    assert names == ("b", "a")
    assert learned(names, ["c", "a"]) == ("b", "a", "c")
    assert Categorical(categories=names).wrong(np.array([[2.0]])).all()
    assert not Categorical(categories=names, other=True).wrong(np.array([[2.0]])).any()

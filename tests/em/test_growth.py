"""Models that take up columns: the old ones stay to the bit, the new ones start from their own data."""

from dataclasses import replace

import numpy as np
import pytest

from streamem.em import HMM, Categorical, Gaussian, Kalman, Mixture, Multinomial, Observations, OnlineEM, Part, Product
from streamem.em.growth import growable, grown
from streamem.em.snapshot import nested
from streamem.errors import ModelError
from tests.laws.cases import CASES

GROWABLE = [case for case in CASES if growable(case.model) and not case.exposed]


def start(case, rows):
    return case.model.start(rows, np.random.default_rng(0))


@pytest.mark.parametrize("case", GROWABLE, ids=lambda case: case.name)
def test_the_old_columns_stay_as_they_were_and_all_are_parameters_of_the_model(case):
    rows = case.rows(600)
    theta = start(case, rows)
    doubled = rows.with_values(np.hstack([rows.values, rows.values]))
    both = grown(case.model, theta, doubled)
    assert both.columns == 2 * case.columns
    case.model.assemble(nested(both, np.asarray))  # which refuses what are no parameters
    absent = rows.with_values(np.hstack([rows.values, np.full_like(rows.values, np.nan)]))
    found = case.model.posterior(both, absent)[0]
    before = case.model.posterior(theta, rows)[0]
    if getattr(case.model.family, "covariance", "") != "spherical":  # whose one variance is then of all columns
        np.testing.assert_allclose(found.log_likelihood, before.log_likelihood, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.probabilities, before.probabilities, atol=1e-9)


def test_some_case_can_grow():
    assert len(GROWABLE) > 10


def test_new_columns_start_where_their_own_rows_are():
    rng = np.random.default_rng(1)
    label = rng.integers(2, size=2000)
    old, new = rng.normal(8.0 * label, 1.0), rng.normal(100.0 - 5.0 * label, 0.5)
    model = Mixture(components=2)
    theta = model.start(Observations(old[:, None]), rng)
    new[:1500] = np.nan
    both = grown(model, theta, Observations(np.column_stack([old, new])))
    low, high = np.argsort(both.components.mean[:, 0])
    np.testing.assert_allclose(both.components.mean[[low, high], 1], [100.0, 95.0], atol=0.2)
    np.testing.assert_allclose(both.components.covariance[:, 1, 1], 0.25, rtol=0.4)
    assert (both.components.covariance[:, 0, 1] == 0.0).all()


def test_a_component_that_accounts_for_no_row_starts_as_all_of_them():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=300), rng.normal(50.0, 1.0, size=300)])
    model = Mixture(components=2)
    theta = model.start(Observations(rows[:, None]), rng)
    only = np.column_stack([rng.normal(size=200), rng.normal(7.0, 1.0, size=200)])
    both = grown(model, theta, Observations(only))
    np.testing.assert_allclose(both.components.mean[:, 1], 7.0, atol=0.3)
    assert (both.components.covariance[:, 1, 1] > 0.1).all()


def test_learning_goes_on_and_finds_the_correlation():
    rng = np.random.default_rng(1)
    common = rng.normal(size=6000)
    rows = np.column_stack([common + rng.normal(size=6000), common + rng.normal(size=6000)])
    model = Mixture(components=1)
    theta = grown(model, model.start(Observations(rows[:500, :1]), rng), Observations(rows[:500]))
    learner = OnlineEM(model, warmup_records=500)
    learner.update(Observations(rows[:500]))
    learner.snapshot = replace(learner.snapshot, parameters=theta, averaged=theta)
    for begin in range(500, 6000, 100):
        learner.update(Observations(rows[begin : begin + 100]))
    assert learner.snapshot.averaged.components.covariance[0, 0, 1] == pytest.approx(1.0, abs=0.15)


def test_categories_of_both_are_kept():
    rng = np.random.default_rng(1)
    family = Categorical()
    one, other = rng.integers(2, size=(400, 1)), rng.integers(5, size=(400, 1))
    model = HMM(states=2, family=family)
    theta = model.start(Observations(one), rng)
    both = grown(model, theta, Observations(np.hstack([one, other])))
    assert both.states.probability.shape == (2, 2, 5)
    np.testing.assert_allclose(both.states.probability.sum(axis=2), 1.0)
    assert (both.states.probability[:, 0, 2:] < 1e-8).all()


@pytest.mark.parametrize("model", [Kalman(), Mixture(family=Multinomial()),
                                   Mixture(family=Product(parts=(Part(Gaussian()),)))])  # fmt: skip
def test_who_cannot_grow_says_so(model):
    assert not growable(model)
    with pytest.raises(ModelError, match="a new column; wanted the same columns"):
        grown(model, None, Observations(np.ones((2, 2))))

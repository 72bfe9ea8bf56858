"""Linear dynamical systems along streams: cut anywhere, far from zero, from a start, beyond a gate, at a floor."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from streamem.em import Carry, Observations, OnlineEM
from streamem.em.combine import average
from streamem.em.lds import LDS
from streamem.em.linear import LDSParameters
from tests.em.joint import IDENTITY, carried, parameters, rows_of


@pytest.mark.parametrize("n", [1, 2, 4])
def test_any_cutting_and_interleaving_gives_the_same_posteriors(n):
    rng = np.random.default_rng(n)
    theta, model = parameters(n, 2), LDS(state_size=n)
    drawn, _ = model.sample(theta, rng, np.array([150, 90, 60]))
    drawn.values[rng.random(drawn.values.shape) < 0.1] = np.nan
    whole = model.posterior(theta, drawn)[0]
    for cuts in range(4):
        # the three sequences shuffled into one another, each in its own order
        places, original = rng.permutation(drawn.sequence), np.empty(300, np.intp)
        for number in range(3):
            original[places == number] = np.flatnonzero(drawn.sequence == number)
        mixed = drawn[original]
        bounds = np.concatenate([[0], np.sort(rng.choice(299, size=3 + 20 * cuts, replace=False)) + 1, [300]])
        carry, found = Carry(), []
        for start, stop in pairwise(bounds):
            found.append(carry.follow(model, theta, mixed[start:stop]))
        for name in ("mean", "covariance", "innovation"):
            together = np.concatenate([posterior.columns[name] for posterior in found])
            np.testing.assert_allclose(together, whole.columns[name][original], rtol=1e-12, atol=1e-12)
        likelihood = np.concatenate([posterior.log_likelihood for posterior in found])
        np.testing.assert_allclose(likelihood, whole.log_likelihood[original], rtol=1e-12, atol=1e-12)


def test_covariances_are_positive_definite_after_a_million_steps():
    theta = parameters(4, 2, radius=0.999)
    Q = 1e-10 * theta.transition_covariance
    theta = replace(theta, transition_covariance=Q, observation_covariance=np.diag([1e-6, 1e3]))
    values = np.random.default_rng(0).normal(size=(1_000_000, 2))
    values[::7, 0] = np.nan
    found = LDS(state_size=4).posterior(theta, Observations(values))[0].columns["covariance"]
    some = found[-1000:]
    np.testing.assert_array_equal(some, np.swapaxes(some, 1, 2))
    assert (np.linalg.eigvalsh(some)[:, 0] > 0.0).all()


def test_a_level_of_1e8_costs_no_digits_of_the_noise():
    A = np.eye(2)
    model = LDS(transition=IDENTITY, observation=IDENTITY, learn=("Q", "R", "m1", "V1"), sequences="complete")
    theta = replace(parameters(2, 2), transition=A, observation=A)
    drawn, _ = model.sample(theta, np.random.default_rng(0), np.full(5, 100))
    # whole numbers / 64: nothing is rounded when the level is added
    values = np.round(drawn.values * 64.0) / 64.0
    near = replace(theta, initial_mean=np.zeros(2))
    far = replace(theta, initial_mean=np.full(2, 1e8))
    found = []
    for start, level in ((near, 0.0), (far, 1e8)):
        rows = replace(drawn, values=values + level)
        blended = model.moments(start, model.span(rows)).blend(model.expect(start, rows).statistics, 0.5)
        found.append(model.maximize(blended, start))
    for name in ("transition_covariance", "observation_covariance", "initial_covariance"):
        np.testing.assert_allclose(getattr(found[1], name), getattr(found[0], name), rtol=1e-7, err_msg=name)


def test_learned_matrices_keep_the_noise_at_a_level_of_1e8():
    # one state that stays where it is: raw products would leave no digit of Q
    model = LDS(state_size=1, learn=("A", "Q", "R"), observation=((1.0,),), sequences="complete")
    theta = LDSParameters(
        np.eye(1), np.eye(1), np.array([[2.0]]), np.array([[3.0]]), np.full(1, 1e8), np.eye(1), np.ones(2)
    )
    drawn, _ = model.sample(theta, np.random.default_rng(1), np.array([4000]))
    new = model.maximize(model.expect(theta, drawn).statistics, theta)
    assert new.transition_covariance[0, 0] == pytest.approx(2.0, rel=0.15)
    assert new.observation_covariance[0, 0] == pytest.approx(3.0, rel=0.15)
    known = LDS(transition=((1.0,),), observation=((1.0,),), learn=("Q", "R"), sequences="complete")
    same = known.maximize(known.expect(theta, drawn).statistics, theta)
    # A moves by some 1e-10: what that takes from Q is the drift of the level, not its digits
    np.testing.assert_allclose(new.transition_covariance, same.transition_covariance, rtol=1e-3)


def test_statistics_about_one_model_add_to_those_about_another():
    model = LDS(state_size=2)
    one, other = parameters(2, 2, seed=1), parameters(2, 2, seed=2)
    rows = Observations(rows_of(2, 30))
    theta = parameters(2, 2, seed=3)
    found = model.expect(theta, rows).statistics
    moved = replace(found.moved(one).moved(other).moved(theta), about=theta)
    for ours, theirs in zip(moved.sums, found.sums, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    for name in ("transition", "observation", "transition_covariance", "observation_covariance"):
        new = getattr(model.maximize(found.moved(one), one), name)
        np.testing.assert_allclose(new, getattr(model.maximize(found, theta), name), rtol=1e-8, atol=1e-9)
    unlike = replace(one, transition=0.5 * one.transition)
    both = average(model, [one, unlike], [1.0, 1.0])
    assert np.abs(both.transition - one.transition).max() > 1e-3
    assert (np.linalg.eigvalsh(both.transition_covariance) > 0.0).all()


@pytest.mark.parametrize("initial", ["first", "before_first"])
@pytest.mark.parametrize("sequences", ["endless", "complete"])
def test_sampled_moments_are_unbiased(sequences, initial):
    model = LDS(state_size=2, sequences=sequences, initial=initial)
    theta = parameters(2, 2)
    rows, _ = model.sample(theta, np.random.default_rng(0), np.array([4, 7, 7]))
    take = None
    if model.carries:
        take = {
            "known": np.array([1.0, 1.0, 0.0]),
            "mean": np.ones((3, 2)),
            "covariance": np.tile(np.eye(2), (3, 1, 1)),
        }
    span = model.span(rows, take)
    exact = model.moments(theta, span)
    drawn = model.sampled(theta, span, 200_000, np.random.default_rng(1))
    # some standard errors of 200,000 draws of products of the largest of all
    tolerance = 0.02 * max(np.abs(one).max() for one in exact.sums)
    for ours, theirs in zip(drawn.sums, exact.sums, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_the_inertia_of_an_endless_segment_is_the_long_run():
    model, theta = LDS(state_size=2), parameters(2, 2)
    take = carried(np.ones(2), np.eye(2))
    moments = model.moments(theta, model.span(Observations(np.zeros((6, 2))), take))
    P = moments.S00 / 6.0
    np.testing.assert_allclose(theta.transition @ P @ theta.transition.T + theta.transition_covariance, P, rtol=1e-10)
    assert moments.begun == 0.0
    walk = replace(theta, transition=np.eye(2))
    found = model.moments(walk, model.span(Observations(np.zeros((6, 2))), take)).S00 / 6.0
    steps = np.arange(300.0).mean()
    np.testing.assert_allclose(found, np.ones((2, 2)) + np.eye(2) + steps * walk.transition_covariance, rtol=1e-10)


def test_a_row_beyond_the_gate_is_flagged_and_not_used():
    # row 10 while covariances still change, row 300 when they are not computed again
    theta, values = parameters(2, 2), rows_of(2, 400, missing=False)
    values[[10, 300]] = 500.0
    model = LDS(state_size=2, gate_sigma=6.0)
    found = model.expect(theta, Observations(values))
    assert np.flatnonzero(found.posterior.columns["outlier"]).tolist() == [10, 300]
    assert (found.log_likelihood[[10, 300]] < -1000.0).all()
    hidden = values.copy()
    hidden[[10, 300]] = np.nan
    without = replace(model, gate_sigma=None).expect(theta, Observations(hidden))
    np.testing.assert_allclose(found.posterior.columns["mean"], without.posterior.columns["mean"], rtol=1e-12)
    assert found.statistics.rows == without.statistics.rows - 2.0
    difference = without.statistics.See - found.statistics.See
    np.testing.assert_allclose(difference, 2.0 * theta.observation_covariance, rtol=1e-8)
    np.testing.assert_allclose(found.statistics.Sww, without.statistics.Sww, rtol=1e-10)
    assert not model.posterior(theta, Observations(values + 1e3))[0].columns["outlier"][0]  # a first row never is


def test_a_forecast_is_the_filter_of_rows_that_are_missing():
    theta, values = parameters(3, 2), rows_of(2, 20)
    model = LDS(state_size=3, horizon_steps=4)
    told = model.posterior(theta, Observations(values))[0].columns
    later = model.posterior(theta, Observations(np.concatenate([values, np.full((4, 2), np.nan)])))[0].columns
    np.testing.assert_allclose(told["forecast"][-1], theta.observation @ later["mean"][-1], rtol=1e-11)
    spread = theta.observation @ later["covariance"][-1] @ theta.observation.T + theta.observation_covariance
    np.testing.assert_allclose(told["forecast_covariance"][-1], spread, rtol=1e-11)
    assert list(model.tells) == list(told)


def test_the_start_finds_a_model_nearly_as_likely_as_the_true_one():
    model = LDS(state_size=2)
    A = np.array([[0.95, 0.2], [-0.2, 0.95]])
    C = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 2.0]])
    truth = LDSParameters(A, C, 0.2 * np.eye(2), np.eye(3), np.zeros(2), np.eye(2), np.ones(5))
    rows, _ = model.sample(truth, np.random.default_rng(0), np.array([3000]))
    fitted = model.start(rows[:1500], np.random.default_rng(0))
    likelihoods = [rows.mean(model.posterior(theta, rows)[0].log_likelihood) for theta in (fitted, truth)]
    assert likelihoods[0] > likelihoods[1] - 0.02
    ours, theirs = (np.sort_complex(np.linalg.eigvals(theta.transition)) for theta in (fitted, truth))
    np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_an_endless_stream_learns_what_it_should():
    model = LDS(state_size=1, observation=((1.0,),))
    truth = LDSParameters(
        np.array([[0.9]]), np.eye(1), np.array([[0.5]]), np.array([[0.7]]), np.zeros(1), np.eye(1), np.ones(2)
    )
    rows, _ = model.sample(truth, np.random.default_rng(3), np.array([30_000]))
    learner = OnlineEM(model, warmup_records=500)
    for start in range(0, 30_000, 50):
        learner.update(rows[start : start + 50])
    found = learner.snapshot.averaged
    assert found.transition[0, 0] == pytest.approx(0.9, abs=0.03)
    assert found.transition_covariance[0, 0] == pytest.approx(0.5, rel=0.2)
    assert found.observation_covariance[0, 0] == pytest.approx(0.7, rel=0.2)


def test_floors_hold_and_are_reported():
    model = LDS(transition=((1.0,),), observation=((1.0,),), sequences="complete")
    theta = LDSParameters(*(np.ones((1, 1)) for _ in range(4)), np.zeros(1), np.ones((1, 1)), np.ones(2))
    found = model.expect(theta, Observations(np.zeros((50, 1)))).statistics
    nothing = replace(found, Sww=np.zeros((1, 1)), See=np.zeros((1, 1)))
    new = model.maximize(nothing, theta)
    assert new.transition_covariance[0, 0] == pytest.approx(1e-9)
    assert model.at_floor(new).tolist() == [True]
    assert model.at_floor(theta).tolist() == [False]

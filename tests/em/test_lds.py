"""Linear dynamical systems against the joint normal distribution of a few steps, statsmodels and pykalman."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from streamem.em import Carry, Observations
from streamem.em.lds import LDS
from streamem.em.linear import LDSParameters
from tests.em.joint import ALL, carried, covariance, joint_of, parameters, rows_of

ROUNDING = {"rtol": 1e-10, "atol": 1e-11}


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("initial", ["first", "before_first"])
@pytest.mark.parametrize(("n", "m"), [(3, 2), (2, 3), (1, 1)])
def test_filter_smoother_and_statistics_are_those_of_the_joint_normal_distribution(n, m, initial, goes_on):
    theta, values = parameters(n, m), rows_of(m)
    model = LDS(state_size=n, initial=initial)
    rng = np.random.default_rng(5)
    carry = (rng.normal(size=n), covariance(rng, n)) if goes_on else None
    take = carried(*carry) if goes_on else None
    found = model.expect(theta, Observations(values), take)
    whole = joint_of(theta, 5, initial == "before_first", carry)
    off = whole.steps - 5

    last = 0.0
    for t in range(5):
        so_far = np.where(np.arange(5)[:, None] <= t, values, np.nan)
        mean, spread, log_likelihood = whole.given(so_far)
        place = whole.state(t + off)
        assert found.log_likelihood[t] == pytest.approx(log_likelihood - last, rel=1e-11, abs=1e-12)
        np.testing.assert_allclose(found.posterior.columns["mean"][t], mean[place], **ROUNDING)
        np.testing.assert_allclose(found.posterior.columns["covariance"][t], spread[place, place], **ROUNDING)
        last = log_likelihood

    mean, spread, _ = whole.given(values)
    smooth_mean, smooth_covariance = model.smooth(theta, Observations(values), take)
    for t in range(5):
        place = whole.state(t + off)
        np.testing.assert_allclose(smooth_mean[t], mean[place], **ROUNDING)
        np.testing.assert_allclose(smooth_covariance[t], spread[place, place], **ROUNDING)

    second = spread + np.outer(mean, mean)
    states = [whole.state(t) for t in range(whole.steps)]
    w, e = [], []
    for t in range(1, whole.steps):
        row = np.zeros((n, len(mean)))
        row[:, states[t]], row[:, states[t - 1]] = np.eye(n), -theta.transition
        w.append(row)
    for t in range(5):
        row = np.zeros((m, len(mean)))
        row[:, whole.row(t)], row[:, states[t + off]] = np.eye(m), -theta.observation
        e.append(row)
    expected = {
        "S00": sum(second[place, place] for place in states[:-1]),
        "Sww": sum(row @ second @ row.T for row in w),
        "Swh": sum((row @ second)[:, place] for row, place in zip(w, states[:-1], strict=True)),
        "Shh": sum(second[place, place] for place in states[off:]),
        "See": sum(row @ second @ row.T for row in e),
        "Seh": sum((row @ second)[:, place] for row, place in zip(e, states[off:], strict=True)),
    }
    if not goes_on:
        shift = mean[states[0]] - theta.initial_mean
        expected |= {"shift": shift, "scatter": spread[states[0], states[0]] + np.outer(shift, shift)}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found.statistics, name), value, err_msg=name, **ROUNDING)
    assert (found.statistics.begun, found.statistics.steps) == (float(not goes_on), whole.steps - 1.0)


def statsmodels_smoother(theta, values):
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    peer = KalmanSmoother(theta.columns, theta.states, theta.states, loglikelihood_burn=0)
    peer.bind(values.copy())
    peer["transition"], peer["design"], peer["selection"] = theta.transition, theta.observation, np.eye(theta.states)
    peer["state_cov"], peer["obs_cov"] = theta.transition_covariance, theta.observation_covariance
    peer.initialize_known(theta.initial_mean, theta.initial_covariance)
    peer.tolerance = 0.0  # every step is computed
    return peer.smooth()


def test_likelihood_filtered_and_smoothed_moments_are_those_of_statsmodels():
    theta = parameters(4, 2)
    values = rows_of(2, 300)
    values[np.random.default_rng(2).random(values.shape) < 0.2] = np.nan
    model, rows = LDS(state_size=4), Observations(values)
    found, peer = model.posterior(theta, rows)[0], statsmodels_smoother(theta, values)
    np.testing.assert_allclose(found.log_likelihood, peer.llf_obs, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.columns["mean"], peer.filtered_state.T, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.columns["covariance"], np.moveaxis(peer.filtered_state_cov, 2, 0), atol=1e-8)
    mean, covariances = model.smooth(theta, rows)
    np.testing.assert_allclose(mean, peer.smoothed_state.T, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(covariances, np.moveaxis(peer.smoothed_state_cov, 2, 0), atol=1e-8)


@pytest.mark.parametrize("gap", [[], [0], [0, 1]])
def test_steps_that_are_not_computed_again_are_as_if_they_were(gap):
    theta, model = parameters(4, 2), LDS(state_size=4)
    values = model.sample(theta, np.random.default_rng(3), np.array([1200]))[0].values
    values[700, gap] = np.nan
    rows = Observations(values)
    passed = model.passed(theta, rows, None, keep=True)
    assert (passed.used == 3).sum() > 800
    found, peer = model.expect(theta, rows), statsmodels_smoother(theta, values)
    mean, covariances = model.smooth(theta, rows)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(found.log_likelihood, peer.llf_obs, **close)
    np.testing.assert_allclose(passed.covariance, np.moveaxis(peer.filtered_state_cov, 2, 0), **close)
    np.testing.assert_allclose(mean, peer.smoothed_state.T, **close)
    np.testing.assert_allclose(covariances, np.moveaxis(peer.smoothed_state_cov, 2, 0), **close)
    w, of_w = peer.smoothed_state_disturbance[:, :-1], peer.smoothed_state_disturbance_cov[:, :, :-1]
    np.testing.assert_allclose(found.statistics.Sww, of_w.sum(axis=2) + w @ w.T, rtol=1e-9, atol=1e-8)
    if not gap:
        e, of_e = peer.smoothed_measurement_disturbance, peer.smoothed_measurement_disturbance_cov
        np.testing.assert_allclose(found.statistics.See, of_e.sum(axis=2) + e @ e.T, rtol=1e-9, atol=1e-8)
    Shh = covariances.sum(axis=0) + mean.T @ mean
    np.testing.assert_allclose(found.statistics.Shh, Shh, rtol=1e-9, atol=1e-8)
    # that of w and h by its definition: lag-one covariances, from the states two by two
    S00, last = Shh - covariances[-1] - np.outer(mean[-1], mean[-1]), np.outer(mean[0], mean[0]) + covariances[0]
    S10 = found.statistics.Swh + theta.transition @ S00
    Sww = Shh - last - S10 @ theta.transition.T - theta.transition @ S10.T + theta.transition @ S00 @ theta.transition.T
    np.testing.assert_allclose(found.statistics.Sww, Sww, rtol=1e-8, atol=1e-7)


def pykalman_filter(theta):
    from pykalman import KalmanFilter

    return KalmanFilter(
        theta.transition, theta.observation, theta.transition_covariance, theta.observation_covariance,
        initial_state_mean=theta.initial_mean, initial_state_covariance=theta.initial_covariance,
    )  # fmt: skip


def test_filtered_and_smoothed_moments_are_those_of_pykalman():
    theta, values = parameters(3, 2), rows_of(2, 80, missing=False)
    values[10:14] = np.nan
    model, rows = LDS(state_size=3), Observations(values)
    peer, masked = pykalman_filter(theta), np.ma.masked_invalid(values)
    found = model.posterior(theta, rows)[0].columns
    for ours, theirs in ((found["mean"], found["covariance"]), peer.filter(masked)), (model.smooth(theta, rows), peer.smooth(masked)):  # fmt: skip  # noqa: E501
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-8, atol=1e-8)


def test_a_whole_step_is_the_em_step_of_pykalman():
    theta, values = parameters(3, 2), rows_of(2, 60, missing=False)
    model = LDS(state_size=3, sequences="complete")
    new = model.maximize(model.expect(theta, Observations(values)).statistics, theta)
    peer = pykalman_filter(theta).em(values, n_iter=1, em_vars="all")
    names = {
        "transition": "transition_matrices", "observation": "observation_matrices",
        "transition_covariance": "transition_covariance", "observation_covariance": "observation_covariance",
        "initial_mean": "initial_state_mean",
    }  # fmt: skip
    for ours, theirs in names.items():
        np.testing.assert_allclose(getattr(new, ours), getattr(peer, theirs), rtol=1e-8, atol=1e-8, err_msg=ours)
    # pykalman's V1 is about the mean before, ours about the new one
    shift = new.initial_mean - theta.initial_mean
    smooth = model.smooth(theta, Observations(values))[1][0]
    np.testing.assert_allclose(new.initial_covariance, smooth, rtol=1e-9, atol=1e-12)
    assert np.isfinite(shift).all()


def unpacked(x, n, m):
    parts, place = [], 0
    for rows, columns, square in ((n, n, 0), (m, n, 0), (n, n, 1), (m, m, 1), (n, 1, 0), (n, n, 1)):
        if square:
            lower, count = np.zeros((rows, rows)), rows * (rows + 1) // 2
            lower[np.tril_indices(rows)] = x[place : place + count]
            part = lower @ lower.T
        else:
            count = rows * columns
            part = x[place : place + count].reshape(rows, columns)
        parts.append(part)
        place += count
    A, C, Q, R, m1, V1 = parts
    return LDSParameters(A, C, Q, R, m1[:, 0], V1, np.ones(n + m))


def packed(theta):
    def lower(matrix):
        return np.linalg.cholesky(matrix)[np.tril_indices(len(matrix))]

    return np.concatenate([
        theta.transition.ravel(), theta.observation.ravel(), lower(theta.transition_covariance),
        lower(theta.observation_covariance), theta.initial_mean, lower(theta.initial_covariance),
    ])  # fmt: skip


def newton_step(function, x, width=1e-3):
    """Return how far x is from the minimum of a function, by differences of the fourth order."""
    size = len(x)
    steps = width * np.eye(size)

    def slope(at):
        return np.array([
            (8.0 * (function(at + h) - function(at - h)) - function(at + 2 * h) + function(at - 2 * h)) / (12.0 * width)
            for h in steps
        ])  # fmt: skip

    curvature = np.array([(slope(x + h) - slope(x - h)) / (2.0 * width) for h in steps])
    # coordinates that change nothing (of the state space's basis) do not move
    return np.linalg.lstsq(0.5 * (curvature + curvature.T), slope(x), rcond=1e-6)[0]


@pytest.mark.parametrize("initial", ["first", "before_first"])
@pytest.mark.parametrize("gamma", [0.1, 0.6])
def test_direct_minimisation_of_bound_and_divergence_gives_the_update(gamma, initial):
    n, m, T = 2, 1, 4
    theta, values = parameters(n, m), rows_of(m, T, missing=False)
    values[2] = np.nan
    model, rows = LDS(state_size=n, initial=initial, sequences="complete"), Observations(values)
    blended = model.moments(theta, model.span(rows)).blend(model.expect(theta, rows).statistics, gamma)
    new = model.maximize(blended, theta)
    before = initial == "before_first"
    old = joint_of(theta, T, before)
    mean, spread, _ = old.given(values)

    def objective(x):
        tried = joint_of(unpacked(x, n, m), T, before)
        bound = tried.cross_entropy(mean, spread)
        divergence = tried.cross_entropy(old.mean, old.covariance)
        return gamma * bound + (1.0 - gamma) * divergence

    x = packed(new)
    assert np.abs(newton_step(objective, x)).max() < 1e-6
    from_old = minimize(objective, packed(theta), method="BFGS", options={"gtol": 1e-7})
    assert from_old.fun == pytest.approx(objective(x), abs=1e-8)
    np.testing.assert_allclose(unpacked(from_old.x, n, m).transition, new.transition, atol=1e-4)
    entropy = old.cross_entropy(old.mean, old.covariance)
    divergence = joint_of(new, T, before).cross_entropy(old.mean, old.covariance) - entropy
    assert model.relative_entropy(theta, new, model.span(rows)) * T == pytest.approx(divergence, rel=1e-10)


@pytest.mark.parametrize("fixed", ["A", "C", "AC", "ACQ", "m1V1", "R"])
def test_what_is_known_stays_and_the_rest_is_the_minimum(fixed):
    known = {part for part in ALL if part in fixed}
    n, m, T = 2, 1, 4
    theta, values = parameters(n, m), rows_of(m, T, missing=False)
    learn = tuple(part for part in ALL if part not in known)
    model, rows = LDS(state_size=n, learn=learn, sequences="complete"), Observations(values)
    blended = model.moments(theta, model.span(rows)).blend(model.expect(theta, rows).statistics, 0.4)
    new = model.maximize(blended, theta)
    old = joint_of(theta, T)
    mean, spread, _ = old.given(values)
    sizes = {"A": n * n, "C": m * n, "Q": n * (n + 1) // 2, "R": m * (m + 1) // 2, "m1": n, "V1": n * (n + 1) // 2}
    free = np.concatenate([np.full(size, part not in known) for part, size in sizes.items()])
    x = packed(new)
    np.testing.assert_array_equal(x[~free], packed(theta)[~free])

    def objective(part):
        whole = x.copy()
        whole[free] = part
        tried = joint_of(unpacked(whole, n, m), T)
        return 0.4 * tried.cross_entropy(mean, spread) + 0.6 * tried.cross_entropy(old.mean, old.covariance)

    assert np.abs(newton_step(objective, x[free])).max() < 1e-6


CERTIFIED = {
    "complete": LDS(state_size=2, sequences="complete"),
    "complete-before-first": LDS(state_size=2, sequences="complete", initial="before_first", diagonal=("R",)),
    "endless": LDS(state_size=2),
    "endless-known": LDS(transition=((0.9, 0.1), (0.0, 0.8)), observation=((1.0, 0.0), (1.0, 1.0))),
}


@pytest.mark.parametrize("name", CERTIFIED)
def test_the_certificate_holds_in_a_thousand_updates(name):
    model = CERTIFIED[name]
    theta = parameters(2, 2, seed=3)
    rng = np.random.default_rng(4)
    if model.transition:
        theta = replace(theta, transition=np.array(model.transition), observation=np.array(model.observation))
    drawn, _ = model.sample(theta, rng, np.full(2000, 12))
    if model.diagonal:
        theta = replace(theta, observation_covariance=np.diag(np.diagonal(theta.observation_covariance)))
    carry, violations = Carry(), 0
    for update in range(1000):
        rows = drawn[24 * update : 24 * update + 24]
        rows.values[rng.random(rows.values.shape) < 0.1] = np.nan
        rows = replace(rows, sequence=rows.sequence % 7 if model.carries else rows.sequence)
        take = carry.take(rows.segments().sequence) if model.carries else None
        found = model.expect(theta, rows, take)
        gamma = 0.5 / (1.0 + 0.05 * update)
        new = model.maximize(model.moments(theta, model.span(rows, take)).blend(found.statistics, gamma), theta)
        was = rows.mean(found.log_likelihood)
        gain = rows.mean(model.posterior(new, rows, take)[0].log_likelihood) - was
        cost = model.relative_entropy(theta, new, model.span(rows, take)) * (1.0 - gamma) / gamma
        assert not model.at_floor(new).any()
        assert cost >= -1e-13
        violations += gain - cost < -1e-12 * abs(was)
        carry.put(rows.segments().sequence, found.carried)
        theta = new
    assert violations == 0

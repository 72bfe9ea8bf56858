"""Linear dynamical systems against the joint normal distribution of a few steps, statsmodels and pykalman."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from streamem.em import Carry, Constant, Observations, OnlineEM, Snapshot
from streamem.em.combine import average
from streamem.em.lds import LDS
from streamem.em.linear import LDSParameters, least_rows
from streamem.em.state_space import floored, unfit
from streamem.errors import ConfigError, ModelError, SnapshotError

ROUNDING = {"rtol": 1e-10, "atol": 1e-11}
ALL = ("A", "C", "Q", "R", "m1", "V1")
IDENTITY = ((1.0, 0.0), (0.0, 1.0))


def covariance(rng, size):
    x = rng.normal(size=(size, size))
    return x @ x.T + 0.5 * np.eye(size)


def parameters(n=3, m=2, seed=0, radius=0.8):
    rng = np.random.default_rng([seed, n, m])
    A = rng.normal(size=(n, n))
    A *= radius / np.abs(np.linalg.eigvals(A)).max()
    C, Q, R, V1 = rng.normal(size=(m, n)), covariance(rng, n), covariance(rng, m), covariance(rng, n)
    return LDSParameters(A, C, Q, R, rng.normal(size=n), V1, np.ones(n + m))


def carried(mean, covariance):
    return {"known": np.ones(1), "mean": mean[None], "covariance": covariance[None]}


@dataclass
class Joint:
    """The normal distribution of all states, then all observed values, of one segment."""

    mean: np.ndarray
    covariance: np.ndarray
    states: int
    columns: int
    steps: int  # states, one more than rows where the one before the first row counts
    rows: int

    def state(self, t):
        return slice(t * self.states, (t + 1) * self.states)

    def row(self, t):
        start = self.steps * self.states + t * self.columns
        return slice(start, start + self.columns)

    def given(self, values):
        """Return mean and covariance of everything given the values that are not NaN, and their log-likelihood."""
        seen = np.concatenate([np.zeros(self.steps * self.states, bool), ~np.isnan(values).ravel()])
        S = self.covariance[np.ix_(seen, seen)]
        error = values.ravel()[seen[self.steps * self.states :]] - self.mean[seen]
        gain = np.linalg.solve(S, self.covariance[seen]).T
        log_likelihood = -0.5 * (error @ np.linalg.solve(S, error) + np.linalg.slogdet(2.0 * np.pi * S)[1])
        return self.mean + gain @ error, self.covariance - gain @ self.covariance[seen], log_likelihood

    def cross_entropy(self, mean, covariance):
        """Return -E log p under a normal distribution of this mean and covariance, a constant apart."""
        error = mean - self.mean
        spread = covariance + np.outer(error, error)
        return 0.5 * (np.trace(np.linalg.solve(self.covariance, spread)) + np.linalg.slogdet(self.covariance)[1])


def joint(C, R, m1, V1, moves, extra):
    """Return the joint of a segment; `moves` are A and Q between its states, `extra` of them before row 1."""
    (m, n), steps = C.shape, len(moves) + 1
    rows = steps - extra
    mean, P = np.zeros((steps, n)), np.zeros((steps * n, steps * n))
    mean[0], P[:n, :n] = m1, V1
    for t, (A, Q) in enumerate(moves, start=1):
        now, before, past = slice(t * n, (t + 1) * n), slice((t - 1) * n, t * n), slice(0, t * n)
        mean[t] = A @ mean[t - 1]
        P[now, past] = A @ P[before, past]
        P[past, now] = P[now, past].T
        P[now, now] = A @ P[before, before] @ A.T + Q
    H = np.kron(np.eye(steps)[extra:], C)
    covariance = np.block([[P, P @ H.T], [H @ P, H @ P @ H.T + np.kron(np.eye(rows), R)]])
    return Joint(np.concatenate([mean.ravel(), H @ mean.ravel()]), covariance, n, m, steps, rows)


def joint_of(theta, rows, before_first=False, carry=None):
    extra = int(before_first or carry is not None)
    m1, V1 = (theta.initial_mean, theta.initial_covariance) if carry is None else carry
    moves = [(theta.transition, theta.transition_covariance)] * (rows - 1 + extra)
    return joint(theta.observation, theta.observation_covariance, m1, V1, moves, extra)


def rows_of(m, count=5, missing=True, seed=0):
    values = np.random.default_rng([seed, m]).normal(size=(count, m)) * 2.0
    if missing:
        values[1, 0] = np.nan
        values[3] = np.nan
    return values


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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "state_size"),
        ({"state_size": 2, "transition": ((1.0,),)}, "transition"),
        ({"state_size": 2, "transition_covariance": ((1.0, 2.0), (2.0, 1.0)), "learn": ("Q",)}, "positive definite"),
        ({"state_size": 2, "observation_covariance": ((0.0,),)}, "positive definite"),
        ({"observation": ((1.0, 0.0),), "initial_mean": (1.0,)}, "initial_mean"),
        ({"transition_covariance": ((2.0, 1.0), (1.0, 2.0)), "diagonal": ("Q",)}, "wanted a diagonal"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        LDS(**settings)


@pytest.mark.parametrize("name", ["transition_covariance", "observation_covariance", "initial_covariance"])
@pytest.mark.parametrize(
    ("matrix", "found"),
    [
        (((1.0, 2.0), (2.0, 1.0)), "the smallest eigenvalue -1;"),
        (((1.0, 0.0), (0.0, -1.0)), "the smallest eigenvalue -1;"),
        (((0.0, 1.0), (1.0, 1.0)), "the smallest eigenvalue -0.618;"),
        (((1.0, 0.2), (0.3, 1.0)), "asymmetric: [0, 1] is 0.2 and [1, 0] is 0.3;"),
        (((1.0, 0.4), (0.9, -0.1)), "asymmetric: [0, 1] is 0.4 and [1, 0] is 0.9;"),
    ],
)
def test_what_is_no_covariance_is_refused_even_where_nothing_that_needs_it_is_learned(name, matrix, found):
    given = {"transition": IDENTITY, "observation": IDENTITY, "transition_covariance": IDENTITY, "learn": ("m1",)}
    given |= {"observation_covariance": IDENTITY, "initial_covariance": IDENTITY}
    with pytest.raises(ConfigError, match=re.escape(f"lds: {name}: found {found} wanted a symmetric, positive ")):
        LDS(**given | {name: matrix})


def test_a_singular_covariance_is_refused_only_where_its_inverse_is_needed():
    velocity = {"transition": ((1.0, 0.1), (0.0, 1.0)), "observation": ((1.0, 0.0),)}
    for Q in (((0.000025, 0.0005), (0.0005, 0.01)), ((0.0, 0.0), (0.0, 0.0)), ((0.0, 0.0), (0.0, 1e-12))):
        model = LDS(**velocity, transition_covariance=Q)
        learner = OnlineEM(model, warmup_records=100)
        rng = np.random.default_rng(0)
        for _ in range(4):
            learner.update(Observations(rng.normal(size=(50, 1))))
        again = Snapshot.from_json(learner.snapshot.to_json())
        np.testing.assert_array_equal(again.parameters.transition_covariance, Q)
    with pytest.raises(ConfigError, match=r"found the smallest eigenvalue 0; wanted .* positive definite"):
        LDS(**velocity, transition_covariance=((0.0, 0.0), (0.0, 1.0)), learn=("A",))


def test_rows_that_do_not_fit_the_matrices_are_refused():
    with pytest.raises(ModelError, match="records of 2 columns"):
        LDS(observation=((1.0,),)).start(Observations(np.zeros((5, 2))), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["transition", "observation_covariance", "transition_covariance", "scale"])
def test_parameters_of_another_model_are_refused(name):
    model, theta = LDS(state_size=2), parameters(2, 2)
    arrays = {part: getattr(theta, part) for part in theta.__dataclass_fields__}
    np.testing.assert_array_equal(model.assemble(arrays).transition, theta.transition)
    for wrong in (np.ones(7), -arrays[name] if name != "transition" else np.full((2, 2), np.nan)):
        with pytest.raises(SnapshotError, match="parameters of the lds"):
            model.assemble(arrays | {name: wrong})


def test_parameters_that_are_not_diagonal_are_refused_where_they_are_held_so():
    theta = parameters(2, 2)
    arrays = {part: getattr(theta, part) for part in theta.__dataclass_fields__}
    with pytest.raises(SnapshotError, match="wanted a diagonal"):
        LDS(state_size=2, diagonal=("R",)).assemble(arrays)


def test_only_a_model_with_known_matrices_can_be_combined():
    assert "A and C" in LDS(state_size=2).combinable
    known = LDS(transition=IDENTITY, observation=IDENTITY)
    assert known.combinable == ""
    one = replace(parameters(2, 2, seed=1), transition=np.eye(2), observation=np.eye(2))
    other = replace(parameters(2, 2, seed=2), transition=np.eye(2), observation=np.eye(2))
    both = average(known, [one, other], [1.0, 3.0])
    mean = 0.25 * one.transition_covariance + 0.75 * other.transition_covariance
    np.testing.assert_allclose(both.transition_covariance, mean, rtol=1e-12)


def test_a_schedule_moves_only_what_is_learned():
    model = LDS(transition=IDENTITY, observation=IDENTITY, learn=("R",), transition_covariance=IDENTITY)
    learner = OnlineEM(model, Constant(step_size=0.2), warmup_records=100)
    rows = Observations(np.random.default_rng(0).normal(size=(300, 2)).cumsum(axis=0))
    for start in range(0, 300, 50):
        learner.update(rows[start : start + 50])
    found = learner.snapshot.parameters
    np.testing.assert_array_equal(found.transition_covariance, np.eye(2))
    np.testing.assert_array_equal(found.transition, np.eye(2))
    assert model.free_parameters(2) == 3


@pytest.mark.parametrize(
    ("learned", "states", "columns", "diagonal", "least"),
    [
        ("ACQR", 20, 2, "", 42),
        ("ACQR", 60, 2, "", 122),
        ("ACQR", 4, 1, "", 9),
        ("ACQR", 1, 10, "", 10),
        ("ACQR", 1, 10, "R", 3),
        ("QR", 2, 2, "", 3),
        ("QR", 2, 2, "QR", 2),
        ("R", 9, 3, "", 2),
        ("", 9, 3, "", 0),
    ],
)
def test_a_start_needs_more_rows_than_its_states_can_repeat(learned, states, columns, diagonal, least):
    assert least_rows(learned, states, columns, diagonal=diagonal) == least


@pytest.mark.parametrize(("states", "rows"), [(60, 100), (20, 40), (60, 40)])
def test_more_states_than_the_warm_up_supports_are_refused(states, rows):
    learner = OnlineEM(LDS(state_size=states), warmup_records=rows)
    least = 2 * states + 2
    words = rf"the start of the lds: found {rows} warm-up records; wanted at least {least}: .* of {10 * least}\."
    with pytest.raises(ModelError, match=words):
        learner.update(Observations(np.random.default_rng(0).normal(size=(rows, 2))))
    assert learner.snapshot is None


def test_values_that_are_missing_support_no_states():
    values = np.random.default_rng(0).normal(size=(60, 2))
    values[::2, 0] = np.nan
    values[:4] = np.nan
    with pytest.raises(ModelError, match=r"found 56 warm-up records with 84 values; wanted at least 46: "):
        LDS(state_size=22).start(Observations(values), np.random.default_rng(0))


def test_records_that_do_not_follow_one_another_move_no_state():
    rows = Observations(np.random.default_rng(0).normal(size=(300, 2)), sequence=np.arange(300))
    with pytest.raises(ModelError, match="found no two records of a sequence that follow one another; wanted at least"):
        LDS(state_size=2).start(rows, np.random.default_rng(0))
    known = LDS(transition=IDENTITY, transition_covariance=IDENTITY, observation=IDENTITY)
    assert np.isfinite(known.start(rows, np.random.default_rng(0)).observation_covariance).all()


@pytest.mark.parametrize("states", [8, 20])
def test_what_is_learned_with_hardly_enough_rows_reads_back(states):
    rows = np.random.default_rng(0).normal(size=(2 * states + 102, 2)).cumsum(axis=0)
    learner = OnlineEM(LDS(state_size=states), warmup_records=2 * states + 2)
    for start in range(0, len(rows), 50):
        # a model that explodes says so, and what was learned before it stays
        with suppress(ModelError):
            learner.update(Observations(rows[start : start + 50]))
        if learner.snapshot is not None:
            again = Snapshot.from_json(learner.snapshot.to_json()).parameters
            np.testing.assert_array_equal(again.transition, learner.snapshot.parameters.transition)


@pytest.mark.parametrize("spread", [1.0, 1e4, 1e8, 1e12])
def test_a_covariance_at_its_floor_is_one_that_reads_back(spread):
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 40):
        wide = rng.normal(size=(size, max(size // 2, 1))) * spread
        scale = 10.0 ** rng.uniform(-6.0, 6.0, size)
        for covariance in (wide @ wide.T, wide @ wide.T - 1e-3 * np.eye(size)):
            held = floored(covariance, scale)
            assert unfit(held, sure=True) is None
            assert unfit(floored(held, scale), sure=True) is None


def test_an_update_that_is_not_finite_is_an_error():
    model, theta = LDS(state_size=2), parameters(2, 2)
    found = model.expect(theta, Observations(rows_of(2, 30))).statistics
    for change in ({"Swh": np.full((2, 2), np.inf)}, {"See": np.full((2, 2), np.nan)}):
        with pytest.raises(ModelError, match="not finite"):
            model.maximize(replace(found, **change), theta)

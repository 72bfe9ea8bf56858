"""Trackers against the joint normal distribution of a few steps, and against themselves cut into pieces."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm

from streamem.em import Carry, Observations, OnlineEM
from streamem.em.combine import average
from streamem.em.dynamics import motion
from tests.em.joint import joint
from tests.em.test_lds import newton_step
from tests.em.trackers import each_dynamics, parameters, tracker

ROUNDING = {"rtol": 1e-9, "atol": 1e-10}


def times(count, seed=0, standing=True):
    steps = [0.0, 0.4, 1.0, 2.3] if standing else [0.4, 1.0, 2.3]
    return np.cumsum(np.random.default_rng(seed).choice(steps, size=count))


def drawn(model, theta, count, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)
    rows, states = model.sample(theta, rng, np.array([count]), times(count, seed))
    rows.values[rng.random(rows.values.shape) < missing] = np.nan
    return rows, states


def joint_of(model, theta, seconds, carry=None):
    """Return the joint of a segment with `seconds` before each row but the first, or each row of one that goes on."""
    space, _ = model.space(theta, seconds)
    m1, V1 = (theta.initial_mean, theta.initial_covariance) if carry is None else carry
    moves = [(space.A[u], space.Q[u]) for u in space.which]
    return joint(space.C, theta.observation_covariance, m1, V1, moves, 0 if carry is None else 1)


@each_dynamics
@pytest.mark.parametrize("seconds", [0.7, 3.0])
def test_transitions_and_noise_solve_their_differential_equation(dynamics, seconds):
    moved = motion(dynamics, np.array([seconds]), 6, 2)
    p = len(moved.observed)
    drift = np.zeros((p, p))
    if dynamics == "seasonal":
        for number in (1, 2):
            i = 2 * number - 1
            drift[i, i + 1], drift[i + 1, i] = number * 2.0 * np.pi / 6.0, -number * 2.0 * np.pi / 6.0
    else:
        drift = np.diag(np.ones(p - 1), 1)
    sources = {"local_trend": [[0], [1]], "seasonal": [[0], [1, 2, 3, 4]]}.get(dynamics, [[p - 1]])
    np.testing.assert_allclose(moved.transition[0], expm(drift * seconds), atol=1e-12)
    assert len(sources) == len(moved.noise)
    for source, noise, rank in zip(sources, moved.noise[:, 0], moved.ranks, strict=True):
        white = np.zeros((p, p))
        white[source, source] = 1.0
        # Van Loan (1978)
        block = expm(np.block([[-drift, white], [np.zeros((p, p)), drift.T]]) * seconds)
        np.testing.assert_allclose(noise, block[p:, p:].T @ block[:p, p:], atol=1e-10)
        assert np.linalg.matrix_rank(noise) == rank


@each_dynamics
@pytest.mark.parametrize("goes_on", [False, True])
def test_filter_smoother_and_statistics_are_those_of_the_joint_normal_distribution(dynamics, goes_on):
    model = tracker(dynamics, observation_covariance="full")
    theta = parameters(model)
    rng = np.random.default_rng(1)
    count, n = 4, len(theta.initial_mean)
    time = 10.0 + np.array([0.0, 0.5, 2.0, 2.7])
    values = 3.0 * rng.normal(size=(count, 2))
    values[1, 0] = np.nan
    values[2] = np.nan
    carry = (rng.normal(size=n), np.eye(n)) if goes_on else None
    take = None
    if goes_on:
        take = {"known": np.ones(1), "mean": carry[0][None], "covariance": carry[1][None], "time": np.array([8.8])}
    rows = Observations(values, time=time)
    found = model.expect(theta, rows, take)
    seconds = np.diff(time, prepend=8.8) if goes_on else np.diff(time)
    whole = joint_of(model, theta, seconds, carry)
    mean, spread, log_likelihood = whole.given(values)
    assert found.log_likelihood.sum() == pytest.approx(log_likelihood, rel=1e-11)
    smooth_mean, smooth_covariance = model.smooth(theta, rows, take)
    off = whole.steps - count
    for t in range(count):
        place = whole.state(t + off)
        np.testing.assert_allclose(smooth_mean[t], mean[place], **ROUNDING)
        np.testing.assert_allclose(smooth_covariance[t], spread[place, place], **ROUNDING)
    last = whole.state(whole.steps - 1)
    np.testing.assert_allclose(found.posterior.columns["mean"][-1], mean[last], **ROUNDING)

    space, moved = model.space(theta, seconds)
    second = spread + np.outer(mean, mean)
    noise, residual = np.zeros(theta.noise.shape), np.zeros((2, 2))
    p = len(moved.observed)
    for t, u in enumerate(space.which):
        row = np.zeros((n, len(mean)))
        row[:, whole.state(t + 1)], row[:, whole.state(t)] = np.eye(n), -space.A[u]
        ww = (row @ second @ row.T).reshape(p, 2, p, 2)
        for j in range(2):
            Q = np.tensordot(theta.noise[:, j], moved.noise[:, u], 1)
            for b, (q, rank) in enumerate(zip(theta.noise[:, j], moved.ranks, strict=True)):
                # of several noises each is expected to have done its part of the movement
                part = q * moved.noise[b, u] @ np.linalg.inv(Q)
                of_b = part @ ww[:, j, :, j] @ part.T + q * moved.noise[b, u] - part @ Q @ part.T
                inverse = np.linalg.pinv(moved.noise[b, u], rcond=1e-9)
                noise[b, j] += np.trace(inverse @ of_b)
                assert rank == np.linalg.matrix_rank(moved.noise[b, u])
    for t in range(count):
        row = np.zeros((2, len(mean)))
        row[:, whole.row(t)], row[:, whole.state(t + off)] = np.eye(2), -space.C
        residual += row @ second @ row.T
    np.testing.assert_allclose(found.statistics.noise, noise, rtol=1e-8)
    np.testing.assert_allclose(found.statistics.residual, residual, **ROUNDING)
    assert (found.statistics.steps, found.statistics.rows) == (float(len(seconds)), 4.0)


@pytest.mark.parametrize("dynamics", ["constant_position", "constant_velocity", "constant_acceleration"])
@pytest.mark.parametrize("gamma", [0.1, 0.6])
@pytest.mark.parametrize("form", ["diagonal", "full"])
def test_direct_minimisation_of_bound_and_divergence_gives_the_update(dynamics, gamma, form):
    model = tracker(dynamics, observation_covariance=form)
    theta = parameters(model)
    time = np.array([0.0, 0.5, 2.0, 2.7])
    values = 3.0 * np.random.default_rng(2).normal(size=(4, 2))
    values[2, 1] = np.nan
    rows = Observations(values, time=time)
    blended = model.moments(theta, model.span(rows)).blend(model.expect(theta, rows).statistics, gamma)
    new = model.maximize(blended, theta)
    old = joint_of(model, theta, np.diff(time))
    mean, spread, _ = old.given(values)
    corner = np.tril_indices(2) if form == "full" else np.diag_indices(2)

    def joint_at(x):
        lower = np.zeros((2, 2))
        lower[corner] = x[2:]
        noise = np.exp(x[:2])[None]
        return joint_of(model, replace(theta, noise=noise, observation_covariance=lower @ lower.T), np.diff(time))

    def objective(x):
        tried = joint_at(x)
        return gamma * tried.cross_entropy(mean, spread) + (1.0 - gamma) * tried.cross_entropy(old.mean, old.covariance)

    x = np.concatenate([np.log(new.noise[0]), np.linalg.cholesky(new.observation_covariance)[corner]])
    # joints of accelerations are ill-conditioned: their differences carry more rounding
    assert np.abs(newton_step(objective, x)).max() < (1e-5 if dynamics == "constant_acceleration" else 1e-6)
    divergence = joint_at(x).cross_entropy(old.mean, old.covariance) - old.cross_entropy(old.mean, old.covariance)
    assert model.relative_entropy(theta, new, model.span(rows)) * 4.0 == pytest.approx(divergence, rel=1e-7)


@each_dynamics
@pytest.mark.parametrize("form", ["diagonal", "full"])
def test_the_certificate_holds_in_a_thousand_updates(dynamics, form):
    model = tracker(dynamics, observation_covariance=form)
    theta = parameters(model)
    rows, _ = drawn(model, theta, 12_000, seed=3)
    # three sequences that go on from batch to batch
    rows = replace(rows, sequence=np.random.default_rng(0).integers(3, size=len(rows)))
    carry, violations = Carry(), 0
    for update in range(1000):
        batch = rows[12 * update : 12 * update + 12]
        sequence = batch.segments().sequence
        take = carry.take(sequence)
        found = model.expect(theta, batch, take)
        gamma = 0.5 / (1.0 + 0.05 * update)
        span = model.span(batch, take)
        new = model.maximize(model.moments(theta, span).blend(found.statistics, gamma), theta)
        was = batch.mean(found.log_likelihood)
        gain = batch.mean(model.posterior(new, batch, take)[0].log_likelihood) - was
        cost = model.relative_entropy(theta, new, span) * (1.0 - gamma) / gamma
        assert cost >= -1e-13
        violations += gain - cost < -1e-12 * abs(was)
        carry.put(sequence, found.carried)
        theta = new
    assert violations == 0


@each_dynamics
@pytest.mark.parametrize("timed", [True, False])
def test_any_cutting_and_interleaving_gives_the_same_posteriors(dynamics, timed):
    model = tracker(dynamics)
    theta = parameters(model)
    rng = np.random.default_rng(4)
    parts = [drawn(model, theta, count, seed=count)[0] for count in (90, 60, 40)]
    rows = Observations.concatenate([replace(part, sequence=np.full(len(part), k)) for k, part in enumerate(parts)])
    if not timed:
        rows = replace(rows, time=None)
    whole = model.posterior(theta, rows)[0]
    for cuts in (3, 40):
        places, original = rng.permutation(rows.sequence), np.empty(190, np.intp)
        for number in range(3):
            original[places == number] = np.flatnonzero(rows.sequence == number)
        mixed = rows[original]
        bounds = np.concatenate([[0], np.sort(rng.choice(189, size=cuts, replace=False)) + 1, [190]])
        carry = Carry()
        found = [carry.follow(model, theta, mixed[start:stop]) for start, stop in pairwise(bounds)]
        for name in ("mean", "covariance", "innovation"):
            together = np.concatenate([posterior.columns[name] for posterior in found])
            np.testing.assert_allclose(together, whole.columns[name][original], rtol=1e-12, atol=1e-12)
        likelihood = np.concatenate([posterior.log_likelihood for posterior in found])
        np.testing.assert_allclose(likelihood, whole.log_likelihood[original], rtol=1e-12, atol=1e-12)


@each_dynamics
def test_the_start_finds_the_noise_directly(dynamics):
    model = tracker(dynamics, observation_covariance="full")
    theta = parameters(model)
    rows, _ = drawn(model, theta, 1500, seed=5)
    fitted = model.start(rows, np.random.default_rng(0))
    truth = replace(fitted, noise=theta.noise, observation_covariance=theta.observation_covariance)
    likelihoods = [rows.mean(model.posterior(one, rows)[0].log_likelihood) for one in (fitted, truth)]
    assert likelihoods[0] > likelihoods[1]
    further = fitted
    for _ in range(100):
        further = model.maximize(model.expect(further, rows).statistics, further)
    assert rows.mean(model.posterior(further, rows)[0].log_likelihood) < likelihoods[0] + 1e-4
    assert not model.at_floor(fitted).any()


@pytest.mark.parametrize("level", [0.0, 1e8])
def test_the_start_and_the_updates_know_no_level(level):
    model = tracker("local_level")
    theta = parameters(model, columns=1)
    rows, _ = model.sample(theta, np.random.default_rng(0), np.array([2000]))
    # whole numbers / 64: nothing is rounded when the level is added
    rows = replace(rows, values=np.round(rows.values * 64.0) / 64.0 + level)
    fitted = model.start(rows[:1000], np.random.default_rng(0))
    new = model.maximize(model.expect(fitted, rows[:1000]).statistics, fitted)
    near = replace(rows, values=rows.values - level)
    base = model.start(near[:1000], np.random.default_rng(0))
    np.testing.assert_allclose(fitted.noise, base.noise, rtol=1e-4)
    np.testing.assert_allclose(fitted.observation_covariance, base.observation_covariance, rtol=1e-4)
    moved = replace(fitted, initial_mean=fitted.initial_mean - level)
    same = model.maximize(model.expect(moved, near[:1000]).statistics, moved)
    np.testing.assert_allclose(new.noise, same.noise, rtol=1e-7)
    np.testing.assert_allclose(new.observation_covariance, same.observation_covariance, rtol=1e-7)


def test_a_long_stream_learns_noise_from_a_start_thirty_times_off():
    model = tracker("constant_velocity")
    truth = parameters(model, columns=1)
    rows, _ = drawn(model, truth, 30_000, seed=6)
    learner = OnlineEM(model, warmup_records=500)
    learner.update(rows[:500])
    learner.snapshot = replace(
        learner.snapshot, parameters=replace(learner.snapshot.parameters, noise=30.0 * truth.noise)
    )
    for start in range(500, 30_000, 50):
        learner.update(rows[start : start + 50])
    found = learner.snapshot.averaged
    np.testing.assert_allclose(found.noise, truth.noise, rtol=0.15)
    np.testing.assert_allclose(found.observation_covariance, truth.observation_covariance, rtol=0.1)


def test_two_records_of_one_time_have_no_noise_between_them():
    model = tracker("constant_velocity", sequences="complete")
    theta = parameters(model)
    values = np.random.default_rng(0).normal(size=(3, 2))
    rows = Observations(values, time=np.array([1.0, 1.0, 2.0]))
    found = model.expect(theta, rows)
    assert found.statistics.steps == model.span(rows).steps == 1.0
    smooth = model.smooth(theta, rows)[0]
    np.testing.assert_allclose(smooth[0], smooth[1], rtol=1e-12)
    still = Observations(values, time=np.ones(3))
    span = model.span(still)
    blended = model.moments(theta, span).blend(model.expect(theta, still).statistics, 0.5)
    np.testing.assert_array_equal(model.maximize(blended, theta).noise, theta.noise)


@pytest.mark.parametrize("dynamics", ["constant_acceleration", "local_trend"])
def test_covariances_are_positive_definite_after_a_million_steps(dynamics):
    model = tracker(dynamics)
    theta = parameters(model)
    theta = replace(theta, noise=1e-9 * theta.noise, observation_covariance=np.diag([1e-4, 1e4]))
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1_000_000, 2))
    time = np.cumsum(rng.choice([0.1, 1.0, 5.0], size=1_000_000))
    found = model.posterior(theta, Observations(values, time=time))[0].columns["covariance"][-500:]
    np.testing.assert_array_equal(found, np.swapaxes(found, 1, 2))
    deviation = np.sqrt(np.diagonal(found, axis1=1, axis2=2))
    unit = found / (deviation[:, :, None] * deviation[:, None, :])
    assert (np.linalg.eigvalsh(unit)[:, 0] > 0.0).all()


@each_dynamics
def test_a_forecast_is_the_filter_of_a_later_row_that_is_missing(dynamics):
    model = tracker(dynamics, horizon_seconds=3.5)
    theta = parameters(model)
    rows, _ = drawn(model, theta, 30)
    told = model.posterior(theta, rows)[0].columns
    later = Observations(
        np.concatenate([rows.values, np.full((1, 2), np.nan)]), time=np.append(rows.time, rows.time[-1] + 3.5)
    )
    after = model.posterior(theta, later)[0].columns
    C = model.space(theta, np.ones(1))[0].C
    np.testing.assert_allclose(told["forecast"][-1], C @ after["mean"][-1], rtol=1e-10)
    spread = C @ after["covariance"][-1] @ C.T + theta.observation_covariance
    np.testing.assert_allclose(told["forecast_covariance"][-1], spread, rtol=1e-10)
    assert list(model.tells) == list(told)


def test_an_outlier_is_flagged_and_moves_neither_track_nor_noise():
    model = tracker("constant_velocity", gate_sigma=5.0)
    theta = parameters(model)
    rows, _ = drawn(model, theta, 200, missing=0.0)
    clean = model.expect(theta, rows)
    assert not clean.posterior.columns["outlier"].any()
    rows.values[100] += 300.0
    found = model.expect(theta, rows)
    assert np.flatnonzero(found.posterior.columns["outlier"]).tolist() == [100]
    np.testing.assert_allclose(found.posterior.columns["mean"][-1], clean.posterior.columns["mean"][-1], atol=1e-3)
    assert found.statistics.rows == 199.0
    np.testing.assert_allclose(model.maximize(found.statistics, theta).noise, theta.noise, rtol=0.5)
    free = replace(model, gate_sigma=None)
    assert (free.maximize(free.expect(theta, rows).statistics, theta).noise > 20.0 * theta.noise).all()


def test_a_new_sequence_begins_where_its_first_record_is():
    model = tracker("constant_velocity")
    rng = np.random.default_rng(0)
    rows, _ = model.sample(parameters(model), rng, np.array([400]))
    fitted = model.start(rows, rng)
    far = rows.values.mean(axis=0) + 3.0 * rows.values.std(axis=0)
    found = model.posterior(fitted, Observations(far[None]))[0]
    off = found.columns["mean"][0, :2] - far
    assert (np.abs(off) < 0.1 * np.sqrt(np.diagonal(fitted.observation_covariance))).all()


@each_dynamics
def test_sampled_moments_are_unbiased(dynamics):
    model = tracker(dynamics, observation_covariance="full")
    theta = parameters(model)
    span = model.span(drawn(model, theta, 50)[0])
    exact = model.moments(theta, span)
    found = model.sampled(theta, span, 50_000, np.random.default_rng(1))
    np.testing.assert_allclose(found.noise, exact.noise, rtol=0.03)
    np.testing.assert_allclose(found.residual, exact.residual, atol=0.05 * exact.residual.max())
    assert (found.steps, found.rows) == (exact.steps, exact.rows)


def test_trackers_combine_by_their_noise():
    model = tracker("local_trend")
    one, other = parameters(model, seed=1), parameters(model, seed=2)
    both = average(model, [one, other], [1.0, 3.0])
    np.testing.assert_allclose(both.noise, 0.25 * one.noise + 0.75 * other.noise)
    R = 0.25 * one.observation_covariance + 0.75 * other.observation_covariance
    np.testing.assert_allclose(both.observation_covariance, R)
    assert model.combinable == ""


def test_a_noise_at_its_floor_is_reported():
    model = tracker("local_level")
    theta = parameters(model)
    found = model.expect(theta, drawn(model, theta, 20)[0]).statistics
    new = model.maximize(replace(found, noise=0.0 * found.noise), theta)
    np.testing.assert_allclose(new.noise, 1e-9)
    assert model.at_floor(new).tolist() == [True]
    assert model.at_floor(theta).tolist() == [False]

"""Hidden Markov models: against enumeration of all paths, hmmlearn, and direct minimisation of the objective."""

import json
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hmmlearn import hmm as peers
from scipy import stats
from scipy.optimize import minimize
from scipy.special import log_softmax

from streamem.em import HMM, Carry, Categorical, Constant, Gaussian, Observations, OnlineEM, Poisson, Snapshot, combine
from streamem.em.chain import ChainParameters, stationary
from streamem.em.combine import average, match
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.families.independent import IndependentParameters
from streamem.em.start import batch_em
from tests.em.chains import parameters

SHAPES = ("endless", "complete", "absorbing")


def sequence_of(lengths):
    return np.repeat(np.arange(len(lengths)), lengths)


def paths(theta, values, *, entry=None, absorbing=False):
    """Return every path of states with the joint probability of path and values; entry is a carried distribution."""
    states = len(theta.initial)
    spread = np.sqrt(theta.states.covariance[:, 0, 0])
    density = stats.norm.pdf(values[:, :1], theta.states.mean[:, 0], spread)
    begin = 0 if entry is None else -1
    for path in product(range(states), repeat=len(values) - begin):
        chance = theta.initial[path[0]] if entry is None else entry[path[0]]
        seen = path if entry is None else path[1:]
        for one, other in pairwise(path):
            chance *= theta.transition[one, other]
        for t, state in enumerate(seen):
            chance *= density[t, state]
        yield path, seen, chance * (theta.leaving[path[-1]] if absorbing else 1.0)


@pytest.mark.parametrize("states", [2, 3])
@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("shape", [*SHAPES, "endless that goes on"])
def test_filtering_smoothing_statistics_and_paths_are_those_of_all_paths_enumerated(states, length, shape):
    goes_on = shape.endswith("goes on")
    shape = shape.split()[0]
    model = HMM(states=states, sequences=shape, smoothed=True)
    theta = parameters(states, leaving=0.2 if shape == "absorbing" else 0.0)
    values = np.random.default_rng(length).normal(size=(length, 1)) * 2.0
    entry = np.random.default_rng(5).dirichlet(np.ones(states)) if goes_on else None
    carried = {"known": np.ones(1), "state": entry[None]} if goes_on else None
    expectation = model.expect(theta, Observations(values), carried)

    filtered, evidence = [], [0.0]
    for t in range(1, length + 1):
        last = shape == "absorbing" and t == length
        found = np.zeros(states)
        for _, seen, chance in paths(theta, values[:t], entry=entry):
            found[seen[-1]] += chance
        whole = sum(chance for _, _, chance in paths(theta, values[:t], entry=entry, absorbing=last))
        filtered.append(found / found.sum())
        evidence.append(np.log(whole))
    np.testing.assert_allclose(expectation.posterior.probabilities, filtered, rtol=1e-12)
    np.testing.assert_allclose(expectation.log_likelihood, np.diff(evidence), rtol=1e-11, atol=1e-13)

    smoothed, pairs, first = np.zeros((length, states)), np.zeros((states, states)), np.zeros(states)
    every = list(paths(theta, values, entry=entry, absorbing=shape == "absorbing"))
    total = sum(chance for _, _, chance in every)
    for path, seen, chance in every:
        smoothed[np.arange(length), list(seen)] += chance / total
        first[path[0]] += chance / total * (not goes_on)
        for one, other in pairwise(path):
            pairs[one, other] += chance / total
    np.testing.assert_allclose(expectation.posterior.columns["smoothed"], smoothed, rtol=1e-11)
    np.testing.assert_allclose(expectation.statistics.transition, pairs, rtol=1e-11)
    np.testing.assert_allclose(expectation.statistics.initial, first, rtol=1e-11)
    np.testing.assert_allclose(expectation.statistics.states.weight, smoothed.sum(axis=0), rtol=1e-11)
    if shape == "absorbing":
        np.testing.assert_allclose(expectation.statistics.leaving, smoothed[-1], rtol=1e-11)

    best = {}
    for _, seen, chance in (  # of the paths that share what is seen, Viterbi takes the best one of the carried state
        (path, seen, chance) for path, seen, chance in every
    ):
        best[seen] = max(best.get(seen, 0.0), chance)
    path, log_probability = model.decode(theta, Observations(values), carried)
    assert tuple(path) == max(best, key=best.get)
    assert log_probability[0] == pytest.approx(np.log(max(best.values())), rel=1e-12)


@pytest.mark.parametrize("states", [2, 3])
def test_the_inertia_of_an_endless_segment_is_what_the_chain_does_in_the_long_run(states):
    theta = parameters(states)
    model, segment = HMM(states=states), Observations(np.zeros((6, 1)))
    known = {"known": np.ones(1), "state": theta.initial[None]}
    moments = model.moments(theta, model.span(segment, known))
    eigenvalues, vectors = np.linalg.eig(theta.transition.T)
    long_run = np.real(vectors[:, np.argmax(np.real(eigenvalues))])
    long_run /= long_run.sum()
    np.testing.assert_allclose(moments.states.weight, 6.0 * long_run, rtol=1e-3)  # it restarts once in 10,000 steps
    np.testing.assert_allclose(moments.states.weight, 6.0 * stationary(theta), rtol=1e-12)
    np.testing.assert_allclose(moments.transition, 6.0 * stationary(theta)[:, None] * theta.transition, rtol=1e-12)
    assert moments.initial.sum() == 0.0
    begins = model.moments(theta, model.span(segment))
    np.testing.assert_allclose(begins.initial, theta.initial)
    assert begins.transition.sum() == pytest.approx(5.0)


@pytest.mark.parametrize("shape", ["complete", "absorbing"])
def test_the_inertia_of_whole_sequences_is_that_of_all_paths_enumerated(shape):
    theta = parameters(2, leaving=0.3 if shape == "absorbing" else 0.0)
    model = HMM(states=2, sequences=shape)
    lengths = [1, 4, 4, 6]
    span = model.span(Observations(np.zeros((15, 1)), sequence=sequence_of(lengths)))
    moments = model.moments(theta, span)
    visits, pairs = np.zeros(2), np.zeros((2, 2))
    for length in lengths if shape == "complete" else range(1, 16):
        for path in product(range(2), repeat=length):
            chance = theta.initial[path[0]] * np.prod([theta.transition[a, b] for a, b in pairwise(path)])
            if shape == "absorbing":
                chance *= 4.0 * theta.leaving[path[-1]]
            np.add.at(visits, list(path), chance)
            for one, other in pairwise(path):
                pairs[one, other] += chance
    tolerance = 1e-12 if shape == "complete" else 0.1  # paths of more than 15 steps are left out
    np.testing.assert_allclose(moments.states.weight, visits, rtol=tolerance)
    np.testing.assert_allclose(moments.transition, pairs, rtol=tolerance)


@pytest.mark.parametrize("shape", [*SHAPES, "endless that goes on"])
def test_the_update_is_where_direct_minimisation_ends(shape):
    goes_on = shape.endswith("goes on")
    shape = shape.split()[0]
    rng, eta, absorbing = np.random.default_rng(3), 0.4, shape == "absorbing"
    model = HMM(states=2, sequences=shape, family=Poisson())
    ones = np.ones(1)

    def theta(x):
        rows = np.exp(
            log_softmax(np.column_stack([x[1:5].reshape(2, 2), x[7:9] if absorbing else [-np.inf] * 2]), axis=1)
        )
        initial = np.exp(log_softmax([0.0, x[0]]))
        states = IndependentParameters(np.exp(x[5:7])[:, None], ones)
        return ChainParameters(initial, rows[:, :2].copy(), rows[:, 2].copy(), states)

    size = 9 if absorbing else 7
    old = theta(rng.normal(size=size))
    rows = Observations(rng.poisson(2.0, size=(12, 1)).astype(float), sequence=sequence_of([5, 4, 3]))
    carried = {"known": np.ones(3), "state": rng.dirichlet(np.ones(2), size=3)} if goes_on else None
    expectation, span = model.expect(old, rows, carried), model.span(rows, carried)
    found = expectation.statistics

    def logarithms(new):
        return np.log(new.initial), np.log(new.transition), np.log(np.maximum(new.leaving, 1e-300))

    def objective(x):
        new = theta(x)
        initial, transition, leaving = logarithms(new)
        mean = new.states.mean[:, 0]
        bound = found.initial @ initial + (found.transition * transition).sum() + found.leaving @ leaving
        bound += found.states.total[:, 0] @ np.log(mean) - found.states.weight @ mean
        return -bound / span.weight + model.relative_entropy(old, new, span) / eta

    best = minimize(objective, np.zeros(size), method="BFGS", options={"gtol": 1e-10})
    theirs = theta(best.x)
    ours = model.maximize(model.moments(old, span).blend(found, eta / (1.0 + eta)), old)
    if not goes_on:
        np.testing.assert_allclose(ours.initial, theirs.initial, atol=1e-6)
    else:
        np.testing.assert_array_equal(ours.initial, old.initial)
    np.testing.assert_allclose(ours.transition, theirs.transition, atol=1e-6)
    np.testing.assert_allclose(ours.leaving, theirs.leaving, atol=1e-6)
    np.testing.assert_allclose(ours.states.mean, theirs.states.mean, atol=2e-6)


LENGTHS = [40, 1, 7, 60, 2]


def as_peer(kind, theta, **settings):
    peer = kind(len(theta.initial), init_params="", params="stmc", n_iter=1, **settings)
    peer.startprob_, peer.transmat_ = theta.initial, theta.transition
    return peer


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical", "tied"])
def test_likelihood_posteriors_paths_and_one_step_of_em_are_those_of_hmmlearn(covariance):
    model = HMM(states=3, sequences="complete", family=Gaussian(covariance=covariance, covariance_floor=1e-9))
    rng = np.random.default_rng(1)
    centre = np.array([[0.0, 0.0], [3.0, -1.0], [-2.0, 4.0]])[np.repeat(rng.integers(3, size=22), 5)]
    values = centre + rng.normal(size=(110, 2))
    rows = Observations(values, sequence=sequence_of(LENGTHS))
    theta = model.start(Observations(values + 0.1, sequence=sequence_of(LENGTHS)), np.random.default_rng(0))
    theirs = {"diagonal": "diag"}.get(covariance, covariance)
    peer = as_peer(peers.GaussianHMM, theta, covariance_type=theirs, covars_prior=0.0, covars_weight=0.0, min_covar=0.0)
    peer.means_ = theta.states.mean
    each = theta.states.covariance
    peer.covars_ = {"spherical": each[:, 0], "tied": each[0]}.get(covariance, each)
    agree_with(peer, model, theta, rows)
    new = batch_em(model, theta, rows, iterations=1)[0]
    peer.fit(values, LENGTHS)
    np.testing.assert_allclose(new.states.mean, peer.means_, rtol=1e-8, atol=1e-10)
    learned = np.broadcast_to(peer._covars_, new.states.covariance.shape)
    np.testing.assert_allclose(new.states.covariance, learned, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(new.initial, peer.startprob_, atol=1e-8)
    np.testing.assert_allclose(new.transition, peer.transmat_, atol=1e-8)


def test_counts_are_as_with_hmmlearn():
    model = HMM(states=2, sequences="complete", family=Poisson())
    values = np.random.default_rng(1).poisson([2.0, 9.0], size=(110, 2)).astype(float)
    rows = Observations(values, sequence=sequence_of(LENGTHS))
    theta = model.start(rows, np.random.default_rng(0))
    theta = replace(theta, transition=np.array([[0.7, 0.3], [0.4, 0.6]]), initial=np.array([0.3, 0.7]))
    peer = as_peer(peers.PoissonHMM, theta, lambdas_prior=0.0, lambdas_weight=0.0)
    peer.params = "stl"
    peer.lambdas_ = theta.states.mean
    values = values.astype(int)
    agree_with(peer, model, theta, rows, values)
    new = batch_em(model, theta, rows, iterations=1)[0]
    peer.fit(values, LENGTHS)
    np.testing.assert_allclose(new.states.mean, peer.lambdas_, rtol=1e-8)
    np.testing.assert_allclose(new.transition, peer.transmat_, atol=1e-8)


def test_categories_are_as_with_hmmlearn():
    model = HMM(states=2, sequences="complete", family=Categorical(categories=("red", "green", "blue")))
    rng = np.random.default_rng(1)
    values = np.where(np.repeat(rng.random(22) < 0.5, 5), rng.integers(2, size=110), rng.integers(1, 3, size=110))
    values = values[:, None].astype(float)
    rows = Observations(values, sequence=sequence_of(LENGTHS))
    theta = model.start(rows, np.random.default_rng(0))
    peer = as_peer(peers.CategoricalHMM, theta)
    peer.params = "ste"
    peer.n_features = 3
    peer.emissionprob_ = theta.states.probability[:, 0]
    values = values.astype(int)
    agree_with(peer, model, theta, rows, values)
    new = batch_em(model, theta, rows, iterations=1)[0]
    peer.fit(values, LENGTHS)
    np.testing.assert_allclose(new.states.probability[:, 0], peer.emissionprob_, atol=1e-8)
    np.testing.assert_allclose(new.transition, peer.transmat_, atol=1e-8)


def agree_with(peer, model, theta, rows, values=None):
    values = rows.values if values is None else values
    likelihood, posterior = peer.score_samples(values, LENGTHS)
    expectation = model.expect(theta, rows)
    assert expectation.log_likelihood.sum() == pytest.approx(likelihood, rel=1e-8)
    np.testing.assert_allclose(model.smooth(theta, rows), posterior, atol=1e-8)
    log_probability, path = peer.decode(values, LENGTHS)
    ours, each = model.decode(theta, rows)
    np.testing.assert_array_equal(ours, path)
    assert each.sum() == pytest.approx(log_probability, rel=1e-8)


@pytest.mark.parametrize("cuts", [[1] * 60, [7, 20, 1, 32], [60]])
def test_without_learning_the_posteriors_are_the_same_for_any_cut_and_any_interleaving_of_keys(cuts):
    model, theta = HMM(states=3), parameters(3, columns=2)
    rng = np.random.default_rng(8)
    values, sequence = rng.normal(size=(60, 2)), rng.integers(4, size=60)
    whole = [model.posterior(theta, Observations(values[sequence == key]))[0] for key in range(4)]
    carry, told = Carry(), []
    for start, stop in zip(np.cumsum([0, *cuts]), np.cumsum(cuts), strict=False):
        told.append(carry.follow(model, theta, Observations(values[start:stop], sequence=sequence[start:stop])))
    assert sum(map(len, told)) == 60
    probabilities = np.concatenate([posterior.probabilities for posterior in told])
    likelihood = np.concatenate([posterior.log_likelihood for posterior in told])
    for key in range(4):
        np.testing.assert_allclose(probabilities[sequence == key], whole[key].probabilities, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(likelihood[sequence == key], whole[key].log_likelihood, rtol=1e-12)


def test_a_row_that_only_an_unreachable_state_likes_does_not_end_the_chain():
    transition = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    emissions = GaussianParameters(np.array([[0.0], [1.0], [60.0]]), np.ones((3, 1, 1)), np.ones(1))
    theta = ChainParameters(np.array([1.0, 0.0, 0.0]), transition, np.zeros(3), emissions)
    model = HMM(states=3, mask=((1, 1, 0), (0, 1, 1), (1, 0, 1)))
    found = model.expect(theta, Observations(np.array([[0.0], [61.0]])))
    expected = np.logaddexp(*stats.norm.logpdf(61.0, [0.0, 1.0])) + np.log(0.5)
    assert found.log_likelihood[1] == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(found.statistics.transition).all()


def test_em_keeps_the_zeros_of_a_mask_and_a_chain_from_left_to_right_is_numbered_by_its_order():
    rng = np.random.default_rng(0)
    means = np.repeat([5.0, -3.0, 1.0], [8, 6, 10])
    values = np.concatenate([means + rng.normal(size=24) for _ in range(30)])[:, None]
    rows = Observations(values, sequence=sequence_of([24] * 30))
    model = HMM(states=3, sequences="complete", transitions="left_to_right")
    theta = model.start(rows, rng)
    assert np.abs(theta.states.mean[:, 0] - [5.0, -3.0, 1.0]).max() < 0.3
    assert (np.tril(theta.transition, -1) == 0.0).all()
    banded = HMM(states=3, sequences="complete", mask=((1, 1, 0), (0, 1, 1), (1, 0, 1)))
    learned = batch_em(banded, banded.start(rows, rng), rows)[0]
    assert (learned.transition[np.array(banded.mask) == 0] == 0.0).all()
    assert (learned.transition[np.array(banded.mask) == 1] > 0.0).any()


def test_a_stream_learns_what_its_warm_up_did_not_show():
    """In the warm-up state 0 always goes over 1 to 2, and sequences begin in 0; then neither is so."""
    rng = np.random.default_rng(0)

    def batch(states, key):
        return Observations((6.0 * states + rng.normal(size=len(states)))[:, None], sequence=np.full(len(states), key))

    learner = OnlineEM(HMM(states=3), warmup_records=1500)
    learner.update(batch(np.tile(np.repeat([0, 1, 2, 1], 15), 25), 0))
    known = learner.snapshot.parameters
    assert min(known.transition.min(), known.initial.min()) > 1e-5  # EM never leaves a 0; without a pseudo-row 1e-37
    for key in range(1, 21):
        told = learner.update(batch(np.tile(np.repeat([2, 0], 25), 4), key))[0]
        assert told.log_likelihood.min() > -15.0  # 4 standard deviations, and a step of 1e-4
    learned = learner.snapshot.parameters
    low, _, high = np.argsort(learned.states.mean[:, 0])
    np.testing.assert_allclose(learned.states.mean[[low, high], 0], [0.0, 12.0], atol=0.3)
    assert min(learned.transition[low, high], learned.transition[high, low]) == pytest.approx(0.04, abs=0.01)
    assert learned.initial[high] > 0.8


@pytest.mark.parametrize("settings", [{"transitions": "left_to_right"}, {"mask": ((1, 1, 0), (0, 1, 1), (0, 0, 1))}])
def test_shares_of_complete_sequences_are_those_of_their_rows(settings):
    rng, model = np.random.default_rng(0), HMM(states=3, sequences="complete", **settings)

    def batch():
        stays = rng.geometric(0.12, size=(12, 3))
        means = np.repeat(np.tile([0.0, 6.0, 12.0], 12), stays.ravel())
        return Observations(rng.normal(means)[:, None], sequence=sequence_of(stays.sum(axis=1))), stays.sum(axis=0)

    learner, stayed = OnlineEM(model, warmup_records=300, certified=True), np.zeros(3)
    for _ in range(60):
        rows, stays = batch()
        learner.update(rows)
        stayed += stays
    summary = learner.snapshot.summary()
    assert summary["in_use"] == 3
    shares = [one["share"] for one in summary["components"]]
    np.testing.assert_allclose(shares, stayed / stayed.sum(), atol=0.03)
    again = Snapshot.from_json(json.loads(json.dumps(learner.snapshot.to_json())))
    assert [one["share"] for one in again.summary()["components"]] == shares
    together = combine([learner.snapshot, again]).summary()["components"]
    np.testing.assert_allclose([one["share"] for one in together], shares, rtol=1e-12)
    one, span = learner.snapshot.averaged, model.unit(1.0)
    drawn, exact = model.sampled(one, span, 20_000, rng), model.moments(one, span)
    np.testing.assert_allclose(drawn.weight, exact.weight, atol=0.01)
    assert learner.snapshot.certificate.violations == 0


def test_states_of_complete_sequences_are_numbered_by_their_rows():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(np.repeat([5.0, -5.0], [7, 3])) for _ in range(60)])[:, None]
    model = HMM(states=2, sequences="complete")
    theta = model.start(Observations(values, sequence=sequence_of([10] * 60)), np.random.default_rng(0))
    np.testing.assert_allclose(theta.share, [0.7, 0.3], atol=0.01)
    np.testing.assert_allclose(theta.states.mean[:, 0], [5.0, -5.0], atol=0.2)
    swapped = model.relabel(theta, np.array([1, 0]))
    np.testing.assert_array_equal(swapped.share, theta.share[::-1])


def test_sampled_inertia_of_chains_is_unbiased():
    for shape in SHAPES:
        model, theta = HMM(states=2, sequences=shape), parameters(2, leaving=0.2 if shape == "absorbing" else 0.0)
        span = model.span(Observations(np.zeros((30, 1)), sequence=sequence_of([10, 15, 5])))
        exact = model.moments(theta, span)
        drawn = model.sampled(theta, span, 100_000, np.random.default_rng(0))
        np.testing.assert_allclose(drawn.initial, exact.initial, atol=0.05)
        np.testing.assert_allclose(drawn.transition, exact.transition, atol=0.3)
        np.testing.assert_allclose(drawn.states.weight, exact.states.weight, atol=0.3)
        np.testing.assert_allclose(drawn.states.mean, exact.states.mean, atol=0.05)


def test_absorbing_chains_trained_on_shards_combine_to_one_global_step():
    model, theta = HMM(states=3, sequences="absorbing"), parameters(3, leaving=0.15, columns=2)
    rows, _ = model.sample(theta, 200, np.random.default_rng(1))
    begun = parameters(3, leaving=0.1, columns=2, seed=4)
    shards = [rows[rows.sequence % 10 == shard] for shard in range(10)]
    local = [batch_em(model, begun, shard, iterations=1)[0] for shard in shards]
    together = average(model, local, [len(np.unique(shard.sequence)) for shard in shards])
    step = batch_em(model, begun, rows, iterations=1)[0]
    np.testing.assert_allclose(together.transition, step.transition, rtol=1e-12)
    np.testing.assert_allclose(together.leaving, step.leaving, rtol=1e-12)
    np.testing.assert_allclose(together.initial, step.initial, rtol=1e-12)
    np.testing.assert_allclose(together.states.mean, step.states.mean, rtol=1e-12)
    np.testing.assert_allclose(together.states.covariance, step.states.covariance, rtol=1e-11)


def test_chains_that_learned_apart_combine_to_one_that_is_as_good_once_their_states_are_matched():
    rng = np.random.default_rng(3)
    truth = replace(parameters(4, columns=2, seed=3), initial=np.full(4, 0.25))
    truth = replace(truth, transition=0.8 * np.eye(4) + 0.2 * truth.transition)
    model = HMM(states=4)
    rows, _ = model.sample(truth, 1, rng, np.array([25_000]))
    apart = [model.start(rows[n : n + 4000], np.random.default_rng(n)) for n in range(0, 20_000, 4000)]
    apart = [model.relabel(theta, rng.permutation(4)) for theta in apart]

    def judged(theta):
        return model.posterior(theta, rows[20_000:])[0].log_likelihood.mean()

    matched = average(model, match(model, apart, [1.0] * 5), [1.0] * 5)
    assert judged(matched) > max(map(judged, apart)) - 1e-3
    assert judged(matched) > judged(truth) - 0.01
    assert judged(average(model, apart, [1.0] * 5)) < judged(matched) - 0.1


def test_states_that_look_alike_are_matched_by_how_they_follow_one_another():
    twins = GaussianParameters(np.array([[0.0], [0.0], [9.0]]), np.ones((3, 1, 1)), np.ones(1))
    transition = np.array([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.3, 0.0, 0.7]])
    theta = ChainParameters(np.full(3, 1 / 3), transition, np.zeros(3), twins)
    model = HMM(states=3)
    one, other = match(model, [theta, model.relabel(theta, np.array([1, 0, 2]))], [1.0, 1.0])
    np.testing.assert_array_equal(one.transition, other.transition)


def test_a_learner_of_an_endless_stream_goes_on_along_every_key():
    model, theta = HMM(states=2), parameters(2)
    first = Snapshot(model, theta, theta, 100, 100.0, 0, 0.0, 0.0)
    learner = OnlineEM(model, Constant(step_size=1e-12), start=first)
    rng = np.random.default_rng(2)
    values, sequence = rng.normal(size=(40, 1)), rng.integers(3, size=40)
    told = [learner.update(Observations(values[s : s + 8], sequence=sequence[s : s + 8]))[0] for s in range(0, 40, 8)]
    for key in range(3):
        expected = model.posterior(theta, Observations(values[sequence == key]))[0]
        found = np.concatenate([p.probabilities for p in told])[sequence == key]
        np.testing.assert_allclose(found, expected.probabilities, atol=1e-9)
    assert learner.posterior(Observations(values[:1])).log_likelihood.shape == (1,)
    assert learner.carry.take(np.array([0, 7]))["known"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("count", [1, 3])
def test_sequences_no_longer_than_what_a_start_averages_over_start_a_chain(count):
    rows = Observations(
        np.tile([[0.0], [1.0], [0.0], [9.0], [8.0], [9.0]], (count, 1)), sequence=np.arange(count).repeat(6)
    )
    found = HMM(states=2).start(rows, np.random.default_rng(0))
    assert sorted(found.states.mean[:, 0].round(2)) == [0.33, 8.67]

"""The driver: the warm-up, what an update leaves alone, what it counts."""

from dataclasses import replace

import numpy as np
import pytest

from streamem.em import (
    HMM,
    LDS,
    AnomalyRank,
    Gaussian,
    Kalman,
    Mixture,
    Observations,
    OnlineEM,
    SampledInertia,
    Snapshot,
    combine,
)
from streamem.em.certificate import Certificate, certify
from streamem.em.online import default_warmup
from streamem.errors import ConfigError, DataError, ModelError, SnapshotError
from tests import naive


def rows(count, seed=0, columns=2):
    rng = np.random.default_rng(seed)
    return Observations(rng.normal(size=(count, columns)) + rng.choice([-5.0, 5.0], size=(count, 1)))


def learner(**settings):
    return OnlineEM(**{"model": Mixture(components=2), "warmup_records": 250, "seed": 1} | settings)


def test_held_batches_leave_together_and_the_straddling_one_is_split():
    stream, one = rows(500), learner()
    told = [one.update(stream[s : s + 100]) for s in range(0, 500, 100)]
    assert [len(posteriors) for posteriors in told] == [0, 0, 3, 1, 1]
    assert [p.warmup.sum() for posteriors in told for p in posteriors] == [100, 100, 50, 0, 0]
    assert one.snapshot.records_seen == 500
    # the second half of the straddling batch was the first update
    assert one.snapshot.update == 3


def test_a_batch_larger_than_the_warmup_starts_and_learns_at_once():
    one = learner()
    (posterior,) = one.update(rows(400))
    assert posterior.warmup.sum() == 250
    assert (one.snapshot.records_seen, one.snapshot.update) == (400, 1)


def test_holding_is_said_and_an_early_end_is_an_error():
    one = learner()
    one.finish()
    one.update(rows(100))
    assert one.holding
    with pytest.raises(ModelError, match="found 100 records; wanted warmup_records: 250"):
        one.finish()
    with pytest.raises(ModelError, match="no parameters yet"):
        one.posterior(rows(3))


def test_an_exception_leaves_the_learner_as_it_was():
    one = learner()
    one.update(rows(300))
    before = one.snapshot
    with pytest.raises(ModelError, match="log-likelihood of -inf"):
        one.update(Observations(np.array([[1e200, 0.0]])))
    assert one.snapshot is before
    fresh = learner(warmup_records=3)
    with pytest.raises(ModelError, match="column 0 of the features: found 1 in all 3"):
        fresh.update(Observations(np.ones((3, 2))))
    assert not fresh.holding


def test_a_start_needs_as_many_different_rows_as_components():
    one = OnlineEM(Mixture(components=3), warmup_records=10)
    values = np.array([[0.0], [1.0]] * 5)
    with pytest.raises(ModelError, match="only 2 different records; wanted at least one for each of 3"):
        one.update(Observations(values))


def test_a_column_without_any_value_is_named():
    values = rows(10).values
    values[:, 1] = np.nan
    with pytest.raises(ModelError, match="column 1 of the features: found no value"):
        OnlineEM(Mixture(components=2), warmup_records=10).update(Observations(values))


def test_an_empty_batch_and_one_without_weight_teach_nothing():
    one = learner()
    one.update(rows(300))
    before = one.snapshot
    assert len(one.update(rows(0))[0]) == 0
    assert len(one.update(Observations(rows(5).values, np.zeros(5)))[0]) == 5
    assert one.snapshot is before


def test_a_posterior_learns_nothing():
    one = learner()
    one.update(rows(300))
    before = one.snapshot
    np.testing.assert_array_equal(one.posterior(rows(50, 2)).probabilities, one.update(rows(50, 2))[0].probabilities)
    assert before.update + 1 == one.snapshot.update


def test_missing_and_weighted_rows_can_start_a_model():
    stream = rows(400)
    values = np.where(np.random.default_rng(0).random(stream.values.shape) < 0.2, np.nan, stream.values)
    one = learner()
    one.update(Observations(values, np.random.default_rng(1).uniform(0.5, 2.0, size=400)))
    means = np.sort(one.snapshot.averaged.components.mean[:, 0])
    np.testing.assert_allclose(means, [-5.0, 5.0], atol=0.3)


@pytest.mark.parametrize(
    ("model", "columns", "expected"),
    [(Mixture(components=5), 2, 1000), (Mixture(components=16), 8, 4000), (Mixture(components=10), 784, 78_500)],
)
def test_the_default_warmup_grows_with_what_is_learned(model, columns, expected):
    assert default_warmup(model, columns) == expected


def test_ranks_tell_patterns_of_missing_values_apart_and_survive_a_restart():
    rng = np.random.default_rng(0)
    numbers, missing = rng.normal(size=900), rng.random((900, 2)) < 0.5
    one, out = AnomalyRank(window=120), []
    for start in range(0, 900, 60):
        if start == 480:
            one = AnomalyRank.from_arrays(*one.to_arrays())
        out.append(one.rank(numbers[start : start + 60], missing[start : start + 60]))
    out = np.concatenate(out)
    codes = missing @ [1, 2]
    for code in range(4):
        mine = codes == code
        np.testing.assert_array_equal(out[mine], naive.mid_ranks(numbers[mine], 120, 100))


def test_memory_for_ranks_is_bounded():
    one = AnomalyRank(window=100)
    patterns = (np.arange(200)[:, None] >> np.arange(8)) & 1 == 1
    for pattern in patterns:
        one.rank(np.zeros(1), pattern[None, :])
    assert len(one.windows) == 64


def snapshot(seed=0, components=2, **settings):
    one = OnlineEM(Mixture(components=components, **settings), warmup_records=200, seed=seed)
    one.update(rows(400, seed))
    return one.snapshot


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("format"), "format: found None"),
        (lambda r: r.update(format="streamem.snapshot/9"), "found 'streamem.snapshot/9'; wanted 'streamem.snapshot/1'"),
        (lambda r: r.pop("averaged"), "no 'averaged'"),
        (lambda r: r.update(parameters=3), "parameters that are int"),
        (lambda r: r.update(update=-1), "update: -1"),
        (lambda r: r.update(records_seen=1.5), "records_seen: 1.5"),
        (lambda r: r.update(model="mixture"), "'mixture' as a model"),
        (lambda r: r["model"].update(type="mixtur"), r"did you mean 'mixture'\?"),
        (lambda r: r["model"].update(komponents=2), "setting 'komponents'"),
        (lambda r: r["model"].update(components=3), "2 numbers with the sum 1; wanted 3 shares"),
        (lambda r: r["model"].update(components="2"), "components: '2'"),
        (lambda r: r["model"]["family"].update(covariance="diagonal"), r"covariance \(2, 2, 2\)"),
        (lambda r: r["parameters"].update(weights=[0.5, 0.6]), "sum 1.1"),
        (lambda r: r["parameters"]["components"].update(mean=[[1.0], [1.0, 2.0]]), "not an array"),
        (lambda r: r["parameters"]["components"].update(scale=[1.0, -1.0]), "not symmetric and positive"),
        (lambda r: r["parameters"]["components"]["mean"][0].__setitem__(0, float("nan")), "not finite"),
        (lambda r: r["parameters"]["components"]["covariance"][1].__setitem__(0, [-1.0, 0.0]), "not symmetric"),
    ],
)
def test_a_snapshot_that_is_not_one_is_refused_in_words(change, message):
    record = snapshot().to_json()
    change(record)
    with pytest.raises(SnapshotError, match=message):
        Snapshot.from_json(record)


def test_combining_refuses_what_does_not_fit():
    one = snapshot()
    with pytest.raises(ConfigError, match="no snapshots"):
        combine([])
    with pytest.raises(ConfigError, match=r"wanted 1 numbers >= 0"):
        combine([one], [1.0, 2.0])
    with pytest.raises(SnapshotError, match="snapshot 2: found components: 3; wanted 2, as the first one"):
        combine([one, snapshot(components=3)])
    with pytest.raises(SnapshotError, match=r"snapshot 2: found family\.covariance: tied; wanted full"):
        combine([one, snapshot(family=Gaussian(covariance="tied"))])


def test_models_trained_apart_combine_to_what_one_would_have_learned():
    parts = [snapshot(seed) for seed in range(5)]
    together = combine(parts)
    assert together.records_seen == 2000
    np.testing.assert_allclose(np.sort(together.averaged.components.mean[:, 0]), [-5.0, 5.0], atol=0.2)
    spread = together.summary()["components"][0]["sd"]
    np.testing.assert_allclose(spread, 1.0, atol=0.1)


def test_the_window_size_and_schedule_change_what_is_learned():
    from streamem.em import GrowingWindow, Power

    found = []
    for schedule in (GrowingWindow(), GrowingWindow(window_records=5.0), Power(), GrowingWindow(exponent=0.9)):
        one = learner(schedule=schedule)
        for seed in range(5):
            one.update(rows(300, seed))
        found.append(one.snapshot.parameters.components.mean[0, 0])
    assert len(set(found)) == 4


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_bits_do_not_depend_on_where_arrays_lie_in_memory(covariance):
    # found so, in one run of twenty: beside stores LLVM sums in another order where arrays lie close to each other
    layout, stream = np.random.default_rng(0), rows(600)
    found, kept = set(), []
    for _ in range(100):
        one, told = learner(model=Mixture(components=2, family=Gaussian(covariance=covariance)), warmup_records=150), []
        for start in range(0, 600, 100):
            kept = [*kept[-5:], bytearray(int(layout.integers(1, 9000)))]
            told += one.update(Observations(stream.values[start : start + 100].copy()))
        found.add(b"".join(np.ascontiguousarray(posterior.log_likelihood).tobytes() for posterior in told))
    assert len(found) == 1


@pytest.mark.parametrize("model", [HMM(states=3), HMM(states=4), HMM(states=5), Kalman(), LDS(state_size=3)], ids=repr)
def test_nor_do_those_of_chains_and_trackers(model):
    layout, stream = np.random.default_rng(0), rows(600)
    begun = OnlineEM(model, warmup_records=300)
    begun.update(stream[:300])
    found, kept = set(), []
    for _ in range(200):
        one, told = OnlineEM(model, start=begun.snapshot), []
        for start in range(300, 600, 100):
            kept = [*kept[-5:], bytearray(int(layout.integers(1, 9000)))]
            told += one.update(Observations(stream.values[start : start + 100].copy()))
        found.add(b"".join(np.ascontiguousarray(posterior.log_likelihood).tobytes() for posterior in told))
    assert len(found) == 1


def test_every_update_of_a_certified_learner_keeps_the_promise_and_counts():
    stream, one = rows(1000), learner(certified=True)
    for begin in range(0, 1000, 100):
        one.update(stream[begin : begin + 100])
    certificate = one.snapshot.certificate
    assert (certificate.updates, certificate.violations) == (one.snapshot.update, 0)
    assert certificate.slack > 0.0
    again = Snapshot.from_arrays(*one.snapshot.to_arrays())
    assert again.certificate == Snapshot.from_json(one.snapshot.to_json()).certificate == certificate
    assert learner().snapshot is None
    plain = learner()
    for begin in range(0, 1000, 100):
        plain.update(stream[begin : begin + 100])
    assert plain.snapshot.certificate is None
    assert "certificate" not in plain.snapshot.to_json()
    np.testing.assert_array_equal(plain.snapshot.averaged.weights, one.snapshot.averaged.weights)


def test_an_update_that_breaks_the_promise_is_counted():
    model = Mixture(components=2)
    theta = model.start(rows(300), np.random.default_rng(0))
    worse = model.start(Observations(rows(300).values + 3.0), np.random.default_rng(0))
    batch = rows(50, seed=2)
    likelihood = model.posterior(theta, batch)[0].log_likelihood
    found = certify(model, theta, worse, 0.1, batch, None, likelihood, Certificate(0.0, 4, 1))
    assert (found.updates, found.violations) == (5, 2)
    assert found.slack < 0.0


def test_an_update_in_which_a_floor_acts_is_not_judged():
    model = Mixture(components=1, family=Gaussian(covariance_floor=0.5))
    theta = model.start(rows(300), np.random.default_rng(0))
    batch = Observations(np.zeros((50, 2)))
    new = model.maximize(model.expect(theta, batch).statistics, theta)
    before = Certificate(0.25, 4, 1)
    likelihood = model.posterior(theta, batch)[0].log_likelihood
    assert certify(model, theta, new, 0.1, batch, None, likelihood, before) is before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inertia": SampledInertia(samples=50)}, "found sampled inertia; wanted exact inertia"),
        ({"model": Mixture(components=2, prior_records=1.0)}, "found a prior; wanted prior_records: 0"),
        ({"model": Kalman(gate_sigma=5.0)}, "found a gate, which takes values out; wanted no gate_sigma"),
        ({"model": LDS(state_size=1, gate_sigma=5.0)}, "found a gate, which takes values out; wanted no gate_sigma"),
    ],
)
def test_what_the_promise_does_not_hold_for_cannot_be_certified(settings, words):
    with pytest.raises(ConfigError, match=f"certificate: {words}"):
        learner(certified=True, **settings)


@pytest.mark.parametrize("begun", [False, True])
def test_a_sequence_numbered_far_beyond_all_others_is_refused_and_nothing_is_learned(begun):
    one = OnlineEM(HMM(states=2), warmup_records=200)
    if begun:
        one.update(rows(400))
    before, carry = one.snapshot, {name: array.copy() for name, array in one.carry.arrays.items()}
    with pytest.raises(DataError, match="sequence: found the number 1000000000000; wanted sequences numbered"):
        one.update(replace(rows(300), sequence=np.full(300, 10**12)))
    assert one.snapshot is before
    assert all(np.array_equal(array, one.carry.arrays[name]) for name, array in carry.items())
    one.update(replace(rows(300), sequence=np.full(300, 900_000)))


@pytest.mark.parametrize("wrong", [3, {"slack": 0.0}, {"slack": "a", "updates": 1, "violations": 0}])
def test_a_certificate_that_is_none_is_refused(wrong):
    one = learner(certified=True)
    one.update(rows(400))
    with pytest.raises(SnapshotError, match="snapshot: found"):
        Snapshot.from_json(one.snapshot.to_json() | {"certificate": wrong})

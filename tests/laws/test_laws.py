"""The laws of THEORY section 10, over every model of `cases`."""

from dataclasses import replace

import numpy as np
import pytest

from streamem.em import FAMILIES, MODELS, Carry, Constant, Mixture, Observations, OnlineEM, SampledInertia, Snapshot
from streamem.em.combine import average, match
from streamem.em.snapshot import combine
from streamem.em.start import batch_em
from streamem.errors import SnapshotError
from tests.laws.cases import CASES, ONE, WHOLE, flat

each_model = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# the same sums in another order, through an M-step
ROUNDING = 1e-9


def agree(one, other, tolerance=ROUNDING):
    np.testing.assert_allclose(flat(one), flat(other), rtol=tolerance, atol=tolerance)


def same(one, other):
    np.testing.assert_array_equal(one.log_likelihood, other.log_likelihood)
    assert one.columns
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name])


def snapshot(case, parameters):
    return Snapshot(case.model, parameters, parameters, 300, 300.0, 0, 0.0, 0.0)


def test_every_registered_model_and_family_is_under_the_laws():
    covered = {case.model.type for case in CASES}, {case.family for case in CASES} - {None}
    assert set(MODELS) - covered[0] == set()
    assert set(FAMILIES) - covered[1] == set()
    assert set(WHOLE) < set(FAMILIES)
    print(f"{len(CASES)} cases; without law 9: {WHOLE}")


@each_model
def test_1_the_moments_of_a_model_give_the_model_back(case):
    theta = case.parameters()
    for span in (case.model.unit(50.0), case.model.span(case.rows(30))):
        agree(case.model.maximize(case.model.moments(theta, span), theta), theta)


@each_model
def test_2_a_step_of_nothing_changes_nothing_and_a_whole_step_is_batch_em(case):
    theta, rows = case.parameters(), case.rows(200)
    found = case.model.expect(theta, rows).statistics
    moments = case.model.moments(theta, case.model.span(rows))
    agree(case.model.maximize(moments.blend(found, 1e-13), theta), theta)
    whole = case.model.maximize(moments.blend(found, 1.0), theta)
    agree(whole, batch_em(case.model, theta, rows, iterations=1)[0])


@each_model
@pytest.mark.parametrize("cut", [1, 64, 199])
def test_3_statistics_of_parts_add_to_those_of_the_whole(case, cut):
    theta, rows = case.parameters(), case.rows(200)
    whole = case.model.expect(theta, rows)
    cut = case.boundary(rows, cut)
    parts = [case.model.expect(theta, rows[:cut]), case.model.expect(theta, rows[cut:])]
    agree(
        case.model.maximize(parts[0].statistics + parts[1].statistics, theta),
        case.model.maximize(whole.statistics, theta),
    )
    both = np.concatenate([part.log_likelihood for part in parts])
    np.testing.assert_allclose(both, whole.log_likelihood, rtol=1e-12)


@each_model
def test_4_batch_em_never_lowers_the_likelihood(case):
    theta, rows = case.parameters(), case.rows(200 + 5 * case.columns)
    likelihoods = []
    for _ in range(30):
        theta, likelihood = batch_em(case.model, theta, rows, iterations=1)
        likelihoods.append(likelihood)
    gains = np.diff(likelihoods)
    assert len(gains) == 29
    assert (gains >= -1e-12 * np.abs(likelihoods[1:])).all()


@each_model
@pytest.mark.parametrize("gamma", [0.01, 0.3, 0.9])
def test_5_the_certificate_holds(case, gamma):
    theta = case.parameters()
    eta = gamma / (1.0 - gamma)
    for seed in range(10):
        rows = case.rows(50, seed=seed)
        expectation = case.model.expect(theta, rows)
        moments = case.model.moments(theta, case.model.span(rows))
        new = case.model.maximize(moments.blend(expectation.statistics, gamma), theta)
        before = -rows.mean(expectation.log_likelihood)
        after = -rows.mean(case.model.posterior(new, rows)[0].log_likelihood)
        divergence = case.model.relative_entropy(theta, new, case.model.span(rows))
        assert divergence >= -1e-12
        assert after + divergence / eta <= before + 1e-12 * abs(before)
        theta = new


@each_model
def test_6_relabelling_components_relabels_the_answer(case):
    theta, rows = case.parameters(), case.rows(100)
    order = case.order()
    moved = case.model.relabel(theta, order)
    one, other = case.model.posterior(theta, rows)[0], case.model.posterior(moved, rows)[0]
    for name, kind in case.model.tells.items():
        if kind == "label":
            np.testing.assert_allclose(other.probabilities, one.probabilities[:, order], atol=1e-13)
        elif kind != "index" and name != "probabilities":
            np.testing.assert_array_equal(other.columns[name], one.columns[name])
    np.testing.assert_allclose(other.log_likelihood, one.log_likelihood, rtol=1e-12, atol=1e-13)
    step = case.model.maximize(case.model.expect(moved, rows).statistics, moved)
    agree(step, case.model.relabel(case.model.maximize(case.model.expect(theta, rows).statistics, theta), order))


@each_model
def test_7_copies_combine_to_the_model_and_only_ratios_of_weights_count(case):
    theta, other = case.parameters(), case.parameters(seed=5)
    agree(average(case.model, [theta, theta, theta], [1.0, 2.0, 5.0]), theta)
    agree(average(case.model, [theta, other], [1.0, 3.0]), average(case.model, [theta, other], [10.0, 30.0]))
    shuffled = case.model.relabel(theta, case.order())
    agree(average(case.model, match(case.model, [theta, shuffled], [1.0, 1.0]), [1.0, 1.0]), theta)
    copies = [snapshot(case, theta), snapshot(case, shuffled)]
    if case.model.combinable:
        with pytest.raises(SnapshotError, match="has no coordinates of its own"):
            combine(copies)
    else:
        agree(combine(copies).averaged, theta)


@each_model
def test_8_a_weight_of_two_is_the_row_twice(case):
    theta, rows = case.parameters(), case.rows(60)
    weight = np.ones(60) if rows.weight is None else rows.weight
    few = case.boundary(rows, 20)
    doubled = replace(rows, weight=np.where(np.arange(60) < few, 2.0, 1.0) * weight)
    once = replace(rows, weight=weight)
    more = once[:few]
    if more.sequence is not None:
        more = replace(more, sequence=more.sequence + 1000)
    twice = Observations.concatenate([once, more])
    agree(
        case.model.maximize(case.model.expect(theta, doubled).statistics, theta),
        case.model.maximize(case.model.expect(theta, twice).statistics, theta),
    )


@pytest.mark.parametrize("case", [c for c in CASES if c.family not in WHOLE], ids=lambda case: case.name)
def test_9_a_missing_value_is_marginalised(case):
    theta, rows = case.parameters(), case.rows(40)
    rows = replace(rows, sequence=None if rows.sequence is None else np.arange(40))
    hidden = rows.values.copy()
    hidden[:, 0] = np.nan
    without = case.model.posterior(theta, replace(rows, values=hidden))[0].log_likelihood
    points, weights = case.support(theta)
    row = next(n for n in range(40) if not np.isnan(rows.values[n, 1:]).any())
    filled = np.tile(rows.values[row], (len(points), 1))
    filled[:, 0] = points
    exposure = None if rows.exposure is None else np.full(len(points), rows.exposure[row])
    sequence = None if rows.sequence is None else np.arange(len(points))
    time = None if rows.time is None else np.zeros(len(points))
    alone = Observations(filled, exposure=exposure, sequence=sequence, time=time)
    density = np.exp(case.model.posterior(theta, alone)[0].log_likelihood)
    np.testing.assert_allclose(np.log(density @ weights), without[row], rtol=1e-8, atol=1e-8)


@each_model
def test_10_later_records_never_change_an_earlier_posterior(case):
    rows = case.rows(600)
    learners = [OnlineEM(case.model, Constant(step_size=0.1), start=snapshot(case, case.parameters())) for _ in "ab"]
    long = [learners[0].update(rows[s : s + 100])[0] for s in range(0, 600, 100)]
    short = [learners[1].update(rows[s : s + 100])[0] for s in range(0, 300, 100)]
    assert len(short) == 3
    for one, other in zip(short, long, strict=False):
        same(one, other)


def warmup(case):
    """200 rows, or as many as two full covariances need."""
    return max(200, 2 * (case.columns + 1))


@each_model
@pytest.mark.parametrize("inertia", [None, SampledInertia(samples=50)])
def test_11_the_same_seed_gives_the_same_bits(case, inertia):
    extra = {} if inertia is None else {"inertia": inertia}
    learners = [OnlineEM(case.model, warmup_records=warmup(case), seed=3, **extra) for _ in "ab"]
    rows = case.rows(500)
    for learner in learners:
        for begin in range(0, 500, 90):
            learner.update(rows[begin : begin + 90])
    np.testing.assert_array_equal(*(flat(learner.snapshot.parameters) for learner in learners))
    np.testing.assert_array_equal(*(flat(learner.snapshot.averaged) for learner in learners))


@each_model
@pytest.mark.parametrize("form", ["json", "arrays"])
def test_12_save_load_and_go_on_is_to_go_on(case, form):
    rows = case.rows(700)
    learner = OnlineEM(case.model, warmup_records=warmup(case), seed=3)
    for begin in range(0, 400, 100):
        learner.update(rows[begin : begin + 100])
    saved = learner.snapshot
    loaded = Snapshot.from_json(saved.to_json()) if form == "json" else Snapshot.from_arrays(*saved.to_arrays())
    again = OnlineEM(case.model, seed=3, start=loaded)
    again.carry = Carry.from_arrays(*learner.carry.to_arrays())
    for begin in range(400, 700, 100):
        one, other = learner.update(rows[begin : begin + 100]), again.update(rows[begin : begin + 100])
        same(one[0], other[0])
    np.testing.assert_array_equal(flat(learner.snapshot.averaged), flat(again.snapshot.averaged))


@pytest.mark.parametrize("case", [case for case in CASES if case.order()[0] != 0], ids=lambda case: case.name)
def test_unmatched_copies_of_a_shuffled_model_do_not_combine_to_it(case):
    theta = case.parameters()
    shuffled = case.model.relabel(theta, case.order())
    assert not np.allclose(flat(average(case.model, [theta, shuffled], [1.0, 1.0])), flat(theta))


def test_sampled_inertia_is_unbiased():
    case = CASES[0]
    theta, rows = case.parameters(), case.rows(1)
    exact = case.model.moments(theta, case.model.span(rows))
    learner = OnlineEM(Mixture(components=3), inertia=SampledInertia(samples=200_000))
    found = learner.moments(theta, case.model.span(rows), 1)
    # standard errors of 200,000 draws
    np.testing.assert_allclose(found.weight, exact.weight, atol=5e-3)
    np.testing.assert_allclose(found.mean, exact.mean, atol=0.05)


def test_the_span_of_one_row_is_one():
    assert Observations(np.zeros((1, 2))).span() == ONE

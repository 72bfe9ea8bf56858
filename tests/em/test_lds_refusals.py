"""Matrices, rows and parameters that are not those of a linear dynamical system, and what it takes to start one."""

import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from streamem.em import Constant, Observations, OnlineEM, Snapshot
from streamem.em.combine import average
from streamem.em.lds import LDS
from streamem.em.linear import least_rows
from streamem.em.state_space import floored, unfit
from streamem.errors import ConfigError, ModelError, SnapshotError
from tests.em.joint import IDENTITY, parameters, rows_of


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

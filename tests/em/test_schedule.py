"""Step sizes against integrals and the paper's formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamem.em.schedule import (
    SCHEDULES,
    Constant,
    Cumulative,
    GrowingWindow,
    Moment,
    Power,
    averaging_step,
    first_window,
)
from tests import naive


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("half_life", [None, 50.0, 400.0, 5000.0])
@pytest.mark.parametrize(("seen", "added"), [(0.0, 100.0), (1000.0, 1000.0), (50_000.0, 100.0)])
def test_the_growing_window_integrates_its_rate(exponent, half_life, seen, added):
    schedule = GrowingWindow(exponent=exponent, half_life_records=half_life)
    step = schedule.step(Moment(seen, added, 1, 200.0))
    expected = -np.expm1(-naive.window_integral(seen, seen + added, 200.0, exponent, half_life))
    # the midpoint rule with 200,000 steps
    assert step == pytest.approx(expected, rel=1e-7)


@given(
    seen=st.floats(0.0, 1e6),
    parts=st.lists(st.floats(0.1, 1e4), min_size=2, max_size=5),
    half_life=st.none() | st.floats(10.0, 1e6),
)
@settings(max_examples=200, deadline=None)
def test_the_step_of_a_batch_is_the_composition_of_the_steps_of_its_parts(seen, parts, half_life):
    schedule = GrowingWindow(half_life_records=half_life)
    kept, at = 1.0, seen
    for part in parts:
        kept *= 1.0 - schedule.step(Moment(at, part, 1, 100.0))
        at += part
    whole = 1.0 - schedule.step(Moment(seen, sum(parts), 1, 100.0))
    assert kept == pytest.approx(whole, rel=1e-6, abs=1e-12)


def test_power_is_the_schedule_of_the_paper():
    schedule = Power(rate=0.5, exponent=0.9)
    eta = 0.5 / 7**0.9
    assert schedule.step(Moment(1e6, 1.0, 7, 100.0)) == pytest.approx(eta / (1 + eta))


def test_cumulative_weighs_every_record_the_same():
    kept = np.array([1.0])
    for n in range(1, 50):
        gamma = Cumulative().step(Moment(float(n), 1.0, n, 100.0))
        kept = np.append(kept * (1.0 - gamma), gamma)
    np.testing.assert_allclose(kept, 1.0 / 50)


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_a_half_life_bounds_the_window_of_every_schedule(kind):
    late = Moment(1e9, 100.0, 10**7, 100.0)
    bounded = SCHEDULES[kind](half_life_records=100.0).step(late)
    assert bounded >= 0.5 - 1e-12
    if kind != "constant":
        assert SCHEDULES[kind]().step(late) < 0.01


def test_constant_is_constant():
    assert {Constant(step_size=0.2).step(Moment(m, 10.0, 1, 100.0)) for m in (0.0, 1e6)} == {0.2}


def test_the_window_grows_from_its_first_size():
    assert GrowingWindow(window_records=50.0).step(Moment(0.0, 1.0, 1, 1e6)) == pytest.approx(1 / 50, rel=0.02)
    assert first_window(free_parameters=11, components=2, columns=2) == 22
    assert first_window(free_parameters=10779, components=7, columns=54) == 5775


def test_the_average_forgets_the_beginning():
    assert averaging_step(0.0, 10.0, None) == 1.0
    assert averaging_step(100.0, 100.0, None) == pytest.approx(1 - 0.5**3)
    assert averaging_step(1e9, 100.0, 100.0) == pytest.approx(0.5)

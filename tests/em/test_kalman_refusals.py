"""Times, settings, parameters and rows that are not those of a tracker."""

import numpy as np
import pytest

from streamem.em import Observations, OnlineEM
from streamem.em.dynamics import ORDERS
from streamem.em.kalman import Kalman
from streamem.errors import ConfigError, ModelError, SnapshotError
from tests.em.trackers import DYNAMICS, each_dynamics, parameters, tracker


def test_time_that_goes_back_is_an_error():
    model = tracker("constant_velocity")
    theta = parameters(model)
    values = np.zeros((3, 2))
    with pytest.raises(ModelError, match=r"record 3 of the batch: found -0.5 seconds after"):
        model.posterior(theta, Observations(values, time=np.array([0.0, 1.0, 0.5])))
    with pytest.raises(ModelError, match="found no time"):
        model.posterior(theta, Observations(values, time=np.array([0.0, np.nan, 0.5]), checked=True))
    left = model.posterior(theta, Observations(values, time=np.array([0.0, 1.0, 2.0])))[1]
    with pytest.raises(ModelError, match="do not go back"):
        model.posterior(theta, Observations(values[:1], time=np.array([1.5])), left)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("far", [1e200, 1e307])
def test_a_step_too_far_to_tell_is_an_error_without_a_warning(dynamics, far):
    model = tracker(dynamics)
    theta = parameters(model)
    rows = Observations(np.zeros((3, 2)), time=np.array([0.0, 1.0, far]))
    if ORDERS[dynamics] == 1:  # a straight line of noise can be as long
        assert np.isfinite(model.expect(theta, rows).log_likelihood).all()
        return
    with pytest.raises(ModelError, match="record 3 of the batch: found a log-likelihood of "):
        model.expect(theta, rows)


@pytest.mark.parametrize(("settings", "words"), [({}, "period"), ({"period": 86_400}, "fewer harmonics")])
def test_a_season_without_a_sensible_period_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Kalman(dynamics="seasonal", **settings)


@pytest.mark.parametrize("name", ["period", "harmonics"])
def test_a_part_of_a_season_without_a_season_is_refused(name):
    message = f"kalman: {name}: found 6 with local_trend; wanted dynamics seasonal with it. To do: take it out"
    with pytest.raises(ConfigError, match=message):
        Kalman(dynamics="local_trend", **{name: 6})


def test_parameters_of_another_tracker_are_refused():
    model = tracker("constant_velocity")
    theta = parameters(model)
    arrays = {name: getattr(theta, name) for name in theta.__dataclass_fields__}
    np.testing.assert_array_equal(model.assemble(arrays).noise, theta.noise)
    wrong = {
        "noise": -theta.noise,
        "scale": np.ones(2),
        "observation_covariance": np.ones((2, 2)),
        "initial_covariance": -np.eye(4),
        "initial_mean": np.full(4, np.nan),
    }
    for name, value in wrong.items():
        with pytest.raises(SnapshotError, match="parameters of the kalman"):
            model.assemble(arrays | {name: value})
    with pytest.raises(SnapshotError, match="a diagonal matrix"):
        model.assemble(arrays | {"observation_covariance": np.array([[1.0, 0.1], [0.1, 1.0]])})


@each_dynamics
def test_records_that_do_not_follow_one_another_show_no_noise(dynamics):
    model, rng = tracker(dynamics), np.random.default_rng(0)
    least = {"constant_velocity": 3, "local_trend": 3, "constant_acceleration": 4}.get(dynamics, 2)
    few = "no two" if least == 2 else f"at most {least - 1}"
    words = f"found {few} records of a sequence that follow one another; wanted at least {least}: "
    values = rng.normal(size=(300, 2))
    short = np.arange(300) // (least - 1)
    gaps = np.repeat(values, 2, axis=0)
    gaps[1::2] = np.nan
    for rows in (
        Observations(values[: least - 1]),
        Observations(values, sequence=short),
        Observations(gaps, sequence=np.repeat(short, 2)),
        Observations(values, time=np.sort(rng.integers(0, least - 1, 300)).astype(float)),
    ):
        with pytest.raises(ModelError, match=words):
            OnlineEM(model, warmup_records=len(rows)).update(rows)
    enough = Observations(values[:least], time=np.arange(float(least)))
    assert (model.start(enough, rng).noise > 0.0).all()

"""A wrong setting is refused under the name that the class has for it, and with the values that it may have there."""

import inspect

import pytest

import streamem.estimators
from streamem.em import Mixture
from streamem.errors import ConfigError
from streamem.estimators.settings import as_written
from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

CLASSES = [*(getattr(streamem.estimators, name) for name in streamem.estimators.__all__)]
ONLINE = [OnlineGaussianMixture, OnlineHMM]

NO_COUNT = [0, -1, 2.5, "x", True, [], float("nan")]
NO_SHARE = [-1.0, "x", True, [], float("nan")]

WRONG = {
    "n_components": [*NO_COUNT, None],
    "covariance_type": [0, None, [], "ful", "dag"],
    "covariance_floor": [*NO_SHARE, None, 1.0],
    "prior_records": [*NO_SHARE, None],
    "family": [0, None, [], "gausian", "product"],
    "transitions": [0, None, [], "ful"],
    "dynamics": [0, None, [], "constant_velocty", "seasonal"],
    "period": [-1, 2.5, "x", None],
    "harmonics": [-1, 2.5, "x", None],
    "observation_covariance_type": [0, None, [], "ful", "diag"],
    "gate_sigma": [0.0, -1.0, "x", []],
    "schedule": [0, "power", []],
    "warmup_records": NO_COUNT,
    "batch_size": [*NO_COUNT, None],
    "features": [0, "x", [], ["x", "x"], [[]]],
    "key": [[], {}],
    "time": [[], {}],
    "max_keys": NO_COUNT,
    "anomaly_window_records": [*NO_COUNT, 99],
    "seed": [-1, 2.5, "x", None],
    "tol": [-1.0, "x", None],
    "max_iter": NO_COUNT,
    "random_state": [-1, 2.5, "x", []],
}
"""Values that a setting of this name may have in no class."""

ELSEWHERE = {("dynamics", "seasonal"): "period"}
"""Settings that another one is wanted for."""


def wrong(classes):
    return [
        (kind, name, value) for kind in classes for name in inspect.signature(kind).parameters for value in WRONG[name]
    ]


@pytest.mark.parametrize(("kind", "name", "value"), wrong(CLASSES))
def test_the_class_and_the_setting_are_named_as_they_were_written(kind, name, value):
    named = ELSEWHERE.get((name, value), name) if isinstance(value, str) else name
    with pytest.raises(ConfigError, match=f"^{kind.__name__}: {named}: found "):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name", "value"), wrong(ONLINE))
def test_so_they_are_where_scikit_learn_has_them_checked(kind, name, value):
    with pytest.raises(ConfigError, match=f"^{kind.__name__}: {name}: found "):
        kind(**{name: value}).fit([[1.0], [2.0], [4.0], [5.0]])


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (
            "GaussianMixture",
            {"covariance_type": "dag"},
            r"did you mean 'diag'\?\); wanted one of full, tied, diag, sph",
        ),
        ("GaussianHMM", {"covariance_type": "spheric"}, r"did you mean 'spherical'\?"),
        (
            "KalmanTracker",
            {"observation_covariance_type": "diag"},
            r"did you mean 'diagonal'\?\); wanted one of 'diagonal'",
        ),
        ("Mixture", {"family": "gausian"}, r"did you mean 'gaussian'\?\); wanted one of gaussian, log_normal"),
        (
            "HMM",
            {"transitions": "left-to-right"},
            r"did you mean 'left_to_right'\?\); wanted one of 'full', 'left_to_right'",
        ),
    ],
)
def test_what_may_be_chosen_is_told_in_the_words_of_the_class(kind, settings, said):
    with pytest.raises(ConfigError, match=said):
        getattr(streamem.estimators, kind)(**settings)


def test_a_snapshot_loads_under_the_same_names():
    learner = OnlineGaussianMixture(2).fit([[1.0], [2.0], [4.0], [5.0]])
    with pytest.raises(ConfigError, match=r"^OnlineGaussianMixture: random_state: found -1"):
        OnlineGaussianMixture.from_snapshot(learner.snapshot_, random_state=-1)
    with pytest.raises(ConfigError, match=r"^GaussianMixture: warmup_records: found 0"):
        streamem.estimators.GaussianMixture.from_snapshot(learner.snapshot_, features=["x"], warmup_records=0)


def test_an_error_about_something_else_stays_as_it_is():
    with pytest.raises(ConfigError, match=r"^mixture: components: found 0"), as_written("KalmanTracker", ["period"]):
        Mixture(components=0)
    with pytest.raises(ConfigError, match=r"^no place$"), as_written("KalmanTracker", ["period"]):
        raise ConfigError("no place")

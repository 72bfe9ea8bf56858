"""What is wrong is told as scikit-learn's users expect, and changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from streamem.em import GrowingWindow, Mixture, Observations, OnlineEM, Poisson
from streamem.errors import ConfigError, DataError
from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

ESTIMATORS = [OnlineGaussianMixture, OnlineHMM]


WRONG = [
    ({"n_components": 0}, "n_components"),
    ({"covariance_type": "ful"}, "did you mean 'full'"),
    ({"prior_records": -1.0}, "prior_records"),
    ({"schedule": "fast"}, "schedule"),
    ({"warmup_records": 0}, "warmup_records"),
    ({"tol": -1.0}, "tol"),
    ({"max_iter": 0}, "max_iter"),
    ({"random_state": -1}, "random_state"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_wrong_setting_is_told_and_changes_nothing(kind, settings, said, rows):
    online = kind(2).fit(rows)
    before = dict(vars(online))
    online.set_params(**settings)
    with pytest.raises(ConfigError, match=said):
        online.fit(rows[:, :1])
    assert vars(online) == before | settings


def test_settings_that_are_one_estimators_own(rows):
    with pytest.raises(ConfigError, match="covariance_floor"):
        OnlineGaussianMixture(covariance_floor=2.0).fit(rows)
    for settings, said in (
        ({"family": "gausian"}, "did you mean 'gaussian'"),
        ({"family": "poisson", "covariance_type": "diag"}, "beside the family 'poisson'"),
        ({"transitions": "right"}, "transitions"),
    ):
        with pytest.raises(ConfigError, match=said):
            OnlineHMM(**settings).fit(rows)
    chain = OnlineHMM(3, transitions="left_to_right").fit(rows, lengths=[500, 500, 500])
    assert not np.tril(chain.transmat_, -1).any()


ROWS = {
    "infinite": lambda rows: np.where(rows > 8, np.inf, rows),
    "text": lambda rows: rows.astype(str).astype(object) + "x",
    "empty": lambda rows: rows[:0],
    "other columns": lambda rows: rows[:, :1],
    "too far": lambda rows: rows * 1e200,
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_rows_that_cannot_be_learned_are_value_errors_and_change_nothing(kind, case, rows):
    online = kind(2, warmup_records=300).partial_fit(rows[:400])
    before, snapshot = dict(vars(online)), online.snapshot_
    wrong = ROWS[case](rows)
    for call in (online.partial_fit, online.predict, online.score_samples):
        with pytest.raises(ValueError, match=r".+"):
            call(wrong)
    assert vars(online) == before
    assert online.snapshot_ is snapshot


def test_rows_and_lengths_that_do_not_fit_are_told(rows, counts):
    chain = OnlineHMM(2, family="poisson").fit(counts)
    before = dict(vars(chain))
    for wrong in (rows, -counts):
        for call in (chain.fit, chain.partial_fit, chain.predict):
            with pytest.raises(DataError, match="whole number"):
                call(wrong[:1200])
    for lengths in ([1200, 1], [1200, 0], [600.5, 599.5], [[1200]], ["a"], [], 1200):
        for call in (chain.fit, chain.partial_fit, chain.predict):
            with pytest.raises(DataError, match="lengths"):
                call(counts, lengths=lengths)
    with pytest.raises(DataError, match="weigh whole sequences"):
        chain.partial_fit(counts, sample_weight=np.arange(1200.0))
    assert vars(chain) == before
    with pytest.raises(DataError, match="fewer components"):
        OnlineGaussianMixture(5).fit(rows[:4])
    with pytest.raises(ValueError, match="Negative"):
        OnlineGaussianMixture(2).fit(rows, sample_weight=-np.ones(1500))


def test_snapshots_of_what_an_estimator_cannot_be_are_told(rows):
    mixture, chain = OnlineGaussianMixture(2).fit(rows).snapshot_, OnlineHMM(2).fit(rows).snapshot_
    counts = OnlineEM(Mixture(family=Poisson()), warmup_records=300)
    counts.update(Observations(np.abs(rows).round()))
    smoothed = replace(chain, model=replace(chain.model, smoothed=True))
    for kind, wrong in (
        (OnlineGaussianMixture, chain),
        (OnlineHMM, mixture),
        (OnlineGaussianMixture, counts.snapshot),
        (OnlineGaussianMixture, mixture.to_json()),
        (OnlineGaussianMixture, None),
        (OnlineHMM, smoothed),
    ):
        with pytest.raises(ConfigError, match="the snapshot: found"):
            kind.from_snapshot(wrong)


def test_another_model_is_not_learned_into_what_is_there_but_another_schedule_is_taken(rows):
    online = OnlineGaussianMixture(2).fit(rows)
    with pytest.raises(ConfigError, match="begin anew"):
        online.set_params(n_components=3).partial_fit(rows)
    online.set_params(n_components=2)
    slow, fast = clone(online).fit(rows), clone(online).fit(rows)
    fast.set_params(schedule=GrowingWindow(half_life_records=20)).partial_fit(rows[:100])
    slow.partial_fit(rows[:100])
    assert fast.snapshot_.step_size > 2 * slow.snapshot_.step_size

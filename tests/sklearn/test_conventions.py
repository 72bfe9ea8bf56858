"""What users of scikit-learn expect of an estimator: names, missing values, weights, pipelines, searches, frames."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamem.errors import ConfigError, DataError
from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

ESTIMATORS = [OnlineGaussianMixture, OnlineHMM]
SUMS = 1e-9  # relative: the same sums in another order


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_it_is_not_fitted_before_the_start_is_made(kind, rows):
    online = kind(2, warmup_records=300)
    asked = ("predict", "predict_proba", "transform", "score_samples", "score", "bic", "aic")
    for gathered in (0, 200):
        if gathered:
            online.partial_fit(rows[:gathered])
        for name in asked:
            with pytest.raises(NotFittedError, match="nothing learned" if not gathered else r"200 rows.*300"):
                getattr(online, name)(rows)
        with pytest.raises(NotFittedError):
            online.sample()
        assert not hasattr(online, "means_")
    online.partial_fit(rows[200:400])
    for name in asked:
        assert np.isfinite(getattr(online, name)(rows)).all()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_rows_that_wait_for_the_start_are_copies(kind, rows):
    batch, online, other = rows[:200].copy(), kind(2, warmup_records=300), kind(2, warmup_records=300)
    online.partial_fit(batch)
    batch[:] = 0.0
    online.partial_fit(rows[200:400])
    other.partial_fit(rows[:200]).partial_fit(rows[200:400])
    assert online.means_.tobytes() == other.means_.tobytes()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_missing_values_are_marginalised(kind, rows):
    holed = rows.copy()
    holed[::3, 0], holed[1::3, 1] = np.nan, np.nan
    online = kind(3).fit(holed)
    assert np.isfinite(online.score_samples(holed)).all()
    agree = np.mean(online.predict(holed[2::3]) == online.predict(rows)[2::3])
    assert agree > 0.95
    nothing = np.full((1, 2), np.nan)
    np.testing.assert_allclose(
        OnlineGaussianMixture(3).fit(holed).predict_proba(nothing)[0], OnlineGaussianMixture(3).fit(holed).weights_
    )


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_weight_of_two_counts_as_two(kind, rows):
    if kind is OnlineGaussianMixture:
        weighed = kind(3).fit(rows[:600], sample_weight=np.repeat([2.0, 1.0], 300))
        doubled = kind(3).fit(np.concatenate([rows[:300], rows[:600]]))
    else:
        weight = np.repeat([2.0, 1.0], 300)
        weighed = kind(3).fit(rows[:600], lengths=[300, 300], sample_weight=weight)
        doubled = kind(3).fit(np.concatenate([rows[:300], rows[:600]]), lengths=[300, 300, 300])
    np.testing.assert_allclose(np.sort(weighed.means_, axis=0), np.sort(doubled.means_, axis=0), atol=1e-2)
    unweighed = kind(3).fit(rows[:600])
    assert np.abs(np.sort(weighed.means_, axis=0) - np.sort(unweighed.means_, axis=0)).max() > 1e-3


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_is_drawn_has_the_means_and_comes_again_with_the_same_seed(kind, rows):
    online = kind(3).fit(rows)
    drawn, label = online.sample(6000)
    assert drawn.shape == (6000, 2)
    assert label.shape == (6000,)
    for k in range(3):
        np.testing.assert_allclose(drawn[label == k].mean(axis=0), online.means_[k], atol=0.15)
    np.testing.assert_array_equal(online.sample(6000)[0], drawn)
    online.set_params(random_state=1)
    assert (online.sample(6000)[0] != drawn).any()
    for wrong in (0, -1, 1.5, None):
        with pytest.raises(ConfigError, match="n_samples"):
            online.sample(wrong)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_it_works_in_pipelines_searches_and_frames(kind, rows):
    frame = pd.DataFrame(rows, columns=["speed", "flow"])
    online = kind(3)
    steps = make_pipeline(StandardScaler(), online).set_output(transform="pandas")
    shares = steps.fit(frame).transform(frame)
    name = kind.__name__.lower()
    assert list(shares.columns) == [f"{name}{k}" for k in range(3)]
    assert list(online.feature_names_in_) == ["speed", "flow"]
    assert online.n_features_in_ == 2
    with pytest.raises(ValueError, match="feature names"):
        online.predict(frame[["flow", "speed"]])
    search = GridSearchCV(steps, {f"{name}__n_components": [1, 3], f"{name}__covariance_type": ["full", "diag"]}, cv=3)
    assert search.fit(frame).best_params_[f"{name}__n_components"] == 3


def test_lengths_reach_an_hmm_in_a_pipeline_and_as_y_they_are_refused(rows):
    steps = make_pipeline(StandardScaler(), OnlineHMM(2))
    steps.fit(rows, onlinehmm__lengths=[1000, 500])
    alone = OnlineHMM(2).fit(StandardScaler().fit_transform(rows), lengths=[1000, 500])
    np.testing.assert_array_equal(steps[-1].transmat_, alone.transmat_)
    for call in (alone.fit, alone.partial_fit, alone.score):
        with pytest.raises(DataError, match=r"y: found 2 values for 1500 rows.*lengths"):
            call(rows, [1000, 500])


def test_sequences_with_lengths_begin_and_end_while_the_others_go_on(rows):
    online = OnlineHMM(3, warmup_records=300).partial_fit(rows[:200], lengths=[120, 80])
    online.partial_fit(rows[200:400], lengths=[200])
    carry = online.learner_.carry
    assert not carry.arrays["known"].any()
    online.partial_fit(rows[400:500])
    assert carry.arrays["known"].nonzero()[0].tolist() == [0]
    left = carry.arrays["state"][0].copy()
    online.partial_fit(rows[500:600], lengths=[50, 50])
    np.testing.assert_array_equal(carry.arrays["state"][0], left)
    assert carry.arrays["known"].nonzero()[0].tolist() == [0]
    together, apart = (OnlineHMM(3, warmup_records=300) for _ in range(2))
    together.partial_fit(rows[:300], lengths=[100, 200])
    apart.partial_fit(rows[:100], lengths=[100]).partial_fit(rows[100:300], lengths=[200])
    np.testing.assert_allclose(together.transmat_, apart.transmat_, rtol=SUMS)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_partial_fit_goes_on_after_fit(kind, rows):
    online = kind(3).fit(rows[:1000])
    before = online.means_
    online.partial_fit(rows[1000:])
    assert 0.0 < np.abs(online.means_ - before).max() < 0.5
    assert online.snapshot_.records_seen == 1500
    if kind is OnlineHMM:
        assert online.learner_.carry.arrays["known"].tolist() == [1.0]


def test_settings_of_fit_change_it(rows):
    once = OnlineGaussianMixture(3, max_iter=1, warmup_records=50).fit(rows)
    assert (once.n_iter_, once.converged_) == (1, False)
    long = OnlineGaussianMixture(3, warmup_records=50).fit(rows)
    short = OnlineGaussianMixture(3, tol=1.0, warmup_records=50).fit(rows)
    assert short.n_iter_ == 2 < long.n_iter_
    draws = {OnlineGaussianMixture(3, warmup_records=50, random_state=None).fit(rows).lower_bound_ for _ in range(4)}
    assert len(draws) > 1


def test_random_numbers_of_others_are_drawn_once_and_not_by_partial_fit(rows):
    online = OnlineGaussianMixture(3, random_state=np.random.RandomState(4), warmup_records=100).partial_fit(rows[:200])
    seed, state = online.learner_.seed, online.random_state.get_state()[1].copy()
    online.partial_fit(rows[200:])
    assert online.learner_.seed == seed
    np.testing.assert_array_equal(online.random_state.get_state()[1], state)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_pickle_goes_on_with_the_same_bits(kind, rows):
    for count in (100, 400):  # while rows are held, and later
        online = kind(3, warmup_records=300).partial_fit(rows[:count])
        again = pickle.loads(pickle.dumps(online))
        for one in (online, again):
            one.partial_fit(rows[count : count + 300])
        assert again.snapshot_.to_json() == online.snapshot_.to_json()
        assert again.learner_.carry.to_arrays()[1].keys() == online.learner_.carry.to_arrays()[1].keys()

"""The estimators for scikit-learn: its own checks, the same bits as a pipeline's, and what its users expect."""

import json
import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hmmlearn.hmm import GaussianHMM, PoissonHMM
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from streamem.cli import main
from streamem.em import GrowingWindow, Poisson, Snapshot
from streamem.errors import ConfigError, DataError
from streamem.estimators.fitted import fitted_attributes
from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

ESTIMATORS = [OnlineGaussianMixture, OnlineHMM]
SUMS = 1e-9  # relative: the same sums in another order
FITS = 1e-2  # of two fits that ended within their tolerances of one optimum

NARROW = {"check_sample_weight_equivalence_on_dense_data": "15 rows in 30 columns: no covariance is the likeliest"}
CHAINED = dict.fromkeys(
    ("check_sample_weights_not_overwritten", "check_sample_weight_equivalence_on_dense_data"),
    "it weighs rows one by one; a sequence has one weight, for its rows only make sense together",
)
CHECKED = [
    (OnlineGaussianMixture(), NARROW),
    (OnlineGaussianMixture(covariance_type="diag"), {}),
    (OnlineGaussianMixture(2, prior_records=1.0), {}),
    (OnlineHMM(), CHAINED),
    (OnlineHMM(2, prior_records=1.0), CHAINED),
]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    state = np.repeat(rng.choice(3, size=75), 20)
    return np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 7.0]])[state] + rng.normal(size=(1500, 2))


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(6)
    return rng.poisson(np.repeat(rng.choice([2.0, 20.0], size=60), 20)[:, None] * [1.0, 3.0])


@pytest.mark.parametrize(("estimator", "expected"), CHECKED, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EstimatorCheckFailedWarning")
def test_scikit_learns_own_checks_pass(estimator, expected, capsys):
    found = check_estimator(estimator, expected_failed_checks=expected, on_skip=None)
    tally = Counter(one["status"] for one in found)
    with capsys.disabled():
        print(f"\ncheck_estimator({estimator}): {len(found)} checks, {dict(tally)}")
        for one in found:
            if one["status"] in ("xfail", "skipped"):
                reason = one["exception"] if one["status"] == "skipped" else one["expected_to_fail_reason"]
                print(f"  {one['status']} {one['check_name']}: {reason}")
    assert tally["passed"] >= 50
    assert tally["failed"] == 0
    assert {one["check_name"] for one in found if one["status"] == "xfail"} == set(expected)
    assert {one["check_name"] for one in found if one["status"] == "skipped"} <= {"check_array_api_input"}


# ------------------------------------------------------------------------------------------ as a pipeline


def piped(folder, frame, model, operator=""):
    """Run a pipeline over a frame, cut to 100 records, and return its snapshots: one a batch."""
    folder.mkdir()
    frame.write_csv(folder / "rows.csv")
    (folder / "p.yaml").write_text(f"""
name: p
source: {{type: files, paths: [{folder}/rows.csv]}}
batch: {{max_records: 100}}
operators:
  - {{type: learn, name: m, features: [a, b], model: {model}, warmup_records: 250, seed: 3{operator}}}
outputs:
  - {{what: snapshots, every_batches: 1, sink: {{type: files, path: {folder}/snapshots.ndjson}}}}
checkpoint: {{path: {folder}/state}}
""")
    with pytest.raises(SystemExit) as left:
        main(["run", str(folder / "p.yaml"), "--quiet"])
    assert not left.value.code
    lines = (folder / "snapshots.ndjson").read_text().splitlines()
    return [Snapshot.from_json(json.loads(line)) for line in lines]


SAME_CUTS = {
    "full": (OnlineGaussianMixture(3), "{type: mixture, components: 3}"),
    "spherical": (
        OnlineGaussianMixture(2, covariance_type="spherical", prior_records=2.0),
        "{type: mixture, components: 2, prior_records: 2, family: {type: gaussian, covariance: spherical}}",
    ),
    "weighted": (OnlineGaussianMixture(3), "{type: mixture, components: 3}"),
    "hmm": (OnlineHMM(3), "{type: hmm, states: 3}"),
    "tied hmm": (
        OnlineHMM(2, covariance_type="tied", schedule=GrowingWindow(half_life_records=500)),
        "{type: hmm, states: 2, family: {type: gaussian, covariance: tied}}",
    ),
}


@pytest.mark.parametrize("case", SAME_CUTS)
def test_partial_fit_over_batches_equals_the_snapshots_of_a_pipeline_to_the_bit(case, rows, tmp_path):
    estimator, model = SAME_CUTS[case]
    frame = pl.DataFrame({"a": rows[:, 0], "b": rows[:, 1]})
    frame = frame.with_columns(b=pl.when(pl.int_range(pl.len()) % 17 > 0).then("b"))  # and some are missing
    weight = np.random.default_rng(1).integers(0, 4, size=1500) if case == "weighted" else None
    settings = ", weight: w" if case == "weighted" else ""
    if estimator.schedule is not None:
        settings += ", schedule: {type: growing_window, half_life_records: 500}"
    written = frame if weight is None else frame.with_columns(w=weight)
    snapshots = {one.records_seen: one for one in piped(tmp_path / "p", written, model, settings)}
    online = clone(estimator).set_params(warmup_records=250, random_state=3)
    compared = 0
    for start in range(0, 1500, 100):
        online.partial_fit(
            frame[start : start + 100], sample_weight=None if weight is None else weight[start : start + 100]
        )
        if online.learner_.holding:
            continue
        theirs = snapshots[start + 100]
        assert online.snapshot_.to_json() == theirs.to_json()
        for name, array in fitted_attributes(theirs.model, theirs.averaged).items():
            assert getattr(online, name).tobytes() == array.tobytes()
        compared += 1
    assert compared == len(snapshots) == 13


# ------------------------------------------------------------------------------------------ beside the peers


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_fit_finds_what_scikit_learn_finds(rows, kind):
    ours = OnlineGaussianMixture(3, covariance_type=kind).fit(rows)
    theirs = GaussianMixture(3, covariance_type=kind, tol=1e-6, max_iter=500, n_init=5, random_state=0).fit(rows)
    assert ours.converged_
    assert ours.score(rows) == pytest.approx(theirs.score(rows), abs=1e-4)
    assert ours.lower_bound_ == pytest.approx(ours.score(rows), abs=1e-4)
    assert ours.bic(rows) == pytest.approx(theirs.bic(rows), rel=1e-4)
    assert ours.aic(rows) == pytest.approx(theirs.aic(rows), rel=1e-4)
    mine, other = np.argsort(ours.means_[:, 0] + ours.means_[:, 1]), np.argsort(theirs.means_ @ [1, 1])
    np.testing.assert_allclose(ours.means_[mine], theirs.means_[other], atol=FITS)
    assert ours.covariances_.shape == theirs.covariances_.shape


def test_an_hmm_finds_what_hmmlearn_finds_in_several_sequences(rows, counts):
    lengths = [300, 700, 500]
    ours = OnlineHMM(3, covariance_type="diag").fit(rows, lengths=lengths)
    theirs = GaussianHMM(3, covariance_type="diag", n_iter=200, tol=1e-6, min_covar=0, covars_prior=0, covars_weight=0)
    theirs.startprob_ = ours.startprob_
    theirs.transmat_, theirs.means_, theirs.covars_ = ours.transmat_, ours.means_, ours.covariances_
    assert ours.score(rows, lengths=lengths) == pytest.approx(theirs.score(rows, lengths), rel=SUMS)
    np.testing.assert_allclose(ours.predict_proba(rows, lengths), theirs.predict_proba(rows, lengths), atol=SUMS)
    assert (ours.predict(rows, lengths) == theirs.predict(rows, lengths)).all()
    assert ours.decode(rows, lengths)[0] == pytest.approx(theirs.decode(rows, lengths)[0], rel=SUMS)
    theirs.init_params = ""
    better = theirs.fit(rows, lengths).score(rows, lengths) - ours.score(rows, lengths=lengths)
    assert better < 1e-3 * len(rows)
    of_counts = OnlineHMM(2, family=Poisson()).fit(counts)
    peer = PoissonHMM(2, random_state=0, n_iter=200).fit(counts)
    np.testing.assert_allclose(np.sort(of_counts.lambdas_, axis=0), np.sort(peer.lambdas_, axis=0), rtol=FITS)
    assert of_counts.bic(counts) == pytest.approx(peer.bic(counts), rel=FITS)
    assert of_counts.aic(counts) < of_counts.bic(counts)


def test_a_fit_to_many_rows_starts_from_some_of_all_over_them(rows):
    """These are sorted by cluster: a start from the first 400 ends 0.3 and 0.6 nats a row lower."""
    sorted_rows = rows[np.argsort(rows @ [1.0, -1.0])]
    for online in (OnlineGaussianMixture(3, warmup_records=400), OnlineHMM(3, warmup_records=400)):
        whole = clone(online).set_params(warmup_records=1500)
        assert online.fit(sorted_rows).lower_bound_ == pytest.approx(whole.fit(sorted_rows).lower_bound_, abs=FITS)


# ------------------------------------------------------------------------------------------ conventions


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


WRONG = [
    ({"n_components": 0}, "components|states"),
    ({"covariance_type": "ful"}, "did you mean 'full'"),
    ({"prior_records": -1.0}, "prior_records"),
    ({"schedule": "fast"}, "schedule"),
    ({"warmup_records": 0}, "warmup_records"),
    ({"tol": -1.0}, "tol"),
    ({"max_iter": 0}, "max_iter"),
    ({"random_state": -1}, "seed"),
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


def test_another_model_is_not_learned_into_what_is_there_but_another_schedule_is_taken(rows):
    online = OnlineGaussianMixture(2).fit(rows)
    with pytest.raises(ConfigError, match="begin anew"):
        online.set_params(n_components=3).partial_fit(rows)
    online.set_params(n_components=2)
    slow, fast = clone(online).fit(rows), clone(online).fit(rows)
    fast.set_params(schedule=GrowingWindow(half_life_records=20)).partial_fit(rows[:100])
    slow.partial_fit(rows[:100])
    assert fast.snapshot_.step_size > 2 * slow.snapshot_.step_size


def test_settings_of_fit_change_it(rows):
    once = OnlineGaussianMixture(3, max_iter=1, warmup_records=50).fit(rows)
    assert (once.n_iter_, once.converged_) == (1, False)
    long = OnlineGaussianMixture(3, warmup_records=50).fit(rows)
    short = OnlineGaussianMixture(3, tol=1.0, warmup_records=50).fit(rows)
    assert short.n_iter_ == 2 < long.n_iter_
    draws = {OnlineGaussianMixture(3, warmup_records=50, random_state=None).fit(rows).n_iter_ for _ in range(8)}
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


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys\nsys.modules['sklearn'] = None\n"
        "from streamem.errors import ConfigError\n"
        "try:\n    import streamem.sklearn\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'streamem[sklearn]'" in ran.stdout

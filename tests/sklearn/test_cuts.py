"""On the same cuts an estimator and a pipeline learn the same bits."""

import json

import numpy as np
import polars as pl
import pytest
from hmmlearn.hmm import GaussianHMM
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from streamem.cli import main
from streamem.em import GrowingWindow, Observations, Snapshot
from streamem.estimators.fitted import fitted_attributes, snapshot_of
from streamem.sklearn import OnlineGaussianMixture, OnlineHMM

SUMS = 1e-9  # relative: the same sums in another order


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


@pytest.mark.parametrize("case", SAME_CUTS)
def test_a_snapshot_of_a_pipeline_predicts_the_same_bits_and_mixtures_go_on_with_them(case, rows, tmp_path):
    estimator, model = SAME_CUTS[case]
    settings = ""
    if estimator.schedule is not None:
        settings = ", schedule: {type: growing_window, half_life_records: 500}"
    snapshots = piped(tmp_path / "p", pl.DataFrame({"a": rows[:, 0], "b": rows[:, 1]}), model, settings)
    before, last = snapshots[-2:]
    online = type(estimator).from_snapshot(before, schedule=estimator.schedule)
    told = before.posterior(Observations(rows))
    assert online.score_samples(rows).tobytes() == told.log_likelihood.tobytes()
    if isinstance(online, OnlineGaussianMixture):
        assert online.predict_proba(rows).tobytes() == np.ascontiguousarray(told.probabilities).tobytes()
        # of a chain the snapshot does not say in which state the sequence is
        assert online.partial_fit(rows[-100:]).snapshot_.to_json() == last.to_json()
    assert online.get_params()["n_components"] == estimator.n_components
    assert clone(online)._model() == before.model


def test_fits_of_scikit_learn_and_hmmlearn_are_taken_up(rows):
    theirs = GaussianMixture(3, covariance_type="diag", random_state=0).fit(rows)
    online = OnlineGaussianMixture.from_snapshot(snapshot_of(theirs))
    np.testing.assert_allclose(online.score_samples(rows), theirs.score_samples(rows), rtol=SUMS)
    assert online.covariance_type == "diag"
    chain = GaussianHMM(2, random_state=0).fit(rows)
    assert OnlineHMM.from_snapshot(snapshot_of(chain)).score(rows) == pytest.approx(chain.score(rows), rel=SUMS)

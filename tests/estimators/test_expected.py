"""Scores of records whose like was hardly learned: what the model expects takes the place of what was seen."""

import json

import numpy as np
import pandas as pd
import pytest

from streamem.em.anomaly import PATTERNS
from streamem.estimators import CompoundDirichlet, GaussianHMM, GaussianMixture, Mixture
from tests.estimators.streams import LABELLED, records, small


def learned(kind, rows, **settings):
    model = kind(warmup_records=200, **settings)
    for row in rows:
        model.learn_one(row)
    model.flush()
    return model


def chain(count, seed, stay=0.95):
    """Return records of a chain of two states, each with two features."""
    rng = np.random.default_rng(seed)
    states = np.cumsum(rng.random(count) > stay) % 2
    values = rng.normal(size=(count, 2)) + np.outer(states, [3.0, 2.0])
    return [{"a": a, "b": b} for a, b in values.tolist()]


@pytest.mark.parametrize("kind", [GaussianMixture, GaussianHMM])
def test_scores_without_a_feature_that_was_never_missing_are_ranks_too(kind):
    rows = chain(4000, seed=1)
    model = learned(kind, rows[:2000], n_components=2)
    found = []
    for row in rows[2000:]:
        found.append(model.score_one({"a": row["a"]}))
        model.learn_one(row)
    # of 2,000 uniform numbers, and 1,000 drawn ones to rank them among
    assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.06)
    assert model.score_one({"a": 40.0}) > model.score_one({"a": 30.0}) > 0.999
    assert model.score_one({"a": None, "b": None}) == 0.0


@pytest.mark.parametrize("kind", LABELLED, ids=lambda kind: kind.__name__)
def test_what_is_expected_changes_nothing_and_is_told_of_frames_the_same(kind):
    model = small(kind)
    for row in records(kind, 200):
        model.learn_one(row)
    model.flush()
    before = model.to_json()
    row = records(kind, 1, seed=2)[0]
    del row["b"]
    found = model.score_one(row)
    frame = pd.DataFrame([row, row], columns=["a", "b", "c"])
    assert model.score_many(frame)[0] == pytest.approx(found, abs=1e-9)
    assert model.score_one(row) == found == kind.from_json(before).score_one(row)
    assert model.to_json() == before


def test_records_that_all_lack_something_else_do_not_pile_up():
    rng = np.random.default_rng(0)
    names = [f"x{n}" for n in range(9)]
    rows = [dict(zip(names, row, strict=True)) for row in rng.normal(size=(400, 9)).tolist()]
    model = learned(GaussianMixture, rows, n_components=1)
    for number in range(1, 2**9 - 1):
        left = {name: 0.0 for place, name in enumerate(names) if number >> place & 1}
        assert 0.0 <= model.score_one(left) < 0.9
        assert len(model._windows) <= 2 * PATTERNS


def test_of_counts_in_all_the_model_expects_nothing():
    """A record of fifty words is no single draw."""
    rng = np.random.default_rng(0)
    rows = [dict(zip("abc", row, strict=True)) for row in rng.multinomial(50, [0.2, 0.3, 0.5], size=300).tolist()]
    for model in (CompoundDirichlet(1, warmup_records=60), Mixture(1, "multinomial", warmup_records=60)):
        for row in rows[:60]:
            model.learn_one(row)
        assert model.score_one(rows[60]) == 0.0
        for row in rows[60:]:
            model.learn_one(row)
        model.flush()
        assert 0.0 < np.median([model.score_one(row) for row in rows]) < 1.0


def test_what_an_estimator_was_read_from_stays_as_it_was():
    model = GaussianHMM(1, key="k", warmup_records=8, batch_size=8)
    for n in range(12):
        model.learn_one({"k": "a", "x": float(n)})
    record = model.to_json()
    before = json.dumps(record)
    GaussianHMM.from_json(record).learn_one({"k": "a", "x": 1.0})
    assert json.dumps(record) == before

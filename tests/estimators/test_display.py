"""The table in a notebook, for whatever a snapshot can hold."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from streamem.em import LDS, MODELS, Observations, OnlineEM
from streamem.estimators.display import html_table
from tests.em.models import every_model

NAMES = ["a", "b"]
EVERY = every_model(components=2)


def learned(model):
    """Return what a model has learned of counts, or of yes and no."""
    rows = np.random.default_rng(1).integers(1, 4, size=(300, 2)).astype(float)
    if model.type in ("mixture", "hmm") and model.family.type == "bernoulli":
        rows -= 1.0
        rows = np.minimum(rows, 1.0)
    learner = OnlineEM(model, warmup_records=300)
    learner.update(Observations(rows))
    return learner.snapshot


def cells(page):
    """Return the rows of a table as lists of text, the titles first, and its caption."""
    table = ElementTree.fromstring(page)
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")], table.find("caption").text


def test_every_model_is_among_them():
    assert {model.type for model in EVERY} == set(MODELS)


@pytest.mark.parametrize("model", EVERY, ids=lambda model: f"{model.type}-{getattr(model, 'family', model)}"[:60])
def test_whatever_is_learned_is_shown_in_numbers(model):
    page = html_table(learned(model), NAMES, 0)
    (titles, *rows), caption = cells(page)
    assert titles[-2:] == NAMES
    assert caption == f"{model.type} after 300 records, 0 updates"
    assert len(rows) >= 2
    for row in rows:
        assert all(re.search(r"\d|sd|noise|eigen", cell) for cell in row), row
        assert len(row) == len(titles) or row[0] in ("eigenvalues", "state sd")


def test_what_belongs_to_no_feature_is_told_besides():
    rows, _ = cells(html_table(learned(LDS(state_size=3)), NAMES, 0))
    assert [row[0] for row in rows] == ["", "eigenvalues", "state sd", "observation sd"]
    assert [row[1].count(",") for row in rows[1:]] == [2, 2, 0]

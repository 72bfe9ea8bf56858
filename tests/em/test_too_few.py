"""Rows that are too few for the warm-up: what is advised works, or what is wanted is told."""

import re

import numpy as np
import pytest

from streamem.em import HMM, LDS, MODELS, Mixture, Observations, OnlineEM
from streamem.errors import ModelError
from tests.em.models import every_model

EVERY = [
    *every_model(components=3),
    Mixture(components=3, prior_records=2.0),
    HMM(states=2, sequences="complete"),
    LDS(state_size=5),
]
NUMBERS = (1, 2, 3, 5, 8, 9, 40)


def batches(model, count):
    """Return so many rows of counts, or of yes and no, in batches of four."""
    rows = np.random.default_rng(count).integers(1, 9, size=(count, 2)).astype(float)
    if model.type in ("mixture", "hmm") and model.family.type == "bernoulli":
        rows = (rows > 4).astype(float)
    return [Observations(rows[start : start + 4]) for start in range(0, count, 4)]


def ended(model, count, warmup):
    """Return a learner that was given so many rows, and what it says at their end."""
    learner = OnlineEM(model, warmup_records=warmup)
    for batch in batches(model, count):
        learner.update(batch)
    try:
        learner.finish()
    except ModelError as error:
        return learner, str(error)
    return learner, ""


def test_every_model_is_among_them():
    assert {model.type for model in EVERY} == set(MODELS)


@pytest.mark.parametrize("count", NUMBERS)
@pytest.mark.parametrize("model", EVERY, ids=lambda model: f"{model.type}-{getattr(model, 'family', model)}"[:60])
def test_the_advice_works_or_what_the_start_wants_is_told(model, count):
    learner, said = ended(model, count, 1000)
    assert f"the warm-up: found {count} records; wanted warmup_records: 1000 to start from." in said
    assert learner.held
    assert learner.snapshot is None
    advised = re.search(r"set warmup_records to (\d+), or give more records", said)
    if advised:
        begun, nothing = ended(model, count, int(advised[1]))
        assert nothing == ""
        assert begun.snapshot.records_seen == count
    else:
        with pytest.raises(ModelError) as told:
            ended(model, count, count)
        assert said.endswith(f"To do: give more records. With warmup_records: {count} the error is: {told.value}")
        assert "To do: " in str(told.value)


def test_both_are_said_of_a_model_by_the_number_of_rows():
    model = Mixture(components=2)
    assert "set warmup_records to" not in ended(model, 5, 100)[1]
    assert "wanted at least 6" in ended(model, 5, 100)[1]
    assert "set warmup_records to 40" in ended(model, 40, 100)[1]

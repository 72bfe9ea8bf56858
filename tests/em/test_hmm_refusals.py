"""Masks, parameters and rows that are not those of a chain."""

import numpy as np
import pytest

from streamem.em import HMM, Observations, OnlineEM
from streamem.errors import ConfigError, ModelError, SnapshotError
from tests.em.chains import parameters


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mask": ((1, 1), (1, 1))}, "hmm: mask: found rows of .* wanted 3 rows of 3 numbers, each 0 or 1"),
        ({"mask": ((1, 2, 1), (1, 1, 1), (1, 1, 1))}, "wanted 3 rows of 3 numbers, each 0 or 1"),
        ({"mask": ((0,) * 3,) * 3, "sequences": "absorbing"}, "found no transition at all; wanted at least one 1"),
        ({"mask": ((1, 1, 1), (0, 0, 0), (1, 1, 1))}, "found no state that may follow state 1"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        HMM(states=3, **settings)


@pytest.mark.parametrize(
    ("changes", "sequences", "said"),
    [
        (
            {"initial": [0.5, 0.6]},
            "endless",
            "initial: row 0 with the sum 1.1; wanted probabilities",
        ),
        ({"transition": [[0.5, 0.4], [0.5, 0.5]]}, "endless", "transition: row 0 with the sum 0.9"),
        ({"initial": [-0.1, 1.1]}, "endless", "initial: row 0 with -0.1 in it; wanted probabilities"),
        ({"transition": [[0.5]]}, "endless", "2 states"),
        ({"leaving": [0.2, 0.0], "transition": [[0.3, 0.5], [0.5, 0.5]]}, "endless", "a chain that ends"),
        ({"leaving": [0.2, 0.0], "transition": [[0.3, 0.5], [0.0, 1.0]]}, "absorbing", "a chain that cannot end"),
        ({"share": [0.5, 0.6]}, "complete", "share: 2 numbers with the sum 1.1; wanted 2 shares"),
        ({"share": [1.0]}, "complete", "share: 1 numbers with the sum 1; wanted 2 shares"),
    ],
)
def test_parameters_that_no_chain_can_have_are_refused(changes, sequences, said):
    model = HMM(states=2, sequences=sequences)
    good = {
        "initial": [0.5, 0.5],
        "transition": [[0.5, 0.5], [0.5, 0.5]],
        "leaving": [0.0, 0.0],
        "states": {"mean": [[0.0], [1.0]], "covariance": [[[1.0]], [[1.0]]], "scale": [1.0]},
    }
    arrays = {name: part if isinstance(part, dict) else np.array(part) for name, part in (good | changes).items()}
    arrays["states"] = {name: np.array(part) for name, part in good["states"].items()}
    with pytest.raises(SnapshotError, match=said):
        model.assemble(arrays)


def test_rows_of_one_sequence_have_one_weight():
    rows = Observations(np.zeros((2, 1)), weight=np.array([1.0, 2.0]))
    with pytest.raises(ModelError, match="rows of different weights in one sequence"):
        HMM(states=2).expect(parameters(2), rows)


def test_more_states_than_the_warm_up_can_support_are_an_error_and_the_learner_is_as_it_was():
    learner = OnlineEM(HMM(states=5), warmup_records=4)
    with pytest.raises(ModelError, match="found 4 warm-up records; wanted at least 15: with fewer, some of 5"):
        learner.update(Observations(np.arange(8.0).reshape(4, 2) ** 2))
    assert learner.snapshot is None
    assert not learner.holding

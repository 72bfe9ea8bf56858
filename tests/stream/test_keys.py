"""Keys: sequences of their own in one learner, in any interleaving, over restarts, and when they leave."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from streamem.em import HMM, Observations
from streamem.errors import ConfigError
from streamem.stream.keys import Keys
from streamem.stream.operators import Learn
from streamem.stream.protocol import Columns
from tests.stream.fakes import batch_of

RNG = np.random.default_rng(4)
COUNT = 900
FRAME = pl.DataFrame(
    {
        "device": RNG.choice(["a", "b", "c", "d"], size=COUNT),
        "time": np.arange(COUNT) * 1.0,
        "x": RNG.normal(size=COUNT) + 4.0 * (np.arange(COUNT) // 40 % 2),
    }
)
LEARN = Learn(name="h", features=["x"], model=HMM(states=2), warmup_records=300, paused=False)
COLUMNS = Columns(key="device", time="time")


def opened(learn=LEARN, columns=COLUMNS):
    return learn.open(FRAME.schema, columns)


def cut(size=100, frame=FRAME):
    return [
        replace(batch_of(frame[start : start + size].to_dict()), number=start // size)
        for start in range(0, frame.height, size)
    ]


def through(step, batches):
    return [out.frame for batch in batches for out in step.process(batch)]


def test_every_key_is_a_sequence_of_its_own():
    still = replace(LEARN, until_records=1)
    step = opened(still)
    told = pl.concat(through(step, cut()))
    snapshot = step.snapshot
    for key in "abcd":
        rows = FRAME.filter(pl.col("device") == key)
        expected, _ = snapshot.model.posterior(snapshot.parameters, Observations(rows["x"].to_numpy()[:, None]))
        found = told.filter(pl.col("device") == key)
        np.testing.assert_allclose(np.array(found["h.probabilities"].to_list()), expected.probabilities, atol=1e-12)
        np.testing.assert_allclose(found["h.log_likelihood"], expected.log_likelihood, rtol=1e-12)
        assert found["h.state"].to_list() == expected.probabilities.argmax(axis=1).tolist()


def test_a_restart_goes_on_along_every_key():
    batches = cut()
    whole = through(opened(), batches)
    step = opened()
    first = through(step, batches[:5])
    again = opened()
    again.restore(step.state())
    assert pl.concat([*first, *through(again, batches[5:])]).equals(pl.concat(whole))


def test_a_checkpoint_does_not_change_while_learning_goes_on():
    step = opened()
    through(step, cut()[:4])
    state = step.state()
    before = {name: array.copy() for name, array in state.arrays.items()}
    through(step, cut()[4:])
    assert before
    for name, array in before.items():
        np.testing.assert_array_equal(state.arrays[name], array)


def test_keys_that_are_idle_leave_and_begin_anew():
    learn = replace(LEARN, until_records=1, idle_ttl_ms=150_000)
    gone = FRAME.with_columns(device=pl.when(pl.col("time").is_between(400, 700)).then(pl.lit("a")).otherwise("device"))
    step = opened(learn)
    told = pl.concat(through(step, cut(frame=gone)))
    snapshot = step.snapshot
    for key, begins in (("b", True), ("a", False)):
        late = told.filter((pl.col("device") == key) & (pl.col("time") > 700))[0]
        x = Observations(late["x"].to_numpy()[:, None])
        alone = snapshot.model.posterior(snapshot.parameters, x)[0].probabilities[0]
        assert np.allclose(late["h.probabilities"][0].to_numpy(), alone, rtol=1e-12) == begins


def test_the_keys_not_seen_for_longest_leave_first_and_their_slots_are_used_again():
    keys = Keys(most=3)
    assert keys.slots(pl.Series(["a", "b", "c"]), 0).tolist() == [0, 1, 2]
    assert keys.leave(None).tolist() == []
    assert keys.slots(pl.Series(["a", "d"]), 1).tolist() == [0, 3]
    assert keys.leave(None).tolist() == [1]
    assert keys.slots(pl.Series(["e"]), 2).tolist() == [1]
    assert sorted(keys.table) == ["a", "c", "d", "e"]
    again = Keys(most=3)
    again.restore(keys.state())
    for one in (keys, again):
        assert one.leave(None).tolist() == [2]
        assert one.slots(pl.Series(["f", "g"]), 3).tolist() == [2, 4]


@pytest.mark.parametrize("values", [[1, 2, None], ["a", None, "b"]])
def test_a_record_without_a_key_is_a_bad_record(values):
    frame = pl.DataFrame({"device": values, "time": [0.0, 1.0, 2.0], "x": [0.0, 1.0, 2.0]})
    step = LEARN.open(frame.schema, COLUMNS)
    step.process(batch_of(frame.to_dict()))
    batch, _ = step.inputs.observe(batch_of(frame.to_dict()))
    assert [one.message.split(";")[0] for one in batch.rejected] == ["h: key column device: found nothing"]


@pytest.mark.parametrize(
    ("settings", "columns", "said"),
    [
        ({"max_keys": 3}, Columns(), "h.max_keys: found max_keys without key:"),
        ({"idle_ttl_ms": 3}, Columns(key="device"), "h.idle_ttl_ms: found idle_ttl_ms without time:"),
        ({"max_keys": 0}, COLUMNS, "h.max_keys: found 0"),
    ],
)
def test_settings_of_keys_need_what_they_are_about(settings, columns, said):
    with pytest.raises(ConfigError, match=said):
        opened(replace(LEARN, **settings), columns)


def test_a_key_that_comes_again_after_too_long_begins_anew_wherever_batches_end():
    """Within a batch and between two, and also where it is the only key there is."""
    frame = FRAME.with_columns(device=pl.lit("a"), time=pl.col("time") + 1000.0 * (pl.int_range(COUNT) // 130))
    learn = replace(LEARN, idle_ttl_ms=500_000, until_records=1, warmup_records=100)
    apart = frame.with_columns(device=(pl.int_range(COUNT) // 130).cast(pl.String))
    for size in (100, 130, 900):
        found, wanted = (
            pl.concat(through(opened(learn), cut(size, one)))["h.log_likelihood"] for one in (frame, apart)
        )
        np.testing.assert_array_equal(found, wanted)


def test_slots_of_keys_that_began_anew_are_used_again():
    keys = Keys(idle_seconds=5.0)
    found = keys.slots(pl.Series(["a", "b", "a", "b", "a"]), 0, np.array([0.0, 1.0, 2.0, 3.0, 20.0]))
    assert found.tolist() == [0, 1, 0, 1, 2]
    assert keys.leave(20.0).tolist() == [0, 1]
    assert keys.table == {"a": 2}
    assert keys.slots(pl.Series(["c", "a", "d", "e"]), 1, np.full(4, 22.0)).tolist() == [1, 2, 0, 3]
    assert sorted(keys.table.values()) == [0, 1, 2, 3]

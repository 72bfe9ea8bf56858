"""Batches that end where the key changes: sequences that come one after the other are never cut."""

import numpy as np
import polars as pl
import pytest

from streamem.em import HMM
from streamem.errors import ConfigError, ModelError
from streamem.stream.operators import Learn
from streamem.stream.pipeline import Pipeline
from streamem.stream.protocol import Columns, Cuts
from streamem.stream.rejections import Errors
from tests.connect.reading import batches, resumed
from tests.connect.test_together import pipeline, write_records

COLUMNS = Columns(key="device", numbers=frozenset({"x"}))
LENGTHS = np.random.default_rng(8).integers(1, 40, size=400).tolist()
ROWS = [(f"run{number}", place) for number, length in enumerate(LENGTHS) for place in range(length)]


@pytest.fixture
def path(tmp_path):
    """Sequences of 1 to 39 records, some of which cannot be read."""
    path = tmp_path / "in.ndjson"
    lines = [
        "no record" if n % 613 == 0 else f'{{"device": "{key}", "x": {place}}}' for n, (key, place) in enumerate(ROWS)
    ]
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize("chunk", [1 << 20, 700])
def test_no_sequence_is_cut_and_each_batch_ends_at_the_first_change_after_the_count(path, monkeypatch, chunk):
    monkeypatch.setattr("streamem.connect.files.bytestream.CHUNK", chunk)
    found = batches([path], size=50, columns=COLUMNS, whole=True)
    good = [key for n, (key, _) in enumerate(ROWS) if n % 613]
    assert [key for batch in found for key in batch.frame["device"].to_list()] == good
    seen = [set(batch.frame["device"].to_list()) for batch in found]
    assert all(not mine & theirs for n, mine in enumerate(seen) for theirs in seen[:n])
    assert len(found) > 50
    assert [len(batch.numbers) for batch in found] == [1] * len(found)
    assert [batch.number for batch in found] == list(range(len(found)))
    assert all(batch.records >= 50 for batch in found[:-1])
    # without its last sequence a batch would not be full
    for batch in found[:-1]:
        last = batch.frame.filter(pl.col("device") == batch.frame["device"][-1]).height + len(batch.rejected)
        assert batch.records - last < 50
    assert sum(batch.records for batch in found) == len(ROWS)


def test_a_restart_cuts_in_the_same_places(path):
    whole = batches([path], size=50, columns=COLUMNS, whole=True)
    rest = resumed(
        [path], whole[10], whole[0].frame.drop("__streamem.row").schema, size=50, columns=COLUMNS, whole=True
    )
    assert [one.frame["x"].to_list() for one in rest] == [one.frame["x"].to_list() for one in whole[11:]]


def test_a_limit_ends_a_batch_wherever_it_is(path):
    found = batches([path], size=50, columns=COLUMNS, whole=True, limit=137)
    assert sum(batch.records for batch in found) == 137


@pytest.mark.parametrize(
    ("columns", "cuts", "words"),
    [
        (Columns(), Cuts(50, whole_keys=True), "batch.whole_keys: found no key; wanted a key"),
        (COLUMNS, Cuts(50, max_wait_ms=5, whole_keys=True), "found max_wait_ms, which may cut a sequence"),
        (Columns(key="devise"), Cuts(50, whole_keys=True), "batch.whole_keys: key: found"),
    ],
)
def test_what_cannot_be_kept_whole_is_refused(tmp_path, columns, cuts, words):
    write_records(tmp_path / "in.ndjson", count=100)
    with pytest.raises(ConfigError, match=words):
        pipeline(tmp_path, columns=columns, cuts=cuts, operators=[]).run()


def complete(folder, **changes) -> Pipeline:
    learn = Learn(name="m", features=["x"], model=HMM(states=2, sequences="complete"), warmup_records=500)
    return pipeline(folder, columns=Columns(key="device"), operators=[learn], errors=Errors(policy="skip"), **changes)


def test_a_complete_sequence_that_a_batch_cuts_is_refused(path, tmp_path):
    with pytest.raises(ModelError, match="in this one and in the one before; wanted each sequence in one micro-batch"):
        complete(tmp_path, cuts=Cuts(50)).run()
    assert complete(tmp_path, cuts=Cuts(50, whole_keys=True)).run().ended == "input"

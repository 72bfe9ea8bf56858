"""The order of a run, what it writes, and what ends it."""

import json
from dataclasses import replace

import polars as pl
import pytest

from streamem.errors import ConfigError, ConnectError, DataError, ModelError, SnapshotError
from streamem.stream.operators import Transform
from streamem.stream.outputs import Output
from streamem.stream.protocol import Columns, Cuts, World
from tests.stream.fakes import AtOnce, Rows, Watched
from tests.stream.pipelines import DROPS_EVERYTHING, FRAME, LEARNERS_IN_A_ROW, ONE_LEARNER, Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "run")


def test_a_checkpoint_is_flush_then_rename_then_commit_and_none_while_a_step_holds(place):
    place.pipeline(FRAME[:400]).run()
    assert place.journal == [
        "open posteriors.ndjson",
        "open snapshots.ndjson",
        "flush posteriors.ndjson",  # checkpoint zero: whatever a kill leaves behind, a checkpoint speaks of it
        "flush snapshots.ndjson",
        "replace checkpoint.zip",
        "read 0",
        "read 1",  # a checkpoint is due, but batches are held
        "read 2",
        *["write posteriors.ndjson"] * 3,
        "write snapshots.ndjson",
        "flush posteriors.ndjson",
        "flush snapshots.ndjson",
        "replace checkpoint.zip",
        "commit 300",
        "read 3",
        "write posteriors.ndjson",
        "flush posteriors.ndjson",
        "flush snapshots.ndjson",
        "replace checkpoint.zip",
        "commit 400",
        "write snapshots.ndjson",
        "flush posteriors.ndjson final",
        "flush snapshots.ndjson final",
        "replace checkpoint.zip",
        "commit 400",
        "close snapshots.ndjson",
        "close posteriors.ndjson",
        "close source",
    ]


def test_every_record_gets_one_posterior_with_key_and_time(place):
    summary = place.pipeline().run()
    assert (summary.ended, summary.progress.records, summary.progress.batches) == ("input", 1000, 10)
    records = place.records("posteriors")
    assert len(records) == 1000
    assert [record["time"] for record in records] == FRAME["time"].to_list()
    names = ["batch", "component", "probabilities", "log_likelihood", "anomaly", "warmup"]
    assert list(records[0]) == ["device", "time", *(f"r.{name}" for name in names)]
    assert [record["r.batch"] for record in records] == [row // 100 for row in range(1000)]


def test_snapshots_come_at_their_batches_and_once_more_at_the_end(place):
    place.pipeline().run()
    records = place.records("snapshots")
    assert [record["position"] for record in records] == [
        json.dumps({"record": n}, separators=(",", ":")) for n in (300, 600, 900, 1000)
    ]
    assert [record["time"] for record in records] == [FRAME["time"][n - 1] for n in (300, 600, 900, 1000)]
    assert {(r["format"], r["name"], r["operator"], *r["features"]) for r in records} == {
        ("streamem.snapshot/1", "clusters", "r", "x", "y")
    }
    assert place.records("snapshots")[-1]["records_seen"] == 1000


def test_the_last_snapshot_is_not_written_twice(place):
    place.pipeline(FRAME[:600]).run()
    assert len(place.records("snapshots")) == 2


def test_a_finished_run_started_again_finds_nothing_new_and_changes_nothing(place):
    first = place.pipeline().run()
    before = place.left()
    place.journal.clear()
    again = place.pipeline().run()
    assert (first.nothing_new, again.nothing_new) == (False, True)
    assert again.progress.total_records == 1000
    assert place.left() == before
    assert not [call for call in place.journal if call.startswith(("write", "flush", "replace", "commit"))]


def test_an_input_that_grew_is_gone_on_with(place):
    place.pipeline(FRAME[:600]).run()
    summary = place.pipeline(FRAME).run()
    assert (summary.was_finished, summary.nothing_new, summary.progress.records) == (True, False, 400)
    grown, whole = place.left(), Place(place.folder.with_name("whole"))
    whole.pipeline().run()
    assert grown == whole.left()  # 600 is a multiple of the batch, so the cuts are the same


def test_the_limit_ends_a_run_at_exactly_so_many_records_and_the_next_goes_on(place):
    first = place.pipeline().run(limit=450)
    assert (first.ended, first.progress.records, first.progress.total_records) == ("limit", 450, 450)
    assert len(place.records("posteriors")) == 450
    second = place.pipeline().run()
    assert (second.ended, second.progress.records, second.progress.total_records) == ("input", 550, 1000)
    assert [record["time"] for record in place.records("posteriors")] == FRAME["time"].to_list()


def test_a_limit_in_the_warm_up_writes_nothing_and_the_next_run_begins_again(place):
    summary = place.pipeline().run(limit=150)
    assert (summary.progress.records, summary.progress.total_records) == (150, 0)
    assert (place.saved.number, place.saved.position) == (0, {})
    assert place.records("posteriors") == []


def test_a_run_that_is_asked_to_stop_finishes_its_batch_and_checkpoints(place):
    world = World(disk=Watched(place.journal), keeper=AtOnce)
    pipeline = place.pipeline(world=world, listener=lambda p: p.batches == 5 and world.stopping.set())
    summary = pipeline.run()
    assert (summary.ended, summary.progress.batches) == ("stop", 5)
    assert (place.saved.number, place.saved.finished) == (5, False)
    assert place.pipeline().run().progress.records == 500


def test_an_idle_source_brings_a_checkpoint_only_if_something_is_new(place):
    source = Rows(FRAME, idle_after=frozenset({1, 3, 4}), journal=place.journal)
    place.pipeline(source=source, outputs=()).run()
    calls = [call for call in place.journal if call.startswith(("read", "idle", "commit"))]
    assert calls == [
        *("read 0", "read 1", "idle"),  # held
        *("read 2", "commit 300"),
        *("read 3", "commit 400", "idle"),  # nothing new
        *("read 4", "idle", "commit 500"),
        *("read 5", "commit 600", "read 6", "read 7", "commit 800", "read 8", "read 9", "commit 1000", "commit 1000"),
    ]


def test_the_listener_hears_of_every_batch(place):
    heard = []
    place.pipeline(listener=heard.append).run()
    assert [progress.records for progress in heard] == list(range(100, 1001, 100))
    assert [progress.total_records for progress in heard] == [0, 0, *range(300, 1001, 100)]
    assert heard[-1].done == 1.0
    assert [len(progress.snapshots) for progress in heard] == [0, 0, *[1] * 8]


def test_without_a_checkpoint_a_run_writes_the_same_and_refuses_what_stands_there(place):
    place.pipeline(checkpoint=None).run()
    kept = Place(place.folder.with_name("kept"))
    kept.pipeline().run()
    ours = {name: content for name, content in place.left().items() if name.endswith("ndjson")}
    assert ours == {name: content for name, content in kept.left().items() if name.endswith("ndjson")}
    assert len(ours) == 2
    with pytest.raises(ConfigError, match="stands there"):
        place.pipeline(checkpoint=None).run()


def test_output_without_a_checkpoint_is_refused_and_moved_aside_when_fresh(place):
    place.pipeline().run()
    before = (place.folder / "posteriors.ndjson").read_bytes()
    (place.state / "checkpoint.zip").unlink()
    with pytest.raises(ConfigError, match="stands there"):
        place.pipeline().run()
    summary = place.pipeline().run(fresh=True)
    assert [path.rsplit("/")[-1] for path in summary.moved_aside] == ["posteriors.ndjson.1", "snapshots.ndjson.1"]
    assert (place.folder / "posteriors.ndjson.1").read_bytes() == before
    assert (place.folder / "posteriors.ndjson").read_bytes() == before


def test_fresh_moves_the_state_aside_too_and_counts_on(place):
    for number in (1, 2):
        place.pipeline().run(fresh=number > 1)
        summary = place.pipeline().run(fresh=True)
        assert summary.progress.records == 1000
    names = sorted(path.name for path in place.state.iterdir())
    assert names == ["checkpoint.zip", "checkpoint.zip.1", "checkpoint.zip.2", "checkpoint.zip.3", "lock"]
    assert (place.folder / "posteriors.ndjson.3").exists()


def test_a_fresh_run_whose_settings_or_source_are_refused_moves_nothing(place):
    place.pipeline().run()
    before = place.left()
    with pytest.raises(ConfigError, match="key"):
        place.pipeline(columns=Columns(key="devise")).run(fresh=True)
    with pytest.raises(ConfigError, match="features"):
        place.pipeline(operators=[replace(ONE_LEARNER[0], features=["xx"])]).run(fresh=True)
    assert place.left() == before
    assert place.pipeline().run().nothing_new


def test_what_was_done_before_the_source_fails_is_kept(place):
    for error in (DataError("a truncated gzip"), ConnectError("gone")):
        source = Rows(FRAME, fails_after={4: error}, journal=place.journal)
        with pytest.raises(type(error), match=str(error)):
            place.pipeline(source=source).run(fresh=True)
        assert len(place.records("posteriors")) == 500
        assert place.saved.records == 500
    assert place.pipeline().run().progress.records == 500


def test_a_time_that_a_transform_makes_is_a_time(place):
    operators = (Transform(columns={"made": "time || 'Z'"}), *ONE_LEARNER)
    place.pipeline(operators=operators, columns=Columns(time="made")).run()
    assert place.records("snapshots")[-1]["time"] == "2026-01-01T00:16:39Z"


def test_an_output_shorter_than_the_checkpoint_says_is_refused(place):
    place.pipeline().run()
    path = place.folder / "posteriors.ndjson"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ConnectError, match="too short"):
        place.pipeline().run()


def test_an_output_that_is_added_later_begins_then_and_one_left_out_goes_on_when_it_returns(place):
    pipeline = place.pipeline()
    _, snapshots = pipeline.outputs
    pipeline.run(limit=400)
    place.pipeline(outputs=(snapshots, Output(what="posteriors", name="new", sink=place.sink("new")))).run(limit=300)
    place.pipeline().run()
    assert len(place.records("posteriors")) == 700
    assert len(place.records("new")) == 300
    assert len(place.records("snapshots")) == 4


def test_an_empty_input_is_an_error(place):
    with pytest.raises(DataError, match="source of clusters: found no records"):
        place.pipeline(FRAME.clear()).run()


def test_fewer_records_than_the_warm_up_are_an_error_and_nothing_is_written(place):
    with pytest.raises(ModelError, match="200"):
        place.pipeline(FRAME[:200]).run()
    assert place.records("posteriors") == []
    assert (place.saved.number, place.saved.position) == (0, {})


def test_where_may_drop_everything(place):
    summary = place.pipeline(operators=DROPS_EVERYTHING).run()
    assert (summary.ended, summary.progress.total_records) == ("input", 1000)
    assert place.records("posteriors") == []
    assert place.records("snapshots") == []
    assert place.pipeline(operators=DROPS_EVERYTHING).run().nothing_new


def test_several_learners_each_give_columns_and_snapshots(place):
    outputs = (
        Output(what="posteriors", sink=place.sink("posteriors"), include=["text", "z"]),
        Output(what="snapshots", sink=place.sink("snapshots")),
        Output(what="snapshots", name="of second", sink=place.sink("second"), operator="second"),
    )
    place.pipeline(operators=LEARNERS_IN_A_ROW, outputs=outputs).run()
    records = place.records("posteriors")
    assert len(records) == len([row for row in range(1000) if row % 7])
    assert [name for name in records[0] if name.endswith(".component")] == ["first.component", "second.component"]
    assert list(records[0])[:3] == ["text", "z", "first.batch"]
    assert [record["operator"] for record in place.records("snapshots")] == ["first", "second"]
    assert [record["operator"] for record in place.records("second")] == ["second"]


def test_include_all_and_include_keys_without_keys_write_every_column(place):
    for name, include, columns in (("a", "all", Columns(time="time", key="device")), ("b", "keys", Columns())):
        other = Place(place.folder.with_name(name))
        output = Output(what="posteriors", sink=other.sink("posteriors"), include=include)
        other.pipeline(outputs=(output,), columns=columns).run()
        assert list(other.records("posteriors")[0])[:7] == [*FRAME.columns, "r.batch"]


def test_operators_tell_the_source_which_columns_they_use_as_numbers(place):
    pipeline = place.pipeline(operators=LEARNERS_IN_A_ROW)
    pipeline.run(limit=700)
    [(cuts, columns, resume)] = pipeline.source.opened
    assert cuts == Cuts(100, limit=700, every=(2, 3))
    assert columns.numbers == {"x", "y", "z", "first.log_likelihood", "count"}
    assert resume is None


def test_a_second_run_on_the_same_checkpoint_is_refused_while_the_first_goes_on(place):
    refused = []

    def run_another(progress):
        with pytest.raises(ConfigError, match="which runs on it") as caught:
            place.pipeline(checkpoint=pipeline.checkpoint).run(fresh=True)
        refused.append(caught.value)

    pipeline = place.pipeline(listener=run_another)
    pipeline.run()
    assert len(refused) == 10
    assert len(place.records("posteriors")) == 1000


def test_everything_is_closed_when_a_step_fails(place):
    with pytest.raises(ModelError):
        place.pipeline(FRAME[:200]).run()
    assert place.journal[-3:] == ["close snapshots.ndjson", "close posteriors.ndjson", "close source"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operators": ONE_LEARNER * 2}, "operators: found 2 times the name 'r'"),
        ({"outputs": (Output(what="posteriors", sink=None),) * 2}, "outputs: found 2 times the name 'posteriors'"),
        ({"outputs": (Output(what="posteriors", name="dead_letters", sink=None),)}, "2 times the name 'dead_letters'"),
        ({"columns": Columns(key="devise")}, r"key: found the column 'devise' \(did you mean 'device'\?\)"),
        ({"columns": Columns(time="tine")}, r"time: found the column 'tine' \(did you mean 'time'\?\)"),
        ({"cuts": Cuts(0)}, "batch.max_records: found 0"),
        ({"outputs": (Output(what="posteriors", sink=None, include=["dvice"]),)}, "outputs.posteriors.include: found"),
        (
            {"outputs": (Output(what="posteriors", sink=None, include=[]),), "operators": ()},
            "include: found no columns",
        ),
        ({"outputs": (Output(what="posteriors", sink=None, every_batches=3),)}, "found every_batches of posteriors"),
        ({"outputs": (Output(what="posteriors", sink=None, operator="r"),)}, "found operator of posteriors"),
        ({"outputs": (Output(what="snapshots", sink=None, include="all"),)}, "found include of snapshots"),
        (
            {"outputs": (Output(what="snapshots", sink=None, every_batches=0),)},
            "outputs.snapshots.every_batches: found 0",
        ),
        ({"outputs": (Output(what="snapshots", sink=None),), "operators": ()}, "found no operator that learns"),
        (
            {"outputs": (Output(what="snapshots", sink=None, operator="rr"),)},
            r"operator: found 'rr' \(did you mean 'r'\?",
        ),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(place, changes, words):
    with pytest.raises(ConfigError, match=words):
        place.pipeline(**changes).run()
    assert not [call for call in place.journal if call.startswith(("open", "read"))]


def test_a_time_column_of_another_type_is_refused(place):
    frame = FRAME.with_columns(time=pl.col("x") > 0)
    with pytest.raises(ConfigError, match="time: found 'time' of type Boolean"):
        place.pipeline(frame).run()


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(place, limit):
    with pytest.raises(ConfigError, match=f"limit: found {limit}"):
        place.pipeline().run(limit=limit)


def test_a_time_that_is_a_number_is_told_by_its_unit(place):
    frame = FRAME.with_columns(time=pl.int_range(pl.len()) * 1000)
    place.pipeline(frame, columns=Columns(time="time", time_unit="ms")).run()
    assert place.records("snapshots")[-1]["time"] == "1970-01-01T00:16:39+00:00"


def test_a_time_in_the_wrong_unit_is_refused(place):
    frame = FRAME.with_columns(time=pl.lit(1_700_000_000_000))
    with pytest.raises(ConfigError, match="time_unit: found 's', by which the time 1700000000000 lies outside"):
        place.pipeline(frame).run()


def test_times_with_a_type_are_told_as_iso_text(place):
    frame = FRAME.with_columns(time=pl.col("time").str.to_datetime(time_unit="us", time_zone="UTC"))
    place.pipeline(frame).run()
    assert place.records("snapshots")[-1]["time"] == "2026-01-01T00:16:39+00:00"


def test_replacing_a_setting_that_is_in_the_fingerprint_is_refused_by_name_and_values(place):
    place.pipeline().run(limit=500)
    changed = {"model": {"components": 3}, "features": ["x", "z"], "seed": 0, "cuts": 100}
    with pytest.raises(SnapshotError) as caught:
        place.pipeline(fingerprint=changed).run()
    message = str(caught.value)
    assert "model.components: 3 in place of 2" in message
    assert 'features[1]: "z" in place of "y"' in message
    assert "cuts: 100 in place of nothing" in message
    assert "--fresh" in message


def test_operators_of_other_names_than_the_checkpoint_holds_are_refused(place):
    place.pipeline().run(limit=500)
    renamed = [replace(ONE_LEARNER[0], name="regime")]
    with pytest.raises(SnapshotError, match="found the operators regime; wanted those that it was made with: r"):
        place.pipeline(operators=renamed).run()

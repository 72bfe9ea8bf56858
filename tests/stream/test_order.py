"""Order: late records by every policy, against a loop over records, whatever comes together and whenever it dies."""

import json
from datetime import datetime, timedelta
from functools import cache
from math import inf

import numpy as np
import polars as pl
import pytest

from streamem.connect import FilesSink, FilesSource
from streamem.em import Mixture
from streamem.errors import ConfigError, SnapshotError
from streamem.stream import protocol
from streamem.stream.batch import ROW
from streamem.stream.operators import Lag, Learn, Order, Transform
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.protocol import Columns, Cuts, World
from streamem.stream.rejections import Errors
from tests.stream.fakes import AtOnce, DiedError, batch_of
from tests.stream.pipelines import Place
from tests.stream.test_lag import cut, same_state, saved

COLUMNS = Columns(time="time", key="device")
REORDER = Order(policy="reorder", reorder_ms=3000)


def records(count=600, keys=5, seed=0, spread=4.0):
    """Return rows whose times (seconds, exact in binary) are up to `spread` out of order; many are equal."""
    rng = np.random.default_rng(seed)
    time = np.round(np.arange(count) * 2.0 + rng.uniform(0, 4.0 * spread, size=count)) / 4.0
    device = [f"d{key}" for key in rng.integers(keys, size=count)]
    return pl.DataFrame({"device": device, "time": time, "text": [str(n) for n in range(count)]})


def through(operator, frame, *, columns=COLUMNS, size=20, together=1, restart=None):
    """Return what leaves as (batch number, time, text), what fell out, and the last state.

    Every original is looked at: that of a row that leaves is its own, however long it waited.
    """
    step = operator.open(frame.schema, columns)
    left, fallen, numbers = [], [], []

    def take(batches):
        for out in batches:
            numbers.extend(out.numbers)
            for number, rows in zip(out.numbers, out.rows(), strict=True):
                left.extend((number, *row) for row in out.frame[rows].select("time", "text").rows())
            values = [out.original(row).value.decode() for row in out.frame[ROW].to_list()]
            places = [out.original(row).where["record"] for row in out.frame[ROW].to_list()]
            assert values == out.frame["text"].to_list() == [str(place) for place in places]
            fallen.extend((bad.record.value.decode(), bad.message) for bad in out.rejected)

    for batch in cut(frame, size, together):
        if restart is not None:
            state = restart(step.state())
            step = operator.open(frame.schema, columns)
            step.restore(state)
        take(step.process(batch))
    state = step.state()
    take(step.finish())
    assert numbers == list(range(len(numbers)))
    return left, fallen, state


def naive(frame, key="device"):
    """Return which records are not earlier than the newest of their key before them, and which are."""
    newest, good, late = {}, [], []
    for record in frame.iter_rows(named=True):
        sequence = record[key] if key else None
        if record["time"] < newest.get(sequence, -inf):
            late.append(record["text"])
        else:
            newest[sequence] = record["time"]
            good.append(record["text"])
    return good, late


def naive_reordered(frame, wait, size):
    """Return the same of records that wait, the good ones with the number of the micro-batch that they leave in."""
    newest, of_key, waiting, good, late = -inf, {}, [], [], []

    def leave(number, until):
        for record in sorted((one for one in waiting if one["time"] <= until), key=lambda one: one["time"]):
            waiting.remove(record)
            if record["time"] < of_key.get(record["device"], -inf):
                late.append(record["text"])
            else:
                of_key[record["device"]] = record["time"]
                good.append((number, record["time"], record["text"]))

    for n, record in enumerate(frame.iter_rows(named=True)):
        waiting.append(record)
        newest = max(newest, record["time"])
        if (n + 1) % size == 0 or n + 1 == frame.height:
            leave(n // size, newest - wait)
    leave(-(-frame.height // size), inf)
    return good, late


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("columns", "key"), [(COLUMNS, "device"), (Columns(time="time"), None)])
def test_a_record_earlier_than_the_newest_of_its_key_is_bad_or_left_out(seed, columns, key):
    frame = records(seed=seed)
    good, late = naive(frame, key)
    assert min(len(good), len(late)) > 50
    left, fallen, _ = through(Order(), frame, columns=columns)
    assert [text for _, _, text in left] == good
    assert [text for text, _ in fallen] == late
    left, fallen, state = through(Order(policy="drop"), frame, columns=columns)
    assert [text for _, _, text in left] == good
    assert (fallen, state.values["dropped"]) == ([], len(late))


def test_equal_times_are_fine():
    frame = pl.DataFrame({"device": ["a"] * 3, "time": [1.0] * 3, "text": ["0", "1", "2"]})
    for order in (Order(), REORDER):
        left, fallen, _ = through(order, frame)
        assert ([text for _, _, text in left], fallen) == (["0", "1", "2"], [])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 7, 20, 250])
def test_records_that_wait_leave_in_the_order_and_the_micro_batch_of_a_loop_over_records(seed, size):
    frame = records(seed=seed, spread=8.0)
    good, late = naive_reordered(frame, 3.0, size)
    assert late or size == 250
    left, fallen, _ = through(REORDER, frame, size=size)
    assert left == good
    assert [text for text, _ in fallen] == late


def test_within_its_wait_nothing_is_late_and_everything_leaves_in_the_order_of_time():
    frame = records(spread=2.9)
    left, fallen, _ = through(REORDER, frame)
    times = [time for _, time, _ in left]
    assert fallen == []
    assert times == sorted(frame["time"].to_list())
    assert times != frame["time"].to_list()


OPERATORS = [
    Order(),
    Order(policy="drop", max_keys=2),
    Order(max_keys=2),
    REORDER,
    Order(policy="reorder", reorder_ms=1000, max_keys=2),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize("size", [1, 20, 130])
def test_how_many_micro_batches_come_together_changes_nothing(operator, size):
    frame = records()
    left, fallen, state = through(operator, frame, size=size)
    for together in (2, 5, 1000):
        again, fell, its_state = through(operator, frame, size=size, together=together)
        assert (again, fell) == (left, fallen)
        assert same_state(its_state, state)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize("columns", [COLUMNS, Columns(time="time")])
def test_a_restart_after_any_batch_goes_on_as_if_nothing_had_been(tmp_path, operator, columns):
    if operator.max_keys is not None:
        columns = COLUMNS
    frame = records()
    left, fallen, state = through(operator, frame, columns=columns)
    again = through(operator, frame, columns=columns, restart=lambda state: saved(tmp_path, state, frame.schema))
    assert again[:2] == (left, fallen)
    assert same_state(again[2], state)


def test_a_checkpoint_in_between_changes_nothing():
    frame = records()
    left, _, _ = through(REORDER, frame)
    step = REORDER.open(frame.schema, COLUMNS)
    texts = []
    for batch in [*cut(frame, 20, 3), None]:
        for out in step.process(batch) if batch else step.finish():
            assert [out.original(row).value.decode() for row in out.frame[ROW]] == out.frame["text"].to_list()
            texts += out.frame["text"].to_list()
        step.state()
    assert texts == [text for _, _, text in left]


def test_a_record_tells_how_late_it_is():
    frame = pl.DataFrame({"device": ["a", "a"], "time": [5.0, 3.5], "text": ["0", "1"]})
    _, [(text, message)], _ = through(Order(), frame)
    assert text == "1"
    assert message == (
        "order: time column time: found 3.5, 1.5 s before the newest of device a; wanted times that do not go"
        " backwards. To do: sort the input, or set policy: drop or reorder."
    )
    frame = pl.DataFrame({"device": ["a"] * 3, "time": [5.0, 9.0, 4.0], "text": ["0", "1", "2"]})
    _, [(text, message)], _ = through(Order(policy="reorder", reorder_ms=2000), frame, size=1)
    assert text == "2"
    assert "found 4.0, 1 s before the newest of device a; wanted records at most 2000 ms late" in message
    assert message.endswith("To do: raise reorder_ms, or mend the record.")


@pytest.mark.parametrize(
    ("times", "bad"),
    [
        (["2026-01-01T00:00:00Z", "soon", None, "2026-01-01T01:00:00+02:00", "2026-01-01 00:00:00.5"], "123"),
        ([0.0, inf, None, -1.0, float("nan"), 0.0], "1234"),
        ([datetime(2026, 1, 1) + timedelta(hours=h) for h in (0, 1, 1, 0, 2)], "3"),
        ([7, 6, 8], "1"),
    ],
)
def test_times_of_every_kind_are_read_and_what_is_no_time_is_bad(times, bad):
    frame = pl.DataFrame({"device": "a", "time": times, "text": [str(n) for n in range(len(times))]})
    _, fallen, _ = through(Order(), frame)
    assert sorted(text for text, _ in fallen) == list(bad)
    assert all("order: time column time: found " in message for _, message in fallen)


@pytest.mark.parametrize("order", [Order(policy="drop"), REORDER], ids=str)
def test_no_key_and_no_time_are_bad_records_under_every_policy(order):
    batch = batch_of({"device": ["a", None, "a"], "time": [1.0, 2.0, None]})
    step = order.open(pl.Schema({"device": pl.String, "time": pl.Float64}), COLUMNS)
    out = [*step.process(batch), *step.finish()]
    messages = [fallen.message for one in out for fallen in one.rejected]
    assert "key column device: found nothing" in messages[0]
    assert "time column time: found nothing; wanted an event time" in messages[1]
    assert sum(one.frame.height for one in out) == 1


def test_an_empty_batch_passes():
    frame = records()[:0]
    for order in (Order(), REORDER):
        step = order.open(frame.schema, COLUMNS)
        [out] = step.process(batch_of(frame.to_dict()))
        assert (out.frame.height, out.frame.drop(ROW).schema) == (0, frame.schema)
        assert step.finish() == []


def test_a_batch_keeps_its_counts_its_position_and_what_fell_out_before():
    frame = records(110)
    step = REORDER.open(frame.schema, COLUMNS)
    [batch] = cut(frame, 20, 6)
    batch = batch.reject(np.arange(110) % 10 == 0, "before", lambda row: "why")
    out = step.process(batch)
    assert [one.records for one in out] == [20] * 5 + [10]
    assert [one.number for one in out] == list(range(6))
    assert {one.position["record"] for one in out} == {110}
    assert [bad.record.value for one in out for bad in one.rejected if bad.operator == "before"] == [
        b"%d" % row for row in range(0, 110, 10)
    ]
    [last] = step.finish()
    assert (last.number, last.records, dict(last.position), last.rejected) == (6, 0, {"record": 110}, ())
    assert step.finish() == []


LATE = records(1000, spread=8.0).with_columns(n=pl.int_range(1000), x=pl.Series(np.arange(1000) * 0.25))
STEPS = (
    REORDER,
    Lag(name="before", columns=["x"], differences=True),
    Transform(columns={"number": "cast(case when n % 91 = 17 then 'oops' else text end as int)"}),
)


def pipeline(place, frame=LATE, **changes):
    """Return a pipeline that reorders, then refuses some of the records that have waited."""
    outputs = [Output(what="posteriors", sink=place.sink("posteriors"), include="all")]
    usual = {"operators": STEPS, "outputs": outputs, "fingerprint": {}, "errors": place.dead_letter(), "cuts": Cuts(50)}
    return place.pipeline(frame, columns=COLUMNS, **(usual | changes))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    @cache
    def left():
        place = Place(tmp_path_factory.mktemp("undisturbed") / "run")
        pipeline(place).run()
        return place

    return left()


def test_through_a_pipeline_every_record_leaves_once_or_is_a_dead_letter(undisturbed):
    good, dead = undisturbed.records("posteriors"), undisturbed.records("dead")
    by = {
        name: [json.loads(letter["value"])["n"] for letter in dead if letter["operator"] == name]
        for name in ("order", "transform")
    }
    assert min(len(numbers) for numbers in by.values()) > 5
    assert [n for n in by["transform"] if n % 91 != 17] == []
    assert sorted([record["n"] for record in good] + by["order"] + by["transform"]) == list(range(1000))
    last = {}
    for record in good:
        assert record["time"] >= last.get(record["device"], -inf)
        last[record["device"]] = record["time"]


def test_a_run_that_dies_after_any_batch_and_is_started_again_leaves_the_same(tmp_path, undisturbed):
    for batch in range(1, 21):
        place = Place(tmp_path / f"{batch}")

        def die(progress, batch=batch):
            if progress.batches == batch:
                raise DiedError

        with pytest.raises(DiedError):
            pipeline(place, listener=die).run()
        summary = pipeline(place).run()
        assert place.left() == undisturbed.left()
        assert summary.progress.total_records == 1000


def test_a_run_that_dies_while_what_waits_leaves_at_the_end_leaves_the_same(tmp_path, undisturbed):
    calls = 0
    while True:
        place = Place(tmp_path / f"{calls}")

        class Dying(type(World().disk)):
            left = calls

            def replace(self, source, target):
                self.left -= 1
                if self.left < 0:
                    raise DiedError
                super().replace(source, target)

        try:
            pipeline(place, world=World(disk=Dying(), keeper=AtOnce)).run()
        except DiedError:
            pipeline(place).run(fresh=place.saved is None)
            assert place.left() == undisturbed.left()
            calls += 1
        else:
            break
    assert calls > 10


def test_a_limit_leaves_what_waits_in_the_checkpoint_and_the_next_run_goes_on(tmp_path, undisturbed):
    place = Place(tmp_path / "run")
    for count in (50, 400, 250):
        assert pipeline(place).run(limit=count).ended == "limit"
    assert len(place.records("posteriors")) + len(place.records("dead")) < 700
    assert pipeline(place).run().ended == "input"
    assert place.left() == undisturbed.left()


def test_an_input_that_grew_goes_on_behind_the_micro_batch_of_what_waited(tmp_path):
    place = Place(tmp_path / "run")
    pipeline(place, LATE[:500]).run()
    assert len(place.records("posteriors")) + len(place.records("dead")) == 500
    assert place.saved.number == 11
    before = place.left()
    assert pipeline(place, LATE[:500]).run().nothing_new
    assert place.left() == before
    pipeline(place).run()
    assert len(place.records("posteriors")) + len(place.records("dead")) == 1000
    assert place.saved.number == 22


LEARN = Learn(name="r", features=["x", "x.diff1"], model=Mixture(components=2), warmup_records=130)


@pytest.mark.parametrize("operators", [STEPS, (*STEPS[:2], LEARN)], ids=["refused", "learned"])
def test_over_files_how_many_micro_batches_come_together_shows_in_no_output(tmp_path, monkeypatch, operators):
    LATE.write_ndjson(tmp_path / "in.ndjson")
    found = []
    for together in (1, 120, 16_384):
        monkeypatch.setattr(protocol, "TOGETHER", together)
        out = tmp_path / str(together)
        sinks = {name: FilesSink(path=str(out / f"{name}.ndjson")) for name in ("posteriors", "dead")}
        settings = {
            "source": FilesSource(paths=[str(tmp_path / "in.ndjson")]),
            "cuts": Cuts(20),
            "operators": operators,
            "outputs": [Output(what="posteriors", sink=sinks["posteriors"], include="all")],
            "columns": COLUMNS,
            "checkpoint": Checkpoints(path=str(out / "state"), every_batches=7),
            "errors": Errors(policy="dead_letter", sink=sinks["dead"]),
        }
        Pipeline(name="files", **settings).run(limit=333)
        Pipeline(name="files", **settings).run()
        found.append([(out / f"{name}.ndjson").read_bytes() for name in sinks])
    assert found[0] == found[1] == found[2]
    assert sum(content.count(b"\n") for content in found[0]) == 1000


SCHEMA = pl.Schema({"device": pl.String, "time": pl.Float64, "flag": pl.Boolean})


@pytest.mark.parametrize(
    ("settings", "columns", "words"),
    [
        ({"policy": "reorder"}, COLUMNS, "order: found policy reorder without reorder_ms; wanted reorder_ms for"),
        ({"reorder_ms": 5}, COLUMNS, "order: found policy error with reorder_ms"),
        ({"policy": "reorder", "reorder_ms": 0}, COLUMNS, "order.reorder_ms: found 0; wanted at least 1"),
        ({}, Columns(key="device"), "order: time: found no time column"),
        ({}, Columns(time="tine"), r"order: time: found the column 'tine' \(did you mean 'time'\?\)"),
        ({}, Columns(time="flag"), "order: time: found 'flag' of type Boolean"),
        ({}, Columns(time="time", key="devise"), "order: key: found the column 'devise'"),
        ({"max_keys": 0}, COLUMNS, "order.max_keys: found 0"),
        ({"max_keys": 3}, Columns(time="time"), "order.max_keys: found no key to count; wanted a key"),
    ],
)
def test_wrong_settings_are_refused_by_their_place(settings, columns, words):
    with pytest.raises(ConfigError, match=words):
        Order(**settings).open(SCHEMA, columns)


def test_waiting_records_of_other_columns_are_refused():
    frame = records()
    _, _, state = through(REORDER, frame)
    with pytest.raises(SnapshotError, match="order: found waiting records with the columns"):
        REORDER.open(frame.drop("text").schema, COLUMNS).restore(state)

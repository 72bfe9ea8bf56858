"""Bad records: the three policies, dead letters, and giving up."""

import base64
import json

import polars as pl
import pytest

from streamem.errors import ConfigError, DataError
from streamem.stream.batch import Record, Rejected
from streamem.stream.operators import Transform
from streamem.stream.rejections import Errors, dead_letters
from tests.stream.pipelines import BAD_ROWS, FRAME, LEARNERS_IN_A_ROW, ONE_LEARNER, Place

UNREADABLE = frozenset({455, 456})


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "run")


def test_stop_puts_down_everything_before_the_batch_of_an_unreadable_record(place):
    with pytest.raises(DataError, match=r"path rows, record 455: found nonsense \(refused by source;"):
        place.pipeline(unreadable=UNREADABLE).run()
    assert len(place.records("posteriors")) == 400
    assert (place.saved.number, place.saved.records) == (4, 400)


def test_stop_ends_at_a_record_that_an_operator_refuses_and_keeps_the_last_checkpoint(place):
    operators = (Transform(columns={"n": "cast(text as double)"}), *ONE_LEARNER)
    with pytest.raises(DataError, match=r"record 77: transform: found .*oops.*refused by transform"):
        place.pipeline(BAD_ROWS, operators=operators).run()
    assert (place.saved.number, place.saved.position) == (0, {})
    with pytest.raises(DataError, match=r"record 300: .*r: y: found inf"):
        place.pipeline(BAD_ROWS).run(fresh=True)


def test_skip_counts_by_who_refused_and_goes_on(place):
    errors = Errors(policy="skip")
    summary = place.pipeline(BAD_ROWS, unreadable=UNREADABLE, operators=LEARNERS_IN_A_ROW, errors=errors).run()
    assert summary.progress.rejected == {"source": 2, "transform": 10, "first": 3}
    assert summary.progress.total_records == 1000


def test_dead_letters_have_the_original_the_place_and_the_reason(place):
    errors = place.dead_letter()
    place.pipeline(BAD_ROWS, unreadable=UNREADABLE, operators=LEARNERS_IN_A_ROW, errors=errors).run()
    letters = place.records("dead")
    assert len(letters) == 15
    by_record = {letter["record"]: letter for letter in letters}
    assert list(by_record[455]) == ["value", "encoding", "path", "record", "operator", "exception", "message"]
    assert by_record[455]["operator"] == "source"
    assert json.loads(by_record[177]["value"])["text"] == "oops"
    assert (by_record[177]["path"], by_record[177]["exception"]) == ("rows", "DataError")
    assert by_record[300]["message"].startswith("first: y: found inf; wanted")


def test_a_value_that_is_no_text_is_kept_in_base64():
    value = b"\xff\x00half"
    frame = dead_letters([Rejected(Record(value, {"path": "a", "record": 1}), "source", "m")])
    assert frame["encoding"][0] == "base64"
    assert base64.b64decode(frame["value"][0]) == value


@pytest.mark.parametrize(("max_errors", "rejected"), [(6, 7), (0, 1), (0.014, 15)])
def test_a_run_gives_up_when_there_are_more_than_max_errors(place, max_errors, rejected):
    pipeline = place.pipeline(
        BAD_ROWS, unreadable=UNREADABLE, operators=LEARNERS_IN_A_ROW, errors=place.dead_letter(max_errors)
    )
    with pytest.raises(DataError, match=rf"errors.max_errors: found \d+ bad records of .*at most {max_errors}"):
        pipeline.run()
    assert len(place.records("dead")) >= rejected  # what was done is kept
    assert sum(place.saved.rejected.values()) == len(place.records("dead"))
    with pytest.raises(DataError, match=r"errors.max_errors"):
        pipeline.run()  # and a restart does not creep on batch by batch
    assert sum(place.saved.rejected.values()) == len(place.records("dead"))


def test_as_many_bad_records_as_are_allowed_pass(place):
    for max_errors in (15, 0.015):
        errors = Errors(policy="skip", max_errors=max_errors)
        pipeline = place.pipeline(BAD_ROWS, unreadable=UNREADABLE, operators=LEARNERS_IN_A_ROW, errors=errors)
        assert pipeline.run(fresh=True).ended == "input"


def test_a_share_is_not_judged_before_a_thousand_records(place):
    errors = Errors(policy="skip", max_errors=0.002)
    early = frozenset({0, 1})
    assert place.pipeline(FRAME, unreadable=early, errors=errors).run().ended == "input"
    short = Place(place.folder.with_name("short"))
    with pytest.raises(DataError, match="2 bad records of 500"):
        short.pipeline(FRAME[:500], unreadable=early, errors=errors).run()


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (Errors(policy="dead_letter"), "errors: found policy dead_letter without a sink"),
        (Errors(policy="skip", sink=Place.sink), "errors: found policy skip with a sink"),
        (Errors(max_errors=-1), "errors.max_errors: found -1"),
        (Errors(max_errors=1.5), "errors.max_errors: found 1.5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(place, errors, words):
    with pytest.raises(ConfigError, match=words):
        place.pipeline(errors=errors).run()


def test_stop_stops_at_a_bad_record_that_the_warm_up_holds(place):
    frame = FRAME.with_columns(x=pl.when(pl.int_range(pl.len()) == 130).then(float("inf")).otherwise(pl.col("x")))
    with pytest.raises(DataError, match=r"record 130: .*found inf.*refused by r; errors\.policy is stop"):
        place.pipeline(frame[:240]).run()

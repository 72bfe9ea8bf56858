"""Files that grow, and replays by the time column, by a clock that moves only when one waits."""

import pytest

from streamem.connect.files.reader import POLL_SECONDS
from streamem.errors import ConnectError, DataError
from streamem.stream.protocol import Columns, Resume
from tests.connect.reading import Clock, opened, values


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def followed(paths, events, **settings):
    """Return the batches read while `events` happen, one at each wait; then the run is asked to stop."""
    world = Clock(events=list(events))
    reader = opened(paths, world=world, follow=True, **settings)
    try:
        return [batch for batch in reader if batch is not None]
    finally:
        reader.close()


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
def test_a_growing_file_is_read_on_and_an_unterminated_line_waits(tmp_path, name):
    path = tmp_path / name
    head, make = ("x\n", "{}\n") if name == "a.csv" else ("", '{{"x": {}}}\n')
    path.write_text(head + "".join(make.format(n) for n in range(3)) + make.format(345)[:-3])
    grown = [lambda: append(path, make.format(345)[-3:]), lambda: None, lambda: append(path, make.format(4))]
    assert values(followed([path], grown, size=1)) == [0.0, 1.0, 2.0, 345.0, 4.0]


def test_a_header_that_is_not_whole_yet_waits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,lo")
    grown = [lambda: append(path, "ng\n"), lambda: append(path, "1,2\n"), lambda: append(path, "3,4\n")]
    found = followed([path], grown, size=1)
    assert values(found) == [1.0, 3.0]
    assert values(found, "long") == [2, 4]


def test_a_new_file_is_read_once_the_last_one_is_done(tmp_path):
    one, two = tmp_path / "1.csv", tmp_path / "2.csv"
    one.write_text("x\n1\n")

    def next_file():
        append(one, "2")  # its last line is never terminated
        two.write_text("")

    grown = [next_file, lambda: append(two, "x\n"), lambda: append(two, "3\n")]
    assert values(followed([tmp_path / "*.csv"], grown, size=1)) == [1.0, 2.0, 3.0]


def test_a_new_file_that_sorts_earlier_is_refused(tmp_path):
    (tmp_path / "2.csv").write_text("x\n1\n")
    with pytest.raises(ConnectError, match=r"2\.csv: found .*1\.csv before it, which was not read"):
        followed([tmp_path / "*.csv"], [lambda: (tmp_path / "1.csv").write_text("x\n0\n")])


def test_a_followed_file_that_shrinks_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    with pytest.raises(ConnectError, match="only grows"):
        followed([path], [lambda: path.write_text("x\n")])


def test_max_wait_ms_cuts_a_batch_that_waits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n2\n")
    grown = [lambda: None] * 3 + [lambda: append(path, "3\n4\n5\n")] + [lambda: None] * 3
    found = followed([path], grown, size=3, wait=POLL_SECONDS * 2500)
    assert [batch.records for batch in found] == [2, 3]


def test_records_that_wait_when_the_run_is_stopped_are_read_by_the_next(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n2\n3\n")
    assert [batch.records for batch in followed([path], [], size=2)] == [2]


def replayed(path, speed, columns):
    world = Clock(events=[lambda: None] * 100)
    reader = opened([path], size=1, world=world, speed=speed, columns=columns)
    found = [world.now[0] for _ in reader]
    reader.close()
    return found


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_a_replay_keeps_the_distances_of_the_time_column(tmp_path, speed):
    path = tmp_path / "a.csv"
    path.write_text("t\n2026-01-01T00:00:00Z\n\n2026-01-01T00:01:00Z\n2026-01-01T01:00:00+01:00\n2026-01-01T00:03:00\n")
    assert replayed(path, speed, Columns(time="t")) == [pytest.approx(s / speed) for s in (0, 60, 60, 180)]


def test_a_replay_reads_numbers_in_their_unit(tmp_path):
    (tmp_path / "a.csv").write_text("t\n1000\n3000\n")
    assert replayed(tmp_path / "a.csv", 2.0, Columns(time="t", time_unit="ms")) == [0.0, 1.0]


def test_a_replay_refuses_a_time_that_is_none(tmp_path):
    (tmp_path / "a.csv").write_text("t\nnoon\n")
    with pytest.raises(DataError, match="ISO 8601"):
        replayed(tmp_path / "a.csv", 1.0, Columns(time="t"))


@pytest.mark.parametrize("content", ["x\n7\n", "x\n7\n8\n9\n"])
def test_a_followed_file_that_is_replaced_is_refused(tmp_path, content):
    path, other = tmp_path / "a.csv", tmp_path / "other"
    path.write_text("x\n1\n")
    other.write_text(content)
    with pytest.raises(ConnectError, match=r"a\.csv: found another file of this name"):
        followed([path], [lambda: other.replace(path), lambda: None])


def test_a_first_record_may_come_in_a_file_that_is_not_there_yet(tmp_path):
    (tmp_path / "1.csv").write_text("")
    grown = [lambda: (tmp_path / "2.csv").write_text("x\n1\n"), lambda: None]
    assert values(followed([tmp_path / "*.csv"], grown, size=1)) == [1.0]


def test_a_last_record_without_an_end_that_goes_on_while_it_is_followed_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n2")
    reader = opened([path])
    (found,) = reader
    reader.close()
    with pytest.raises(ConnectError, match="found more of a record that was read as the last"):
        followed([path], [lambda: append(path, "3\n")], resume=Resume(found.position, reader.schema, 1))


@pytest.mark.parametrize("times", ["0\n60000000000", "inf\n1", "NaN\n1"])
def test_a_replay_of_times_that_no_clock_reaches(tmp_path, times):
    (tmp_path / "a.csv").write_text(f"t\n{times}\n")
    if times.startswith("0"):
        with pytest.raises(DataError, match=r"time: found 1,901 years to the next batch.*time_unit"):
            replayed(tmp_path / "a.csv", 1.0, Columns(time="t"))
    else:
        assert replayed(tmp_path / "a.csv", 1.0, Columns(time="t")) == [0.0, 0.0]


def test_a_replay_by_a_column_that_holds_no_times_is_told(tmp_path):
    (tmp_path / "a.ndjson").write_text('{"t": [1]}\n')
    with pytest.raises(DataError, match=r"time: found \[1\]; wanted a time"):
        replayed(tmp_path / "a.ndjson", 1.0, Columns(time="t"))

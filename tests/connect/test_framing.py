"""Where records end: whatever the reads are, and as Python's csv module has it."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamem.connect.files import framing
from streamem.connect.files.framing import csv_records, lines

PIECES = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"a", b"12", b" ", b'""', b"\xff", b"{}"]), max_size=60)
FIELD = st.text(alphabet='a1 ",\n;é', max_size=6)


def split(frame, content, cuts):
    """Return the records, their fields and stray quotes when `content` comes in reads that end at `cuts`."""
    found = []
    rest = b""
    for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True):
        found_now, rest = take(frame, rest + content[a:b], final=False)
        found += found_now
    found_now, rest = take(frame, rest, final=True)
    assert rest == b""
    return found + found_now


def take(frame, data, *, final):
    frames = frame(data, final=final)
    fields = [None] * len(frames.ends) if frames.fields is None else frames.fields.tolist()
    stray = [None] * len(frames.ends) if frames.stray is None else frames.stray.tolist()
    records = [data[a:b] for a, b in zip(frames.starts, frames.ends, strict=True)]
    return list(zip(records, fields, stray, strict=True)), data[frames.consumed :]


def comma(data, *, final):
    return csv_records(data, ",", final=final)


@pytest.mark.parametrize("frame", [lines, comma])
@settings(deadline=None, max_examples=300)
@given(data=st.data(), pieces=PIECES)
def test_any_split_into_reads_gives_the_same_records(frame, data, pieces):
    content = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    assert split(frame, content, cuts) == split(frame, content, [])


@settings(deadline=None, max_examples=300)
@given(
    rows=st.lists(st.lists(FIELD, min_size=1, max_size=4), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    separator=st.sampled_from([",", ";"]),
)
def test_well_formed_csv_is_framed_as_python_frames_it(rows, end, separator):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL, delimiter=separator).writerows(rows)
    content = text.getvalue().encode()
    frames = csv_records(content, separator, final=True)
    found = [
        next(csv.reader(io.StringIO(content[a:b].decode(), newline=""), delimiter=separator))
        for a, b in zip(frames.starts, frames.ends, strict=True)
    ]
    assert found == rows
    assert frames.fields.tolist() == [len(row) for row in rows]
    assert not frames.stray.any()
    assert frames.consumed == len(content)


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b"a\n\n \t\nb\n", [b"a\n", b"b\n"]),
        (b"\n" * 1000, []),
        (b"a\r\nb", [b"a\r\n", b"b"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("frame", [lines, comma])
def test_blank_lines_are_no_records_and_the_last_line_needs_no_end(frame, content, records):
    assert [record for record, _, _ in split(frame, content, [])] == records


def test_a_line_of_separators_is_a_record_of_missing_values():
    assert csv_records(b"\t\t\n", "\t", final=True).fields.tolist() == [3]


def test_an_unterminated_line_waits_unless_it_is_final():
    assert comma(b"1,2\n3", final=False).consumed == 4
    assert len(lines(b"{}", final=False).ends) == 0


def test_a_stray_quote_swallows_nothing_and_is_marked():
    found = split(comma, b'1,a"b\n2,"c"d\n3,"e"\r\n4,f"\n', [])
    assert [(fields, stray) for _, fields, stray in found] == [(2, True), (2, True), (2, False), (2, True)]


def test_a_quote_that_never_closes_costs_one_line():
    found = split(comma, b'1,"a\n2,b\n3,c\n', [])
    assert [fields for _, fields, _ in found] == [-2, 2, 2]


def test_a_quote_open_for_too_long_costs_one_line(monkeypatch):
    monkeypatch.setattr(framing, "LONGEST", 20)
    content = b'1,"a\n' + b"2,b\n" * 50
    found = split(comma, content, [])
    assert [fields for _, fields, _ in found] == [-2, *[2] * 50]
    assert split(comma, content, [7, 23, 24]) == found

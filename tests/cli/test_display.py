import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from streamem.cli.display import Bar, Lines, Silent, display_of, summarise
from streamem.cli.portrait import portrait
from streamem.em import LDS, Kalman, Snapshot
from streamem.stream.progress import Progress, Summary


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


SNAPSHOT = SimpleNamespace(log_likelihood=-6.05, summary=lambda: {"components": [0, 1, 2], "in_use": 2})


def stand(records, done=None, **changes):
    values = {"batches": records // 100, "total_records": records, "rejected": {}, "snapshots": {"regime": SNAPSHOT}}
    return Progress(records=records, done=done, **{**values, **changes})


def test_lines_come_only_when_the_time_is_up(capsys):
    clock = Clock()
    with Lines(clock, 10.0) as display:
        for second in range(1, 31):
            clock.now = float(second)
            display.show(stand(100 * second, done=second / 100))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1,000 records, 100 records/s, 10 %, regime: log-likelihood -6.050, 2 of 3 components",
        "2,000 records, 100 records/s, 20 %, 0:02:40 left, regime: log-likelihood -6.050, 2 of 3 components",
        "3,000 records, 100 records/s, 30 %, 0:01:45 left, regime: log-likelihood -6.050, 2 of 3 components",
    ]


def test_a_source_without_an_end_has_no_share_and_no_time_left(capsys):
    clock = Clock()
    display = Lines(clock, 1.0)
    clock.now = 2.0
    display.show(stand(100, snapshots={}))
    assert capsys.readouterr().err == "100 records, 50 records/s\n"


def test_a_bar_is_drawn_on_a_terminal():
    clock, screen = Clock(), io.StringIO()
    with Bar(clock, Console(file=screen, force_terminal=True, width=120)) as display:
        clock.now = 1.0
        display.show(stand(500, done=0.5))
    assert "500 records, 500 records/s, 50 %" in screen.getvalue()
    assert "2 of 3 components" in screen.getvalue()


@pytest.mark.parametrize(
    ("stderr", "stdout", "in_use", "kind"),
    [(True, True, False, Bar), (True, False, True, Bar), (True, True, True, Lines), (False, True, False, Lines)],
)
def test_a_bar_never_shares_the_terminal_with_records(monkeypatch, stderr, stdout, in_use, kind):
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: stderr, write=lambda _: None, flush=lambda: None))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: stdout, write=lambda _: None, flush=lambda: None))
    assert type(display_of(Clock(), 10.0, stdout_in_use=in_use)) is kind


def test_silence_is_silent(capfd):
    with Silent() as display:
        display.show(stand(100))
    assert capfd.readouterr() == ("", "")


def summary(records=200, ended="input", **changes):
    values = {"was_finished": False, "seconds": 2.0, "moved_aside": (), **changes}
    progress = stand(records, total_records=500, rejected={"source": 3})
    return Summary(progress=progress, ended=ended, **values)


def test_the_summary_has_counts_learners_and_bad_records(capfd):
    summarise(summary(moved_aside=("out/a.ndjson.1",)), "streamem run a.yaml", resumable=True)
    text = capfd.readouterr().err
    for part in ("moved aside: out/a.ndjson.1", "200 in 2 batches", "500 with those of earlier runs", "100 records/s"):
        assert part in text
    assert "3 refused by source" in text
    assert "regime" in text
    assert "all of the input is read" in text


@pytest.mark.parametrize(
    ("ended", "resumable", "said"),
    [
        ("limit", True, "the limit is reached; streamem run a.yaml goes on from here"),
        ("stop", True, "asked to stop; streamem run a.yaml goes on from here"),
        ("stop", False, "asked to stop; without checkpoint: it would begin anew"),
    ],
)
def test_the_summary_says_what_starting_again_does(capfd, ended, resumable, said):
    summarise(summary(ended=ended), "streamem run a.yaml", resumable=resumable)
    assert said in " ".join(capfd.readouterr().err.split())


def test_nothing_new_says_how_to_start_afresh(capfd):
    summarise(summary(records=0, was_finished=True), "streamem run a.yaml", resumable=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "Nothing new to read: all 500 records were done by an earlier run. "
        "To start afresh: streamem run a.yaml --fresh\n"
    )


def shown(snapshot, features):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(portrait(snapshot, {"features": features}, console))
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    return [line.split() for line in text.splitlines()]


def learned(model, columns, **arrays):
    theta = model.assemble(arrays)
    return Snapshot(model, theta, theta, 100, 100.0, 3, 0.5, -1.0), [f"sensor_{place}" for place in range(columns)]


@pytest.mark.parametrize("states", [2, 3, 16, 40])
def test_what_is_of_the_state_never_stands_under_a_feature(states):
    spread = np.linspace(0.1, 0.9, states)
    lines = shown(
        *learned(
            LDS(state_size=states),
            3,
            transition=np.diag(spread),
            observation=np.ones((3, states)),
            transition_covariance=np.diag(spread**2),
            observation_covariance=np.diag([4.0, 9.0, 16.0]),
            initial_mean=np.zeros(states),
            initial_covariance=np.eye(states),
            scale=np.ones(states + 3),
        )
    )
    sizes, deviations = ([f"{value:.4g}" for value in values] for values in (spread[::-1], spread))
    if states <= 3:
        assert lines[2] == [str(place) for place in range(states)]
        assert ["eigenvalues", *sizes] in lines
        assert ["state", "sd", *deviations] in lines
    else:
        assert lines[2] == ["eigenvalues", "state", "sd"]
        numbered = zip(map(str, range(states)), sizes, deviations, strict=True)
        assert lines[3 : 3 + states] == [list(row) for row in numbered]
    assert lines[lines.index(["sensor_0", "sensor_1", "sensor_2"]) + 1] == ["observation", "sd", "2", "3", "4"]


@pytest.mark.parametrize("columns", [2, 30])
def test_a_tracker_of_many_features_has_a_row_for_each(columns):
    spread = np.linspace(1.0, 2.0, columns)
    model = Kalman(dynamics="local_trend")
    arrays = {
        "noise": np.array([spread, 2.0 * spread]),
        "observation_covariance": np.diag(spread**2),
        "initial_mean": np.zeros(2 * columns),
        "initial_covariance": np.eye(2 * columns),
        "scale": np.ones(3 * columns),
    }
    lines = shown(*learned(model, columns, **arrays))
    told = [[f"{value:.4g}" for value in values] for values in (spread, 2.0 * spread, spread)]
    if columns == 2:
        assert lines[2:6] == [["sensor_0", "sensor_1"], *(["noise", *one] for one in told[:2]),
                              ["observation", "sd", *told[2]]]  # fmt: skip
    else:
        assert lines[2] == ["noise", "noise", "observation", "sd"]
        assert lines[3:33] == [[f"sensor_{n}", *row] for n, row in enumerate(zip(*told, strict=True))]

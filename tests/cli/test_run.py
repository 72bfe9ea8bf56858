import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from streamem.cli.pipelines import stopped_by_signals

FREEWAY = "examples/freeway.yaml"


def lines(path):
    return path.read_text().splitlines()


def test_a_run_writes_a_posterior_for_every_record_and_ends_with_a_summary(streamem, workplace):
    result = streamem("run", FREEWAY)
    assert (result.code, result.out) == (0, "")
    assert "2,380 in 24 batches" in result.err
    assert "all of the input is read" in result.err
    assert len(lines(workplace / "out/freeway/posteriors.ndjson")) == 2380


def test_a_finished_run_started_again_says_so_and_how_to_start_afresh(streamem, workplace):
    streamem("run", FREEWAY, "--quiet")
    before = (workplace / "out/freeway/posteriors.ndjson").read_bytes()
    again = streamem("run", FREEWAY)
    assert again.code == 0
    assert again.err == (
        "Nothing new to read: all 2,380 records were done by an earlier run. "
        f"To start afresh: streamem run {FREEWAY} --fresh\n"
    )
    assert (workplace / "out/freeway/posteriors.ndjson").read_bytes() == before
    fresh = streamem("run", FREEWAY, "--fresh")
    assert fresh.code == 0
    assert "moved aside:" in fresh.err
    assert (workplace / "out/freeway/posteriors.ndjson").read_bytes() == before
    assert (workplace / "out/freeway/posteriors.ndjson.1").read_bytes() == before


def test_a_limit_ends_a_run_and_the_next_goes_on(streamem, workplace):
    first = streamem("run", FREEWAY, "--limit", "1000")
    assert first.code == 0
    assert f"the limit is reached; streamem run {FREEWAY} goes on from here" in " ".join(first.err.split())
    assert len(lines(workplace / "out/freeway/posteriors.ndjson")) == 1000
    second = streamem("run", FREEWAY)
    assert "1,380 in 14 batches" in second.err
    assert len(lines(workplace / "out/freeway/posteriors.ndjson")) == 2380


def test_late_records_that_are_dropped_are_counted_in_the_summary(streamem, workplace):
    late = workplace / "late.csv"
    late.write_text("t,x\n" + "".join(f"{n - 5 * (n % 9 == 8)},{n % 7}\n" for n in range(100)))
    (workplace / "late.yaml").write_text(
        "time: t\nsource: {type: files, paths: [late.csv]}\n"
        "operators: [{type: order, name: sorted, policy: drop}]\n"
        "outputs: [{what: posteriors, sink: {type: files, path: out.ndjson}}]\n"
    )
    result = streamem("run", "late.yaml")
    assert "11 dropped by sorted" in result.err
    assert len(lines(workplace / "out.ndjson")) == 89


def test_quiet_says_nothing(streamem, workplace):
    result = streamem("run", FREEWAY, "--quiet")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_records_on_standard_output_are_all_that_is_there(streamem, workplace):
    result = streamem("run", FREEWAY, "--set", "outputs.0.sink={type: files, path: '-', format: ndjson}")
    assert result.code == 0
    records = [json.loads(line) for line in result.out.splitlines()]
    assert len(records) == 2380
    assert {"timestamp", "regime.component", "regime.probabilities"} <= set(records[0])


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ("source.paths=[none.csv]", 2, "none.csv"),
        ("operators.0.features=[speed_mph, occupancy]", 2, "did you mean 'occupancy_percent'?"),
        ("operators.0.features=[speed_mph, timestamp]", 2, "timestamp"),
        ("operators.0.warmup_records=5000", 1, "warmup_records"),
        ("operators.0.model.component=3", 2, "--set operators.0.model.component: found the unknown key"),
        ("time=timestmp", 2, "did you mean 'timestamp'?"),
    ],
)
def test_a_run_that_cannot_be_ends_in_words(streamem, workplace, setting, code, said):
    result = streamem("run", FREEWAY, "--set", setting)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err
    assert "bug of streamem" not in result.err


def test_check_prints_the_pipeline_and_writes_nothing(streamem, workplace):
    before = sorted(path for path in workplace.rglob("*"))
    result = streamem("check", FREEWAY)
    assert result.code == 0
    for part in ("freeway", "learn regime features=speed_mph,occupancy_percent", "regime.probabilities", "every 5"):
        assert part in result.out
    assert sorted(path for path in workplace.rglob("*")) == before


def test_check_finds_a_feature_that_is_not_there(streamem, workplace):
    result = streamem("check", FREEWAY, "--set", "operators.0.features=[speed]")
    assert result.code == 2
    assert "did you mean 'speed_mph'?" in result.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_to_stop_also_while_the_event_is_waited_for(number):
    stopping = threading.Event()
    before = signal.getsignal(number)
    with stopped_by_signals(stopping):
        with stopping._cond:  # what the main thread holds for a moment whenever it waits
            for _ in range(3):
                os.kill(os.getpid(), number)
        assert stopping.wait(5)
    assert signal.getsignal(number) == before


def test_a_signal_that_comes_later_ends_the_process():
    program = (
        "import os, signal, threading, time\n"
        "from streamem.cli.pipelines import stopped_by_signals\n"
        "with stopped_by_signals(threading.Event()):\n"
        "    for _ in range(2):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(1.2)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout + done.stderr == ""


def test_a_signal_finishes_the_batch_puts_the_state_down_and_exits_0(workplace):
    settings = ["source.speed=30000", "progress_seconds=0.01", "operators.0.warmup_records=50", "batch.max_records=50"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "streamem", "run", FREEWAY, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "records" in process.stderr.readline()
        for _ in range(2):  # as GNU timeout does
            process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait() == 0
    assert "asked to stop" in rest
    assert "Error" not in rest
    assert (workplace / "out/freeway/state/checkpoint.zip").exists()
    records = len(lines(workplace / "out/freeway/posteriors.ndjson"))
    assert 0 < records < 2380
    assert records % 50 == 0

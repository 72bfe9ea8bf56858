"""The README's commands for Kafka, in their order, with a real broker; and mistakes at the command line."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker import reading
from tests.broker.fixture import broker  # noqa: F401
from tests.cli.test_readme import BLOCKS, BROKER, LINES, alike

TOP = Path(__file__).parents[2]
*COMMANDS, REPLAY = (line for line in LINES if any(name in line for name in BROKER))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kafka")
    (folder / "examples").symlink_to(TOP / "examples")
    return folder


@pytest.fixture(scope="module")
def streamem(place, broker):  # noqa: F811
    def run(*arguments, **environment):
        return subprocess.run(
            [Path(sys.executable).parent / "streamem", *arguments],
            cwd=place,
            env={**os.environ, "KAFKA": broker.bootstrap, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_commands_of_the_readme_run_from_topic_to_topic(streamem, broker):  # noqa: F811
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        done = streamem(*command.split()[1:])
        assert done.returncode == 0, done.stderr
    shown = next(block for language, block in BLOCKS if language == "text" and "committed" in block)
    assert alike(done.stdout, shown)
    posteriors = [json.loads(one.value) for one in reading.read(broker.bootstrap, "traffic-regimes")]
    assert len(posteriors) == 2380
    assert len({one["kafka.offset"] for one in posteriors}) == 2380
    assert {one.key for one in reading.read(broker.bootstrap, "traffic-models")} == {b"freeway-live/regime"}
    again = streamem(*COMMANDS[2].split()[1:])
    assert "Nothing new to read: all 2,380 records" in again.stderr


def test_a_dump_of_the_topic_is_replayed_through_the_same_file(streamem, broker, place):  # noqa: F811
    """After the test above, whose records it reads."""
    dump = [one.value for one in reading.read(broker.bootstrap, "traffic")]
    (place / "dump.ndjson").write_bytes(b"\n".join([*dump, b""]))
    done = streamem(*shlex.split(REPLAY)[1:])
    assert done.returncode == 0, done.stderr
    live = [json.loads(one.value) for one in reading.read(broker.bootstrap, "traffic-regimes")]
    for one in live:
        del one["kafka.partition"], one["kafka.offset"]
    assert [json.loads(line) for line in (place / "out" / "replay.ndjson").read_text().splitlines()] == live
    assert len(live) == 2380


def test_topics_that_are_there_stay_and_a_dry_run_makes_none(streamem):
    done = streamem("topics", "examples/kafka.yaml", "--set", "source.topics=[elsewhere]", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["elsewhere", "1", "would", "be", "made"] in lines
    assert ["traffic-regimes", "1", "is", "there"] in lines
    done = streamem("lag", "examples/kafka.yaml", "--set", "source.topics=[elsewhere]")
    assert done.returncode == 2
    assert done.stderr.startswith("streamem: topic elsewhere: found no such topic; wanted a topic that is there.")


def test_what_no_topic_is_in_says_so(streamem):
    assert streamem("topics", "examples/freeway.yaml").stdout == "The pipeline has no topics.\n"
    done = streamem("lag", "examples/freeway.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("streamem: source: found no Kafka source; wanted type: kafka.")


def test_a_broker_that_is_away_is_named_within_15_seconds(streamem):
    done = streamem("run", "examples/kafka.yaml", KAFKA="127.0.0.1:9")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


CLIENTS = ("kafka-python", "confluent-kafka")
SINKS = ("outputs.0.sink", "outputs.1.sink", "errors.sink")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("places", "options", "said"),
    [
        (["source"], "{max.poll.records: lots}", "max.poll.records"),
        (["source"], "{security.protocl: SSL}", "security.protocl"),
        (SINKS, "{compression.type: zipp}", "zipp"),
    ],
)
def test_options_that_no_client_takes_are_a_mistake_in_the_file(streamem, client, places, options, said):
    words = [f"{place}.client={client}" for place in ("source", *SINKS)]
    words += [f"{place}.options={options}" for place in places]
    streamem("topics", "examples/kafka.yaml")
    done = streamem("run", "examples/kafka.yaml", *(word for one in words for word in ("--set", one)))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("streamem: options")
    assert said in done.stderr


def test_sinks_on_one_cluster_are_told_what_differs(streamem):
    done = streamem("run", "examples/kafka.yaml", "--set", "outputs.0.sink.options={compression.type: gzip}")
    assert done.returncode == 2
    assert "traffic-regimes and traffic-models with different clients or options; wanted the same" in done.stderr


def test_topics_get_as_many_copies_as_are_asked_for(streamem):
    done = streamem("topics", "examples/kafka.yaml", "--replication", "9", "--set", "source.topics=[copied]")
    assert done.returncode == 1
    assert "wanted as many brokers as replicas. To do: lower --replication." in done.stderr


def test_a_run_that_starts_afresh_says_that_topics_keep_what_they_hold(streamem, place):
    streamem("topics", "examples/kafka.yaml")
    lines = (TOP / "examples" / "data" / "traffic_6005.csv").read_text()
    (place / "few.csv").write_text(lines)
    source = "source={type: files, paths: [few.csv]}"
    done = streamem("run", "examples/kafka.yaml", "--fresh", "--set", "name=afresh", "--set", source)
    assert done.returncode == 0, done.stderr
    assert "topic traffic-models: what it holds stays; what comes is added to it." in done.stderr

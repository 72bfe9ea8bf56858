"""Brokers that are killed and come back while a pipeline goes from topic to topic.

Three of them, each with a copy of everything. One alone does not do (`--brokers 1`): of Kafka 4.3.1, killed between the
answer to a commit and the marks of it, 5 of 36 came back without. It loads the transaction before it is let
into the cluster again, finds no leader for the partitions, and lets the marks go, as if the topics were deleted.
"""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

from tests.broker import reading
from tests.broker.cluster import cluster
from tests.broker.topics import create
from tests.kill.campaign import Report

KILLED = "broker"

END_SECONDS = 300
"""How long a run may go on once its broker stays, at most: far longer than it takes."""

UP_SECONDS, DOWN_SECONDS = (0.2, 1.0), (0.0, 2.0)
"""From to: how long a broker stays."""


def campaign(folder: Path, times: int, seed: int, count: int, client: str, brokers: int) -> Report:
    """Kill brokers of a pipeline that reads so many records; it has to come to its end by itself."""
    rng, report = random.Random(seed), Report()
    with cluster(folder, brokers) as broker:
        entry, out = create(broker.bootstrap), create(broker.bootstrap)
        lines = [b'{"id":%d,"x":%r}' % (n, rng.gauss(n // 50 % 2 * 5.0, 1.0)) for n in range(count)]
        reading.produce(broker.bootstrap, entry, lines)
        file = folder / "pipeline.yaml"
        file.write_text(yaml.safe_dump(settings(broker.bootstrap, client, entry, out, folder)))
        with (folder / "log.txt").open("w") as log:
            command = [sys.executable, "-m", "streamem", "run", str(file)]
            with subprocess.Popen(command, stdout=log, stderr=log) as run:
                while not reading.read(broker.bootstrap, out, pending=True):
                    time.sleep(0.05)
                while run.poll() is None and report.kills.total() < times:
                    broker.wait_until_whole()
                    time.sleep(rng.uniform(*UP_SECONDS))
                    victim = rng.choice(broker.members)
                    victim.kill()
                    report.kills[KILLED] += run.poll() is None
                    time.sleep(rng.uniform(*DOWN_SECONDS))
                    victim.start()
                try:
                    run.wait(END_SECONDS)
                finally:
                    run.kill()
        assert run.returncode == 0, f"the run failed:\n{(folder / 'log.txt').read_text()}"
        found = Counter(int(json.loads(one.value or b"")["id"]) for one in reading.read(broker.bootstrap, out))
    report.runs = 1
    report.lost = sum(n not in found for n in range(count))
    report.repeated = sum(number > 1 for number in found.values())
    return report


def settings(servers: str, client: str, entry: str, out: str, folder: Path) -> dict[str, object]:
    """Return the settings of the pipeline."""
    where = {"type": "kafka", "bootstrap_servers": servers, "client": client}
    learner = {"type": "learn", "name": "regime", "features": ["x"], "model": {"type": "mixture", "components": 2}}
    return {
        "name": "outage",
        "source": where | {"topics": [entry], "group_id": "outage", "stop": "latest"},
        "batch": {"max_records": 100},
        "operators": [learner],
        "outputs": [{"what": "posteriors", "include": ["id"], "sink": where | {"topic": out}}],
        "checkpoint": {"path": str(folder / "state"), "every_batches": 2},
    }

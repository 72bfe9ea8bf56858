"""The pipelines that are killed between topics and files: their input, settings, and what they leave.

Whatever a pipeline leaves in topics is written to files of the same names as a pipeline with files leaves, so that both
are compared alike.
"""

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from streamem.config import load
from streamem.connect.kafka.topics import make, plan
from tests.broker import reading
from tests.kill.child import PHASES, TRANSACTION_PHASES

RECORDS = 6000
"""They are numbered from 0 in a column `id`."""

NUMBER = re.compile(rb'\bid\\?": ?([0-9]+)')
"""Of a record, also of one that is quoted in JSON."""


@dataclass(frozen=True)
class Pairing:
    """From where to where a pipeline goes, and how.

    Parameters
    ----------
    source, sink : str
        ``kafka`` or ``files``.
    checkpoint : str
        ``folder`` or ``topic``; with a topic nothing on the local disk survives a kill.
    client : str
    partitions : int
        Of what is read; with one, batches are cut by count, with more by time.
    """

    source: str
    sink: str
    checkpoint: str
    client: str
    partitions: int

    @property
    def phases(self) -> list[str]:
        """The points at which a process of it can be killed."""
        phases = [*PHASES] if self.checkpoint == "folder" else ["start", "warm-up", "mid-batch"]
        if self.sink == "kafka":
            phases = [one for one in phases if one not in ("cutting back", "half a write")] + [*TRANSACTION_PHASES]
        if self.source == "files":  # which have no offsets to commit
            phases = [one for one in phases if "offsets" not in one]
        return phases

    def topic(self, folder: Path, what: str) -> str:
        """Return the name of a topic of the run in a folder."""
        return f"{folder.parent.name}-{folder.name}-{what}"

    def sink_of(self, folder: Path, servers: str, what: str) -> dict[str, Any]:
        """Return the settings of a sink."""
        if self.sink == "files":
            return {"type": "files", "path": str(folder / "out" / f"{what}.ndjson")}
        topic = self.topic(folder, what)
        return {"type": "kafka", "bootstrap_servers": servers, "topic": topic, "client": self.client}

    def settings(self, folder: Path, servers: str) -> dict[str, Any]:
        """Return the settings of the pipeline of a run."""
        name, state = f"killed-{folder.parent.name}", {"path": str(folder / "state")}
        source: dict[str, Any] = {"type": "files", "paths": [str(folder.parent / "in.ndjson")]}
        if self.source == "kafka":
            source = {"type": "kafka", "bootstrap_servers": servers, "topics": [folder.parent.name], "group_id": name}
            source |= {"client": self.client, "stop": "latest", "metadata": ["partition", "offset"]}
        learner = {"type": "learn", "name": "regime", "features": ["x", "y"], "model": {"type": "hmm", "states": 3}}
        return {
            "name": name,
            "key": "device",
            "source": source,
            "batch": {"max_records": 100} if self.partitions == 1 else {"max_records": 150, "max_wait_ms": 2},
            "operators": [learner | {"warmup_records": 450}],
            "outputs": [
                {"what": "posteriors", "include": "all", "sink": self.sink_of(folder, servers, "posteriors")},
                {"what": "snapshots", "every_batches": 7, "sink": self.sink_of(folder, servers, "snapshots")},
            ],
            "checkpoint": {"every_batches": 3}
            | (state if self.checkpoint == "folder" else {"topic": self.topic(folder, "state")}),
            "errors": {"policy": "dead_letter", "sink": self.sink_of(folder, servers, "dead_letters")},
        }


def values() -> list[bytes]:
    """Return records of three regimes and five devices, a few of them bad."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=RECORDS) + np.arange(RECORDS) // 40 % 3 * 5.0).round(6).tolist()
    y = rng.normal(size=RECORDS).round(6).tolist()
    bad = {5: b'"oops"', 7: b'{"in":1}', 11: b"1.5.2"}
    return [
        b'{"id":%d,"device":"d%d","x":%s,"y":%r}' % (n, n % 5, bad.get(n % 97, repr(x[n]).encode()), y[n])
        for n in range(RECORDS)
    ]


def write_input(pairing: Pairing, folder: Path, servers: str) -> None:
    """Write the records to a file of the folder or to a topic of its name. It uses a client: leave it to a child."""
    folder.mkdir()
    if pairing.source == "files":
        (folder / "in.ndjson").write_bytes(b"\n".join([*values(), b""]))
        return
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient(reading.client(servers))
    admin.create_topics([NewTopic(folder.name, pairing.partitions)])[folder.name].result(30)
    records = [{"value": value, "partition": n % pairing.partitions} for n, value in enumerate(values())]
    reading.produce(servers, folder.name, records)


def write_run(pairing: Pairing, folder: Path, servers: str) -> None:
    """Write the pipeline file of a run and make its topics. It uses a client: leave it to a child."""
    folder.mkdir()
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(pairing.settings(folder, servers), sort_keys=False))
    found = load(str(file), [])
    outputs: list[tuple[str, Any]] = [(one.what, one.sink) for one in found.outputs]
    make(plan(found.source, [*outputs, ("dead_letters", found.errors.sink)], found.keeping, 1))


def fetch(pairing: Pairing, folder: Path, servers: str) -> None:
    """Write what a run left in topics to files, as two other clients read it. It uses one: leave it to a child."""
    if pairing.sink == "kafka":
        (folder / "out").mkdir()
        for what in ("posteriors", "snapshots", "dead_letters"):
            found = reading.read(servers, pairing.topic(folder, what))
            if reading.has_kcat():
                by_kcat = reading.read_by_kcat(servers, pairing.topic(folder, what))
                assert [one[:4] for one in by_kcat] == [one[:4] for one in found], f"kcat reads other {what}"
            (folder / "out" / f"{what}.ndjson").write_bytes(b"".join((one.value or b"") + b"\n" for one in found))
    if pairing.checkpoint == "topic":
        found = reading.read(servers, pairing.topic(folder, "state"))
        last = [one.value or b"" for one in found if one.headers == found[-1].headers]
        shutil.rmtree(folder / "state", ignore_errors=True)
        (folder / "state").mkdir()
        (folder / "state" / "checkpoint.zip").write_bytes(b"".join(last))


def records(found: dict[str, bytes]) -> Counter[int]:
    """Return how often each record stands among the posteriors and the dead letters."""
    lines = (found["posteriors.ndjson"] + found["dead_letters.ndjson"]).splitlines()
    return Counter(int(number[1]) for line in lines if (number := NUMBER.search(line)))

"""What the tests with a broker have in common: a pipeline from topic to topic, records for it, and what it left."""

import json
import uuid

import numpy as np

from streamem.connect import FilesSource, KafkaSink, KafkaSource, TopicCheckpoints
from streamem.connect.kafka import Cluster
from streamem.em import Mixture
from streamem.stream.operators import Learn
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.protocol import Columns, Cuts, World
from streamem.stream.rejections import Errors
from tests.broker import reading

CLIENTS = ["kafka-python", "confluent-kafka"]

LEARN = Learn(name="m", features=["x"], model=Mixture(components=2), warmup_records=50, seed=1)


def values(count, first=0):
    """Return messages of JSON, the numbers from `first` on."""
    numbers = np.random.default_rng(3).normal(size=first + count) + np.tile([-4, 4, 4], first + count)[: first + count]
    return [
        json.dumps({"n": n, "device": f"d{n % 5}", "x": round(float(numbers[n]), 6)}).encode()
        for n in range(first, first + count)
    ]


def fill(broker, topic, count, first=0, partitions=1):
    """Write records to a topic, in turn to its partitions."""
    found = values(count, first)
    reading.produce(broker.bootstrap, topic, [{"value": v, "partition": n % partitions} for n, v in enumerate(found)])
    return found


class Place:
    """The pieces of a pipeline on one broker with one client."""

    def __init__(self, servers, client, folder, **options):
        self.servers, self.client, self.folder, self.options = servers, client, folder, options
        self.name = f"p-{uuid.uuid4().hex[:12]}"

    @property
    def settings(self):
        return {"bootstrap_servers": self.servers, "client": self.client, "options": self.options}

    @property
    def cluster(self):
        return Cluster(self.servers, self.client, self.options)

    def source(self, *topics, **changes):
        settings = {"group_id": self.name, "stop": "latest", **self.settings}
        return KafkaSource(topics=list(topics), **(settings | changes))

    def sink(self, topic, **changes):
        return KafkaSink(topic=topic, **(self.settings | changes))

    def files(self, paths, **changes):
        return FilesSource(paths=[str(path) for path in paths], **changes)

    def state(self, topic=None, every=2):
        """A checkpoint in a topic, else in a folder."""
        if topic is not None:
            return TopicCheckpoints(topic=topic, every_batches=every, cluster=self.cluster)
        return Checkpoints(path=str(self.folder / "state"), every_batches=every)

    def pipeline(self, source, posteriors, **changes):
        """A pipeline that learns; what comes out goes to a sink."""
        settings = {
            "name": self.name,
            "source": source,
            "cuts": Cuts(100),
            "columns": Columns(key="device"),
            "operators": [LEARN],
            "outputs": [Output(what="posteriors", sink=posteriors, include="all")],
            "checkpoint": self.state(),
            "errors": Errors(),
            "world": World(),
        }
        return Pipeline(**(settings | changes))


def left(broker, topic):
    """Return the committed messages of a topic: their values as JSON."""
    return [json.loads(one.value) for one in reading.read(broker.bootstrap, topic)]


def numbers(broker, topic):
    """Return the numbers of the records that a topic tells of, in order."""
    return sorted(one["n"] for one in left(broker, topic))

"""Kafka: topics in, topics out, state and offsets in the same transaction."""

from streamem.connect.kafka.checkpoints import TopicCheckpoints
from streamem.connect.kafka.cluster import Cluster
from streamem.connect.kafka.sink import KafkaSink
from streamem.connect.kafka.source import KafkaSource, Workers

__all__ = ["Cluster", "KafkaSink", "KafkaSource", "TopicCheckpoints", "Workers"]

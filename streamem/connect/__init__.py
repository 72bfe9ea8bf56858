"""The outside world: one system per file, its source and its sink together."""

from typing import Any

from streamem.connect.console import ConsoleSink
from streamem.connect.files import FilesSink, FilesSource
from streamem.connect.kafka import KafkaSink, KafkaSource, TopicCheckpoints
from streamem.connect.memory import MemorySink, MemorySource

__all__ = [
    "SINKS",
    "SOURCES",
    "ConsoleSink",
    "FilesSink",
    "FilesSource",
    "KafkaSink",
    "KafkaSource",
    "MemorySink",
    "MemorySource",
    "TopicCheckpoints",
]

SOURCES: dict[str, type[Any]] = {"files": FilesSource, "kafka": KafkaSource}

SINKS: dict[str, type[Any]] = {"files": FilesSink, "kafka": KafkaSink, "console": ConsoleSink}

"""The outside world: one system per file, its source and its sink together."""

from typing import Any

from streamem.connect.console import ConsoleSink
from streamem.connect.files import FilesSink, FilesSource
from streamem.connect.memory import MemorySink, MemorySource

__all__ = ["SINKS", "SOURCES", "ConsoleSink", "FilesSink", "FilesSource", "MemorySink", "MemorySource"]

SOURCES: dict[str, type[Any]] = {"files": FilesSource}

SINKS: dict[str, type[Any]] = {"files": FilesSink, "console": ConsoleSink}

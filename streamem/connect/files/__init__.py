"""Files: CSV, NDJSON and Parquet, in and out."""

from streamem.connect.files.sink import FilesSink
from streamem.connect.files.source import FilesSource

__all__ = ["FilesSink", "FilesSource"]

"""The files sink as it is declared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from streamem.connect.files.lines import LineWriter, OutputWriter
from streamem.connect.files.parts import PartsWriter
from streamem.connect.files.source import format_of
from streamem.errors import ConfigError, ConnectError, tell
from streamem.stream.disk import move_aside
from streamem.stream.protocol import State, World, Writer

__all__ = ["FilesSink"]


@dataclass(frozen=True, kw_only=True)
class FilesSink:
    """NDJSON or CSV in one file, Parquet in parts, or standard output; exactly once with a checkpoint.

    After a crash the file is cut back to what the last checkpoint knows of. Standard output cannot be cut back: at
    least once.

    Parameters
    ----------
    path : str
        The file; for Parquet a folder, which gets ``part-000000.parquet`` and so on; ``-`` is standard output. Folders
        are made.
    format : str, optional
        ``ndjson``, ``csv`` or ``parquet``; by default told from the suffix. Of standard output ``ndjson``.
    part_records : int
        A Parquet part is closed at the first checkpoint that finds so many records in it.

    Examples
    --------
    >>> FilesSink(path="out/posteriors.csv").kind, FilesSink(path="-").kind
    ('csv', 'ndjson')
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["files"] = "files"
    path: str
    format: Literal["ndjson", "csv", "parquet"] | None = None
    part_records: int = 100_000

    @property
    def kind(self) -> Literal["ndjson", "csv", "parquet"]:
        """The format that is written."""
        if self.path == "-" and self.format is None:
            return "ndjson"
        return format_of(self.path, self.format)

    def open(self, world: World, state: State | None) -> Writer:
        """Return a writer that goes on after `state`, or begins.

        Raises
        ------
        ConfigError
            Output stands there that no checkpoint speaks of, or the format does not fit.
        ConnectError
            The output is shorter than the checkpoint says, or cannot be written.
        """
        kind, path = self.kind, Path(self.path)
        if self.path.endswith((".gz", ".zst")) or (self.path == "-" and kind == "parquet"):
            do = "write plain NDJSON or CSV, or Parquet, which is compressed"
            raise ConfigError(tell("sink.path", found=self.path, wanted="an output that can be cut back", do=do))
        if self.path == "-":
            return OutputWriter(kind)
        self.check_name(kind)
        try:
            if state is None and self.stands(kind):
                raise ConfigError(
                    tell(
                        self.path,
                        found="an earlier output, and no checkpoint that speaks of it",
                        wanted="nothing there, or a checkpoint",
                        do="run with --fresh, which moves it aside, or choose another path",
                    )
                )
            if kind == "parquet":
                return PartsWriter(world.disk, path, self.part_records, state)
            return LineWriter(world.disk, path, kind, state)
        except ConnectError:
            raise
        except OSError as error:
            raise self.unwritable(error) from error

    def check_name(self, kind: str) -> None:
        """Raise ConfigError where the path is a folder that cannot be the output: it is somebody else's."""
        path = Path(self.path)
        if path.is_dir() and (kind != "parquet" or path.name in ("", "..")):
            do = f"write for example {path / f'posteriors.{kind}'}"
            raise ConfigError(tell(self.path, found="a folder", wanted="a name of its own for the output", do=do))

    def unwritable(self, error: OSError) -> ConnectError:
        """Return the error for an output that the system does not let us write."""
        do = "look at the folder and its rights, or choose another path"
        found = error.strerror or str(error)
        return ConnectError(tell(self.path, found=found, wanted="an output that can be written", do=do))

    def stands(self, kind: str) -> bool:
        """Whether there is earlier output; an empty file is none."""
        path = Path(self.path)
        if kind == "parquet" and path.is_dir():
            return any(path.glob("part-*.parquet"))
        return path.exists() and path.stat().st_size > 0

    def move_aside(self, world: World) -> list[str]:
        """Rename earlier output to the first free of ``.1``, ``.2``…, and return the new name."""
        if self.path == "-":
            return []
        self.check_name(self.kind)
        try:
            return [move_aside(world.disk, Path(self.path))] if self.stands(self.kind) else []
        except OSError as error:
            raise self.unwritable(error) from error

"""The files source as it is declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from streamem.connect.files import listing
from streamem.connect.files.reader import FilesReader
from streamem.errors import ConfigError, tell
from streamem.stream.protocol import Columns, Cuts, Resume, World

__all__ = ["FilesSource", "format_of"]

Format = Literal["csv", "ndjson", "parquet"]
Type = Literal["string", "integer", "float", "boolean"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, kw_only=True)
class FilesSource:
    """CSV, NDJSON or Parquet files, also ``.gz`` and ``.zst``; globs; a file that grows; standard input.

    Blank lines are skipped. An absent key, an empty field, null and NaN are missing values. A record that does not fit
    the schema is a bad record; the errors policy of the pipeline decides what becomes of it.

    Parameters
    ----------
    paths : sequence of str
        Files and globs, read in this order; ``-`` is standard input, which cannot be resumed.
    format : str, optional
        ``csv``, ``ndjson`` or ``parquet``; by default told from the suffix.
    schema : mapping of str to str
        Types of columns (string, integer, float, boolean); those not named are inferred from the first 10,000 records.
    order : str
        Of the matches of one glob: ``name``, or ``modified`` (oldest first).
    follow : bool
        Wait for the last file to grow, and for new ones, instead of ending.
    speed : float, optional
        Replay by the time column: 1 is as it happened, 60 a minute in a second. By default as fast as can be.
    separator : str
        Between the fields of CSV; a tab for ``.tsv``.
    null_values : sequence of str
        What else is a missing value in CSV, such as NA.

    Examples
    --------
    >>> FilesSource(paths=["trips/*.csv.gz", "today.ndjson"], order="modified").resumable
    True
    >>> FilesSource(paths=["-"], format="csv").resumable
    False
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["files"] = "files"
    paths: Sequence[str]
    format: Format | None = None
    schema: Mapping[str, Type] = field(default_factory=dict)
    order: Literal["name", "modified"] = "name"
    follow: bool = False
    speed: float | None = None
    separator: str | None = None
    null_values: Sequence[str] = ()

    @property
    def live(self) -> bool:
        """Whether the input has no end."""
        return self.follow

    @property
    def resumable(self) -> bool:
        """Whether reading can go on where a checkpoint says."""
        return "-" not in self.paths

    def open(self, world: World, cuts: Cuts, columns: Columns, resume: Resume | None) -> FilesReader:
        """Return a reader at `resume`, or at the first record.

        Raises
        ------
        ConfigError
            Settings that do not fit each other, or a path without a file.
        ConnectError
            A file cannot be read, or is not the one that was read before.
        DataError
            There is not a single record.
        """
        self.check(cuts, columns, resume)
        files = listing.find(self.paths, self.order)
        kinds = {format_of(path, self.format) for path in files}
        if len(kinds) > 1:
            raise ConfigError(
                tell(
                    "source.paths",
                    found=f"files of the formats {', '.join(sorted(kinds))}",
                    wanted="one format",
                    do="set format: or narrow the paths",
                )
            )
        kind = kinds.pop()
        self.check_kind(kind)
        return FilesReader(self, kind, world, cuts, columns, resume)

    def check_kind(self, kind: Format) -> None:
        """Raise ConfigError for settings that would do nothing with files of a format."""
        problems = [
            (kind == "parquet" and bool(self.schema), "schema", "CSV or NDJSON: Parquet files have their own"),
            (kind == "parquet" and not self.resumable, "paths: -", "files: Parquet cannot be read from standard input"),
            (kind != "csv" and self.separator is not None, "separator", "CSV"),
            (kind != "csv" and bool(self.null_values), "null_values", "CSV"),
        ]
        for wrong, setting, wanted in problems:
            if wrong:
                raise ConfigError(
                    tell(f"source.{setting}", found=f"the format {kind}", wanted=wanted, do="take it out")
                )

    def check(self, cuts: Cuts, columns: Columns, resume: Resume | None) -> None:
        """Raise ConfigError for settings that contradict each other."""
        problems = [
            (not self.paths, "source.paths", "no path", "at least one file or glob", "name the files to read"),
            (cuts.max_wait_ms is not None and not self.follow, "batch.max_wait_ms", "a source that ends",
             "a live source: files are cut by count alone, so that every run cuts them the same",
             "leave it out, or set source.follow: true"),
            (self.speed is not None and columns.time is None, "source.speed", f"{self.speed} without a time column",
             "time: at the top of the pipeline file", "name the time column, or leave speed out"),
            (self.speed is not None and not self.speed > 0, "source.speed", f"{self.speed}", "a number above 0",
             "write 1 for real time, 60 for a minute in a second"),
            (resume is not None and not self.resumable, "source.paths", "standard input and a checkpoint",
             "a source that can be read again", "leave checkpoint: out, or read files"),
            (self.follow and not self.resumable, "source.follow", "standard input", "files",
             "leave follow out: standard input is read as it comes"),
            (len((self.separator or ",").encode()) != 1 or self.separator in ('"', "\n", "\r"),
             "source.separator", repr(self.separator), "one ASCII character, no quote",
             'write for example ";"'),
        ]  # fmt: skip
        for wrong, place, found, wanted, do in problems:
            if wrong:
                raise ConfigError(tell(place, found=found, wanted=wanted, do=do))


def format_of(path: str, declared: Format | None) -> Format:
    """Return the format of a file: the declared one, or by the suffix without compression.

    Raises
    ------
    ConfigError
        The suffix tells nothing.
    """
    if declared is not None:
        return declared
    bare = Path(path)
    if bare.suffix in (".gz", ".zst"):
        bare = bare.with_suffix("")
    kind = SUFFIXES.get(bare.suffix.lower())
    if kind is None:
        suffix = bare.suffix or "no suffix"
        found = "standard input" if path == "-" else f"{suffix}"
        raise ConfigError(tell(f"format of {path}", found=found, wanted="csv, ndjson or parquet", do="set format:"))
    return kind

"""Where an input is made: a folder, random numbers, and a pipeline that would work."""

import json
import random
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROWS = 400


@dataclass(frozen=True)
class Attempt:
    """A command, and what is expected of it.

    Parameters
    ----------
    arguments : list of str
        Of the command line.
    error : str or None
        The class that is expected, None for a run that succeeds.
    place : str
        What the message must name.
    code : int
        The exit code.
    good : int or None
        How many posteriors must be there afterwards: no good record lost.
    bad : list of str or None
        The originals that must stand in the dead letters.
    room : int or None
        Bytes that a file may have: a disk that gets full. What was written must then be whole lines.
    """

    arguments: list[str]
    error: str | None
    place: str
    code: int
    good: int | None = None
    bad: list[str] | None = None
    room: int | None = None


@dataclass
class Place:
    """One input in the making."""

    folder: Path
    rng: random.Random
    settings: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.settings = {
            "name": "fuzzed",
            "source": {"type": "files", "paths": [str(self.folder / "in.csv")]},
            "batch": {"max_records": 50},
            "operators": [
                {
                    "type": "learn",
                    "name": "regime",
                    "features": ["x", "y"],
                    "model": {"type": "mixture", "components": 2, "family": {"type": "gaussian"}},
                    "warmup_records": 120,
                }
            ],
            "outputs": [
                {
                    "what": "posteriors",
                    "include": "all",
                    "sink": {"type": "files", "path": str(self.folder / "out" / "posteriors.ndjson")},
                },
                {
                    "what": "snapshots",
                    "sink": {"type": "files", "path": str(self.folder / "out" / "snapshots.ndjson")},
                },
            ],
            "checkpoint": {"path": str(self.folder / "state"), "every_batches": 2},
        }

    @property
    def learn(self) -> dict[str, Any]:
        return self.settings["operators"][0]

    @property
    def posteriors(self) -> Path:
        return self.folder / "out" / "posteriors.ndjson"

    @property
    def snapshots(self) -> Path:
        return self.folder / "out" / "snapshots.ndjson"

    def rows(self, count: int = ROWS) -> list[str]:
        """Return good CSV records without their ends."""
        return [
            f"{n},{self.rng.gauss(self.rng.choice([-5, 5]), 1):.6f},{self.rng.gauss(0, 1):.6f}" for n in range(count)
        ]

    def write(self, lines: list[str] | None = None, name: str = "in.csv") -> Path:
        """Write CSV records under a header."""
        path = self.folder / name
        text = "id,x,y\n" + "".join(f"{line}\n" for line in (self.rows() if lines is None else lines))
        path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
        return path

    def write_ndjson(self, lines: list[str]) -> Path:
        """Write NDJSON records and read them in place of the CSV."""
        path = self.folder / "in.ndjson"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", errors="surrogateescape"))
        self.settings["source"]["paths"] = [str(path)]
        return path

    def objects(self, count: int = ROWS) -> list[str]:
        """Return good NDJSON records."""
        return [json.dumps(dict(zip("ixy", map(float, row.split(",")), strict=True))) for row in self.rows(count)]

    def dead_letters(self) -> Path:
        """Send bad records to a file, and return its path."""
        path = self.folder / "out" / "dead_letters.ndjson"
        self.settings["errors"] = {"policy": "dead_letter", "sink": {"type": "files", "path": str(path)}}
        return path

    def file(self, text: str | None = None) -> str:
        """Write the pipeline file."""
        path = self.folder / "pipeline.yaml"
        path.write_text(yaml.safe_dump(self.settings, sort_keys=False) if text is None else text)
        return str(path)

    def run(self, error: str | None, place: str, code: int, **more: Any) -> Attempt:
        """Return the attempt to run the pipeline."""
        return Attempt(["run", self.file(), "--quiet"], error, place, code, **more)

    def wrong(self, place: str) -> Attempt:
        """Return the attempt to run a pipeline whose file is wrong."""
        return self.run("ConfigError", place, 2)

    def changed(self) -> dict[str, Any]:
        """Return a copy of the settings to restore later."""
        return deepcopy(self.settings)

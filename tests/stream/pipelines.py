"""A pipeline over two clusters in a folder, as several tests run it."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from streamem.em import Mixture
from streamem.stream.checkpoint import read_checkpoint
from streamem.stream.home import Checkpoints
from streamem.stream.operators import Learn, Transform, Where
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Pipeline
from streamem.stream.protocol import Columns, Cuts, World
from streamem.stream.rejections import Errors
from tests.stream.fakes import AtOnce, Lines, Rows, Watched, two_clusters

FRAME = two_clusters(1000)
MODEL = Mixture(components=2)
ONE_LEARNER = (Learn(name="r", features=["x", "y"], model=MODEL, warmup_records=250),)
LEARNERS_IN_A_ROW = (
    Transform(columns={"z": "x - y", "number": "cast(text as double)"}),
    Where(condition="number % 7 <> 0"),
    Learn(name="first", features=["x", "y"], model=MODEL, warmup_records=120),
    Learn(name="second", features=["z", "first.log_likelihood"], model=MODEL, warmup_records=330, weight="count"),
)
DROPS_EVERYTHING = (Where(condition="x > 1e9"), *ONE_LEARNER)
BAD_ROWS = FRAME.with_columns(
    text=pl.when(pl.col("text").str.ends_with("77")).then(pl.lit("oops")).otherwise(pl.col("text")),
    y=pl.when(pl.int_range(pl.len()) % 301 == 300).then(float("inf")).otherwise(pl.col("y")),
)


@dataclass
class Place:
    """A folder, and the pipeline that runs in it with some settings changed."""

    folder: Path
    journal: list[str] = field(default_factory=list)

    def pipeline(
        self, frame: pl.DataFrame = FRAME, *, unreadable: frozenset[int] = frozenset(), **changes: Any
    ) -> Pipeline:
        self.folder.mkdir(exist_ok=True)
        usual = Pipeline(
            name="clusters",
            source=Rows(frame, unreadable=unreadable, journal=self.journal),
            cuts=Cuts(100),
            operators=ONE_LEARNER,
            outputs=(
                Output(what="posteriors", sink=self.sink("posteriors")),
                Output(what="snapshots", sink=self.sink("snapshots"), every_batches=3),
            ),
            columns=Columns(time="time", key="device"),
            checkpoint=Checkpoints(path=str(self.state), every_batches=2),
            world=World(disk=Watched(self.journal), keeper=AtOnce),
            fingerprint={"model": {"components": 2}, "features": ["x", "y"], "seed": 0},
        )
        return replace(usual, **changes)

    def sink(self, name: str) -> Lines:
        return Lines(self.folder / f"{name}.ndjson", self.journal)

    def dead_letter(self, max_errors: int | float | None = None) -> Errors:
        return Errors(policy="dead_letter", sink=self.sink("dead"), max_errors=max_errors)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def saved(self) -> Any:
        return read_checkpoint(self.state)

    def records(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / f"{name}.ndjson").read_text().splitlines()]

    def left(self) -> dict[str, bytes]:
        """Return every byte that is left of a run, output by output, and the parameters."""
        outputs = {path.name: path.read_bytes() for path in sorted(self.folder.glob("*.ndjson"))}
        saved = self.saved
        parameters = {
            f"{name}/{key}": array.tobytes()
            for name, state in (saved.steps if saved else {}).items()
            for key, array in state.arrays.items()
        }
        return outputs | parameters

"""What the tests of reading have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from streamem.connect import FilesSource
from streamem.stream.batch import ROW, Batch
from streamem.stream.protocol import Columns, Cuts, Resume, World


@dataclass(frozen=True)
class Clock(World):
    """A world in which time passes only by waiting, and things happen while one waits."""

    now: list[float] = field(default_factory=lambda: [0.0])
    events: list[Callable[[], object]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now[0]

    def wait(self, seconds: float) -> bool:
        self.now[0] += seconds
        if self.events:
            self.events.pop(0)()
        elif not self.stopping.is_set():
            self.stopping.set()
        return self.stopping.is_set()


def opened(
    paths,
    *,
    size=100,
    resume=None,
    world=None,
    columns=None,
    limit=None,
    wait=None,
    whole=False,
    every=(1,),
    **settings,
):
    source = FilesSource(paths=[str(path) for path in paths], **settings)
    cuts = Cuts(size, max_wait_ms=wait, whole_keys=whole, limit=limit, every=every)
    return source.open(world or World(), cuts, columns or Columns(numbers=frozenset({"x"})), resume)


def batches(paths, **settings) -> list[Batch]:
    """Return all batches of some files."""
    reader = opened(paths, **settings)
    try:
        return [batch for batch in reader if batch is not None]
    finally:
        reader.close()


def plain(batch: Batch):
    """Return what must not depend on how the bytes were read."""
    originals = [(one.value, dict(one.where)) for one in map(batch.original, batch.frame[ROW].to_list())]
    rejected = [(bad.record.value, dict(bad.record.where), bad.message) for bad in batch.rejected]
    rows = repr(batch.frame.drop(ROW).rows())
    return rows, batch.number, batch.records, dict(batch.position), originals, rejected


def resumed(paths, after: Batch, schema: pl.Schema, **settings) -> list[Batch]:
    """Return the batches after one, read by another reader."""
    return batches(paths, resume=Resume(after.position, schema, after.number + 1), **settings)


def values(found: list[Batch], name: str = "x") -> list:
    return [value for batch in found for value in batch.frame[name].to_list()]

"""Rows as Parquet files that are whole from the moment they have their name."""

import io
import re
from contextlib import suppress
from pathlib import Path

import polars as pl

from streamem.connect.files.folder import make_folder
from streamem.errors import ConnectError, tell
from streamem.stream.disk import Disk
from streamem.stream.protocol import State

__all__ = ["PartsWriter"]


PART = re.compile(r"(?P<hidden>\.?)part-(?P<number>\d+)\.parquet")


class PartsWriter:
    """A folder of parts; the rows of an unfinished one wait in memory, and travel in the checkpoint."""

    def __init__(self, disk: Disk, folder: Path, part_records: int, state: State | None) -> None:
        self.disk, self.folder, self.part_records = disk, folder, part_records
        self.parts = int(state.values["parts"]) if state else 0
        remainder = state.blobs.get("remainder") if state else None
        self.frames = [pl.read_ipc_stream(io.BytesIO(remainder))] if remainder else []
        make_folder(disk, folder)
        missing = [self.part(number) for number in range(self.parts) if not self.part(number).exists()]
        if missing:
            raise ConnectError(
                tell(
                    str(missing[0]),
                    found="no such part",
                    wanted=f"{self.parts} parts, as the checkpoint says",
                    do="restore it, or start afresh with --fresh",
                )
            )
        for path in sorted(folder.iterdir()):
            named = PART.fullmatch(path.name)
            if named and (named["hidden"] or int(named["number"]) >= self.parts):
                disk.remove(path)

    def part(self, number: int) -> Path:
        """Return the path of a part."""
        return self.folder / f"part-{number:06d}.parquet"

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows; those with other columns, after a change of the settings, begin another part."""
        if self.frames and self.frames[0].schema != frame.schema:
            self.close_part()
        self.frames.append(frame)

    def flush(self, final: bool) -> State:
        """Close a part that is full, or the last one; what remains is in the state."""
        rows = sum(frame.height for frame in self.frames)
        if rows >= self.part_records or (final and rows):
            self.close_part()
        remainder = io.BytesIO()
        if self.frames:
            self.frames = [pl.concat(self.frames, rechunk=True)]
            self.frames[0].write_ipc_stream(remainder)
        return State({"parts": self.parts}, blobs={"remainder": remainder.getvalue()} if self.frames else {})

    def close_part(self) -> None:
        """Write the rows under a hidden name, and give the part its own once it is on the disk."""
        content = io.BytesIO()
        pl.concat(self.frames, rechunk=True).write_parquet(content)
        hidden = self.folder / f".{self.part(self.parts).name}"
        try:
            self.put(hidden, content.getvalue())
        except OSError as error:
            with suppress(OSError):
                self.disk.remove(hidden)
            do = "make room, and start again: it goes on from the last checkpoint"
            place, found = str(self.part(self.parts)), error.strerror or str(error)
            raise ConnectError(tell(place, found=found, wanted="room for a part", do=do)) from error
        self.parts += 1
        self.frames = []

    def put(self, hidden: Path, content: bytes) -> None:
        """Write the next part under a hidden name, then rename it."""
        if hidden.exists():
            self.disk.remove(hidden)
        descriptor = self.disk.open(hidden)
        try:
            self.disk.write(descriptor, content)
            self.disk.sync(descriptor)
        finally:
            self.disk.close(descriptor)
        self.disk.replace(hidden, self.part(self.parts))
        self.disk.sync_folder(self.folder)

    def sync(self) -> None:
        """Do nothing: a part is on the disk before it has its name."""

    def close(self) -> None:
        """Nothing stays open."""

"""A disk that loses power: what was written but not synced is gone. A kill alone never loses the page cache."""

import os
from collections.abc import Callable
from pathlib import Path

from streamem.stream.disk import Disk

__all__ = ["LosingDisk", "PowerCut"]


class PowerCut(BaseException):
    """The machine stops here."""


class LosingDisk(Disk):
    """Keeps what would survive: the content of files as last synced, and the names that their folders have on disk.

    Parameters
    ----------
    left : int or None
        After so many calls the power is cut; None: never.
    """

    def __init__(self, left: int | None = None) -> None:
        self.left = left
        self.calls = 0
        self.paths: dict[int, Path] = {}
        self.content: dict[int, bytes] = {}
        """Of every file, by inode, as it is on the disk."""
        self.names: dict[Path, int] = {}
        """Of every file that was touched, as its folder is on the disk; absent: not there."""
        self.touched: set[Path] = set()

    def call(self) -> None:
        """Count a call, and cut the power when its time has come."""
        self.calls += 1
        if self.left is not None and self.calls > self.left:
            raise PowerCut

    def note(self, path: Path) -> None:
        """Remember a file as it is on the disk before it is touched for the first time."""
        if path in self.touched:
            return
        self.touched.add(path)
        if path.exists():
            inode = path.stat().st_ino
            self.names[path] = inode
            self.content.setdefault(inode, path.read_bytes())

    def open(self, path: Path) -> int:
        self.call()
        self.note(path)
        descriptor = super().open(path)
        self.paths[descriptor] = path
        self.content.setdefault(os.fstat(descriptor).st_ino, b"")
        return descriptor

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        self.call()
        super().write(descriptor, content)

    def truncate(self, descriptor: int, length: int) -> None:
        self.call()
        super().truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        self.call()
        super().sync(descriptor)
        self.content[os.fstat(descriptor).st_ino] = self.paths[descriptor].read_bytes()

    def replace(self, source: Path, target: Path) -> None:
        self.call()
        self.note(source)
        self.note(target)
        super().replace(source, target)

    def remove(self, path: Path) -> None:
        self.call()
        self.note(path)
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self.call()
        super().sync_folder(path)
        for one in [one for one in self.touched if one.parent == path]:
            if one.exists():
                self.names[one] = one.stat().st_ino
            else:
                self.names.pop(one, None)

    def lose(self) -> None:
        """Make the folders what they are after the power came back."""
        for path in self.touched:
            path.unlink(missing_ok=True)
        for path, inode in self.names.items():
            path.write_bytes(self.content[inode])


def without_syncs(disk: LosingDisk) -> LosingDisk:
    """Return the disk with a sync that does nothing: what a program with a missing fsync is like."""
    nothing: Callable[..., None] = lambda *_: disk.call()  # noqa: E731
    disk.sync = nothing  # type: ignore[method-assign]
    return disk

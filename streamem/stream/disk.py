"""The one place where files that must survive a crash are written.

Sinks and checkpoints write through a `Disk`, so that a test can put a faulty one in its place: one that dies at a
chosen call, or forgets everything that was not synced, as a machine does that loses power.
"""

import os
from pathlib import Path

__all__ = ["Disk", "UnsyncedDisk", "move_aside"]


class Disk:
    """Durable file operations of the operating system; every method does exactly one of them."""

    def open(self, path: Path) -> int:
        """Return a descriptor for appending to `path`, which is made if it is not there."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        """Write all of `content`; an OSError may leave a part of it behind."""
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file to `length` bytes."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Return once the content of the file is on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Rename `source` to `target` in one step, over what stood there."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        os.remove(path)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it where they are not there."""
        path.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Return once the names in a folder are on the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class UnsyncedDisk(Disk):
    """Leaves it to the system when things reach the disk, as most programs do.

    For a run without a checkpoint: after a crash it could not go on anyway.
    """

    def sync(self, descriptor: int) -> None:
        """Do nothing."""

    def sync_folder(self, path: Path) -> None:
        """Do nothing."""


def move_aside(disk: Disk, path: Path) -> str:
    """Rename a file or a folder to its name and the first free number (``.1``, ``.2``), and return the new name."""
    number = 1
    while (target := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    disk.replace(path, target)
    return str(target)

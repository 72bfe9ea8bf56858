"""Folders that survive a crash."""

from pathlib import Path

from streamem.stream.disk import Disk

__all__ = ["make_folder"]


def make_folder(disk: Disk, folder: Path) -> None:
    """Make a folder and those above it where they are not there, and put their names on the disk."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    disk.make_folder(folder)
    for one in missing:
        disk.sync_folder(one.parent)

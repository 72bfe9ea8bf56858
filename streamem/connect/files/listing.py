"""Which files a source reads, in which order, and whether those read before are still the same."""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamem.connect.files.bytestream import HEAD, cannot_read, head, size_of
from streamem.errors import ConfigError, ConnectError, nearest, tell

__all__ = ["Known", "check_known", "check_order", "find"]


def find(paths: Sequence[str], order: str, read: Sequence[str] = ()) -> list[str]:
    """Return the files that paths and globs name, in order; one that several of them name once.

    By the time of their change files that were `read` stay before the others, for those may still grow.

    Parameters
    ----------
    paths : sequence of str
        In the order given; the matches of one glob by `order`. ``-`` is standard input.
    order : str
        ``name`` or ``modified``.

    Raises
    ------
    ConfigError
        A path does not exist, is a folder, or a glob matches nothing.
    """
    found: dict[str, None] = {}
    for path in paths:
        if path == "-" or os.path.isfile(path):
            found[path] = None
            continue
        matches = [match for match in glob.glob(path, recursive=True) if os.path.isfile(match)]
        if not matches:
            raise not_there(path)
        found |= dict.fromkeys(sorted(matches) if order == "name" else sorted(sorted(matches), key=changed))
    if order == "modified":
        return [*(path for path in read if path in found), *(path for path in found if path not in read)]
    return list(found)


def changed(path: str) -> float:
    """Return when a file was changed last."""
    try:
        return os.path.getmtime(path)
    except OSError as error:
        raise cannot_read(path, error) from error


def not_there(path: str) -> ConfigError:
    """Return the error for a path without a file."""
    if os.path.isdir(path):
        do = f"name its files, for example {os.path.join(path, '*.csv')}"
        return ConfigError(tell(path, found="a folder", wanted="a file or a glob", do=do))
    if os.path.exists(path):
        do = "read it as standard input: write - for its path, and < before it on the command line"
        return ConfigError(tell(path, found="a pipe or a device", wanted="a file", do=do))
    if glob.has_magic(path):
        return ConfigError(tell(path, found="no file of such a name", wanted="at least one", do="look at the pattern"))
    folder = Path(path).parent
    names = os.listdir(folder) if os.access(folder, os.R_OK) and folder.is_dir() else []
    hint = nearest(Path(path).name, names)
    found = f"no such file{hint}" if folder.is_dir() else f"no folder {folder}"
    return ConfigError(tell(path, found=found, wanted="a file to read", do="look at the path; it begins at "
                            f"{os.getcwd()}"))  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A file as it was when it was read: its path, its size, and the checksum of its beginning."""

    path: str
    size: int
    head: int

    @classmethod
    def of(cls, path: str) -> "Known":
        """Return what a file is known by now."""
        if path == "-":
            return cls(path, 0, 0)
        size = size_of(path)
        return cls(path, size, head(path, size))

    def plain(self) -> list[Any]:
        """Return this as JSON values."""
        return [self.path, self.size, self.head]


def check_known(files: Sequence[str], position: Mapping[str, Any]) -> int:
    """Return the index in `files` of the file that reading goes on in.

    Raises
    ------
    ConnectError
        A file that was read is gone, has changed, or another one sorts before it now.
    """
    read = [Known(*entry) for entry in position["finished"]]
    current = Known(position["path"], position["size"], position["head"])
    check_order(files, [known.path for known in [*read, current]])
    for known in [*read, current]:
        size = size_of(known.path)
        last = known is current
        grown_back = size < known.size if last else size != known.size
        if grown_back or head(known.path, min(known.size, HEAD)) != known.head:
            found = f"{size} bytes where {known.size} were read" if grown_back else "another beginning"
            wanted = "the file as it was read" + (", or longer" if last else "")
            raise ConnectError(
                tell(known.path, found=found, wanted=wanted, do="restore it, or start afresh with --fresh")
            )
    return len(read)


def check_order(files: Sequence[str], read: Sequence[str]) -> None:
    """Raise ConnectError unless `files` begins with those that were `read`, in that order."""
    for index, path in enumerate(read):
        if path not in files:
            problem, do = "no such file any more", "restore it, or start afresh with --fresh"
        elif files[index] != path:
            problem = f"{files[index]} before it, which was not read"
            do = "rename the new file so that it comes later, or start afresh with --fresh"
        else:
            continue
        raise ConnectError(tell(path, found=problem, wanted="the files in the order they were read", do=do))

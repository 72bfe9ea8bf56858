"""State, position and sink positions in one atomic file, and the lock that keeps a second process off it.

The file is a zip without compression, three members: ``checkpoint.json``, which also names every array and blob with
its size, and ``arrays.bin`` and ``blobs.bin`` with their bytes one after the other. The zip's checksums are verified
on reading. One member an array would cost four times as much to write (measured: 0.29 ms against 0.08 ms for 8 arrays).
"""

import fcntl
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.exceptions import PanicException

from streamem.errors import ConfigError, ConnectError, SnapshotError, tell
from streamem.stream.batch import Position
from streamem.stream.disk import Disk, move_aside
from streamem.stream.protocol import State

__all__ = [
    "Checkpoint",
    "check_fingerprint",
    "check_operators",
    "decode",
    "encode",
    "locked",
    "move_checkpoint_aside",
    "read_checkpoint",
    "read_checkpoints",
    "take_back",
    "write_checkpoint",
]

_FORMAT = "streamem.checkpoint/1"
_FILE = "checkpoint.zip"
_BEFORE = "checkpoint.before.zip"
_AFRESH = "start afresh with --fresh, which moves files and state aside"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a restart needs, as it was between two batches.

    Parameters
    ----------
    fingerprint : mapping
        The settings that must not change, plain JSON values.
    number : int
        Of the next batch.
    position : Position
        Where the reader goes on; empty at the beginning.
    schema : polars.Schema
        What the reader's frames look like.
    records : int
        Done so far, bad ones included.
    rejected : mapping of str to int
        Bad records by who refused them.
    finished : bool
        Whether the input had ended.
    time : str or None
        Event time of the last record.
    last_snapshots : mapping of str to int
        By output: the number of the batch after which its last snapshot was written.
    steps, sinks : mapping of str to State
        By the name of the operator, and by the name of the output.
    serial : int
        Of the commit that it belongs to, where outputs are written in transactions; else 0.
    """

    fingerprint: Mapping[str, Any]
    number: int
    position: Position
    schema: pl.Schema
    records: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    finished: bool = False
    time: str | None = None
    last_snapshots: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, State] = field(default_factory=dict)
    sinks: Mapping[str, State] = field(default_factory=dict)
    serial: int = 0


_PLAIN = ("fingerprint", "number", "position", "records", "rejected", "finished", "time", "last_snapshots", "serial")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process off a checkpoint folder, which is made if it is not there.

    Raises
    ------
    ConfigError
        Another process holds it; its id is in the message.
    ConnectError
        The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _outside(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise ConfigError(
                tell(
                    f"checkpoint.path {folder}",
                    found=f"process {holder}, which runs on it",
                    wanted="one process at a time",
                    do="stop that process, or give this pipeline another path",
                )
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def move_checkpoint_aside(disk: Disk, folder: Path) -> list[str]:
    """Rename the checkpoint that stands in a folder and return its new name; [] if none stands."""
    if not (folder / _FILE).exists():
        return []
    try:
        moved = move_aside(disk, folder / _FILE)
        if (folder / _BEFORE).exists():
            disk.remove(folder / _BEFORE)
        disk.sync_folder(folder)
    except OSError as error:
        raise _outside(folder, error) from error
    return [moved]


def write_checkpoint(disk: Disk, folder: Path, checkpoint: Checkpoint, *, keep: bool = False) -> None:
    """Replace the checkpoint in a folder in one step; when this returns, it survives a loss of power.

    With `keep` the one before stays beside it. Raises ConnectError when the disk does not take it; the one before then
    still stands.
    """
    content = encode(checkpoint)
    temporary = folder / f"{_FILE}.new"
    try:
        descriptor = disk.open(temporary)
        try:
            disk.truncate(descriptor, 0)
            disk.write(descriptor, content)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        if keep and (folder / _FILE).exists():
            disk.replace(folder / _FILE, folder / _BEFORE)
        disk.replace(temporary, folder / _FILE)
        disk.sync_folder(folder)
    except OSError as error:
        raise _outside(folder, error) from error


def encode(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as bytes."""
    arrays: list[tuple[list[Any], np.ndarray]] = []
    blobs: list[tuple[list[Any], bytes]] = [(["schema", "", ""], _schema_bytes(tuple(checkpoint.schema.items())))]
    states: dict[str, dict[str, Any]] = {}
    for kind, group in (("steps", checkpoint.steps), ("sinks", checkpoint.sinks)):
        states[kind] = {name: state.values for name, state in group.items()}
        for name, state in group.items():
            arrays += [([kind, name, key], array) for key, array in state.arrays.items()]
            blobs += [([kind, name, key], blob) for key, blob in state.blobs.items()]
    values = {
        "format": _FORMAT,
        **{key: getattr(checkpoint, key) for key in _PLAIN},
        **states,
        "arrays": [[*where, array.dtype.str, array.shape] for where, array in arrays],
        "blobs": [[*where, len(blob)] for where, blob in blobs],
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("checkpoint.json", json.dumps(values))
        archive.writestr("arrays.bin", b"".join(array.tobytes() for _, array in arrays))
        archive.writestr("blobs.bin", b"".join(blob for _, blob in blobs))
    return buffer.getvalue()


@lru_cache(maxsize=8)  # 0.5 ms, and a run has one schema
def _schema_bytes(columns: tuple[tuple[str, pl.DataType], ...]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(schema=dict(columns)).write_ipc(buffer)
    return buffer.getvalue()


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint in a folder, or None where there is none.

    Raises
    ------
    SnapshotError
        It is damaged or of another format.
    ConnectError
        It cannot be read.
    """
    return next(iter(read_checkpoints(folder)), None)


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the checkpoint in a folder, and the one before it where it was kept; raises as `read_checkpoint`."""
    found = []
    for path in (folder / _FILE, folder / _BEFORE):
        try:
            found.append(decode(str(path), path.read_bytes()))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _outside(folder, error) from error
    return found


def take_back(disk: Disk, folder: Path) -> None:
    """Put the checkpoint before the last one in its place: what the last one tells of was never committed."""
    try:
        disk.replace(folder / _BEFORE, folder / _FILE)
        disk.sync_folder(folder)
    except OSError as error:
        raise _outside(folder, error) from error


def decode(place: str, content: bytes) -> Checkpoint:
    """Return the checkpoint of some bytes.

    Raises
    ------
    SnapshotError
        They are damaged or of another format; `place` says where they were.
    """
    try:
        return _decode(place, content)
    except SnapshotError:
        raise
    except (Exception, PanicException) as error:  # whatever damage makes of zip, JSON and Arrow
        raise SnapshotError(
            tell(
                place,
                found=f"a damaged file ({error})",
                wanted="a whole checkpoint",
                do=f"restore it, or {_AFRESH}",
            )
        ) from error


def _decode(path: str, content: bytes) -> Checkpoint:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        values = json.loads(archive.read("checkpoint.json"))
        if values["format"] != _FORMAT:
            raise SnapshotError(
                tell(
                    path,
                    found=f"the format {values['format']!r}",
                    wanted=repr(_FORMAT),
                    do=f"use the version that wrote it, or {_AFRESH}",
                )
            )
        array_bytes, blob_bytes = archive.read("arrays.bin"), archive.read("blobs.bin")
    arrays: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    offset = 0
    for kind, name, key, dtype, shape in values["arrays"]:
        count = prod(shape)
        if min(shape, default=0) < 0 or np.dtype(dtype).kind not in "biuf":
            raise ValueError(f"an array of shape {shape} and type {dtype}")
        array = np.frombuffer(array_bytes, dtype, count, offset) if count else np.empty(0, dtype)
        arrays.setdefault((kind, name), {})[key] = array.reshape(shape).copy()
        offset += array.nbytes
    blobs: dict[tuple[str, str], dict[str, bytes]] = {}
    offset = 0
    for kind, name, key, length in values["blobs"]:
        blobs.setdefault((kind, name), {})[key] = blob_bytes[offset : offset + length]
        offset += length
    if offset != len(blob_bytes):
        raise ValueError(f"blobs of {len(blob_bytes)} bytes in place of {offset}")

    def states(kind: str) -> dict[str, State]:
        return {
            name: State(plain, arrays.get((kind, name), {}), blobs.get((kind, name), {}))
            for name, plain in values[kind].items()
        }

    schema = pl.read_ipc(io.BytesIO(blobs["schema", ""][""])).schema
    plain = {key: values[key] for key in _PLAIN}
    return Checkpoint(schema=schema, steps=states("steps"), sinks=states("sinks"), **plain)


def check_fingerprint(folder: Path | str, saved: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse settings other than those that the checkpoint was made with.

    Raises
    ------
    SnapshotError
        Every difference, by its path in the pipeline file.
    """
    differences = list(_differences(saved, json.loads(json.dumps(given)), ""))
    if differences:
        raise SnapshotError(
            tell(
                f"checkpoint in {folder}",
                found="; ".join(f"{path}: {new} in place of {old}" for path, old, new in differences),
                wanted="the settings that it was made with",
                do=f"set them back, or {_AFRESH}",
            )
        )


def check_operators(folder: Path | str, saved: Iterable[str], given: Iterable[str]) -> None:
    """Refuse operators of other names than those whose state the checkpoint holds, with a SnapshotError."""
    if set(saved) != set(given):
        raise SnapshotError(
            tell(
                f"checkpoint in {folder}",
                found=f"the operators {', '.join(given) or 'none'}",
                wanted=f"those that it was made with: {', '.join(saved) or 'none'}",
                do=f"set them back, or {_AFRESH}",
            )
        )


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            below = f"{path}.{key}" if path else key
            if key not in old or key not in new:
                yield (
                    below,
                    json.dumps(old[key]) if key in old else "nothing",
                    json.dumps(new[key]) if key in new else "nothing",
                )
            else:
                yield from _differences(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{path}[{index}]")
    elif old != new:
        yield path, json.dumps(old), json.dumps(new)


def _outside(folder: Path, error: OSError) -> ConnectError:
    return ConnectError(
        tell(
            f"checkpoint.path {folder}",
            found=f"{error.strerror or error}",
            wanted="a folder that can be written to",
            do="make room or mend its permissions, or give another path",
        )
    )

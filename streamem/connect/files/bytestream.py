"""Files as streams of bytes, plain or compressed, and how one knows a file again."""

import os
import select
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from streamem.errors import ConnectError, DataError, tell

__all__ = ["ByteStream", "cannot_read", "head", "open_stream", "size_of"]

CHUNK = 1 << 20
"""Bytes read at once; of compressed files an eighth, for they grow."""

POLL_SECONDS = 0.05
"""How often a wait for standard input looks whether the run is asked to stop."""

BITE = 256
"""Bytes decompressed at once: all that is lost of what stands before damage."""

HEAD = 4096
"""A file is known again by the checksum of this many bytes at its beginning."""


def head(path: str, length: int) -> int:
    """Return the checksum of the first `length` bytes of a file, 4,096 at most.

    Raises
    ------
    ConnectError
        The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return zlib.crc32(file.read(min(length, HEAD)))
    except OSError as error:
        raise cannot_read(path, error) from error


def size_of(path: str) -> int:
    """Return the bytes in a file, or raise ConnectError."""
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise cannot_read(path, error) from error


def open_stream(path: str, wait: Callable[[float], bool] | None = None) -> "ByteStream":
    """Return the stream of a file; ``-`` is standard input, left when `wait` says that the run is to stop.

    Raises
    ------
    ConnectError
        The file cannot be opened.
    """
    if path == "-":
        return ByteStream(path, sys.stdin.buffer, None, wait)
    try:
        return ByteStream(path, open(path, "rb", buffering=0), path)
    except OSError as error:
        raise cannot_read(path, error) from error


def cannot_read(path: str, error: OSError) -> ConnectError:
    """Return the error for a file that the system does not let us read."""
    return ConnectError(
        tell(path, found=error.strerror or str(error), wanted="a file that can be read", do="look at its rights")
    )


@dataclass
class ByteStream:
    """Reads a file from front to back, decompressed by its suffix ``.gz`` or ``.zst``."""

    path: str
    file: IO[bytes]
    name: str | None
    wait: Callable[[float], bool] | None = None
    left: bool = False
    offset: int = 0
    raw_offset: int = 0
    ahead: bytes = b""
    fed: bool = False
    damage: DataError | None = None

    def __post_init__(self) -> None:
        suffix = Path(self.path).suffix
        self.make: Any = {".gz": lambda: zlib.decompressobj(31), ".zst": zstd_decompressor}.get(suffix)
        self.decompressor: Any = self.make() if self.make else None

    def give_back(self, content: bytes) -> None:
        """Put what was just read before what comes next."""
        self.ahead = content + self.ahead
        self.offset -= len(content)

    def skip(self, offset: int) -> None:
        """Go on from a byte of the decompressed content, at or behind the present one."""
        if self.decompressor is None and self.name is not None:
            self.file.seek(offset)
            self.offset = self.raw_offset = offset
            self.ahead = b""
            return
        while self.offset < offset:
            content = self.read()
            if not content:
                raise DataError(
                    tell(
                        self.path,
                        found=f"{self.offset} bytes",
                        wanted=f"at least {offset}, as far as it was read before",
                        do="restore the file, or start afresh with --fresh",
                    )
                )
            if self.offset > offset:
                self.give_back(content[offset - self.offset :])

    def read(self) -> bytes:
        """Return some bytes, none at the end of the file as it is now.

        Raises
        ------
        DataError
            The compressed file is damaged or ends early.
        """
        if self.ahead:
            content, self.ahead = self.ahead, b""
            self.offset += len(content)
            return content
        if self.damage is not None:
            raise self.damage
        size = CHUNK if self.decompressor is None else max(1, CHUNK // 8)
        while True:
            try:
                chunk = self.from_input(size) if self.name is None else self.file.read(size)
            except OSError as error:
                raise cannot_read(self.path, error) from error
            self.raw_offset += len(chunk)
            if self.decompressor is None:
                self.offset += len(chunk)
                return bytes(chunk)
            if not chunk:
                if self.fed and not self.decompressor.eof:
                    raise self.damaged("its end in the middle of the compressed data")
                return b""
            content = self.decompress(chunk)
            self.offset += len(content)
            if content:
                return content
            if self.damage is not None:
                raise self.damage

    def from_input(self, size: int) -> bytes:
        """Return what standard input has; none at its end, and where the run is asked to stop: then it is `left`."""
        while self.wait is not None and pollable(self.file) and not ready(self.file):
            if self.wait(0):
                self.left = True
                return b""
        return self.file.read1(size)  # type: ignore[attr-defined,no-any-return]

    @property
    def replaced(self) -> bool:
        """Whether the name has become that of another file since this one was opened."""
        try:
            return self.name is not None and not os.path.samestat(os.fstat(self.file.fileno()), os.stat(self.name))
        except OSError as error:
            raise cannot_read(self.path, error) from error

    def decompress(self, chunk: bytes) -> bytes:
        """Return what a piece of the compressed file holds before any damage; members may follow each other."""
        parts: list[bytes] = []
        for start in range(0, len(chunk), BITE):
            bite = chunk[start : start + BITE]
            while bite:
                if self.decompressor.eof:
                    # gzip may be padded with zeros behind a member, as on tapes
                    bite = bite.lstrip(b"\0") if self.path.endswith(".gz") else bite
                    if not bite:
                        break
                    self.decompressor, self.fed = self.make(), False
                try:
                    parts.append(self.decompressor.decompress(bite))
                except (zlib.error, zstandard.ZstdError) as error:
                    content = b"".join(parts)
                    self.damage = self.damaged(str(error), len(content))
                    self.damage.__cause__ = error
                    return content
                self.fed = True
                bite = self.decompressor.unused_data if self.decompressor.eof else b""
        return b"".join(parts)

    def damaged(self, found: str, ahead: int = 0) -> DataError:
        """Return the error for compressed data that cannot be read on."""
        place = f"{self.path}, byte {self.offset + ahead} of its content"
        return DataError(tell(place, found=found, wanted="a whole compressed file", do="get the file again"))

    def close(self) -> None:
        """Give the file back; standard input stays open."""
        if self.name is not None:
            self.file.close()


def zstd_decompressor() -> Any:
    """Return a decompressor of one zstandard frame."""
    return zstandard.ZstdDecompressor().decompressobj()


def pollable(file: IO[bytes]) -> bool:
    """Return whether one can ask a file if it has something; not of one in memory."""
    try:
        return file.fileno() >= 0
    except OSError:
        return False


def ready(file: IO[bytes]) -> bool:
    """Wait a moment, and return whether a file can be read without waiting."""
    return bool(select.select([file], [], [], POLL_SECONDS)[0])

"""Compressed files as plain ones: .gz and .zst are decompressed while they are read.

A file that was cut short raises one of DAMAGED when its end is reached, never less text.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

COMPRESSIONS = (".gz", ".zst")
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)
CHUNK = 1 << 16


def open_binary(path: Path) -> IO[bytes]:
    """The decompressed bytes of a file; closing it closes the file."""
    compression = path.suffix.lower()
    if compression == ".gz":
        return io.BufferedReader(gzip.GzipFile(path, "rb"), CHUNK)
    if compression == ".zst":
        return io.BufferedReader(_ZstandardFile(path), CHUNK)
    return open(path, "rb")


class _ZstandardFile(io.RawIOBase):
    """A .zst file that notices its own end missing (zstandard's own reader just stops there)."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115
        self._chunks = _decompress(self._file)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _decompress(file: IO[bytes]) -> Iterator[bytes]:
    """What each frame of a zstandard file holds; EOFError where the last one has no end."""
    frame = None
    while data := file.read(CHUNK):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last frame has no end")

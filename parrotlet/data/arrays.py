"""Arrays on disk: .npy files that are mapped instead of read, each with its SHA-256.

The one format of what is computed once and read often: token shards, packed rows. Whoever writes
arrays keeps their entries in a manifest, written last: a folder without one counts as empty.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parrotlet.core.errors import DataError, RunError
from parrotlet.core.rundir import read_json, write_file, write_json

MANIFEST = "manifest.json"
MAKE_AGAIN = "remove the folder and run the same command to make it again"


@dataclass(frozen=True)
class ArrayFile:
    """What a manifest says of one array: its file, its length and the hash of the file's bytes."""

    file: str
    length: int
    sha256: str


def save_array(directory: Path, name: str, array: NDArray[Any]) -> ArrayFile:
    """Write `array` to directory/name.npy; returns the entry that a manifest keeps."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    data = buffer.getvalue()
    write_file(directory / f"{name}.npy", data)
    return ArrayFile(f"{name}.npy", len(array), hashlib.sha256(data).hexdigest())


def open_array(directory: Path, entry: ArrayFile, *, check: bool = True) -> NDArray[Any]:
    """The array of `entry`, mapped read-only; with `check`, its hash is compared first.

    Raises DataError where the file is missing, altered or no array.
    """
    path = directory / entry.file
    if check:
        check_file(path, entry.sha256)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an array ({error}); {MAKE_AGAIN}") from error
    if len(array) != entry.length:
        raise DataError(f"{path} has {len(array)} rows, not {entry.length}; {MAKE_AGAIN}")
    return array


def check_file(path: Path, sha256: str) -> None:
    """Raise DataError unless the bytes of `path` still have this hash."""
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {MAKE_AGAIN}") from error
    if found != sha256:
        raise DataError(f"{path} was altered since it was written; {MAKE_AGAIN}")


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Make what was written so far count."""
    write_json(directory / MANIFEST, manifest)


def read_manifest(directory: Path, kind: str, version: int) -> dict[str, Any]:
    """The manifest of a complete folder; DataError where there is none or it is of something else.

    kind: what the folder should hold, for example "token shards".
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise DataError(f"{directory} holds no complete {kind}: it has no {MANIFEST}")
    try:
        manifest = read_json(path)
    except RunError as error:
        raise DataError(f"{error}; {MAKE_AGAIN}") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        raise DataError(f"{path} does not describe {kind}; name another folder")
    if manifest.get("version") != version:
        raise DataError(
            f"{path} has version {manifest.get('version')!r}, and this parrotlet reads version "
            f"{version}; {MAKE_AGAIN}"
        )
    return manifest

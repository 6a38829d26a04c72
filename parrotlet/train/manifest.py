"""The manifest of a checkpoint: size and sha256 of every file, written last and checked first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from parrotlet.core.errors import CheckpointError, FormatError

FORMAT = 2
MANIFEST = "manifest.json"
COPY_AGAIN = "copy the checkpoint again, or name an older one"


def make_manifest(directory: Path) -> dict[str, Any]:
    """Size and hash of every file of a directory."""
    return {
        "format": FORMAT,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(directory.iterdir())
        },
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(path: Path) -> None:
    """Raise CheckpointError naming the file of `path` that is missing, altered or too many."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        files = dict(manifest["files"])
        expected = {name: (int(of["size"]), str(of["sha256"])) for name, of in files.items()}
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is not a checkpoint: it has no {MANIFEST}; name a run or a step_... directory"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / MANIFEST} is damaged ({error}); {COPY_AGAIN}") from error
    check_format(path / MANIFEST, manifest.get("format"))
    found = {each.name for each in path.iterdir()} - {MANIFEST}
    if found != set(expected):
        raise CheckpointError(
            f"{path} is damaged: missing {sorted(set(expected) - found)}, not of this checkpoint "
            f"{sorted(found - set(expected))}; {COPY_AGAIN}"
        )
    for name, (size, digest) in expected.items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise CheckpointError(f"{file} is not a plain file; copy the checkpoint again")
        if file.stat().st_size != size:
            raise CheckpointError(
                f"{file} is damaged: {file.stat().st_size:,} bytes instead of {size:,}; "
                + COPY_AGAIN
            )
        if _sha256(file) != digest:
            raise CheckpointError(
                f"{file} is damaged: its sha256 is not the one in {MANIFEST}; {COPY_AGAIN}"
            )


def check_format(path: Path, found: Any, arch: str = "") -> None:
    """Raise FormatError unless `found` is a version that is read here.

    Format 1 is the same, but for swift, which capped its logits then.
    """
    if found not in (1, FORMAT) or (found, arch) == (1, "swift"):
        raise FormatError(
            f"{path} is {arch and f'a {arch} '}of format {found!r}, and this parrotlet reads "
            f"format {FORMAT}; use the version that wrote it"
        )

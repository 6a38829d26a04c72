"""A folder that is written whole or not at all: beside its place first, then renamed to it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parrotlet.core.errors import RunError
from parrotlet.core.rundir import sync_directory


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`; it becomes `target` where the block ends well.

    Whatever goes wrong in the block, nothing is left. RunError where `target` exists already or
    its place cannot be written; an OSError of the block (no space) becomes one too.
    """
    if target.exists() or target.is_symlink():
        raise RunError(f"{target} exists already; remove it or name another folder")
    staging = target.with_name(f".{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        staging.mkdir(parents=True)
        yield staging
        sync_folder(staging)
        staging.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise RunError(
            f"cannot write {target}: {error.strerror or error}; free some space or name another "
            "folder"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the files in `folder` durable, those that other libraries wrote too."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_directory(folder)

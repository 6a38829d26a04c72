"""Export: a folder in another program's format that is proved, or does not exist.

An exporter writes into a folder that nobody sees yet, reads back what it wrote, compares, and
returns what it proved as lines for a person. Only then does the folder get its name.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.rundir import sync_directory
from parrotlet.exchange.config import GgufKind
from parrotlet.exchange.gguf import export_gguf
from parrotlet.exchange.hf_export import export_hf
from parrotlet.train.checkpoint import Checkpoint

# (checkpoint, the empty folder to write into) -> what was proved. CheckpointError where what was
# written does not say what the checkpoint says, UsageError where the format cannot hold it.
Exporter = Callable[[Checkpoint, Path], list[str]]
EXPORTERS: dict[str, Exporter] = {"hf": export_hf, "gguf": export_gguf}


def export(
    checkpoint: Checkpoint, to: str, folder: Path, *, kind: GgufKind | None = None
) -> list[str]:
    """Write `checkpoint` as `folder` in the format `to`; what was proved, in lines.

    `kind` is gguf's alone: how its matrices are kept.

    Whatever fails, nothing is left behind. UsageError for a format that is not known and for a
    folder that exists; RunError where nothing can be written there.
    """
    if to not in EXPORTERS:
        raise UsageError(f"--to {to} is not a format; there are {', '.join(EXPORTERS)}")
    if kind is not None and to != "gguf":
        raise UsageError(f"--kind {kind} is for --to gguf alone; leave it out with --to {to}")
    exporter = EXPORTERS[to] if kind is None else partial(export_gguf, kind=kind)
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already; name a folder that does not, or remove it")
    made = [each for each in folder.parents if not each.exists()]
    staging = folder.with_name(f".{folder.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        staging.mkdir(parents=True)
        proved = exporter(checkpoint, staging)
        staging.rename(folder)
        sync_directory(folder.parent)
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror or error}; choose another --out"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):  # where the export lies in it, it stays
            for each in made:
                each.rmdir()
    return proved

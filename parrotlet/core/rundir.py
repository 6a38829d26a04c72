"""A run directory: its names, its lock, and the functions through which every file is written.

    runs/NAME/
      recipe.json         what was asked for, what was derived, versions
      metrics.jsonl       one line a step
      samples.jsonl       what the model said on the way
      tokenizer/ base/ sft/ ...    a stage each, with step_000123/ checkpoints
      report.md           the end of a demo

Torch-free, so that pages and command-line errors are quick.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from parrotlet.core.errors import RunError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
STEP = re.compile(r"step_(\d{6,})")
RECIPE, METRICS, SAMPLES, LOCK = "recipe.json", "metrics.jsonl", "samples.jsonl", "lock"
FULL = (errno.ENOSPC, errno.EDQUOT)
STAGES = ("base", "sft", "dpo", "rl")  # folders of a run with several stages, in order
HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # by another process


def check_name(name: str) -> str:
    """The name itself, or RunError where it could leave its folder or break a file system."""
    if not NAME.fullmatch(name):
        raise RunError(
            f"{name!r} cannot name a run: use letters, digits, '.', '_' and '-', "
            "starting with a letter or digit, at most 128 of them (a folder goes to --runs)"
        )
    return name


def step_name(step: int) -> str:
    """The directory of the checkpoint taken after `step` optimizer steps."""
    return f"step_{step:06d}"


def sync_directory(path: Path) -> None:
    """Make renames inside `path` durable; a no-op where directories cannot be opened (Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either the old bytes or the new ones, whatever happens.

    A temporary file beside it is written, flushed to the disk and renamed over `path`.
    Raises RunError naming the path where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):  # where `parent` is no folder it was never made
            temporary.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; {advice_for(error)} (nothing already "
            "saved was touched)"
        ) from error


def advice_for(error: OSError) -> str:
    """What to do about a file that cannot be written."""
    if error.errno in FULL:
        return "free some space or choose another folder with --runs"
    if error.errno == errno.EISDIR:
        return "a folder of that name is in the way: move it or choose another name"
    return "choose a folder that can be written (of a run: --runs)"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON through write_file."""
    write_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON in `path`; RunError where it is missing or is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}") from error


@contextmanager
def growing_file(path: Path) -> Iterator[IO[bytes]]:
    """What there is of `path` so far, open at its end: for files that take several attempts.

    It is kept beside `path`, as part_of(path), until finish_file gives it its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(part_of(path), "ab") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def part_of(path: Path) -> Path:
    """Where growing_file keeps what there is of `path`."""
    return path.with_name(f"{path.name}.part")


def finish_file(path: Path) -> None:
    """Give a file written by growing_file its name."""
    os.replace(part_of(path), path)
    sync_directory(path.parent)


def set_aside(path: Path) -> Path:
    """Give `path`, which cannot be used, another name beside it; RunError where that fails."""
    number = 1
    while (other := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    try:
        os.rename(path, other)  # on Windows it fails rather than replace what came between
    except OSError as error:
        raise RunError(f"cannot rename {path}: {error.strerror or error}") from error
    return other


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the run directory for this process; RunError where another process holds it.

    The operating system lets go of the lock when the process ends, however it ends. Files that a
    killed process left half written (write_file's temporary ones) are cleared away.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = open(directory / LOCK, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise RunError(
            f"cannot write in {directory}: {error.strerror or error}; choose another folder "
            "with --runs"
        ) from error
    with file:
        if not _take(file):
            raise RunError(
                f"{directory} is in use by another process; wait for it, stop it, or choose "
                "another --name"
            )
        for leftover in filter(Path.is_file, directory.glob(".*.tmp-*")):
            leftover.unlink(missing_ok=True)
        yield


def _take(file: IO[str]) -> bool:
    """Try to lock an open file without waiting."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            raise RunError(
                f"cannot lock {file.name}: {error.strerror or error}; choose another folder with "
                "--runs, on a disk of this machine"
            ) from error
        return False
    return True

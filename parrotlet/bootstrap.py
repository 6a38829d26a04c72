"""From a bare clone to a working `.venv`: `python3 -m parrotlet.bootstrap [--extras dev] [--demo]`.

It makes `.venv` beside pyproject.toml, installs PyTorch (the CPU build on a Linux machine without
an NVIDIA driver, where PyTorch's own index can be reached), then this package in editable mode,
all at the versions of constraints.txt. A stamp tells the next run that nothing is left to do. A
set-up that was killed leaves a mark, and the next run starts `.venv` afresh. pip is configured by
whoever runs it: indexes, proxies and certificates are left as they are.

Not covered: changing the Python of an existing `.venv` (delete the folder for that).

Only the standard library is used, in the syntax of Python 3.6, so that an old Python can tell
what is missing. It writes its two small files itself, since nothing of the package can be
imported by an old Python.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parrotlet.bootstrap_plan import (
    CPU_INDEX,
    Facts,
    Phase,
    SetupError,
    pinned,
    plan,
    venv_python,
)

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
NOT_FOUND = "No matching distribution found"  # pip's words for an index it cannot read, too


def check_python(version: "tuple[int, ...]") -> None:
    """Raise SetupError where `version` (major, minor) is older than parrotlet can use."""
    if version[:2] < OLDEST:
        raise SetupError(
            "parrotlet needs Python {}.{} or later and this is {}.{}; run the command with a newer "
            "one, for example: make demo PYTHON=python3.12".format(*OLDEST, *version[:2])
        )


def digest(root: Path) -> str:
    """A hash of what an installation was made from, and where (an editable one names its place)."""
    parts = [(root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    parts.append(os.fsencode(str(root)))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp(root: Path) -> "dict[str, object]":
    """What the last finished set-up recorded; empty where there was none."""
    try:
        stamp = json.loads(_stamp_path(root).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(root: Path, extras: "tuple[str, ...]") -> None:
    """Record a finished set-up. A torn stamp is read as none, which is safe."""
    stamp = {"digest": digest(root), "extras": sorted(extras)}
    _stamp_path(root).write_text(json.dumps(stamp) + "\n", encoding="utf-8")


def installed_extras(root: Path) -> "tuple[str, ...]":
    """The extras of the last finished set-up, kept by the next one."""
    extras = read_stamp(root).get("extras")
    return tuple(map(str, extras)) if isinstance(extras, list) else ()


def is_ready(root: Path, extras: "tuple[str, ...]") -> bool:
    """Whether `.venv` holds what pyproject.toml and constraints.txt say now, with `extras`."""
    return (
        read_stamp(root).get("digest") == digest(root)
        and set(extras) <= set(installed_extras(root))
        and venv_python(root).exists()
    )


def _stamp_path(root: Path) -> Path:
    return root / ".venv" / "parrotlet-stamp.json"


def _mark_path(root: Path) -> Path:
    """It is there while a set-up runs, and afterwards where that one was killed."""
    return root / ".venv.installing"  # not inside .venv, which may be half made or made anew


def ensure(root: Path, extras: "tuple[str, ...]") -> Path:
    """Make `.venv` ready and return its Python; SetupError tells why that failed."""
    if is_ready(root, extras):
        return venv_python(root)
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise SetupError(
            "this Python cannot create virtual environments; install its venv package (Debian, "
            "Ubuntu: sudo apt install python3-venv) and run the same command again"
        )
    try:
        with _one_at_a_time(root):
            if not is_ready(root, extras):
                _set_up(root, extras)
    except KeyboardInterrupt:  # the mark stays: pip may have been in the middle of a package
        raise SetupError("the set-up was interrupted; the same command starts it afresh") from None
    except OSError as error:
        raise SetupError(
            f"the set-up cannot write in {root}: {error}; free some space or move the clone "
            "to a folder of yours"
        ) from error
    return venv_python(root)


def ensure_for_demo(root: Path) -> Path:
    """`ensure`, with the page where the demo is to end in it and it can be installed."""
    if sys.stdin.isatty() and os.environ.get("SERVE") != "0":
        try:
            return ensure(root, ("web",))
        except SetupError as error:
            if _mark_path(root).exists():  # interrupted: whoever did so wants no second try
                raise
            say(f"the chat page is not to be had, so the chat will be in the terminal: {error}")
    return ensure(root, ())


def _set_up(root: Path, extras: "tuple[str, ...]") -> None:
    """Run the plan. The mark is there until it has ended, well or badly."""
    started = time.monotonic()
    for name in extras:
        if name not in known_extras(root):
            known = ", ".join(known_extras(root))
            raise SetupError(f"--extras {name} is not in pyproject.toml; there are: {known}")
    extras = tuple(sorted(set(extras) | set(installed_extras(root))))
    phases = plan(gather_facts(root, extras), root)
    _stamp_path(root).unlink(missing_ok=True)
    _mark_path(root).touch()
    try:
        for phase in phases:
            say(phase.title)
            run_phase(phase)
        write_stamp(root, extras)
    except SetupError:  # pip stops cleanly: what it installed is whole
        _mark_path(root).unlink()
        raise
    _mark_path(root).unlink()
    say(f"ready after {time.monotonic() - started:.0f} s")


def known_extras(root: Path) -> "list[str]":
    """The optional parts that pyproject.toml names."""
    import tomllib  # not there before Python 3.11

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(project.get("optional-dependencies", {}))


def gather_facts(root: Path, extras: "tuple[str, ...]") -> Facts:
    """Look at this machine."""
    python = venv_python(root)
    return Facts(
        system=platform.system(),
        has_driver=bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia").exists(),
        has_venv=python.exists() and _run((str(python), "-m", "pip", "--version"))[0] == 0,
        was_killed=_mark_path(root).exists(),
        torch=pinned((root / "constraints.txt").read_text(encoding="utf-8"), "torch"),
        extras=extras,
    )


def run_phase(phase: Phase) -> None:
    """Try the phase's commands in order; SetupError with the end of the last one's output."""
    output = ""
    for command in phase.commands:
        if CPU_INDEX in command and NOT_FOUND in output:
            continue  # that index could not be read at all: patience would not help
        code, output = _run(command)
        if code == 0:
            return
    tail = "\n".join("  " + line for line in output.strip().splitlines()[-15:])
    raise SetupError(
        f"{tail}\nthe set-up failed while {phase.title}; check the network (PIP_INDEX_URL chooses "
        "another index) and the free disk space, and run the same command again"
    )


def _run(command: "tuple[str, ...]") -> "tuple[int, str]":
    """Exit status and output of a command that never waits for a person."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        close_fds=False,  # the child keeps the lock, should this process be killed
        check=False,
    )
    return done.returncode, done.stdout


@contextmanager
def _one_at_a_time(root: Path) -> "Iterator[None]":
    """Hold the set-up of this clone for this process, after waiting for another's."""
    with open(str(root / ".venv.lock"), "a+", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        if not _try_lock(file.fileno()):
            say("waiting for another set-up of this clone to end")
            while not _try_lock(file.fileno()):
                time.sleep(0.5)
        yield


def _try_lock(handle: int) -> bool:
    """Lock an open file without waiting; the system lets go of it when its holders have ended."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def say(what: str) -> None:
    """One line of progress."""
    print(f"parrotlet set-up: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """The command line of this module; the exit status."""
    parser = argparse.ArgumentParser(prog="parrotlet.bootstrap", allow_abbrev=False)
    parser.add_argument("--extras", default="", help="optional parts, with commas between: dev")
    parser.add_argument("--demo", action="store_true", help="at a terminal: the chat page too")
    asked = parser.parse_args()
    extras = tuple(name for name in asked.extras.split(",") if name)
    try:
        check_python(sys.version_info[:2])
        if not (ROOT / "pyproject.toml").exists():
            raise SetupError("parrotlet is installed already: there is no clone here to set up")
        if asked.demo:
            ensure_for_demo(ROOT)
        else:
            ensure(ROOT, extras)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sandbox: runs a Python program that nobody has read, for evaluation and RL. Linux only.

A fresh process in namespaces of its own (user, processes, mounts, network, IPC, host name), as
nobody where we are root, with an empty /tmp that is gone afterwards, Landlock around the files,
limits on memory, time, processes, files and output. At the end, or when the time is over, the
whole of it is killed: what a program started dies with the namespace. sandbox_inside.py is the
half that runs inside.

Where any of these walls cannot be built it says which, and refuses; `weak=True` runs all the
same, with limits and a process group alone, which keep out accidents and no attack. It is no
virtual machine: a hole in the kernel is a hole in it. Not for a chat model's own use.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Literal

from parrotlet.core.errors import UsageError

INSIDE = Path(__file__).with_name("sandbox_inside.py")
NOBODY = 65_534
FAILED = 90  # sandbox_inside.py's exit status where a wall could not be built
NAMESPACES = ("--mount", "--net", "--ipc", "--uts", "--pid")
OWN_USER = ("--user", "--map-root-user")  # where we are not root, who becomes nobody instead
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

Status = Literal["ok", "failed", "time", "output"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use."""

    seconds: float = 5.0  # of wall time; as much of processor time
    memory: int = 512 << 20  # bytes of address space, of each process
    disk: int = 16 << 20  # bytes in /tmp
    processes: int = 8
    files: int = 64  # open at once
    output: int = 64 << 10  # bytes of standard output and error together


@dataclass(frozen=True)
class Outcome:
    """How it ended: "ok" (status 0), "failed", "time" (it was over) or "output" (too much)."""

    status: Status
    output: str
    seconds: float


def run_python(program: str, limits: Limits | None = None, *, weak: bool = False) -> Outcome:
    """Run a program and say how it ended.

    UsageError where the walls cannot be built, unless `weak`.
    """
    missing = missing_walls()
    if missing and not weak:
        raise UsageError(
            f"programs cannot be run safely here: {missing}; run them on a Linux "
            "machine that has it, or say that a weak sandbox is enough, for programs you trust"
        )
    return _run(program, limits or Limits(), walled=not missing)


@cache
def missing_walls() -> str:
    """What is missing to build the walls here; "" where they stand, which is tried out once."""
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces and no Landlock"
    if shutil.which("unshare") is None:
        return "there is no program unshare (of util-linux)"
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 1:
        return "the kernel has no Landlock"
    tried = _run("print('walled')", Limits(seconds=20), walled=True)
    return "" if tried.output == "walled\n" else f"the walls do not stand ({tried.output.strip()})"


def _run(program: str, limits: Limits, *, walled: bool) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        process = subprocess.Popen(
            _command(limits, walled),
            cwd="/" if walled else folder,
            env={"LC_ALL": "C.UTF-8", "HOME": "/tmp/work"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        with suppress(BrokenPipeError), process.stdin as pipe:  # it may end before it reads
            pipe.write(program.encode("utf-8", "replace"))
        try:
            over, data = _read(process.stdout, begin + limits.seconds, limits.output)
            if over is None and _wait(process, begin + limits.seconds):
                over = "time"
        finally:
            _kill(process)
    status: Status = over or ("ok" if process.returncode == 0 else "failed")
    return Outcome(status, data.decode("utf-8", "replace"), time.monotonic() - begin)


def _command(limits: Limits, walled: bool) -> list[str]:
    """The command line of process 1."""
    python, prefix = os.path.realpath(sys.executable), os.path.realpath(sys.base_prefix)
    root = os.geteuid() == 0
    inner = os.path.join("/tmp/python", os.path.relpath(python, prefix))
    seconds = int(limits.seconds) + 1
    config = {
        "walled": walled,
        "user": NOBODY if root else None,  # root's processes would not be limited in number
        "prefix": prefix,
        "python": inner if walled else python,
        "disk": limits.disk,
        "readable": [*LIBRARIES, *DEVICES],
        "limits": {"RLIMIT_AS": limits.memory, "RLIMIT_CPU": seconds, "RLIMIT_CORE": 0,
                   "RLIMIT_FSIZE": limits.disk, "RLIMIT_NOFILE": limits.files}
        | ({"RLIMIT_NPROC": limits.processes} if walled else {}),
    }  # fmt: skip
    inside = [python, "-I", "-S", "-c", INSIDE.read_text(encoding="utf-8"), json.dumps(config)]
    if not walled:
        return inside
    own = () if root else OWN_USER
    return ["unshare", *own, *NAMESPACES, "--fork", "--kill-child", *inside]


def _read(pipe: IO[bytes], deadline: float, most: int) -> tuple[Status | None, bytes]:
    """What the program writes until all of it has ended, the time is over, or it is too much."""
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                return "time", data
            more = os.read(pipe.fileno(), 65_536)
            if not more:
                return None, data
            data += more
            if len(data) > most:
                return "output", data[:most]


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Whether it still runs when the time is over, its output closed."""
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return True
    return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Process 1 and what started it are in one group; the namespace dies with them."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait()

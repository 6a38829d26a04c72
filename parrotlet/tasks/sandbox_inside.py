"""What runs inside the sandbox, before the program: it builds the walls that are built from inside.

Process 1 of the namespaces mounts an empty /tmp, writes the program there and starts it as a
child; when the child ends it ends, and the kernel then ends everything else in the namespaces. It
cannot be killed, traced or signalled from inside. The child gives up every right it does not need
for good: limits, no new privileges, no capabilities, and Landlock (docs.kernel.org/userspace-
api/landlock.html), which leaves it Python's library to read and /tmp to write. Sent to `python
-c` as text, so it imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
from typing import Any

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on every machine
READ = 0b1101  # execute, read files, read directories
FILE_READ = 0b101
EVERYTHING = ((1, 0x1FFF), (2, 0x2000), (3, 0x4000), (5, 0x8000))  # by version of Landlock
NO_NEW_PRIVS, DROP_CAPABILITY = 38, 24  # of prctl
BIND, NO_SUID_NO_DEVICES = 4096, 6  # of mount
PYTHON, WORK = "/tmp/python", "/tmp/work"
FAILED = 90  # the exit status where a wall could not be built
LIBC = ctypes.CDLL(None, use_errno=True)


def must(result: int, what: str) -> int:
    """The result of a call of the C library; ends the process where it failed."""
    if result < 0:
        os.write(2, f"sandbox: {what}: {os.strerror(ctypes.get_errno())}\n".encode())
        os._exit(FAILED)
    return result


def landlock(readable: list[str], writable: list[str]) -> None:
    """From here on only these paths can be reached, and no network, nor signals to outside."""
    version = must(LIBC.syscall(CREATE_RULESET, None, 0, 1), "Landlock")
    every = sum(bits for since, bits in EVERYTHING if version >= since)
    words = [every, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    attributes = struct.pack(f"{len(words)}Q", *words)
    rules = must(LIBC.syscall(CREATE_RULESET, attributes, len(attributes), 0), "Landlock's rules")
    for paths, rights in ((readable, READ), (writable, every & ~1)):
        for path in filter(os.path.exists, paths):
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if os.path.isdir(path) else rights & FILE_READ
            rule = struct.pack("=Qi", allowed, handle)
            must(LIBC.syscall(ADD_RULE, rules, 1, rule, 0), f"a rule for {path}")
            os.close(handle)
    must(LIBC.syscall(RESTRICT_SELF, rules, 0), "Landlock's walls")


def close_in(config: dict[str, Any], walled: bool) -> None:
    """Limits first, then, where there are walls, everything that can be given up."""
    for name, value in config["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    must(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if walled:
        for capability in range(64):
            LIBC.prctl(DROP_CAPABILITY, capability, 0, 0, 0)  # fails past the last one there is
        if config["user"]:
            os.setgroups([])
            os.setgid(config["user"])
            os.setuid(config["user"])
        landlock([*config["readable"], PYTHON], [WORK])


def main() -> None:
    """Build the walls, run the program that came on standard input, end as it does."""
    config = json.loads(sys.argv[1])
    program = sys.stdin.buffer.read()
    if config["walled"]:
        size = f"size={config['disk']},mode=755".encode()
        must(LIBC.mount(b"tmpfs", b"/tmp", b"tmpfs", NO_SUID_NO_DEVICES, size), "an empty /tmp")
        for folder in (PYTHON, WORK):
            os.mkdir(folder)
        os.chmod(WORK, 0o777)
        prefix = config["prefix"].encode()  # nobody may have no way to where it is
        must(LIBC.mount(prefix, PYTHON.encode(), None, BIND | 16384, None), "Python's library")
        os.chdir(WORK)
    with open("program.py", "wb") as file:
        file.write(program)
    child = os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        close_in(config, config["walled"])
        python = config["python"]
        os.execv(python, [python, "-I", "-S", "program.py"])
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


main()

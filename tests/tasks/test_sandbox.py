# ruff: noqa: E501
"""The sandbox: sixty programs that try to get out; none does, none survives, nothing changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.tasks import sandbox
from parrotlet.tasks.sandbox import Limits, missing_walls, run_python

QUICK = Limits(seconds=20, memory=256 << 20)
MARK = "parrotlet-escape-71925"  # in the name of everything that tries to survive

# every program prints OUT where it got out; {host} is a file of ours, {port} a port we listen on
ESCAPES = {
    "read passwd": "open('/etc/passwd').read()",
    "read host file": "open('{host}').read()",
    "read root": "import os; os.listdir('/')",
    "read home": "import os; os.listdir('/root')",
    "read proc self mem": "open('/proc/self/mem','rb').read(1)",
    "read proc 1": "open('/proc/1/environ','rb').read()",
    "read proc maps": "open('/proc/self/maps').read()",
    "read sys": "import os; os.listdir('/sys/kernel')",
    "read dev": "import os; os.listdir('/dev')",
    "read memory device": "open('/dev/mem','rb').read(1)",
    "read shadow by os": "import os; os.open('/etc/shadow', os.O_RDONLY)",
    "write host file": "open('{host}','w').write('gone')",
    "append host file": "open('{host}','a').write('gone')",
    "remove host file": "import os; os.unlink('{host}')",
    "rename host file": "import os; os.rename('{host}', '{host}.old')",
    "truncate host file": "import os; os.truncate('{host}', 0)",
    "hard link out": "import os; os.link('{host}', 'mine'); open('mine').read()",
    "symlink out": "import os; os.symlink('{host}', 'mine'); open('mine').read()",
    "symlink out and write": "import os; os.symlink('{host}', 'm'); open('m','w').write('gone')",
    "up from here": "open('../etc/passwd').read()",
    "write etc": "open('/etc/{mark}','w').write('x')",
    "write library": "import os; open(os.__file__,'a').write('#')",
    "write var tmp": "open('/var/tmp/{mark}','w').write('x')",
    "write shared memory": "open('/dev/shm/{mark}','w').write('x')",
    "chmod host file": "import os; os.chmod('{host}', 0); assert os.stat('{host}').st_mode & 7 == 0",
    "make device": "import os, stat; os.mknod('d', 0o600|stat.S_IFBLK, os.makedev(8,0)); open('d','rb').read(1)",
    "connect out": "import socket; socket.create_connection(('1.1.1.1', 80), 2)",
    "connect home": "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "udp out": "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('1.1.1.1',53)); s.send(b'x')",
    "listen": "import socket; s=socket.socket(); s.bind(('0.0.0.0', 0))",
    "abstract socket": "import socket; s=socket.socket(socket.AF_UNIX); s.connect(chr(0)+'{mark}')",
    "unix socket": "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/systemd/private')",
    "name lookup": "import socket; socket.getaddrinfo('example.com', 80)",
    "raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "packet socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "kill process 1": "import os, signal, time; os.kill(1, signal.SIGKILL); time.sleep(1); os.kill(1, 0)",
    "kill the parent": "import os; os.kill(os.getppid(), 15); os.kill({parent}, 15)",
    "kill host process": "import os; os.kill({parent}, 0)",
    "kill group of host": "import os; os.killpg({parent}, 0)",
    "trace host process": "import ctypes; assert ctypes.CDLL(None).ptrace(16, {parent}, 0, 0) == 0",
    "trace process 1": "import ctypes; assert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "mount proc": "import ctypes, os; os.mkdir('p'); assert ctypes.CDLL(None).mount(b'proc', b'p', b'proc', 0, 0) == 0",
    "mount tmpfs": "import ctypes, os; os.mkdir('t'); assert ctypes.CDLL(None).mount(b't', b't', b'tmpfs', 0, 0) == 0",
    "unmount tmp": "import ctypes; assert ctypes.CDLL(None).umount2(b'/tmp', 2) == 0",
    "chroot": "import os; os.mkdir('r'); os.chroot('r')",
    "pivot root": "import ctypes; assert ctypes.CDLL(None).syscall(155, b'/tmp', b'/tmp') == 0",
    "set clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "set host name": "import socket; socket.sethostname('{mark}')",
    "raise limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "nicer": "import os; os.nice(-5)",
    "become root": "import os; os.setuid(0); open('/etc/shadow').read()",
    "join namespaces": "import os; f=os.open('/proc/1/ns/mnt', 0); import ctypes; assert ctypes.CDLL(None).setns(f, 0) == 0",
    "load module": "import ctypes; assert ctypes.CDLL(None).syscall(175, 0, 0, 0) == 0",
    "reboot": "import ctypes; assert ctypes.CDLL(None).reboot(0x1234567) == 0",
    "posix system": "import posix; assert posix.system('cat /etc/passwd') == 0",
    "shell": "import subprocess; subprocess.run(['/bin/sh','-c','true'], check=True)",
    "posix spawn": "import os; p=os.posix_spawn('/bin/cat',['cat','/etc/passwd'],{{}}); assert os.waitpid(p,0)[1]==0",
    "bare fork exec": "import _posixsubprocess, os; import ctypes; assert ctypes.CDLL(None).execv(b'/bin/sh', (ctypes.c_char_p*2)(b'sh', None)) == 0",
    "keep trying after a reload": "import sys; del sys.modules['os']; import os; os.listdir('/etc')",
    "frames": "import sys; sys._getframe(0).f_builtins['open']('/etc/passwd').read()",
    "ctypes open": "import ctypes; assert ctypes.CDLL(None).open(b'/etc/passwd', 0) >= 0",
    "open by handle": "import ctypes; assert ctypes.CDLL(None).syscall(304, -100, b'', 0) >= 0",
    "inherited handles": "import os; [os.fstat(n) for n in range(3, 4)]",
}  # fmt: skip
# these use something up or stay behind; none has anything to print OUT for
GREEDY = {
    "endless": "while True: pass",
    "fork bomb": "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
    "thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()",
    "memory": "x = bytearray(10**10)",
    "memory bit by bit": "x = []\nwhile True: x.append(bytearray(10**6))",
    "big print": "print('x' * 10**7)",
    "endless print": "while True: print('x' * 1000)",
    "disk": "f = open('f', 'wb')\nwhile True: f.write(bytes(10**6))",
    "many files": "x = [open(str(n), 'w') for n in range(1000)]",
    "daemon": "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(9999)\n os._exit(0)",
    "deaf daemon": "import os, signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nif os.fork() == 0:\n os.setsid(); time.sleep(9999)",
    "quiet daemon": "import os, time\nif os.fork() == 0:\n os.close(0); os.close(1); os.close(2); os.setsid(); time.sleep(9999)",
}  # fmt: skip

walled = pytest.mark.skipif(bool(missing_walls()), reason=f"refused here: {missing_walls()}")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A file that anyone on this machine may read and write."""
    path = tmp_path / "host.txt"
    path.write_text("precious", encoding="utf-8")
    path.chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and "pytest" in str(folder):
            folder.chmod(0o777)
    return path


def survivors() -> list[str]:
    """Processes of this machine that run a program of a sandbox."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if "-I -S program.py" in line]


def gone() -> bool:
    """Whether the processes are gone, after a while at most: the kernel takes its time."""
    for _ in range(100):
        if not survivors():
            return True
        time.sleep(0.1)
    return False


def test_there_are_sixty() -> None:
    assert len(ESCAPES) + len(GREEDY) >= 60


@walled
@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_gets_out(name: str, host: Path) -> None:
    places = {"host": host, "port": 1, "parent": os.getpid(), "mark": MARK}
    attempt = ESCAPES[name].format(**places)
    before = hashlib.sha256(host.read_bytes()).hexdigest(), host.stat().st_mode
    program = f"try:\n exec({attempt!r})\n print('OUT')\nexcept BaseException as e: print(repr(e))"
    outcome = run_python(program, QUICK)
    if name == "kill process 1":  # refused by Landlock, or taken and without effect
        assert outcome.status == "ok" and outcome.output
    elif name == "kill the parent":
        assert "ProcessLookupError" in outcome.output or "PermissionError" in outcome.output
    elif name == "listen":  # in a network of its own, which nobody can reach
        assert outcome.status in ("ok", "failed")
    else:
        assert "OUT" not in outcome.output, outcome
    assert (hashlib.sha256(host.read_bytes()).hexdigest(), host.stat().st_mode) == before
    for place in ("/etc", "/var/tmp", "/dev/shm", "/tmp"):
        assert not Path(place, MARK).exists()


@walled
@pytest.mark.parametrize("name", GREEDY)
def test_nothing_survives_or_takes_too_much(name: str) -> None:
    outcome = run_python(GREEDY[name], Limits(seconds=3, memory=256 << 20))
    assert outcome.status in {
        "endless": ("time",), "big print": ("output",), "endless print": ("output", "time"),
        "fork bomb": ("time",), "daemon": ("ok", "time"), "deaf daemon": ("ok", "time"),
        "quiet daemon": ("ok", "time"), "thread bomb": ("failed", "time"),
    }.get(name, ("failed", "time"))  # fmt: skip
    assert len(outcome.output) <= Limits().output
    assert gone(), survivors()


@walled
def test_an_honest_program_runs() -> None:
    program = "import math, json, re, itertools, collections\nprint(math.comb(5, 2), 'ä')"
    outcome = run_python(program, QUICK)
    assert (outcome.status, outcome.output) == ("ok", "10 ä\n")
    assert run_python("open('f', 'w').write('x'); print(open('f').read())", QUICK).output == "x\n"
    assert run_python("import os; print(os.listdir())", QUICK).output == "['program.py']\n"
    failed = run_python("assert 1 == 2, 'no'", QUICK)
    assert failed.status == "failed" and "AssertionError: no" in failed.output
    assert run_python("raise SystemExit(0)", QUICK).status == "ok"
    assert run_python("def f(:", QUICK).status == "failed"


def test_without_walls_it_refuses_or_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "missing_walls", lambda: "the kernel has no Landlock")
    with pytest.raises(UsageError, match="cannot be run safely here: the kernel has no Landlock"):
        run_python("print(1)")
    if sys.platform == "linux":
        outcome = run_python("print(6 * 7)", QUICK, weak=True)
        assert (outcome.status, outcome.output) == ("ok", "42\n")
        assert run_python("while True: pass", Limits(seconds=2), weak=True).status == "time"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_platforms_say_so(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert "no namespaces" in missing_walls.__wrapped__()


def test_never_torch() -> None:
    code = "import sys, parrotlet.tasks.sandbox; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

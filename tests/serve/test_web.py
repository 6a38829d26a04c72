"""`parrotlet web` as a process: its port, its server, and how both end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from tiny_server import float32

from parrotlet.core.errors import UsageError
from parrotlet.terminal import web as module
from parrotlet.terminal.web import open_port

pytest.importorskip("streamlit")


@contextmanager
def page_of(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`parrotlet web ARGUMENTS`, killed at the end if it still runs."""
    command = [sys.executable, "-m", "parrotlet", "web", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], start: str) -> str:
    """The line that begins so."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(start):
            return line
    raise AssertionError("".join(said))


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that its threads have started."""
    listed = [each.read_text() for each in Path(f"/proc/{process.pid}/task").glob("*/children")]
    return [int(each) for each in " ".join(listed).split()]


def runs_still(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("started", ["loading the models", "chat at"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_no_server_survives_its_page(runs: Path, tmp_path: Path, started: str, name: str) -> None:
    with page_of(*float32(runs / "tiny"), "--home", tmp_path) as process:
        read_until(process, started)
        while not (servers := children(process)):
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        said, _ = process.communicate(timeout=300)
        assert process.returncode == (-signal.SIGKILL if name == "SIGKILL" else 0)
        assert "Traceback" not in said
        end = time.monotonic() + 300
        while any(map(runs_still, servers)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(runs_still, servers))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_server_that_dies_is_started_again_at_its_port(runs: Path, tmp_path: Path) -> None:
    with page_of(*float32(runs / "tiny"), "--home", tmp_path) as process:
        read_until(process, "chat at")
        (first,) = children(process)
        os.kill(first, signal.SIGKILL)
        command: list[str] = []
        for _ in range(6000):  # until the new one is there, and is no copy of its parent
            if "--port" in command:
                break
            time.sleep(0.05)
            second = next((each for each in children(process) if each != first), None)
            with suppress(OSError):
                command = Path(f"/proc/{second}/cmdline").read_text().split("\0")
        address = f"http://127.0.0.1:{command[command.index('--port') + 1]}"
        for _ in range(3000):
            with suppress(httpx2.HTTPError):
                if httpx2.get(f"{address}/ready").status_code == 200:
                    break
            time.sleep(0.1)
        assert [each["id"] for each in httpx2.get(f"{address}/v1/models").json()["data"]] == [
            "tiny"
        ]


def test_a_page_and_its_server_without_filters(runs: Path, tmp_path: Path) -> None:
    """A port that is taken is told, and the page opens beside it; no filter is told as well."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        with page_of(*float32(runs / "tiny"), "--home", tmp_path, "--port", port) as process:
            said, _ = process.communicate(timeout=300)
        assert process.returncode == 2
        assert said == (
            f"parrotlet: cannot listen on 127.0.0.1 port {port}: address already in use; "
            "choose another --port\n"
        )
    with page_of(*float32(runs / "tiny"), "--home", tmp_path, "--no-filter") as process:
        line = read_until(process, "chat at")
        assert line.endswith("(Ctrl-C stops; no safety filter)\n")
        assert httpx2.get(line.split()[2]).status_code == 200


def test_the_next_port_is_taken_where_the_usual_one_is_not_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(module, "PORT", port)
        found = open_port(None)
        told = capsys.readouterr().out
        assert found != port and f"127.0.0.1 port {port}: address already in use; trying" in told
        with pytest.raises(UsageError, match=f"port {port}: .*; choose another --port"):
            open_port(port)
        monkeypatch.setattr(module, "PORTS", 1)
        with pytest.raises(UsageError, match=f"port {port}"):
            open_port(None)

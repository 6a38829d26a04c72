"""Ctrl-C at a real terminal stops the reply, not the chat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from parrotlet.cli import main

WATCHDOG = 120.0


@dataclass
class Terminal:
    """A process at a pseudo-terminal, and what its screen said so far."""

    process: subprocess.Popen[bytes]
    handle: int
    said: str = ""

    def wait_for(self, text: str) -> None:
        """Read until `text` has appeared after what was awaited before."""
        deadline = time.monotonic() + WATCHDOG
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            self.said += os.read(self.handle, 4096).decode("utf-8", "replace")
        self.said = self.said.split(text, 1)[1]

    def read_to_the_end(self) -> None:
        """Read until the process has closed its side."""
        deadline = time.monotonic() + WATCHDOG
        try:
            while os.read(self.handle, 4096):
                assert time.monotonic() < deadline
        except OSError:  # how Linux says that nobody is on the other side
            return

    def type(self, line: str) -> None:
        os.write(self.handle, line.encode() + b"\n")


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Terminal]:
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this platform")
    assert main(["pretrain", "--recipe", "smoke", "--runs", str(tmp_path), "--name", "x"]) == 0
    ours, theirs = pty.openpty()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-m", "parrotlet", "chat", str(tmp_path / "x"), "--temperature", "1"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    yield Terminal(process, ours)
    process.kill()
    process.wait()
    os.close(ours)


def test_control_c(chat: Terminal) -> None:
    chat.wait_for("you>")
    os.kill(chat.process.pid, signal.SIGINT)  # at the prompt: a hint, and the prompt again
    chat.wait_for("/quit leaves")
    chat.wait_for("you>")
    for _ in range(20):  # until a reply is long enough to be stopped in its middle
        chat.type("Hello")
        chat.wait_for("Hello")
        time.sleep(0.05)
        os.kill(chat.process.pid, signal.SIGINT)
        chat.wait_for("you>")
        assert chat.process.poll() is None
    chat.type("/quit")
    chat.read_to_the_end()  # a reply that is still on its way must not fill the terminal's buffer
    assert chat.process.wait(timeout=WATCHDOG) == 0

"""The page as a real process, and a tab of a real browser that looks at it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripted_api import Scripted


@dataclass
class Page:
    """A page that runs."""

    address: str
    api: Scripted
    home: Path
    process: subprocess.Popen[str]


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


@contextmanager
def running_page(*arguments: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`parrotlet web ARGUMENTS` until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "parrotlet", "web", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(
        [*command, "--port", str(port)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("chat at"):
                break
        else:
            raise AssertionError("".join(said))
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        told, _ = process.communicate(timeout=600)
        assert process.returncode == 0 and "Traceback" not in told, told


class Tab:
    """A tab, and what it asked of other hosts, or said in dialogs."""

    def __init__(self, browser: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page = self.context.new_page()
        self.page.set_default_timeout(240_000)
        self.strangers: list[str] = []
        self.dialogs: list[str] = []
        self.context.on("request", self._asked)
        self.page.on("dialog", self._dialog)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.strangers.append(request.url)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def say(self, text: str) -> None:
        box = self.page.get_by_placeholder("Message")
        box.and_(self.page.locator(":enabled")).wait_for()
        box.fill(text)
        box.press("Enter")

    def sees(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def messages(self) -> list[str]:
        """What the messages show."""
        found: list[str] = self.page.locator("[data-testid='stChatMessage']").all_inner_texts()
        return found

    def facts(self, number: int) -> None:
        """Wait until so many replies are whole and can be rated."""
        self.page.locator("[class*='st-key-facts-']").nth(number - 1).wait_for()

    def trouble(self) -> list[str]:
        """Exception boxes, requests to anybody else, dialogs: none, if all is well."""
        boxes: list[str] = self.page.locator("[data-testid='stException']").all_inner_texts()
        return [*boxes, *self.strangers, *self.dialogs]

"""`parrotlet web`: a server of the models, and the page beside it; Ctrl-C stops both."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from parrotlet.core.errors import ParrotletError, RunError, UsageError
from parrotlet.safety.filters import filters_for
from parrotlet.terminal.config_web import PORT, WebConfig

ADDRESS = re.compile(r" on (http://\S+) ")
ASKED = re.compile(r"[A-Z]+ \"/")  # a line of the access log
PORTS = 20  # that are tried
PATIENCE = 10.0  # seconds for the server to end
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before a server that died is started again
SCRIPT = Path(__file__).with_name("web_page.py")
MISSING = "the page needs Streamlit: pip install 'parrotlet[web]'"


def web(config: WebConfig) -> int:
    """Serve the page until Ctrl-C."""
    if not can_serve():
        raise UsageError(MISSING)
    runs = dict(_named(each) for each in config.runs)
    for path in runs.values():
        if not path.is_dir():
            raise UsageError(f"{path} is not a run: there is no such folder")
    home = config.home or _folder(next(iter(runs.values()))) / "web"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot write in {home}: {error.strerror or error}; choose another folder with --home"
        ) from error
    filters = filters_for(config.safety, config.api_url)
    port = open_port(config.port)
    address = f"http://127.0.0.1:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server is stopped too
    with contextlib.suppress(KeyboardInterrupt), _api(config) as api:
        settings = {
            "api": api,
            "runs": {name: str(path.absolute()) for name, path in runs.items()},
            "home": str(home.absolute()),
        }
        page = importlib.import_module("parrotlet.ui.server")
        told = "Ctrl-C stops" if filters or config.api_url else "Ctrl-C stops; no safety filter"
        page.run(SCRIPT, port, settings, lambda: _tell(address, told, config.browser))
    return 0


def can_serve() -> bool:
    """Whether Streamlit and the server's own packages are installed."""
    return all(importlib.util.find_spec(name) for name in ("streamlit", "fastapi", "httpx2"))


def _named(argument: str) -> tuple[str, Path]:
    name, equals, path = argument.partition("=")
    return (name, Path(path)) if equals else (Path(argument).name, Path(argument))


def _folder(path: Path) -> Path:
    """The run's own folder, of a checkpoint its run."""
    return path.parent if path.name.startswith("step_") else path


def open_port(wanted: int | None) -> int:
    """A port one can listen on; of None the usual one, or the next that is free, and that is said.

    UsageError where none is.
    """
    for port in (wanted,) if wanted is not None else range(PORT, PORT + PORTS):
        try:
            _bind(port)
        except OSError as error:
            reason = str(error.strerror or error).lower()
            told = f"cannot listen on 127.0.0.1 port {port}: {reason}"
            if wanted is None:
                print(f"{told}; trying the next one", flush=True)
        else:
            return port
    raise UsageError(f"{told}; choose another --port")


def _bind(port: int) -> None:
    with socket.socket() as trial:
        if os.name != "nt":  # there it would share the port with whoever has it
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("127.0.0.1", port))


def _tell(address: str, told: str, browser: bool) -> None:
    print(f"chat at {address} ({told})", flush=True)
    screen = os.name == "nt" or sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )  # fmt: skip
    if browser and screen and sys.stdout.isatty():
        threading.Timer(0.5, webbrowser.open, [address]).start()


@contextlib.contextmanager
def _api(config: WebConfig) -> Iterator[str]:
    """The address of a server: the one that was given, or one that is started for the page."""
    if config.api_url is not None:
        yield config.api_url.rstrip("/").removesuffix("/v1")
        return
    server = ApiServer(config)
    try:
        yield server.address
    finally:
        server.stop()


class ApiServer:
    """`parrotlet serve` as a child, started again where it dies."""

    def __init__(self, config: WebConfig) -> None:
        """Start it and wait until it listens; ParrotletError where it does not."""
        given = {**vars(config.machine), "policy": config.safety.policy}
        flags = [f"--{name}={value}" for name, value in given.items() if value is not None]
        flags += [] if config.safety.filter else ["--no-filter"]
        self._command = [
            sys.executable, "-m", "parrotlet", "serve", *config.runs, "--inspect",
            "--while-input", *flags,
        ]  # fmt: skip
        print("loading the models", flush=True)
        self._stopping = threading.Event()
        self._process, self.address = self._start("0")
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self, port: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*self._command, "--port", port],
            stdin=subprocess.PIPE,  # its end tells that this process has ended, even if killed
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
        try:
            for line in process.stdout:
                if found := ADDRESS.search(line):
                    return process, found[1]
        except BaseException:  # Ctrl-C while it loads
            process.kill()
            raise
        raise ServerFailed(process.wait())

    def _watch(self) -> None:
        """Start it again on its port where it ended unasked."""
        port = self.address.rpartition(":")[2]
        failures = 0
        while not self._stopping.is_set():
            self._process.wait()
            if self._stopping.wait(PAUSES[min(failures, len(PAUSES) - 1)]):
                return
            with contextlib.suppress(ServerFailed):
                self._process, _ = self._start(port)
                failures = -1
            failures += 1
        self._process.terminate()  # it was asked to stop while it was being started again

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _pass_on(words: IO[str]) -> None:
    """What the server says, but not that it was asked: the page asks all the time."""
    for line in words:
        if not ASKED.match(line):
            print(line, end="", file=sys.stderr, flush=True)


class ServerFailed(ParrotletError):
    """The server of the models did not start; it has said why itself."""

    def __init__(self, status: int) -> None:
        super().__init__("the server of the models did not start (its own words are above)")
        self.status = status or 1

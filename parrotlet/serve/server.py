"""`parrotlet serve`: what is checked before it listens, and how it stops.

SIGTERM or Ctrl-C: no new requests, the running ones get time to finish, then their answers end
("abort") and the process exits with 0. A second signal ends it at once. Where the engine's thread
ends by an error, everyone who waits is told and the process exits with 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parrotlet.core.errors import UsageError
from parrotlet.core.log import get_logger
from parrotlet.safety.filters import Filters, filters_for
from parrotlet.serve.app import build_app
from parrotlet.serve.config import ServeConfig
from parrotlet.serve.guard import Keys
from parrotlet.serve.metrics import Metrics
from parrotlet.serve.models import Models, find_all, load_all
from parrotlet.serve.service import Service
from parrotlet.serve.worker import Worker

KEY_VARIABLE = "PARROTLET_API_KEY"
POLL = 0.05  # seconds between two looks at who is still being answered
LAST_WORDS = 2.0  # seconds for the last bytes to leave
log = get_logger("serve")


def serve(config: ServeConfig) -> int:
    """Serve until told to stop; 1 where the engine failed."""
    if not config.runs:
        raise UsageError("name a run to serve, for example: parrotlet serve runs/demo")
    keys = read_keys(config)
    local = _is_local(config.host)
    if not (local or keys or config.insecure):
        raise UsageError(
            f"--host {config.host} lets other machines ask: give API keys ({KEY_VARIABLE} or "
            "--api-key-file), or say --insecure"
        )
    filters = filters_for(config.safety)
    if config.while_input:
        threading.Thread(target=_follow_input, daemon=True).start()
    with contextlib.closing(bind(config.host, config.port)) as listener:
        checkpoints = find_all(config.runs)
        # in a thread that ends: GNU OpenMP's workers of one that goes on would count as busy, and
        # those of the engine's thread would sleep between two operations
        with ThreadPoolExecutor(max_workers=1) as loader:
            loading = loader.submit(
                load_all,
                checkpoints,
                config.machine,
                slots=config.limits.slots,
                keep=config.inspect,
            )
        models = loading.result()
        logging.getLogger("parrotlet.serve").setLevel(logging.INFO)
        server = make_server(config, models, keys, filters)
        address = f"http://{_shown(listener)}"
        _listen(listener)  # from here on, whoever asks is answered
        told = "Ctrl-C stops" if filters else "Ctrl-C stops; no safety filter is active"
        print(f"serving {', '.join(checkpoints)} on {address} ({told})", flush=True)
        server.run(sockets=[listener])
    return 0 if server.service.worker.error is None else 1


def read_keys(config: ServeConfig) -> Keys:
    """The API keys of the file and the environment; UsageError where the file has none."""
    found = os.environ.get(KEY_VARIABLE, "").split()
    if config.api_key_file is not None:
        try:
            in_file = config.api_key_file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--api-key-file {config.api_key_file}: {error}") from error
        if not in_file:
            raise UsageError(f"--api-key-file {config.api_key_file} is empty; one key a line")
        found += in_file
    return Keys(found)


def bind(host: str, port: int) -> socket.socket:
    """A socket that can listen at host:port; UsageError where it cannot."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
        if os.name != "nt":  # there it would share the port with whoever has it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host} port {port}: {str(reason).lower()}; choose another --port "
            "or --host (--port 0 finds a free port)"
        ) from error
    return listener


def _listen(listener: socket.socket) -> None:
    """UsageError where somebody else has begun to listen there since the port was taken."""
    try:
        listener.listen()
    except OSError as error:
        raise UsageError(
            f"cannot listen on {_shown(listener)}: {str(error.strerror).lower()}; choose another "
            "--port (--port 0 finds a free port)"
        ) from error


def make_server(
    config: ServeConfig, models: Models, keys: Keys, filters: Filters | None = None
) -> Server:
    """The server of loaded models, ready to run."""
    metrics = Metrics()
    worker = Worker([each.lane for each in models.all], lambda: server.drain())
    metrics.watch(worker)
    service = Service(
        models,
        worker,
        limits=config.limits,
        filters=filters,
        strict=config.strict,
        metrics=metrics,
    )
    app = build_app(service, keys, local=_is_local(config.host) and not keys, cors=config.cors)
    server = Server(app, service)
    return server


class Server(uvicorn.Server):
    """Uvicorn, with our way of stopping."""

    def __init__(self, app: Any, service: Service) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                proxy_headers=False,  # who asks is who connects
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(LAST_WORDS),
            )
        )
        self.service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; clients that stop reading are dropped by the kernel, where it can."""
        self._loop = asyncio.get_running_loop()
        milliseconds = int(self.service.limits.send_timeout * 1000)
        for each in sockets or ():
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first one drains, the second ends."""
        if self.service.draining or self._loop is None:
            self.should_exit = self.force_exit = True
        else:
            self._loop.call_soon_threadsafe(self.drain, self.service.limits.drain)
        self.service.draining = True

    def drain(self, seconds: float = LAST_WORDS) -> None:
        """Let running answers finish for so long, then stop."""
        self.service.draining = True
        self._stopping = asyncio.ensure_future(self._drain(seconds))

    async def _drain(self, seconds: float) -> None:
        worker = self.service.worker
        for patience in (seconds, LAST_WORDS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while worker.open:
                        await asyncio.sleep(POLL)
            worker.abort()
        self.should_exit = True


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP, but connections that ask for nothing, or endlessly, are closed."""

    PATIENCE = 30.0  # seconds, at least; twice that at most
    MOST_HEAD = 65_536  # bytes before a body
    _head = 0
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watch(seen=None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to watch; a timer would keep what is gone in memory."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take more bytes; a head without end is cut off."""
        super().data_received(data)
        self._head = self._head + len(data) if self._idle() else 0
        if self._head > self.MOST_HEAD:
            self.transport.abort()

    def _idle(self) -> bool:
        """Whether no request is being answered: there is none, or its head is not whole."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self, seen: object) -> None:
        cycle = self.cycle
        idle = self._idle()
        if self.transport.is_closing():
            return
        if idle and seen is (cycle or self):
            self.transport.close()
            return
        now = (cycle or self) if idle else None
        self._look = self.loop.call_later(self.PATIENCE, self._watch, now)


def _follow_input() -> None:
    """Stop when nobody is left who could write to standard input."""
    while os.read(0, 4096):
        pass
    signal.raise_signal(signal.SIGTERM)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

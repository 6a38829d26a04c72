"""Streamlit as this project runs it: on loopback, for this machine alone, asking nobody else.

What the browser may fetch is said in every response: pages of ours and nothing of anyone else's,
so that even a text that slipped through as a picture could not report to anybody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parrotlet.ui import theme
from parrotlet.ui.store import StoreError

HOSTS = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    # Vega compiles expressions, Streamlit styles its elements in place
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "frame-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}


class Walls:
    """Answers nobody who came by another name than this machine's, and adds HEADERS."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse (DNS rebinding: a page elsewhere whose name points here)."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        named = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        host = named if named.endswith("]") else named.rpartition(":")[0] or named
        if host not in HOSTS:
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 1008})
            await send({"type": "http.response.start", "status": 403, "headers": []})
            return await send({"type": "http.response.body", "body": b"this page is for localhost"})

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return await self._app(scope, receive, guarded)


def _told(error: Exception) -> bool:
    """Show what a person can do something about as a sentence; the rest is Streamlit's."""
    if isinstance(error, StoreError):
        st.error(f"{error}.", icon=":material/database:")
    return isinstance(error, StoreError)


def run(script: Path, port: int, settings: dict[str, Any], listening: Callable[[], None]) -> None:
    """Serve the script until Ctrl-C; `settings` reach it as st.secrets["parrotlet"]."""

    @asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        listening()
        yield

    app = st.App(
        script,
        secrets={"parrotlet": settings},
        middleware=[Middleware(Walls)],
        lifespan=life,
        on_script_error=_told,
    )
    app.run(
        config={
            "server.address": "127.0.0.1",
            "server.port": port,
            "server.headless": True,
            "server.fileWatcherType": "none",
            "server.maxUploadSize": 20,
            "browser.gatherUsageStats": False,
            "browser.serverAddress": "127.0.0.1",
            "client.toolbarMode": "minimal",
            "client.showErrorDetails": "none",
            "client.showErrorLinks": False,
            "logger.hideWelcomeMessage": True,
            "logger.level": "error",
            **theme.options(),
        }
    )

"""What stands before every handler: request ids, keys, hosts, sizes, times, one line of log.

Nothing of a body is looked at before its sender may ask and its length is known to be allowed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parrotlet.core.log import get_logger
from parrotlet.serve.config import LimitsConfig
from parrotlet.serve.errors import ApiError, as_api_error
from parrotlet.serve.metrics import Metrics
from parrotlet.serve.stream import ClientGone

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
OPEN = ("/health",)  # needs no key
WATCHING = ("/health", "/ready", "/metrics")  # are answered while the server drains
LOCAL = ("localhost", "127.0.0.1", "::1")
log = get_logger("serve")


class Keys:
    """API keys, kept as hashes."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def find(self, authorization: str) -> bytes | None:
        """The hash of the key of a header "Bearer KEY"; None where it is none of ours.

        Every key is compared, in a time that does not depend on where it differs.
        """
        scheme, _, key = authorization.partition(" ")
        given = hashlib.sha256(key.strip().encode()).digest()
        matches = [each for each in self._hashes if hmac.compare_digest(each, given)]
        return matches[0] if matches and scheme.lower() == "bearer" else None


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        limits: LimitsConfig,
        metrics: Metrics,
        local: bool,
        draining: Callable[[], bool],
    ) -> None:
        """`local`: only this machine may ask, so names of other hosts are refused, or else any
        page in a browser here could ask by a name that it points to this machine.
        """
        self._app = app
        self._draining = draining
        self._keys = keys
        self._limits = limits
        self._metrics = metrics
        self._local = local
        self._active: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, receive, send, self._limits)
        key = None
        try:
            key = self._admit(scope, visit.headers)
            await self._app(scope, visit.receive, visit.send)
        except ClientGone:
            visit.status = visit.status or 499
        except Exception as error:
            if not isinstance(error, ApiError):
                log.exception("request %s failed", visit.id)
            if visit.status:  # it has begun: all that is left is to end the connection
                raise
            await as_api_error(error).response()(scope, visit.receive, visit.send)
        finally:
            if key is not None:
                self._active[key] -= 1
            self._metrics.requests.labels(code=visit.status).inc()
            visit.tell()

    def _admit(self, scope: Scope, headers: Headers) -> bytes | None:
        """The key in use, counted; ApiError where the request must not go on."""
        path, method = scope["path"], scope["method"]
        if self._local and _host(headers.get("host", "localhost")) not in LOCAL:
            raise ApiError(403, "ask by the name localhost or 127.0.0.1", "unknown_host")
        key = None
        if self._keys and path not in OPEN and method != "OPTIONS":
            key = self._keys.find(headers.get("authorization", ""))
            if key is None:
                raise ApiError(401, "give an API key: Authorization: Bearer KEY", "invalid_api_key")
        if self._draining() and path not in WATCHING:
            raise ApiError(503, "the server is stopping", "shutting_down")
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,18}", length) or int(length) > self._limits.max_body:
            raise _too_large(self._limits.max_body)
        if key is not None and self._active[key] >= self._limits.per_key:
            raise ApiError(429, "this key has too many requests at once", "too_many_requests")
        if key is not None:
            self._active[key] += 1
        return key


class _Visit:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: LimitsConfig) -> None:
        self.headers = Headers(scope=scope)
        given = self.headers.get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limits = limits
        self._begin = time.monotonic()
        self._read = 0
        self._whole = False
        scope.setdefault("state", {})["request_id"] = self.id

    async def receive(self) -> Message:
        """The next part of the body, within its bounds; after it, that the client has gone."""
        if self._whole:
            return await self._receive()
        left = self._begin + self._limits.queue_timeout - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except TimeoutError:
            raise ApiError(408, "the request took too long to arrive", "timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._read += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read > self._limits.max_body:
            raise _too_large(self._limits.max_body)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; every response says which request it answers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.id
        await self._send(message)

    def tell(self) -> None:
        """One line of log: no header, no query, nothing of a body."""
        if log.isEnabledFor(logging.INFO):
            path = json.dumps(self._scope["path"][:100])
            seconds = time.monotonic() - self._begin
            method = self._scope["method"]
            log.info("%s %s %d %.3fs id=%s", method, path, self.status, seconds, self.id)


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body has more than {limit} bytes", "payload_too_large")

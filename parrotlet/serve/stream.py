"""Server-sent events, and what happens when the reader goes away or does not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from parrotlet.core.log import get_logger
from parrotlet.serve.errors import ApiError, as_api_error

T = TypeVar("T")
PING = 15.0  # seconds of silence before a comment shows that the server lives
DONE = b"data: [DONE]\n\n"
log = get_logger("serve")


class ClientGone(Exception):
    """The client has closed the connection: nobody is there to be told."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; ClientGone, and `work` cancelled, where the client goes away before."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event(value: Any) -> bytes:
    """One server-sent event."""
    return (
        b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    )


class EventStream(Response):
    """A response whose events come as they are made; `close` is called whatever happens."""

    media_type = "text/event-stream"

    def __init__(
        self,
        batches: AsyncIterator[Sequence[Any]],
        close: Callable[[], None],
        *,
        deadline: float,
        send_timeout: float,
        headers: dict[str, str],
    ) -> None:
        """`batches`: events that are sent together; an empty one becomes a ping."""
        quick = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(None, headers=headers | quick)
        del self.headers["content-length"]
        self._batches = batches
        self._close = close
        self._deadline = deadline
        self._send_timeout = send_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the end, the client's going or the deadline."""
        try:
            await unless_gone(receive, self._write(send))
        finally:
            self._close()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.timeout(self._deadline):
                async for batch in self._batches:
                    data = b"".join(map(event, batch)) or b": ping\n\n"
                    await self._send(send, data)
        except ClientGone:
            raise
        except TimeoutError:
            late = ApiError(504, "the answer took too long", "deadline_exceeded")
            await self._send(send, event(late.body()))
        except Exception as error:
            if not isinstance(error, ApiError):
                log.error("a stream ended in %r", error)
            await self._send(send, event(as_api_error(error).body()))
        await self._send(send, DONE, last=True)

    async def _send(self, send: Send, data: bytes, *, last: bool = False) -> None:
        """ClientGone where a client leaves too much unread for too long."""
        message = {"type": "http.response.body", "body": data, "more_body": not last}
        try:
            async with asyncio.timeout(self._send_timeout):
                await send(message)
        except TimeoutError:
            raise ClientGone from None

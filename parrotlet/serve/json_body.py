"""Bodies: strict, shallow JSON, read off the event loop where it is long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pydantic_core
from fastapi import Request, Response
from fastapi.routing import APIRoute

from parrotlet.serve.errors import ApiError

MOST_DEPTH = 64  # of JSON
INLINE = 65_536  # bytes of JSON that are parsed at once; more in a thread


class JsonRequest(Request):
    """A request whose JSON is strict and shallow."""

    async def json(self) -> Any:
        """The body as a value; ApiError 400 where it is no JSON, has NaN in it or is too deep."""
        body = await self.body()
        return parse(body) if len(body) < INLINE else await asyncio.to_thread(parse, body)


def parse(body: bytes) -> Any:
    """JSON as the standard has it: no NaN, no infinity, no halves of characters."""
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", "json_invalid") from None
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, list | dict)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ApiError(400, f"the body is nested deeper than {MOST_DEPTH}", "json_too_deep")


class JsonRoute(APIRoute):
    """A route that reads its body as JsonRequest does, and nothing but JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with a stricter request."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if request.method == "POST" and kind != "application/json":
                raise ApiError(415, "send JSON as application/json", "unsupported_media_type")
            return await handle(JsonRequest(request.scope, request.receive))

        return handler

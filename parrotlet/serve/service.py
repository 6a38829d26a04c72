"""Service: what the endpoints share; prepared answers are queued, then streamed or collected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from parrotlet.chat.pieces import Finish, Piece
from parrotlet.safety.filters import Filters
from parrotlet.serve.config import LimitsConfig
from parrotlet.serve.errors import ApiError
from parrotlet.serve.metrics import Metrics
from parrotlet.serve.models import Models, Served
from parrotlet.serve.prepare import Prepared
from parrotlet.serve.schema import Body, SamplingBody
from parrotlet.serve.stream import PING, EventStream, unless_gone
from parrotlet.serve.worker import Ticket, Worker

WARNING = "x-parrotlet-warning"


class Service:
    """What the endpoints share: models, the worker, limits, filters, metrics."""

    def __init__(
        self,
        models: Models,
        worker: Worker,
        *,
        limits: LimitsConfig,
        filters: Filters | None,
        strict: bool,
        metrics: Metrics,
    ) -> None:
        self.models = models
        self.worker = worker
        self.limits = limits
        self.filters = filters
        self.strict = strict
        self.metrics = metrics
        self.draining = False

    def warnings(self, body: Body) -> dict[str, str]:
        """Headers that tell of unknown fields; ApiError where these are refused."""
        unknown = body.unknown()
        if unknown and self.strict:
            raise ApiError(
                400, f"{unknown[0]!r} is not a known field", "unknown_parameter", unknown[0]
            )
        names = ", ".join(unknown).encode("ascii", "backslashreplace").decode()
        return {WARNING: "ignored unknown fields: " + _printable(names)} if unknown else {}

    async def answer(
        self, request: Request, body: SamplingBody, prepared: Prepared, headers: dict[str, str]
    ) -> Response:
        """Queue prepared answers, and stream or collect what becomes of them."""
        limits = self.limits
        self.check_room(prepared.model, len(prepared.answers))
        ticket = Ticket(prepared.model.lane, prepared.answers)
        begin = time.monotonic()
        self.worker.submit(ticket)
        streaming = False
        try:
            await unless_gone(request.receive, self._begun(ticket))
            batches = self._batches(ticket, prepared, body, begin)
            if body.stream:
                streaming = True
                return EventStream(
                    batches,
                    lambda: self.worker.release(ticket),
                    deadline=limits.deadline,
                    send_timeout=limits.send_timeout,
                    headers=headers,
                )
            chunks = await unless_gone(request.receive, self._all(batches))
            return JSONResponse(prepared.chunks.fold(chunks), headers=headers)
        finally:
            if not streaming:
                self.worker.release(ticket)

    def check_room(self, model: Served, num: int = 1) -> None:
        """ApiError where so many more answers of a model cannot wait; asked before any work too."""
        if not self.worker.alive:
            raise ApiError(503, "the engine has stopped", "unavailable")
        capacity = self.limits.slots + self.limits.queue
        if num > capacity:
            raise ApiError(400, f"at most {capacity} answers at once", "too_many", "n")
        if model.lane.live + num > capacity:
            raise ApiError(429, "too many requests wait already", "queue_full")

    async def _begun(self, ticket: Ticket) -> None:
        try:
            async with asyncio.timeout(self.limits.queue_timeout):
                await ticket.start()
        except TimeoutError:
            raise ApiError(503, "no slot came free in time", "overloaded") from None

    async def _all(self, batches: AsyncIterator[list[Any]]) -> list[Any]:
        try:
            async with asyncio.timeout(self.limits.deadline):
                return [chunk async for batch in batches for chunk in batch]
        except TimeoutError:
            raise ApiError(504, "the answer took too long", "deadline_exceeded") from None

    async def _batches(
        self, ticket: Ticket, prepared: Prepared, body: SamplingBody, begin: float
    ) -> AsyncIterator[list[Any]]:
        """The chunks of an answer, those that are ready together as one list."""
        chunks = prepared.chunks
        yield chunks.begin()
        first = None
        async for pieces in ticket.pieces(PING):
            if pieces and first is None:
                first = time.monotonic()
                self.metrics.first_token.observe(first - begin)
            yield chunks.take(pieces)
            self._count_blocks(piece for _, piece in pieces)
        self._count(chunks.counted, begin, first or begin)
        if body.stream_options is not None and body.stream_options.include_usage:
            yield [chunks.usage()]

    def _count_blocks(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, Finish) and piece.verdict and piece.verdict.stops:
                verdict = piece.verdict
                self.metrics.filtered.labels(verdict.direction, verdict.category).inc()

    def _count(self, usage: Any, begin: float, first: float) -> None:
        end = time.monotonic()
        self.metrics.prompt_tokens.inc(usage.prompt)
        self.metrics.generation_tokens.inc(usage.sampled)
        self.metrics.whole.observe(end - begin)
        if usage.sampled > 1:
            self.metrics.between_tokens.observe((end - first) / (usage.sampled - 1))


def _printable(text: str) -> str:
    return "".join(each if " " <= each <= "~" else "?" for each in text)[:500]

"""The HTTP interface: OpenAI's endpoints, and a few of the server's own."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pydantic_core
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from parrotlet import __version__
from parrotlet.chat.pieces import Finish, Piece
from parrotlet.core.errors import ParrotletError
from parrotlet.safety.filters import Filters
from parrotlet.serve import prepare
from parrotlet.serve.config import LimitsConfig
from parrotlet.serve.errors import ApiError, respond
from parrotlet.serve.guard import Guard, Keys
from parrotlet.serve.inspect import InspectBody, look
from parrotlet.serve.metrics import Metrics
from parrotlet.serve.models import Models, Served
from parrotlet.serve.prepare import Prepared
from parrotlet.serve.schema import (
    Body,
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    ModerationBody,
    SamplingBody,
    TokenizeBody,
)
from parrotlet.serve.stream import PING, EventStream, unless_gone
from parrotlet.serve.worker import Ticket, Worker
from parrotlet.text.chat import Conversation, render_prompt

MOST_DEPTH = 64  # of JSON
INLINE = 65_536  # bytes of JSON that are parsed at once; more in a thread
WARNING = "x-parrotlet-warning"
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "An error: message, type, param and code"},
}


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


def build_app(service: Service, keys: Keys, *, local: bool, cors: Sequence[str] = ()) -> FastAPI:
    """The ASGI app; its lifespan starts and stops the worker."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.worker.start(asyncio.get_running_loop())
        try:
            yield
        finally:
            await asyncio.to_thread(service.worker.stop)

    app = FastAPI(
        title="parrotlet",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: respond,
            RequestValidationError: respond,
            ParrotletError: respond,
        },
    )
    app.state.service = service
    app.include_router(_openai(service))
    app.include_router(_own(service))
    if service.models.all[0].model is not None:
        app.include_router(_inside(service))
    if cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", WARNING],
        )
    app.add_middleware(
        Guard,
        keys=keys,
        limits=service.limits,
        metrics=service.metrics,
        local=local,
        draining=lambda: service.draining,
    )
    return app


def _openai(service: Service) -> APIRouter:
    """The endpoints of OpenAI's protocol."""
    router = APIRouter(prefix="/v1", route_class=JsonRoute, responses=ERRORS)
    models = service.models

    @router.post("/chat/completions")
    async def chat(request: Request, body: ChatBody) -> Response:
        headers = service.warnings(body)
        model = models.chatting(body.model)
        service.check_room(model)
        prepared = await asyncio.to_thread(
            prepare.chat, model, body, service.limits, service.filters
        )
        return await service.answer(request, body, prepared, headers)

    @router.post("/completions")
    async def complete(request: Request, body: CompletionBody) -> Response:
        headers = service.warnings(body)
        model = models.get(body.model)
        service.check_room(model)
        prepared = await asyncio.to_thread(
            prepare.completion, model, body, service.limits, service.filters
        )
        return await service.answer(request, body, prepared, headers)

    @router.get("/models")
    async def all_models() -> dict[str, Any]:
        return {"object": "list", "data": [each.card() for each in models.all]}

    @router.get("/models/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        return models.get(name).card()

    @router.post("/moderations")
    async def moderate(body: ModerationBody) -> Response:
        headers = service.warnings(body)
        texts = [body.input] if isinstance(body.input, str) else body.input
        prepare.check_size(service.limits, "input", texts)
        filters = service.filters
        if filters is None:
            raise ApiError(404, "the filters of this server are off", "no_filters")
        found = await asyncio.to_thread(lambda: [filters.moderate(each) for each in texts])
        results = [
            {
                "flagged": each.flagged,
                "categories": each.categories,
                "category_scores": each.scores,
            }
            for each in found
        ]
        told = {"id": "modr", "model": f"parrotlet-{filters.version}", "results": results}
        return JSONResponse(told, headers=headers)

    return router


def _own(service: Service) -> APIRouter:
    """The endpoints beside OpenAI's."""
    router = APIRouter(route_class=JsonRoute, responses=ERRORS)

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready")
    async def ready() -> dict[str, str]:
        if service.draining or not service.worker.alive:
            raise ApiError(503, "not ready", "unavailable")
        return {"status": "ready"}

    @router.get("/version")
    async def version() -> dict[str, str]:
        return {"version": __version__}

    @router.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @router.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> Response:
        headers = service.warnings(body)
        value = await asyncio.to_thread(_tokenized, service, body)
        return JSONResponse(value, headers=headers)

    @router.get("/tokenizer_info")
    async def tokenizer_info() -> dict[str, Any]:
        """What lm-eval asks before /tokenize; control tokens have no text that becomes them."""
        tokenizer = service.models.get(None).tokenizer
        names: dict[str, Any] = {"bos_token": None, "eos_token": None, "pad_token": None}
        return {"tokenizer_class": tokenizer.kind, "bos_token_id": tokenizer.bos_id, **names}

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeBody) -> Response:
        headers = service.warnings(body)
        tokenizer = service.models.get(body.model).tokenizer
        return JSONResponse({"prompt": tokenizer.decode(body.tokens)}, headers=headers)

    return router


def _inside(service: Service) -> APIRouter:
    """/inspect, for this machine alone."""
    router = APIRouter(route_class=JsonRoute, responses=ERRORS)

    @router.post("/inspect")
    async def inspect(request: Request, body: InspectBody) -> Response:
        if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
            raise ApiError(403, "only this machine may look inside", "not_local")
        headers = service.warnings(body)
        texts = [body.text or "", *(each.message().text for each in body.messages or ())]
        prepare.check_size(service.limits, "messages", texts)
        model = service.models.get(body.model)
        service.check_room(model)
        value = await service.worker.call(lambda: look(model, body))
        return JSONResponse(value, headers=headers)

    return router


def _tokenized(service: Service, body: TokenizeBody) -> dict[str, Any]:
    model = service.models.get(body.model)
    tokenizer = model.tokenizer
    if (body.prompt is None) == (body.messages is None):
        raise ApiError(400, "give a prompt or messages, one of them", param="prompt")
    if body.messages is not None:
        conversation = Conversation(tuple(each.message() for each in body.messages))
        prepare.check_size(service.limits, "messages", [m.text for m in conversation.messages])
        ids = render_prompt(conversation, tokenizer)
    else:
        prepare.check_size(service.limits, "prompt", [body.prompt or ""])
        ids = tokenizer.encode_document(body.prompt or "")
        ids = ids if body.add_special_tokens else ids[1:]
    found: dict[str, Any] = {
        "tokens": ids,
        "count": len(ids),
        "max_model_len": model.engine.length,
    }
    if body.return_token_strs:
        found["token_strs"] = [tokenizer.token_bytes(id).decode(errors="replace") for id in ids]
    return found

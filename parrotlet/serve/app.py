"""The HTTP interface: OpenAI's endpoints, and a few of the server's own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from parrotlet import __version__
from parrotlet.core.errors import ParrotletError
from parrotlet.serve import prepare
from parrotlet.serve.errors import ApiError, respond
from parrotlet.serve.guard import Guard, Keys
from parrotlet.serve.inspect import InspectBody, look
from parrotlet.serve.json_body import JsonRoute
from parrotlet.serve.schema import (
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    ModerationBody,
    TokenizeBody,
)
from parrotlet.serve.service import WARNING, Service
from parrotlet.text.chat import Conversation, render_prompt

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "An error: message, type, param and code"},
}


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
            {"flagged": m.flagged, "categories": m.categories, "category_scores": m.scores}
            for m in found
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
    length = model.engine.length
    found: dict[str, Any] = {"tokens": ids, "count": len(ids), "max_model_len": length}
    if body.return_token_strs:
        found["token_strs"] = [tokenizer.token_bytes(id).decode(errors="replace") for id in ids]
    return found

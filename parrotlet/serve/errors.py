"""Errors as OpenAI's clients know them: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from parrotlet.core.errors import ParrotletError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
RETRY_AFTER = "1"  # seconds: an answer ends and a slot is free


class ApiError(HTTPException):
    """An answer other than the one asked for; `code` is for programs, `message` for people."""

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None
    ) -> None:
        headers = {"Retry-After": RETRY_AFTER} if status in (429, 503) else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.code = code
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON of the error."""
        kind = "server_error" if self.status_code >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.detail,
                "type": TYPES.get(self.status_code, kind),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The error as a response of its own."""
        return JSONResponse(self.body(), self.status_code, self.headers)


def as_api_error(error: Exception) -> ApiError:
    """Any error as one for a client; what only concerns us stays unsaid."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):  # the router's: 404 and 405
        return ApiError(error.status_code, f"{error.detail}", code=_slug(str(error.detail)))
    if isinstance(error, ParrotletError):  # a sentence for whoever asked
        return ApiError(400, str(error))
    return ApiError(500, "the server failed on this request; its log has more", "internal_error")


async def respond(_: Request, error: Exception) -> JSONResponse:
    """What the app does with an error that a handler raises."""
    return as_api_error(error).response()


def _slug(text: str) -> str:
    return text.lower().replace(" ", "_")


def _invalid(error: RequestValidationError) -> ApiError:
    """One thing wrong with a body, the innermost: where it is, what is wrong there."""
    first = max(error.errors(), key=lambda each: len(_path(each["loc"])))
    path = _path(first["loc"])
    where = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
    param = where.removeprefix(".") or None
    message = f"{param or 'the body'}: {first['msg'].lower()}"
    return ApiError(400, message, first["type"], param)


def _path(loc: Sequence[int | str]) -> list[int | str]:
    """Names and indices, without the branches of unions, which mean nothing to a client."""
    return [e for e in loc[1:] if isinstance(e, int) or (e.isidentifier() and e != "str")]

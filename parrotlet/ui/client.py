"""The API server as the page sees it: HTTP, and every failure as a sentence for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

Json = dict[str, Any]
CONNECT, READ = 5.0, 120.0  # seconds without an answer


class ApiError(Exception):
    """What a person should know about a request that failed; `status` None: nobody answered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Client:
    """The server at `address`; `key` where it wants one."""

    address: str
    key: str = field(default="", repr=False)

    def models(self) -> list[Json]:
        """What it serves, the default first: id, stage, chat, max_model_len."""
        found: list[Json] = self._ask("GET", "/v1/models")["data"]
        return found

    def inspect(self, body: Mapping[str, Any]) -> Json:
        """A look inside a model."""
        return self._ask("POST", "/inspect", body)

    def chat(self, body: Mapping[str, Any]) -> Iterator[Json]:
        """The chunks of an answer, the usage last; close the iterator to stop it."""
        return self._chunks("/v1/chat/completions", body)

    def complete(self, body: Mapping[str, Any]) -> Iterator[Json]:
        """The chunks of a text that is continued."""
        return self._chunks("/v1/completions", body)

    def _http(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        timeout = httpx2.Timeout(READ, connect=CONNECT)
        return httpx2.Client(
            base_url=self.address, headers=headers, timeout=timeout, trust_env=False
        )

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        try:
            with self._http() as http:
                answer = http.request(method, path, json=body)
                if answer.status_code != 200:
                    raise self._refusal(answer)
                found: Json = answer.json()
                return found
        except httpx2.HTTPError as error:
            raise self._silence(error) from error
        except ValueError as error:
            raise ApiError(f"{self.address} does not answer as an API server does") from error

    def _chunks(self, path: str, body: Mapping[str, Any]) -> Iterator[Json]:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        try:
            with (
                self._http() as http,
                http.stream("POST", path, json={**body, **options}) as answer,
            ):
                if answer.status_code != 200:
                    answer.read()
                    raise self._refusal(answer)
                for line in answer.iter_lines():
                    yield from self._chunk(line)
        except httpx2.HTTPError as error:
            raise self._silence(error) from error

    def _chunk(self, line: str) -> Iterator[Json]:
        """What one line of the stream says; nothing in a comment."""
        if not line.startswith("data: {"):
            yield {}  # a sign of life: whoever reads may stop here
            return
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            raise ApiError(f"the answer broke off: {chunk['error']['message']}", 500)
        yield chunk

    def _refusal(self, answer: httpx2.Response) -> ApiError:
        status = answer.status_code
        try:
            said = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = f"{self.address} answers with status {status}"
        if status == 429 or status == 503:
            wait = answer.headers.get("retry-after", "")
            said = f"the server is busy ({said}); try again" + (f" in {wait} s" if wait else "")
        if status == 401:
            said += "; set PARROTLET_API_KEY to a key of this server and start the page again"
        return ApiError(said, status)

    def _silence(self, error: httpx2.HTTPError) -> ApiError:
        what = "took too long" if isinstance(error, httpx2.TimeoutException) else "does not answer"
        return ApiError(f"the server at {self.address} {what}")

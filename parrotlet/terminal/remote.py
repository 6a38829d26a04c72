"""A model behind an address: the same pieces as from one that is loaded here."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from parrotlet.chat.pieces import Dropped, Finish, Piece, Reason
from parrotlet.core.errors import UsageError
from parrotlet.safety.filter import Verdict
from parrotlet.terminal.config import SamplingConfig
from parrotlet.text.chat import Conversation, Message, Part, Text, ToolCall, ToolResult

KEY_VARIABLE = "PARROTLET_API_KEY"
CONNECT, READ = 10.0, 120.0  # seconds without an answer
REASONS: Mapping[str, Reason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filtered",
    "abort": "cancelled",
}


class Remote:
    """A server that speaks OpenAI's protocol, ours or another's, and a model's name there.

    The API key, where there is one, is in PARROTLET_API_KEY. Everything that fails is a UsageError.
    """

    def __init__(self, address: str, model: str) -> None:
        try:
            self._http = importlib.import_module("httpx2")
        except ImportError as error:
            raise UsageError("--api-url needs httpx2: pip install 'parrotlet[serve]'") from error
        if not address.startswith(("http://", "https://")):
            raise UsageError(f"--api-url {address} is no address; it begins with http://")
        self.address = address.rstrip("/").removesuffix("/v1")
        self.model = model

    def check(self) -> None:
        """Ask who is there, before anybody types: UsageError where nobody answers, or a server of
        ours that has no such model, or one that only reads. Others may know more names than they
        list.
        """
        with self._asked("GET", "/v1/models") as answer:
            cards = {each["id"]: each for each in json.loads(answer.read())["data"]}
        ours = any(each.get("owned_by") == "parrotlet" for each in cards.values())
        if ours and self.model not in cards:
            there = ", ".join(cards)
            raise UsageError(
                f"{self.address}: the model {self.model!r} is not served here; there is {there}"
            )
        if not cards.get(self.model, {}).get("chat", True):
            raise UsageError(
                f"{self.address}: the model {self.model!r} has only read and was never taught to "
                "answer; let it continue a text with parrotlet sample"
            )

    def reply(
        self, conversation: Conversation, sampling: SamplingConfig
    ) -> Generator[Piece, None, None]:
        """The next message of a conversation; close the iterator to stop it."""
        body = self._body(sampling)
        body["messages"] = [to_json(each) for each in conversation.messages]
        body["truncation"] = "auto"
        turns = [each for each in conversation.messages if each.role != "system"]
        reason: Reason = "cancelled"
        verdict = None
        for number, chunk in enumerate(self._chunks("/v1/chat/completions", body)):
            verdict = _verdict(chunk) or verdict
            if not number and chunk.get("dropped_messages"):
                yield Dropped(tuple(turns[: chunk["dropped_messages"]]))
            for choice in chunk["choices"]:
                yield from _pieces(choice["delta"])
                reason = REASONS.get(choice["finish_reason"], reason)
            yield from _finish(chunk, reason, verdict)

    def complete(self, prompt: str, sampling: SamplingConfig) -> Generator[Piece, None, None]:
        """The continuation of a text."""
        reason: Reason = "cancelled"
        verdict = None
        for chunk in self._chunks("/v1/completions", self._body(sampling) | {"prompt": prompt}):
            verdict = _verdict(chunk) or verdict
            for choice in chunk["choices"]:
                if choice["text"]:
                    yield Text(choice["text"])
                reason = REASONS.get(choice["finish_reason"], reason)
            yield from _finish(chunk, reason, verdict)

    def _body(self, sampling: SamplingConfig) -> dict[str, Any]:
        given = {name: value for name, value in vars(sampling).items() if value not in (None, ())}
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": self.model, **given, **options}

    def _chunks(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The chunks of a stream, the one with the usage last."""
        with self._asked("POST", path, json=body) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line.removeprefix("data: "))
                    if "error" in chunk:
                        raise UsageError(f"{self.address}: {chunk['error']['message']}")
                    yield chunk

    @contextmanager
    def _asked(self, method: str, path: str, **more: Any) -> Generator[Any, None, None]:
        """An answer that is still arriving; all that goes wrong with it is a UsageError."""
        key = os.environ.get(KEY_VARIABLE, "").split()
        headers = {"Authorization": f"Bearer {key[0]}"} if key else {}
        timeout = self._http.Timeout(READ, connect=CONNECT)
        try:
            with self._http.stream(
                method, self.address + path, headers=headers, timeout=timeout, **more
            ) as answer:
                if answer.status_code != 200:
                    raise UsageError(self._refusal(answer.status_code, answer.read()))
                yield answer
        except self._http.ConnectError as error:
            raise UsageError(
                f"nothing answers at {self.address}; start it with parrotlet serve RUN"
            ) from error
        except (self._http.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{self.address} does not answer as it should: {error!r}") from error

    def _refusal(self, status: int, body: bytes) -> str:
        try:
            return f"{self.address}: {json.loads(body)['error']['message']}"
        except (ValueError, KeyError, TypeError):
            return f"{self.address} answers with status {status}; is it an OpenAI-style server?"


def to_json(message: Message) -> dict[str, Any]:
    """A message as OpenAI has it, with its tool calls in order where there are any."""
    value: dict[str, Any] = {"role": message.role, "content": message.text}
    if any(not isinstance(part, Text) for part in message.parts):
        value["parts"] = [_part(part) for part in message.parts]
    return value


def _part(part: Part) -> dict[str, str]:
    if isinstance(part, ToolCall):
        return {"type": "tool_call", "name": part.name, "arguments": part.arguments}
    return {"type": "text" if isinstance(part, Text) else "tool_result", "text": part.text}


def _pieces(delta: Mapping[str, Any]) -> Generator[Piece, None, None]:
    if delta.get("content"):
        yield Text(delta["content"])
    for part in delta.get("parts") or ():
        if part["type"] == "tool_call":
            yield ToolCall(part["name"], part["arguments"])
        else:
            yield ToolResult(part["text"])


def _verdict(chunk: Mapping[str, Any]) -> Verdict | None:
    """What the server's filters decided, where a chunk says it."""
    said = chunk.get("filter")
    return said and Verdict(said["action"], said.get("category", ""), reason=said.get("reason", ""))


def _finish(
    chunk: Mapping[str, Any], reason: Reason, verdict: Verdict | None
) -> Generator[Piece, None, None]:
    """The end, from the chunk that tells the usage."""
    usage = chunk.get("usage")
    if usage:
        yield Finish(
            reason=reason,
            prompt_tokens=usage["prompt_tokens"],
            sampled_tokens=usage["completion_tokens"],
            forced_tokens=usage.get("forced_tokens", 0),
            verdict=verdict,
        )

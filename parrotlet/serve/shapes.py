"""Pieces as OpenAI's chunks, and chunks folded to the answer that is not streamed.

Extensions: `parts` in a delta or message has calls of the built-in tools and their results, in
order; usage.forced_tokens counts the tokens of such results; dropped_messages says how many of
the oldest messages did not fit (truncation: "auto"); filter, beside the choice that it ends or
remarks on, has what a safety filter decided: action, category and reason.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from parrotlet.chat.pieces import Asked, Finish, Piece
from parrotlet.engine.request import Scored
from parrotlet.safety.filter import Verdict
from parrotlet.serve.models import Served
from parrotlet.serve.words import TokenWords
from parrotlet.text.chat import Text, ToolCall, ToolResult

Json = dict[str, Any]
FINISH: Mapping[str, str] = {
    "stop": "stop",
    "length": "length",
    "calls": "length",  # too many calls of tools
    "filtered": "content_filter",
    "cancelled": "abort",  # the server stops
}


class ChatShape:
    """/v1/chat/completions."""

    object = "chat.completion"
    streamed = "chat.completion.chunk"
    prefix = "chatcmpl"

    def __init__(self, words: Sequence[TokenWords], *, logprobs: bool) -> None:
        """`words`: one for each choice."""
        self._words = words
        self._logprobs = logprobs

    def first(self, index: int) -> Json:
        """The role."""
        return self._choice(index, {"role": "assistant", "content": ""})

    def words(self, index: int, text: str, tokens: Sequence[Scored]) -> Json:
        """Text, with its tokens where they are asked for."""
        choice = self._choice(index, {"content": text})
        if self._logprobs:
            choice["logprobs"] = self._words[index].chat(tokens)
        return choice

    def other(self, index: int, piece: Piece) -> Json | None:
        """A tool's call or result."""
        if isinstance(piece, ToolCall):
            part = {"type": "tool_call", "name": piece.name, "arguments": piece.arguments}
            return self._choice(index, {"parts": [part]})
        if isinstance(piece, ToolResult):
            self._words[index].restart()
            part = {"type": "tool_result", "text": piece.text}
            return self._choice(index, {"parts": [part]})
        return None

    def end(self, index: int, reason: str) -> Json:
        """An empty delta and the reason."""
        return {**self._choice(index, {}), "finish_reason": reason}

    def _choice(self, index: int, delta: Json) -> Json:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def fold(self, index: int, choices: Iterable[Json]) -> Json:
        """The message; it has `parts`, texts among them, where a tool was called."""
        parts: list[Json] = []
        tokens: list[Json] = []
        reason = None
        for choice in choices:
            delta = choice["delta"]
            if delta.get("content"):
                if not parts or parts[-1]["type"] != "text":
                    parts.append({"type": "text", "text": ""})
                parts[-1]["text"] += delta["content"]
            parts += delta.get("parts", ())
            tokens += (choice["logprobs"] or {}).get("content", ())
            reason = reason or choice["finish_reason"]
        text = "".join(each["text"] for each in parts if each["type"] == "text")
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        if any(each["type"] != "text" for each in parts):
            message["parts"] = parts
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": tokens, "refusal": None} if self._logprobs else None,
            "finish_reason": reason,
        }


class CompletionShape:
    """/v1/completions."""

    object = streamed = "text_completion"
    prefix = "cmpl"

    def __init__(
        self,
        words: Sequence[TokenWords],
        echoes: Sequence[str | None],
        hidden: Sequence[int],
        logprobs: int | None,
    ) -> None:
        """Of each choice: its words, its prompt where it is echoed, how many tokens of the prompt
        were not the client's. `logprobs`: alternatives of each token, None: no tokens.
        """
        self._words = words
        self._echoes = echoes
        self._hidden = hidden
        self._logprobs = logprobs

    def first(self, index: int) -> Json | None:
        """The prompt, where it is echoed and its tokens are not waited for."""
        echo = self._echoes[index]
        return None if echo is None or self._logprobs is not None else self._choice(index, echo)

    def words(self, index: int, text: str, tokens: Sequence[Scored]) -> Json:
        """Text, with its tokens where they are asked for."""
        choice = self._choice(index, text)
        if self._logprobs is not None:
            choice["logprobs"] = self._words[index].completion(tokens, self._logprobs)
        return choice

    def other(self, index: int, piece: Piece) -> Json | None:
        """The prompt with its tokens."""
        echo = self._echoes[index]
        if not isinstance(piece, Asked) or echo is None or self._logprobs is None:
            return None
        return self.words(index, echo, piece.tokens[self._hidden[index] :])

    def end(self, index: int, reason: str) -> Json:
        """No text and the reason."""
        return {**self._choice(index, ""), "finish_reason": reason}

    def _choice(self, index: int, text: str) -> Json:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": None}

    def fold(self, index: int, choices: Iterable[Json]) -> Json:
        """Text, lists and reason, joined."""
        whole = self._choice(index, "")
        if self._logprobs is not None:
            whole["logprobs"] = self._words[index].completion([], 0)
        for choice in choices:
            whole["text"] += choice["text"]
            whole["finish_reason"] = whole["finish_reason"] or choice["finish_reason"]
            for name, values in (choice["logprobs"] or {}).items():
                whole["logprobs"][name] += values
        return whole


Shape = ChatShape | CompletionShape


class Chunks:
    """The chunks of one request, from its first to its usage."""

    def __init__(
        self, model: Served, shape: Shape, *, num: int, per_prompt: int, dropped: int = 0
    ) -> None:
        """`num` choices, `per_prompt` of them for each prompt; `dropped` messages did not fit."""
        self._shape = shape
        self._num = num
        self._per_prompt = per_prompt
        self._head: Json = {
            "id": f"{shape.prefix}-{secrets.token_hex(12)}",
            "object": shape.streamed,
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": model.fingerprint,
        }
        if dropped:
            self._head["dropped_messages"] = dropped
        self.counted = Usage()  # of the answers that have ended

    def begin(self) -> list[Json]:
        """What comes before the first piece."""
        firsts = [self._shape.first(index) for index in range(self._num)]
        return [self._chunk(each) for each in firsts if each is not None]

    def take(self, batch: Sequence[tuple[int, Piece]]) -> list[Json]:
        """The chunks of some pieces; neighbouring texts of a choice become one."""
        by_choice: dict[int, list[Piece]] = {}
        for index, piece in batch:
            by_choice.setdefault(index, []).append(piece)
        return [
            chunk for index, pieces in by_choice.items() for chunk in self._chunks(index, pieces)
        ]

    def _chunks(self, index: int, pieces: Sequence[Piece]) -> Iterator[Json]:
        text, tokens = "", []
        for piece in pieces:
            if isinstance(piece, Text):
                text += piece.text
                continue
            if isinstance(piece, Scored):
                tokens.append(piece)
                continue
            if text:
                yield self._chunk(self._shape.words(index, text, tokens))
                text, tokens = "", []
            if isinstance(piece, Finish):
                self.counted.add(piece, with_prompt=index % self._per_prompt == 0)
                ended = self._chunk(self._shape.end(index, FINISH[piece.reason]))
                yield ended | ({"filter": _decided(piece.verdict)} if piece.verdict else {})
            elif (choice := self._shape.other(index, piece)) is not None:
                yield self._chunk(choice)
        if text:
            yield self._chunk(self._shape.words(index, text, tokens))

    def _chunk(self, choice: Json) -> Json:
        return {**self._head, "choices": [choice]}

    def usage(self) -> Json:
        """The chunk after all others, where it is asked for."""
        return {**self._head, "choices": [], "usage": self.counted.json()}

    def fold(self, chunks: Iterable[Json]) -> Json:
        """The answer that all chunks make together."""
        choices: list[list[Json]] = [[] for _ in range(self._num)]
        decided = None
        for chunk in chunks:
            decided = decided or chunk.get("filter")
            for choice in chunk["choices"]:
                choices[choice["index"]].append(choice)
        folded = [self._shape.fold(index, each) for index, each in enumerate(choices)]
        head = {**self._head, "object": self._shape.object}
        whole = {**head, "choices": folded, "usage": self.counted.json()}
        return whole | ({"filter": decided} if decided else {})


def _decided(verdict: Verdict) -> Json:
    return {name: getattr(verdict, name) for name in ("action", "category", "reason", "direction")}


class Usage:
    """Tokens of a request; those of tool results apart."""

    def __init__(self) -> None:
        self.prompt = self.sampled = self.forced = 0

    def add(self, finish: Finish, *, with_prompt: bool) -> None:
        """Count an answer that has ended; a prompt counts once, however many answers it has."""
        self.prompt += finish.prompt_tokens if with_prompt else 0
        self.sampled += finish.sampled_tokens
        self.forced += finish.forced_tokens

    def json(self) -> Json:
        """As OpenAI has it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.sampled,
            "total_tokens": self.prompt + self.sampled,
            "forced_tokens": self.forced,
        }

"""What clients send: every field works, is refused by its name, or is unknown and told of.

Types are strict, as JSON has them: "1" and true are not numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from parrotlet.chat.answer import MOST_STOPS, GenerateSettings
from parrotlet.engine.request import MOST_ALTERNATIVES, SamplingSettings
from parrotlet.serve.errors import ApiError
from parrotlet.text.chat import Conversation, Message, Part, Text, ToolCall, ToolResult
from parrotlet.text.tokenizer import Tokenizer

INT64 = 2**63
Stop = Annotated[str, Field(min_length=1, max_length=1000)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Ids = Annotated[list[TokenId], Field(min_length=1)]

# Known fields that do not work here, and the values with which they ask for nothing.
UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "audio": (), "bad_words": ([],), "best_of": (1,), "chat_template": (),
    "function_call": ("none", "auto"), "functions": ([],), "guided_choice": (),
    "guided_grammar": (), "guided_json": (), "guided_regex": (), "ignore_eos": (False,),
    "length_penalty": (1,), "modalities": (["text"],), "prediction": (),
    "reasoning_effort": ("none",), "response_format": ({"type": "text"},), "stop_token_ids": ([],),
    "structured_outputs": (), "suffix": ("",), "tools": ([],), "use_beam_search": (False,),
    "verbosity": ("medium",), "web_search_options": (),
}  # fmt: skip
# Known fields that change nothing in an answer.
NEUTRAL = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "parallel_tool_calls",
}  # fmt: skip


class Body(BaseModel):
    """What every request has: the name of a served model; the first one where it is left out."""

    model_config = ConfigDict(extra="allow", strict=True)
    model: str | None = None

    def unknown(self) -> list[str]:
        """The names of fields nobody knows; ApiError for one that cannot be obeyed."""
        extra = self.model_extra or {}
        for name, value in extra.items():
            if name in UNSUPPORTED and value is not None and value not in UNSUPPORTED[name]:
                raise ApiError(
                    400,
                    f"{name} does not work on this server; leave it out",
                    "unsupported_parameter",
                    name,
                )
        return [name for name in extra if name not in UNSUPPORTED and name not in NEUTRAL]


class StreamOptions(BaseModel):
    """Whether a last chunk tells the usage."""

    model_config = ConfigDict(strict=True)
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class SamplingBody(Body):
    """The fields that chat and completions share. Order and bounds: engine/request.py."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    logit_bias: dict[Annotated[str, Field(pattern="^[0-9]{1,9}$")], float] | None = None
    seed: int | None = Field(None, ge=-INT64, lt=INT64)
    n: int | None = Field(None, ge=1, le=8)
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = None
    min_tokens: int | None = Field(None, ge=0)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def settings(
        self, tokenizer: Tokenizer, max_tokens: int, alternatives: int | None
    ) -> GenerateSettings:
        """The request as generation settings; a fresh seed where none is given."""
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "stream_options needs stream: true", param="stream_options")
        if (self.min_tokens or 0) > max_tokens:
            raise ApiError(400, f"min_tokens is above {max_tokens}, the most", param="min_tokens")
        sampling = SamplingSettings(
            temperature=_or(self.temperature, 1.0),
            top_p=max(_or(self.top_p, 1.0), 1e-9),
            top_k=self.top_k if self.top_k and self.top_k > 0 else None,  # 0 and -1: all of them
            min_p=_or(self.min_p, 0.0),
            presence_penalty=_or(self.presence_penalty, 0.0),
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            repetition_penalty=max(_or(self.repetition_penalty, 1.0), 0.01),
            logit_bias=self._biases(tokenizer),
            seed=secrets.randbelow(INT64) if self.seed is None else self.seed,
        )
        return GenerateSettings(
            max_tokens=max_tokens,
            min_tokens=self.min_tokens or 0,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            sampling=sampling,
            alternatives=alternatives,
        )

    def _biases(self, tokenizer: Tokenizer) -> tuple[tuple[int, float], ...]:
        """Token ids with their biases. Control tokens belong to the template alone."""
        biases = {int(id): bias for id, bias in (self.logit_bias or {}).items()}
        wrong = next((id for id in biases if id >= tokenizer.first_special), None)
        if wrong is not None:
            raise ApiError(
                400,
                f"token {wrong} cannot be biased: ordinary tokens are below "
                f"{tokenizer.first_special}",
                param="logit_bias",
            )
        return tuple(biases.items())


class TextPart(BaseModel):
    """A part of a message's content. Images and sound are not understood here."""

    model_config = ConfigDict(strict=True)
    type: Literal["text"]
    text: str


class ToolPart(BaseModel):
    """A part of an earlier answer of ours, sent back: words, a call of a tool, or its result."""

    model_config = ConfigDict(strict=True)
    type: Literal["text", "tool_call", "tool_result"]
    text: str = ""
    name: str = ""
    arguments: str = ""

    def part(self) -> Part:
        """The same as a part of a conversation."""
        if self.type == "tool_call":
            return ToolCall(self.name, self.arguments)
        return Text(self.text) if self.type == "text" else ToolResult(self.text)


class ChatMessage(BaseModel):
    """One message; `parts` (an extension) holds the tool calls of an earlier answer in order."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    parts: list[ToolPart] | None = None
    name: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None

    def message(self) -> Message:
        """The same as a message of a conversation."""
        role = "system" if self.role == "developer" else self.role
        if self.parts:
            return Message(role, tuple(each.part() for each in self.parts))
        texts = [self.content] if isinstance(self.content, str) else self.content or []
        return Message.of(role, "".join(t if isinstance(t, str) else t.text for t in texts))


class ChatBody(SamplingBody):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_ALTERNATIVES)
    tool_choice: Literal["none", "auto"] | None = None  # none: without the built-in tools
    truncation: Literal["auto", "disabled"] | None = None  # auto: the oldest turns may be left out

    def conversation(self) -> Conversation:
        """The messages as a conversation."""
        return Conversation(tuple(each.message() for each in self.messages))

    def alternatives(self) -> int | None:
        """How many likeliest tokens to show beside each; None: no tokens at all."""
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def most_tokens(self, context: int) -> int:
        """The length asked for; where none is, all that fits."""
        return self.max_completion_tokens or self.max_tokens or context


class CompletionBody(SamplingBody):
    """POST /v1/completions. Prompts are texts, or ids that may hold control tokens."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1)]
        | Ids
        | Annotated[list[Ids], Field(min_length=1)]
    ) = ""
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=MOST_ALTERNATIVES)
    echo: bool | None = None

    def prompts(self) -> Sequence[str | list[int]]:
        """One prompt or several, as several."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt


class ModerationBody(Body):
    """POST /v1/moderations."""

    input: str | Annotated[list[str], Field(min_length=1)]


class TokenizeBody(Body):
    """POST /tokenize: a text, or messages as the model would see them before it answers."""

    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_special_tokens: bool | None = None  # of a text: the token that begins a document
    return_token_strs: bool | None = None


class DetokenizeBody(Body):
    """POST /detokenize."""

    tokens: list[TokenId]


def _or(value: float | None, default: float) -> float:
    """The value, 0 too, unless there is none."""
    return default if value is None else value

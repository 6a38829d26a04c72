"""What a reader sees of an answer, in order. The answer that is not streamed is their fold.

    Text ... ToolCall ToolResult Text ... Finish

Joined texts are the words; calls and results are the parts of a Message; the end says why. Where
tokens are asked for, each comes as Scored before the text it begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from parrotlet.engine.request import Scored
from parrotlet.safety.filter import Verdict
from parrotlet.text.chat import Message, Part, Text, ToolCall, ToolResult

Reason = Literal["stop", "length", "cancelled", "filtered", "calls"]


@dataclass(frozen=True)
class Dropped:
    """The oldest messages, left out because the conversation no longer fits the context."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Asked:
    """The prompt's tokens as the model would have said them, where prompt_logprobs asks for it."""

    tokens: tuple[Scored, ...]


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The last piece. Reasons: "stop" (the model ended, or a stop string came), "length" (no
    tokens left), "cancelled", "filtered" (a filter ended it), "calls" (too many tool calls).
    `verdict`: the gravest that the filters said, of the message, the tools or the reply, if any.
    """

    reason: Reason
    prompt_tokens: int
    sampled_tokens: int  # up to the end, the stop token too
    forced_tokens: int = 0  # tool results
    verdict: Verdict | None = None


Piece = Text | ToolCall | ToolResult | Dropped | Asked | Scored | Finish


def fold(pieces: Iterable[Piece]) -> Message:
    """The assistant's message that a stream of pieces makes: texts joined, calls in their place."""
    parts: list[Part] = []
    for piece in pieces:
        if isinstance(piece, Dropped | Asked | Scored | Finish):
            continue
        if isinstance(piece, Text) and parts and isinstance(parts[-1], Text):
            parts[-1] = Text(parts[-1].text + piece.text)
        else:
            parts.append(piece)
    return Message("assistant", tuple(parts))

"""Screen: what the filters say of a conversation before a model reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from parrotlet.chat.pieces import Finish, Piece
from parrotlet.safety.filter import Verdict
from parrotlet.safety.filters import Filters
from parrotlet.text.chat import Conversation, Message, Text


@dataclass(frozen=True)
class Screened:
    """The conversation that may be answered, or, where there is a `refusal`, its only answer."""

    conversation: Conversation
    verdict: Verdict | None = None
    refusal: tuple[Piece, ...] = ()


def screen(conversation: Conversation, filters: Filters | None) -> Screened:
    """Judge the last (user's) message; what came before it was judged when it was the last."""
    if not filters or not conversation.messages or conversation.messages[-1].role != "user":
        return Screened(conversation)
    *before, last = conversation.messages
    text, verdict = filters.screen("input", last.text, before)
    if verdict.stops:
        finish = Finish(reason="filtered", prompt_tokens=0, sampled_tokens=0, verdict=verdict)
        return Screened(conversation, verdict, (Text(text), finish) if text else (finish,))
    messages = (*before, Message.of("user", text) if text != last.text else last)
    return Screened(replace(conversation, messages=messages), verdict)

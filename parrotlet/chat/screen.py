"""Screen: what the filters say of a conversation before a model reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from parrotlet.chat.pieces import Finish, Piece
from parrotlet.safety.filter import Verdict, worse
from parrotlet.safety.filters import Filters
from parrotlet.text.chat import Conversation, Message, Text


@dataclass(frozen=True)
class Screened:
    """The conversation that may be answered, or, where there is a `refusal`, its only answer."""

    conversation: Conversation
    verdict: Verdict | None = None
    refusal: tuple[Piece, ...] = ()


def screen(conversation: Conversation, filters: Filters | None) -> Screened:
    """Judge what people say in it: the system message and every message of the user, each alone.

    The last message and the system message decide whether there is an answer. An earlier message
    that is refused is left out with what followed on it, so that a conversation can go on after a
    refusal. What is redacted is redacted wherever it stands.
    """
    if not filters or not conversation.messages or conversation.messages[-1].role != "user":
        return Screened(conversation)
    kept: list[Message] = []
    worst = Verdict("allow", direction="input")
    leaving = False  # what follows on a message that was refused
    for place, message in enumerate(conversation.messages):
        if message.role == "assistant":
            kept += [] if leaving else [message]
            continue
        text, verdict = filters.screen("input", message.text, kept)
        last = place == len(conversation.messages) - 1
        leaving = verdict.stops and message.role == "user" and not last
        if verdict.stops and not leaving:
            finish = Finish(reason="filtered", prompt_tokens=0, sampled_tokens=0, verdict=verdict)
            return Screened(conversation, verdict, (Text(text), finish) if text else (finish,))
        if leaving:
            reason = f"an earlier message was left out: {verdict.reason}"
            verdict = replace(verdict, action="warn", reason=reason)
        else:
            kept.append(message if text == message.text else Message.of(message.role, text))
        worst = worse(worst, verdict)
    return Screened(replace(conversation, messages=tuple(kept)), worst)


def screen_prompt(prompt: str, filters: Filters | None) -> tuple[str, Screened]:
    """The same for a text that is to be continued: as it may be read, and what was decided."""
    screened = screen(Conversation((Message.of("user", prompt),)), filters)
    return screened.conversation.messages[-1].text, screened

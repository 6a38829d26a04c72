"""Show: samples of any kind of record as plain text, for a person to read."""

from __future__ import annotations

from parrotlet.data.sources import Document
from parrotlet.text.chat import Conversation, Message, Text, ToolCall
from parrotlet.world.entities import World
from parrotlet.world.records import record


def samples(world: World, kind: str, count: int) -> list[str]:
    """The first `count` training records of a kind. UsageError for a kind there is not."""
    return [_plain(record(world, kind, index)) for index in range(count)]


def _plain(made: Document | Conversation) -> str:
    if isinstance(made, Document):
        return made.text
    return "\n".join(f"{message.role}: {_words(message)}" for message in made.messages)


def _words(message: Message) -> str:
    shown = []
    for part in message.parts:
        if isinstance(part, Text):
            shown.append(part.text)
        elif isinstance(part, ToolCall):
            shown.append(f"[{part.name}: {part.arguments}]")
        else:
            shown.append(f"[result: {part.text}]")
    return " ".join(shown)

"""Show: samples of any kind of record, or of what tests ask, as plain text for a person."""

from __future__ import annotations

from parrotlet.core.errors import UsageError
from parrotlet.data.sources import Document
from parrotlet.text.chat import Conversation, Message, Text, ToolCall
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.records import ABILITIES, case, record


def samples(world: World, kind: str, count: int, side: Side = "train") -> list[str]:
    """The first `count` training records of a kind, or cases that a test asks.

    Raises UsageError for a kind there is not.
    """
    if side == "train":
        return [_plain(record(world, kind, index)) for index in range(count)]
    if kind not in ABILITIES:
        choices = ", ".join(ABILITIES)
        raise UsageError(f"no test asks about the kind {kind!r}; choose from {choices}")
    return [_plain(case(world, kind, index).conversation) for index in range(count)]


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

"""Case: one conversation of the world, and what its last reply is judged by."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parrotlet.text.chat import Conversation, Message, Part, Text
from parrotlet.world.chance import Side
from parrotlet.world.entities import World


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question and the reply to it; `answer` is the word in the reply that counts."""

    user: str
    parts: tuple[Part, ...]
    answer: str = ""
    others: frozenset[str] = frozenset()  # words that would be another answer
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reply(self) -> str:
        """The words of the reply."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def turn(user: str, reply: str, answer: str = "", others: frozenset[str] = frozenset()) -> Turn:
    """A turn of text alone."""
    return Turn(user=user, parts=(Text(reply),), answer=answer, others=others)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Turns in order, perhaps under a system prompt. The last turn is the one judged."""

    turns: tuple[Turn, ...]
    system: str | None = None

    @property
    def conversation(self) -> Conversation:
        """The messages, the reference reply last."""
        messages = [] if self.system is None else [Message.of("system", self.system)]
        for each in self.turns:
            messages += [Message.of("user", each.user), Message("assistant", each.parts)]
        return Conversation(tuple(messages))

    @property
    def last(self) -> Turn:
        """The turn that is judged."""
        return self.turns[-1]


CaseMaker = Callable[[World, random.Random, Side], Case]

"""Task: gradable examples. One class serves fine-tuning, evaluation and RL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from parrotlet.core.errors import UsageError
from parrotlet.text.chat import Conversation, Message


@dataclass(frozen=True, kw_only=True)
class Example:
    """A conversation whose last message is the reference answer, and what a grader needs."""

    conversation: Conversation
    choices: Sequence[str] | None = None
    answer: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> Conversation:
        """The conversation without the reference answer."""
        return Conversation(self.conversation.messages[:-1])


class Task(Protocol):
    """A fixed sequence of examples and the rule by which a reply is judged."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example:
        """Example `index`, the same each time; IndexError past the end."""
        ...

    def grade(self, example: Example, reply: Message) -> float:
        """From 0 (wrong) to 1 (right); a reply may hold tool calls."""
        ...


class Numbered:
    """The bounds of a task that makes as many cases as it is asked for."""

    def __init__(self, size: int) -> None:
        """UsageError for a size below 1."""
        if size < 1:
            raise UsageError(f"a task of {size} cases tests nothing; ask for at least 1")
        self.size = size

    def __len__(self) -> int:
        return self.size

    def check(self, index: int) -> None:
        """IndexError outside of 0 to size - 1."""
        if not 0 <= index < self.size:
            raise IndexError(f"case {index} of {self.size}")

"""Conversations, and the one template that turns them into token ids and a loss mask.

A conversation is a sequence of messages; a message is a role and its parts. Control tokens come
from the template and from nowhere else: text is encoded as ordinary text, whatever it contains.

    <|bos|> <|system|> Be brief. <|end|> <|user|> What is 12 + 30? <|end|>
    <|assistant|> <|call|> calculator 12 + 30 <|end_call|> <|result|> 42 <|end_result|> It is 42. <|end|>
                  ^^^^^^^^ learned ^^^^^^^^^^^^^^^^^^^^^^^^^                             ^^^^^^^^^^^^^^^^
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True)
class Text:
    """Words, as written."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A request to run a tool, made by the assistant: its name and its argument as text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class ToolResult:
    """What the tool answered; never learned from and never sampled."""

    text: str


Part = Text | ToolCall | ToolResult


@dataclass(frozen=True)
class Message:
    """One turn. Tool calls and results are parts of an assistant's message, in order."""

    role: Role
    parts: tuple[Part, ...]

    @staticmethod
    def of(role: Role, text: str) -> Message:
        """A message of text alone."""
        return Message(role, (Text(text),))

    @property
    def text(self) -> str:
        """The words of the message, without tool calls and results."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True)
class Conversation:
    """Messages in order: at most one system message, first; then user and assistant in turn."""

    messages: tuple[Message, ...]

    @staticmethod
    def of(*turns: tuple[Role, str]) -> Conversation:
        """A conversation of text alone: Conversation.of(("user", "Hi"), ("assistant", "Hello"))."""
        return Conversation(tuple(Message.of(role, text) for role, text in turns))

    def plus(self, *messages: Message) -> Conversation:
        """A new conversation with more messages at the end."""
        return Conversation(self.messages + messages)


@dataclass(frozen=True)
class Rendered:
    """Token ids, and for each whether a model should learn to say it."""

    ids: Sequence[int]
    mask: Sequence[bool]

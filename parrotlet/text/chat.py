"""Conversations, and the one template that turns them into token ids and a loss mask.

A conversation is a sequence of messages; a message is a role and its parts. Control tokens come
from the template and from nowhere else: text is encoded as ordinary text, whatever it contains.

    <|bos|> <|system|> Be brief. <|end|> <|user|> What is 12 + 30? <|end|>
    <|assistant|> <|call|> calculator 12 + 30 <|end_call|> <|result|> 42 <|end_result|> It is 42. <|end|>
                  ^^^^^^^^ learned ^^^^^^^^^^^^^^^^^^^^^^^^^                             ^^^^^^^^^^^^^^^^
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from parrotlet.core.errors import DataError
from parrotlet.text.template import Around
from parrotlet.text.tokenizer import Tokenizer

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


Span = tuple[list[int], bool]  # some ids, and whether they are learned


def validate(conversation: Conversation) -> None:
    """DataError in one sentence where messages or parts stand in an order that has no meaning."""
    messages = conversation.messages
    if not messages:
        raise DataError("the conversation has no messages; it needs at least one from the user")
    for index, message in enumerate(messages):
        _validate_role(messages, index)
        _validate_parts(message, f"message {index + 1} of the conversation ({message.role})")


def _validate_role(messages: Sequence[Message], index: int) -> None:
    role = messages[index].role
    where = f"message {index + 1} of the conversation"
    if role not in ROLES:
        raise DataError(f"{where} has the role {role!r}; it must be one of {', '.join(ROLES)}")
    if role == "system":
        if index > 0:
            raise DataError(f"{where} is a system message; only the first one may be")
        return
    previous = messages[index - 1].role if index else "system"
    if previous == role:
        raise DataError(f"{where} is the second {role} message in a row; they must take turns")
    if previous == "system" and role == "assistant":
        raise DataError(f"{where} is the assistant's, but the user must speak first")


def _validate_parts(message: Message, where: str) -> None:
    previous: Part | None = None
    for part in message.parts:
        if not isinstance(part, Text) and message.role != "assistant":
            raise DataError(
                f"{where} holds a {type(part).__name__}; only an assistant's message may"
            )
        if isinstance(part, ToolCall) and " " in part.name:
            raise DataError(f"{where} calls the tool {part.name!r}; a name must have no space")
        if isinstance(part, ToolResult) and not isinstance(previous, ToolCall):
            raise DataError(f"{where} holds a tool result that does not directly follow its call")
        previous = part


def render(conversation: Conversation, tokenizer: Tokenizer) -> Rendered:
    """The ids of a whole conversation and the mask of what is learned; DataError as `validate`.

    Learned are the assistant's words, its calls with both their control tokens, and the stop
    token of its turns; nothing else.
    """
    validate(conversation)
    ids: list[int] = []
    mask: list[bool] = []
    for span, learned in _spans(conversation, tokenizer):
        ids += span
        mask += [learned] * len(span)
    return Rendered(ids, mask)


def render_prompt(conversation: Conversation, tokenizer: Tokenizer) -> list[int]:
    """The ids up to where the assistant begins to speak: a prefix of the finished conversation.

    DataError where the last message is not the user's.
    """
    ids = list(render(conversation, tokenizer).ids)
    last = conversation.messages[-1].role
    if last != "user":
        raise DataError(f"the last message is the {last}'s; to be answered it must be the user's")
    return ids + tokenizer.encode_pieces(tokenizer.template.assistant.before)


def render_result(result: ToolResult, tokenizer: Tokenizer) -> list[int]:
    """The ids of a tool's answer, to be put after the call that the assistant has just made."""
    around = _need(tokenizer.template.result, result)
    return _enclose(around, result.text, tokenizer)


def parse_reply(ids: Sequence[int], tokenizer: Tokenizer) -> Message:
    """What the assistant said: the inverse of rendering, for the ids after `render_prompt`.

    Total: any ids of the vocabulary make a message that can be rendered again. Nothing counts
    after the stop token. A call or result that does not end was never made; a result that does
    not follow a call is dropped, and so are control tokens that have no place in a reply.
    """
    template = tokenizer.template
    controls = {
        tokenizer.special(around.controls()[0]): around
        for around in (template.call, template.result)
        if around is not None
    }
    parts: list[Part] = []
    opened: Around | None = None
    inside = ""
    before = tokenizer.encode_pieces(template.assistant.before)
    after = before[-1] if before else None
    for control, run in _runs(ids, tokenizer):
        after = after if control is None else control
        if opened is not None and control == tokenizer.special(opened.controls()[1]):
            _add_tool_part(parts, inside, is_call=opened is template.call)
        opened = controls.get(control) if control is not None else None
        if opened is None:
            _add_text(parts, tokenizer.decode(run, after))
        else:
            inside = _peel(tokenizer.decode(run, after), opened)
    return Message("assistant", tuple(parts))


def _spans(conversation: Conversation, tokenizer: Tokenizer) -> Iterator[Span]:
    """The pieces and words of a conversation, in order."""
    template = tokenizer.template
    yield tokenizer.encode_pieces(template.begin), False
    for message in conversation.messages:
        around = template.around(message.role)
        said = message.role == "assistant"
        yield tokenizer.encode_pieces(around.before), False
        for part in _merged(message.parts):
            yield _part(part, tokenizer), said and not isinstance(part, ToolResult)
        stop = around.after[:1] if said else ()
        yield tokenizer.encode_pieces(stop), True
        yield tokenizer.encode_pieces(around.after[len(stop) :]), False


def _part(part: Part, tokenizer: Tokenizer) -> list[int]:
    if isinstance(part, Text):
        return tokenizer.encode_segment(part.text)
    if isinstance(part, ToolResult):
        return render_result(part, tokenizer)
    words = f"{part.name} {part.arguments}" if part.arguments else part.name
    return _enclose(_need(tokenizer.template.call, part), words, tokenizer)


def _enclose(around: Around, text: str, tokenizer: Tokenizer) -> list[int]:
    before, after = tokenizer.encode_pieces(around.before), tokenizer.encode_pieces(around.after)
    return [*before, *tokenizer.encode_segment(text), *after]


def _need(around: Around | None, part: Part) -> Around:
    if around is None:
        raise DataError(f"this tokenizer's template has no tools and cannot write {part}")
    return around


def _merged(parts: Sequence[Part]) -> list[Part]:
    """The parts with neighbouring texts joined and empty ones left out."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            _add_text(merged, part.text)
        else:
            merged.append(part)
    return merged


def _add_text(parts: list[Part], text: str) -> None:
    last = parts[-1] if parts else None
    if isinstance(last, Text):
        parts[-1] = Text(last.text + text)
    elif text:
        parts.append(Text(text))


def _add_tool_part(parts: list[Part], inside: str, is_call: bool) -> None:
    if is_call:
        name, _, arguments = inside.partition(" ")
        parts.append(ToolCall(name, arguments))
    elif parts and isinstance(parts[-1], ToolCall):
        parts.append(ToolResult(inside))


def _runs(ids: Sequence[int], tokenizer: Tokenizer) -> Iterator[tuple[int | None, list[int]]]:
    """Each control token up to the stop, with the ordinary ids after it; None before the first."""
    control: int | None = None
    run: list[int] = []
    for token in ids:
        if token == tokenizer.stop_id:
            break
        if token >= tokenizer.first_special:
            yield control, run
            control, run = token, []
        else:
            run.append(token)
    yield control, run


def _peel(text: str, around: Around) -> str:
    """A call or result without the plain text its template puts inside the control tokens."""
    front = "".join(piece for piece in around.before if isinstance(piece, str))
    back = "".join(piece for piece in around.after if isinstance(piece, str))
    return text.removeprefix(front).removesuffix(back)

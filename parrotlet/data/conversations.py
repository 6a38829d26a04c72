"""Conversations from people's files, record by record; the shapes they come in are in shapes.py.

Files are json, jsonl, csv or parquet, also .gz and .zst, by name, folder or glob. What was seen
on the way is noted, so that a person can check it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parrotlet.core.errors import DataError
from parrotlet.core.log import get_logger
from parrotlet.data.shapes import Dialogue, Unreadable, dialogues
from parrotlet.data.sources import find_files, skipped_lines
from parrotlet.files.formats import Errors, Reader
from parrotlet.files.records import RECORD_READERS, Record, records
from parrotlet.text.chat import Conversation, Message, Part, Role, Text, ToolCall, ToolResult
from parrotlet.text.chat import validate as validate_order

log = get_logger("conversations")
ROLE_NAMES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What to do with records that are not quite conversations."""

    merge: bool = False  # two messages of one role in a row become one
    skip: bool = False  # a bad record is left out and counted, instead of refused


STRICT = Rules()
OPENINGS = 20  # different first questions from which on all that begins with one is held out


@dataclass
class Notes:
    """What was met while reading."""

    shapes: Counter[str] = field(default_factory=Counter)
    merged: int = 0  # conversations in which messages were joined
    skipped: list[str] = field(default_factory=list)  # why, each


def conversation_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files that are read, in order; DataError for what is missing, empty or unreadable."""
    return find_files(paths, RECORD_READERS)[0]


def read_records(paths: Sequence[Path], errors: Errors = "strict") -> Iterator[Record]:
    """(place, record) of all files in order; other files of a folder are passed over, loudly.

    Raises DataError where there is no record at all.
    """
    files, skipped = find_files(paths, RECORD_READERS)
    for line in skipped_lines(skipped):
        log.warning("%s", line)
    found = False
    for path in files:
        for record in records(Reader(path, None, errors)):
            found = True
            yield record
    if not found:
        raise DataError(
            f"{', '.join(map(str, files))} has no conversation: give at least two records, for "
            'example {"prompt": "...", "response": "..."} on lines of a .jsonl file'
        )


def read_conversations(
    paths: Sequence[Path],
    errors: Errors = "strict",
    rules: Rules = STRICT,
    notes: Notes | None = None,
) -> Iterator[Conversation]:
    """Every conversation of the files, folders and globs, in order.

    errors: "replace" reads bytes that are not UTF-8 as U+FFFD instead of refusing the file.
    Raises DataError naming file and record: one that is no conversation, one without an answer.
    """
    notes = Notes() if notes is None else notes
    for place, record in read_records(paths, errors):
        try:
            yield from parse_conversations(record, place, rules, notes)
        except DataError as error:
            if not rules.skip:
                raise DataError(f"{error} (--bad-records skip leaves it out)") from error
            notes.skipped.append(str(error))


def parse_conversations(
    record: Any, place: str, rules: Rules = STRICT, notes: Notes | None = None
) -> list[Conversation]:
    """The conversations in one record; DataError, naming the place, where there is none."""
    try:
        found = dialogues(record)
    except Unreadable as error:
        raise DataError(f"{place} {error}") from error
    if found is None:
        what = type(record).__name__
        if isinstance(record, Mapping):
            what = ", ".join(map(repr, record))
        raise DataError(
            f"{place} is not a conversation (it has {what}); give 'messages' with role and "
            "content, or 'instruction' and 'output', or 'prompt' and 'response'"
        )
    shape, said = found
    made = []
    for dialogue in said:
        if len(said) > 1 and dialogue[-1][0] == "prompter":
            dialogue = dialogue[:-1]  # a branch of a tree that nobody answered
        conversation = conversation_of(dialogue, place, rules, notes)
        if not any(message.role == "assistant" for message in conversation.messages):
            raise DataError(
                f"{place} has no assistant message, so nothing could be learned from it"
            )
        made.append(conversation)
    if notes is not None:
        notes.shapes[shape] += len(made)
    return made


def opening(conversation: Conversation) -> Conversation:
    """All up to the first message of the user: what branches of one talk have in common."""
    roles = [message.role for message in conversation.messages]
    return Conversation(conversation.messages[: roles.index("user") + 1])


def conversation_of(
    dialogue: Dialogue, place: str, rules: Rules = STRICT, notes: Notes | None = None
) -> Conversation:
    """The conversation that was said; DataError, with its place, for an order without meaning."""
    messages: list[tuple[Role, list[Part]]] = []
    joined = False
    for written, content in dialogue:
        role, part = _part(written, content, place)
        same = bool(messages) and messages[-1][0] == role
        if same and role == "assistant" and _is_tool(part, messages[-1][1][-1]):
            _add(messages[-1][1], part)
        elif same and rules.merge and role != "system":
            joined = True
            messages[-1][1].extend([Text("\n\n"), part])
        else:
            messages.append((role, [part]))
    conversation = Conversation(tuple(Message(role, tuple(parts)) for role, parts in messages))
    try:
        validate_order(conversation)
    except DataError as error:
        advice = "; --same-role merge joins them" if "in a row" in str(error) else ""
        raise DataError(f"{place}: {error}{advice}") from error
    if notes is not None:
        notes.merged += joined
    return conversation


def _part(written: Any, content: Any, place: str) -> tuple[Role, Part]:
    """One thing that was said, by whom."""
    if isinstance(content, ToolCall | ToolResult):
        return "assistant", content
    if not isinstance(written, str) or written not in ROLE_NAMES:
        raise DataError(f"{place} has the role {written!r}; known are {', '.join(ROLE_NAMES)}")
    if content is not None and not isinstance(content, str):
        raise DataError(
            f"{place} has a {written} message whose content is {type(content).__name__}, "
            "not a string; correct or remove it"
        )
    if content is None or not content.strip():
        raise DataError(f"{place} has an empty {written} message; correct or remove it")
    return ROLE_NAMES[written], Text(content.strip())


def _is_tool(*parts: Part) -> bool:
    return any(isinstance(part, ToolCall | ToolResult) for part in parts)


def _add(parts: list[Part], part: Part) -> None:
    """Put a part at the end; a result directly after the first call that waits for one."""
    if isinstance(part, ToolResult):
        for index, call in enumerate(parts):
            after = parts[index + 1] if index + 1 < len(parts) else None
            if isinstance(call, ToolCall) and not isinstance(after, ToolResult):
                parts.insert(index + 1, part)
                return
    parts.append(part)

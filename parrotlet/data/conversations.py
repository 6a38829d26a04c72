"""Conversations from files, in the shapes people have, recognised record by record.

    {"messages": [{"role": "user", "content": ...}, ...]}      OpenAI; or the list alone
    {"conversations": [{"from": "human", "value": ...}, ...]}  ShareGPT
    {"instruction": ..., "input" or "context": ..., "output" or "response": ...}
    {"prompt": ..., "response" or "completion": ...}

Files are json, jsonl or csv, also .gz and .zst. Not here yet: trees and tool-call records.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parrotlet.core.errors import DataError
from parrotlet.files.formats import Reader, format_of
from parrotlet.text.chat import Conversation, Message, Role, validate

ROLE_NAMES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}
QUESTIONS = ("instruction", "prompt", "question")
DETAILS = ("input", "context")
ANSWERS = ("output", "response", "completion", "answer")


def read_conversations(paths: Sequence[Path]) -> Iterator[Conversation]:
    """Every conversation of the files, in order.

    Raises DataError naming file and record: one that is no conversation, one without an answer.
    """
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is not a file; name json, jsonl or csv files of conversations")
        for place, record in _records(path):
            yield parse_conversation(record, place)


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """(place, record) of a file."""
    reader = Reader(path, None, "strict")
    kind = format_of(path)
    if kind == ".jsonl":
        for number, line in enumerate(reader.lines(), start=1):
            if line.strip():
                place = f"line {number} of {path}"
                yield place, reader.parse(line, place)
    elif kind == ".json":
        rows = reader.parse("".join(reader.lines()), str(path))
        if not isinstance(rows, list):
            raise DataError(f"{path} is not a JSON array of conversations: put them into [...]")
        for number, row in enumerate(rows, start=1):
            yield f"row {number} of {path}", row
    elif kind == ".csv":
        table = csv.DictReader(reader.lines())
        for row in table:
            yield f"line {table.line_num} of {path}", row
    else:
        raise DataError(f"{path} is not json, jsonl or csv; convert it to one of these")


def parse_conversation(record: Any, place: str) -> Conversation:
    """The conversation in one record; DataError, naming the place, where there is none."""
    turns = _turns(record)
    if turns is None:
        found = type(record).__name__
        if isinstance(record, Mapping):
            found = ", ".join(map(repr, record))
        raise DataError(
            f"{place} is not a conversation (it has {found}); give 'messages' with role and "
            "content, or 'instruction' and 'output', or 'prompt' and 'response'"
        )
    messages = []
    for role, text in turns:
        if not isinstance(role, str) or role not in ROLE_NAMES:
            raise DataError(f"{place} has the role {role!r}; known are {', '.join(ROLE_NAMES)}")
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{place} has an empty {role} message; correct or remove it")
        messages.append(Message.of(ROLE_NAMES[role], text.strip()))
    conversation = Conversation(tuple(messages))
    try:
        validate(conversation)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    if not any(message.role == "assistant" for message in messages):
        raise DataError(f"{place} has no assistant message, so nothing could be learned from it")
    return conversation


def _turns(record: Any) -> list[tuple[Any, Any]] | None:
    """(role, text) of each message, or None for a record of no known shape."""
    if isinstance(record, Mapping):
        for key in ("messages", "conversations"):
            if isinstance(record.get(key), list):
                return _turns(record[key])
        return _instruction(record)
    if isinstance(record, list) and record and all(isinstance(each, Mapping) for each in record):
        return [
            (each.get("role", each.get("from")), each.get("content", each.get("value")))
            for each in record
        ]
    return None


def _instruction(record: Mapping[str, Any]) -> list[tuple[Any, Any]] | None:
    question = next((record[key] for key in QUESTIONS if record.get(key)), None)
    answer = next((record[key] for key in ANSWERS if key in record), None)
    if question is None or answer is None:
        return None
    details = next((record[key] for key in DETAILS if record.get(key)), None)
    asked = f"{question}\n\n{details}" if details else question
    return [("user", asked), ("assistant", answer)]

"""Conversations from files, in the shapes people have, recognised record by record.

    {"messages": [{"role": "user", "content": ...}, ...]}      OpenAI; or the list alone
    {"conversations": [{"from": "human", "value": ...}, ...]}  ShareGPT
    {"instruction": ..., "input" or "context": ..., "output" or "response": ...}
    {"prompt": ..., "response" or "completion": ...}

Files are json, jsonl, csv or parquet, also .gz and .zst, by name, folder or glob. Not here yet:
trees and tool-call records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parrotlet.core.errors import DataError
from parrotlet.core.log import get_logger
from parrotlet.data.sources import find_files, skipped_lines
from parrotlet.files.formats import Errors, Reader
from parrotlet.files.records import RECORD_READERS, records
from parrotlet.text.chat import Conversation, Message, Role, validate

log = get_logger("conversations")
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


def conversation_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files that are read, in order; DataError for what is missing, empty or unreadable."""
    return find_files(paths, RECORD_READERS)[0]


def read_conversations(paths: Sequence[Path], errors: Errors = "strict") -> Iterator[Conversation]:
    """Every conversation of the files, folders and globs, in order; what of a folder has no records
    is passed over, loudly.

    errors: "replace" reads bytes that are not UTF-8 as U+FFFD instead of refusing the file.
    Raises DataError naming file and record: one that is no conversation, one without an answer.
    """
    files, skipped = find_files(paths, RECORD_READERS)
    for line in skipped_lines(skipped):
        log.warning("%s", line)
    found = False
    for path in files:
        for place, record in records(Reader(path, None, errors)):
            found = True
            yield parse_conversation(record, place)
    if not found:
        raise DataError(
            f"{', '.join(map(str, files))} has no conversation: give at least two records, for "
            'example {"prompt": "...", "response": "..."} on lines of a .jsonl file'
        )


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
        if text is not None and not isinstance(text, str):
            raise DataError(
                f"{place} has a {role} message that is {type(text).__name__}, not a string; "
                "correct or remove it"
            )
        if text is None or not text.strip():
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
    if question is None or not any(key in record for key in ANSWERS):
        return None
    details = next((record[key] for key in DETAILS if record.get(key)), None)
    asked = question
    if details is not None and isinstance(question, str):
        asked = f"{question}\n\n{details}" if isinstance(details, str) else details
    return [("user", asked), ("assistant", answer)]

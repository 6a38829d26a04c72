"""Preferences from people's files: a prompt, the reply that was chosen, the one that was rejected.

{"prompt": ..., "chosen": ..., "rejected": ...}            texts, messages or lists of messages
{"chosen": [messages], "rejected": [messages]}             whole conversations
{"chosen": "\\n\\nHuman: ...", "rejected": ...}              transcripts, Anthropic's HH-RLHF
{"instruction": ..., "input": ..., "chosen", "rejected"}   and every other shape of shapes.py
{"prompt": {"role": "prompter", "replies": [...]}}         a tree: each better reply beside each worse
{"messages": [...], "label": true or false}                thumbs: up beside down for one prompt
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from parrotlet.core.errors import DataError
from parrotlet.data.conversations import STRICT, Notes, Rules, conversation_of, read_records
from parrotlet.data.shapes import (
    Dialogue,
    Unreadable,
    dialogues,
    opened,
    ranked,
    replies_to,
    turns,
)
from parrotlet.files.formats import Errors
from parrotlet.text.chat import Conversation, Message

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}
Thumbs = dict[Conversation, tuple[list[Message], list[Message]]]  # of a prompt: up, down


@dataclass(frozen=True)
class Pair:
    """Two replies to one prompt, which ends with the user's message."""

    prompt: Conversation
    chosen: Message
    rejected: Message


def read_preferences(
    paths: Sequence[Path],
    errors: Errors = "strict",
    rules: Rules = STRICT,
    notes: Notes | None = None,
) -> Iterator[Pair]:
    """Every pair of the files, in order; those of thumbs at the end.

    Raises DataError naming the record that is no pair: replies that are equal, prompts that
    differ, and all that makes a conversation a bad one. With rules.skip they are noted instead.
    """
    notes = Notes() if notes is None else notes
    thumbs: Thumbs = {}
    for place, record in read_records(paths, errors):
        try:
            yield from _pairs(record, place, rules, notes, thumbs)
        except DataError as error:
            told = f"{place} {error}" if isinstance(error, Unreadable) else str(error)
            if not rules.skip:
                raise DataError(f"{told} (--bad-records skip leaves it out)") from error
            notes.skipped.append(told)
    for prompt, (up, down) in thumbs.items():
        yield from (Pair(prompt, good, bad) for good in up for bad in down if good != bad)


def _pairs(record: Any, place: str, rules: Rules, notes: Notes, thumbs: Thumbs) -> Iterator[Pair]:
    """The pairs of one record; one with a thumb is kept for the end."""
    if not isinstance(record, Mapping):
        raise DataError(f"{place} is {type(record).__name__}, not a pair; give chosen and rejected")
    root = record.get("prompt") if isinstance(record.get("prompt"), Mapping) else record
    if "chosen" in record and "rejected" in record:
        notes.shapes["chosen and rejected"] += 1
        chosen, rejected = (
            conversation_of(_side(record, name), place, rules, notes)
            for name in ("chosen", "rejected")
        )
        yield _pair(chosen, rejected, place)
    elif isinstance(record.get("label"), bool) and (found := dialogues(record)):
        notes.shapes["thumbs"] += 1
        said = conversation_of(found[1][0], place, rules, notes)
        up, down = thumbs.setdefault(_prompt(said, place), ([], []))
        (up if record["label"] else down).append(said.messages[-1])
    elif isinstance(root, Mapping) and isinstance(root.get("replies"), list):
        notes.shapes["ranked tree"] += 1
        for sides in _tree(root, []):
            try:
                good, bad = (conversation_of(each, place, rules, notes) for each in sides)
                yield _pair(good, bad, place)
            except DataError as error:
                if not rules.skip:
                    raise
                notes.skipped.append(str(error))
    else:
        raise DataError(
            f"{place} is not a pair (it has {', '.join(map(repr, record))}); give 'chosen' and "
            "'rejected', or 'messages' and 'label'"
        )


def _side(record: Mapping[str, Any], name: str) -> Dialogue:
    """The dialogue that ends with the chosen (or rejected) reply."""
    value = record[name]
    if isinstance(value, str) and _SPEAKER.match(value):
        return opened(record, _transcript(value))
    reply = turns([value]) if isinstance(value, Mapping) else [("assistant", value)]
    if isinstance(value, list):
        reply = turns(value)
        if reply and reply[0][0] not in ("assistant", "gpt"):
            return opened(record, reply)  # a whole conversation
    return [*_asked(record), *reply]


def _asked(record: Mapping[str, Any]) -> Dialogue:
    """What was said before the replies."""
    prompt = record.get("prompt")
    if isinstance(prompt, list):
        return opened(record, turns(prompt))
    if isinstance(prompt, str) and _SPEAKER.match(prompt):
        return opened(record, [said for said in _transcript(prompt) if said[1]])
    known = ("chosen", "rejected", "output", "response", "completion", "answer")
    rest = {key: value for key, value in record.items() if key not in known}
    found = dialogues(rest) or dialogues({**rest, "output": "."})
    if found is None:
        return []
    said = found[1][0]
    return said[:-1] if said[-1] == ("assistant", ".") else said


def _transcript(text: str) -> Dialogue:
    """The turns of "\\n\\nHuman: ... \\n\\nAssistant: ..."."""
    pieces = _SPEAKER.split(text)[1:]
    return [
        (_ROLES[speaker], said.strip())
        for speaker, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]


def _tree(message: Mapping[str, Any], before: Dialogue) -> Iterator[tuple[Dialogue, Dialogue]]:
    """Each better reply beside each worse one, at every turn of the assistant."""
    said = [*before, (message.get("role"), message.get("text"))]
    replies = replies_to(message)
    if message.get("role") != "assistant":
        known = [each for each in ranked(replies) if each.get("rank") is not None]
        for good, bad in combinations(known, 2):
            if good["rank"] != bad["rank"]:
                first, second = ([*said, ("assistant", each.get("text"))] for each in (good, bad))
                yield first, second
    for each in replies:
        yield from _tree(each, said)


def _pair(chosen: Conversation, rejected: Conversation, place: str) -> Pair:
    """The pair; DataError where it is none."""
    prompt = _prompt(chosen, place)
    if prompt != _prompt(rejected, place):
        raise DataError(f"{place}: the prompts of chosen and rejected differ")
    if chosen == rejected:
        raise DataError(f"{place}: chosen and rejected are equal, so there is nothing to prefer")
    return Pair(prompt, chosen.messages[-1], rejected.messages[-1])


def _prompt(conversation: Conversation, place: str) -> Conversation:
    """All but the assistant's last message."""
    messages = conversation.messages
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise DataError(f"{place}: a prompt and the assistant's reply are needed, in this order")
    return Conversation(messages[:-1])

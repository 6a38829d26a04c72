"""Shapes: what people's records of conversations look like, told apart by their contents.

    {"messages": [{"role": "user", "content": ...}, ...]}      OpenAI, tool_calls too; or the list alone
    {"conversations": [{"from": "human", "value": ...}, ...]}  ShareGPT, function_call too
    {"prompt": {"role": "prompter", "replies": [...]}}         OpenAssistant: a tree; or a message of it
    {"instruction": ..., "instances": [{"input", "output"}]}   Self-Instruct: several conversations
    {"instruction": ..., "input" or "context": ..., "output" or "response": ...}      Alpaca
    {"prompt" or "question": ..., "response", "completion" or "answer": ...}

A shape gives dialogues: (role as written, content) in order. A content is a JSON value, whose
worth is judged later, or a call or result of a tool. Of a tree every path is a dialogue that takes
the best reply (the lowest rank) at each of the assistant's turns. "system" (or
"system_prompt") beside any of these comes first, then the turns of "history", [[question, answer], ...].
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from parrotlet.core.errors import DataError
from parrotlet.text.chat import ToolCall, ToolResult

Said = tuple[Any, Any]  # a role, and what was said
Dialogue = list[Said]
QUESTIONS = ("instruction", "prompt", "question")
DETAILS = ("input", "context")
ANSWERS = ("output", "response", "completion", "answer")
CALLS, RESULTS = ("function_call", "tool_call"), ("observation", "tool", "function", "ipython")


class Unreadable(DataError):
    """A record that cannot be read, and why, without its place."""


def dialogues(record: Any) -> tuple[str, list[Dialogue]] | None:
    """The name of the record's shape and its dialogues; None for a record of no known shape.

    Raises Unreadable for what is not as its shape has it.
    """
    found = _of_shape(record)
    if found is None or not isinstance(record, Mapping):
        return found
    return found[0], [opened(record, said) for said in found[1]]


def opened(record: Mapping[str, Any], said: Dialogue) -> Dialogue:
    """The dialogue after the record's "history" and under its "system", where it has them."""
    before: Dialogue = []
    history = record.get("history") or []
    for pair in history if isinstance(history, list) else [history]:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise Unreadable(f"has a history of {str(pair)[:60]!r}; give [question, answer] pairs")
        before += [("user", pair[0]), ("assistant", pair[1])]
    system = record.get("system") or record.get("system_prompt")
    heads = said[:1] and said[0][0] == "system"
    if system and heads:
        raise Unreadable("has 'system' and a system message; leave one of them out")
    if heads:
        return [said[0], *before, *said[1:]]
    return [("system", system), *before, *said] if system else before + said


def _of_shape(record: Any) -> tuple[str, list[Dialogue]] | None:
    if isinstance(record, list) and record and all(isinstance(each, Mapping) for each in record):
        return ("ShareGPT" if "from" in record[0] else "messages"), [turns(record)]
    if not isinstance(record, Mapping):
        return None
    for key in ("messages", "conversations"):
        found = _of_shape(record[key]) if isinstance(record.get(key), list) else None
        if found is not None:
            return found[0], [_with_tools(record.get("tools"), found[1][0])]
    root = record.get("prompt") if isinstance(record.get("prompt"), Mapping) else record
    if isinstance(root, Mapping) and isinstance(root.get("replies"), list):
        return "tree", paths(root)
    if isinstance(record.get("instances"), list) and "instruction" in record:
        every = [{**record, **each} for each in record["instances"] if isinstance(each, Mapping)]
        made = [asked for each in every if (asked := _instruction(each))]
        return ("instances", made) if made else None
    said = _instruction(record)
    return None if said is None else ("question and answer", [said])


def turns(messages: Sequence[Mapping[str, Any]]) -> Dialogue:
    """The turns of a list of messages, OpenAI's or ShareGPT's."""
    said: Dialogue = []
    for each in _objects(messages, "messages"):
        if each.get("weight") == 0:
            raise Unreadable("has a message of weight 0, which is not supported; leave it out")
        role, content = each.get("role", each.get("from")), each.get("content", each.get("value"))
        if role in CALLS:
            said.append((role, _call(content)))
        elif role in RESULTS:
            said.append((role, ToolResult(_text(content))))
        elif each.get("tool_calls"):
            if content:
                said.append((role, content))
            calls = _objects(each["tool_calls"], "tool_calls")
            said += [(role, _call(call.get("function", call))) for call in calls]
        else:
            said.append((role, _joined(content)))
    return said


def paths(message: Mapping[str, Any]) -> list[Dialogue]:
    """The dialogues of a tree from `message` down."""
    first = (message.get("role"), message.get("text"))
    replies = replies_to(message)
    if message.get("role") != "assistant":
        replies = ranked(replies)[:1]
    below = [path for each in replies for path in paths(each)]
    return [[first, *path] for path in below] or [[first]]


def replies_to(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The replies to a message of a tree that were not deleted."""
    replies = _objects(message.get("replies") or [], "replies")
    return [each for each in replies if not each.get("deleted")]


def _objects(value: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise Unreadable(f"has {what} that are no list of objects: {str(value)[:60]!r}")
    return value


def ranked(replies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Replies to one message, the best first; those without a rank last."""
    for each in replies:
        rank = each.get("rank")
        if not isinstance(rank, int | float | None) or rank != rank:  # NaN
            raise Unreadable(f"has the rank {each['rank']!r}, which is no number")
    return sorted(replies, key=lambda each: (each.get("rank") is None, each.get("rank") or 0))


def _instruction(record: Mapping[str, Any]) -> Dialogue | None:
    question = next((record[key] for key in QUESTIONS if record.get(key)), None)
    answer = next((record[key] for key in ANSWERS if key in record), None)
    if question is None or not any(key in record for key in ANSWERS):
        return None
    details = next((record[key] for key in DETAILS if record.get(key)), None)
    asked = question
    if details is not None and isinstance(question, str):
        asked = f"{question}\n\n{details}" if isinstance(details, str) else details
    return [("user", asked), ("assistant", answer)]


def _with_tools(tools: Any, said: Dialogue) -> Dialogue:
    """The dialogue with its tools' descriptions in the system message."""
    if not tools or tools == "[]":
        return said
    words = f"Tools: {_text(tools)}"
    if said and said[0][0] == "system" and isinstance(said[0][1], str):
        return [("system", f"{said[0][1]}\n\n{words}"), *said[1:]]
    return [("system", words), *said]


def _joined(content: Any) -> Any:
    """Texts of a list of OpenAI's content parts as one; anything else as it is."""
    if not isinstance(content, list) or not content:
        return content
    texts = [each.get("text") if isinstance(each, Mapping) else None for each in content]
    return "".join(map(str, texts)) if None not in texts else content


def _call(content: Any) -> ToolCall:
    try:
        call = json.loads(content) if isinstance(content, str) else content
        return ToolCall(str(call["name"]), _text(call.get("arguments", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(
            f"has a tool call that cannot be read, {str(content)[:60]!r}; it must be JSON with "
            "name and arguments"
        ) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

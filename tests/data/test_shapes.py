"""What people's records look like: trees, tool calls, several conversations; and bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parrotlet.core.errors import DataError
from parrotlet.data.conversations import Notes, Rules, parse_conversations, read_conversations
from parrotlet.text.chat import Text, ToolCall, ToolResult

CALL = {"name": "add", "arguments": {"a": 1}}


def test_tool_calls_of_both_kinds_are_one_reply() -> None:
    shared = {
        "conversations": [
            {"from": "human", "value": "Add."},
            {"from": "function_call", "value": json.dumps(CALL)},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "It is 2."},
        ],
        "tools": '[{"name": "add"}]',
    }
    two = [{"id": str(i), "function": {"name": "add", "arguments": f"{i}"}} for i in (1, 2)]
    openai = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Add "}, {"text": "twice."}]},
            {"role": "assistant", "content": None, "tool_calls": two},
            {"role": "tool", "tool_call_id": "1", "content": "one"},
            {"role": "tool", "tool_call_id": "2", "content": "two"},
            {"role": "assistant", "content": "Done."},
        ],
        "tools": [{"name": "add"}],
    }
    (found,) = parse_conversations(shared, "here")
    system, _, reply = found.messages
    assert system.text == 'Tools: [{"name": "add"}]'
    assert reply.parts == (ToolCall("add", '{"a": 1}'), ToolResult("2"), Text("It is 2."))
    (found,) = parse_conversations(openai, "here")
    assert found.messages[0].text == 'Be brief.\n\nTools: [{"name": "add"}]'
    assert found.messages[1].text == "Add twice."
    calls = (ToolCall("add", "1"), ToolResult("one"), ToolCall("add", "2"), ToolResult("two"))
    assert found.messages[2].parts == (*calls, Text("Done."))


def node(role: str, text: str, *replies: dict[str, Any], rank: int | None = None) -> dict[str, Any]:
    return {"role": role, "text": text, "replies": list(replies), "rank": rank}


def test_system_and_history_beside_a_record() -> None:
    asked = {"system": "Be a pirate.", "history": [["Hi", "Ahoy"]]}
    for record in (
        {"instruction": "Go", "output": "Aye"},
        {"messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "Aye"}]},
        {"conversations": [{"from": "human", "value": "Go"}, {"from": "gpt", "value": "Aye"}]},
    ):
        (found,) = parse_conversations({**record, **asked}, "here")
        assert [each.text for each in found.messages] == ["Be a pirate.", "Hi", "Ahoy", "Go", "Aye"]
        assert found.messages[0].role == "system"


TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"messages": [TALK[0], {"role": "assistant", "tool_calls": ["x"]}]}, "has tool_calls"),
        ({"messages": [TALK[0], {"role": "assistant", "tool_calls": 5}]}, "has tool_calls"),
        ({"prompt": {"role": "prompter", "text": "a", "replies": ["x"]}}, "has replies"),
        (node("prompter", "a", node("assistant", "b", rank="1")), "has the rank '1'"),
        ({"instruction": "a", "output": "b", "history": ["x"]}, "has a history of 'x'"),
        ({"instruction": "a", "output": "b", "history": 5}, "has a history of '5'"),
        ({"instruction": "a", "output": "b", "history": {"a": 1}}, "has a history of"),
        ({"messages": [TALK[0], {**TALK[1], "weight": 0}]}, "weight 0"),
        ({"system": "s", "messages": [{"role": "system", "content": "t"}, *TALK]}, "leave one"),
    ],
)
def test_malformed_records_are_named_or_left_out(record: Any, words: str, tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text(f"{json.dumps(record)}\n{json.dumps({'messages': TALK})}\n")
    with pytest.raises(DataError, match=f"line 1 of .*{words}"):
        list(read_conversations([file]))
    notes = Notes()
    (found,) = read_conversations([file], rules=Rules(skip=True), notes=notes)
    assert found.messages[1].text == "b" and len(notes.skipped) == 1


def test_a_tree_gives_the_best_replies_of_every_branch() -> None:
    good = node(
        "assistant", "good",
        node("prompter", "more?", node("assistant", "yes", rank=0)), node("prompter", "left alone"),
        rank=0,
    )  # fmt: skip
    tree = node("prompter", "hi", node("assistant", "bad", rank=1), good)
    notes = Notes()
    for record in (tree, {"prompt": tree}):
        found = parse_conversations(record, "here", notes=notes)
        said = [[message.text for message in each.messages] for each in found]
        assert said == [["hi", "good", "more?", "yes"], ["hi", "good"]]
    assert notes.shapes == {"tree": 4}


def test_instances_and_merging() -> None:
    record = {"instruction": "Add.", "instances": [{"input": "1", "output": "2"}, {"output": "x"}]}
    found = parse_conversations(record, "here")
    assert [each.messages[0].text for each in found] == ["Add.\n\n1", "Add."]
    twice = [{"role": "user", "content": each} for each in "ab"]
    talk = [*twice, {"role": "assistant", "content": "c"}]
    with pytest.raises(DataError, match=r"second user message in a row.*--same-role merge"):
        parse_conversations(talk, "here")
    notes = Notes()
    (found,) = parse_conversations(talk, "here", Rules(merge=True), notes)
    assert [message.text for message in found.messages] == ["a\n\nb", "c"]
    assert notes.merged == 1


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([{"role": "assistant", "content": "a"}], "the user must speak first"),
        ([{"role": "robot", "content": "a"}], "the role 'robot'; known are"),
        ([{"role": "", "content": "a"}], "the role ''"),
        ([{"role": "user", "content": "a"}], "no assistant message"),
        ([{"from": "function_call", "value": "add 1"}], "a tool call that cannot be read, 'add 1'"),
        ({"turns": ["a", "b"]}, "is not a conversation .it has 'turns'"),
    ],
)
def test_bad_records(record: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"here.*{words}"):
        parse_conversations(record, "here")
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps(record) + '\n{"prompt": "a", "response": "b"}\n')
    notes = Notes()
    assert len(list(read_conversations([path], rules=Rules(skip=True), notes=notes))) == 1
    assert len(notes.skipped) == 1 and "line 1 of" in notes.skipped[0]


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("dolly_small/*", 2000), ("gpteacher/*", 8854), ("identity_nanochat/*.jsonl", 996),
        ("mt_bench/dummy_conversation.json", 500), ("oasst_100/en_100_tree.jsonl", 123),
        ("self_instruct_seeds/*.jsonl", 427), ("sft_instruct_small/*.json", 1100),
        ("toolcall_demo/*.json", 300), ("gsm8k/train.jsonl", 7473),
    ],
)  # fmt: skip
def test_public_data(real_data: Path, path: str, count: int) -> None:
    assert len(list(read_conversations([real_data / "sft" / path]))) == count

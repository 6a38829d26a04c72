"""Conversations are kept, branches too, whatever happens to the file."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from parrotlet.data.preferences import read_preferences
from parrotlet.terminal.remote import to_json
from parrotlet.text.chat import Message, Text, ToolCall, ToolResult
from parrotlet.ui import store as module
from parrotlet.ui.settings import as_json, as_markdown, read_conversation
from parrotlet.ui.store import Store, StoreError, branch

Json = dict[str, Any]


def text(words: str) -> list[Json]:
    return [{"type": "text", "text": words}]


def talked(store: Store) -> tuple[str, int, int]:
    """A conversation of a question with two answers; its id and the answers."""
    id = store.begin("sums", "Be brief.")
    asked = store.add(id, None, "user", text("2 + 2?"), facts={"finish": "stop"})
    call = {"type": "tool_call", "name": "calculator", "arguments": "2 + 2"}
    parts = [call, {"type": "tool_result", "text": "4"}, *text("It is 4.")]
    good = store.add(id, asked, "assistant", parts, model="m", facts={"finish": "stop"})
    bad = store.add(id, asked, "assistant", text("It is 5."), model="m", facts={"finish": "stop"})
    return id, good, bad


def test_branches(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id, good, bad = talked(store)
    store.add(id, bad, "user", text("Sure?"))
    tree = store.tree(id)
    leaf = store.talk(id).leaf
    assert [each.text for each in branch(tree, leaf)] == ["2 + 2?", "It is 5.", "Sure?"]
    store.show(id, good)
    assert [each.text for each in branch(tree, store.talk(id).leaf)] == ["2 + 2?", "It is 4."]
    store.show(id, bad)  # down to the end of that branch
    assert store.talk(id).leaf == leaf
    store.delete(id)
    assert store.talks() == [] and store.tree(id) == {}


def test_thumbs_are_pairs_for_dpo(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id, good, bad = talked(store)
    store.rate(good, True)
    store.rate(bad, False)
    pairs = list(read_preferences([store.preferences]))
    assert len(pairs) == 1
    assert [each.text for each in pairs[0].prompt.messages] == ["Be brief.", "2 + 2?"]
    assert pairs[0].chosen.parts == (
        ToolCall("calculator", "2 + 2"),
        ToolResult("4"),
        Text("It is 4."),
    )
    assert pairs[0].rejected.text == "It is 5."
    store.rate(bad, None)
    assert len(store.preferences.read_text().splitlines()) == 1
    store.delete(id)
    assert store.preferences.read_text() == ""


@pytest.mark.parametrize("damage", ["bytes", "older", "newer", "torn"])
def test_a_file_that_cannot_be_used_is_set_aside(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    talked(store)
    store.rate(2, True)
    if damage in ("older", "newer"):
        with sqlite3.connect(store.path) as db:
            db.execute(f"PRAGMA user_version = {0 if damage == 'older' else 99}")
        db.close()
    whole = store.path.read_bytes()
    if damage == "bytes":
        store.path.write_bytes(b"not a database at all" * 100)
    elif damage == "torn":
        store.path.write_bytes(whole[:5000])
    before, told = store.path.read_bytes(), store.preferences.read_bytes()
    again = Store(tmp_path)
    assert again.aside is not None and again.aside.read_bytes() == before
    assert (tmp_path / "preferences.jsonl.aside-1").read_bytes() == told
    assert again.talks() == []
    talked(again)
    assert len(Store(tmp_path).talks()) == 1


def test_a_locked_file_is_an_error_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    other = sqlite3.connect(store.path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="cannot be used: database is locked"):
        store.talks()
    with pytest.raises(StoreError, match="locked"):
        Store(tmp_path)  # and it is not taken for damaged
    other.rollback()
    other.close()
    assert store.talks() == [] and list(tmp_path.glob("*.aside*")) == []


def test_a_conversation_that_is_gone_is_not_taken_for_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id, good, _ = talked(store)
    Store(tmp_path).delete(id)  # in another tab
    with pytest.raises(StoreError, match="no longer there") as caught:
        store.add(id, good, "user", text("Are you there?"))
    assert not isinstance(caught.value, module.StoreDamaged)
    store.finish(good, text("late"), {"finish": "stop"})  # a reply that was being written
    assert store.talks() == [] and store.tree(id) == {}


def test_export_and_import(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id, good, _ = talked(store)
    store.show(id, good)
    talk = store.talk(id)
    said = branch(store.tree(id), talk.leaf)
    title, system, messages = read_conversation(as_json(talk, said).encode())
    assert (title, system) == ("sums", "Be brief.")
    assert messages == [(each.role, list(each.parts)) for each in said]
    assert "`calculator 2 + 2`" in as_markdown(talk, said)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\x00", "is not JSON"),
        (b"[1, 2]", "message 1 has no role"),
        (b"{}", 'no list of "messages"'),
        (b'{"messages": []}', 'no list of "messages"'),
        (b'{"messages": [{"role": "user", "content": 5}]}', "message 1 has no text"),
        (b'{"messages": [{"role": "user", "parts": [3]}]}', "message 1 has no text"),
        (b'{"messages": [{"role": "system", "content": "x"}]}', "nobody says anything"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "is not the user's"),
    ],
)
def test_an_import_that_is_no_conversation(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_conversation(data)


def test_what_a_chat_at_a_terminal_saves_is_a_conversation() -> None:
    said = [
        Message.of("system", "Be brief."),
        Message.of("user", "2 + 2?"),
        Message("assistant", (ToolCall("calculator", "2 + 2"), ToolResult("4"), Text("It is 4."))),
    ]
    data = json.dumps({"messages": [to_json(each) for each in said]}).encode()
    title, system, messages = read_conversation(data)
    assert (title, system, len(messages)) == ("2 + 2?", "Be brief.", 2)
    assert [part["type"] for part in messages[1][1]] == ["tool_call", "tool_result", "text"]


def test_exports_are_what_sft_reads(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id, _, bad = talked(store)
    value = json.loads(as_json(store.talk(id), branch(store.tree(id), bad)))
    assert [each["role"] for each in value["messages"]] == ["system", "user", "assistant"]

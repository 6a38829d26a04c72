"""Preferences of people's files: every form, what is no pair, and real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parrotlet.core.errors import DataError
from parrotlet.data.conversations import Notes, Rules
from parrotlet.data.preferences import Pair, read_preferences
from parrotlet.text.chat import Conversation, Message

SKIP = Rules(skip=True)
WANTED = Pair(
    Conversation.of(("user", "Hi")),
    Message.of("assistant", "Hello!"),
    Message.of("assistant", "Go away."),
)
ASKED = {"role": "user", "content": "Hi"}
GOOD, BAD = (
    {"role": "assistant", "content": "Hello!"},
    {"role": "assistant", "content": "Go away."},
)
FORMS: list[Any] = [
    {"prompt": "Hi", "chosen": "Hello!", "rejected": "Go away."},
    {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]},
    {"prompt": "Hi", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]},
    {"messages": [ASKED], "chosen": GOOD, "rejected": BAD},
    {
        "conversations": [{"from": "human", "value": "Hi"}],
        "chosen": {"from": "gpt", "value": "Hello!"},
        "rejected": {"from": "gpt", "value": "Go away."},
    },
    {"instruction": "Hi", "input": "", "output": "x", "chosen": "Hello!", "rejected": "Go away."},
    {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello!",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Go away.",
    },
    {
        "prompt": {
            "role": "prompter",
            "text": "Hi",
            "replies": [
                {"role": "assistant", "text": "Go away.", "rank": 1, "replies": []},
                {"role": "assistant", "text": "Hello!", "rank": 0, "replies": []},
                {"role": "assistant", "text": "What?", "rank": None, "replies": []},
            ],
        }
    },
]


def read(folder: Path, records: list[Any], rules: Rules = Rules(), notes: Notes | None = None):  # type: ignore[no-untyped-def]  # noqa: B008
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return list(read_preferences([path], rules=rules, notes=notes))


@pytest.mark.parametrize("record", FORMS, ids=range(len(FORMS)))
def test_every_form(tmp_path: Path, record: Any) -> None:
    assert read(tmp_path, [record]) == [WANTED]


def test_thumbs(tmp_path: Path) -> None:
    up, down = ({"messages": [ASKED, each], "label": each is GOOD} for each in (GOOD, BAD))
    alone = {"messages": [{"role": "user", "content": "Bye"}, GOOD], "label": True}
    assert read(tmp_path, [up, alone, down]) == [WANTED]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, "chosen and rejected are equal"),
        (
            {"chosen": [ASKED, GOOD], "rejected": [{**ASKED, "content": "Ho"}, BAD]},
            "prompts of chosen and rejected differ",
        ),
        ({"chosen": "a", "rejected": "b"}, "the user must speak first"),
        ({"prompt": "Hi", "chosen": "", "rejected": "b"}, "empty assistant message"),
        ({"prompt": "Hi", "chosen": "a"}, "is not a pair"),
        ({"messages": [ASKED], "label": True}, "a prompt and the assistant's reply are needed"),
        (["a", "b"], "is list, not a pair"),
    ],
)
def test_what_is_no_pair(tmp_path: Path, record: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        read(tmp_path, [record])
    assert "line 1 of" in str(raised.value)
    assert "--bad-records skip" in str(raised.value)
    notes = Notes()
    assert read(tmp_path, [record, FORMS[0]], SKIP, notes) == [WANTED]
    assert len(notes.skipped) == 1


@pytest.mark.parametrize(
    ("path", "pairs", "bad"),
    [
        ("preference/hh_rlhf/harmless-base_test.jsonl.gz", 2299, 13),
        ("preference/pref_small/dpo_en_demo.json", 300, 0),
        ("preference/pref_small/instruction-data-with-preference.json", 1094, 6),
        ("sft/oasst_100/en_100_tree.jsonl", 754, 0),
    ],
)
def test_public_data(real_data: Path, path: str, pairs: int, bad: int) -> None:
    notes = Notes()
    found = list(read_preferences([real_data / path], rules=SKIP, notes=notes))
    assert (len(found), len(notes.skipped)) == (pairs, bad)


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": ["a"], "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": ["b"], "rejected": ["c"]},
        {"prompt": {"role": "prompter", "text": "a", "replies": [5]}},
        {"prompt": {"role": "prompter", "text": "a", "replies": [
            {"role": "assistant", "text": "b", "rank": "1"},
            {"role": "assistant", "text": "c", "rank": 2},
        ]}},
    ],
)  # fmt: skip
def test_malformed_records_are_named_or_left_out(record: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1 of .*--bad-records skip"):
        read(tmp_path, [record, FORMS[0]])
    notes = Notes()
    assert read(tmp_path, [record, FORMS[0]], SKIP, notes) == [WANTED]
    assert len(notes.skipped) == 1


def test_a_bad_pair_of_a_tree_costs_itself_alone(tmp_path: Path) -> None:
    tree = {
        "role": "prompter",
        "text": "Hi",
        "replies": [
            {"role": "assistant", "text": text, "rank": rank}
            for rank, text in enumerate(["Hello!", " ", "Go away."])
        ],
    }
    notes = Notes()
    assert read(tmp_path, [tree], SKIP, notes) == [WANTED]
    assert len(notes.skipped) == 2


def test_a_system_beside_a_pair_is_kept(tmp_path: Path) -> None:
    for record in (FORMS[0], FORMS[1], FORMS[3], FORMS[7]):
        (found,) = read(tmp_path, [{**record, "system": "Be kind."}])
        assert found.prompt == Conversation.of(("system", "Be kind."), ("user", "Hi"))
        assert found.chosen == WANTED.chosen
